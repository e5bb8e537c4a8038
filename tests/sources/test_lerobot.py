"""LeRobot datasets as samples: every frame the right one, and whatever is wrong refused by name."""

import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsc._sources.base import Source, read_sample, report_of, splits_of
from dsc._sources.lerobot.depth import DepthCodes
from dsc._sources.lerobot.info import fill
from dsc._sources.lerobot.video import VideoFile
from dsc._sources.registry import open_source
from dsc.errors import MissingPackageError, SampleError, SourceNotFoundError, UsageError
from tests.lerobot import (
    FPS,
    LENGTHS,
    PNG,
    SIZE,
    TEXTS,
    TOP,
    WRIST,
    Made,
    depth_codes,
    depth_m,
    make,
    picture,
    write_video,
)

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
av = pytest.importorskip("av", reason="videos are read by PyAV")

VERSIONS = ("v2.1", "v3.0")
FRAMES = [(episode, frame) for episode, length in enumerate(LENGTHS) for frame in range(length)]
os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes a banner otherwise

CODECS: dict[str, tuple[str, dict[str, Any]]] = {
    "h264 with B-frames": ("libx264", {"g": 12, "bf": 3, "crf": 18}),
    "h264 open GOP": ("libx264", {"g": 12, "bf": 3, "crf": 18, "x264_params": "open-gop=1"}),
    "h264 intra refresh": ("libx264", {"x264_params": "intra-refresh=1:keyint=10"}),
    "hevc open GOP": (
        "libx265",
        {"g": 10, "crf": 18, "x265_params": "open-gop=1:bframes=4:log-level=none"},
    ),
    "av1 of lerobot": ("libsvtav1", {"g": 2, "crf": 30, "preset": 12}),
    "av1 with hidden frames": ("libaom-av1", {"g": 16, "crf": 20, "cpu_used": 8}),
}


def video_of(root: str, camera: str = TOP, version: str = "v3.0", number: int = 0) -> Path:
    if version == "v3.0":
        return Path(root) / f"videos/{camera}/chunk-000/file-{number:03d}.mp4"
    return Path(root) / f"videos/chunk-{number // 2:03d}/{camera}/episode_{number:06d}.mp4"


def all_frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def top(source: Source, index: int) -> np.ndarray:
    found: np.ndarray = source.read(index, ["top"]).arrays["top"]
    return found


def change(root: str, edit: Callable[[dict[str, Any]], None]) -> None:
    path = Path(root) / "meta/info.json"
    info = json.loads(path.read_text())
    edit(info)
    path.write_text(json.dumps(info))


def change_rows(root: str, column: str, edit: Callable[[list[Any]], list[Any]]) -> None:
    path = Path(root) / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(path)
    at = table.schema.get_field_index(column)
    new = pa.array(edit(table.column(column).to_pylist()), table.schema.field(column).type)
    parquet.write_table(table.set_column(at, table.schema.field(column), new), path)


# what comes out


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("codec", CODECS)
def test_every_frame_is_the_right_one_in_any_order(codec, version, tmp_path):
    name, options = CODECS[codec]
    root = make(tmp_path / "a", Made(version=version, video={"codec": name, **options}))
    files = range(len(LENGTHS)) if version == "v2.1" else range(2)
    expected = [frame for n in files for frame in all_frames(video_of(root, TOP, version, n))]
    source = open_source("lerobot", root)
    assert len(source) == len(expected) == len(FRAMES)
    for index, (episode, frame) in enumerate(FRAMES):
        found = top(source, index)
        assert np.array_equal(found, expected[index]), (episode, frame)
        assert np.abs(found.astype(int) - picture(episode, frame)).mean() < 6
    again = open_source("lerobot", root)
    for index in np.random.default_rng(0).permutation(len(source)).tolist():
        assert np.array_equal(top(again, index), expected[index]), FRAMES[index]


