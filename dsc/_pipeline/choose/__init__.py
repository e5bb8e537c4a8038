"""Which codec codes which task at which quality, and how a target for the error is met.

`decide` is the one place that decides: it makes a `coding.Coding`, which every later step takes.

- `codec_spec`: what ``--codec`` says, and the usual codec of each kind of task.
- `auto`: codecs tried on samples, the cheapest at equal distortion taken (``--codec auto``).
- `rate_control`: the smallest quality of a sample that meets ``--target`` or ``--max-error``.
- `codec_set`: several codecs as one, which encodes and decodes.
"""
