"""The files below a local directory: linked together, of any name, some of them unreadable."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from dsc._files.directories import DirectoryNames
from dsc._files.passed_over import PassedOver, guess_task, why_hidden


class LocalFiles:
    """Lists and reads what lies below a local path.

    Attributes
    ----------
    local
        That path, absolute.
    """

    def __init__(self, local: Path) -> None:
        self.local = local

    def lister(self, passed: PassedOver | None) -> Callable[[str], DirectoryNames]:
        """Return the function that lists one directory, for one walk; see `FileTree.walk`.

        Links to directories are followed, each real directory once by that way; one to a directory
        that it lies in would never end. Both, and what is no file, go to `passed`.
        """
        visited = {os.path.realpath(self.local)}
        return lambda directory: self._list(directory, visited, passed)

    def count(self, directory: str) -> int:
        """Return the number of files below a directory; a link to one is one."""
        if (self.local / directory).is_symlink():
            return 1
        return sum(len(names) for _, _, names in os.walk(self.local / directory))

    def read(self, path: str) -> bytes:
        """Read one whole file."""
        return self._at(path).read_bytes()

    def read_part(self, path: str, start: int, stop: int) -> bytes:
        """Read bytes [start, stop) of one file; fewer where it ends before."""
        with self._at(path).open("rb", buffering=0) as file:
            file.seek(start)
            return file.read(stop - start) or b""

    def open(self, path: str) -> BinaryIO:
        """Open one file for reading."""
        return self._at(path).open("rb")

    def is_file(self) -> bool:
        """Tell whether the root itself is a file."""
        return self.local.is_file()

    def exists(self) -> bool:
        """Tell whether there is anything."""
        return self.local.exists()

    def _at(self, path: str) -> Path:
        return self.local / path if path else self.local

    def _list(self, directory: str, visited: set[str], passed: PassedOver | None) -> DirectoryNames:
        try:
            with os.scandir(self._at(directory)) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        except PermissionError as error:
            if passed is None or not directory:
                raise
            head, _, name = directory.rpartition("/")
            closed = f"the directory cannot be read ({error.strerror}): chmod it, or leave it out"
            passed.add(head, f"{name}/", closed, task=guess_task(directory))
            return [], []
        names: list[str] = []
        below: list[str] = []
        for entry in entries:
            why = _why_unreadable(entry, visited)
            if why is None:
                (below if entry.is_dir() else names).append(entry.name)
            elif passed is not None:
                hidden = why_hidden(entry.name)
                broken = why.startswith("a broken link") and hidden is None
                task = guess_task(directory or entry.name) if broken else ""
                passed.add(directory, entry.name, hidden or why, task=task)
        return names, below


def _why_unreadable(entry: "os.DirEntry[str]", visited: set[str]) -> str | None:
    """Say why an entry is neither read nor walked; a link to a directory is noted as visited."""
    try:
        if entry.is_dir():
            return _why_not_followed(entry, visited) if entry.is_symlink() else None
        if entry.is_file():
            return None
    except OSError as error:  # a link to itself, or through a directory that is closed
        return f"a broken link ({error.strerror})"
    return "a broken link" if entry.is_symlink() else "no file: a socket, pipe or device"


def _why_not_followed(link: "os.DirEntry[str]", visited: set[str]) -> str | None:
    real = os.path.realpath(link.path)
    if os.path.commonpath([real, os.path.realpath(os.path.dirname(link.path))]) == real:
        return "a link to a directory that it lies in"
    if real in visited:
        return "a link to a directory that another link was followed to"
    if why_hidden(link.name) is None:  # a hidden one is not walked
        visited.add(real)
    return None
