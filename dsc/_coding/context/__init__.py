"""The context coder of label maps and masks: a small integer network predicts each pixel.

- `lattice`: the order of the pixels. `neighbours`: what is known around each.
- `network`: how likely each candidate is. `escapes`: labels that no candidate has.
- `coder`: the walk that encodes and decodes. `weights`: the model file.
- `raster`: masks row by row, by counts. `mask`: which pixels are invalid, as bytes.
"""
