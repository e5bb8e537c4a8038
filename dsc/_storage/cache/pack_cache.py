"""A directory of packs that were read before, with a limit, shared by processes and threads.

What is in it may always be thrown away: it holds copies only, under names made of the hash of the
tar and the number of the pack, so that no other archive's pack can be taken for one of them. What
holds at any time, also after a process was killed or stopped:

- the directory holds no more than the limit (each entry counted in blocks of 4 KiB);
- an entry is whole or not there; what it holds is checked by whoever uses it;
- a pack is fetched by one process while the others wait, but never for longer than `wait_s`;
- nothing is deleted that a cache did not write, and nothing inside an archive is touched;
- a disk that is full or cannot be written ends the writing, with one warning, not the reading.

In the directory, besides a marker: ``packs/<2 hex>/<name>`` are the entries, with the time of their
last use; ``parts/<name>.part`` is one that is being fetched, locked by who fetches it, so that one
which can be locked was left by a process that died; ``size`` holds an upper bound of the bytes in
use, changed only while it is locked: bytes are added before they are written and taken off after
they are deleted.
"""

import os
import re
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dsc._storage.files.counts import ReadCounts
from dsc._storage.files.lock import is_at, lock_open_file, unlock_open_file
from dsc._storage.format.names import MANIFEST, PLAN
from dsc.errors import CorruptArchiveError, UsageError

WAIT_S = 20.0
WAIT_TO_ACCOUNT_S = 5.0
PATIENCE_S = 60.0  # who waited in vain does not wait again for so long
CLAIMS = 128  # files that one call keeps open at once
SLACK = 10  # making room frees one part in so many, so that few calls must look at all entries

MARKER = "dsc-cache.txt"
MARKER_TEXT = b"A cache of dsc: copies of packs. It can be deleted at any time.\n"
DISK_BLOCK = 4096  # what every file is counted in, in bytes
_NAME = re.compile(r"[0-9a-f]{64}-[0-9]{1,12}")
_PART = re.compile(rf"{_NAME.pattern}(\.[0-9a-f]{{32}})?\.part")

Fetch = Callable[[Sequence[str]], Mapping[str, bytes]]
Check = Callable[[str, bytes], object]
Claims = dict[str, tuple[int, Path]]


