"""Writes an archive's small files; the manifest last, because its presence is the commit."""

import hashlib
from collections.abc import Sequence

from dsc._schemas import FileRecord, Manifest, ShardRecord
from dsc._schemas.manifest import shards_path
from dsc._storage.files.root import Root
from dsc._storage.format.names import MANIFEST, codec_path


def write_file(root: Root, path: str, data: bytes) -> FileRecord:
    """Write a small file and give its record."""
    root.write(path, data)
    return record_of(path, data)


def record_of(path: str, data: bytes) -> FileRecord:
    """Return the record of a file with these bytes."""
    return FileRecord(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def write_codec(root: Root, weights: bytes) -> FileRecord:
    """Write a codec file under the name of its hash."""
    return write_file(root, codec_path(hashlib.sha256(weights).hexdigest()), weights)


def write_shards(root: Root, records: Sequence[ShardRecord], generation: int = 1) -> FileRecord:
    """Write the shard records, one a line, in order: ``shards.jsonl``, or a later generation's."""
    return write_file(root, shards_path(generation), shards_bytes(records))


def shards_bytes(records: Sequence[ShardRecord]) -> bytes:
    """Return the bytes of a file of shard records."""
    return "".join(record.to_json() + "\n" for record in records).encode()


def write_manifest(root: Root, manifest: Manifest, path: str = MANIFEST) -> None:
    """Write ``dsc.json``, sealed. From here on the archive exists."""
    root.write(path, manifest.sealed().to_file_bytes())
