"""From a source to an archive: what is planned, made shard by shard, and committed."""
