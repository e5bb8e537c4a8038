"""What `dsc bench speed` measures: holes, frames, contenders, and the arithmetic of its tables."""

import pickle
from typing import Any

import numpy as np
import pytest

from benchmarks import speed_page
from dsc._bench.rate_distortion.candidates import parse_candidates
from dsc._bench.rate_distortion.datasets import BenchSet, source_set
from dsc._bench.speed import jobs
from dsc._bench.speed.clock import ratio, seconds_of, spread
from dsc._bench.speed.codecs import measure_codecs
from dsc._bench.speed.contenders import baseline_of, contenders_for, library_calls
from dsc._bench.speed.frames import HeldSource, Kind, invalid_share, kinds_of, nearest
from dsc._bench.speed.holes import punch_holes, with_invalid
from dsc._bench.speed.rivals import write_tar
from dsc._bench.speed.tables import (
    distortion_text,
    glance_table,
    job_table,
    matrix_table,
    number,
    with_spread,
)
from dsc._schemas import Effort, Task, TaskKind
from dsc.errors import UsageError

DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0,))
SIDE = 192


@pytest.fixture(scope="module")
def data() -> BenchSet:
    return source_set("sample", None, n=2, size=SIDE)


def wall_and_box() -> np.ndarray[Any, Any]:
    """A wall at 4 m, and in front of it a box at 2 m."""
    depth = np.full((240, 320), 4000, np.uint16)
    depth[80:160, 120:200] = 2000
    return depth


# ---- holes


@pytest.mark.parametrize("share", [0.0, 0.03, 0.1, 0.4])
def test_the_share_of_holes_is_exact_and_all_else_is_as_it_was(share: float) -> None:
    depth = wall_and_box()
    punched = punch_holes(depth, DEPTH, share, seed=3)
    missing = punched == 0
    assert missing.sum() == round(share * depth.size)
    assert np.array_equal(punched[~missing], depth[~missing])
    assert depth.all(), "the original is left alone"


def test_equal_seeds_give_equal_holes_and_others_do_not() -> None:
    depth = wall_and_box()
    once, again, other = (punch_holes(depth, DEPTH, 0.1, seed) for seed in (1, 1, 2))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_holes_lie_in_the_shadow_of_what_stands_in_front_and_in_blobs() -> None:
    """A Kinect's shadow of that box is 43/2 - 43/4 pixels wide, on its left."""
    missing = punch_holes(wall_and_box(), DEPTH, 0.1, seed=5) == 0
    assert missing[80:160, 112:120].mean() > 0.9
    elsewhere = missing[:, 210:]
    pairs = elsewhere[:, 1:] == elsewhere[:, :-1]
    assert elsewhere.any()
    assert pairs.mean() > 0.97, "blobs, no noise"


def test_what_was_missing_before_counts_and_is_kept() -> None:
    depth = wall_and_box()
    depth[:24] = 0
    punched = punch_holes(depth, DEPTH, 0.15, seed=0)
    assert (punched == 0).sum() == round(0.15 * depth.size)
    assert not punched[:24].any()
    assert np.array_equal(punch_holes(depth, DEPTH, 0.05, seed=0), depth)


def test_depth_without_an_invalid_value_gets_one() -> None:
    filled = DEPTH.model_copy(update={"invalid": ()})
    assert with_invalid(filled).invalid == (0,)
    assert with_invalid(DEPTH) is DEPTH


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"holes of 1\.5"):
        punch_holes(wall_and_box(), DEPTH, 1.5, seed=0)


# ---- frames


def test_depth_comes_with_and_without_holes_and_labels_small_as_well(data: BenchSet) -> None:
    found = {kind.name: kind for kind in kinds_of(data, data.tasks, 0.1)}
    assert list(found) == [
        "rgb", "depth_zbuffer", "depth_zbuffer, 10 % holes", "normal", "segment_semantic",
        "segment_semantic, 180×102",
    ]  # fmt: skip
    punched = found["depth_zbuffer, 10 % holes"]
    assert invalid_share(punched.task, punched.arrays) == pytest.approx(0.1, abs=1e-4)
    assert found["segment_semantic, 180×102"].arrays[0].shape == (102, 180)
    assert [k.name for k in kinds_of(data, ["depth_zbuffer"], 0.0)] == ["depth_zbuffer"]


def test_depth_that_has_more_holes_of_its_own_is_measured_once(data: BenchSet) -> None:
    (task,) = (task for task in data.schemas() if task.kind is TaskKind.DEPTH)
    real = punch_holes(data.read(0)[task.name], task, 0.25, seed=0)

    class Scans(BenchSet):
        def read(self, index: int) -> dict[str, Any]:
            return {task.name: real}

    scans = Scans(**vars(data))
    assert [k.name for k in kinds_of(scans, [task.name], 0.1)] == [f"{task.name}, 25 % holes"]


