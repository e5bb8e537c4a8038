"""One place where files are read and written: a local directory or any fsspec URL.

Writing is atomic: a reader sees the old file, no file, or the whole new one. Reading is by byte
range where the server can do it.
"""

import os
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dsc.errors import UnsafeArchiveError

T = TypeVar("T")
RETRIES = 4
TIMEOUT_S = 30
FORBIDDEN = ("pipe:", "reference:", "::")


class Root:
    """A directory: local, or remote by fsspec.

    Parameters
    ----------
    url
        A local path or an fsspec URL (``http://``, ``s3://``, ``memory://``, ...).

    Raises
    ------
    UnsafeArchiveError
        For URLs that would run a command or chain other URLs.
    """

    def __init__(self, url: str | Path) -> None:
        text = str(url)
        if any(mark in text for mark in FORBIDDEN):
            raise UnsafeArchiveError(f"{text}: such URLs are not opened; give a plain path or URL")
        if text.startswith("file://"):
            text = text[len("file://") :]
        self.url = text.rstrip("/") if len(text) > 1 else text
        self.local: Path | None = None if "://" in text else Path(text)
        self._filesystem: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_filesystem": None}

    def __repr__(self) -> str:
        return f"Root({self.url!r})"

    def where(self, path: str) -> str:
        """Name a file for a message."""
        return f"{self.url}/{path}"

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """Read bytes [start, end) of a file; fewer only when the file ends before.

        Raises
        ------
        FileNotFoundError
            When it is not there.
        OSError
            When the network fails again and again; the message names the URL.
        """
        if self.local is not None:
            with self._local(path).open("rb") as file:
                file.seek(start)
                return file.read() if end is None else file.read(max(end - start, 0))
        return self._retry(path, lambda fs, full: _remote_read(fs, full, start, end))

    def read_many(self, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several byte ranges of one file."""
        return [self.read(path, start, end) for start, end in ranges]

    def exists(self, path: str) -> bool:
        """Tell whether a file is there."""
        if self.local is not None:
            return self._local(path).is_file()
        return self._retry(path, lambda fs, full: bool(fs.exists(full)))

    def size(self, path: str) -> int:
        """Give a file's size in bytes; FileNotFoundError when it is not there."""
        if self.local is not None:
            return self._local(path).stat().st_size
        return self._retry(path, lambda fs, full: int(fs.info(full)["size"] or 0))

    def list(self, prefix: str = "") -> list[str]:
        """List all files below `prefix`, relative to the root, sorted."""
        if self.local is not None:
            base = self.local / prefix
            return sorted(
                str(Path(folder, name).relative_to(self.local))
                for folder, _, names in os.walk(base)
                for name in names
            )
        fs = self._fs()
        full = fs._strip_protocol(self.url).rstrip("/")
        found = fs.find(f"{full}/{prefix}" if prefix else full)
        return sorted(str(name)[len(full) :].lstrip("/") for name in found)

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file atomically."""
        if self.local is None:
            self._retry(path, lambda fs, full: fs.pipe_file(full, data))
            return
        target = self._local(path)
        part = part_name(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            publish(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def put(self, source: Path, path: str) -> None:
        """Move a finished local file to its place; `source` is gone afterwards."""
        if self.local is None:
            self._retry(path, lambda fs, full: fs.put_file(str(source), full))
            source.unlink()
            return
        target = self._local(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.parent.stat().st_dev == target.parent.stat().st_dev:
            publish(source, target)
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

    def _local(self, path: str) -> Path:
        return Path(str(self.local)) / check_relative(path)

    def _fs(self) -> Any:
        if self._filesystem is None:
            import fsspec

            options: dict[str, Any] = {}
            if self.url.startswith("http"):
                import aiohttp

                limits = aiohttp.ClientTimeout(total=None, connect=TIMEOUT_S, sock_read=TIMEOUT_S)
                options = {"client_kwargs": {"timeout": limits}, "skip_instance_cache": True}
            self._filesystem, _ = fsspec.core.url_to_fs(self.url, **options)
        return self._filesystem

    def _retry(self, path: str, call: Callable[[Any, str], T]) -> T:
        full = f"{self.url}/{check_relative(path)}"
        for attempt in range(RETRIES):
            try:
                return call(self._fs(), full)
            except FileNotFoundError:
                raise FileNotFoundError(f"{full}: there is no such file") from None
            except Exception as error:  # every filesystem has network errors of its own
                if attempt == RETRIES - 1 or isinstance(error, PermissionError):
                    raise OSError(
                        f"{full}: {type(error).__name__}: {error}; "
                        "check the network and run the same command again"
                    ) from error
                time.sleep(0.2 * 3**attempt)
        raise OSError(f"{full}: not reached")


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


def part_name(target: Path) -> Path:
    """Name the unfinished form of a file: unique, in the same directory."""
    return target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")


def publish(part: Path, target: Path) -> None:
    """Give a finished file its name, durably."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remote_read(fs: Any, full: str, start: int, end: int | None) -> bytes:
    if start == 0 and end is None:
        return bytes(fs.cat_file(full))
    data = bytes(fs.cat_file(full, start=start, end=end))
    if end is not None and len(data) > end - start:
        # a server that knows no ranges sends the whole file
        return data[start:end]
    return data
