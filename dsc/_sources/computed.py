"""Any source, with tasks beside its own that backbones compute of its pictures.

They are computed when a sample is read, wherever that is. A sample that lacks the picture lacks
what is computed of it. What computes them is part of the description, by name and hash of weights,
so a plan is good for these very values.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Extractor, SourceReport, Task, TaskReport
from dsc._sources.base import (
    Source,
    SourceSample,
    check_files,
    lacks_of,
    read_sample,
    report_of,
    splits_of,
)
from dsc._sources.reindexed import ReindexedSource
from dsc.errors import SampleError, UsageError

KEPT_BYTES = 16 << 20  # of values that were looked at before there is a plan
COMPUTED = "computed"  # the entry of a description that says what


class ComputedSource(ReindexedSource):
    """Samples of another source with computed tasks; see `dsc._sources.base.Source`.

    Parameters
    ----------
    source
        The samples.
    computed
        Tasks that have an extractor, whose pictures are tasks of the source.
    """

    name: ClassVar[str] = "computed"

    def __init__(self, source: Source, computed: Sequence[Task]) -> None:
        super().__init__(source, np.arange(len(source)))
        self._computed = {task.name: task for task in computed}
        self._kept: dict[tuple[int, str], NDArray[Any]] = {}
        self._extractors = {t.name: t.extractor for t in computed if t.extractor is not None}

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The source's tasks, then the computed ones."""
        return (*self._source.tasks, *self._computed.values())

    @property
    def splits(self) -> dict[str, int]:
        """Number of samples by split, as the source has them."""
        return splits_of(self._source)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read these tasks of one sample, or compute them; see `Source.read`."""
        wanted = {n: one for n, one in self._extractors.items() if n in tasks}
        own = [name for name in tasks if name not in wanted]
        pictures = [one.of for one in wanted.values()]
        sample = read_sample(self._source, self._at(index), list(dict.fromkeys([*own, *pictures])))
        found = {
            name: self._compute(index, sample, name)
            for name, one in wanted.items()
            if sample.arrays.get(one.of) is not None
        }
        arrays = {name: sample.arrays[name] for name in own if name in sample.arrays} | found
        sizes = {name: sample.source_bytes[name] for name in own if name in sample.source_bytes}
        sizes |= {name: values.nbytes for name, values in found.items()}
        return replace(sample, arrays=arrays, source_bytes=sizes)

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        """List which of these tasks a sample lacks: of computed ones, whose picture it lacks."""
        needed = {name: self._needed(name) for name in tasks}
        at = self._at(index)
        lacking = lacks_of(self._source, at, list(dict.fromkeys(needed.values())))
        return tuple(name for name, of in needed.items() if of in lacking)

    def check(self, tasks: Sequence[str]) -> None:
        """Look at the files of these tasks; see `CheckedSource`."""
        check_files(self._source, list(dict.fromkeys(map(self._needed, tasks))))

    def report(self) -> SourceReport:
        """Say what the source found, decided and left out, and what is computed."""
        report = report_of(self._source)
        tasks = {
            name: TaskReport(
                samples=report.tasks[one.of].samples if one.of in report.tasks else len(self),
                why=f"computed by {one}",
            )
            for name, one in self._extractors.items()
        }
        return report.model_copy(update={"tasks": {**report.tasks, **tasks}})

    def describe(self) -> dict[str, Any]:
        """Describe the source and what is computed of it; see `Source.describe`."""
        computed = [task.model_dump(mode="json") for task in self._computed.values()]
        return {**self._source.describe(), COMPUTED: computed}

    def _compute(self, index: int, sample: SourceSample, name: str) -> NDArray[Any]:
        """Compute the values of a task, or return those that were computed before."""
        kept = self._kept.get((index, name))
        if kept is not None:
            return kept.copy()
        found = _extracted(sample, self._computed[name], self._extractors[name])
        if len(self._kept) * found.nbytes < KEPT_BYTES:
            self._kept[index, name] = found
        return found.copy()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}}

    def _needed(self, name: str) -> str:
        """Return the task of the source that a task takes: itself, or its pictures."""
        return self._extractors[name].of if name in self._extractors else name


def with_computed(source: Source, tasks: Sequence[Task]) -> Source:
    """Return a source with computed tasks, or itself where there are none.

    Parameters
    ----------
    tasks
        Tasks with an `Extractor`.
    """
    return ComputedSource(source, tasks) if tasks else source


def _extracted(sample: SourceSample, task: Task, extractor: Extractor) -> NDArray[Any]:
    from dsc._backbones.extract import extract  # brings torch
    from dsc._backbones.registry import load_extractor

    load_extractor(extractor)  # what is amiss with it is no fault of the sample
    where = f"sample {sample.key}, task {task.name}, of {extractor.of}"
    try:
        found = extract(extractor, sample.arrays[extractor.of])
    except UsageError as error:
        raise SampleError(f"{where}: {error}") from error
    with np.errstate(over="ignore"):
        values: NDArray[Any] = found.astype(task.dtype)
    if not np.isfinite(values).all():
        raise SampleError(f"{where}: NaN, or a number that {task.dtype} cannot hold")
    return values
