"""Proves that an archive gives back what it was made of: every sample beside the source's own.

Tasks that lose nothing must be equal, value for value, and files that are kept byte for byte; of
the others the distortion is told. Samples are known by their keys, so order does not matter, but is
told. What cannot be compared is no proof: a sample that only one of the two has, one that the
source cannot read, a task that the source now reads as something else.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.registry import OF_FILES
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.metrics import HIGHER_IS_BETTER, measure
from dsc._pipeline.read.dataset import Dataset
from dsc._pipeline.read.originals import has_encoding, rendered_again
from dsc._pipeline.read.whereabouts import recall_all
from dsc._schemas import Manifest, Task
from dsc._schemas.from_file import file_of
from dsc._sources.base import Source, read_sample
from dsc._sources.registry import open_source, reopen
from dsc._storage.files.place import absolute
from dsc._storage.read.archive import Archive
from dsc.errors import DscError, SampleError, SourceNotFoundError, UsageError

BATCH = 8
LISTED = 8  # keys and errors that a result spells out
Progress = Callable[[int, int], None]


class Verdict(StrEnum):
    """What came of comparing a task."""

    EQUAL = "equal"
    DIFFERS = "differs"
    LOSSY = "lossy"
    NOT_COMPARED = "not compared"
    COMPUTED = "computed"


@dataclass(frozen=True)
class ComparedTask:
    """One task of an archive beside the source's.

    Attributes
    ----------
    samples, differing
        Samples that were compared, and those of them that are not equal.
    detail
        The first difference, or why nothing was compared; empty where there is none.
    files, files_equal
        JPEG files that the source has, and those of them that come back byte for byte; None where
        the codec keeps no files.
    metric, mean, worst, worst_key
        Of lossy tasks; None where nothing could be measured.
    """

    task: str
    codec: str
    verdict: Verdict
    samples: int = 0
    differing: int = 0
    detail: str = ""
    files: int | None = None
    files_equal: int | None = None
    metric: str | None = None
    mean: float | None = None
    worst: float | None = None
    worst_key: str | None = None


@dataclass(frozen=True)
class Comparison:
    """An archive beside its source.

    Attributes
    ----------
    note
        What it was compared with.
    samples
        Samples that both have.
    archive_only, source_only
        How many samples only one of them has; `archive_keys` and `source_keys` are the first keys.
    unreadable
        The first errors of samples that the source cannot read; `n_unreadable` counts all.
    is_in_order
        Whether the samples that both have come in the same order.
    """

    note: str
    samples: int
    archive_only: int
    archive_keys: tuple[str, ...]
    source_only: int
    source_keys: tuple[str, ...]
    n_unreadable: int
    unreadable: tuple[str, ...]
    is_in_order: bool
    tasks: tuple[ComparedTask, ...]

    @property
    def ok(self) -> bool:
        """Whether the archive gives back the source, as far as its codecs promise to."""
        bad = (Verdict.DIFFERS, Verdict.NOT_COMPARED)
        apart = self.archive_only + self.source_only + self.n_unreadable
        return not apart and all(one.verdict not in bad for one in self.tasks)

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON."""
        return {"ok": self.ok} | asdict(self)


def compare_with_source(
    archive: Archive, places: Sequence[str], *, progress: Progress | None = None
) -> Comparison:
    """Compare every sample of an archive with its source.

    Parameters
    ----------
    places
        Where the data lies: directories, files or URLs; what was appended may lie elsewhere. The
        name of the archive's source stands for data that are rendered again, or that lie where this
        machine remembers them.
    progress
        Called with (samples done, samples in all).

    Raises
    ------
    UsageError
        When a place does not hold the archive's source.
    CorruptArchiveError, BitstreamError
        When a sample of the archive cannot be decoded.
    """
    dataset = Dataset(archive, native=True)
    sources, note = _sources(dataset, places)
    beside = [_Beside(source, dataset.tasks) for source in sources]
    codecs = CodecSet.from_archive(archive)
    tasks = [_Compared(task, codecs, beside) for task in dataset.tasks]
    keys = list(dataset.keys())
    unreadable: list[str] = []
    done = 0
    for start in range(0, len(keys), BATCH):
        indices = range(start, min(start + BATCH, len(keys)))
        for index, decoded in zip(indices, dataset.batch(indices), strict=True):
            try:
                _compare(tasks, beside, keys[index], decoded)
            except SampleError as error:
                unreadable.append(str(error))
            done += 1
        if progress is not None:
            progress(done, len(keys))
    return _result(note, keys, beside, tasks, unreadable)


