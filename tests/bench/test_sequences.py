"""The benchmark of recordings: what it counts and compares, with codecs that are easy to follow."""

import math
from pathlib import Path

import numpy as np
import pytest

from dsc._bench.sequences import contenders, run
from dsc._bench.sequences.contenders import Files, Groups, Stills, depth_codes, depth_counts
from dsc._bench.sequences.measuring import bytes_at, distortion, measure_point
from dsc._bench.sequences.recording import Clip, named_recordings
from dsc._bench.sequences.tables import markdown
from dsc._codecs.classical.png import PngCodec
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._schemas import Task
from dsc.errors import UsageError
from tests.group_codec import TreeCodec

TASK = Task(name="gray", kind="image", dtype="uint8", channels=1)
DEPTH = Task(name="depth", kind="depth", dtype="uint16", unit_m=0.001, invalid=(0,))


def recording(count: int = 20) -> Clip:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 200, (12, 16), np.uint8)
    return Clip("noise", TASK, [frame + np.uint8(at) for at in range(count)])


def tree() -> Groups:
    return Groups("tree", CodecSet.of([TreeCodec([TASK])]), (60,))


def test_a_group_counts_the_frames_of_every_chain() -> None:
    found = measure_point(recording(), tree(), 60)
    assert (found["mean"], found["worst"]) == (99.0, 99.0)
    # sixteen frames by bisection, then four: 0; 8; 4 12; 2 6 10 14; the odd ones
    depths = [1, 5, 4, 5, 3, 5, 4, 5, 2, 5, 4, 5, 3, 5, 4, 5, 1, 3, 2, 3]
    assert found["access"]["frames_mean"] == pytest.approx(np.mean(depths))
    assert found["access"]["frames_max"] == 5
    assert found["bytes"] > 24


def test_sizes_count_what_a_frame_costs_where_it_is_kept() -> None:
    data = recording(2)
    stills = Stills("png", CodecSet.of([PngCodec([TASK])]), (60,))
    coded = stills.encode(data, 60)
    assert stills.size(coded) == sum(len(one["gray"]) + 8 for one in coded)
    files = Files("one byte", (1,), lambda array, level: b"x", lambda file: data.frames[0])
    assert files.size(files.encode(data, 1)) == 2 * 1024


def test_bytes_at_a_distortion_lie_between_points() -> None:
    points = [{"mean": 40.0, "bytes": 4000.0}, {"mean": 36.0, "bytes": 1000.0}]
    assert bytes_at(points, 38.0, is_db=True) == pytest.approx(2000)
    assert bytes_at(points, 41.0, is_db=True) is None
    depth = [{"mean": 0.001, "bytes": 400.0}, {"mean": 0.004, "bytes": 100.0}]
    assert bytes_at(depth, 0.002, is_db=False) == pytest.approx(200)


def test_distortion_is_of_all_frames_and_of_the_worst() -> None:
    frames = recording(2).frames
    off = [frames[0], frames[1] + np.uint8(2)]
    mean, worst = distortion(TASK, frames, off)
    assert worst == pytest.approx(10 * math.log10(255**2 / 4))
    assert mean == pytest.approx(10 * math.log10(255**2 / 2))
    with pytest.raises(ValueError, match="1 frames came back of 2"):
        distortion(TASK, frames, frames[:1])


def test_codes_of_depth_by_logarithm_are_near_what_they_stand_for() -> None:
    depth = np.array([[0, 10, 500, 801, 3143, 9999, 20000]], np.uint16)
    found = depth_counts(depth_codes(depth))
    assert found[0].tolist() == pytest.approx([10, 10, 500, 801, 3143, 9999, 10000], abs=2)


def test_a_run_writes_tables_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Files("broken", (1,), lambda array, level: b"", lambda file: np.zeros((1, 1)))
    stills = Stills("png", CodecSet.of([PngCodec([TASK])]), (60,))
    monkeypatch.setattr(run, "contenders_for", lambda task, effort: [stills, tree(), broken])
    seen: list[tuple[int, int]] = []
    first = run.run_sequences([recording()], tmp_path, progress=lambda *at: seen.append(at))
    assert seen[-1] == (4, 4)
    text = (tmp_path / "sequences.md").read_text()
    assert text == markdown(first.parts, first.environment)
    assert "noise: gray, 20 of 16×12" in text
    assert "broken: ValueError" in text
    assert "3.70 (5)" in text
    monkeypatch.setattr(run, "measure_point", None)  # everything is there
    again = run.run_sequences([recording()], tmp_path)
    assert again.parts == first.parts


def test_a_recording_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recording drive; known: clip"):
        named_recordings(["drive"], tmp_path, 8)
    found, absent = named_recordings(["clip"], tmp_path, 8)
    assert not found
    assert "left out" in absent[0]


def test_depth_videos_stand_beside_depth_where_pyav_is() -> None:
    pytest.importorskip("av")
    names = [one.name for one in contenders._videos(DEPTH)]
    assert names == ["LeRobot's video, lossless", "LeRobot's video, lossy"]
    rng = np.random.default_rng(1)
    # pictures of more than one block: x265 changes a few pixels of a picture of 64×64
    data = Clip("d", DEPTH, list(rng.integers(500, 3000, (3, 128, 128)).astype(np.uint16)))
    lossless = contenders._videos(DEPTH)[0]
    back = lossless.decode(lossless.encode(data, 30), data)
    wanted = [depth_counts(depth_codes(frame)) for frame in data.frames]
    assert np.array_equal(np.stack(back), np.stack(wanted))
