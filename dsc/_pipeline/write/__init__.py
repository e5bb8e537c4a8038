"""From a source to an archive: what is planned, made shard by shard, and committed.

- `plan`: all that determines the bytes: codecs, order, splits, shards, packs. `sizes`: how many
  samples a shard and a pack have, where nobody says.
- `plan_append`: which samples or tasks of a source an archive lacks, and the plan that adds them.
- `shard_job`: reads, encodes and writes one shard; says whether one that is there is finished.
- `commit`: finished shards become an archive, or its next generation. `leftovers`: what
  interrupted work leaves, and which of it is removed.
- `card`, `croissant`: the archive's ``README.md`` and ``croissant.json``.
"""