def test_a_small_map_has_values_of_the_large_one() -> None:
    assert nearest(np.arange(36).reshape(6, 6), 2, 3).tolist() == [[7, 9, 11], [25, 27, 29]]


def test_the_held_source_gives_equal_frames_wherever_it_is(data: BenchSet) -> None:
    source = HeldSource(data, ["rgb", "depth_zbuffer"], 0.1).hold()
    there: HeldSource = pickle.loads(pickle.dumps(source))
    assert not there._held, "frames are read where they are used"
    for name in ("rgb", "depth_zbuffer"):
        here = source.read(1, [name])
        assert np.array_equal(here.arrays[name], there.read(1, [name]).arrays[name])
    assert source.pixels == 2 * SIDE**2
    assert len(source.first()) == 1
    assert source.first().describe() != source.describe()


# ---- contenders and times


def test_every_contender_gives_back_what_it_says(data: BenchSet) -> None:
    own = parse_candidates("png,webp,label-context")
    for kind in kinds_of(data, data.tasks, 0.1):
        found = measure_codecs(kind, contenders_for(kind, own, 60), rounds=1)
        rows = {row["name"]: row for row in found["rows"]}
        assert baseline_of(kind) in rows
        assert not [row for row in rows.values() if "error" in row]
        for name, row in rows.items():
            exact = name in ("png", "PNG", "label-context") or "lossless" in name
            assert not exact or row["metrics"] == {"identical": 1.0}, (kind.name, name)
            assert row["metrics"].get("invalid_exact", 1.0) == 1.0, (kind.name, name)
            assert 0 < row["bytes"] < sum(array.nbytes for array in kind.arrays)
            assert min(row["encode_s"] + row["decode_s"]) > 0
        assert any(name.startswith("dsc default") for name in rows)


def test_a_contender_that_fails_is_a_row_and_the_others_go_on(data: BenchSet) -> None:
    class Broken:
        name = "broken"

        def encode(self, array: Any) -> bytes:
            raise ValueError("no such picture")

        def decode(self, coded: Any, array: Any) -> Any:
            return array

        def size(self, coded: Any) -> int:
            return 0

    kind = kinds_of(data, ["rgb"], 0.1)[0]
    png = next(call for call in library_calls() if call.name == "PNG")
    found = measure_codecs(kind, [Broken(), png], rounds=2)
    assert found["rows"][0] == {"name": "broken", "error": "ValueError: no such picture"}
    assert len(found["rows"][1]["encode_s"]) == 2


def test_a_codec_that_codes_no_such_task_is_left_out(data: BenchSet) -> None:
    (rgb,) = kinds_of(data, ["rgb"], 0.1)
    names = [one.name for one in contenders_for(rgb, parse_candidates("jpeg,label-context"), 60)]
    assert "jpeg" in names
    assert "label-context" not in names


def test_a_codec_is_timed_at_each_effort_that_it_knows(data: BenchSet) -> None:
    (rgb,) = kinds_of(data, ["rgb"], 0.1)
    own = parse_candidates("av1,raw")
    found = [one.name for one in contenders_for(rgb, own, 60, tuple(Effort)) if one.name[0] != "d"]
    assert [name for name in found if name.islower()] == [
        "av1, fast", "av1", "av1, best", "raw",
    ]  # fmt: skip
    source = HeldSource(data, ["rgb", "depth_zbuffer"])
    table = jobs.job_table("compress", source, tuple(Effort))
    assert [way.options for way in table.ways] == [
        {}, {"effort": "fast"}, {"effort": "best"}, None, None,
    ]  # fmt: skip


def test_short_calls_are_repeated_and_long_ones_are_not() -> None:
    calls: list[None] = []
    assert seconds_of(lambda: calls.append(None), least_s=0.01) < 0.01
    assert len(calls) > 10
    calls.clear()
    seconds_of(lambda: calls.append(None))
    assert len(calls) == 1


