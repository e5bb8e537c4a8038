"""Copies some tasks of an archive, from anywhere, into an archive of their own.

Only the streams that carry the asked tasks, and those they require, are read; no byte of another
task is asked for. The copy has the same samples, keys and packs, its ``dsc.json`` is written last,
and every command works on it. An interrupted fetch goes on where it stopped; fetching more tasks
into the same directory adds them.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from dsc._copies.bring import CopyProgress, bring
from dsc._copies.contents import of_tasks, whole
from dsc._copies.target import Target, look_at
from dsc._schemas import Manifest, resolve_tasks
from dsc._schemas.levels import Levels, left_out, parse_levels
from dsc._schemas.machine_path import stored_words
from dsc._schemas.rate import Rate, parse_rate, streams_at
from dsc._storage.files.place import redact
from dsc._storage.files.root import Root
from dsc._storage.files.writable import check_root
from dsc._storage.format.sole_writer import sole_writer
from dsc._storage.read.archive import Archive
from dsc.errors import UnknownTaskError, UsageError


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
    rate: Rate = 1,
    levels: Levels | None = None,
    progress: CopyProgress | None = None,
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
    rate
        The part of the frames of recordings that is copied, as ``"1/16"`` or ``"1/4"``: the layers
        that have it, of tasks that are coded in layers; others are copied whole. What `out` has
        already stays as it is.
    levels
        How many of a task's levels are copied, coarse first: ``"rgb=1"``, or ``1`` for the coarsest
        of every task that has some; None for all. Finer ones can be fetched later.
    progress
        Called with (bytes there, bytes in all).

    Raises
    ------
    ArchiveNotFoundError, UnknownTaskError
        When there is no archive at `url`, or it lacks a task.
    PlanMismatchError, UsageError
        When `out` holds another archive, cannot be written to, or is being written to; or the
        archive does not have the tasks at this rate, or at these levels.
    CorruptArchiveError
        When a file is not what the archive's records say.
    IncompleteError
        When the connection is lost; the same call goes on from there.
    """
    archive = Archive.open(os.fspath(url))
    target = local_target(archive, os.fspath(out), "--out ")
    with sole_writer(target, "dsc fetch"):
        return take(archive, tasks, target, rate=rate, levels=levels, progress=progress)


def take(
    archive: Archive,
    tasks: Sequence[str] | str | None,
    root: Root,
    *,
    rate: Rate = 1,
    levels: Levels | None = None,
    progress: CopyProgress | None = None,
) -> FetchReport:
    """Copy tasks to a directory whose lock is held; see `fetch`."""
    target = look_at(root, f"--out {root.url}", archive.manifest)
    names, streams = wanted_streams(archive, tasks, target, rate, levels)
    # where the archive itself is, a copy of some of its tasks would be less
    contents = whole(archive) if target.is_whole else of_tasks(archive, names, streams)
    copier = bring(archive, contents, root, target, progress=progress)
    return FetchReport(
        manifest=contents.manifest,
        tasks=contents.tasks,
        streams=tuple(stream.name for stream in contents.manifest.streams),
        fetched_bytes=copier.fetched_bytes,
        kept_bytes=copier.kept_bytes,
        shipped_bytes=copier.shipped_bytes,
    )


def local_target(archive: Archive, out: str, option: str = "") -> Root:
    """Return the local directory where a copy of an archive is to go.

    Raises
    ------
    UsageError
        When it is none, is the archive itself, or nothing can be written there.
    """
    if "://" in out and not out.startswith("file://"):
        raise UsageError(f"{option}{redact(out)}: copies come to a local directory; give a path")
    if not out:
        raise UsageError(f"{option}'': give a directory")
    target = Root(os.path.expanduser(out) if "://" not in out else out)
    here, there = archive.root.local, target.local
    if here is not None and there is not None and here.resolve() == there.resolve():
        raise UsageError(f"{option}{out}: that is the archive itself; give another directory")
    check_root(target, f"{option}{out}")
    return target


def wanted_streams(
    archive: Archive,
    tasks: Sequence[str] | str | None,
    target: Target,
    rate: Rate = 1,
    levels: Levels | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Resolve the asked tasks, and list their streams; with what the target holds already.

    Raises
    ------
    UnknownTaskError, UsageError
        When the archive lacks a task, or does not have it at this rate or level.
    """
    available = [task.name for task in archive.manifest.tasks]
    try:
        asked = resolve_tasks(stored_words(tasks), available)
    except UnknownTaskError as error:
        raise UnknownTaskError(f"{archive.root.url}: {error}") from None
    if not asked:
        raise UsageError(f"--tasks: name one of {', '.join(available)}")
    streams, codecs = archive.manifest.streams, archive.manifest.codecs
    denominator = parse_rate(rate, "--rate")
    wanted = set(streams_at(streams, codecs, asked, denominator, "--rate"))
    if levels is not None:
        wanted -= left_out(archive.manifest, asked, parse_levels(levels, "--levels"), "--levels")
    wanted |= set(target.streams)
    return (
        tuple(name for name in available if name in asked or name in target.tasks),
        tuple(stream.name for stream in streams if stream.name in wanted),
    )
