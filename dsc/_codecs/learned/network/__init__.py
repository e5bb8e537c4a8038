"""The conditional network.

- `spec`: its sizes, and which stream requires which. `model`: all its parts. `layers`: what
  transforms are made of. `entropy`: probabilities of one stream's symbols.
- `rate`: which symbols the encoder chooses, by rate and distortion.
- Training: `trainable` is what a trainer needs of any network, `differentiable` how this one gives
  it, `klt` how its weights start.
"""
