"""What only some sources can do: asked of those that can, assumed of the others."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from dsc._sources.base import (
    SourceSample,
    check_files,
    lacks_of,
    left_out_of,
    origin_of,
    place_of,
    report_of,
    splits_of,
)
from dsc.errors import SampleError
from dsc.schemas import LeftOut, Origin, SequencePlace, SourceReport, Task
from dsc.sources import Source


class Plain:
    """A source that does what every source must, and nothing more."""

    name: ClassVar[str] = "plain"

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (Task(name="score", kind="vector", dtype="float32", channels=1),)

    def __len__(self) -> int:
        return 3

    def key(self, index: int) -> str:
        return f"s{index}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        return SourceSample(self.key(index), {"score": np.zeros(1, np.float32)}, {"score": 4})

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "root": None, "options": {}}


class Able(Plain):
    """A source that can do everything."""

    splits: ClassVar[dict[str, int]] = {"train": 2, "val": 1}

    def report(self) -> SourceReport:
        left_out = (LeftOut(what="notes.txt", reason="text"),)
        return SourceReport(samples=3, complete=2, tasks={}, left_out=left_out)

    def origin(self, index: int) -> Origin:
        return Origin(name=f"file {index}")

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        return tuple(tasks) if index == 2 else ()

    def place(self, index: int) -> SequencePlace | None:
        return SequencePlace("walk", index)

    def check(self, tasks: Sequence[str]) -> None:
        raise SampleError(f"{tasks[0]} of file 1")


def test_a_plain_source_is_whole_and_has_neither_splits_nor_files_to_name() -> None:
    source: Source = Plain()
    report = report_of(source)
    assert (report.samples, report.complete) == (3, 3)
    assert {name: task.samples for name, task in report.tasks.items()} == {"score": 3}
    assert splits_of(source) == {}
    assert left_out_of(source) == lacks_of(source, 2, ["score"]) == ()
    assert origin_of(source, 0) is None
    assert place_of(source, 0) is None
    check_files(source, ["score"])


def test_a_source_that_can_is_asked() -> None:
    source: Source = Able()
    assert (report_of(source).complete, left_out_of(source)[0].what) == (2, "notes.txt")
    assert list(splits_of(source).items()) == [("train", 2), ("val", 1)]
    assert [lacks_of(source, index, ["score"]) for index in range(3)] == [(), (), ("score",)]
    origin = origin_of(source, 1)
    assert origin is not None
    assert origin.name == "file 1"
    assert place_of(source, 1) == SequencePlace("walk", 1)
    with pytest.raises(SampleError, match="score of file 1"):
        check_files(source, ["score"])