def test_a_tar_holds_the_frames_as_users_store_them(data: BenchSet, tmp_path: Any) -> None:
    import tarfile

    import imagecodecs

    source = HeldSource(data, ["rgb", "depth_zbuffer"], 0.1)
    with tarfile.open(write_tar(source, "JPEG 95", tmp_path)) as tar:
        names = tar.getnames()
        members = sum(512 + 512 * -(-member.size // 512) for member in tar)
        assert jobs.stored_bytes(tmp_path) == members
        depth = tar.extractfile("frame_000001.depth.png")
        assert depth is not None
        found = imagecodecs.png_decode(depth.read())
    assert names == [f"frame_00000{n}.{part}" for n in (0, 1) for part in ("rgb.jpg", "depth.png")]
    assert np.array_equal(found, source.read(1, ["depth_zbuffer"]).arrays["depth_zbuffer"])


@pytest.mark.slow
def test_an_epoch_is_read_from_an_archive_and_from_a_tar_in_turn(
    data: BenchSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("webdataset")
    pytest.importorskip("PIL", reason="pip install pillow")
    monkeypatch.setattr(jobs, "SECONDS", 0.05)
    turns: list[None] = []
    source = HeldSource(data, ["rgb", "depth_zbuffer"], 0.1)
    found = jobs.measure_epochs(source, rounds=2, report=lambda: turns.append(None))
    rows = {row["name"]: row for row in found["rows"]}
    rivals = [jobs.WEBDATASET, "webdataset, JPEG and PNG, imagecodecs"]
    assert list(rows) == [jobs.STREAM, jobs.LATER, *rivals]
    assert len(turns) == jobs.turns("stream", source, 2)
    assert found["baseline"] in rows
    for row in rows.values():
        assert len(row["rates"]) == 2
        assert min(row["rates"]) > 0
    assert 0 < rows["dsc stream"]["bytes"] < rows[jobs.WEBDATASET]["bytes"]


def test_a_way_that_cannot_store_is_a_row_and_the_others_go_on(data: BenchSet) -> None:
    table = jobs.JobTable(
        (jobs.Way("dsc compress", {"codec": "png"}), jobs.Way("dsc nonsense", {"codec": "smell"})),
        "dsc compress",
    )
    found = jobs.measure_ways(HeldSource(data, ["rgb", "depth_zbuffer"]), table, rounds=2)
    whole, broken = found["rows"]
    assert len(whole["cpu_s"]) == len(whole["wall_s"]) == 2
    assert whole["bytes"] > 0
    assert "smell" in broken["error"]


# ---- tables


CODECS = {
    "part": "codecs", "data": "Toy", "kind": "depth", "size": "640×480", "frames": 2,
    "pixels": 614_400, "baseline": "PNG",
    "rows": [
        {"name": "PNG", "bytes": 60_000, "metrics": {"identical": 1.0},
         "encode_s": [0.02, 0.02], "decode_s": [0.004, 0.002]},
        {"name": "dsc default (av1)", "bytes": 6_000, "metrics": {"absrel": 0.004},
         "encode_s": [0.2, 0.2], "decode_s": [0.008, 0.008]},
        {"name": "broken", "error": "no such picture"},
    ],
}  # fmt: skip
COMPRESS = {
    "part": "compress", "data": "Toy", "holes": 0.1, "frames": 10, "pixels": 3_072_000,
    "baseline": "tar of AVIF speed 6, PNG",
    "rows": [
        {"name": "dsc compress", "cpu_s": [4.0, 5.0, 6.0], "wall_s": [9, 9, 9], "bytes": 100_000},
        {"name": "tar of AVIF speed 6, PNG", "cpu_s": [2.0, 2.0, 2.0], "wall_s": [3, 3, 3],
         "bytes": 200_000},
    ],
}  # fmt: skip
STREAM = {
    "part": "stream", "data": "Toy", "holes": 0.0, "frames": 10, "pixels": 3_072_000,
    "baseline": "webdataset",
    "rows": [
        {"name": "dsc stream", "rates": [120.0, 80.0, 100.0], "bytes": 100_000},
        {"name": "webdataset", "rates": [40.0, 50.0, 50.0], "bytes": 400_000},
    ],
}  # fmt: skip


def cells(table: str, row: int) -> list[str]:
    return [cell.strip() for cell in table.splitlines()[2 + row].strip("|").split("|")]


def test_ratios_at_a_glance_are_medians_within_rounds() -> None:
    """Decoding is compared by speed, compressing by time, streaming by speed."""
    best = {"name": "dsc compress --effort best", "cpu_s": [10.0] * 3, "wall_s": [9] * 3,
            "bytes": 99_000}  # fmt: skip
    compress = COMPRESS | {"rows": [*COMPRESS["rows"], best]}  # type: ignore[misc]
    table = glance_table([CODECS, compress, STREAM])
    assert cells(table, 0) == [
        "decode depth", "Toy, 640×480", "4.00 ms, 76.8 MPix/s", "PNG", "0.375 × the speed", "0.100",
    ]  # fmt: skip
    assert cells(table, 1)[1:] == [
        "Toy, 10 % holes", "5.00 s of 10 frames", "tar of AVIF speed 6, PNG", "2.50 × the time",
        "0.500",
    ]  # fmt: skip
    assert cells(table, 2)[3:] == ["dsc compress --effort best", "0.500 × the time", "1.01"]
    assert cells(table, 3)[2:] == ["100 samples/s", "webdataset", "2.00 × the speed", "0.250"]


def test_jobs_show_time_a_frame_its_spread_and_size() -> None:
    table = job_table([CODECS, COMPRESS, STREAM], "compress")
    assert cells(table, 0)[2:] == ["0.500 (±20 %)", "2.50 ×", "10.0", "0.500"]
    assert cells(table, 1)[2:5] == ["0.200 (±0 %)", "1.00 ×", "20.0"]
    stream = job_table([CODECS, COMPRESS, STREAM], "stream")
    assert cells(stream, 0)[2:] == ["100 (±20 %)", "2.00 ×", "10.0"]


def test_one_table_shows_all_codecs_of_a_set_library_calls_first() -> None:
    own = {"name": "png", "bytes": 50_000, "metrics": {"identical": 1.0}, "encode_s": [0.1],
           "decode_s": [0.004]}  # fmt: skip
    label = CODECS | {"kind": "label", "rows": [own, CODECS["rows"][0]]}  # type: ignore[index]
    other = CODECS | {"data": "Other"}
    table = matrix_table([CODECS, COMPRESS, label, other], "Toy")
    assert table.splitlines()[0] == "| codec | depth | label |"
    assert [cells(table, row)[0] for row in range(3)] == ["PNG", "dsc default (av1)", "png"]
    assert cells(table, 1)[1:] == ["3.07 / 76.8 (0.078)", ""]
    assert cells(table, 2)[1:] == ["", "6.14 / 154 (0.651)"]


def test_two_workers_are_compared_by_the_clock_on_the_wall() -> None:
    alone = {"name": "dsc compress", "cpu_s": [8.0], "wall_s": [8.0], "bytes": 9}
    two = {"name": "dsc compress --workers 2", "cpu_s": [1.0], "wall_s": [5.0], "bytes": 9}
    part = COMPRESS | {"part": "workers", "baseline": "dsc compress", "rows": [alone, two]}
    assert cells(glance_table([part]), 0)[2:5] == [
        "5.00 s of 10 frames", "dsc compress", "0.625 × the time",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234"), (261, "261"), (52.04, "52.0"), (4.3, "4.30"), (0.7, "0.700"),
     (0.0123, "0.0123"), (0.00000001, "0.000000"), (0, "0")],
)  # fmt: skip
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_what_is_not_exact_says_so() -> None:
    assert distortion_text({"identical": 1.0}) == "identical"
    assert distortion_text({"identical": 0.5}) == "NOT EXACT"
    assert distortion_text({"absrel": 0.0028, "invalid_exact": 0.5}) == "0.28 %, MASK NOT EXACT"
    assert distortion_text({"psnr_db": 38.678}) == "38.68 dB"


def test_spread_and_ratio_of_rounds() -> None:
    assert spread([90.0, 100.0, 110.0]) == pytest.approx(0.1)
    assert ratio([2.0, 8.0, 3.0], [1.0, 2.0, 3.0]) == 2.0
    assert ratio([], []) is None
    assert with_spread([2.0], lambda value: value) == "2.00"


def test_a_kind_counts_its_pixels() -> None:
    kind = Kind("depth", DEPTH, (wall_and_box(), wall_and_box()))
    assert (kind.pixels, kind.size) == (2 * 76_800, "320×240")


def test_the_page_is_written_between_its_marks_and_twice_the_same() -> None:
    environment = {
        "cpu": "A processor", "cpus": 2, "python": "3.11", "load": 0.5,
        "versions": {"dsc": "0.1.0", "torch": None}, "kernels": "compiled kernels",
    }  # fmt: skip
    text = speed_page.tables({"parts": [CODECS, COMPRESS], "environment": environment})
    assert "Measured on A processor, Python 3.11; dsc 0.1.0; compiled kernels." in text
    assert "| png" not in text
    page = f"before\n{speed_page.BEGIN}\nold\n{speed_page.END}\nafter\n"
    written = speed_page.put(page, text)
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "| dsc compress | Toy, 10 % holes |" in written
    assert "old" not in written
    assert speed_page.put(written, text) == written
    with pytest.raises(SystemExit, match="lacks"):
        speed_page.put("no marks", text)
