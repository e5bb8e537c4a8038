"""Learned codecs: one network for all tasks, whose decoded integers are the same everywhere.

- `codec`: `independent`, `shared-latent` and `chained`. `base`: what they share with `layered`.
  `codec_file`: the weights they need.
- Encoding and decoding: `planes` (arrays and network inputs), `sample_coder` (all streams of a
  sample), `stream_coder` (one stream), `latent_coder` (its integers), `bitstream` (headers),
  `synthesis` (integers to pixels).
- `network`: the network itself. `encoder_alone`: its encoder apart from its decoder.
- `embedding`: features from latents, without synthesis.
- `layered`: the codec `layered`, with a network of its own: four scales, coarse first.
- `feature`: the codec of a backbone's features, with a network of its own.
"""