class PackCache:
    """A cache directory; picklable, safe under threads, forks and any number of processes.

    Parameters
    ----------
    directory
        A local directory that is a cache already, empty, or not there yet.
    limit_bytes
        The most that it may hold, in bytes.
    wait_s
        How long to wait for a pack that another process fetches, in seconds; after that it is
        fetched here, too.

    Raises
    ------
    UsageError
        When the directory is a URL, holds files that no cache wrote, or lies in an archive; when
        the limit is below 1.
    """

    def __init__(
        self, directory: str | os.PathLike[str], limit_bytes: int, wait_s: float = WAIT_S
    ) -> None:
        text = os.fspath(directory)
        if "://" in text:
            raise UsageError(f"{text}: a cache is a local directory")
        if limit_bytes < 1:
            raise UsageError(f"a cache of {limit_bytes} bytes holds nothing; give 1 or more")
        self.directory = Path(os.path.expanduser(text)).absolute()
        self.limit_bytes, self.wait_s = limit_bytes, wait_s
        self._writable = True
        self._impatient_until = 0.0
        _check_place(self.directory)
        try:
            _begin(self.directory)
        except OSError as error:
            self._stop_writing(error, ReadCounts())

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_impatient_until": 0.0}  # another machine's clock differs

    def get_many(
        self,
        names: Sequence[str],
        fetch: Fetch,
        check: Check = lambda _name, _data: None,
        counts: ReadCounts | None = None,
    ) -> dict[str, bytes]:
        """Return entries: from the directory where they are there, else from `fetch`, then kept.

        Parameters
        ----------
        names
            See `pack_name`.
        fetch
            Called with names that are not there; gives the bytes of each, checked. It may be
            called more than once, with different names. What it raises is passed on.
        check
            Called with every entry found; raises CorruptArchiveError for one that is damaged,
            which is then dropped, counted and fetched.
        counts
            Where to count.

        Raises
        ------
        ValueError
            When a name is not one that `pack_name` gives.
        """
        counts = ReadCounts() if counts is None else counts
        found = self._take(names, check, counts)
        missing = _without(names, found)
        counts.add("cache_hits", len(found))
        counts.add("cache_misses", len(missing))
        for first in range(0, len(missing), CLAIMS):
            found |= self._get_missing(missing[first : first + CLAIMS], fetch, check, counts)
        return found

    def used_bytes(self) -> int:
        """Return the bytes in use, in whole blocks, by looking at all entries."""
        return sum(size for _, size, _ in _entries(self.directory))

    def _get_missing(
        self, missing: list[str], fetch: Fetch, check: Check, counts: ReadCounts
    ) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        begun, pause = time.monotonic(), 0.001
        while missing and self._writable:
            with self._claims(missing, counts) as claims:
                # it may have been finished between the look and the claim
                found |= self._take(claims, check, counts)
                found |= self._fetch(_without(claims, found), fetch, claims, counts)
            begun = time.monotonic() if claims else begun
            missing = _without(missing, found)
            if missing and not self._may_wait(begun, counts):
                break
            if missing:
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
                found |= self._take(missing, check, counts)
                missing = _without(missing, found)
        with self._claims(missing, counts, alone=True) as claims:
            return found | self._fetch(missing, fetch, claims, counts)

    def _take(self, names: Iterable[str], check: Check, counts: ReadCounts) -> dict[str, bytes]:
        """Read and check the entries that are there."""
        found = {}
        for name in dict.fromkeys(names):
            path = _entry(self.directory, name)
            try:
                data = path.read_bytes()
                check(name, data)
            except FileNotFoundError:
                continue
            except OSError:
                counts.add("cache_errors")
                continue
            except CorruptArchiveError:
                counts.add("cache_damaged")
                self._drop(path, counts)
                continue
            found[name] = data
            with suppress(OSError):
                os.utime(path)
        return found

    def _drop(self, path: Path, counts: ReadCounts) -> None:
        try:
            size = _in_blocks(path.stat().st_size)
            path.unlink()
            with self._account(counts) as account:
                used = None if account is None else _read_number(account)
                if account is not None and used is not None:
                    _write_number(account, max(0, used - size))
        except FileNotFoundError:
            return
        except OSError:
            counts.add("cache_errors")

    def _fetch(
        self, names: Sequence[str], fetch: Fetch, claims: Claims, counts: ReadCounts
    ) -> dict[str, bytes]:
        fetched = dict(fetch(names)) if names else {}
        for name in names:
            if name in claims and self._writable:
                self._put(name, fetched[name], claims[name], counts)
        return fetched

    @contextmanager
    def _claims(
        self, names: Sequence[str], counts: ReadCounts, alone: bool = False
    ) -> Iterator[Claims]:
        """Lock the parts of those names that nobody else has locked."""
        claims: Claims = {}
        try:
            try:
                for name in names if self._writable else ():
                    claimed = _claim(self.directory, name, alone)
                    if claimed is not None:
                        claims[name] = claimed
            except FileNotFoundError:
                self._begin_again(counts)
            except OSError as error:
                self._stop_writing(error, counts)
            yield claims
        finally:
            for descriptor, path in claims.values():
                _give_back(descriptor, path)

    def _begin_again(self, counts: ReadCounts) -> None:
        """Go on in a directory that somebody has emptied."""
        counts.add("cache_errors")
        try:
            _begin(self.directory)
        except (OSError, UsageError) as error:
            self._stop_writing(error, counts)

    def _may_wait(self, begun: float, counts: ReadCounts) -> bool:
        if not self._is_impatient() and time.monotonic() - begun >= self.wait_s:
            self._give_up_waiting(counts)
        return not self._is_impatient()

    def _is_impatient(self) -> bool:
        return time.monotonic() < self._impatient_until

    def _give_up_waiting(self, counts: ReadCounts) -> None:
        counts.add("cache_timeouts")
        self._impatient_until = time.monotonic() + PATIENCE_S

    def _put(self, name: str, data: bytes, part: tuple[int, Path], counts: ReadCounts) -> None:
        """Make a locked part an entry; on any error there is none."""
        descriptor, path = part
        target = _entry(self.directory, name)
        try:
            if self._reserve(descriptor, len(data), counts):
                _write_all(descriptor, data)
                target.parent.mkdir(exist_ok=True)
                os.rename(path, target)
        except FileNotFoundError:  # somebody has emptied the directory
            counts.add("cache_errors")
        except OSError as error:
            self._stop_writing(error, counts)

    def _reserve(self, descriptor: int, length: int, counts: ReadCounts) -> bool:
        """Make room for a part; False when there is none to be had."""
        size = _in_blocks(length)
        if size > self.limit_bytes:
            return False
        with self._account(counts) as account:
            if account is None:
                return False
            used = _read_number(account)
            if used is None or used + size > self.limit_bytes:
                used = self._make_room(account, size, counts)
            if used + size > self.limit_bytes:  # other processes write all that it may hold
                return False
            _write_number(account, used + size)
            os.ftruncate(descriptor, 0)  # of a killed process's bytes
            os.ftruncate(descriptor, length)  # now the part shows what is reserved for it
        return True

    @contextmanager
    def _account(self, counts: ReadCounts) -> Iterator[int | None]:
        """Lock the file `size`; gives None when another process keeps it locked."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(self.directory / "size", flags, 0o666)
        try:
            wait_s = 0.05 if self._is_impatient() else min(self.wait_s, WAIT_TO_ACCOUNT_S)
            locked = lock_open_file(descriptor, wait_s)
            if not locked:
                self._give_up_waiting(counts)
            yield descriptor if locked else None
        finally:
            unlock_open_file(descriptor)

    def _make_room(self, account: int, size: int, counts: ReadCounts) -> int:
        """Delete entries, least recently used first, until `size` fits; give what is in use."""
        used = self.used_bytes()  # exact, where the file `size` is a bound
        if used + size > self.limit_bytes:
            wanted = self.limit_bytes - max(size, self.limit_bytes // SLACK)
            used, evicted = _evict(self.directory, wanted)
            counts.add("cache_evicted", evicted)
        _write_number(account, used)
        return used

    def _stop_writing(self, error: Exception, counts: ReadCounts) -> None:
        counts.add("cache_errors")
        if self._writable:
            self._writable = False
            warnings.warn(
                f"{self.directory}: nothing more is kept in this cache ({error}); reading goes on "
                "without it. Free some space, or give a directory that can be written.",
                RuntimeWarning,
                stacklevel=2,
            )


def _without(names: Iterable[str], found: Mapping[str, bytes]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name not in found]


def pack_name(sha256: str, pack: int) -> str:
    """Name a pack for the cache: hash of its tar (from the shard's record), and its number."""
    return f"{sha256}-{pack}"


def _check_place(directory: Path) -> None:
    """Refuse a directory in which a cache could harm what it did not write.

    Raises
    ------
    UsageError
        When it is no directory, or is or lies in an archive.
    """
    real = Path(os.path.realpath(directory))
    for folder in (real, *real.parents):
        if (folder / MANIFEST).exists() or (folder / PLAN).exists():
            raise UsageError(f"{directory}: lies in the archive {folder}; put the cache elsewhere")
    if real.exists() and not real.is_dir():
        raise UsageError(f"{directory}: a cache is a directory, and this is none")


def _begin(directory: Path) -> None:
    """Make a directory a cache's own, and delete what killed processes left in it.

    Raises
    ------
    UsageError
        When it holds something and is not marked as a cache.
    OSError
        When it cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    marker = directory / MARKER
    # the marker comes first: whoever sees another file of a cache can see the marker, too
    if os.listdir(directory) and not marker.exists():
        raise UsageError(
            f"{directory}: holds files that no cache wrote; give an empty directory for the cache"
        )
    if not marker.exists():
        marker.write_bytes(MARKER_TEXT)
    for folder in (_packs(directory), _parts(directory)):
        folder.mkdir(exist_ok=True)
    _remove_leftovers(directory)


def _packs(directory: Path) -> Path:
    """Return where the entries are."""
    return directory / "packs"


def _parts(directory: Path) -> Path:
    """Return where the unfinished entries are."""
    return directory / "parts"


def _entry(directory: Path, name: str) -> Path:
    """Return where an entry is, or would be.

    Raises
    ------
    ValueError
        When it is not a name of a pack.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:100]!r} is no name of a pack")
    return _packs(directory) / name[:2] / name


