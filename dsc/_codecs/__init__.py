"""Codecs: arrays of a sample's tasks into named bitstreams, and back.

- `base`: what a codec must do, and may do beside that. `registry`: codecs by id. `encoder`: the
  libraries whose versions decide the bytes.
- One map a bitstream: `maps` is what these share (the header, how a quality becomes an error of
  depth, invalid pixels), `classical` has the image formats, `label` label maps and normals of few
  directions, `residual` the bound on every pixel, `restored` pictures improved after decoding,
  `machine` pictures corrected for what a network sees.
- `learned`: all tasks in one network. `latents`: its integers as samples and batches. `split`: its
  decoder without its encoder.
- `derived`: maps computed from other tasks' maps. `surfaces`: depth and normals within labels.
  `sequence`: frames of a recording together.
- For networks: `embedding` has vectors, `klt` feature maps; `learned` has its own of these.
"""
