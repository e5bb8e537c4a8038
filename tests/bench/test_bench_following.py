"""The candidate `derived` of ``dsc bench rd``: what follows on a set, and what it costs there."""

from pathlib import Path

import pytest

from dsc._bench.rate_distortion.candidates import ComparedCodec, parse_candidates
from dsc._bench.rate_distortion.datasets import ROOMS, BenchSet, named_sets, source_set
from dsc._bench.rate_distortion.following import FollowingTasks, on_set
from dsc._bench.rate_distortion.points import Job, make_point, measure_job
from dsc._bench.rate_distortion.report import SetReport
from dsc._bench.rate_distortion.tables import following_table, subset_table
from dsc._bench.store import Store
from dsc.errors import UsageError

TASKS = "rgb,depth_zbuffer,edge_occlusion,depth_euclidean"
FOLLOWING = {"edge_occlusion": ("depth_zbuffer",), "depth_euclidean": ("depth_zbuffer",)}
DERIVED = ComparedCodec("derived", "derived")


@pytest.fixture(scope="module")
def rooms() -> BenchSet:
    return source_set("sample", None, TASKS, n=2, size=64)


@pytest.fixture(scope="module")
def report(rooms: BenchSet) -> SetReport:
    candidates = on_set(parse_candidates("derived,av1"), rooms)
    points = []
    for candidate in candidates:
        for group in candidate.groups(rooms.schemas()):
            for quality in (20, 40, 60, 90):
                names = tuple(task.name for task in group)
                job = Job(rooms, candidate, names, quality, rooms.indices)
                points.append(make_point(job, [measure_job(job)]))
    return SetReport("rooms", "Rooms", 2, 2, (64, 64), rooms.schemas(), candidates,
                     tuple(points), 60)  # fmt: skip


def test_what_follows_on_a_set_is_coded_with_what_it_follows_from(rooms: BenchSet) -> None:
    (found,) = on_set([DERIVED], rooms)
    assert isinstance(found, FollowingTasks)
    assert {rule.task: rule.inputs for rule in found.rules} == FOLLOWING
    (group,) = found.groups(rooms.schemas())
    assert [task.name for task in group] == ["depth_zbuffer", *FOLLOWING]
    streams = {stream.name: stream for stream in found.make(group).streams()}
    assert streams["depth_euclidean"].requires == ("depth_zbuffer",)


def test_where_nothing_follows_it_codes_nothing() -> None:
    views = source_set("sample", None, n=1, size=32)
    (found,) = on_set([DERIVED], views)
    assert found.groups(views.schemas()) == []
    assert on_set([ComparedCodec("av1", "av1")], views) == (ComparedCodec("av1", "av1"),)


def test_its_bits_are_those_beside_what_it_follows_from(report: SetReport) -> None:
    point = report.operating_point("derived")
    assert point is not None
    depth, child = "depth_zbuffer", "depth_euclidean"
    assert point.own_bpp[child] < 0.5 * point.own_bpp[depth]
    assert point.alone_bpp[child] == pytest.approx(point.own_bpp[child] + point.own_bpp[depth])
    (stored,) = (one for one in report.of("av1", depth) if one.quality == 60)
    assert point.own_bpp[depth] == stored.own_bpp[depth]
    edges, cost = report.following()
    assert (edges.task, cost.task, cost.best) == ("edge_occlusion", child, "av1")
    assert cost.own_bpp == point.own_bpp[child]
    assert report.to_json()["following"][1]["rule"] == "depth_euclidean@1"
    assert "| depth_euclidean | depth_zbuffer | depth_euclidean@1 |" in following_table(report)
    assert "derived | depth_zbuffer + edge_occlusion + depth_euclidean |" in subset_table(report)


def test_a_result_is_found_again_by_the_rules_and_codecs_that_decide_it(
    rooms: BenchSet, tmp_path: Path
) -> None:
    (found,) = on_set([DERIVED], rooms)
    names = ("depth_zbuffer", *FOLLOWING)
    job = Job(rooms, found, names, 60, rooms.indices)
    store = Store(tmp_path / "points.jsonl")
    store.put(job.identity(), {"what": "a result"})
    (again,) = on_set([DERIVED], rooms)
    assert store.get(Job(rooms, again, names, 60, rooms.indices).identity()) is not None
    assert store.get(Job(rooms, again, names, 61, rooms.indices).identity()) is None


def test_rooms_have_the_tasks_that_follow(tmp_path: Path) -> None:
    ((rooms,), absent) = named_sets([ROOMS], tmp_path, None, 2)
    assert not absent
    assert {"depth_euclidean", "edge_texture", "reshading"} <= set(rooms.tasks)
    assert named_sets([ROOMS], tmp_path, None, 0) == ([], [])


def test_it_has_no_codec_file() -> None:
    with pytest.raises(UsageError, match="derived has no codec file"):
        parse_candidates("derived@run/codec.safetensors")
