"""The source whose samples are files: what the layouts of separate files have in common.

A layout lists a `FileTree` into a `FileTable` and says which tasks there are; reading, checking and
describing a sample is the same for all of them.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dsc._files.formats import read_content
from dsc._files.tree import FileTree
from dsc._schemas import LeftOut, Origin, SourceReport, Task
from dsc._sources.base import SourceSample, find_task
from dsc._sources.file_table import FileTable
from dsc._sources.meaning.decide import Meaning
from dsc._sources.meaning.decode import check_file, check_sizes, map_sizes, probe, read_array
from dsc._sources.meaning.evidence import PROBES, Evidence, merge
from dsc._sources.report import UPRIGHT, fingerprint, make_report
from dsc.errors import SampleError, UsageError


class FileSource:
    """Samples made of files; see `dsc._sources.base.Source`.

    Parameters
    ----------
    tree, table
        The files and what they hold.
    meanings
        What the tasks are, in the layout's order.
    options
        What `open_source` was given beside the root, as JSON.
    left_out
        What was found and is not read.
    notes
        What was decided for all files, for people.
    """

    name: ClassVar[str] = "files"

    def __init__(
        self,
        tree: FileTree,
        table: FileTable,
        meanings: Sequence[Meaning],
        options: Mapping[str, Any],
        left_out: Sequence[LeftOut] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.tree = tree
        self.table = table
        self.options = {name: value for name, value in options.items() if value is not None}
        self.left_out, self.notes = tuple(left_out), (*notes, UPRIGHT)
        self.meanings = {meaning.task.name: meaning for meaning in meanings}
        self._tasks = {name: meaning.task for name, meaning in self.meanings.items()}

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task found, in the layout's order."""
        return tuple(self._tasks.values())

    @property
    def splits(self) -> dict[str, int]:
        """Number of samples by split, in order; empty where the layout has none."""
        return self.table.split_sizes()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.table)

    def key(self, index: int) -> str:
        """Return the key of a sample without reading it."""
        return self.table.key(self._check(index))

    def origin(self, index: int) -> Origin:
        """Say what the files of a sample are called."""
        return Origin(name=self.table.name(self._check(index)), files=self.table.paths(index))

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
            task = find_task(self._tasks, name)
            found = self._read_task(index, task, key)
            if found is not None:
                arrays[name], sizes[name] = found
        check_sizes(key, map_sizes(arrays, self._tasks))
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
        return read_array(data, task, where, self.meanings[task.name].conversion)

    def check(self, tasks: Sequence[str]) -> None:
        """Look at the head of every file of these tasks, before any is coded.

        A remote file would cost its whole transfer, so only local ones are looked at.

        Raises
        ------
        SampleError
            Naming the first file that will not do: of another dtype, size or number of channels
            or pages, or damaged in its head.
        """
        if self.tree.local is None:
            return
        for index in range(len(self)):
            sizes = {}
            for name in tasks:
                path = self.table.path(index, name) if name in self.table.files else None
                if path is not None:
                    sizes[name] = self._check_file(self._tasks[name], path, self.key(index))
            check_sizes(self.key(index), {n: size for n, size in sizes.items() if size})

    def _check_file(self, task: Task, path: str, key: str) -> tuple[int, int] | None:
        where = f"sample {key}: {self.tree.where(path)}"
        return check_file(self.tree.read(path), task, where, self.meanings[task.name].conversion)

    def _check(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return index

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        """List which of these tasks a sample lacks, without reading it."""
        self._check(index)
        return tuple(name for name in tasks if not self._has(index, name))

    def _has(self, index: int, task: str) -> bool:
        return bool(self.table.files[task][index] >= 0)

    def report(self) -> SourceReport:
        """Say what was found, decided and left out."""
        present = {name: self._present(name) for name in self._tasks}
        return make_report(self.meanings, present, self.left_out, self.notes, self.options)

    def _present(self, task: str) -> NDArray[np.bool_]:
        """Tell which samples have a task: (N,) bool."""
        return self.table.files[task] >= 0

    def describe(self) -> dict[str, Any]:
        """Return the JSON from which `source_from_description` makes the same source again."""
        return {
            "name": self.name,
            "root": self.tree.url,
            "options": self.options,
            "fingerprint": fingerprint(self.tasks, self.table.digest()),
        }


def example_of(tree: FileTree, table: FileTable, task: str) -> str:
    """Name a file of a task for messages: one with alpha, where there is such."""
    paths = table.some_paths(task, PROBES)
    for path in paths:
        with suppress(SampleError):
            if read_content(tree.read(path), tree.where(path)).alpha:
                return tree.where(path)
    return tree.where(paths[0])


def probe_task(
    tree: FileTree, table: FileTable, task: str, nothing: tuple[int, ...] = ()
) -> Evidence:
    """Gather the evidence of a few files of a task, spread over all of them.

    The values `nothing` are stated to have no meaning.

    Raises
    ------
    SampleError
        When none of them can be read; the last one's error.
    UsageError
        When some are maps and some are not, or their channels differ in a way that no task has.
    """
    found: list[tuple[str, Evidence]] = []
    for path in table.some_paths(task, PROBES):
        try:
            found.append((path, probe(tree.read(path), tree.where(path), nothing)))
        except SampleError as error:
            failure = error  # one damaged file must not hide the others; reading it will report it
    if not found:
        raise failure
    first_path, first = found[0]
    for path, other in found[1:]:
        if other.is_map != first.is_map:
            raise UsageError(
                f"task {task}: {tree.where(first_path)} has shape {first.shape} and "
                f"{tree.where(path)} has {other.shape}; files of one task must be of one form: "
                f"leave one kind out with --ignore, or the task with --tasks"
            )
    return merge([one for _, one in sorted(found, key=lambda one: -one[1].channels)])