@pytest.mark.parametrize("version", VERSIONS)
def test_rows_become_tasks(version, tmp_path):
    root = make(tmp_path / "a", Made(version=version, images=True, depth=True))
    source = open_source("lerobot", root)
    kinds = {task.name: (task.kind.value, task.dtype) for task in source.tasks}
    assert kinds == {
        "state": ("matrix", "float32"),
        "action": ("matrix", "float32"),
        "next_done": ("scalar", "uint8"),
        "timestamp": ("scalar", "float32"),
        "task": ("text", "uint8"),
        "top": ("image", "uint8"),
        "depth": ("depth", "uint16"),
        "image": ("image", "uint8"),
    }
    for index, (episode, frame) in enumerate(FRAMES):
        sample = read_sample(source, index, list(kinds))
        assert sample.arrays["state"].tolist() == [episode + frame / 8, episode - frame / 4, frame]
        assert sample.arrays["action"].tolist() == [frame, episode]
        assert sample.arrays["task"].tobytes().decode() == TEXTS[episode % 2]
        assert sample.arrays["timestamp"] == np.float32(frame / FPS)
        assert sample.arrays["next_done"] == (frame == LENGTHS[episode] - 1)
        assert np.array_equal(sample.arrays["image"], picture(episode, frame))
        assert list(sample.source_bytes) == list(kinds)
    report = report_of(source)
    assert report.tasks["top"].stored == "h264 yuv420p 48×64×3"
    left = {one.what: one.reason for one in report.left_out}
    assert set(left) == {
        f"column {name}" for name in ("frame_index", "episode_index", "index", "task_index")
    }
    assert report.notes[0] == f"LeRobot {version}, 10 frames a second; times are frame_index / fps"


def test_frames_stand_in_their_episodes(tmp_path):
    source = open_source("lerobot", make(tmp_path / "a"))
    places = [source.place(index) for index in range(len(source))]
    assert [(place.sequence, place.frame) for place in places] == [
        (f"episode_{episode:06d}", frame) for episode, frame in FRAMES
    ]
    assert [place.time_ns for place in places[:3]] == [0, 100_000_000, 200_000_000]
    assert source.key(14) == "episode_000001__000001"
    assert source.origin(14).name == "episode_000001/000001"


def test_times_of_a_rate_that_is_no_whole_number_are_exact(tmp_path):
    root = make(tmp_path / "a", Made(cameras=(), per_file=3))
    change(root, lambda info: info.update(fps=29.97))
    change_rows(root, "timestamp", lambda times: [time * FPS / 29.97 for time in times])
    source = open_source("lerobot", root, split="train")
    wanted = round(Fraction(12 * 10**9) / Fraction("29.97"))
    assert source.place(12).time_ns == wanted == 400_400_400


def test_times_of_a_clock_are_kept_to_the_microsecond(tmp_path):
    root = make(tmp_path / "a", Made(cameras=()))
    change_rows(root, "timestamp", lambda times: [1.5 * time + 0.003 for time in times])
    source = open_source("lerobot", root)
    assert source.place(4).time_ns == 603_000_000
    assert "timestamp, rounded to microseconds" in report_of(source).notes[0]


def test_splits_are_ranges_of_episodes(tmp_path):
    splits = {"val": "2:3", "train": "0:1", "odd": "some"}
    source = open_source("lerobot", make(tmp_path / "a", Made(splits=splits)))
    assert splits_of(source) == {"val": LENGTHS[2], "train": LENGTHS[0], "": LENGTHS[1]}
    names = dict.fromkeys(source.place(index).sequence for index in range(len(source)))
    assert list(names) == ["episode_000002", "episode_000000", "episode_000001"]
    assert any("split odd is no range" in note for note in report_of(source).notes)
    one = open_source("lerobot", str(tmp_path / "a"), split="val")
    assert len(one) == LENGTHS[2]
    assert np.array_equal(top(one, 3), top(source, 3))


