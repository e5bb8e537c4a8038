"""Recordings that are rendered, as a source, in an archive and on the command line."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from dsc._schemas import SequencePlace, TaskKind
from dsc._sources.base import place_of
from dsc._sources.registry import open_source, options_of, source_from_description
from dsc._storage.read.archive import Archive
from dsc.errors import UnknownTaskError, UsageError
from tests.cli.conftest import run_dsc

NAMES = ["rgb", "depth", "normal", "label", "pose", "intrinsics"]


def test_frames_of_recordings_follow_one_another() -> None:
    source = open_source("rendered", frames=3, sequences=2, camera="orbit", size=32)
    assert len(source) == 6
    assert [source.key(index) for index in (0, 2, 3)] == [
        "orbit-000_frame-000000", "orbit-000_frame-000002", "orbit-001_frame-000000",
    ]  # fmt: skip
    assert place_of(source, 2) == SequencePlace("orbit-000", 2, 66_666_666)
    assert place_of(source, 4) == SequencePlace("orbit-001", 1, 33_333_333)
    with pytest.raises(IndexError):
        source.key(6)


def test_tasks_say_what_values_mean() -> None:
    source = open_source("rendered", frames=2, size=32)
    tasks = {task.name: task for task in source.tasks}
    assert list(tasks) == NAMES
    sample = source.read(1, NAMES)
    assert {name: array.shape for name, array in sample.arrays.items()} == {
        "rgb": (24, 32, 3), "depth": (24, 32), "normal": (24, 32, 3), "label": (24, 32),
        "pose": (4, 4), "intrinsics": (3, 3),
    }  # fmt: skip
    depth_m = tasks["depth"].to_physical(sample.arrays["depth"])
    assert 0.2 < np.nanmin(depth_m) < np.nanmax(depth_m) < 15
    assert tasks["pose"].kind is TaskKind.MATRIX
    assert sample.source_bytes["pose"] == 64
    assert sample.source_bytes["rgb"] > 500
    assert list(source.read(0, ["pose"]).arrays) == ["pose"]
    with pytest.raises(UnknownTaskError, match="flow"):
        source.read(0, ["flow"])


def test_a_frame_does_not_depend_on_how_many_are_asked_for_nor_on_the_process() -> None:
    options = {"camera": "fixed", "size": 32, "seed": 5}
    few = open_source("rendered", frames=2, **options)
    many = open_source("rendered", frames=500, sequences=4, **options)
    one = few.read(1, NAMES)
    for source in (many, pickle.loads(pickle.dumps(many)), source_from_description(few.describe())):
        other = source.read(1, NAMES)
        for name in NAMES:
            np.testing.assert_array_equal(one.arrays[name], other.arrays[name])
    assert many.describe()["options"]["seed"] == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "--frames 0: at least 1"),
        ({"sequences": -1}, "--sequences -1: at least 1"),
        ({"camera": "drone"}, "--camera drone: orbit, fixed or walk"),
        ({"size": 8}, "--size 8: recordings are 16 to 4096"),
        ({"noise": -1.0}, "--noise -1.0: 0 to 64"),
        ({"noise": float("nan")}, "--noise nan: 0 to 64"),
        ({"movers": 100}, "movers=100: 0 to 32"),
    ],
)
def test_what_cannot_be_rendered_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source("rendered", **options)


def test_an_archive_knows_its_recordings_and_grows_by_further_ones(tmp_path: Path) -> None:
    given: dict[str, Any] = {"camera": "walk", "size": 32, "frames": 3}
    dsc.compress("rendered", tmp_path / "a", codec="png", tasks="rgb,label", **given)
    dsc.append(tmp_path / "a", "rendered", sequences=2, **given)
    archive, source = (
        Archive.open(str(tmp_path / "a")),
        open_source("rendered", sequences=2, **given),
    )
    assert [archive.place(index) for index in range(6)] == [
        place_of(source, index) for index in range(6)
    ]
    found = dsc.open(tmp_path / "a", native=True)
    for index in (1, 5):
        for name, array in source.read(index, ["rgb", "label"]).arrays.items():
            np.testing.assert_array_equal(found[index][name], array)


def test_the_command_line_renders_recordings(tmp_path: Path) -> None:
    out = str(tmp_path / "a")
    words = ["--frames", "2", "--sequences", "2", "--camera", "fixed", "--size", "32"]
    ran = run_dsc("compress", "rendered", *words, "--noise", "2", "--codec", "png", "--out", out)
    assert ran.code == 0, ran.err
    keys = list(dsc.open(out).keys())
    assert keys[-1] == "fixed-001_frame-000001"
    assert set(options_of("rendered")) >= {"frames", "sequences", "camera", "size", "noise"}


def test_words_that_do_not_fit_are_answered(tmp_path: Path) -> None:
    out = str(tmp_path / "a")
    ran = run_dsc("compress", "rendered", "--views", "3", "--out", out)
    assert "--frames says how many frames" in ran.err
    ran = run_dsc("compress", "rendered", "--camera", "drone", "--out", out)
    assert "--camera drone: orbit, fixed or walk" in ran.err
    ran = run_dsc("compress", "folder", "--root", str(tmp_path), "--camera", "walk", "--out", out)
    assert "has no option --camera" in ran.err


def test_further_tasks_of_frames(tmp_path: Path) -> None:
    asked = "rgb,depth,depth_euclidean,mask_valid"
    source = open_source("rendered", frames=2, size=32, tasks=asked)
    assert [task.name for task in source.tasks] == [*NAMES, "depth_euclidean", "mask_valid"]
    tasks = {task.name: task for task in source.tasks}
    assert tasks["depth_euclidean"].unit_m == tasks["depth"].unit_m
    assert tasks["depth_euclidean"].invalid == (0,)
    assert source_from_description(source.describe()).tasks == source.tasks
    assert "tasks" not in open_source("rendered", tasks="rgb,depth").describe()["options"]
    out = str(tmp_path / "a")
    words = ["--frames", "2", "--size", "32", "--codec", "png", "--out", out]
    ran = run_dsc("compress", "rendered", "--tasks", asked, *words)
    assert ran.code == 0, ran.err
    found = dsc.open(out, native=True)[1]
    for name, array in source.read(1, asked.split(",")).arrays.items():
        np.testing.assert_array_equal(found[name], array)
    assert (found["depth_euclidean"] >= found["depth"]).all()
