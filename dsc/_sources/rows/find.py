"""Which files below a root hold the rows of a data set, and which split each is of.

Three layouts: what `save_to_disk` of the `datasets` library leaves (``dataset_dict.json``,
``state.json``, Arrow files), the Hub's (``data/train-00000-of-00002.parquet``, or
``train/0000.parquet``), and any other Parquet or Arrow files. A split keeps the name it has.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dsc._files.directories import join_path
from dsc._files.passed_over import PassedOver
from dsc._files.tree import FileTree, nothing_found
from dsc._schemas import LeftOut
from dsc._schemas.task import spelled
from dsc._sources.keys import natural_order, split_rank
from dsc._sources.meaning.names import name_of_split
from dsc._sources.meaning.options import TaskOptions
from dsc.errors import UsageError

SUFFIXES = (".parquet", ".pq", ".arrow", ".feather")
LOOKED_FOR = (
    "data/train-00000-of-00002.parquet",
    "train.parquet",
    "a directory made by save_to_disk",
)
_SHARD = re.compile(r"(.+?)-\d{5}-of-\d{5}(?:-[0-9a-f]{8,})?")
_NO_SPLIT = ("data", "part", "shard", "chunk", "file", "dataset", "rows")


@dataclass(frozen=True)
class RowFile:
    """A file of rows: its path below the root, and its split, ``""`` where it has none."""

    path: str
    split: str = ""


@dataclass(frozen=True)
class FoundFiles:
    """The files of a data set in order, split by split, and what else lies there."""

    tree: FileTree
    files: tuple[RowFile, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def find_files(root: str, options: TaskOptions, source: str) -> FoundFiles:
    """Find the files of rows below a root, or that are the root.

    Raises
    ------
    SourceNotFoundError
        When there are none.
    UsageError
        When several configurations lie there, or a saved data set is incomplete.
    """
    tree = FileTree(root)
    tree.require_root(source, root)
    if tree.is_file():
        directory, name = tree.parent()
        return FoundFiles(directory, (RowFile(name, _split_of(name)[0]),))
    left_out: list[LeftOut] = []
    paths = [join_path(at, name) for at, names in tree.walk(left_out) for name in names]
    saved = _saved(tree, paths)
    if saved is not None:
        return FoundFiles(tree, saved, tuple(left_out), ("layout save_to_disk",))
    rest, found = PassedOver(), list[RowFile]()
    prefixes: dict[str, set[str]] = defaultdict(set)
    for path in sorted(paths, key=natural_order):
        pattern = options.ignores(path) if options.ignore else None
        if pattern:
            rest.add_file(path, f"--ignore {pattern}")
        elif not path.lower().endswith(SUFFIXES):
            rest.add_file(path, "no Parquet or Arrow file")
        else:
            split, prefix = _split_of(path)
            prefixes[split].add(prefix)
            found.append(RowFile(path, split))
    if not found:
        raise nothing_found(source, f"no Parquet or Arrow file under {root}", LOOKED_FOR, tree)
    _check_configurations(prefixes, tree)
    left_out += rest.left_out()
    return FoundFiles(tree, tuple(in_order(found)), tuple(left_out), ("layout Parquet",))


def in_order(files: Iterable[RowFile]) -> list[RowFile]:
    """Return files split by split, train first."""
    return sorted(files, key=lambda one: order_of_split(one.split))


def order_of_split(split: str) -> tuple[int, str]:
    """Return a sort key of splits: train, val, test, dev, then by name, then none."""
    return split_rank(name_of_split(split) or split) + (not split), split


def split_in(path: str) -> str:
    """Return the split that a path names; empty where it names none."""
    return _split_of(path)[0]


def _split_of(path: str) -> tuple[str, str]:
    """Return the split that a path names, and the directories above what names it."""
    *above, name = path.split("/")
    stem = name.rpartition(".")[0] or name
    shard = _SHARD.fullmatch(stem)
    if shard and shard[1].lower() not in _NO_SPLIT:
        return spelled(shard[1]), "/".join(above)
    for at in range(len(above) - 1, -1, -1):
        if name_of_split(above[at]):
            return spelled(above[at]), "/".join(above[:at])
    for word in re.split(r"[-_. ]", stem):
        if name_of_split(word):
            return spelled(word), "/".join(above)
    return "", "/".join(above)


def _check_configurations(prefixes: dict[str, set[str]], tree: FileTree) -> None:
    for split, several in prefixes.items():
        if split and len(several) > 1:
            names = ", ".join(sorted(name or "." for name in several))
            raise UsageError(
                f"{tree.url}: {split} is in several directories ({names}), as configurations of a "
                "data set are: point --root at one of them, or leave the others out with --ignore"
            )


def _saved(tree: FileTree, paths: Sequence[str]) -> tuple[RowFile, ...] | None:
    """List the files of a directory that `save_to_disk` made; None where it is none."""
    known = set(paths)
    if "dataset_dict.json" in known:
        splits = _json(tree, "dataset_dict.json").get("splits")
        if not isinstance(splits, list):
            raise _damaged(tree, "dataset_dict.json")
        parts = [(spelled(str(split)), f"{split}/state.json") for split in splits]
    elif "state.json" in known:
        parts = [("", "state.json")]
    else:
        return None
    found = []
    for split, path in parts:
        if path not in known:
            raise UsageError(f"{tree.where(path)}: missing; the saved data set is incomplete")
        state = _json(tree, path)
        if state.get("_indices_files") or state.get("_indices_data_files"):
            raise UsageError(
                f"{tree.where(path)}: rows are chosen by indices, which are not read; save it "
                "again after flatten_indices()"
            )
        head = path.rpartition("/")[0]
        try:
            names = [str(one["filename"]) for one in state["_data_files"]]
            own = split or spelled(str(state.get("_split") or ""))
        except (KeyError, TypeError):
            raise _damaged(tree, path) from None
        for name in names:
            if join_path(head, name) not in known:
                raise UsageError(
                    f"{tree.where(join_path(head, name))}: missing, though {path} names it; copy "
                    "the data set again"
                )
            found.append(RowFile(join_path(head, name), own))
    return tuple(found)


def _json(tree: FileTree, path: str) -> dict[str, Any]:
    try:
        found = json.loads(tree.read(path))
    except ValueError:
        raise _damaged(tree, path) from None
    if not isinstance(found, dict):
        raise _damaged(tree, path)
    return found


def _damaged(tree: FileTree, path: str) -> UsageError:
    return UsageError(f"{tree.where(path)}: not what save_to_disk writes; copy it again")
