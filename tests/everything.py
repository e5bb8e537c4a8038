"""A source whose samples have every kind of task, in memory; for tests of what comes back."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from dsc._schemas import Task
from dsc._sources import registry
from dsc._sources.base import SourceSample

TASKS = (
    Task(name="rgb", kind="image", dtype="uint8", channels=3, valid_range=(0, 255)),
    Task(name="scene", kind="class", dtype="int64", channels=0, classes=("kitchen", "hall")),
    Task(name="caption", kind="text", dtype="uint8"),
    Task(name="meta", kind="json", dtype="uint8"),
    Task(name="sound", kind="bytes", dtype="uint8", media_type="audio/wav"),
    Task(name="height", kind="scalar", dtype="float64", channels=0),
    Task(name="taken", kind="time", dtype="int64", channels=0),
    Task(name="pose", kind="matrix", dtype="float64", shape=(4, 4)),
    Task(name="boxes", kind="matrix", dtype="float32", shape=(-1, 4)),
    Task(name="block", kind="feature", dtype="float16", channels=4, shape=(4, 2, 3), exact=True),
    Task(name="sized", kind="feature", dtype="float32", channels=2, shape=(2, -1, -1), exact=True),
    Task(name="gains", kind="vector", dtype="float32", channels=3),
)
VALUES = tuple(task.name for task in TASKS if not task.is_map)
COLUMNS = tuple(task.name for task in TASKS if not task.is_spatial)


class EverythingSource:
    """`n` samples; those whose number is 3 modulo 5 lack caption and boxes."""

    name: ClassVar[str] = "everything"

    def __init__(self, n: int) -> None:
        self._n = n

    @property
    def tasks(self) -> tuple[Task, ...]:
        return TASKS

    def __len__(self) -> int:
        return self._n

    def key(self, index: int) -> str:
        return f"sample_{index}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        found = {name: value for name, value in values(index).items() if name in tasks}
        return SourceSample(self.key(index), found, dict.fromkeys(found, 10))

    def describe(self) -> dict[str, Any]:
        options = {"n": self._n}
        return {"name": self.name, "root": None, "options": options, "fingerprint": str(options)}


def values(index: int) -> dict[str, Any]:
    """Return what a sample is made of, as people have it."""
    rng = np.random.default_rng(index)
    lacks = index % 5 == 3
    return {
        "rgb": rng.integers(0, 256, (8, 12, 3), np.uint8),
        "scene": index % 2,
        "caption": None if lacks else f"A room, number {index} — \0 {'chair ' * (index % 4)}",
        "meta": {"weather": ["rain", "sun"][index % 2], "id": 2**70 + index, "none": None},
        "sound": rng.bytes(index % 7),
        "height": index / 3,
        "taken": 1_700_000_000_000_000_000 + index * 33_333_333,
        "pose": np.vstack([rng.normal(size=(3, 4)), [0, 0, 0, 1]]),
        "boxes": None if lacks else rng.random((index % 3, 4), np.float32),
        "block": rng.normal(size=(4, 2, 3)).astype(np.float16),
        "sized": rng.normal(size=(2, 1 + index % 3, 2)).astype(np.float32),
        "gains": rng.random(3, np.float32),
    }


def same(task: str, found: Any, index: int) -> bool:
    """Tell whether what came back is what a sample was made of."""
    wanted = values(index)[task]
    if isinstance(wanted, np.ndarray) and found is not None:
        return bool(np.array_equal(found, wanted) and found.dtype == wanted.dtype)
    if isinstance(wanted, dict):
        return json.dumps(wanted) == json.dumps(found)
    return bool(found == wanted) if wanted is not None else found is None


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name under which `dsc.compress` finds the source."""
    monkeypatch.setitem(registry.SOURCES, "everything", "tests.everything:EverythingSource")
    return "everything"
