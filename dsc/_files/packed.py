"""The files in a zip or tar, read where they lie: nothing is unpacked.

A compressed tar can only be read from its beginning, so it is decompressed once a process, into a
temporary file without a name; a set that is read often is better unpacked.
"""

import bz2
import gzip
import io
import lzma
import os
import posixpath
import shutil
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from dsc._files.directories import Directories, DirectoryNames
from dsc._files.local import LocalFiles
from dsc._files.passed_over import PassedOver, guess_task, printable, spell_path, why_hidden
from dsc._files.remote import BLOCK_BYTES, RemoteFiles, Seekable, raise_failure
from dsc._storage.files.place import Place, parse_place
from dsc._storage.format.tar import BLOCK
from dsc.errors import SampleError

ZIPS = (".zip",)
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
SUFFIXES = (*ZIPS, ".tar", *COMPRESSED_TARS)
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error,
    EOFError, ValueError,
)  # fmt: skip
_COMPRESSIONS: dict[bytes, Any] = {b"\x1f\x8b": gzip, b"BZh": bz2, b"\xfd7zXZ": lzma}
_LINK, _TYPE = 0o120000, 0o170000  # of a Unix mode, which a zip has in the upper half of a field
_UTF8 = 0x800  # the flag of a name in UTF-8
RefusedMembers = list[tuple[str, str, bool]]  # path, reason, whether it may be of a task


def find_packed(place: Place) -> "PackedFiles | None":
    """Return the zip or tar that a place is, or lies in; None where there is none.

    ``zip://`` and ``tar://`` say that it is one; else its name does. A path may go on into it.
    """
    scheme, mark, rest = place.url.partition("://")
    if mark and scheme in ("zip", "tar"):
        inner, chained, target = rest.partition("::")
        return _packed(parse_place(target if chained else rest), inner if chained else "", scheme)
    return _packed(place, "", "")


def _packed(place: Place, inner: str, scheme: str) -> "PackedFiles | None":
    if place.local is None:
        if not scheme and not is_packed(place.url):
            return None
        return PackedFiles(RemoteFiles(place), place.url, inner, scheme)
    local = Path(os.path.abspath(place.local))
    container = next((path for path in (local, *local.parents) if path.exists()), local)
    below = str(local.relative_to(container))
    if not scheme and not (is_packed(container.name) and container.is_file()):
        return None
    if scheme and not container.is_file():
        container, below = local, "."
    inside = plain_path(f"{below}/{inner}") or ""
    return PackedFiles(LocalFiles(container), spell_path(container), inside, scheme)


class PackedFiles:
    """Lists and reads what lies in a zip or tar; picklable, safe under threads and forks.

    Parameters
    ----------
    files
        The container, as a root that is a file.
    container
        Its path or URL, for messages.
    inner
        The directory in it that is the root; empty for all.
    scheme
        ``zip`` or ``tar``; empty where the container's name tells it.

    Attributes
    ----------
    url
        How the root is spelt.
    """

    def __init__(
        self, files: LocalFiles | RemoteFiles, container: str, inner: str, scheme: str
    ) -> None:
        self._file, self._url, self._inner = files, container, inner
        self._is_zip = scheme == "zip" if scheme else container.lower().endswith(ZIPS)
        self.url = f"{container}/{printable(inner)}" if inner else container
        self._index: PackedContainer | None = None
        self._pid = os.getpid()
        self._directories = Directories(())

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_index": None, "_directories": Directories(())}

    def lister(self, passed: PassedOver | None) -> Callable[[str], DirectoryNames]:
        """Return the function that lists one directory, for one walk; see `FileTree.walk`."""
        try:
            container = self._container()
        except FileNotFoundError:
            return Directories(()).list
        head = f"{self._inner}/" if self._inner else ""
        files, folders = (
            [path[len(head) :] for path in paths if path.startswith(head)]
            for paths in (container.paths(), container.folders)
        )
        self._directories = Directories(files, folders)
        for path, reason, like_task in container.refused if passed is not None else ():
            if passed is not None and path.startswith(head):
                directory, _, name = path[len(head) :].rpartition("/")
                hidden = why_hidden(name)
                task = guess_task(directory or name) if like_task and not hidden else ""
                passed.add(directory, name, hidden or reason, task=task)
        return self._directories.list

    def count(self, directory: str) -> int:
        """Return the number of files below a directory."""
        return self._directories.count(directory)

    def read(self, path: str) -> bytes:
        """Read one whole file."""
        with self.open(path) as file:
            try:
                return file.read()
            except _BROKEN as error:
                raise self._damaged(path, error) from None

    def read_part(self, path: str, start: int, stop: int) -> bytes:
        """Read bytes [start, stop) of one file; fewer where it ends before."""
        with self.open(path) as file:
            try:
                file.seek(start)
                return file.read(stop - start)
            except _BROKEN as error:
                raise self._damaged(path, error) from None

    def open(self, path: str) -> BinaryIO:
        """Open one file for reading at any place."""
        full = f"{self._inner}/{path}" if self._inner else path
        try:
            return self._container().open(full)
        except KeyError:
            raise FileNotFoundError(f"{self.url}/{full}: there is no such file in it") from None
        except (*_BROKEN, RuntimeError) as error:  # RuntimeError: encrypted, or of a new method
            raise self._damaged(path, error) from None

    def below(self, path: str) -> "PackedFiles":
        """Return the same container with a directory in it as the root."""
        inner = f"{self._inner}/{path}" if self._inner else path
        return PackedFiles(self._file, self._url, inner, "zip" if self._is_zip else "tar")

    def is_file(self) -> bool:
        """Tell that the root is a directory of files."""
        return False

    def exists(self) -> bool:
        """Tell whether the container is there."""
        return self._file.exists()

    def _damaged(self, path: str, error: Exception) -> SampleError:
        return SampleError(
            f"{self.url}/{path}: cannot be read from it ({error}); unpack it, or copy it again"
        )

    def _container(self) -> "PackedContainer":
        # a forked process must not move the place at which its parent reads
        if self._index is None or self._pid != os.getpid():
            self._index, self._pid = self._open(), os.getpid()
        return self._index

    def _open(self) -> "PackedContainer":
        file = self._file.open("")
        try:
            return _Zip(file) if self._is_zip else _Tar(_plain(file))
        except BaseException as error:
            file.close()
            raise_failure(file)  # zipfile takes a network that fails for the end of a zip
            if not isinstance(error, _BROKEN):
                raise
            what = "zip" if self._is_zip else "tar"
            raise SampleError(f"{self.url}: not a whole {what} ({error}); copy it again") from None


