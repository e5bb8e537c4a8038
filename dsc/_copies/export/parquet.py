"""Parquet as the Hub has it: ``data/SPLIT-00000-of-0000N.parquet`` and a card.

`datasets.load_dataset` reads the directory, or the repository that it becomes. Rows are the samples
in order, columns the tasks (`dsc._copies.export.parquet_columns`); what a sample lacks is
null. Keys are a column ``key``, unless they are numbers of rows or a column already. Files are
about as large as asked for, told from a few samples; each appears whole or not at all, and what is
there is kept.
"""

import hashlib
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsc._copies.export.parquet_columns import OutColumn, features_of, out_columns, value
from dsc._copies.export.target import ExportJob, ExportReport
from dsc._schemas import Origin, Task
from dsc._schemas.sample import Sample
from dsc._schemas.size import parse_bytes
from dsc._sources.rows.arrow import HUGGINGFACE, arrow
from dsc._storage.files.root import Root
from dsc.errors import UsageError

FILE_SIZE = "500MB"
GROUP_BYTES = 32 << 20  # of values in a row group
MOST_ROWS = 1000  # in a row group
BATCH = 8
PROBES = 16
KEY = "key"
CARD = "README.md"
FILES = re.compile(r"data/[a-z0-9_]+-\d{5,}-of-\d{5,}\.parquet")
ROWS = ("huggingface", "table")  # sources whose keys may be numbers of rows


def write_parquet(job: ExportJob, *, file_size: str | int = FILE_SIZE) -> ExportReport:
    """Write Parquet files by split, and a card.

    Parameters
    ----------
    file_size
        About how many bytes a file is to have, also as ``500MB``.

    Raises
    ------
    UsageError
        When the size is none.
    MissingPackageError
        When pyarrow is not installed.
    """
    size = parse_bytes(file_size, "--file-size")
    if size < 1:
        raise UsageError(f"--file-size {file_size}: at least one byte")
    arrow()
    columns = out_columns(job.manifest, job.dataset.tasks)
    rows = _rows_of(job)
    samples = hashlib.sha256(job.dataset.indices.astype("<i8").tobytes()).hexdigest()
    job.claim(FILES, samples, file_size=size, tasks=job.task_names)
    writer = _Writer(job, columns)
    parts = _parts(rows, max(1, int(size / writer.bytes_a_row(rows))))
    done, total, files = 0, sum(map(len, rows.values())), defaultdict[str, list[str]](list)
    for path, split, own in parts:
        files[split].append(path)
        writer.write(path, own, lambda n, done=done: job.progress(done + n, total))
        done += len(own)
        job.progress(done, total)
    writer.card(rows, files)
    return writer.report()


def _rows_of(job: ExportJob) -> dict[str, list[int]]:
    """Return the places, in the dataset, of each split's samples, in order.

    Samples that could not be coded are left out.
    """
    archive, found = job.archive, dict[str, list[int]]()
    starts = [archive.start(n) for n in range(len(archive.shards))]
    indices = job.dataset.indices
    shards = np.searchsorted(starts, indices, "right") - 1
    failed = [{sample.key for sample in shard.failed} for shard in archive.shards]
    for place, (index, n) in enumerate(zip(indices.tolist(), shards.tolist(), strict=True)):
        if not failed[n] or archive.key(index) not in failed[n]:
            found.setdefault(archive.shards[n].split, []).append(place)
    return found