def _in_blocks(size: int) -> int:
    """Round a file's bytes up to whole blocks."""
    return -(-size // DISK_BLOCK) * DISK_BLOCK


def _entries(directory: Path) -> list[tuple[int, int, Path]]:
    """Return (time of last use, bytes in whole blocks, path) of all entries and parts.

    One that is finished meanwhile may come twice, but none is left out.
    """
    found = []
    folders = [_parts(directory)]
    with suppress(FileNotFoundError):
        folders += sorted(_packs(directory).iterdir())
    for folder in folders:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as listed:
            for file in listed:
                if not (_NAME.fullmatch(file.name) or _PART.fullmatch(file.name)):
                    continue  # not a cache's
                with suppress(FileNotFoundError):
                    status = file.stat(follow_symlinks=False)
                    found.append((status.st_mtime_ns, _in_blocks(status.st_size), Path(file.path)))
    return found


def _evict(directory: Path, wanted: int) -> tuple[int, int]:
    """Delete entries, least recently used first, and parts left behind.

    Parameters
    ----------
    wanted
        The bytes that may stay in use.

    Returns
    -------
    tuple of int
        Bytes in use, and how many entries were deleted.
    """
    _remove_leftovers(directory)
    listed = _entries(directory)
    used, evicted = sum(taken for _, taken, _ in listed), 0
    for _, taken, path in sorted(listed):
        if used > wanted and path.parent != _parts(directory):
            path.unlink(missing_ok=True)
            used -= taken
            evicted += 1
    return used, evicted


def _claim(directory: Path, name: str, alone: bool = False) -> tuple[int, Path] | None:
    """Lock the part of an entry, if nobody else has; gives its descriptor and path.

    Parameters
    ----------
    alone
        Take a part of one's own beside the one that another process holds.
    """
    own = f".{uuid.uuid4().hex}" if alone else ""
    path = _parts(directory) / f"{name}{own}.part"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    # who held it before may have finished or deleted it: then what is locked is no part any more
    try:
        if lock_open_file(descriptor, 0) and is_at(descriptor, path):
            return descriptor, path
    except OSError:  # a filesystem without locks
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _give_back(descriptor: int, path: Path) -> None:
    """Unlock a part; it is deleted unless it has become an entry."""
    with suppress(OSError):
        if is_at(descriptor, path):
            path.unlink()
    unlock_open_file(descriptor)


def _remove_leftovers(directory: Path) -> None:
    """Delete the parts of processes that were killed."""
    for file in os.scandir(_parts(directory)):
        if not _PART.fullmatch(file.name):
            continue
        with suppress(FileNotFoundError):
            descriptor = os.open(file.path, os.O_RDWR | os.O_NOFOLLOW)
            if lock_open_file(descriptor, 0):
                _give_back(descriptor, Path(file.path))
            else:
                os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    """Write at the start of an open file, all of it."""
    view, at = memoryview(data), 0
    while at < len(view):
        at += os.pwrite(descriptor, view[at:], at)


def _read_number(descriptor: int) -> int | None:
    """Read the number that `_write_number` wrote; None when there is none."""
    text = os.pread(descriptor, 20, 0)
    return int(text) if len(text) == 20 and text.isdigit() else None


def _write_number(descriptor: int, number: int) -> None:
    """Write a number of up to 20 digits, by one write."""
    os.pwrite(descriptor, b"%020d" % number, 0)
