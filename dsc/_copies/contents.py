"""What a copy of an archive consists of, file by file: all of it, or some of its tasks.

A copy of all is the archive byte for byte. A copy of some tasks has their streams and those that
they require, the same samples, keys and packs, and records of its own; it has no cards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dsc._schemas import CodecRecord, FileRecord, Manifest, ShardRecord, Stream, required_streams
from dsc._schemas.levels import promises
from dsc._schemas.manifest import SHARDS, format_version_of
from dsc._storage.files.root import Root
from dsc._storage.format.commit import record_of, shards_bytes
from dsc._storage.format.names import CARDS, MANIFEST, OLD
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import coming_files

T = TypeVar("T")


@dataclass(frozen=True)
class Made:
    """A small file that is made for a copy."""

    record: FileRecord
    data: bytes

    @classmethod
    def of(cls, path: str, data: bytes) -> "Made":
        """Record a file with these bytes."""
        return cls(record_of(path, data), data)


@dataclass(frozen=True)
class Contents:
    """The files of a copy; an index beside each tar comes to them.

    Attributes
    ----------
    manifest, shards
        The copy's own.
    files
        Files that are taken from the archive as they are: codecs, records, then shard by shard, so
        that what is whole is useful.
    made
        Files that only the copy has.
    cards
        Names of its card and description, which are for people and may have been edited.
    """

    manifest: Manifest
    shards: tuple[ShardRecord, ...]
    files: tuple[FileRecord, ...]
    made: tuple[Made, ...] = ()
    cards: tuple[str, ...] = ()

    @property
    def commit(self) -> Made:
        """The manifest's file, which comes last."""
        return Made.of(MANIFEST, self.manifest.to_file_bytes())

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(task.name for task in self.manifest.tasks)

    def named(self) -> dict[str, FileRecord]:
        """Return the record of every file by path, without cards, indexes and manifest."""
        made = [made.record for made in self.made]
        return {record.path: record for record in (*self.files, *made)}


def whole(archive: Archive) -> Contents:
    """Return the contents of a copy that is the archive itself."""
    files = archive.manifest.files
    return Contents(
        archive.manifest,
        archive.shards,
        (*(file for file in files if file.path not in CARDS), *_shard_files(archive.shards)),
        cards=tuple(file.path for file in files if file.path in CARDS),
    )


def of_tasks(
    archive: Archive, tasks: Sequence[str], streams: Sequence[str] | None = None
) -> Contents:
    """Return the contents of a copy of these tasks (full names) only, and of their streams.

    `streams` leaves out layers of recordings and levels; None has all that the tasks require.
    """
    manifest, shards = restrict(archive.manifest, archive.shards, tasks, streams)
    listed = Made.of(SHARDS, shards_bytes(shards))
    files = sorted((*manifest.files, listed.record), key=lambda file: file.path)
    return Contents(
        manifest.model_copy(update={"files": tuple(files)}).sealed(),
        shards,
        (*manifest.files, *_shard_files(shards)),
        (listed,),
    )


def is_whole_archive(manifest: Manifest) -> bool:
    """Tell an archive from a copy of some of one's tasks, which has no card."""
    return any(file.path in CARDS for file in manifest.files)


def read_card(archive: Archive, path: str) -> bytes | None:
    """Read a card or description of the archive's generation, as it is; None where it is gone.

    While an append is about to commit, its new one is there already, and the old one in ``.dsc``.
    """
    root = archive.root
    data = _read(root, path)
    if data is None:
        return None
    found = record_of(path, data)
    if found not in archive.manifest.files and found == coming_files(archive).get(path):
        return _read(root, f"{OLD}/{path}") or data
    return data


def _read(root: Root, path: str) -> bytes | None:
    try:
        return root.read(path)
    except FileNotFoundError:
        return None


def _shard_files(shards: Sequence[ShardRecord]) -> tuple[FileRecord, ...]:
    return tuple(file for shard in shards for file in (shard.keys, *shard.streams.values()))


def restrict(
    manifest: Manifest,
    shards: Sequence[ShardRecord],
    tasks: Sequence[str],
    wanted: Sequence[str] | None = None,
) -> tuple[Manifest, tuple[ShardRecord, ...]]:
    """Return the manifest and shard records of an archive of these tasks (full names) only.

    Codecs keep their slots, because packs name them; one that is not needed keeps no streams and no
    weights. `files` still has every codec file that is needed, and nothing else.
    """
    required = required_streams(manifest.streams, tasks)
    kept = required if wanted is None else tuple(name for name in required if name in wanted)
    codecs = tuple(_restrict_codec(codec, kept) for codec in manifest.codecs)
    weights = {f"codecs/{c.weights_sha256}.safetensors" for c in codecs if c.weights_sha256}
    own = tuple(task for task in manifest.tasks if task.name in tasks)
    streams = tuple(_restrict_stream(s, tasks, kept) for s in manifest.streams if s.name in kept)
    narrowed = manifest.model_copy(
        update={
            "format_version": format_version_of(own, streams),
            "tasks": own,
            "streams": streams,
            "codecs": codecs,
            "totals": _only(manifest.totals, kept),
            "source_bytes": _only(manifest.source_bytes, tasks),
            "files": tuple(file for file in manifest.files if file.path in weights),
            **promises(manifest, kept),
        }
    )
    narrowed_shards = (
        shard.model_copy(
            update={
                "streams": _only(shard.streams, kept),
                "source_bytes": _only(shard.source_bytes, tasks),
            }
        )
        for shard in shards
    )
    return narrowed, tuple(narrowed_shards)


def _restrict_codec(codec: CodecRecord, kept: Sequence[str]) -> CodecRecord:
    streams = tuple(name for name in codec.streams if name in kept)
    weights = codec.weights_sha256 if streams else None
    return codec.model_copy(update={"streams": streams, "weights_sha256": weights})


def _restrict_stream(stream: Stream, tasks: Sequence[str], kept: Sequence[str]) -> Stream:
    carried = tuple(task for task in stream.carries if task in tasks)
    required = tuple(name for name in stream.requires if name in kept)  # layers may be left out
    return stream.model_copy(update={"carries": carried, "requires": required})


def _only(values: Mapping[str, T], names: Sequence[str]) -> dict[str, T]:
    return {name: value for name, value in values.items() if name in names}
