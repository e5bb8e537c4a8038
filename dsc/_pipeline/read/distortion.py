"""How far an archive's samples are from their originals: measured on some of them, evenly spread.

A target's distortion is known from when the archive was made (`dsc._schemas.reached`). What a
quality came to is not: here some samples are decoded and set beside their originals.
"""

import math
import statistics
from array import array
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dsc._pipeline.metrics import HIGHER_IS_BETTER, measure
from dsc._pipeline.read.dataset import Dataset
from dsc._pipeline.read.originals import find_originals, spread
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError

SAMPLES = 48
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MeasuredMetric:
    """One metric of one task over some samples.

    Attributes
    ----------
    samples
        Samples that were measured; one without a valid pixel is not.
    exact
        Of these, those without any error: that are identical, or of which PSNR has no finite value.
        Mean and median of PSNR leave them out.
    mean, median, worst
        None where there is no value.
    worst_key
        Key of the worst sample; None where none has an error.
    """

    task: str
    metric: str
    samples: int
    exact: int
    mean: float | None
    median: float | None
    worst: float | None
    worst_key: str | None


@dataclass(frozen=True)
class Distortion:
    """What was measured.

    Attributes
    ----------
    compared
        Samples that had an original.
    looked_at
        Samples that were looked at.
    note
        Where the originals come from.
    """

    compared: int
    looked_at: int
    note: str
    metrics: tuple[MeasuredMetric, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON."""
        return asdict(self)


@dataclass
class _Collected:
    values: "array[float]" = field(default_factory=lambda: array("d"))
    exact: int = 0
    worst: float | None = None
    worst_key: str | None = None

    def add(self, metric: str, value: float, key: str) -> None:
        if math.isnan(value):
            return
        if math.isinf(value):
            self.exact += 1
            return
        self.values.append(value)
        is_share = metric in ("identical", "invalid_exact")
        self.exact += is_share and value == 1
        higher = HIGHER_IS_BETTER[metric]
        worse = self.worst is None or (value < self.worst if higher else value > self.worst)
        if worse and not (is_share and value == 1):
            self.worst, self.worst_key = value, key

    def measured(self, task: str, metric: str) -> MeasuredMetric:
        known = list(self.values)
        infinite = self.exact if metric == "psnr_db" else 0
        return MeasuredMetric(
            task=task,
            metric=metric,
            samples=len(known) + infinite,
            exact=self.exact,
            mean=statistics.fmean(known) if known else None,
            median=statistics.median(known) if known else None,
            worst=self.worst,
            worst_key=self.worst_key,
        )


def measure_distortion(
    archive: Archive,
    *,
    samples: int = SAMPLES,
    source_root: str | None = None,
    tasks: Sequence[str] | str | None = None,
    progress: Progress | None = None,
) -> Distortion:
    """Compare samples of an archive, evenly spread, with their originals.

    Parameters
    ----------
    archive
        The archive.
    samples
        How many; 0 for all.
    source_root
        Where the archive's source lies; None to look where this machine remembers it.
    tasks
        Names or aliases; None for all.
    progress
        Called with (samples done, samples in all).

    Raises
    ------
    UsageError
        When there are no originals.
    UnknownTaskError
        When the archive lacks a task.
    CorruptArchiveError, BitstreamError
        When a sample cannot be decoded.
    """
    dataset = Dataset(archive, tasks, native=True)
    found = find_originals(dataset, source_root)
    if found.originals is None:
        raise UsageError(
            f"{archive.root.url}: {found.note}; --source-root DIR says where the source lies"
        )
    chosen = spread(len(archive), samples or len(archive))
    collected: dict[str, dict[str, _Collected]] = {task.name: {} for task in dataset.tasks}
    compared = 0
    for done, index in enumerate(chosen, 1):
        key = archive.key(index)
        originals = found.originals.read(index, key)
        decoded = dataset[index] if originals else {}
        compared += bool(originals)
        for task in dataset.tasks:
            original, array_ = originals.get(task.name), decoded.get(task.name)
            if original is None or array_ is None or original.shape != array_.shape:
                continue
            for metric, value in measure(task, original, array_).items():
                one = collected[task.name].setdefault(metric, _Collected())
                one.add(metric, value, key)
        if progress is not None:
            progress(done, len(chosen))
    if not compared:
        raise UsageError(
            f"{archive.root.url}: none of {len(chosen)} samples has an original ({found.note})"
        )
    metrics = tuple(
        one.measured(task, metric) for task, by in collected.items() for metric, one in by.items()
    )
    return Distortion(compared, len(chosen), found.note, metrics)