class PackedContainer(Protocol):
    """An open zip or tar.

    Attributes
    ----------
    folders
        Paths of the directories that have entries of their own, as empty ones must.
    refused
        What is in it and cannot be read.
    """

    folders: list[str]
    refused: RefusedMembers

    def paths(self) -> Iterator[str]:
        """Yield the paths of all files."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Open one; KeyError when it is not there."""
        ...


class _Zip:
    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file)  # reading from it is safe under threads
        self.folders: list[str] = []
        self.refused: RefusedMembers = []
        self._files: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name = _zip_name(info)
            path = plain_path(name)
            if name.endswith("/"):
                self.folders += [path] if path else []
            elif path is None:
                self.refused.append((info.filename, "its name leads out of the zip", False))
            elif (info.external_attr >> 16) & _TYPE == _LINK:
                self.refused.append((path, "a link in a zip: unpack it", True))
            elif path in self._files:
                self.refused.append((path, "two files of one name in a zip", True))
            else:
                self._files[path] = info

    def paths(self) -> Iterator[str]:
        return iter(self._files)

    def open(self, path: str) -> BinaryIO:
        opened: Any = self._zip.open(self._files[path])
        return opened  # type: ignore[no-any-return]


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name, as the program meant it that made the zip."""
    name = info.filename
    if not info.flag_bits & _UTF8:  # zipfile takes it for the letters of DOS; many write UTF-8
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")  # as some programs for Windows write it


class _Tar:
    def __init__(self, file: BinaryIO) -> None:
        self._file, self._lock = file, threading.Lock()
        self.folders: list[str] = []
        self.refused: RefusedMembers = []
        self._files: dict[str, tuple[int, int]] = {}
        links: dict[str, str] = {}
        with tarfile.open(fileobj=file, mode="r:", errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it would keep every one
                path = plain_path(member.name)
                if member.isdir():
                    self.folders += [path] if path else []
                elif path is None:
                    self.refused.append((member.name, "its name leads out of the tar", False))
                elif member.issym() or member.islnk():
                    below = posixpath.dirname(path) if member.issym() else ""
                    links[path] = posixpath.normpath(posixpath.join(below, member.linkname))
                elif not member.isreg() or member.issparse():
                    self.refused.append((path, "no plain file in a tar", False))
                else:  # a later member of one name replaces the earlier, as in unpacking
                    self._files[path] = (member.offset_data, member.size)
            file.seek(tar.offset)
            if file.read(BLOCK) != bytes(BLOCK):  # tarfile takes a cut between members for the end
                raise tarfile.ReadError("it has no end: it was cut")
        self._follow(links)

    def _follow(self, links: dict[str, str]) -> None:
        for path, target in links.items():
            seen = {path}
            while target in links and target not in seen:
                seen.add(target)
                target = links[target]  # noqa: PLW2901
            if target in self._files:
                self._files[path] = self._files[target]
            else:
                self.refused.append((path, "a link in a tar that leads to no file in it", True))

    def paths(self) -> Iterator[str]:
        return iter(self._files)

    def open(self, path: str) -> BinaryIO:
        return io.BufferedReader(_Window(self._file, self._lock, *self._files[path]), BLOCK_BYTES)


class _Window(Seekable):
    """A part of a file that others read, too."""

    def __init__(self, file: BinaryIO, lock: threading.Lock, start: int, size: int) -> None:
        super().__init__(size)
        self._file, self._lock, self._start = file, lock, start

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        with self._lock:
            self._file.seek(self._start + self._at)
            data = self._file.read(wanted)
        if not data:
            raise EOFError(f"the tar ends in mid-file, {self._size - self._at} bytes too early")
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def plain_path(name: str) -> str | None:
    """Spell a member's name without ``./``; None for one that leads out."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if ".." in parts or not parts or "\0" in name else "/".join(parts)


def is_packed(name: str) -> bool:
    """Tell whether a file of this name is a zip or tar."""
    return name.lower().endswith(SUFFIXES)


def _plain(file: BinaryIO) -> BinaryIO:
    """Return a tar's file, decompressed where it is compressed."""
    magic = file.read(6)
    file.seek(0)
    module = next((one for start, one in _COMPRESSIONS.items() if magic.startswith(start)), None)
    if module is None:
        return file
    plain: Any = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        with module.open(file) as packed:
            shutil.copyfileobj(packed, plain, BLOCK_BYTES)
        plain.seek(0)
    except BaseException as error:
        plain.close()
        if isinstance(error, OSError) and error.args == ("Invalid data stream",):  # bz2 says so
            raise tarfile.ReadError(str(error)) from None
        raise
    opened: BinaryIO = plain
    return opened