def _compare(
    tasks: Sequence["_Compared"],
    beside: Sequence["_Beside"],
    key: str,
    decoded: Mapping[str, Array | None],
) -> None:
    originals: dict[str, Array] = {}
    for one in beside:
        originals = {**one.read(key), **originals}
    if any(key in one.index for one in beside):
        for compared in tasks:
            name = compared.task.name
            if compared.is_comparable:
                compared.add(key, originals.get(name), decoded[name])


def _result(
    note: str,
    keys: Sequence[str],
    beside: Sequence["_Beside"],
    tasks: Sequence["_Compared"],
    unreadable: Sequence[str],
) -> Comparison:
    ours, theirs = set(keys), dict.fromkeys(key for one in beside for key in one.index)
    archive_only = [key for key in keys if key not in theirs]
    source_only = [key for key in theirs if key not in ours]
    common = [key for key in keys if key in theirs]
    return Comparison(
        note,
        len(common),
        len(archive_only),
        tuple(archive_only[:LISTED]),
        len(source_only),
        tuple(source_only[:LISTED]),
        len(unreadable),
        tuple(unreadable[:LISTED]),
        common == [key for key in theirs if key in ours],
        tuple(one.result() for one in tasks),
    )


class _Beside:
    """A source, asked by keys for the tasks of an archive that it has as the archive has them."""

    def __init__(self, source: Source, tasks: Sequence[Task]) -> None:
        self.source = source
        self.there = {task.name: task for task in source.tasks}
        self.names = [t.name for t in tasks if has_encoding(t, self.there.get(t.name))]
        self.index = {source.key(n): n for n in range(len(source))}

    def read(self, key: str) -> Mapping[str, Array]:
        found = self.index.get(key)
        return {} if found is None else read_sample(self.source, found, self.names).arrays


@dataclass
class _Compared:
    """What is found of one task while samples go by.

    Attributes
    ----------
    apart
        Samples that cannot be compared: one of the two lacks the task, or the shapes differ.
    """

    task: Task
    codecs: CodecSet
    beside: Sequence[_Beside]
    samples: int = 0
    differing: int = 0
    apart: int = 0
    detail: str = ""
    files: int = 0
    files_equal: int = 0
    metric: str | None = None
    values: list[float] = field(default_factory=list)
    worst: float | None = None
    worst_key: str | None = None

    def __post_init__(self) -> None:
        self.is_exact = self.codecs.is_exact(self.task)
        record = self.codecs.records()[self.codecs.slot_of(self.task.name)]
        self.keeps_files = record.id in OF_FILES
        self.is_comparable = any(self.task.name in one.names for one in self.beside)

    def add(self, key: str, original: Array | None, decoded: Array | None) -> None:
        if original is None and decoded is None:
            return
        self.samples += 1
        found = _difference(original, decoded)
        is_apart = original is None or decoded is None or original.shape != decoded.shape
        if (is_apart and not self.apart) or (found and not self.differing):
            self.detail = f"sample {key}: {found}"
        self.differing, self.apart = self.differing + bool(found), self.apart + is_apart
        if self.keeps_files and original is not None:
            self._add_file(key, file_of(original), decoded)
        if not self.is_exact and original is not None and decoded is not None and not is_apart:
            self._measure(key, original, decoded)

    def _add_file(self, key: str, file: bytes | None, decoded: Array | None) -> None:
        if file is None:
            return
        same = decoded is not None and file_of(decoded) == file
        self.files += 1
        self.files_equal += same
        if not same and not self.detail:
            self.detail = f"sample {key}: its values come back, and not its file"

    def _measure(self, key: str, original: Array, decoded: Array) -> None:
        self.metric, value = next(iter(measure(self.task, original, decoded).items()))
        if not np.isfinite(value):
            return
        self.values.append(value)
        higher = HIGHER_IS_BETTER.get(self.metric, True)
        if self.worst is None or (value < self.worst if higher else value > self.worst):
            self.worst, self.worst_key = value, key

    def result(self) -> ComparedTask:
        return ComparedTask(
            task=self.task.name,
            codec=self.codecs.codec_name(self.task.name),
            verdict=self._verdict(),
            samples=self.samples,
            differing=self.differing,
            detail=self.detail if self.is_comparable else self._why_not(),
            files=self.files if self.keeps_files else None,
            files_equal=self.files_equal if self.keeps_files else None,
            metric=self.metric if self.values else None,
            mean=statistics.fmean(self.values) if self.values else None,
            worst=self.worst,
            worst_key=self.worst_key,
        )

    def _verdict(self) -> Verdict:
        if self.task.extractor is not None:
            return Verdict.COMPUTED
        if not self.is_comparable or not self.samples:
            return Verdict.NOT_COMPARED
        if self.apart or (self.is_exact and (self.differing or self.files_equal < self.files)):
            return Verdict.DIFFERS
        return Verdict.EQUAL if self.is_exact else Verdict.LOSSY

    def _why_not(self) -> str:
        if self.task.extractor is not None:
            return f"computed by {self.task.extractor}; it is no part of the source"
        name = self.task.name
        others = [one.there[name] for one in self.beside if name in one.there]
        if not others:
            return "the source has no such task"
        one = others[0]
        unit = "" if one.unit_m is None else f" of {one.unit_m:g} m"
        return f"the source gives {one.kind.value} as {one.dtype}{unit}, not as the archive has it"


