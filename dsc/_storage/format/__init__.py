"""The bytes of an archive, written and read back.

- `names`: names of all files. `tar`: a tar's members. `pack`: the samples of one member.
- `shard`: one shard's tars, their indexes and its keys file. `keys`: the keys file, and a sample
  found by its key. `origins`: where samples came from, in the keys file.
- `commit`: the small files, the manifest last. `sole_writer`: one process at a time writes.

What the manifest and the records say is in `dsc._schemas`; ``docs/format.md`` describes all of it.
"""
