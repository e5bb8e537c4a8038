"""For few samples no codec with weights is chosen, unless it saves more than its file takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from dsc._pipeline.choose import light
from dsc._pipeline.choose.decide import decide_coding
from dsc._pipeline.options import CodingOptions
from dsc._renderer.render import render_view
from dsc._schemas import Task, TaskKind
from dsc._sources.base import SourceSample, report_of
from tests.cli.conftest import run_dsc

NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
LABEL = Task(name="label", kind=TaskKind.LABEL, dtype="uint8")
SIZE = 96
FILE_BYTES = 126_000


@cache
def rendered(index: int) -> dict[str, np.ndarray[Any, Any]]:
    return render_view(index, SIZE)


def room(index: int) -> dict[str, np.ndarray[Any, Any]]:
    view = rendered(20 + index % 2)
    return {"normal": view["normal"], "label": view["segment_semantic"]}


def ball(index: int) -> dict[str, np.ndarray[Any, Any]]:
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j] / (1.5 + index % 3)
    normals = np.stack([x, y, np.sqrt(1 - x**2 - y**2)], axis=-1)
    labels = np.random.default_rng(index).integers(0, 256, (SIZE, SIZE))  # no codec shortens these
    return {
        "normal": (normals * 127.5 + 127.5).astype(np.uint8),
        "label": labels.astype(np.uint8),
    }


@dataclass(frozen=True)
class ManySource:
    """As many samples as one likes, of a few that differ."""

    n: int
    kind: str = "room"
    name: ClassVar[str] = "many"
    tasks: tuple[Task, ...] = (NORMAL, LABEL)

    def __len__(self) -> int:
        return self.n

    def key(self, index: int) -> str:
        return f"sample_{index:06d}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        arrays = (room if self.kind == "room" else ball)(index)
        return SourceSample(self.key(index), {name: arrays[name] for name in tasks}, {})

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "root": None, "options": {}}


def words(n: int, kind: str, tasks: tuple[Task, ...] = (NORMAL,), **asked: Any) -> list[str]:
    source = ManySource(n, kind)
    coding = decide_coding(CodingOptions(**asked), source, tasks, report_of(source))
    return [coding.codec_set.codec_name(task.name) for task in tasks]


def test_normals_are_labels_of_many_rooms_and_pictures_of_few_and_of_what_is_round() -> None:
    assert words(24, "room") == ["av1"]
    assert words(4000, "room") == ["normal-palette"]
    assert words(4000, "ball") == ["av1"]
    assert words(light.MOST + 1, "ball") == ["normal-palette"]  # costs a byte a map


def test_a_file_that_labels_pay_for_is_used_for_normals_too() -> None:
    assert words(24, "room", (NORMAL, LABEL)) == ["av1", "label-scan"]
    assert words(3500, "room", (LABEL,)) == ["label-scan"]  # a few bytes a map more
    assert words(light.MOST + 1, "room", (LABEL,)) == ["label-context"]
    assert words(3500, "room", (NORMAL, LABEL)) == ["normal-palette", "label-context"]
    assert words(4000, "ball", (NORMAL, LABEL))[0] == "av1"


def test_both_together_pay_for_what_neither_pays_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = {"label": 60_000.0, "normal": 70_000.0}

    def of(scales: Any, tasks: Sequence[Task], words: Any) -> dict[str, tuple[str, float]]:
        return {t.name: ("exact" if t is LABEL else "av1", saved[t.name]) for t in tasks}

    monkeypatch.setattr(light._Scales, "saved", of)
    assert words(1000, "room", (LABEL,)) == ["exact"]
    assert words(1000, "room", (NORMAL,)) == ["av1"]
    assert words(1000, "room", (NORMAL, LABEL)) == ["normal-palette", "label-context"]
    saved["label"] = -10.0  # then each by itself has what is best, the file being there
    saved["normal"] = FILE_BYTES + 10_000.0
    assert words(1000, "room", (NORMAL, LABEL)) == ["normal-palette", "exact"]


def test_what_is_asked_for_by_name_is_taken() -> None:
    assert words(4, "room", codec="normal-palette") == ["normal-palette"]
    assert words(4000, "room", codec="av1") == ["av1"]
    assert words(4000, "room", codec="png") == ["png"]
    labels = words(4, "room", (NORMAL, LABEL), codec="label=label-context")
    assert labels == ["normal-palette", "label-context"]  # the file is there


def test_a_target_and_a_bound_go_with_normals_as_labels() -> None:
    assert words(4000, "room", target="normal=1deg") == ["normal-palette"]
    bounded = words(4, "room", codec="normal-palette", max_error="normal=3")
    assert bounded == ["normal-palette + residual"]


def test_an_archive_of_normals_as_labels_reads_back(tmp_path: Path) -> None:
    out, views = tmp_path / "a", ("--views", 3, "--size", 64, "--tasks", "normal")
    ran = run_dsc("compress", "sample", *views, "--codec", "normal-palette", "--out", out)
    assert ran.code == 0, ran.err
    assert "normal-palette" in ran.out
    ran = run_dsc("verify", out, "--deep")
    assert ran.code == 0, ran.err