def test_depth_is_what_was_put_in_to_a_millimetre_or_a_code(tmp_path):
    source = open_source("lerobot", make(tmp_path / "a", Made(cameras=(), depth=True)))
    [task] = [task for task in source.tasks if task.name == "depth"]
    assert (task.unit_m, task.invalid) == (0.001, (0,))
    for index in (0, 17, len(source) - 1):
        metres = depth_m(*FRAMES[index])
        found = source.read(index, ["depth"]).arrays["depth"]
        assert np.array_equal(found == 0, metres == 0)
        step = (metres + 3.5) * np.log(13.5 / 3.51) / 4095
        assert np.abs(found * 0.001 - metres).max() <= (step / 2 + 0.0005).max()
        assert np.array_equal(depth_codes(found[found > 0] * 0.001), depth_codes(metres)[found > 0])


def test_depth_counts_may_be_of_another_unit(tmp_path):
    root = make(tmp_path / "a", Made(cameras=(), depth=True))
    source = open_source("lerobot", root, depth_unit="depth=0.0002")
    found = source.read(0, ["depth"]).arrays["depth"]
    assert np.abs(found * 0.0002 - depth_m(0, 0)).max() < 0.0012
    with pytest.raises(UsageError, match=r"16 bits of 0\.0001 m reach 6\.55 m.*--depth-unit"):
        open_source("lerobot", root, depth_unit=0.0001)


def test_codes_may_be_linear():
    codes = DepthCodes.parse({"video.use_log": False, "video.depth_max": 4.105}, "x")
    assert codes.counts(0.001, "x")[[0, 1, 4095]].tolist() == [0, 11, 4105]


def test_cameras_may_differ_in_size(tmp_path):
    made = Made(cameras=(TOP, WRIST), sizes={WRIST: (32, 40)})
    source = open_source("lerobot", make(tmp_path / "a", made))
    arrays = source.read(20, ["top", "wrist"]).arrays
    assert arrays["top"].shape == (*SIZE, 3)
    assert arrays["wrist"].shape == (32, 40, 3)


def test_names_are_short_where_that_is_clear(tmp_path):
    root = make(tmp_path / "a", Made(cameras=(TOP, "observation.images.state")))
    names = [task.name for task in open_source("lerobot", root).tasks]
    assert names == [
        "observation_state", "action", "next_done", "timestamp", "task", "top",
        "observation_images_state",
    ]  # fmt: skip


def test_fields_name_features(tmp_path):
    root = make(tmp_path / "a")
    source = open_source("lerobot", root, fields=f"rgb={TOP},text=task_index")
    assert [task.name for task in source.tasks] == ["rgb", "text"]
    sample = source.read(13, ["rgb", "text"])
    assert sample.arrays["text"].tobytes().decode() == TEXTS[1]
    with pytest.raises(UsageError, match=r"no such column; found: observation\.state"):
        open_source("lerobot", root, fields="rgb=top")


def test_images_and_depth_in_rows(tmp_path):
    import imagecodecs

    root = make(tmp_path / "a", Made(cameras=(), images=True))

    def as_depth(info: dict[str, Any]) -> None:
        info["features"][PNG]["info"] = {"is_depth_map": True, "depth_unit": "m"}

    change(root, as_depth)
    metres = [depth_m(*FRAMES[n]).astype(np.float32) for n in range(20)]
    files = [bytes(imagecodecs.tiff_encode(one)) for one in metres]
    change_rows(root, PNG, lambda old: [{"bytes": one, "path": "x.tiff"} for one in files])
    other = Path(root) / "data/chunk-000/file-001.parquet"
    table = parquet.read_table(other)
    rest = [bytes(imagecodecs.tiff_encode(depth_m(2, f).astype(np.float32))) for f in range(16)]
    new = pa.array([{"bytes": one, "path": ""} for one in rest], table.schema.field(PNG).type)
    at = table.schema.get_field_index(PNG)
    parquet.write_table(table.set_column(at, PNG, new), other)
    source = open_source("lerobot", root)
    [task] = [task for task in source.tasks if task.name == "image"]
    assert (task.kind.value, task.unit_m) == ("depth", 0.001)
    found = source.read(3, ["image"]).arrays["image"]
    assert np.abs(found * 0.001 - metres[3]).max() <= 0.0005001


