"""What happens between a dataset and an archive, and between an archive and whoever reads it.

- `options`: what a caller may ask of a compression or an append, each option declared once.
- `choose`: which codec codes which task at which quality.
- `write`: the plan, the shards, the commit.
- `read`: ``dsc.open``, ``dsc verify``; batches for training are made by `dsc._stream`.
- `view`: the page of ``dsc view``. `metrics`: how much decoded maps differ from their originals.

Who calls it, and with how many processes, is decided in `dsc._jobs`.
"""
