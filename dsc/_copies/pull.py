"""Copies a whole archive from anywhere to a local directory, byte for byte; the inverse of a push.

It is a fetch that leaves nothing out: card, description and older records come along, too, so that
the copy is the archive itself, can grow, and can be pushed elsewhere.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from dsc._copies.bring import CopyProgress, bring, missing_bytes
from dsc._copies.contents import Contents, of_tasks, whole
from dsc._copies.fetch import local_target, wanted_streams
from dsc._copies.target import Target, look_at
from dsc._schemas import Manifest
from dsc._storage.files.root import Root
from dsc._storage.format.sole_writer import sole_writer
from dsc._storage.read.archive import Archive


@dataclass(frozen=True)
class CopyReport:
    """What a pull or a push did, or would do.

    Attributes
    ----------
    manifest
        Of what the target holds.
    copied_bytes, kept_bytes
        Bytes of files that were copied, and that were there already.
    shipped_bytes
        Bytes of codec files that came with dsc and did not cross the network.
    removed
        Files of another archive that were there and are gone.
    notes
        What a person should know: cards that were edited, files that are not the archive's.
    dry_run
        Whether nothing was written.
    """

    manifest: Manifest
    copied_bytes: int
    kept_bytes: int
    shipped_bytes: int = 0
    removed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dry_run: bool = False


def pull(
    url: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    tasks: Sequence[str] | str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: CopyProgress | None = None,
) -> CopyReport:
    """Copy an archive from anywhere to a local directory, byte for byte.

    Parameters
    ----------
    url
        A path, ``http(s)://``, ``s3://``, ``hf://datasets/USER/NAME`` or any other fsspec URL of an
        archive.
    out
        A local directory. What an interrupted pull left there is used; an older generation of the
        archive gets what is new.
    tasks
        Names or aliases, as a sequence or with commas: only these, as `fetch` takes them; None for
        all of the archive.
    overwrite
        Replace another archive that is there, and cards that were edited.
    dry_run
        Only tell what would be copied.
    progress
        Called with (bytes there, bytes in all).

    Raises
    ------
    ArchiveNotFoundError, UnknownTaskError
        When there is no archive at `url`, or it lacks a task.
    PlanMismatchError, UsageError
        When `out` holds another archive or a newer state of this one, cannot be written to, or is
        being written to.
    CorruptArchiveError
        When a file is not what the archive's records say.
    IncompleteError
        When the connection is lost; the same call goes on from there.
    """
    archive = Archive.open(os.fspath(url))
    root = local_target(archive, os.fspath(out))
    return pull_from(archive, root, "dsc pull", tasks, overwrite, dry_run, progress)


def pull_from(
    archive: Archive,
    root: Root,
    command: str,
    tasks: Sequence[str] | str | None,
    overwrite: bool,
    dry_run: bool,
    progress: CopyProgress | None,
) -> CopyReport:
    """Copy an open archive to a local directory; see `pull`."""
    if dry_run:
        target = look_at(root, root.url, archive.manifest, overwrite)
        contents = wanted_contents(archive, tasks, target)
        copied, kept = missing_bytes(contents, root)
        return CopyReport(contents.manifest, copied, kept, dry_run=True)
    with sole_writer(root, command):
        target = look_at(root, root.url, archive.manifest, overwrite)
        contents = wanted_contents(archive, tasks, target)
        done = bring(archive, contents, root, target, overwrite=overwrite, progress=progress)
    return CopyReport(
        contents.manifest,
        done.fetched_bytes,
        done.kept_bytes,
        done.shipped_bytes,
        notes=tuple(done.notes),
    )


def wanted_contents(
    archive: Archive, tasks: Sequence[str] | str | None, target: Target
) -> Contents:
    """Return all of an archive, or some tasks and those that the target holds already."""
    if tasks is None or target.is_whole:
        return whole(archive)
    return of_tasks(archive, *wanted_streams(archive, tasks, target))
