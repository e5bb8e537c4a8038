"""``--codec auto`` where tasks follow from others: they are found first, and not tried."""

from pathlib import Path
from typing import Any

import pytest

import dsc
from dsc._codecs.classical.av1 import Av1Codec
from dsc._codecs.registry import NETWORKS
from dsc._pipeline.choose.decide import decide_coding
from dsc._pipeline.options import CodingOptions
from dsc._schemas import required_streams
from dsc._schemas.choice import Choice
from dsc._sources.base import Source, read_sample, report_of
from dsc._sources.registry import open_source
from tests.cli.conftest import run_dsc

TASKS = "depth_zbuffer,edge_occlusion,depth_euclidean"
FOLLOWING = {"edge_occlusion", "depth_euclidean"}


@pytest.fixture(scope="module")
def rooms() -> Source:
    return open_source("sample", n=3, size=48, tasks=TASKS)


def decided(source: Source, **asked: Any) -> Any:
    tasks = [task for task in source.tasks if task.name in TASKS.split(",")]
    return decide_coding(CodingOptions(auto_samples=1, **asked), source, tasks, report_of(source))


def test_tasks_that_follow_are_not_tried_and_what_they_follow_from_comes_back_alike(
    rooms: Source,
) -> None:
    coding = decided(rooms, codec="auto")
    choice = coding.choice
    assert set(choice.follows) == FOLLOWING
    assert choice.follows["edge_occlusion"] == "depth_zbuffer by edge_occlusion@1"
    assert set(choice.codecs) == {*TASKS.split(",")}
    assert {name for trial in choice.trials for name in trial.tasks} == {"depth_zbuffer"}
    assert not {trial.codec for trial in choice.trials} & set(NETWORKS)
    assert "same on every machine" in choice.refused["depth_zbuffer by independent"]
    assert Choice.from_json(choice.to_json()) == choice.stored()
    for name in FOLLOWING:
        assert "derived" in coding.codec_set.codec_name(name)


def test_where_nothing_is_to_be_derived_all_are_tried(rooms: Source) -> None:
    choice = decided(rooms, codec="auto", derive="never").choice
    assert not choice.follows
    assert {name for trial in choice.trials for name in trial.tasks} == set(TASKS.split(","))
    assert "follows" not in choice.to_json()


def test_what_is_named_is_not_tried_and_what_follows_from_it_neither(rooms: Source) -> None:
    coding = decided(rooms, codec="auto,depth_zbuffer=av1")
    assert (set(coding.choice.follows), coding.choice.trials) == (FOLLOWING, ())
    assert set(coding.choice.codecs) == FOLLOWING


def test_what_follows_from_a_network_is_stored_and_tried(rooms: Source) -> None:
    choice = decided(rooms, codec="auto,depth_zbuffer=independent").choice
    assert not any("depth_zbuffer" in text for text in choice.follows.values())


def test_what_is_asked_by_name_or_has_a_target_is_tried(rooms: Source) -> None:
    choice = decided(rooms, codec="auto", target="depth_euclidean=2%").choice
    assert set(choice.follows) == {"edge_occlusion"}
    assert {name for trial in choice.trials for name in trial.tasks} == {
        "depth_zbuffer", "depth_euclidean",
    }  # fmt: skip


def test_the_archive_says_what_followed_and_gives_it_back(tmp_path: Path) -> None:
    words = ("--views", 2, "--size", 32, "--codec", "auto", "--auto-samples", 1, "--tasks", TASKS)
    ran = run_dsc("compress", "taskonomy", *words, "--out", tmp_path / "a")
    assert ran.code == 0, ran.err
    line = "not tried: edge_occlusion: follows from depth_zbuffer by edge_occlusion"
    assert line in ran.out
    shown = run_dsc("info", tmp_path / "a").out
    assert line in shown
    assert "edge_occlusion=" not in shown.partition("chosen: ")[2].partition("\n")[0]
    (first, _) = dsc.open(tmp_path / "a", native=True)
    assert {"edge_occlusion", "depth_euclidean", "depth_zbuffer"} <= set(first)
    assert run_dsc("verify", tmp_path / "a", "--deep").code == 0
    again = run_dsc("compress", "taskonomy", *words, "--out", tmp_path / "a")
    assert again.code == 0, again.err


def test_geometry_that_tasks_share_is_tried_and_others_may_follow_from_it() -> None:
    tasks = "depth_zbuffer,normal,depth_euclidean,edge_occlusion"
    many = open_source("sample", n=100_000, size=96, tasks=tasks)
    wanted = [task for task in many.tasks if task.name in tasks.split(",")]
    asked = CodingOptions(codec="auto", auto_samples=1, auto_minutes=0)
    coding = decide_coding(asked, many, wanted, report_of(many))
    assert coding.choice is not None
    word = coding.choice.codecs["depth_zbuffer"]
    assert word.startswith("surfaces")
    assert coding.choice.codecs["normal"] == word
    assert set(coding.choice.follows) == FOLLOWING
    sample = read_sample(many, 0, [task.name for task in wanted]).arrays
    codecs = coding.codec_set
    (coded,) = codecs.encode_batch([sample], coding.quality)
    (decoded,) = codecs.decode_batch([coded], list(FOLLOWING), 96 * 96)
    for name in FOLLOWING:
        needed = required_streams(codecs.streams(), [name])
        assert {"geometry", "depth_zbuffer"} <= set(needed)
        assert decoded[name].shape == (96, 96)
    stored = Av1Codec.for_tasks([t for t in wanted if t.name == "edge_occlusion"])
    (alone,) = stored.encode_batch([sample], coding.quality)
    assert len(coded["edge_occlusion"]) <= 1 + len(alone["edge_occlusion"])
