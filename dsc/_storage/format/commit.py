"""Writes an archive's small files; the manifest last, because its presence is the commit.

The names of everything that dsc writes are here, too: what is not named by a manifest and bears one
of these names is work under way, or was left by it.
"""

import hashlib
import re
from collections.abc import Sequence

from dsc._schemas import FileRecord, Manifest, ShardRecord
from dsc._schemas.manifest import shards_path
from dsc._storage.files.root import Root

MANIFEST = "dsc.json"
README = "README.md"
CROISSANT = "croissant.json"
WORK = ".dsc"
PLAN = f"{WORK}/plan.json"
LOCK = f"{WORK}/lock"
NEXT = f"{WORK}/next.json"  # the manifest that an append is about to make the archive's
OLD = f"{WORK}/old"  # what an append replaces, as it was
PART = re.compile(r".*\.[0-9a-f]{32}\.part")
OWN = re.compile(
    r"([a-z0-9][a-z0-9_.]*)/[a-z0-9_]+-\1-\d{6,}\.tar(\.idx)?"
    r"|keys/[a-z0-9_]+-keys-\d{6,}\.jsonl"
    r"|codecs/[0-9a-f]{64}\.safetensors"
    r"|shards(\.\d{6,})?\.jsonl"
    rf"|{re.escape(WORK)}/.*"
    rf"|{re.escape(MANIFEST)}|{re.escape(README)}|{re.escape(CROISSANT)}"
)


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


def codec_path(sha256: str) -> str:
    """Name the file of a codec's weights."""
    return f"codecs/{sha256}.safetensors"


def write_shards(root: Root, records: Sequence[ShardRecord], generation: int = 1) -> FileRecord:
    """Write the shard records, one a line, in order: ``shards.jsonl``, or a later generation's."""
    data = "".join(record.to_json() + "\n" for record in records).encode()
    return write_file(root, shards_path(generation), data)


def write_manifest(root: Root, manifest: Manifest, path: str = MANIFEST) -> None:
    """Write ``dsc.json``, sealed. From here on the archive exists."""
    root.write(path, manifest.sealed().to_file_bytes())
