"""A hierarchical codec: latents of four scales, coarse first, each of which is a stream.

- `codec`: `layered`. `bitstream`: its payloads; `coder`: planes, integers and words.
- `sequence`: `layered-seq`, frames after one another. `motion` between them, `motion_coder`: how it
  is written; `temporal`: what a frame sees of the one before.
- `model`: transforms; `prior`: the integer networks; `spec`: sizes.
- `differentiable`: its training; `start`: what that begins with.
"""
