"""What names of HDF5 files and of their datasets say: a task, and the stem of a sample."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from dsc._files.formats import can_read
from dsc._schemas.task import spelled
from dsc._sources.meaning.names import MOST_TASKS, is_task_word, kind_of_name, split_affix


class NameWords(NamedTuple):
    """What the path of a file or dataset says.

    `group` and `stem` tell its sample from others, `task` is the word for its task; ``""`` where
    there is none.
    """

    group: str
    stem: str
    task: str


NO_WORDS = NameWords("", "", "")
GENERIC = ("dataset", "data", "array", "default", "value", "values", "arr_0", "item", "content")
_NUMBERED = re.compile(r"(.*\d)[._-]([A-Za-z]+(?:_[A-Za-z]+)*)")  # frame.0000.position
_HYPERSIM = re.compile(r"_(final|geometry)_hdf5$")  # two directories of one camera's frames


def stem_of(name: str) -> str:
    """Return a file's name without its ending."""
    return name.rpartition(".")[0] or name


def generic(name: str) -> bool:
    """Tell whether a dataset's name says nothing."""
    return spelled(name) in GENERIC


def kind_known(name: str) -> str | None:
    """Guess the kind from a dataset's path in its file, the last part first."""
    parts = name.split("/")
    return next((kind for part in reversed(parts) if (kind := kind_of_name(part))), None)


def base_and_word(name: str) -> tuple[str, str]:
    """Part a file's name, without its ending, from the word at its end or beginning."""
    stem = stem_of(name)
    match = _NUMBERED.fullmatch(stem)
    return (match[1], match[2]) if match else split_affix(stem)


def file_words(paths: Sequence[str]) -> dict[str, NameWords]:
    """Read what names say of files that hold one dataset each, by path.

    Empty where they do not name a task each: at the end or the beginning of the name, as the whole
    name, or as one of the directories.
    """
    found = {}
    for path in paths:
        directory, _, name = path.rpartition("/")
        base, word = base_and_word(name)
        if not word and is_task_word(base) and not any(map(str.isdigit, base)):
            base, word = "", base
        found[path] = NameWords(_HYPERSIM.sub("", directory), base, word)
    words = {one.task for one in found.values()}
    if all(words) and any(map(is_task_word, words)):
        return found
    return _directory_words(paths)


def _directory_words(paths: Sequence[str]) -> dict[str, NameWords]:
    """Read the task from the level of directories at which all names are tasks' names."""
    parts = [path.split("/") for path in paths]
    for level in range(-2, -min(map(len, parts), default=0) - 1, -1):
        words = {found[level] for found in parts}
        if len(words) <= MOST_TASKS and all(map(is_task_word, words)):
            return {
                path: NameWords(
                    "/".join((*own[:level], *own[level + 1 : -1])), stem_of(own[-1]), own[level]
                )
                for path, own in zip(paths, parts, strict=True)
            }
    return {}


def pictures_beside(files: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Find pictures that seem to be a task of the samples that files are: their task by path.

    They have the number of at least half of the files.
    """
    bases = {base_and_word(path.rpartition("/")[2])[0] for path in files}
    found: dict[str, list[str]] = defaultdict(list)
    for path in others:
        directory, _, name = path.rpartition("/")
        base, word = base_and_word(name)
        if base in bases and can_read(name):
            found[spelled(word or directory.rpartition("/")[2]) or "rgb"].append(path)
    most = {task: paths for task, paths in found.items() if 2 * len(paths) >= len(bases) > 1}
    return {path: task for task, paths in most.items() for path in paths}
