"""Distortion and values of some samples: what `dsc info --distortion` and `--values` tell."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._jobs.archive.compress import compress
from dsc._pipeline.metrics import psnr_db
from dsc._pipeline.read.dataset import Dataset
from dsc._pipeline.read.distortion import measure_distortion
from dsc._pipeline.read.values import ValueSummary, summarise_values, time_text
from dsc._sources.rendered.sample import SampleSource
from dsc._storage.read.archive import Archive
from dsc.errors import UnknownTaskError, UsageError
from tests.everything import EverythingSource, values
from tests.jobs.sources import PixelSource

N = 30


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    out = tmp_path_factory.mktemp("sampled") / "views"
    codec = "rgb=jpeg,depth=png,normal=webp,segment_semantic=png"
    compress("taskonomy", out, sample=6, size=48, codec=codec, quality="20")
    return Archive.open(str(out))


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    out = tmp_path_factory.mktemp("sampled") / "everything"
    compress(EverythingSource(N), out, codec="rgb=png", pack=4, shard_size=10)
    return Archive.open(str(out))


def test_each_task_and_metric_has_its_mean_median_and_worst(views: Archive) -> None:
    found = measure_distortion(views, samples=0)
    assert found.compared == found.looked_at == 6
    assert found.note == "originals rendered again"
    by = {(one.task, one.metric): one for one in found.metrics}
    source, dataset = SampleSource.open(6, 48), Dataset(views, ["rgb"], native=True)
    decoded = [dataset[index]["rgb"] for index in range(6)]
    psnr = [
        psnr_db(source.read(index, ["rgb"]).arrays["rgb"], array)
        for index, array in enumerate(decoded)
        if array is not None
    ]
    one = by["rgb", "psnr_db"]
    assert one.samples == 6
    assert one.mean == pytest.approx(statistics.fmean(psnr))
    assert one.median == pytest.approx(statistics.median(psnr))
    assert one.worst == pytest.approx(min(psnr))
    assert one.worst_key == source.key(int(np.argmin(psnr)))
    angle = by["normal", "mean_angle_deg"]
    assert angle.worst is not None
    assert angle.median is not None
    assert angle.worst >= angle.median > 0
    same = by["segment_semantic", "identical"]
    assert (same.samples, same.exact, same.worst_key) == (6, 6, None)


def test_fewer_samples_and_tasks_can_be_asked_for(views: Archive) -> None:
    told: list[tuple[int, int]] = []
    found = measure_distortion(
        views, samples=3, tasks="depth,rgb", progress=lambda done, total: told.append((done, total))
    )
    assert {one.task for one in found.metrics} == {"depth_zbuffer", "rgb"}
    assert found.compared == 3
    assert told == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(UnknownTaskError):
        measure_distortion(views, tasks="nothing")


def test_without_originals_it_says_what_to_do(tmp_path: Path) -> None:
    compress(PixelSource(n=5), tmp_path / "a", codec="png")
    with pytest.raises(UsageError, match="--source-root DIR"):
        measure_distortion(Archive.open(str(tmp_path / "a")))


def summaries(archive: Archive, **options: Any) -> dict[str, ValueSummary]:
    return {one.task: one for one in summarise_values(archive, **options)}


def test_values_are_summed_up_by_kind(everything: Archive) -> None:
    found = summaries(everything, samples=0)
    assert "rgb" not in found
    assert found["scene"].counts == {"kitchen": 15, "hall": 15}
    heights = [values(index)["height"] for index in range(N)]
    assert found["height"].numbers == {
        "least": 0.0, "median": pytest.approx(statistics.median(heights)), "most": max(heights),
    }  # fmt: skip
    times = [values(index)["taken"] for index in range(N)]
    assert found["taken"].numbers["least"] == time_text(min(times))
    assert found["taken"].numbers["most"] == time_text(max(times))
    gains = np.stack([values(index)["gains"] for index in range(N)])
    assert list(found["gains"].entries) == ["0", "1", "2"]
    assert found["gains"].entries["1"]["most"] == pytest.approx(gains[:, 1].max())
    assert found["gains"].numbers["least"] == pytest.approx(gains.min())
    captions = [text for index in range(N) if (text := values(index)["caption"]) is not None]
    assert found["caption"].there == len(captions) == 24
    assert found["caption"].missing == 6
    assert found["caption"].different == len(set(captions))
    lengths = [len(text) for text in captions]
    assert found["caption"].lengths["least"] == min(lengths)
    assert found["caption"].lengths["most"] == max(lengths)
    assert set(found["caption"].examples) <= {text[:200] for text in captions}
    assert found["meta"].counts == {".weather": N, ".id": N, ".none": N}
    assert found["sound"].lengths == {"least": 0, "median": 3, "most": 6}
    shapes = [values(index)["boxes"] for index in range(N)]
    assert sum(found["boxes"].counts.values()) == sum(one is not None for one in shapes)
    assert set(found["boxes"].counts) == {"0×4", "1×4", "2×4"}
    poses = np.stack([values(index)["pose"] for index in range(N)])
    assert found["pose"].numbers["least"] == pytest.approx(poses.min())


def test_some_shards_are_enough_for_some_samples(everything: Archive) -> None:
    few = summaries(everything, samples=5, tasks="scene,rgb")
    assert list(few) == ["scene"]
    assert few["scene"].looked_at == 10
    assert summaries(everything, samples=15)["scene"].looked_at == 20
    assert summaries(everything, samples=1000)["scene"].looked_at == N
    told: list[tuple[int, int]] = []
    summarise_values(everything, tasks="scene,height", progress=lambda *at: told.append(at))
    assert told[-1] == (6, 6)


def test_what_says_nothing_is_left_out_of_json(everything: Archive) -> None:
    for one in summarise_values(everything):
        plain = one.to_json()
        assert plain["task"] == one.task
        assert None not in plain.values()
    assert "different" not in summaries(everything)["pose"].to_json()


class OneColumn:
    """Samples that have a scalar, or nothing."""

    name = "one_column"

    def __init__(self, numbers: Sequence[float | None]) -> None:
        self._numbers = numbers

    tasks = (EverythingSource(1).tasks[5],)

    def __len__(self) -> int:
        return len(self._numbers)

    def key(self, index: int) -> str:
        return f"n{index}"

    def read(self, index: int, tasks: Sequence[str]) -> Any:
        from dsc._sources.base import SourceSample

        value = self._numbers[index]
        found = {} if value is None else {"height": value}
        return SourceSample(self.key(index), found, dict.fromkeys(found, 8))

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "root": None, "options": {}}


@settings(max_examples=12)
@given(st.lists(st.none() | st.floats(width=64), min_size=1, max_size=20))
def test_ranges_are_those_of_the_finite_numbers(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float | None]
) -> None:
    out = tmp_path_factory.mktemp("numbers") / "a"
    compress(OneColumn([0.0, *numbers]), out, pack=2, shard_size=4)
    (found,) = summarise_values(Archive.open(str(out)), samples=0)
    finite = [0.0, *(one for one in numbers if one is not None and np.isfinite(one))]
    odd = sum(one is not None for one in numbers) + 1 - len(finite)
    assert found.numbers["least"] == min(finite)
    assert found.numbers["most"] == max(finite)
    assert found.numbers["median"] == pytest.approx(float(np.median(finite)))
    assert found.numbers.get("not_finite", 0) == odd
    assert found.there == sum(one is not None for one in numbers) + 1
