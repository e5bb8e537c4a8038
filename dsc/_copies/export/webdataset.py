"""Plain tars as webdataset reads them: files of a sample together, with real keys and endings.

``<split>-000000.tar``, in the order of the archive. Of a sample that came from tars, name, endings
and their order are those it had there; of any other, the name is the archive's key and endings say
the tasks (``rgb.png``, ``caption.txt``). Headers are USTAR, without time or owner, so that the same
archive gives the same bytes, and a small file costs one header: names that do not fit, and those
alone, take an extended one. An interrupted export goes on behind the tars that are there.
"""

import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from dsc._copies.export.encode import Encoder
from dsc._copies.export.target import ExportJob, ExportReport
from dsc._files.passed_over import printable
from dsc._files.tree import FileTree
from dsc._schemas import Origin
from dsc._schemas.size import parse_bytes
from dsc._sources.webdataset.members import scan_members
from dsc._storage.files.atomic import part_name
from dsc._storage.files.root import Root
from dsc._storage.format.tar import BLOCK, END
from dsc.errors import PlanMismatchError, UsageError

BATCH = 8
FILE_SIZE = "1GB"
TARS = re.compile(r"[a-z0-9_]+-\d{6,}\.tar")
_NAME = re.compile(r"(?:[^/\0]+/)*[^./\0][^./\0]*")


def write_webdataset(
    job: ExportJob,
    *,
    shard_size: int | None = None,
    file_size: int | str = FILE_SIZE,
    image_format: str = "png",
) -> ExportReport:
    """Write tars.

    Parameters
    ----------
    shard_size
        Samples a tar at most; None for no limit.
    file_size
        Bytes a tar at most, or text such as ``1GB``; a larger sample has a tar of its own.
    image_format
        Of decoded images: ``png``, ``jpg``, ``webp``, with a quality (``jpg:90``), or ``source``.

    Raises
    ------
    UsageError
        When a size or format is none.
    """
    if shard_size is not None and shard_size < 1:
        raise UsageError(f"--shard-size {shard_size}: at least 1 sample")
    most = parse_bytes(file_size, "--file-size")
    encoder = Encoder.of(job.manifest, image_format)
    job.claim(
        TARS,
        shard_size=shard_size,
        file_size=most,
        image_format=image_format,
        tasks=job.task_names,
    )
    return _Writer(job, encoder, shard_size or len(job.dataset) or 1, most).run()


