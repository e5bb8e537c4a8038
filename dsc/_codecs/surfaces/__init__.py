"""Depth, normals and labels of one sample over one partition into surfaces: rooms are planes.

- `codec`: the streams, and the choice between shared geometry and each task's own codec.
- `partition`: classes of pixels, each partition finer than the one before. `children`: how they
  are coded.
- `depth`, `normals`: planes, directions and curves of classes, in integers.
- `pieces`: a first partition. `moments`: sums that models of a piece are fitted by. `merging`:
  pieces that are joined. `fitting`: from pieces to the numbers of their classes.
"""
