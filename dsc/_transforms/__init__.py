"""Transforms of whole samples: all tasks of one move together, each as its values mean.

- `randomness`: the generator that depends on sample and epoch only.
"""
