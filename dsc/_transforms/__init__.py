"""Transforms of whole samples: all tasks of one move together, each as its values mean.

- `randomness`: the generator that depends on sample and epoch only. `seeded`: global ones, seeded.
- `blank`: what stands where there is nothing. `meaning`: which name is a map of what, and which
  one intrinsics. `move`: what a map of pixels does to values. `resample`: pixels of another grid.
- `joint`: crops, flips, sizes. `color`: of images alone. `compose`: several, one after the other.
- `coordinates`: what a foreign transform did, read off a map of coordinates that went through it;
  `torchvision` and `albumentations` are such.
"""
