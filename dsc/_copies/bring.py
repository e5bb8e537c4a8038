"""Copies an archive, or some tasks of it, from anywhere to a local directory.

Each file is checked by its sha256, what an interrupted copy left is used, and ``dsc.json`` comes
last. Where files that the directory's manifest names get other bytes, that manifest goes first: at
no moment does a manifest name files that are not there.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import as_file, files
from pathlib import Path

from dsc._copies.contents import Contents, read_card
from dsc._copies.download import download, is_whole, part_of
from dsc._copies.target import Target
from dsc._pipeline.write.leftovers import remove_leftovers
from dsc._schemas import FileRecord, Manifest
from dsc._storage.files.root import Root
from dsc._storage.format.commit import record_of
from dsc._storage.format.names import CARDS, MANIFEST, WORK
from dsc._storage.read.archive import Archive
from dsc._storage.read.tar_index import rebuild_idx

CopyProgress = Callable[[int, int], None]  # bytes there, bytes in all


class Copier:
    """Copies files one by one, from the nearest place that has them, and counts bytes.

    Attributes
    ----------
    fetched_bytes
        Read from the archive.
    kept_bytes
        Of files that were there already.
    shipped_bytes
        Of codec files that came with dsc and were not read from the archive.
    notes
        What a person should know of it.
    """

    def __init__(
        self,
        source: Root,
        target: Root,
        needed: Sequence[FileRecord],
        progress: CopyProgress | None,
    ) -> None:
        self._source, self._target, self._progress = source, target, progress
        self._total = sum(record.bytes for record in needed)
        self._done = 0
        self.fetched_bytes = self.kept_bytes = self.shipped_bytes = 0
        self.notes: list[str] = []

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


def bring(
    archive: Archive,
    contents: Contents,
    root: Root,
    target: Target,
    *,
    overwrite: bool = False,
    progress: CopyProgress | None = None,
) -> Copier:
    """Make a local directory hold the contents.

    Parameters
    ----------
    archive
        Where the files come from.
    contents
        What the directory is to hold.
    root, target
        The directory, and what is there; its lock is held.
    overwrite
        Whether what else an archive left there is removed, before and after.
    progress
        Called with (bytes there, bytes in all).

    Returns
    -------
    Copier
        With what it counted.

    Raises
    ------
    CorruptArchiveError
        When a file is not what the archive's records say.
    IncompleteError
        When the connection is lost; the same call goes on from there.
    """
    copier = Copier(archive.root, root, contents.files, progress)
    replaced = target.replaced(contents)
    if overwrite and target.manifest is None:
        root.remove(MANIFEST)
    for record in contents.files:
        if record.path not in replaced:
            copier.copy(record)
    for shard in contents.shards:
        for stream in shard.streams.values():
            root.write(f"{stream.path}.idx", rebuild_idx(root, stream))
    if replaced:
        root.remove(MANIFEST)
    for record in contents.files:
        if record.path in replaced:
            copier.copy(record)
    for made in contents.made:
        root.write(made.record.path, made.data)
    for path in contents.cards:
        note = _bring_card(archive, path, root, target, overwrite)
        copier.notes += [note] if note else []
    if overwrite and target.manifest is None:
        remove_leftovers(root, keep={WORK, *CARDS, *all_paths(contents)})
    commit = contents.commit
    if root.local is None or not is_whole(root.local / MANIFEST, commit.record):
        root.write(MANIFEST, commit.data)
    return copier


def missing_bytes(contents: Contents, root: Root) -> tuple[int, int]:
    """Tell how many bytes a copy to a local directory would take, and how many are there."""
    here = Path(str(root.local))
    held = sum(file.bytes for file in contents.files if is_whole(here / file.path, file))
    return sum(file.bytes for file in contents.files) - held, held


def all_paths(contents: Contents) -> set[str]:
    """List every path of a copy: files, indexes, cards and the manifest."""
    named = set(contents.named())
    tars = {stream.path for shard in contents.shards for stream in shard.streams.values()}
    return named | {f"{path}.idx" for path in tars} | {*contents.cards, MANIFEST}


def card_to_write(
    path: str, ours: bytes | None, theirs: bytes | None, known: Manifest | None, overwrite: bool
) -> tuple[bytes | None, str]:
    """Decide about a card of a copy, which people may have edited on either side.

    Parameters
    ----------
    path
        Its name.
    ours, theirs
        What the archive has and what is there; None where there is none.
    known
        The manifest that is there: a card that is as dsc wrote it may be replaced.
    overwrite
        Whether any may.

    Returns
    -------
    data
        What is to be written; None where what is there stays.
    note
        What a person should know; empty where there is nothing.
    """
    if ours is None:
        return None, f"{path} is not there, although the archive names it"
    if theirs is None or overwrite:
        return ours, ""
    if theirs == ours:
        return None, ""
    written = {file.path: file for file in known.files} if known else {}
    if record_of(path, theirs) == written.get(path):
        return ours, ""
    return None, f"{path} at the target was edited and is kept; --overwrite replaces it"


def edited_note(manifest: Manifest, path: str, data: bytes) -> str:
    """Say that a card which goes along is not the one that dsc wrote."""
    if record_of(path, data) in manifest.files:
        return ""
    return f"{path} was edited: it goes along as it is, and `dsc verify` reports it"


def _bring_card(archive: Archive, path: str, root: Root, target: Target, overwrite: bool) -> str:
    try:
        theirs = root.read(path)
    except FileNotFoundError:
        theirs = None
    ours = read_card(archive, path)
    data, note = card_to_write(path, ours, theirs, target.manifest, overwrite)
    if data is None:
        return note
    root.write(path, data)
    return edited_note(archive.manifest, path, data)


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
