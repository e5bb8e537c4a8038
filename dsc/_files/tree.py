"""Lists and reads the files under one root: a directory, a zip or tar, or any fsspec URL.

Listing costs one directory scan (or one listing request a page) and no look at any file, so that a
tree of a million files opens in seconds. Paths are relative to the root, with ``/`` between the
parts, here and everywhere in the sources. The same things are passed over wherever the files lie,
and each is accounted for; see `dsc._files.passed_over`.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote_to_bytes

from dsc._files.directories import DirectoryNames, join_path
from dsc._files.likely import source_of_files
from dsc._files.local import LocalFiles
from dsc._files.packed import PackedFiles, find_packed
from dsc._files.passed_over import (
    PassedOver,
    printable,
    spell_path,
    why_hidden,
    why_own_output,
)
from dsc._files.remote import RemoteFiles
from dsc._schemas import LeftOut
from dsc._storage.files.place import Place, parse_place, redact
from dsc.errors import SampleError, SourceNotFoundError

MOST_LOOKED_AT = 10_000  # files that tell which source reads them


class FileBackend(Protocol):
    """What a kind of place must do for `FileTree`."""

    def lister(self, passed: PassedOver | None) -> Callable[[str], DirectoryNames]:
        """Return the function that lists one directory: its files and its directories, sorted."""
        ...

    def count(self, directory: str) -> int:
        """Return the number of files below a directory."""
        ...

    def read(self, path: str) -> bytes:
        """Read one whole file."""
        ...

    def read_part(self, path: str, start: int, stop: int) -> bytes:
        """Read bytes [start, stop) of one file; fewer where it ends before."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Open one file for reading at any place."""
        ...

    def is_file(self) -> bool:
        """Tell whether the root itself is a file."""
        ...

    def exists(self) -> bool:
        """Tell whether the root is there, where that costs no request."""
        ...