def _difference(original: Array | None, decoded: Array | None) -> str:
    """Say how two arrays of a task differ; nothing where they do not."""
    if original is None or decoded is None:
        return f"only the {'archive' if original is None else 'source'} has it"
    if original.shape != decoded.shape or original.dtype != decoded.dtype:
        return f"{decoded.dtype} {decoded.shape}, the source has {original.dtype} {original.shape}"
    original, decoded = np.ascontiguousarray(original), np.ascontiguousarray(decoded)
    if original.tobytes() == decoded.tobytes():
        return ""
    bits = f"u{original.itemsize}"
    apart = np.argwhere(original.reshape(-1).view(bits) != decoded.reshape(-1).view(bits))[:, 0]
    at = np.unravel_index(int(apart[0]), original.shape) if original.ndim else ()
    names = ("row ", "column ", "channel ") if 1 < original.ndim < 4 else ("",) * original.ndim
    where = f" at {', '.join(f'{name}{n}' for name, n in zip(names, at, strict=False))}" * bool(at)
    return (
        f"{len(apart)} of {original.size} values differ, the first{where}: "
        f"{original[at]} in the source, {decoded[at]} here"
    )


def _sources(dataset: Dataset, places: Sequence[str]) -> tuple[list[Source], str]:
    """Open what the archive was made of."""
    manifest = dataset.manifest
    known = recall_all(manifest)
    sources: list[Source] = []
    notes: list[str] = []
    for place in places:
        if place == manifest.source and not Path(place).exists():
            found = _remembered(dataset, known)
            notes.append(f"{place}, {'rendered again' if _is_rendered(found) else 'reopened'}")
        else:
            found = list(_at(manifest, place, known))
            notes.append(f"{manifest.source} at {place}")
        sources += found
    return sources, "; ".join(notes)


def _is_rendered(sources: Sequence[Source]) -> bool:
    return all(source.describe().get("root") is None for source in sources)


def _remembered(dataset: Dataset, known: Sequence[Mapping[str, Any]]) -> list[Source]:
    """Open the places that this machine remembers, or render the views again.

    Raises
    ------
    UsageError
        When it can do neither.
    """
    found = [reopen(noted) for noted in known]
    if not found:
        again = rendered_again(dataset) if dataset.manifest.source == "sample" else None
        if again is None:
            raise UsageError(
                f"--against {dataset.manifest.source}: this machine does not remember where the "
                "data lies; give its directory or URL"
            )
        found = [again]
    return found


def _at(manifest: Manifest, place: str, known: Sequence[Mapping[str, Any]]) -> Iterator[Source]:
    """Open a place as it was opened for the archive and for what was appended.

    Raises
    ------
    SourceNotFoundError
        When there is no such place.
    UsageError
        When it can be opened as none of them.
    """
    noted = [one for one in known if one.get("root") == absolute(place)]
    if noted:
        yield from map(reopen, noted)
        return
    made = [(manifest.source, manifest.source_report)]
    made += [(one.source, one.source_report) for one in manifest.appended]
    asked = [(name, dict(report.options) if report else {}) for name, report in made]
    if "://" not in place and not any(map(place.__contains__, "*?{[")) and not Path(place).exists():
        raise SourceNotFoundError(
            f"--against {place}: there is no such file or directory; give the place where the data "
            "of this archive lie"
        )
    opened, failure = 0, None
    for at, (name, options) in enumerate(asked):
        if (name, options) in asked[:at]:
            continue
        try:
            source = open_source(name, place, **options)
        except (DscError, OSError) as error:
            failure = failure or error
            continue
        opened += 1
        yield source
    if not opened and failure is not None:
        raise UsageError(
            f"--against {place}: {failure}; give the directory, file or URL where the data of this "
            "archive lie, in the layout that they had"
        ) from failure
