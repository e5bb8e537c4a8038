"""Integers into bytes, for every codec.

- `entropy`: symbols under stored tables. `mixing`: binary decisions under chances that learn.
- `steps`: which elements of a latent each step codes. `integer`: networks with the same integers on
  every machine. `weights_file`: the files that hold them, with their self-test.
- `context`: label maps, masks and words, each pixel by what is known around it.
- `varint`: whole numbers. `fill`: holes of a map filled so that they cost few bits. `jpeg_xl`: bare
  codestreams.
"""
