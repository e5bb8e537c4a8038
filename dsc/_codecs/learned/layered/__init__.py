"""A hierarchical codec: latents of four scales, coarse first, each of which is a stream.

- `codec`: `layered`. `bitstream`: its payloads; `coder`: planes, integers and words.
- `model`: transforms; `prior`: the integer networks; `spec`: sizes.
- `differentiable`: its training; `start`: what that begins with.
"""
