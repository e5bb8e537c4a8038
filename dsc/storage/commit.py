"""Writes an archive's small files; the manifest last, because its presence is the commit."""

import hashlib
from collections.abc import Sequence

from dsc.schemas import FileRecord, Manifest, ShardRecord
from dsc.storage.fs import Root

MANIFEST = "dsc.json"
SHARDS = "shards.jsonl"


def write_file(root: Root, path: str, data: bytes) -> FileRecord:
    """Write a small file and give its record."""
    root.write(path, data)
    return FileRecord(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def write_codec(root: Root, weights: bytes) -> FileRecord:
    """Write a codec file under the name of its hash."""
    return write_file(root, f"codecs/{hashlib.sha256(weights).hexdigest()}.safetensors", weights)


def write_shards(root: Root, records: Sequence[ShardRecord]) -> FileRecord:
    """Write ``shards.jsonl``, one record a line, in order."""
    data = "".join(record.to_json() + "\n" for record in records).encode()
    return write_file(root, SHARDS, data)


def write_manifest(root: Root, manifest: Manifest) -> None:
    """Write ``dsc.json``, sealed. From here on the archive exists."""
    root.write(MANIFEST, manifest.sealed().to_file_bytes())