# how it is read


def test_frames_in_order_are_decoded_once(tmp_path, monkeypatch):
    root = make(tmp_path / "a", Made(video={"g": 100, "bf": 2, "crf": 18}))
    begun = []
    begin = VideoFile._begin
    monkeypatch.setattr(VideoFile, "_begin", lambda self, at: begun.append(at) or begin(self, at))
    source = open_source("lerobot", root)
    for index in range(len(source)):
        top(source, index)
        top(source, index)
    assert begun == [0, 0]  # one a file


def test_far_frames_are_sought(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, [picture(0, n % 50) for n in range(300)], g=10, bf=2)
    video = VideoFile(lambda: str(path), "a.mp4")
    decoded = []
    decode = video._decode
    video._decode = lambda at: (decoded.append(f) or f for f in decode(at))  # type: ignore
    video.rgb(5)
    video.rgb(290)
    video.rgb(40)
    assert len(decoded) < 60


def test_another_process_has_decoders_of_its_own(tmp_path):
    source = open_source("lerobot", make(tmp_path / "a"))
    expected = top(source, 20)
    again = pickle.loads(pickle.dumps(source))
    assert np.array_equal(top(again, 20), expected)
    if not hasattr(os, "fork"):
        return
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(top(source, 20), expected) else 1)
    top(source, 21)
    assert os.waitpid(child, 0)[1] == 0


def test_a_dataset_may_lie_in_a_zip(tmp_path):
    source = open_source("lerobot", make(tmp_path / "a"))
    packed = shutil.make_archive(str(tmp_path / "b"), "zip", tmp_path / "a")
    other = open_source("lerobot", packed)
    assert np.array_equal(top(other, 14), top(source, 14))


def test_names_with_dots_beside_a_struct_are_not_taken_for_its_fields(tmp_path):
    table = pa.table({"a": [{"b": 1}, {"b": 2}], "a.b": [[5.0], [6.0]], "c.d": [7, 8]})
    parquet.write_table(table, tmp_path / "x.parquet")
    source = open_source("huggingface", str(tmp_path / "x.parquet"))
    arrays = read_sample(source, 1, ["a", "a_b", "c_d"]).arrays
    assert arrays["a"].tobytes() == b'{"b":2}'
    assert arrays["a_b"].tolist() == [6.0]
    assert arrays["c_d"] == 8


# what is wrong


@pytest.mark.parametrize("version", VERSIONS)
def test_a_missing_video_is_named_before_work_starts(version, tmp_path):
    root = make(tmp_path / "a", Made(version=version))
    video_of(root, TOP, version, 1).unlink()
    source = open_source("lerobot", root)
    with pytest.raises(SampleError, match=r"1\.mp4: no such file, and it holds episode"):
        source.check(["top"])
    source.check(["state"])
    with pytest.raises(SampleError, match=r"episode 2, frame 0|episode 1, frame 0"):
        top(source, 13 if version == "v2.1" else 20)


def test_a_video_that_was_cut_is_refused(tmp_path):
    root = make(tmp_path / "a")
    path = video_of(root)
    path.write_bytes(path.read_bytes()[:-700])
    source = open_source("lerobot", root)
    with pytest.raises(
        SampleError, match=r"sample episode_000000__000002, task top: episode 0, fr"
    ):
        top(source, 2)
    assert top(source, 25) is not None  # of another file


