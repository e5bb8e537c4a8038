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
last use; ``parts/<name>.part`` is one that is being fetched, locked by who fetches it; ``size``
holds an upper bound of the bytes in use, changed only while it is locked: bytes are added before
they are written and taken off after they are deleted.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dsc._storage.cache import cache_files as files
from dsc._storage.files.counts import ReadCounts
from dsc.errors import CorruptArchiveError, UsageError

WAIT_S = 20.0
WAIT_TO_ACCOUNT_S = 5.0
PATIENCE_S = 60.0  # who waited in vain does not wait again for so long
CLAIMS = 128  # files that one call keeps open at once
SLACK = 10  # making room frees one part in so many, so that few calls must look at all entries

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
        self.directory = Path(text).expanduser().absolute()
        self.limit_bytes, self.wait_s = limit_bytes, wait_s
        self._writable = True
        self._impatient_until = 0.0
        files.check_place(self.directory)
        try:
            files.begin(self.directory)
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
            See `dsc._storage.cache.cache_files.pack_name`.
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
        return sum(size for _, size, _ in files.entries(self.directory))

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
            path = files.entry(self.directory, name)
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
            size = files.blocks(path.stat().st_size)
            path.unlink()
            with self._account(counts) as account:
                used = None if account is None else files.read_number(account)
                if account is not None and used is not None:
                    files.write_number(account, max(0, used - size))
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
                    claimed = files.claim(self.directory, name, alone)
                    if claimed is not None:
                        claims[name] = claimed
            except FileNotFoundError:
                self._begin_again(counts)
            except OSError as error:
                self._stop_writing(error, counts)
            yield claims
        finally:
            for descriptor, path in claims.values():
                files.give_back(descriptor, path)

    def _begin_again(self, counts: ReadCounts) -> None:
        """Go on in a directory that somebody has emptied."""
        counts.add("cache_errors")
        try:
            files.begin(self.directory)
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
        target = files.entry(self.directory, name)
        try:
            if self._reserve(descriptor, len(data), counts):
                files.write_all(descriptor, data)
                target.parent.mkdir(exist_ok=True)
                os.rename(path, target)
        except FileNotFoundError:  # somebody has emptied the directory
            counts.add("cache_errors")
        except OSError as error:
            self._stop_writing(error, counts)

    def _reserve(self, descriptor: int, length: int, counts: ReadCounts) -> bool:
        """Make room for a part; False when there is none to be had."""
        size = files.blocks(length)
        if size > self.limit_bytes:
            return False
        with self._account(counts) as account:
            if account is None:
                return False
            used = files.read_number(account)
            if used is None or used + size > self.limit_bytes:
                used = self._make_room(account, size, counts)
            if used + size > self.limit_bytes:  # other processes write all that it may hold
                return False
            files.write_number(account, used + size)
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
            locked = files.lock_within(descriptor, wait_s)
            if not locked:
                self._give_up_waiting(counts)
            yield descriptor if locked else None
        finally:
            files.unlock(descriptor)

    def _make_room(self, account: int, size: int, counts: ReadCounts) -> int:
        """Delete entries, least recently used first, until `size` fits; give what is in use."""
        used = self.used_bytes()  # exact, where the file `size` is a bound
        if used + size > self.limit_bytes:
            wanted = self.limit_bytes - max(size, self.limit_bytes // SLACK)
            used, evicted = files.evict(self.directory, wanted)
            counts.add("cache_evicted", evicted)
        files.write_number(account, used)
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