class _Writer:
    """Writes the tars of every split, those left out that are there."""

    def __init__(self, job: ExportJob, encoder: Encoder, shard_size: int, most: int) -> None:
        self._job, self._dataset, self._encoder = job, job.dataset, encoder
        self._shard_size, self._most = shard_size, most
        self._tasks = {task.name: task for task in job.dataset.tasks}
        self._names: dict[int, int] = {}  # by the hash of a name, the sample that has it
        self._keys = list(job.dataset.keys())
        self._done = 0
        self._changed: Counter[str] = Counter()
        self.written = self.kept = 0
        self.missing = dict.fromkeys(self._tasks, 0)

    def run(self) -> ExportReport:
        by_split: dict[str, list[int]] = {split: [] for split in self._job.manifest.splits}
        for index in range(len(self._dataset)):
            by_split[self._dataset.split_of(index)].append(index)
        for split, indices in by_split.items():
            self._write_split(split, indices)
        notes = [f"{change}: {count} files" for change, count in sorted(self._changed.items())]
        return ExportReport(
            tuple(self._tasks.values()), self.written, self.kept, self.missing, tuple(notes)
        )

    def _write_split(self, split: str, indices: Sequence[int]) -> None:
        start = number = 0
        while start < len(indices):
            path = f"{split}-{number:06d}.tar"
            names = [] if self._job.overwrite else names_in(self._job.root, path)
            if names:
                count = self._pass_over(path, names, indices[start:])
                self.kept += 1
            else:
                count = self._write_tar(path, indices[start : start + self._shard_size])
                self.written += 1
            start, number = start + count, number + 1

    def _pass_over(self, path: str, names: Sequence[str], indices: Sequence[int]) -> int:
        """Return how many samples a tar that is there holds, those without any file among them.

        Raises
        ------
        PlanMismatchError
            When it holds others.
        """
        waiting = iter(names)
        wanted = next(waiting, None)
        for count, index in enumerate(indices, 1):
            if self._name(index, self._dataset.origin(index)) == wanted:
                wanted = next(waiting, None)
                if wanted is None:
                    self._advance(count)
                    return count
        raise PlanMismatchError(
            f"{self._job.root.where(path)}: it holds sample {printable(str(wanted))}, which this "
            "export has not there; give another directory, or --overwrite"
        )

    def _write_tar(self, path: str, indices: Sequence[int]) -> int:
        """Write as many samples as a tar may hold, and return how many."""
        with _part_of(self._job.root, path) as part:
            with part.open("wb") as file:
                count = self._fill(file, indices)
                file.write(END)
            self._job.root.put(part, path)
        return count

    def _fill(self, file: BinaryIO, indices: Sequence[int]) -> int:
        size = count = 0
        for sample in self._samples(indices):
            data = b"".join(
                member_bytes(f"{sample.name}.{ending}", data) for ending, data in sample.files
            )
            if count and size + len(data) + len(END) > self._most:
                break
            file.write(data)
            size, count = size + len(data), count + 1
            self._changed.update(sample.changed)
            for name in sample.missing:
                self.missing[name] += 1
            self._advance(1)
        return count

    def _samples(self, indices: Sequence[int]) -> "Iterator[_Sample]":
        for at in range(0, len(indices), BATCH):
            some = indices[at : at + BATCH]
            for index, arrays in zip(some, self._dataset.batch(some), strict=True):
                origin = self._dataset.origin(index)
                yield self._sample(self._name(index, origin), arrays, origin)

    def _sample(self, name: str, arrays: Mapping[str, Any], origin: Origin) -> "_Sample":
        """Make the files of a sample, in the order that they had."""
        there = [task for task in self._tasks if arrays[task] is not None]
        order = [task for task in origin.order if task in there]
        made = _Sample(name, missing=[task for task in self._tasks if task not in there])
        taken: set[str] = set()
        for task in [*order, *(task for task in there if task not in order)]:
            known = ending_of(origin, task)
            data, ending = self._encoder.file_of(
                self._tasks[task], arrays[task], known or f"{task}."
            )
            if known and ending != known:
                made.changed.append(f".{known} became .{ending}")
            if ending.lower() in taken:
                ending = f"{task}.{ending.rpartition('.')[2]}"
            taken.add(ending.lower())
            made.files.append((ending, data))
        return made

    def _name(self, index: int, origin: Origin) -> str:
        """Return what a sample is called: as in its tars, or by its key where another is so."""
        name = origin.name if _came_from_tars(origin) else ""
        if not name or self._names.setdefault(hash(name), index) != index:
            name = self._keys[index]
        return name

    def _advance(self, samples: int) -> None:
        self._done += samples
        self._job.progress(self._done, len(self._dataset))


@dataclass
class _Sample:
    """A sample as files, and what became of them."""

    name: str
    files: list[tuple[str, bytes]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def ending_of(origin: Origin, task: str) -> str:
    """Return the ending that a task's file has in a tar; empty where it came from none."""
    path, head = origin.files.get(task, ""), f"{origin.name}."
    ending = path[len(head) :] if path.startswith(head) else ""
    return "" if "/" in ending or "\0" in ending else ending


def _came_from_tars(origin: Origin) -> bool:
    """Tell whether a sample has a name that a tar can have, and its files have it, too.

    An archive may come from anyone: a name that leads out of where a tar is unpacked is none.
    """
    plain = _NAME.fullmatch(origin.name) and ".." not in origin.name.split("/")
    return bool(plain and origin.files and all(ending_of(origin, task) for task in origin.files))


def member_bytes(name: str, data: bytes) -> bytes:
    """Return one whole member: header, data, padding; USTAR, or PAX where the name needs it."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), 0o444, 0
    try:
        header = info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")
    except ValueError:  # the name is too long, or the file is larger than 8 GiB
        header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return header + data + bytes(-len(data) % BLOCK)


def names_in(root: Root, path: str) -> list[str]:
    """List the samples of a tar; none where it is not there."""
    if not root.exists(path):
        return []
    tree = FileTree(root.url if root.local is None else root.local)
    with tree.open(path) as file:
        names = [member.name for member in scan_members(file, tree.where(path))]
    return list(dict.fromkeys(map(_sample_name, names)))


def _sample_name(member: str) -> str:
    directory, slash, base = member.rpartition("/")
    return directory + slash + base.partition(".")[0]


@contextmanager
def _part_of(root: Root, path: str) -> Iterator[Path]:
    """Give the local place where a file is written before it has its name."""
    with tempfile.TemporaryDirectory() as scratch:
        part = Path(scratch) / path if root.local is None else part_name(root.local / path)
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)