def test_a_video_whose_middle_is_damaged_gives_no_wrong_frame(tmp_path):
    made = Made(video={"codec": "libsvtav1", "g": 100, "crf": 20, "preset": 12})
    root = make(tmp_path / "a", made)
    path, expected = video_of(root), all_frames(video_of(root))
    video = VideoFile(lambda: str(path), "x")
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.dts is not None]
    data = bytearray(path.read_bytes())
    middle = packets[len(packets) // 2]
    data[middle.pos : middle.pos + middle.size] = bytes(middle.size)
    path.write_bytes(data)
    video = VideoFile(lambda: str(path), "x")
    outcomes = []
    for number in range(len(video.packets)):
        try:
            outcomes.append(np.array_equal(video.rgb(number), expected[number]))
        except SampleError as error:
            outcomes.append(f"frame {number}" in str(error) and None)
    assert False not in outcomes  # neither a wrong picture nor an error that names another
    assert outcomes[0]
    assert not all(outcomes)


def test_fewer_frames_than_rows_are_refused_by_name(tmp_path):
    root = make(tmp_path / "a", Made(version="v2.1"))
    write_video(video_of(root, TOP, "v2.1", 0), [picture(0, n) for n in range(10)])
    source = open_source("lerobot", root)
    assert np.abs(top(source, 9).astype(int) - picture(0, 9)).mean() < 6
    with pytest.raises(SampleError, match=r"episode 0, frame 10: .*ends after 10 frames"):
        top(source, 10)
    assert top(source, 13) is not None


def test_a_dropped_frame_moves_no_picture_to_another_row(tmp_path):
    root = make(tmp_path / "a", Made(version="v2.1"))
    kept = [n for n in range(14) if n != 5]  # as many frames as rows, but not one a row
    shown = [picture(0, min(n, 12)) for n in kept]
    write_video(video_of(root, TOP, "v2.1", 0), shown, stamps=kept, bf=0)
    source = open_source("lerobot", root)
    assert top(source, 4) is not None
    with pytest.raises(
        SampleError, match=r"frame 5: .*shown 0\.6000 s into.*row's time is 0\.5000"
    ):
        top(source, 5)


def test_frames_that_no_episode_has_are_passed_over_by_time(tmp_path):
    root = make(tmp_path / "a", Made(lengths=(4, 3), per_file=2))
    path = Path(root) / "meta/episodes/chunk-000/file-000.parquet"
    table = parquet.read_table(path)
    name = f"videos/{TOP}/from_timestamp"
    at = table.schema.get_field_index(name)
    parquet.write_table(table.set_column(at, name, pa.array([0.2, 0.8])), path)
    order = [
        (2, 0),
        (2, 1),
        *((0, f) for f in range(4)),
        (2, 2),
        (2, 3),
        *((1, f) for f in range(3)),
    ]
    write_video(video_of(root), [picture(e, f) for e, f in order])
    source = open_source("lerobot", root)
    for index, (episode, frame) in enumerate([*((0, f) for f in range(4)), (1, 0), (1, 1)]):
        assert np.abs(top(source, index).astype(int) - picture(episode, frame)).mean() < 6
    parquet.write_table(table.set_column(at, name, pa.array([0.23, 0.8])), path)
    with pytest.raises(
        SampleError, match=r"has 11 frames, its episodes have 7, and none of its fr"
    ):
        top(open_source("lerobot", root), 0)


def test_lengths_that_are_not_those_of_videos_are_refused(tmp_path):
    root = make(tmp_path / "a", Made(lengths=(4, 3), per_file=2))
    path = Path(root) / "meta/episodes/chunk-000/file-000.parquet"
    table = parquet.read_table(path)
    name = f"videos/{TOP}/from_timestamp"
    at = table.schema.get_field_index(name)
    parquet.write_table(table.set_column(at, name, pa.array([0.0, 0.3])), path)
    source = open_source("lerobot", root)
    assert top(source, 3) is not None
    with pytest.raises(
        SampleError, match=r"begin at its frame 4, which is shown at 0\.4000 s, and"
    ):
        top(source, 4)


@pytest.mark.parametrize(
    ("column", "edit", "said"),
    [
        ("frame_index", lambda v: [*v[:5], 5 + 1, *v[6:]], "has frame 6 where frame 5 comes"),
        ("frame_index", lambda v: [*v[:5], 4, *v[6:]], "has frame 4 where frame 5 comes"),
        ("episode_index", lambda v: [0] * 12 + [1] * 8, "episode 0 has 12 rows, and meta/episodes"),
        ("episode_index", lambda v: [7] * 13 + v[13:], "episode 7, which meta/episodes does not"),
        ("episode_index", lambda v: [*v[:13], *[0] * 7], "episode 0 has 20 rows"),
        ("timestamp", lambda v: [*v[:5], 0.1, *v[6:]], "frame 5: its timestamp 0.1 s does not"),
        ("task_index", lambda v: [*v[:3], 9, *v[4:]], "task_index 9, which meta/tasks"),
    ],
)
def test_rows_that_do_not_fit_are_refused(column, edit, said, tmp_path):
    root = make(tmp_path / "a")
    change_rows(root, column, edit)
    with pytest.raises(UsageError, match=said):
        open_source("lerobot", root)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda i: i.update(codebase_version="v1.6"), "version v1.6; dsc reads v2.0, v2.1, v3.0"),
        (lambda i: i.update(fps=0), "fps 0; frames a second are above 0"),
        (lambda i: i.update(fps="fast"), "fps fast"),
        (lambda i: i.pop("features"), "says no features"),
        (lambda i: i.update(total_episodes=9), "3 episodes, and meta/info.json says 9"),
        (lambda i: i.update(data_path="../{chunk_index}"), "does not stay below the data set"),
        (lambda i: i.update(video_path="{root.__class__}/x"), "no such file|does not stay|{root"),
        (lambda i: i.update(data_path="data/{shard}.parquet"), "has a place {shard}; known are"),
        (lambda i: i["features"].update(x={"shape": [1]}), "feature x says no dtype"),
        (lambda i: i["features"].update(x={"dtype": "int64"}), "a feature x, and data/ no such"),
        (lambda i: i.update(splits={"a": "0:2", "b": "1:3"}), "episode 1 is in two splits, a and"),
    ],
)
def test_an_info_that_cannot_be_is_refused(edit, said, tmp_path):
    root = make(tmp_path / "a")
    change(root, edit)
    with pytest.raises((UsageError, SampleError), match=said):
        open_source("lerobot", root).check(["top"])


