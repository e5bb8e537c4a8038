"""Which tars are meant: those below a directory, those of a pattern, or one; and their splits.

A pattern is webdataset's: braces (``train-{000000..000012}.tar``, ``{train,val}-0.tar``), which
name every tar, or what shells match names with (``*``, ``?``, ``[ab]``, ``**`` for any directories;
``?`` begins a query in an HTTP URL). Splits are told from names: ``train-000000.tar``,
``val/000000.tar``.
"""

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dsc._files.directories import join_path
from dsc._files.packed import COMPRESSED_TARS
from dsc._files.passed_over import PassedOver
from dsc._files.tree import FileTree, nothing_found
from dsc._schemas import LeftOut
from dsc._sources.keys import natural_order, split_rank
from dsc._sources.meaning.names import name_of_split, split_of
from dsc._sources.meaning.options import TaskOptions
from dsc._storage.files.place import Place, parse_place
from dsc.errors import UsageError

SOURCE = "webdataset"
TAR = ".tar"
MOST_TARS = 1_000_000  # that one pattern of braces may name
LOOKED_FOR = ("train-000000.tar, train-000001.tar",)
_MAGIC = re.compile(r"[*?\[{]")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?")
_INNERMOST = re.compile(r"\{([^{}]*)\}")
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Tars:
    """Tars below one place, split by split, in natural order.

    Attributes
    ----------
    tree
        The place; paths are relative to it.
    paths, splits
        Of each tar its path, and its split: ``""`` where its name says none.
    left_out
        What lies beside them and is no tar.
    """

    tree: FileTree
    paths: tuple[str, ...]
    splits: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()

    def split_sizes(self, samples: Sequence[int]) -> dict[str, int]:
        """Count the samples of each split, given those of each tar; empty without splits."""
        found: dict[str, int] = {}
        for split, count in zip(self.splits, samples, strict=True):
            if count:
                found[split] = found.get(split, 0) + count
        return found if any(found) else {}


def find_tars(root: str, options: TaskOptions) -> Tars:
    """Find the tars that a directory, pattern or URL means.

    Raises
    ------
    SourceNotFoundError
        When there is none.
    UsageError
        When a pattern cannot be read, or a tar is compressed.
    """
    place = parse_place(os.fspath(root))
    base, pattern = _parted(place)
    tree = FileTree(base)
    left_out: list[LeftOut] = []
    if pattern is None:
        tree.require_root(SOURCE, root)
        paths = _all_tars(tree, options, left_out)
    else:
        paths = [path for one in expand_braces(pattern) for path in _matching(tree, one)]
    paths = [path for path in dict.fromkeys(paths) if not options.ignores(path)]
    compressed = next((path for path in paths if path.lower().endswith(COMPRESSED_TARS)), None)
    if compressed is not None:
        raise UsageError(
            f"{tree.where(compressed)}: a compressed tar can only be read from its beginning; "
            "decompress it first, for example with `gunzip`: what pictures take hardly grows, and "
            "dsc compresses the rest"
        )
    if not paths:
        raise nothing_found(SOURCE, f"no .tar at {root}", LOOKED_FOR, tree)
    ordered = sorted(paths, key=_order)
    return Tars(tree, tuple(ordered), tuple(map(split_of_tar, ordered)), tuple(left_out))


def split_of_tar(path: str) -> str:
    """Return the split that a tar's directories or name say, ``""`` where none does."""
    *above, name = path.split("/")
    words = _WORD.findall(name.lower().removesuffix(TAR))
    return split_of(above) or next(filter(None, map(name_of_split, words)), "")


def expand_braces(pattern: str) -> list[str]:
    """List what a pattern with braces stands for, in order, as shells do.

    ``{000..012}`` counts with the zeros of its first number, ``{a,b}`` lists; braces may nest.

    Raises
    ------
    UsageError
        When it stands for more than `MOST_TARS`, or a brace holds neither.
    """
    found, open_ = [pattern], True
    while open_:
        open_, expanded = False, []
        for one in found:
            match = _INNERMOST.search(one)
            if match is None:
                expanded.append(one)
                continue
            open_ = True
            head, tail = one[: match.start()], one[match.end() :]
            expanded += [f"{head}{part}{tail}" for part in _alternatives(match[1], pattern)]
            if len(expanded) > MOST_TARS:
                raise UsageError(f"--root {pattern}: it stands for more than {MOST_TARS:,} tars")
        found = list(dict.fromkeys(expanded))
    return found


def _alternatives(inside: str, pattern: str) -> list[str]:
    if "," in inside:
        return inside.split(",")
    match = _RANGE.fullmatch(inside)
    if match is None:
        raise UsageError(
            f"--root {pattern}: {{{inside}}} is neither a range such as {{000000..000012}} nor a "
            "list such as {train,val}"
        )
    first, last = int(match[1]), int(match[2])
    step = abs(int(match[3] or 1)) or 1
    width = max((len(text) for text in match.groups()[:2] if _is_padded(text)), default=0)
    if abs(last - first) // step >= MOST_TARS:
        raise UsageError(f"--root {pattern}: it stands for more than {MOST_TARS:,} tars")
    numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
    return [str(number).zfill(width) for number in numbers]


def _is_padded(number: str) -> bool:
    digits = number.lstrip("-")
    return len(digits) > 1 and digits[0] == "0"


def _parted(place: Place) -> tuple[Place, str | None]:
    """Part a place into a directory and a pattern below it; None for all tars below."""
    spelt = str(place.local) if place.local is not None else place.url
    if place.local is not None and place.local.is_dir():
        return place, None
    scheme, mark, rest = spelt.partition("://") if place.local is None else ("", "", spelt)
    parts = rest.split("/")
    magic = next((at for at, part in enumerate(parts) if _MAGIC.search(part)), None)
    if magic is None and not rest.lower().endswith((TAR, *COMPRESSED_TARS)):
        return place, None
    cut = len(parts) - 1 if magic is None else magic
    base, pattern = f"{scheme}{mark}{'/'.join(parts[:cut])}", "/".join(parts[cut:])
    if place.local is None:
        return replace(place, url=base), pattern
    return Place(base or "/", Path(base or "/")), pattern


def _all_tars(tree: FileTree, options: TaskOptions, left_out: list[LeftOut]) -> list[str]:
    """List every tar below a directory; what is none is left out, and said to be."""
    found, rest = [], PassedOver()
    for directory, names in tree.walk(left_out):
        for name in names:
            path = join_path(directory, name)
            if name.lower().endswith((TAR, *COMPRESSED_TARS)):
                found.append(path)
            else:
                pattern = options.ignores(path)
                rest.add_file(path, f"--ignore {pattern}" if pattern else "no tar")
    left_out += rest.left_out()
    return found


def _matching(tree: FileTree, pattern: str) -> Iterator[str]:
    """List the files that a pattern without braces means; a plain path means itself."""
    if not _MAGIC.search(pattern):
        yield pattern
        return
    wanted = pattern.split("/")
    for directory, names in tree.walk():
        for name in names:
            path = join_path(directory, name)
            if _matches(path.split("/"), wanted):
                yield path


def _matches(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_matches(parts[at:], wanted[1:]) for at in range(len(parts) + 1))
    return (
        bool(parts) and fnmatch.fnmatchcase(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])
    )


def _order(path: str) -> tuple[int, str, tuple[str, str]]:
    split = split_of_tar(path)
    return split_rank(split), split, natural_order(path)
