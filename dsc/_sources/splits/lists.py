"""Files that list the samples of a split, as many data sets have them (``train.txt``).

A line names a sample, or a directory of samples, in any of the ways that lists do: the sample's key
or name, the path of one of its files with or without its ending, the name of a directory on the way
(a scene, a recording), a bare name where only one sample has it; with directories before it that
lie above the root, and with more behind a space or comma, of which nothing is taken. What
names a sample more exactly comes first. Empty lines and those that begin with ``#`` say nothing.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dsc._files.passed_over import printable
from dsc._files.tree import FileTree
from dsc._sources.base import Source, name_of, origin_of
from dsc.errors import SourceNotFoundError, UsageError

SHOWN = 5  # names that a message lists
WHOLE, FOLDER, BARE = range(3)  # how exactly a form names a sample
BELOW = 1000  # ranks from here on are of forms whose first directories are gone
_SEPARATED = re.compile(r"[\s,;]")


@dataclass
class Line:
    """A line of a list, and the samples that it names.

    Attributes
    ----------
    found
        By rank, the samples: the smallest rank counts.
    """

    split: str
    text: str
    where: str
    found: dict[int, list[int]] = field(default_factory=dict)


def locate(path: str, root: str | None) -> str:
    """Return where a list lies: one that is not there may lie under the root of the data.

    Raises
    ------
    SourceNotFoundError
        When it is in neither place.
    """
    places = [path]
    if root is not None and "://" not in path:
        below = os.path.relpath(path)  # as it was given
        places.append(f"{root.rstrip('/')}/{below}" if not below.startswith("..") else path)
    for place in places:
        if "://" not in place and not Path(place).exists():
            continue
        try:
            FileTree(place).read_part("", 0, 1)
        except FileNotFoundError:
            continue
        except IsADirectoryError:
            raise UsageError(f"--split-file {place}: a directory; give the file") from None
        return place
    raise SourceNotFoundError(f"--split-file {path}: there is no such file")


def read_lists(files: Mapping[str, str]) -> list[Line]:
    """Read the lists of all splits.

    Raises
    ------
    UsageError
        When one is no text, or lists nothing.
    """
    lines = []
    for split, path in files.items():
        data = FileTree(path).read("")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UsageError(f"--split-file {path}: no text in UTF-8 ({error})") from None
        own = [
            Line(split, line.strip(), f"{path}:{number}")
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        if not own:
            raise UsageError(f"--split-file {path}: it lists nothing")
        lines += own
    return lines


def samples_of(source: Source, lines: Sequence[Line]) -> list[tuple[Line, list[int]]]:
    """Find the samples that each line names.

    Raises
    ------
    UsageError
        When a line names none, or several by a bare name; the message lists some.
    """
    wanted: dict[str, list[tuple[int, Line]]] = {}
    for line in lines:
        exact = _line_forms(line.text)
        for rank, form in enumerate([*exact, *_below(exact)]):
            wanted.setdefault(form, []).append((rank if rank < len(exact) else BELOW + rank, line))
    for index in range(len(source)):
        for exactness, form in _sample_forms(source, index):
            for rank, line in wanted.get(form, ()):
                if rank >= BELOW and (
                    exactness == BARE or (exactness == FOLDER and "/" not in form)
                ):
                    continue  # with its directories gone, a bare name may be another sample's
                own = line.found.setdefault(3 * rank + exactness, [])
                if not own or own[-1] != index:
                    own.append(index)
    _check_found(source, lines)
    return [(line, line.found[min(line.found)]) for line in lines]


def _check_found(source: Source, lines: Sequence[Line]) -> None:
    lost = [line for line in lines if not line.found]
    if lost:
        shown = ", ".join(f"{printable(line.text)} ({line.where})" for line in lost[:SHOWN])
        example = name_of(source, 0) if len(source) else "none"
        raise UsageError(
            f"--split-file: {len(lost)} of {len(lines)} lines name no sample here: {shown}"
            f"{', ...' if len(lost) > SHOWN else ''}; samples are called such as "
            f"{printable(example)}. Mend the lists, or take these lines out"
        )
    for line in lines:
        best = min(line.found)
        several = line.found[best]
        if best % 3 == BARE and len(several) > 1:
            names = " and ".join(printable(name_of(source, index)) for index in several[:2])
            raise UsageError(
                f"{line.where}: {printable(line.text)} names {len(several)} samples, such as "
                f"{names}; write their directories before it"
            )


def _line_forms(text: str) -> list[str]:
    """Return what a line may mean, the likeliest first."""
    whole = text.replace("\\", "/").rstrip("/")
    first = _SEPARATED.split(whole, maxsplit=1)[0]
    return list(
        dict.fromkeys(
            form for part in (whole, first) for form in (_plain(part), _stem(_plain(part)))
        )
    )


def _below(forms: Sequence[str]) -> list[str]:
    """Return what paths are without their first directories, which may lie above the root."""
    found = {
        "/".join(form.split("/")[at:]): None
        for form in forms
        for at in range(1, form.count("/") + 1)
    }
    return [form for form in found if form not in forms]


def _sample_forms(source: Source, index: int) -> Iterator[tuple[int, str]]:
    """Yield what a sample may be called, and how exactly that names it."""
    origin = origin_of(source, index)
    name = source.key(index) if origin is None else _plain(origin.name)
    paths = [] if origin is None else [_plain(path) for path in origin.files.values()]
    full = dict.fromkeys([source.key(index), name, *paths, *map(_stem, paths)])
    yield from ((WHOLE, form) for form in full)
    folders: dict[str, None] = {}
    for path in (name, *paths):
        parts = path.split("/")[:-1]
        folders |= dict.fromkeys("/".join(parts[:end]) for end in range(1, len(parts) + 1))
        folders |= dict.fromkeys(parts)
    yield from ((FOLDER, form) for form in folders if form not in full)
    bare = dict.fromkeys(form.rpartition("/")[2] for form in full)
    yield from ((BARE, form) for form in bare if form not in full and form not in folders)


def _plain(path: str) -> str:
    while path.startswith("./"):
        path = path[2:]
    return path


def _stem(path: str) -> str:
    head, dot, ending = path.rpartition(".")
    return head if dot and head and "/" not in ending and not head.endswith("/") else path
