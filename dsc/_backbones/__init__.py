"""Frozen networks that turn pictures into embeddings and feature maps.

- `base`: what a backbone is. `registry`: those there are, by name.
- `staged`: a backbone that is a chain of stages, any of which can be left and gone on from.
- `efficientnet`: EfficientNet-Lite0. `pictures`: from 8-bit pictures to a network's input.
"""
