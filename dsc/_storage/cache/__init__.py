"""Packs of remote archives kept on the local disk, and recent ones in memory.

`pack_cache` is the directory that processes share: what it holds, and what leaves it when it is
full. `lru` keeps what was used last in memory.
"""
