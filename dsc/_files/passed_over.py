"""What no source reads, by its name or by what made it, and an account of it.

Operating systems, editors and dsc itself leave files beside a dataset's. A walk passes over them,
and says so: `PassedOver` counts each, and makes few lines where there are many of a kind.
"""

import os
from collections.abc import Callable, Collection
from pathlib import Path

from dsc._files.directories import join_path
from dsc._schemas import LeftOut
from dsc._schemas.task import spelled

MANIFEST, WORK, EXPORTED = "dsc.json", ".dsc", ".dsc-export.json"
MOST_PLACES = 8  # more directories than this with one kind of thing become one line
_DOT, _MACOS, _WINDOWS = "hidden: its name begins with a dot", "left by macOS", "left by Windows"
_BY_NAME = {
    "__macosx": _MACOS,
    ".ds_store": _MACOS,
    "icon\r": _MACOS,
    ".ipynb_checkpoints": "copies made by Jupyter",
    "thumbs.db": _WINDOWS,
    "ehthumbs.db": _WINDOWS,
    "desktop.ini": _WINDOWS,
    "$recycle.bin": _WINDOWS,
    "system volume information": _WINDOWS,
    "@eadir": "thumbnails made by a file server",
    "lost+found": "left by the file system",
}


def why_hidden(name: str) -> str | None:
    """Say why a file or directory of this name holds no data; None where it may hold some."""
    known = _BY_NAME.get(name.lower())
    if known is not None or not name.startswith("."):
        return known
    return _MACOS if name.startswith("._") else _DOT


def why_own_output(
    names: Collection[str], directories: Collection[str], read: Callable[[str], bytes]
) -> str | None:
    """Say which output of dsc a directory is, told by the names in it; None where it is none.

    Parameters
    ----------
    names, directories
        What is in it.
    read
        Reads one of its files.
    """
    if EXPORTED in names:
        return "an export of dsc"
    if MANIFEST in names and b'"plan_sha256"' in read(MANIFEST):
        return "an archive of dsc"
    if WORK in directories:
        return "an archive of dsc that is not finished"
    return None


def printable(path: str) -> str:
    r"""Spell a path so that it can be printed and kept in JSON: other bytes become ``\xe9``."""
    if path.isprintable():
        return path
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def spell_path(local: Path) -> str:
    """Spell a local path as text; as a ``file://`` URL where it cannot be printed."""
    return str(local) if str(local).isprintable() else local.as_uri()


def guess_task(path: str) -> str:
    """Guess the task of something whose layout is not known yet: the outermost directory."""
    return spelled(path.partition("/")[0])


class PassedOver:
    """What one walk passes over, or one source leaves out; alike things become one line."""

    def __init__(self) -> None:
        # by (reason, pattern of names, task): by directory, the first name, how many names, files
        self._found: dict[tuple[str, str, str], dict[str, tuple[str, int, int]]] = {}

    def add(
        self, directory: str, name: str, reason: str, files: int = 1, *, task: str = ""
    ) -> None:
        """Note one file, or a directory (its name ends with ``/``) of so many files."""
        if files:
            places = self._found.setdefault((reason, _pattern(name), task), {})
            first, names, count = places.get(directory, (name, 0, 0))
            places[directory] = first, names + 1, count + files

    def add_file(self, path: str, reason: str, task: str = "") -> None:
        """Note a file by its path, and the task that it looks like, if any."""
        directory, _, name = path.rpartition("/")
        self.add(directory, name, reason, task=task)

    def left_out(self) -> list[LeftOut]:
        """Return what was noted, alike things together, sorted."""
        lines = []
        for (reason, pattern, task), places in self._found.items():
            if len(places) > MOST_PLACES:
                found = {f"**/{pattern}": sum(count for _, _, count in places.values())}
            else:
                found = {
                    join_path(directory, first if names == 1 else pattern): count
                    for directory, (first, names, count) in places.items()
                }
            lines += [
                LeftOut(what=printable(what), files=files, reason=reason, task=task)
                for what, files in found.items()
            ]
        return sorted(lines, key=lambda line: (line.what, line.reason, line.task))


def _pattern(name: str) -> str:
    """Return the pattern under which things of this name are counted together."""
    if name.rstrip("/").lower() in _BY_NAME:
        return name
    if name.startswith("._"):
        return "._*"
    if name.startswith("."):
        return ".*/" if name.endswith("/") else ".*"
    if name.endswith("/"):
        return "*/"
    _, dot, suffix = name.rpartition(".")
    return f"*{dot}{suffix}" if dot else "*"


def ending_of(name: str) -> str:
    """Return a file name's ending with its dot, or the whole name where it has none."""
    name = name.rpartition("/")[2]
    stem, dot, ending = name.rpartition(".")
    return f".{ending}" if dot and stem else name
