"""The source whose samples are files: what the layouts of separate files have in common.

A layout lists a `FileTree` into a `FileTable` and says which tasks there are; reading, checking and
describing a sample is the same for all of them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray

from dsc.errors import SampleError, UnknownTaskError
from dsc.pipeline.sources.base import SourceSample
from dsc.pipeline.sources.decode import Found, check_sizes, probe, read_array
from dsc.pipeline.sources.listing import FileTree
from dsc.pipeline.sources.table import FileTable
from dsc.schemas import Task
from dsc.schemas.base import canonical_json

PROBES = 5


class FileSource:
    """Samples made of files; see `dsc.pipeline.sources.base.Source`.

    Parameters
    ----------
    tree, table
        The files and what they hold.
    tasks
        The tasks, in the layout's order.
    options
        What `open_source` was given beside the root, as JSON.
    ignored
        One sentence for each kind of file that was found and left aside.
    """

    name: ClassVar[str] = "files"

    def __init__(
        self,
        tree: FileTree,
        table: FileTable,
        tasks: Sequence[Task],
        options: Mapping[str, Any],
        ignored: Sequence[str] = (),
    ) -> None:
        self.tree = tree
        self.table = table
        self.options = {name: value for name, value in options.items() if value is not None}
        self.ignored = tuple(ignored)
        self._tasks = {task.name: task for task in tasks}

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task found, in the layout's order."""
        return tuple(self._tasks.values())

    def __len__(self) -> int:
        """Give the number of samples."""
        return len(self.table)

    def key(self, index: int) -> str:
        """Give the key of a sample without reading it."""
        return self.table.key(self._check(index))

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read these tasks (full names) of one sample; a task that it lacks is left out.

        Raises
        ------
        UnknownTaskError
            When the source has no such task.
        SampleError
            When a file is gone, damaged or not what its task holds, or when sizes differ.
        OSError
            When the file system or network fails: the sample may be whole, so try again.
        """
        key, arrays, sizes = self.key(index), {}, {}
        for name in tasks:
            task = task_of(self._tasks, name)
            found = self._read_task(index, task, key)
            if found is not None:
                arrays[name], sizes[name] = found
        check_sizes(key, arrays, self._tasks)
        return SourceSample(key, arrays, sizes)

    def _read_task(self, index: int, task: Task, key: str) -> tuple[NDArray[Any], int] | None:
        path = self.table.path(index, task.name)
        if path is None:
            return None
        where = f"sample {key}: {self.tree.where(path)}"
        try:
            data = self.tree.read(path)
        except FileNotFoundError:
            raise SampleError(
                f"{where}: gone since the directory was listed; put it back or start again"
            ) from None
        return self._decode(data, task, path, where), len(data)

    def _decode(self, data: bytes, task: Task, path: str, where: str) -> NDArray[Any]:
        return read_array(data, task, where)

    def _check(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return index

    def describe(self) -> dict[str, Any]:
        """Give the JSON from which `source_from_description` makes the same source again."""
        return {
            "name": self.name,
            "root": self.tree.url,
            "options": self.options,
            "fingerprint": fingerprint(self.tasks, self.table.digest()),
        }


def task_of(tasks: Mapping[str, Task], name: str) -> Task:
    """Give the task of that full name.

    Raises
    ------
    UnknownTaskError
        When there is none; the message lists those there are.
    """
    if name not in tasks:
        raise UnknownTaskError(f"no task {name!r} here; found: {', '.join(tasks) or 'none'}")
    return tasks[name]


def fingerprint(tasks: Sequence[Task], content: str) -> str:
    """Hash what a source holds: its tasks, and `content`, which stands for its samples."""
    text = canonical_json([task.model_dump(mode="json") for task in tasks]) + content
    return hashlib.sha256(text.encode()).hexdigest()


def probe_task(tree: FileTree, table: FileTable, task: str, label: bool) -> Found:
    """Learn dtype and shape of a task from its first file that can be read.

    Raises
    ------
    SampleError
        When none of the first few can; the last one's error.
    """
    paths = table.first_paths(task, PROBES)
    for path in paths[:-1]:
        try:
            return probe(tree.read(path), label, tree.where(path))
        except SampleError:
            continue  # one damaged file must not hide the others; reading it will report it
    return probe(tree.read(paths[-1]), label, tree.where(paths[-1]))