class FileTree:
    """The files under one root; cheap to make and to pickle.

    Parameters
    ----------
    root
        A directory, a ``file://`` URL, or any other URL that fsspec knows; the query of an HTTP URL
        (a signature) goes with every request and stands in no message. Or a zip or tar, by its
        path or URL (``x.zip``, ``x.tar``, ``x.tar.gz``), as ``zip://PATH`` or ``tar://PATH``, or as
        fsspec chains it: ``zip://DIRECTORY IN IT::PATH OR URL``.

    Attributes
    ----------
    local
        The path, where the root is a local directory or file; else None.
    url
        How the root is spelt, in messages and to open it again.
    """

    def __init__(self, root: str | Path | Place, packed: PackedFiles | None = None) -> None:
        self._place = root if isinstance(root, Place) else parse_place(os.fspath(root))
        packed = packed or find_packed(self._place)
        self.local: Path | None = None
        if packed is not None:
            self._files: FileBackend = packed
            self.url = packed.url
        elif self._place.local is None:
            self._files = RemoteFiles(self._place)
            self.url = self._place.url
        else:
            self.local = Path(os.path.abspath(self._place.local))
            self._files = LocalFiles(self.local)
            self.url = spell_path(self.local)

    def walk(self, left_out: list[LeftOut] | None = None) -> Iterator[tuple[str, list[str]]]:
        """Yield every directory that holds files, with their names; ``""`` is the root.

        Hidden files and directories, what operating systems leave, links that are broken or never
        end, what is no file, and outputs of dsc below the root are passed over; a root that does
        not exist has none.

        Parameters
        ----------
        left_out
            Gets, when the walk has come to its end, what was passed over.

        Raises
        ------
        PermissionError
            When the root cannot be listed, or another directory and there is no `left_out`.
        OSError
            When the file system or network fails.
        SampleError
            When the root is a zip or tar that is damaged.
        """
        passed = None if left_out is None else PassedOver()
        list_directory = self._files.lister(passed)
        pending = [""]
        while pending:
            directory = pending.pop()
            names, below = list_directory(directory)
            own = self._why_own_output(directory, names, below)
            if own is not None:
                self._pass_over(passed, directory, own)
                continue
            kept = [name for name in names if not self._is_hidden(passed, directory, name)]
            pending.extend(reversed(self._walked(passed, directory, below)))
            if kept:
                yield directory, kept
        if left_out is not None and passed is not None:
            left_out.extend(passed.left_out())

    def directories(self, directory: str = "") -> list[str]:
        """Return the names of the directories in a directory.

        Empty ones count too; `walk` enters them.
        """
        list_directory = self._files.lister(None)
        head = f"{directory}/" if directory else ""
        return [
            name
            for name in list_directory(directory)[1]
            if why_hidden(name) is None
            and self._why_own_output(head + name, *list_directory(head + name)) is None
        ]

    def _why_own_output(self, directory: str, names: list[str], below: list[str]) -> str | None:
        if not directory:  # whoever points at an export means it
            return None
        read = self._read_or_nothing
        return why_own_output(names, below, lambda name: read(f"{directory}/{name}"))

    def _read_or_nothing(self, path: str) -> bytes:
        try:
            return self.read(path)
        except (OSError, SampleError):
            return b""

    def _is_hidden(self, passed: PassedOver | None, directory: str, name: str) -> bool:
        why = why_hidden(name)
        if why is not None and passed is not None:
            passed.add(directory, name, why)
        return why is not None

    def _walked(self, passed: PassedOver | None, directory: str, below: list[str]) -> list[str]:
        walked = []
        for name in below:
            path = join_path(directory, name)
            why = why_hidden(name)
            if why is None:
                walked.append(path)
            else:
                self._pass_over(passed, path, why)
        return walked

    def _pass_over(self, passed: PassedOver | None, path: str, why: str) -> None:
        if passed is not None:
            directory, _, name = path.rpartition("/")
            passed.add(directory, f"{name}/", why, self._files.count(path))

    def read(self, path: str) -> bytes:
        """Read one whole file; an empty path is the root itself.

        Raises
        ------
        FileNotFoundError
            When it is not there.
        OSError
            When it cannot be read, or the network fails again and again.
        SampleError
            When it lies in a zip or tar and is damaged there.
        """
        return self._files.read(path)

    def read_part(self, path: str, start: int, stop: int) -> bytes:
        """Read bytes [start, stop) of one file; fewer where it ends before."""
        return self._files.read_part(path, start, stop)

    def open(self, path: str) -> BinaryIO:
        """Open one file for reading at any place; an empty path is the root itself."""
        return self._files.open(path)

    def is_file(self) -> bool:
        """Tell whether the root itself is a file, and no zip or tar."""
        return self._files.is_file()

    def parent(self) -> tuple["FileTree", str]:
        """Return the tree of the directory that the root lies in, and the root's name there."""
        if self.local is not None:
            return FileTree(Place(str(self.local.parent), self.local.parent)), self.local.name
        directory, _, name = self._place.url.rpartition("/")
        if self._place.is_http:
            name = os.fsdecode(unquote_to_bytes(name))
        return FileTree(replace(self._place, url=directory)), name

    def below(self, path: str) -> "FileTree":
        """Return the tree of a directory in it, or of a zip or tar that lies in a directory."""
        if isinstance(self._files, PackedFiles):
            return FileTree(self._place, self._files.below(path))
        if self.local is not None:
            return FileTree(Place(str(self.local / path), self.local / path))
        return FileTree(replace(self._place, url=self._place.address(path)))

    def where(self, path: str) -> str:
        """Spell a path for a message."""
        return f"{self.url}/{printable(path)}" if path else self.url

    def require_root(self, source: str, root: str | None) -> None:
        """Refuse a local root that is not there, before its layout is looked at."""
        if not self._files.exists():
            raise nothing_found(source, f"{printable(root or self.url)} does not exist", ())


def nothing_found(
    source: str, what: str, layouts: tuple[str, ...], tree: FileTree | None = None
) -> SourceNotFoundError:
    """Make the error for a root without data: what was looked for, and what reads what is there.

    Parameters
    ----------
    source, what, layouts
        Which source it is, what it lacks, and examples of what it reads.
    tree
        The root, where something is there: its files may be another source's.
    """
    looked = f"; looked for {', '.join(layouts)} under it" if layouts else ""
    other = None if tree is None else source_of_files(islice(_names(tree), MOST_LOOKED_AT))
    if other not in (None, source):
        way = f"What lies there is read by `dsc compress {other} --root DIR`"
    else:
        way = (
            "Point --root at the directory that holds the dataset, or try dsc without data: "
            "`dsc compress taskonomy --views N` renders views"
        )
    return SourceNotFoundError(f"{source}: {redact(what)}{looked}. {way}")


def _names(tree: FileTree) -> Iterator[str]:
    try:
        for _, names in tree.walk([]):
            yield from names
    except (OSError, SampleError):
        return  # the error that is being made says what matters
