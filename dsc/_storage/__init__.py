"""The archive on disk or behind a URL: packs, tars, records, reading and checking. No decoding.

- `files`: one layer for reading, writing, locking and retrying, wherever files lie.
- `format`: the bytes that an archive consists of, and its file names.
- `cache`: packs of remote archives that are kept. `read`: what is read of an archive, and checked.
"""