def _parts(
    rows: Mapping[str, Sequence[int]], rows_a_file: int
) -> list[tuple[str, str, Sequence[int]]]:
    """Return path, split and rows of each file."""
    found = []
    for split, own in rows.items():
        count = -(-len(own) // rows_a_file)
        for n in range(count):
            path = f"data/{split}-{n:05d}-of-{count:05d}.parquet"
            found.append((path, split, own[n * rows_a_file : (n + 1) * rows_a_file]))
    return found


class _Writer:
    """Writes files that are not there, a row group at a time."""

    def __init__(self, job: ExportJob, columns: Sequence[OutColumn]) -> None:
        self._job, self._columns, self._indices = job, columns, job.dataset.indices
        self._has_key = _needs_key(job, columns)
        pa = arrow()
        fields = [column.field for column in columns]
        features = features_of(columns)
        if self._has_key:
            fields.insert(0, pa.field(KEY, pa.string()))
            features = features and {KEY: value("string"), **features}
        self._features = features
        noted = {HUGGINGFACE: json.dumps({"info": {"features": features}})} if features else None
        self._schema = pa.schema(fields, noted)
        self._group = MOST_ROWS
        self.written = self.kept = 0
        self.missing: dict[str, int] = {column.task.name: 0 for column in columns}

    def bytes_a_row(self, rows: Mapping[str, Sequence[int]]) -> float:
        """Return about how many bytes a row takes, from a few; sets the rows of a row group."""
        every = [index for own in rows.values() for index in own]
        few = np.unique(np.linspace(0, len(every) - 1, min(PROBES, len(every))).astype(int))
        probed = [every[n] for n in few.tolist()]
        table = self._table(probed)
        self.missing = dict.fromkeys(self.missing, 0)
        mean = max(float(table.nbytes) / max(len(probed), 1), 1.0)
        self._group = int(min(max(GROUP_BYTES / mean, 1), MOST_ROWS))
        return mean

    def write(self, path: str, rows: Sequence[int], progress: Any) -> None:
        """Write a file, unless it is there."""
        root = self._job.root
        if not self._job.overwrite and root.exists(path):
            self.kept += 1
            return
        from pyarrow import parquet

        with tempfile.TemporaryDirectory(dir=_scratch(root), prefix=".part-") as scratch:
            part = Path(scratch) / "part.parquet"
            with parquet.ParquetWriter(part, self._schema, write_page_checksum=True) as writer:
                for start in range(0, len(rows), self._group):
                    writer.write_table(self._table(rows[start : start + self._group]))
                    progress(min(start + self._group, len(rows)))
            root.put(part, path)
        self.written += 1

    def _table(self, rows: Sequence[int]) -> Any:
        cells: list[list[Any]] = [[] for _ in self._columns]
        keys: list[str] = []
        for place, sample, origin in self._samples(rows):
            keys.append(self._job.archive.key(int(self._indices[place])))
            for column, own in zip(self._columns, cells, strict=True):
                array = sample[column.task.name]
                if array is None:
                    self.missing[column.task.name] += 1
                    own.append(None)
                else:
                    own.append(column.cell(array, origin.files.get(column.task.name)))
        pa = arrow()
        arrays = [c.array(own) for c, own in zip(self._columns, cells, strict=True)]
        if self._has_key:
            arrays.insert(0, pa.array(keys, pa.string()))
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _samples(self, rows: Sequence[int]) -> Iterator[tuple[int, Sample, Origin]]:
        dataset = self._job.dataset
        for start in range(0, len(rows), BATCH):
            own = list(rows[start : start + BATCH])
            for index, sample in zip(own, dataset.batch(own), strict=True):
                yield index, sample, dataset.origin(index)

    def card(self, rows: Mapping[str, Sequence[int]], files: Mapping[str, Sequence[str]]) -> None:
        """Write the card, unless one is there."""
        if not self._job.overwrite and self._job.root.exists(CARD):
            self.kept += 1
            return
        self._job.root.write(CARD, card_of(rows, files, self._schema, self._job).encode())
        self.written += 1

    def report(self) -> ExportReport:
        """Say what was written."""
        notes = []
        if self._features is None:
            notes.append("types that the datasets library has no name for: it infers them")
        failed = self._job.manifest.n_failed
        if failed:
            notes.append(f"{failed} samples that could not be read are no rows")
        tasks = tuple(column.task for column in self._columns)
        return ExportReport(tasks, self.written, self.kept, self.missing, tuple(notes))


def _needs_key(job: ExportJob, columns: Sequence[OutColumn]) -> bool:
    """Tell whether keys say more than the number of a row, and no column says it."""
    report = job.manifest.source_report
    if any(column.field.name == KEY for column in columns):
        return False
    own = report.options.get("key_column") if report is not None else None
    if own is not None and any(column.field.name == own for column in columns):
        return False
    return not (
        job.manifest.source in ROWS
        and all(
            _is_numbered(key) for n in range(len(job.archive.shards)) for key in job.archive.keys(n)
        )
    )


def _is_numbered(key: str) -> bool:
    head, _, number = key.rpartition("_")
    return bool(head) and number.isdigit() and len(number) >= 6


def _scratch(root: Root) -> Path | None:
    if root.local is None:
        return None
    root.local.mkdir(parents=True, exist_ok=True)
    return root.local


def card_of(
    rows: Mapping[str, Sequence[int]],
    files: Mapping[str, Sequence[str]],
    schema: Any,
    job: ExportJob,
) -> str:
    """Return the card of a data set on the Hub: what its files are, and how they are loaded."""
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split, paths in files.items():
        pattern = paths[0] if len(paths) == 1 else f"data/{split}-*.parquet"
        lines += [f"  - split: {split}", f"    path: {pattern}"]
    lines += ["---", "", "# Data set", "", f"{sum(map(len, rows.values()))} samples, exported from"]
    lines += ["a dsc archive by `dsc export --to parquet`.", "", "| column | type | what |"]
    lines += ["| --- | --- | --- |"]
    known = {column.name: str(column.type) for column in schema}
    tasks = {task.name: task for task in job.dataset.tasks}
    for name, kind in known.items():
        lines.append(f"| {_cell(name)} | {_cell(kind)} | {_what(tasks.get(name))} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _what(task: Task | None) -> str:
    if task is None:
        return ""
    unit = f", {task.unit_m:g} m a count" if task.unit_m else ""
    nothing = f", {'+'.join(map(str, task.invalid))} is nothing" if task.invalid else ""
    return f"{task.kind.value}{unit}{nothing}"