@pytest.mark.parametrize(
    "details", [{"video.depth_min": 5, "video.depth_max": 4}, {"video.shift": "x"}]
)
def test_depth_that_cannot_be_is_refused(details, tmp_path):
    with pytest.raises(UsageError, match="give no depth"):
        DepthCodes.parse(details, "here")


def test_files_that_are_gone_are_named(tmp_path):
    root = make(tmp_path / "a")
    (Path(root) / "data/chunk-000/file-001.parquet").unlink()
    with pytest.raises(UsageError, match=r"file-001\.parquet: no such file, and 1 of 2 files of r"):
        open_source("lerobot", root)
    shutil.rmtree(Path(root) / "meta/episodes")
    with pytest.raises(UsageError, match="no Parquet there; copy meta/ again"):
        open_source("lerobot", root)
    with pytest.raises(SourceNotFoundError, match=r"has no meta/info\.json"):
        open_source("lerobot", str(tmp_path))


def test_what_kind_a_video_is_cannot_be_said(tmp_path):
    root = make(tmp_path / "a")
    with pytest.raises(UsageError, match="is a video, whose kind is known"):
        open_source("lerobot", root, kinds={"top": "depth"})
    with pytest.raises(UsageError, match="no task bottom here"):
        open_source("lerobot", root, kinds={"bottom": "depth"})


def test_templates_are_no_programs():
    assert fill("a/{n:03d}/{k}.x", "w", n=7, k="b") == "a/007/b.x"
    for bad in ("{n!r}/x", "{k.__class__}", "{0}", "/etc/{n}", "a//{n}"):
        path = None
        try:
            path = fill(bad, "w", n=7, k="b")
        except UsageError:
            continue
        assert path.startswith("{")  # taken as it stands, a file that is not there


def test_without_pyav_the_error_says_what_to_install(tmp_path, monkeypatch):
    root = make(tmp_path / "a")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'dsc\[video\]'"):
        open_source("lerobot", root)
    assert open_source("lerobot", root, tasks="state,action").read(0, ["state"])
