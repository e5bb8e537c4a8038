"""Depth, normals and labels of one sample over one partition into surfaces: rooms are planes.

- `codec`: the streams, and the choice between shared geometry and each task's own codec.
- `geometry`: the partition and its directions as bytes. `surfaces`: what a class of pixels is, in
  integers.
- `pieces`: a first partition. `moments`: sums that models of a piece are fitted by. `merging`:
  pieces that are joined. `fitting`: from pieces to the numbers of their classes.
"""
