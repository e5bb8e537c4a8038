"""Splits that people state, over any source.

- `rules`: what ``--split``, ``--split-file``, ``--split-by`` and ``--split-rest`` say.
- `lists`: files that list the samples of a split. `assign`: which split each sample is of.
- `source`: the source whose samples are parted by it.
"""
