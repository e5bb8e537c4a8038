"""The files below a URL: what a web server's pages link to, or what a store of objects lists.

Every request goes through `dsc._storage.files.remote`, so that it is repeated where an archive's
would be, and brings the URL's signature.
"""

import io
import os
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from dsc._files.directories import Directories, DirectoryNames
from dsc._files.passed_over import PassedOver
from dsc._storage.files.http import read_page
from dsc._storage.files.place import Place
from dsc._storage.files.remote import Remote

BLOCK_BYTES = 1 << 20
MOST_LEVELS = 32


class RemoteFiles:
    """Lists and reads what lies below a URL; picklable."""

    def __init__(self, place: Place) -> None:
        self.remote = Remote(place)
        self._directories: Directories | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_directories": None}

    def lister(self, passed: PassedOver | None) -> Callable[[str], DirectoryNames]:
        """Return the function that lists one directory, for one walk; see `FileTree.walk`."""
        if self.remote.place.is_http:
            return self._page
        self._directories = Directories(self._files())
        return self._directories.list

    def count(self, directory: str) -> int:
        """Return the number of files below a directory; 1 where only requests would tell."""
        return 1 if self._directories is None else self._directories.count(directory)

    def read(self, path: str) -> bytes:
        """Read one whole file."""
        return self.remote.read(path)

    def read_part(self, path: str, start: int, stop: int) -> bytes:
        """Read bytes [start, stop) of one file; fewer where it ends before."""
        return self.remote.read(path, start, stop)

    def open(self, path: str) -> BinaryIO:
        """Open one file for reading at any place."""
        return io.BufferedReader(RemoteFile(self.remote, path), BLOCK_BYTES)

    def is_file(self) -> bool:
        """Tell whether the root itself is a file, not a page of links or a directory."""
        if not self.remote.place.is_http:
            return self.remote.call("", lambda fs, full: bool(fs.isfile(full)))
        try:
            return self.remote.call("", read_page) is None
        except FileNotFoundError:
            return False

    def exists(self) -> bool:
        """Tell whether there may be anything; asking is left to the walk."""
        return True

    def _files(self) -> list[str]:
        try:
            return self.remote.find()
        except FileNotFoundError:
            return []

    def _page(self, directory: str) -> DirectoryNames:
        if directory.count("/") >= MOST_LEVELS:
            raise OSError(
                f"{self.remote.where(directory)}: directories {MOST_LEVELS} deep: the server "
                "answers any path with a page of links; give the URL of a directory's listing"
            )
        path = f"{directory}/" if directory else "/"
        try:
            page = self.remote.call(path, read_page)
        except FileNotFoundError:
            return [], []
        return ([], []) if page is None else links_of(*page)


class Seekable(io.RawIOBase):
    """A file of known size that is read at any place; subclasses define `readinto`."""

    def __init__(self, size: int) -> None:
        self._size, self._at = size, 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read at any place."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte of the file, and return its number."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def tell(self) -> int:
        """Return the number of the byte that is read next."""
        return self._at


class RemoteFile(Seekable):
    """A remote file that is read by ranges, each repeated where it fails.

    Attributes
    ----------
    failure
        What a read failed with for good: not every library that reads hands it on.
    """

    failure: OSError | None = None

    def __init__(self, remote: Remote, path: str) -> None:
        super().__init__(remote.size(path))
        self._remote, self._path = remote, path

    def readinto(self, buffer: Any) -> int:
        """Read from there on into a buffer, and return how many bytes; 0 at the end."""
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        try:
            data = self._remote.read(self._path, self._at, self._at + wanted, self._size)
        except OSError as error:
            self.failure = error
            raise
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def raise_failure(file: BinaryIO | None) -> None:
    """Raise what the network failed with, where a library has made another error of it.

    Parameters
    ----------
    file
        What `FileTree.open` returned; a local file has no such failure.
    """
    raw = file.raw if isinstance(file, io.BufferedReader) else None
    if isinstance(raw, RemoteFile) and raw.failure is not None:
        raise raw.failure from None


def links_of(address: str, text: str) -> DirectoryNames:
    """Return the names of files and directories that a page of links shows, sorted.

    Links that lead elsewhere, up, or deeper than one level are left aside; a directory's link ends
    with ``/``.
    """
    parser = _Links()
    parser.feed(text)
    base = urlsplit(address)
    folder = base.path if base.path.endswith("/") else f"{base.path}/"
    names: set[str] = set()
    for link in parser.found:
        found = urlsplit(urljoin(f"{base.scheme}://{base.netloc}{folder}", link))
        inside = found.netloc == base.netloc and found.path.startswith(folder)
        name = os.fsdecode(unquote_to_bytes(found.path[len(folder) :])) if inside else ""
        if name.rstrip("/") not in ("", ".", "..") and "/" not in name[:-1] and "\0" not in name:
            names.add(name)
    directories = {name[:-1] for name in names if name.endswith("/")}
    return sorted(names - {f"{name}/" for name in directories} - directories), sorted(directories)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]
