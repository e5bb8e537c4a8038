"""Which codec codes which task at which quality, and how a target for the error is met.

`decide` is the one place that decides: it makes a `coding.Coding`, which every later step takes.

- `codec_spec`: what ``--codec`` says, and the usual codec of each kind of task.
- `auto`: codecs tried on samples, the cheapest at equal distortion taken (``--codec auto``):
  `candidates` in a `race` on what a `probe` gives, each measured by `trial`; `remembered` encodes
  nothing twice.
- `rate_control`: samples that meet ``--target`` and ``--max-error``, by a `quality_search`; the
  quality under a bound is found by `below`. `distortion` measures, `crops` stand for samples.
- `codec_set`: several codecs as one, which encodes and decodes.
"""
