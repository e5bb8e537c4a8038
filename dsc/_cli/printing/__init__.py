"""What commands print, on stdout as text or JSON, on stderr how far they are.

- `output`: one JSON object or text, notes and tables. `text`: how numbers and names are spelled.
- `progress`: bars and lines while work goes on.
- `start`: what a source was found to hold, before work starts. `choice`: how codecs were chosen,
  and what targets came to. `summary`: what an archive costs.
"""
