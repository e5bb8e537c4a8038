"""The bytes of an archive: tar members, packs, shards, keys files, file names."""
