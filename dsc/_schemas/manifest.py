"""The manifest (`dsc.json`) and the shard records (`shards.jsonl`).

`dsc.json` is written last: its presence is the commit. It holds the hash of every other small
file, `shards.jsonl` holds the hash of every shard, and the manifest holds its own hash, so that
one flipped bit anywhere is found. An archive that grows gets its records in a new file
(`shards.000002.jsonl` for generation 2), because readers of the old generation still want theirs.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from dsc._schemas.base import Schema, canonical_json
from dsc._schemas.choice import Choice
from dsc._schemas.kind import LATER_KINDS
from dsc._schemas.quality import Quality
from dsc._schemas.reached import Reached
from dsc._schemas.source import SourceReport
from dsc._schemas.stream import CodecRecord, Stream
from dsc._schemas.task import Task
from dsc.errors import CorruptArchiveError, UnsupportedVersionError

FORMAT_VERSION = 1
FORMAT_VERSIONS = (1, 2)  # that are read; the second has streams that packs compress, and new kinds
SHA256 = r"^[0-9a-f]{64}$"
SPLIT = r"^[a-z0-9][a-z0-9_]*$"
SHARDS = "shards.jsonl"
# fields that are left out where there is nothing to say
UNSET = ("choice", "reached", "appended", "source_report", "encoder")


class FileRecord(Schema):
    """Size and hash of one file; `path` is relative to the archive's root."""

    path: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$")
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=SHA256)


class StreamRecord(FileRecord):
    """One tar: one stream of one shard.

    Attributes
    ----------
    payload_bytes
        Bytes of the bitstreams alone.
    n_missing
        Samples of the shard that do not have this stream.
    """

    payload_bytes: int = Field(ge=0)
    n_missing: int = Field(ge=0)


class FailedSample(Schema):
    """A sample (or one task of it) that could not be encoded and was skipped on request.

    Attributes
    ----------
    key
        Its key.
    error
        What was wrong; of several tasks, one after the other with semicolons.
    """

    key: str
    error: str


class ShardRecord(Schema):
    """One shard: the same samples in every stream.

    Attributes
    ----------
    n
        Number of the shard within its split, from 0.
    first_index
        Index, in the split, of its first sample.
    samples
        How many samples it holds.
    source_bytes
        Bytes of the source's files, by task, before compression.
    """

    n: int = Field(ge=0)
    split: str = Field(pattern=SPLIT)
    first_index: int = Field(ge=0)
    samples: int = Field(ge=0)
    keys: FileRecord
    streams: Mapping[str, StreamRecord]
    source_bytes: Mapping[str, int] = Field(default_factory=dict)
    failed: tuple[FailedSample, ...] = ()


class StreamTotals(Schema):
    """Sums over the shards of one stream."""

    payload_bytes: int = 0
    stored_bytes: int = 0
    n_missing: int = 0


def format_version_of(tasks: Iterable[Task], streams: Iterable[Stream]) -> int:
    """Return the format version of an archive that has these: 1 where it needs no later one."""
    later = any(stream.compressed or stream.pack_size for stream in streams)
    return 2 if later or any(task.kind in LATER_KINDS for task in tasks) else FORMAT_VERSION


def shards_path(generation: int) -> str:
    """Name the file of the shard records that a generation writes."""
    return SHARDS if generation == 1 else f"shards.{generation:06d}.jsonl"


class Appended(Schema):
    """What one append added.

    Attributes
    ----------
    generation
        The generation that it made.
    plan_sha256
        Hash of its plan.
    source
        Registered name of the layout it read.
    samples
        How many samples it added.
    tasks
        Names of the tasks it added.
    choice
        How their codecs were chosen, where that was left to dsc.
    source_report
        What the source found and left out.
    encoder
        Versions of the libraries that encoded it, by name.
    """

    generation: int = Field(ge=2)
    created_by: str
    plan_sha256: str = Field(pattern=SHA256)
    source: str
    samples: int = Field(default=0, ge=0)
    tasks: tuple[str, ...] = ()
    choice: Choice | None = None
    source_report: SourceReport | None = None
    encoder: Mapping[str, str] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        whole: dict[str, Any] = handler(self)
        return {k: v for k, v in whole.items() if k not in UNSET or v}


