"""Lists and reads the files under one root: a local directory or any fsspec URL.

Listing costs one directory scan (or one listing request a page) and no look at any file, so that a
tree of a million files opens in seconds. Paths are relative to the root, with ``/`` between the
parts, here and everywhere in the sources.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from dsc.errors import SourceNotFoundError
from dsc.schemas import LeftOut


class FileTree:
    """The files under one root; cheap to make and to pickle.

    Parameters
    ----------
    root
        A directory, a ``file://`` URL, or any other URL that fsspec knows.
    """

    def __init__(self, root: str | Path) -> None:
        text = os.fspath(root)
        if text.startswith("file://"):
            text = url2pathname(urlsplit(text).path)
        remote = "://" in text
        self.local: Path | None = None if remote else Path(os.path.abspath(Path(text).expanduser()))
        self.url: str = text.rstrip("/") if remote else str(self.local)

    def walk(self, left_out: list[LeftOut] | None = None) -> Iterator[tuple[str, list[str]]]:
        """Give every directory with its file names; ``""`` is the root, hidden names are left out.

        A root that does not exist gives nothing.
        """
        return self._walk_remote() if self.local is None else _walk_local(self.local)

    def _walk_remote(self) -> Iterator[tuple[str, list[str]]]:
        fs, base = self._remote()
        try:
            found = fs.find(base)
        except FileNotFoundError:
            return
        names: dict[str, list[str]] = {}
        skip = len(base.rstrip("/")) + 1
        for path in found:
            directory, _, name = path[skip:].rpartition("/")
            if name and not any(part.startswith(".") for part in (*directory.split("/"), name)):
                names.setdefault(directory, []).append(name)
        yield from sorted(names.items())

    def _remote(self) -> tuple[Any, str]:
        import fsspec

        fs, base = fsspec.core.url_to_fs(self.url)
        return fs, base

    def read(self, path: str) -> bytes:
        """Read one whole file.

        Raises
        ------
        FileNotFoundError
            When it is not there.
        OSError
            When it cannot be read, or the network fails.
        """
        if self.local is not None:
            return (self.local / path).read_bytes() if path else self.local.read_bytes()
        fs, base = self._remote()
        data: bytes = fs.cat_file(f"{base.rstrip('/')}/{path}" if path else base)
        return data

    def open(self, path: str) -> Any:
        """Open one file for reading at any place; an empty path is the root itself."""
        if self.local is not None:
            return (self.local / path if path else self.local).open("rb")
        fs, base = self._remote()
        return fs.open(f"{base.rstrip('/')}/{path}" if path else base, "rb")

    def is_file(self) -> bool:
        """Tell whether the root itself is a file."""
        if self.local is not None:
            return self.local.is_file()
        fs, base = self._remote()
        return bool(fs.isfile(base))

    def where(self, path: str) -> str:
        """Spell a path for a message."""
        return f"{self.url}/{path}" if path else self.url

    def require_root(self, source: str, root: str | None) -> None:
        """Refuse a local root that is not there, before its layout is looked at."""
        if self.local is not None and not self.local.exists():
            raise nothing_found(source, f"{root} does not exist", ())


def nothing_found(source: str, what: str, layouts: tuple[str, ...]) -> SourceNotFoundError:
    """Make the error for a root without data: what was looked for, and the way without data."""
    looked = f"; looked for {', '.join(layouts)} under it" if layouts else ""
    return SourceNotFoundError(
        f"{source}: {what}{looked}. Point --root at the directory that holds the dataset, or "
        "render procedural views instead with --sample N"
    )


def _walk_local(root: Path) -> Iterator[tuple[str, list[str]]]:
    pending, visited = [""], {os.path.realpath(root)}
    while pending:
        directory = pending.pop()
        try:
            entries = sorted(os.scandir(root / directory), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        names, below = [], []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                names.append(entry.name)
                continue
            if entry.is_symlink():  # datasets are often linked together; a loop must still end
                real = os.path.realpath(entry.path)
                if real in visited:
                    continue
                visited.add(real)
            below.append(f"{directory}/{entry.name}" if directory else entry.name)
        pending.extend(reversed(below))
        if names:
            yield directory, names
