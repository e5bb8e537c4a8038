"""Frozen networks that turn pictures into embeddings and feature maps.

- `base`: what a backbone is. `registry`: those there are, by name.
- `staged`: a backbone that is a chain of stages, any of which can be left and gone on from.
- `efficientnet`: EfficientNet-Lite0. `timm_models`: models of timm. `weights`: what they are known
  by.
- `pictures`: from 8-bit pictures to a network's input. `extract`: the values of a task that a
  backbone computes.
"""

from dsc._extras import needing

with needing("torch", "a backbone", "'dsc[backbones]', which brings efficientnet-lite0 too"):
    import torch  # noqa: F401 - asked for before any module does, so that the error says how to get it
