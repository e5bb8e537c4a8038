"""Copies some tasks of an archive, from anywhere, into an archive of their own.

Only the streams that carry the asked tasks, and those they require, are read; no byte of another
task is asked for. The copy has the same samples, keys and packs, its ``dsc.json`` is written last,
and every command works on it. An interrupted fetch goes on where it stopped; fetching more tasks
into the same directory adds them.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TypeVar

from dsc._pipeline.copy.download import download, is_whole, part_of
from dsc._schemas import (
    CodecRecord,
    FileRecord,
    Manifest,
    ShardRecord,
    Stream,
    required_streams,
    resolve_tasks,
)
from dsc._storage.files.root import Root
from dsc._storage.files.writable import check_root
from dsc._storage.format.commit import write_manifest, write_shards
from dsc._storage.format.names import MANIFEST
from dsc._storage.format.sole_writer import sole_writer
from dsc._storage.read.archive import Archive
from dsc._storage.read.tar_index import rebuild_idx
from dsc.errors import (
    CorruptArchiveError,
    PlanMismatchError,
    UnknownTaskError,
    UnsupportedVersionError,
    UsageError,
)

FetchProgress = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True)
class FetchReport:
    """What a fetch did.

    Attributes
    ----------
    tasks, streams
        What the copy now holds.
    fetched_bytes
        Bytes of files read from the archive in this run.
    kept_bytes
        Bytes that an earlier run had left.
    shipped_bytes
        Bytes of codec files that came with dsc and were not read from the archive.
    """

    manifest: Manifest
    tasks: tuple[str, ...]
    streams: tuple[str, ...]
    fetched_bytes: int
    kept_bytes: int
    shipped_bytes: int


def fetch(
    url: str | os.PathLike[str],
    tasks: Sequence[str] | str | None,
    out: str | os.PathLike[str],
    *,
    progress: FetchProgress | None = None,
) -> FetchReport:
    """Copy `tasks` of the archive at `url` to the directory `out`.

    Parameters
    ----------
    url
        A path, ``http(s)://`` or any other fsspec URL of an archive.
    tasks
        Names or aliases, as a sequence or with commas; None for all.
    out
        A local directory; what an interrupted fetch left there is used.
    progress
        Called with (bytes there, bytes in all).

    Raises
    ------
    ArchiveNotFoundError, UnknownTaskError
        When there is no archive at `url`, or it lacks a task.
    PlanMismatchError, UsageError
        When `out` holds another archive, cannot be written to, or is being written to.
    CorruptArchiveError
        When a file is not what the archive's records say.
    IncompleteError
        When the connection is lost; the same call goes on from there.
    """
    archive = Archive.open(os.fspath(url))
    target = _target(archive, os.fspath(out))
    with sole_writer(target, "dsc fetch"):
        return _fetch(archive, tasks, target, progress)


def _fetch(
    archive: Archive,
    tasks: Sequence[str] | str | None,
    target: Root,
    progress: FetchProgress | None,
) -> FetchReport:
    names = _wanted_tasks(archive, tasks, target)
    manifest, shards = restrict(archive.manifest, archive.shards, names)
    needed = _needed_files(manifest, shards)
    copier = _Copier(archive.root, target, needed, progress)
    for record in needed:
        copier.copy(record)
    for shard in shards:
        for stream in shard.streams.values():
            target.write(f"{stream.path}.idx", rebuild_idx(target, stream))
    listed = write_shards(target, shards)
    codec_files = tuple(file for file in needed if file.path.startswith("codecs/"))
    records = sorted((*codec_files, listed), key=lambda file: file.path)
    sealed = manifest.model_copy(update={"files": tuple(records)}).sealed()
    write_manifest(target, sealed)
    return FetchReport(
        manifest=sealed,
        tasks=names,
        streams=tuple(stream.name for stream in sealed.streams),
        fetched_bytes=copier.fetched_bytes,
        kept_bytes=copier.kept_bytes,
        shipped_bytes=copier.shipped_bytes,
    )


def restrict(
    manifest: Manifest, shards: Sequence[ShardRecord], tasks: Sequence[str]
) -> tuple[Manifest, tuple[ShardRecord, ...]]:
    """Return the manifest and shard records of an archive of these tasks (full names) only.

    Codecs keep their slots, because packs name them; one that is not needed keeps no streams and no
    weights. `files` still has every codec file that is needed, and nothing else.
    """
    kept = required_streams(manifest.streams, tasks)
    codecs = tuple(_restrict_codec(codec, kept) for codec in manifest.codecs)
    weights = {f"codecs/{c.weights_sha256}.safetensors" for c in codecs if c.weights_sha256}
    narrowed = manifest.model_copy(
        update={
            "tasks": tuple(task for task in manifest.tasks if task.name in tasks),
            "streams": tuple(
                _restrict_stream(s, tasks) for s in manifest.streams if s.name in kept
            ),
            "codecs": codecs,
            "totals": _only(manifest.totals, kept),
            "source_bytes": _only(manifest.source_bytes, tasks),
            "files": tuple(file for file in manifest.files if file.path in weights),
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


def _restrict_stream(stream: Stream, tasks: Sequence[str]) -> Stream:
    carried = tuple(task for task in stream.carries if task in tasks)
    return stream.model_copy(update={"carries": carried})


def _only(values: Mapping[str, T], names: Sequence[str]) -> dict[str, T]:
    return {name: value for name, value in values.items() if name in names}


def _target(archive: Archive, out: str) -> Root:
    if "://" in out and not out.startswith("file://"):
        raise UsageError(f"--out {out}: fetch writes to a local directory; give a path")
    if not out:
        raise UsageError("--out '': give a directory")
    target = Root(str(Path(out).expanduser()) if "://" not in out else out)
    here, there = archive.root.local, target.local
    if here is not None and there is not None and here.resolve() == there.resolve():
        raise UsageError(f"--out {out}: that is the archive itself; give another directory")
    check_root(target, f"--out {out}")
    return target


def _wanted_tasks(
    archive: Archive, tasks: Sequence[str] | str | None, target: Root
) -> tuple[str, ...]:
    """Resolve the asked tasks, and add those that the directory holds already."""
    available = [task.name for task in archive.manifest.tasks]
    try:
        asked = resolve_tasks(tasks, available)
    except UnknownTaskError as error:
        raise UnknownTaskError(f"{archive.root.url}: {error}") from None
    if not asked:
        raise UsageError(f"--tasks: name one of {', '.join(available)}")
    held = _held_tasks(archive, target)
    return tuple(name for name in available if name in asked or name in held)


def _held_tasks(archive: Archive, target: Root) -> set[str]:
    try:
        data = target.read(MANIFEST)
    except FileNotFoundError:
        return set()
    try:
        found = Manifest.from_file_bytes(data, target.where(MANIFEST))
    except (CorruptArchiveError, UnsupportedVersionError) as error:
        raise PlanMismatchError(
            f"--out {target.url}: there is an archive that cannot be read ({error}); "
            "give another directory, or remove this one"
        ) from None
    if found.plan_sha256 != archive.manifest.plan_sha256:
        raise PlanMismatchError(
            f"--out {target.url}: it holds another archive (of {found.source}, plan "
            f"{found.plan_sha256[:12]}; this one is {archive.manifest.plan_sha256[:12]}); "
            "give another directory"
        )
    if archive.manifest.appended[: len(found.appended)] != found.appended:
        raise PlanMismatchError(
            f"--out {target.url}: it has grown by itself (generation {found.generation}) and is "
            "no copy of this archive any more; give another directory"
        )
    return {task.name for task in found.tasks}


def _needed_files(manifest: Manifest, shards: Sequence[ShardRecord]) -> list[FileRecord]:
    """List the files to copy: codecs, then shard by shard, so that what is whole is useful."""
    needed: list[FileRecord] = list(manifest.files)
    for shard in shards:
        needed += [shard.keys, *shard.streams.values()]
    return needed


class _Copier:
    """Copies files one by one, from the nearest place that has them, and counts bytes."""

    def __init__(
        self,
        source: Root,
        target: Root,
        needed: Sequence[FileRecord],
        progress: FetchProgress | None,
    ) -> None:
        self._source, self._target, self._progress = source, target, progress
        self._total = sum(record.bytes for record in needed)
        self._done = 0
        self.fetched_bytes = self.kept_bytes = self.shipped_bytes = 0

    def copy(self, record: FileRecord) -> None:
        """Make a file whole in the target."""
        path = Path(str(self._target.local)) / record.path
        if is_whole(path, record):
            self.kept_bytes += record.bytes
            self._advance(record.bytes)
            return
        shipped = shipped_file(record)
        if shipped is not None:
            self._target.write(record.path, shipped)
            self.shipped_bytes += record.bytes
            self._advance(record.bytes)
            return
        self._check_room(path, record)
        read = download(self._source, record, path, self._advance)
        self.fetched_bytes += read
        self.kept_bytes += max(record.bytes - read, 0)

    def _check_room(self, path: Path, record: FileRecord) -> None:
        """Stop before the first byte when the disk cannot hold the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(path)
        held = part.stat().st_size if part.exists() else 0
        if shutil.disk_usage(path.parent).free < record.bytes - held:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def _advance(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def shipped_file(record: FileRecord) -> bytes | None:
    """Return a codec file that came with dsc and is the one the record names; None if none is."""
    if not record.path.startswith("codecs/"):
        return None
    for path in _shipped_paths():
        data = path.read_bytes() if path.stat().st_size == record.bytes else b""
        if data and hashlib.sha256(data).hexdigest() == record.sha256:
            return data
    return None


def _shipped_paths() -> Iterator[Path]:
    directory = files("dsc._codecs") / "weights"
    if directory.is_dir():
        for entry in directory.iterdir():
            if entry.name.endswith(".safetensors"):
                with as_file(entry) as path:
                    yield path
