"""A small ray tracer that draws rooms and tables with all their maps.

- What is drawn: `render` (rooms) and `clevr` (tables of solids) are the views; `scene` furnishes a
  room, with `room` (its shell), `furniture` and `builder`; `solids` is what all consist of.
- How: `trace` finds what rays hit, `surface` normals, colours and labels there, `texture` patterns,
  `light` shadows and highlights.
- What follows from what was drawn, where it is asked for: `further`.
"""
