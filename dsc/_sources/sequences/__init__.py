"""Recordings: which samples are frames of one, in their order, over any source.

- `times`: time stamps as integer nanoseconds.
- `rules`: what ``--sequence-by`` says, and what layouts say of themselves.
- `places`: the place of each sample, by a rule, and what is amiss with it.
- `source`: the source whose frames lie together in rising order.
"""
