"""Samples in tars, as webdataset has them: ``webdataset``.

Tars are scanned once, header by header, when the source is opened; a sample is then read by its
place in its tar, alone. Every file of a sample becomes a task (`dsc._sources.webdataset.fields`),
whatever it holds; what its values mean is judged from a few of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc._files.passed_over import PassedOver, printable
from dsc._files.remote import BLOCK_BYTES
from dsc._schemas import LeftOut, Origin, SourceReport, Task
from dsc._sources.base import SourceSample, find_task
from dsc._sources.meaning.decide import Meaning, alpha_meaning
from dsc._sources.meaning.decode import check_sizes, map_sizes
from dsc._sources.meaning.endings import Family
from dsc._sources.meaning.evidence import PROBES
from dsc._sources.meaning.options import (
    TaskOptions,
    check_named,
    idle_notes,
    known_split,
    unwanted,
    wanted_tasks,
)
from dsc._sources.report import UPRIGHT, fingerprint, make_report
from dsc._sources.webdataset.fields import Field, fields_of
from dsc._sources.webdataset.index import LAYOUTS, index_tars
from dsc._sources.webdataset.judge import Probe, judge, picture_size
from dsc._sources.webdataset.places import Tars, find_tars
from dsc._sources.webdataset.table import Cell, TarTable
from dsc._sources.webdataset.values import read_value
from dsc._storage.files.ranges import merge_ranges
from dsc.errors import SampleError, UsageError

MOST_GAP, MOST_BYTES = 1 << 16, 1 << 26  # of what is read at once
NO_WINDOW = (-1, 0, b"")  # of a remote tar, what was read last: its number, the first byte, bytes


class WebDatasetSource:
    """Tars of samples, opened; see `dsc._sources.base.Source`.

    Parameters
    ----------
    tars, table
        The tars, and what lies where in them.
    judged
        What each task is, and its field, in the order in which samples have them.
    options
        What `open` was given beside the root, as JSON.
    left_out
        What was found and is not read.
    notes
        What was decided for all files, for people.
    root
        Where the tars lie, as it was given.
    """

    name: ClassVar[str] = "webdataset"

    def __init__(
        self,
        tars: Tars,
        table: TarTable,
        judged: Sequence[tuple[Meaning, Field]],
        options: Mapping[str, Any],
        left_out: Sequence[LeftOut] = (),
        notes: Sequence[str] = (),
        root: str = "",
    ) -> None:
        self._tars, self._table, self._root = tars, table, root
        self._options = {name: value for name, value in options.items() if value is not None}
        self._left_out, self._notes = tuple(left_out), (*notes, UPRIGHT)
        self._meanings = {meaning.task.name: meaning for meaning, _ in judged}
        self._fields = {meaning.task.name: field for meaning, field in judged}
        self._tasks = {name: meaning.task for name, meaning in self._meanings.items()}
        self._window = NO_WINDOW

    @classmethod
    def open(
        cls,
        root: str,
        depth_unit: object = None,
        kinds: object = None,
        layout: str | None = None,
        file_unit: object = None,
        invalid: object = None,
        alpha: str | None = None,
        tasks: Sequence[str] | str | None = None,
        ignore: Sequence[str] | str = (),
        split: str | None = None,
    ) -> Self:
        """Scan the tars at `root`.

        Parameters
        ----------
        root
            Directory of tars, one tar, or a pattern of several, with braces or as shells have it;
            a path or fsspec URL.
        layout
            ``keys``: names of samples are unique over all tars, as webdataset wants them;
            ``tars``: over one tar only, so that the tar's name is put before them.
        depth_unit, kinds, file_unit, invalid, alpha, tasks
            As of `dsc._sources.folder.source.FolderSource.open`; kinds may also be ``text``,
            ``json``, ``bytes``, ``scalar``, ``time`` and ``matrix``.
        ignore
            Patterns of paths (``train-0003.tar``, ``*.tar/*.txt``), or tasks, to leave out.
        split
            One of those that names of tars say; all by default.

        Raises
        ------
        SourceNotFoundError
            When there is no tar at `root`.
        UsageError
            When an option cannot be honoured, a tar is compressed, two samples have one name, or a
            task's files cannot be what its name says.
        SampleError
            When a tar is cut or damaged, or none of a task's first files can be read.
        """
        options = TaskOptions.parse(depth_unit, file_unit, kinds, invalid, alpha, tasks, ignore)
        layout = layout or LAYOUTS[0]
        if layout not in LAYOUTS:
            raise UsageError(f"--layout {layout}: {' or '.join(LAYOUTS)}, of webdataset")
        tars, rest = find_tars(root, options), PassedOver()
        table = index_tars(tars, layout, options, rest)
        fields = {one.name: one for one in fields_of(list(table.columns), table.orders)}
        wanted = wanted_tasks(options, list(fields))
        check_named(options, fields)
        counts = {name: _count(table, one) for name, one in fields.items()}
        left_out = [
            *options.excuse([*tars.left_out, *rest.left_out()]),
            *unwanted(counts, wanted, options),
        ]
        kept = [ending for name in wanted for ending in fields[name].endings]
        table = table.without([ending for ending in table.columns if ending not in kept])
        if split is not None:
            table = _of_split(tars, table, split)
        chosen = {name: fields[name] for name in wanted if _count(table, fields[name])}
        judged = [
            (meaning, field)
            for field in chosen.values()
            for meaning in _meanings(tars, table, field, chosen, options)
        ]
        return cls(
            tars,
            table,
            judged,
            {**options.to_json(), "layout": None if layout == LAYOUTS[0] else layout}
            | {"split": split},
            left_out,
            [
                f"{len(tars.paths)} tar{'s' * (len(tars.paths) != 1)}",
                *idle_notes(options, left_out),
            ],
            root,
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_window": NO_WINDOW}

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task found, in the order in which samples have their files."""
        return tuple(self._tasks.values())

    @property
    def splits(self) -> dict[str, int]:
        """Number of samples by split, in order; empty where names of tars say none."""
        return self._tars.split_sizes(self._table.counts)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._table)

    def key(self, index: int) -> str:
        """Return the key of a sample without reading it."""
        return self._table.key(self._check(index))

    def origin(self, index: int) -> Origin:
        """Say what a sample and its files are called in its tar, and their order."""
        name = self._table.name(self._check(index))
        by_ending = {
            ending: task
            for task, field in self._fields.items()
            for ending in field.endings
            if not self._is_alpha(task)
        }
        files: dict[str, str] = {}
        for ending in self._table.fields(index):
            cell = self._table.cell(index, ending)
            if cell is not None and ending in by_ending:
                files[by_ending[ending]] = f"{name}.{cell.ending}"
        return Origin(name=name, files=files, order=tuple(files))

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        """List which of these tasks a sample lacks, without reading it."""
        self._check(index)
        return tuple(name for name in tasks if self._cell(index, name) is None)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read these tasks (full names) of one sample; a task that it lacks is left out.

        Raises
        ------
        UnknownTaskError
            When the source has no such task.
        SampleError
            When a file is damaged or not what its task holds, when sizes differ, or when the tar
            has changed since it was scanned.
        OSError
            When the file system or network fails: the sample may be whole, so try again.
        """
        key, arrays, sizes = self.key(index), {}, {}
        cells = {find_task(self._tasks, name).name: self._cell(index, name) for name in tasks}
        there = {name: cell for name, cell in cells.items() if cell is not None}
        for (name, cell), data in zip(
            there.items(), self._read_cells(list(there.values())), strict=True
        ):
            where = f"sample {key}: {self._where(index, cell)}"
            if len(data) != cell.size:
                raise SampleError(f"{where}: the tar has changed since it was scanned; start again")
            conversion = self._meanings[name].conversion
            arrays[name] = read_value(data, self._tasks[name], cell.ending, where, conversion)
            sizes[name] = cell.size
        check_sizes(key, map_sizes(arrays, self._tasks))
        return SourceSample(key, arrays, sizes)

    def report(self) -> SourceReport:
        """Say what was found, decided and left out."""
        present = {name: self._present(name) for name in self._tasks}
        return make_report(self._meanings, present, self._left_out, self._notes, self._options)

    def describe(self) -> dict[str, Any]:
        """Return the JSON from which the same source is opened again; see `Source.describe`."""
        return {
            "name": self.name,
            "root": self._root,
            "options": self._options,
            "fingerprint": fingerprint(self.tasks, self._table.digest()),
        }

    def _present(self, task: str) -> NDArray[np.bool_]:
        columns = [self._table.present(one) for one in self._fields[task].endings]
        return np.asarray(np.logical_or.reduce(columns), bool)

    def _cell(self, index: int, task: str) -> Cell | None:
        for ending in self._fields[task].endings if task in self._fields else ():
            cell = self._table.cell(index, ending)
            if cell is not None:
                return cell
        return None

    def _is_alpha(self, task: str) -> bool:
        return self._meanings[task].conversion.alpha == "only"

    def _where(self, index: int, cell: Cell) -> str:
        path = self._tars.tree.where(self._tars.paths[cell.tar])
        return f"{path}: {printable(self._table.own_name(index))}.{printable(cell.ending)}"

    def _read_cells(self, cells: Sequence[Cell]) -> list[bytes]:
        """Read files of one tar, neighbours at once."""
        found: dict[int, bytes] = {}
        ranges = [(cell.start, cell.start + cell.size) for cell in cells]
        for merged in merge_ranges(ranges, MOST_GAP, MOST_BYTES):
            data = self._read_part(cells[0].tar, merged.start, merged.end)
            for at in merged.members:
                start, stop = ranges[at]
                found[at] = data[start - merged.start : stop - merged.start]
        return [found[at] for at in range(len(cells))]

    def _read_part(self, tar: int, start: int, stop: int) -> bytes:
        """Read bytes of a tar; of a remote one more than asked for, as samples follow each other.

        Raises
        ------
        SampleError
            When the tar is gone.
        """
        tree, path = self._tars.tree, self._tars.paths[tar]
        known, first, data = self._window
        if known == tar and first <= start and stop <= first + len(data):
            return data[start - first : stop - first]
        ahead = stop if tree.local is not None else max(stop, start + BLOCK_BYTES)
        try:
            data = tree.read_part(path, start, ahead)
        except FileNotFoundError:
            raise SampleError(
                f"{tree.where(path)}: gone since it was scanned; put it back or start again"
            ) from None
        if tree.local is None:
            self._window = (tar, start, data)
        return data[: stop - start]

    def _check(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return index


def _count(table: TarTable, field: Field) -> int:
    """Count the files of a field."""
    return sum(
        int(table.present(ending).sum()) for ending in field.endings if ending in table.columns
    )


def _of_split(tars: Tars, table: TarTable, split: str) -> TarTable:
    sizes = tars.split_sizes(table.counts)
    if not sizes:
        return table  # where there are none, it names the split that all samples go to
    known_split(split, sizes)
    chosen = np.array([own == split for own in tars.splits], bool)
    return table.select(np.flatnonzero(np.repeat(chosen, table.counts)))


def _meanings(
    tars: Tars,
    table: TarTable,
    field: Field,
    fields: Mapping[str, Field],
    options: TaskOptions,
) -> list[Meaning]:
    """Return what a field is, and what its alpha is where that is kept as a task of its own."""
    probes = [
        probe
        for ending in field.endings
        if ending in table.columns
        for row in table.rows(ending, PROBES)
        if (probe := _probe(tars, table, row, ending, field, fields)) is not None
    ]
    meaning = judge(field, probes, options)
    drops = meaning.conversion.alpha == "drop" and options.alpha == "mask"
    return [meaning, alpha_meaning(meaning)] if drops else [meaning]


def _probe(
    tars: Tars,
    table: TarTable,
    row: int,
    ending: str,
    field: Field,
    fields: Mapping[str, Field],
) -> Probe | None:
    """Read a file that is judged; of an array, also how large its sample's picture is."""
    cell = table.cell(row, ending)
    if cell is None:
        return None
    picture: tuple[int, ...] = ()
    if field.family is Family.NUMBERS:
        pictures = [e for f in fields.values() if f.family is Family.PICTURE for e in f.endings]
        other = next((c for e in pictures if (c := table.cell(row, e)) is not None), None)
        picture = () if other is None else picture_size(*_file(tars, table, row, other))
    data, where = _file(tars, table, row, cell)
    return Probe(data, cell.ending, where, picture)


def _file(tars: Tars, table: TarTable, row: int, cell: Cell) -> tuple[bytes, str]:
    path = tars.paths[cell.tar]
    data = tars.tree.read_part(path, cell.start, cell.start + cell.size)
    name = f"{printable(table.own_name(row))}.{printable(cell.ending)}"
    return data, f"{tars.tree.where(path)}: {name}"


def _counted(tars: int) -> str:
    return f"{tars} tar{'s' * (tars != 1)}"
