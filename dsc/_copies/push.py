"""Copies a local archive to a store, such that nobody ever sees half of it; the inverse of a pull.

What is there already, by size and checksum, is not sent again, so an interrupted push goes on and
a grown archive sends what is new. The manifest comes last. Shards and codecs are never written
again, so readers of an older generation go on undisturbed; where files that the store's manifest
names must get other bytes (another archive is replaced, a copy of some tasks gets more), that
manifest is removed first.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dsc._copies.bring import CopyProgress, all_paths, card_to_write, edited_note
from dsc._copies.contents import Contents, read_card
from dsc._copies.fetch import local_target
from dsc._copies.hub import Hub
from dsc._copies.pull import CopyReport, pull_from, wanted_contents
from dsc._copies.stores import Item, Store, Upload
from dsc._copies.target import Target, look_at
from dsc._schemas import StreamRecord
from dsc._storage.files.place import redact
from dsc._storage.files.root import Root
from dsc._storage.files.writable import check_root, is_hub
from dsc._storage.format.commit import record_of
from dsc._storage.format.names import CARDS, OWN, PLAN
from dsc._storage.read.archive import Archive
from dsc._storage.read.tar_index import check_idx, rebuild_idx
from dsc.errors import CorruptArchiveError, UsageError

SHOWN = 4


def push(
    archive: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    tasks: Sequence[str] | str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    public: bool = False,
    progress: CopyProgress | None = None,
) -> CopyReport:
    """Copy a local archive to a store, from which it can be read, streamed, fetched and pulled.

    Parameters
    ----------
    archive
        Its directory.
    target
        ``s3://BUCKET/PATH``, ``hf://datasets/USER/NAME`` (``@REVISION`` and a path may follow), any
        other fsspec URL that can be written to, or a directory. An older generation of the archive
        that is there gets what is new.
    tasks
        Names or aliases, as a sequence or with commas: only these, as `fetch` copies them; None for
        all of the archive.
    overwrite
        Replace another archive that is there, and cards that were edited.
    dry_run
        Only tell what would be sent.
    public
        Whether a repository of the Hub that has to be made is public; else it is private.
    progress
        Called with (bytes there, bytes in all).

    Raises
    ------
    ArchiveNotFoundError, UnknownTaskError
        When there is no archive at `archive`, or it lacks a task.
    PlanMismatchError, UsageError
        When `target` holds another archive or a newer state of this one, or cannot be written to.
    CorruptArchiveError
        When a file of the archive, or one that arrived, is not what the records say.
    MissingPackageError
        When the store needs a package that is not installed.
    OSError
        When the network fails; what has arrived is kept, and the same call goes on from there.
    """
    source = Archive.open(os.fspath(archive))
    if source.root.local is None:
        raise UsageError(
            f"{redact(source.root.url)}: a push takes an archive of this machine; "
            "`dsc pull` brings it here"
        )
    place = os.fspath(target)
    if public and not place.startswith("hf://"):
        raise UsageError(f"{redact(place)}: only a new repository of hf:// is made public")
    if "://" not in place or place.startswith("file://"):
        root = local_target(source, place)
        return pull_from(source, root, "dsc push", tasks, overwrite, dry_run, progress)
    root = Root(place)
    if is_hub(root):
        store: Store = Hub(root, public)
    else:
        check_root(root, redact(place))
        store = Store(root)
    return _push(source, store, tasks, overwrite, dry_run, progress)


def _push(
    source: Archive,
    store: Store,
    tasks: Sequence[str] | str | None,
    overwrite: bool,
    dry_run: bool,
    progress: CopyProgress | None,
) -> CopyReport:
    store.look()  # before the manifest is read, so that a change after that is found at the end
    target = look_at(store.root, store.root.url, source.manifest, overwrite)
    contents = wanted_contents(source, tasks, target)
    others = [] if overwrite else _check_others(store, contents, target)
    items = list(_items(source, contents))
    cards, notes = _cards(source, contents, store, target, overwrite)
    if others:
        notes.append(f"files that are not of the archive are left alone: {_some(others)}")
    upload = _upload(contents, target, store, items, cards, overwrite)
    cards_bytes = sum(file.bytes for file in contents.manifest.files if file.path in CARDS)
    all_bytes = _sum(items) + cards_bytes + contents.commit.record.bytes
    sent = _sum(upload.items())
    there = max(all_bytes - sent, 0)  # an edited card has other bytes than its record
    if not dry_run:
        store.send(upload, _Meter(progress, there, sent))
    return CopyReport(
        contents.manifest, sent, there, removed=upload.remove, notes=tuple(notes), dry_run=dry_run
    )


def _sum(items: Iterable[Item]) -> int:
    return sum(item.record.bytes for item in items)


class _Meter:
    """Adds up what is there, for a progress report; threads share it."""

    def __init__(self, progress: CopyProgress | None, there: int, sent: int) -> None:
        self._progress, self._done, self._total = progress, there, there + sent
        self._lock = threading.Lock()
        self(0)

    def __call__(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._progress is not None:
                self._progress(self._done, self._total)


def _items(source: Archive, contents: Contents) -> Iterator[Item]:
    """Yield every file of a copy but cards and manifest, and see that it is there in full."""
    here = Path(str(source.root.local))
    for record in contents.files:
        path = here / record.path
        found = path.stat().st_size if path.is_file() else None
        if found != record.bytes:
            what = "is not there" if found is None else f"has {found} bytes"
            raise CorruptArchiveError(
                f"{path} {what}, the archive's records say {record.bytes} bytes: run `dsc verify`"
            )
        yield Item(record, path)
    for number, shard in enumerate(contents.shards):
        for name, tar in shard.streams.items():
            yield _made(f"{tar.path}.idx", _index(source, tar, source.n_members(number, name)))
    for made in contents.made:
        yield Item(made.record, made.data)


def _made(path: str, data: bytes) -> Item:
    return Item(record_of(path, data), data)


def _index(source: Archive, tar: StreamRecord, n_packs: int) -> bytes:
    """Read the index of a tar; it is made again where it is gone or wrong."""
    path = f"{tar.path}.idx"
    try:
        data = source.root.read(path)
        check_idx(data, n_packs, tar, source.root.where(path))
        return data
    except (FileNotFoundError, CorruptArchiveError):
        return rebuild_idx(source.root, tar)


def _cards(
    source: Archive, contents: Contents, store: Store, target: Target, overwrite: bool
) -> tuple[list[Item], list[str]]:
    """Return the cards that are to be sent, and what a person should know of them."""
    items, notes = [], []
    for path in contents.cards:
        ours = read_card(source, path)
        theirs = store.root.read(path) if path in store.found else None
        data, note = card_to_write(path, ours, theirs, target.manifest, overwrite)
        if data is not None:
            items.append(_made(path, data))
            note = edited_note(source.manifest, path, data)
        notes += [note] if note else []
    return items, notes


def _check_others(store: Store, contents: Contents, target: Target) -> list[str]:
    """Refuse a place where an archive is being made, or other data lie.

    Returns
    -------
    list of str
        Files that are not of an archive, where that is usual.
    """
    option, named = target.option, all_paths(contents)
    if PLAN in store.found:
        raise UsageError(
            f"{option}: an archive is being made or added to there (or was, and was not ended); "
            "end that first, give another place, or --overwrite it"
        )
    if target.manifest is not None:
        return []
    others = sorted(path for path in store.found if path not in named and not path.startswith("."))
    unfinished = [path for path in others if OWN.fullmatch(path) and path not in CARDS]
    if unfinished:
        raise UsageError(
            f"{option} holds part of another archive ({_some(unfinished)}); end what was copied "
            "there, give another place, or --overwrite it"
        )
    if others and not store.may_have_others:
        raise UsageError(
            f"{option} holds files that are not of an archive ({_some(others)}); "
            "give an empty or new directory"
        )
    return others


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(paths[:SHOWN]) + more


def _upload(
    contents: Contents,
    target: Target,
    store: Store,
    items: Sequence[Item],
    cards: Sequence[Item],
    overwrite: bool,
) -> Upload:
    """Decide what is sent, in which order, and what goes."""
    missing, replaced = store.missing(items), target.replaced(contents)
    is_other, named = overwrite and target.manifest is None, all_paths(contents)
    stale = [path for path in store.found if path not in named and OWN.fullmatch(path)]
    commit = contents.commit
    return Upload(
        is_other=is_other,
        data=tuple(item for item in missing if item.record.path not in replaced),
        replaced=tuple(item for item in missing if item.record.path in replaced),
        cards=tuple(cards),
        remove=tuple(stale) if is_other else (),
        commit=None if target.manifest == contents.manifest else Item(commit.record, commit.data),
        base=target.manifest,
    )
