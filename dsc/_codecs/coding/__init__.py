"""Integers into bytes.

- `entropy`: symbols under stored tables. `steps`: which elements of a latent each step codes.
- `integer`: networks with the same integers on every machine. `weights_file`: the files that hold
  them, with their self-test.
- `varint`: whole numbers. `fill`: holes of a map filled so that they cost few bits.
"""
