"""A second stream that bounds the error of a lossy codec.

- `codec`: the codec around another one. `bound`: which correction each pixel needs.
- `map`: the stream's bytes. `coder`: the corrections, entropy-coded.
"""
