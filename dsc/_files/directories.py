"""Directories made of a flat list of paths, as object stores, zips and tars have them."""

from collections.abc import Iterable

DirectoryNames = tuple[list[str], list[str]]  # of files and of directories, sorted


def join_path(directory: str, name: str) -> str:
    """Return the path of a name in a directory; ``""`` is the root."""
    return f"{directory}/{name}" if directory else name


class Directories:
    """The directories that a list of paths with ``/`` makes, and those that are empty."""

    def __init__(self, paths: Iterable[str], folders: Iterable[str] = ()) -> None:
        self._files: dict[str, list[str]] = {}
        self._below: dict[str, set[str]] = {}
        for path in paths:
            directory, _, name = path.rpartition("/")
            if name:
                self._files.setdefault(directory, []).append(name)
        for directory in (*self._files, *folders):
            self._add(directory)

    def _add(self, directory: str) -> None:
        while directory:
            head, _, name = directory.rpartition("/")
            known = self._below.setdefault(head, set())
            if name in known:
                return
            known.add(name)
            directory = head

    def list(self, directory: str) -> DirectoryNames:
        """Return the names of the files and of the directories in a directory, sorted."""
        return sorted(self._files.get(directory, ())), sorted(self._below.get(directory, ()))

    def count(self, directory: str) -> int:
        """Return the number of files below a directory."""
        inside = f"{directory}/"
        return sum(
            len(names)
            for found, names in self._files.items()
            if found == directory or found.startswith(inside)
        )
