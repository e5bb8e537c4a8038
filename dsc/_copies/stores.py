"""Stores that a push sends files to: what is there, whether it is right, and sending the rest.

A store's own checksum decides where it tells one; else a file of the right size is read back.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dsc._schemas import FileRecord, Manifest
from dsc._storage.files.checksums import shows_same, told_sha256
from dsc._storage.files.root import CONNECTIONS, Root
from dsc._storage.format.names import MANIFEST
from dsc._storage.read.verify import hash_file
from dsc.errors import CorruptArchiveError, PlanMismatchError

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Item:
    """A file that goes to a store: one of this machine, or one that was made for it."""

    record: FileRecord
    content: Path | bytes

    def open(self) -> BinaryIO:
        """Open it for reading."""
        if isinstance(self.content, bytes):
            return io.BytesIO(self.content)
        return self.content.open("rb")

    def check(self) -> None:
        """Check its hash; raises CorruptArchiveError where it is not what its record says."""
        with self.open() as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        if found != self.record.sha256:
            raise CorruptArchiveError(
                f"{self.content if isinstance(self.content, Path) else self.record.path}: not the "
                f"file that the archive's records describe (sha256 {found[:16]}, expected "
                f"{self.record.sha256[:16]}); it is damaged, and nothing more is sent: run "
                "`dsc verify`"
            )


@dataclass(frozen=True)
class Upload:
    """What a push does, in this order.

    Attributes
    ----------
    is_other
        Whether what the store's manifest names is replaced: it goes first.
    data
        New files.
    replaced
        Files that the store's manifest names with other bytes: it goes before they come.
    cards
        For people.
    remove
        Files of an archive that is replaced.
    commit
        The manifest; None where it is there.
    base
        The manifest that was there when this was decided.
    """

    is_other: bool
    data: tuple[Item, ...]
    replaced: tuple[Item, ...]
    cards: tuple[Item, ...]
    remove: tuple[str, ...]
    commit: Item | None
    base: Manifest | None

    def items(self) -> list[Item]:
        """List all that is sent."""
        commit = [] if self.commit is None else [self.commit]
        return [*self.data, *self.replaced, *self.cards, *commit]


class Store:
    """A directory of any file system of fsspec.

    Attributes
    ----------
    root
        Where it is.
    found
        What it tells of each file that was there at the last look, by path.
    may_have_others
        Whether files of other people's usually lie beside an archive.
    """

    may_have_others = False

    def __init__(self, root: Root) -> None:
        self.root = root
        self.found: dict[str, Mapping[str, Any]] = {}

    def look(self) -> None:
        """List what is there."""
        self.found = self._listed()

    def _listed(self) -> dict[str, Mapping[str, Any]]:
        def listed(fs: Any, full: str) -> dict[str, Mapping[str, Any]]:
            base = fs._strip_protocol(full).rstrip("/")
            fs.invalidate_cache()
            try:
                infos = fs.find(base, detail=True)
            except FileNotFoundError:
                return {}
            return {str(name).removeprefix(base).lstrip("/"): infos[name] for name in infos}

        return self.root.remote.call("", listed)

    def missing(self, items: Sequence[Item]) -> list[Item]:
        """List those that are not there with the right bytes."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            there = pool.map(lambda item: self._is_there(item, self.found), items)
            return [item for item, is_there in zip(items, there, strict=True) if not is_there]

    def send(self, upload: Upload, advance: Advance) -> None:
        """Do what was decided; what a failure leaves is used by the next push.

        Raises
        ------
        CorruptArchiveError
            When a file is not what its record says.
        PlanMismatchError
            When somebody else has changed what is there; the manifest is not touched.
        OSError
            When the network fails again and again.
        """
        base = upload.base
        if upload.is_other:
            self.root.remove(MANIFEST)
        self._put_all(upload.data, advance)
        if upload.replaced:
            self._check_base(base)
            self.root.remove(MANIFEST)
            base = None
        self._put_all([*upload.replaced, *upload.cards], advance)
        for path in upload.remove:
            if path != MANIFEST:
                self.root.remove(path)
        if upload.commit is not None:
            self._check_base(base)
            self._put(upload.commit, advance)

    def _check_base(self, base: Manifest | None) -> None:
        try:
            found: bytes | None = self.root.read(MANIFEST)
        except FileNotFoundError:
            found = None
        if found != (None if base is None else base.to_file_bytes()):
            raise PlanMismatchError(
                f"{self.root.where(MANIFEST)} has changed while this push ran; it was left as it "
                "is. Run the same command again"
            )

    def _put_all(self, items: Iterable[Item], advance: Advance) -> None:
        """Send files side by side; the first failure ends it."""
        pool = ThreadPoolExecutor(CONNECTIONS)
        try:
            running = [pool.submit(self._put, item, advance) for item in items]
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            for one in done:
                one.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _put(self, item: Item, advance: Advance) -> None:
        item.check()
        told = [0]  # of its bytes, as sent
        self.root.remote.call(
            item.record.path, lambda fs, full: self._put_once(item, fs, full, advance, told)
        )
        advance(item.record.bytes - told[0])

    def _put_once(self, item: Item, fs: Any, full: str, advance: Advance, told: list[int]) -> None:
        """Send a file, and look at what has arrived; what an attempt before told is taken back."""
        advance(-told[0])
        told[0] = 0

        def tell(size: int | None, value: int, **_: Any) -> None:
            advance(value - told[0])
            told[0] = value

        if isinstance(item.content, Path):
            from fsspec.callbacks import Callback

            fs.put_file(str(item.content), full, callback=Callback(hooks={"tell": tell}))
        else:
            _pipe(fs, full, item.content)
        fs.invalidate_cache(fs._parent(full))
        info = fs.info(full)
        if not self._is_there(item, {item.record.path: info}):
            raise OSError(
                f"what arrived ({info.get('size')} bytes) is not what was sent "
                f"({item.record.bytes} bytes)"
            )

    def _is_there(self, item: Item, found: Mapping[str, Mapping[str, Any]]) -> bool:
        info = found.get(item.record.path)
        if info is None or info.get("size") != item.record.bytes:
            return False
        told = told_sha256(info)
        if told:
            return told == item.record.sha256
        return shows_same(info, item.open) or self._read_back(item.record)

    def _read_back(self, record: FileRecord) -> bool:
        return hash_file(self.root, record) == record.sha256


def _pipe(fs: Any, full: str, data: bytes) -> None:
    try:
        fs.pipe_file(full, data)
    except FileNotFoundError:  # a store that has directories
        fs.makedirs(fs._parent(full), exist_ok=True)
        fs.pipe_file(full, data)
