"""One place where files are read and written: a local directory or any fsspec URL.

Writing is atomic: a reader sees the old file, no file, or the whole new one. Reading is by byte
range where the server can do it.
"""

import copy
import os
import shutil
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, Self, TypeVar

from dsc._storage.files.atomic import atomic_write, flush, part_name, publish, rename
from dsc._storage.files.counts import ReadCounts
from dsc._storage.files.http import check_size
from dsc._storage.files.place import parse_place, redact
from dsc._storage.files.remote import Remote
from dsc.errors import UnsafeArchiveError

T = TypeVar("T")
CONNECTIONS = 8
FORBIDDEN = ("pipe:", "reference:", "::")


class Root:
    """A directory: local, or remote by fsspec.

    Parameters
    ----------
    url
        A local path, a ``file://`` URL, or an fsspec URL (``http://``, ``s3://``, ``memory://``,
        ...). The query of an HTTP URL goes with every request; see `dsc._storage.files.place`.
    timeout_s
        The longest wait for a connection, and for the next bytes of an answer, in seconds; None
        for 30. Filesystems other than HTTP and S3 keep limits of their own.
    retries
        How often a request is made, the first time included, before it fails; None for 4.

    Attributes
    ----------
    counts
        What was read through it. A pickled or `fresh` root counts anew.

    Raises
    ------
    UnsafeArchiveError
        For URLs that would run a command or chain other URLs.
    UsageError
        For a ``file://`` URL of another host.
    """

    def __init__(
        self, url: str | Path, timeout_s: float | None = None, retries: int | None = None
    ) -> None:
        text = str(url)
        place = parse_place(text)  # it takes off an HTTP URL's query, which may hold anything
        if any(mark in place.url for mark in FORBIDDEN):
            shown = redact(text)
            raise UnsafeArchiveError(f"{shown}: such URLs are not opened; give a plain path or URL")
        self.url, self.local = place.url, place.local
        self.timeout_s, self.retries = timeout_s, retries
        self.counts = ReadCounts()
        self.remote = Remote(place, timeout_s, retries, self.counts)  # unused where it is local

    def fresh(self) -> Self:
        """Return the same place with connections and counts of its own, as after a fork."""
        other = copy.copy(self)
        other.counts = ReadCounts()
        other.remote = self.remote.fresh(other.counts)
        return other

    def __repr__(self) -> str:
        return f"Root({redact(self.url)!r})"

    def where(self, path: str) -> str:
        """Name a file for a message."""
        return f"{redact(self.url)}/{path}"

    def read(
        self, path: str, start: int = 0, end: int | None = None, file_bytes: int | None = None
    ) -> bytes:
        """Read bytes [start, end) of a file; fewer only when the file ends before.

        Parameters
        ----------
        file_bytes
            The size that the whole file must have, where it is known.

        Raises
        ------
        CorruptArchiveError
            When the file is seen to have another size.
        FileNotFoundError
            When it is not there.
        OSError
            When the network fails again and again; the message names the URL.
        """
        if self.local is not None:
            (data,) = _read_local(self._local(path), [(start, end)], file_bytes)
            self.counts.add("requests")
        else:
            data = self.remote.read(check_relative(path), start, end, file_bytes)
        self.counts.add("bytes_read", len(data))
        return data

    def read_many(
        self, path: str, ranges: Sequence[tuple[int, int]], file_bytes: int | None = None
    ) -> list[bytes]:
        """Read several byte ranges of one file; see `read`."""
        if self.local is not None:
            found = _read_local(self._local(path), ranges, file_bytes)
            self.counts.add("requests")
            self.counts.add("bytes_read", sum(map(len, found)))
            return found
        if len(ranges) < 2:
            return [self.read(path, start, end, file_bytes) for start, end in ranges]
        self.connect()  # once, not once a thread
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(CONNECTIONS, len(ranges))) as pool:
            return list(pool.map(lambda at: self.read(path, at[0], at[1], file_bytes), ranges))

    def exists(self, path: str) -> bool:
        """Tell whether a file is there."""
        if self.local is not None:
            return self._local(path).is_file()
        return self.remote.exists(check_relative(path))

    def size(self, path: str) -> int:
        """Return a file's size in bytes; FileNotFoundError when it is not there."""
        if self.local is not None:
            return self._local(path).stat().st_size
        return self.remote.size(check_relative(path))

    def list(self, prefix: str = "") -> list[str]:
        """List all files below `prefix`, relative to the root, sorted."""
        if self.local is not None:
            base = self.local / prefix
            return sorted(
                str(Path(folder, name).relative_to(self.local))
                for folder, _, names in os.walk(base)
                for name in names
            )
        return self.remote.find(prefix)

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file atomically."""
        if self.local is None:
            self._retry(path, lambda fs, full: fs.pipe_file(full, data))
            return
        atomic_write(self._local(path), data)

    def put(self, source: Path, path: str, flushed: bool = False) -> None:
        """Move a finished local file to its place; `source` is gone afterwards.

        Parameters
        ----------
        flushed
            Whether its bytes are known to be on the disk; else they are flushed first.
        """
        if self.local is None:
            self._retry(path, lambda fs, full: fs.put_file(str(source), full))
            source.unlink()
            return
        target = self._local(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.parent.stat().st_dev == target.parent.stat().st_dev:
            if not flushed:
                flush(source)
            rename(source, target)
            return
        part = part_name(target)
        try:
            shutil.copyfile(source, part)
            publish(part, target)
        finally:
            part.unlink(missing_ok=True)
        source.unlink()

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        if self.local is not None:
            self._local(path).unlink(missing_ok=True)
        elif self.exists(path):
            self._retry(path, lambda fs, full: fs.rm_file(full))

    def connect(self) -> None:
        """Connect now, if it is remote; every call does it where it is needed."""
        if self.local is None:
            self.remote.filesystem()

    def _local(self, path: str) -> Path:
        return Path(str(self.local)) / check_relative(path)

    def _retry(self, path: str, call: Callable[[Any, str], T]) -> T:
        return self.remote.call(check_relative(path), call)


def check_relative(path: str) -> str:
    """Refuse a path that could leave its root.

    Raises
    ------
    UnsafeArchiveError
        For absolute paths, ``..``, backslashes, control or non-ASCII characters.
    """
    parts = path.split("/")
    plain = path.isascii() and path.isprintable() and "\\" not in path and ":" not in path
    if not path or not plain or path.startswith("/") or ".." in parts or "" in parts:
        raise UnsafeArchiveError(f"{path!r} is not a path inside an archive")
    return path


def _read_local(
    path: Path, ranges: Sequence[tuple[int, int | None]], file_bytes: int | None = None
) -> list[bytes]:
    """Read several byte ranges of a local file, which is opened once; see `Root.read`.

    Raises
    ------
    CorruptArchiveError
        When the file has another size than `file_bytes`.
    OSError
        When it is not there or cannot be read.
    """
    parts = []
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        check_size(str(path), size, file_bytes)
        for start, end in ranges:
            # `read(n)` allocates n bytes first, and n may come from a hostile record
            stop = size if end is None else min(end, size)
            file.seek(min(start, size))
            parts.append(_read_all(file, max(stop - start, 0)))
    return parts


def _read_all(file: FileIO, length: int) -> bytes:
    """Read so many bytes; fewer only at the end of the file. One call gives at most 2 GiB."""
    data = file.read(length)
    while len(data) < length and (more := file.read(length - len(data))):
        data += more
    return data