class Manifest(Schema):
    """What an archive is.

    Attributes
    ----------
    generation
        Counts commits; `append` replaces ``dsc.json`` with generation + 1.
    plan_sha256
        Hash of the plan that made generation 1; it stays, so that copies know where they belong.
    source
        Registered name of the source layout.
    pack_size
        Samples a pack (the last pack of a shard may hold fewer).
    splits
        Number of samples by split.
    totals
        Sums by stream.
    source_bytes
        Bytes of the source's files by task.
    files
        Every other file outside the shards, `shards.jsonl` included.
    choice
        How the codecs were chosen, where that was left to dsc.
    reached
        What came of each target and bound.
    appended
        What was added since generation 1, in order.
    source_report
        What the source of generation 1 found, decided and left out.
    encoder
        Versions of the libraries that encoded generation 1, by name; none in archives that were
        made before this was recorded.
    sha256
        Hash of this manifest's canonical JSON with this field empty.
    """

    format_version: int = FORMAT_VERSION
    generation: int = Field(default=1, ge=1)
    created_by: str
    plan_sha256: str = Field(pattern=SHA256)
    source: str
    tasks: tuple[Task, ...]
    streams: tuple[Stream, ...]
    codecs: tuple[CodecRecord, ...]
    quality: Quality
    pack_size: int = Field(ge=1, le=1 << 20)
    shard_size: int = Field(ge=1)
    max_pixels: int = Field(ge=0, description="pixels of the largest sample; decoders refuse more")
    splits: Mapping[str, int]
    totals: Mapping[str, StreamTotals]
    source_bytes: Mapping[str, int]
    n_failed: int = 0
    files: tuple[FileRecord, ...]
    choice: Choice | None = None
    reached: tuple[Reached, ...] = ()
    appended: tuple[Appended, ...] = ()
    source_report: SourceReport | None = None
    encoder: Mapping[str, str] = Field(default_factory=dict)
    sha256: str = ""

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what was not asked for: archives without it keep their bytes."""
        whole: dict[str, Any] = handler(self)
        return {k: v for k, v in whole.items() if k not in UNSET or v}

    @property
    def shards_path(self) -> str:
        """Path of the file that holds the shard records of this generation."""
        own = shards_path(self.generation)
        return own if any(file.path == own for file in self.files) else SHARDS

    def sealed(self) -> Self:
        """Return the same manifest with its own hash filled in."""
        return self.model_copy(update={"sha256": self._hash()})

    def _hash(self) -> str:
        blank = self.model_dump(mode="json") | {"sha256": ""}
        return hashlib.sha256(canonical_json(blank).encode()).hexdigest()

    def to_file_bytes(self) -> bytes:
        """Return the bytes of ``dsc.json``: indented for people, sorted, one newline at the end."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1, allow_nan=False)
        return text.encode() + b"\n"

    @classmethod
    def from_file_bytes(cls, data: bytes, where: str) -> Self:
        """Read ``dsc.json`` and check its version, its own hash and its spelling.

        Raises
        ------
        UnsupportedVersionError
            When `format_version` is not one that this dsc knows.
        CorruptArchiveError
            When the file is not what was written.
        """
        try:
            version = json.loads(data).get("format_version")
        except (ValueError, AttributeError, RecursionError):
            raise CorruptArchiveError(f"{where}: not a JSON object; the file is damaged") from None
        if version not in FORMAT_VERSIONS:
            raise UnsupportedVersionError(
                f"{where}: format_version {version!r}, this dsc reads "
                f"{' and '.join(map(str, FORMAT_VERSIONS))}; "
                f"install a dsc that writes version {version!r} or newer"
            )
        manifest = cls.from_json(data, where)
        if manifest.sha256 != manifest._hash() or manifest.to_file_bytes() != data:
            raise CorruptArchiveError(
                f"{where}: the manifest does not match its own sha256; "
                "it was damaged or edited: fetch it again from where the archive came from"
            )
        return manifest
