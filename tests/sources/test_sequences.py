"""Frames of recordings: found by names, in their order, with numbers and exact times."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsc
from dsc._jobs.archive.inputs import open_data
from dsc._pipeline.options import SourceOptions
from dsc._schemas import SequencePlace
from dsc._sources.base import name_of, place_of, report_of, splits_of
from dsc._sources.registry import Source, open_source, source_from_description
from dsc._sources.sequences.places import NONE, cut_sequences
from dsc._sources.sequences.rules import MOST, SequenceRule
from dsc._sources.sequences.source import in_sequences
from dsc._sources.sequences.times import nanoseconds, nanoseconds_of_date
from dsc._storage.read.archive import Archive
from dsc.errors import SampleError, UsageError
from tests.places import DATA
from tests.sources.lookalikes import LOOKS, Drawer
from tests.sources.tars import write_samples


def opened(root: Path, source: str = "folder", **asked: Any) -> Source:
    return open_data(SourceOptions(source=source, root=str(root), **asked))


def places(source: Source) -> list[SequencePlace | None]:
    return [place_of(source, index) for index in range(len(source))]


def notes(source: Source) -> str:
    return "; ".join(report_of(source).notes)


# ---- times


@pytest.mark.parametrize(
    ("stamp", "wanted"),
    [
        ("1305031102.175304", 1305031102175304000),
        ("1548265974.77396", 1548265974773960000),
        ("12", 12_000_000_000),
        ("1403636579763", 1403636579763000000),
        ("1403636579763555", 1403636579763555000),
        ("1403636579763555584", 1403636579763555584),
        ("0.1234567890", 123456789),
    ],
)
def test_time_stamps_are_read_to_the_nanosecond(stamp: str, wanted: int) -> None:
    assert nanoseconds(stamp) == wanted


@given(st.integers(0, 2**40), st.integers(0, 10**9 - 1))
def test_no_time_stamp_goes_through_a_float(seconds: int, fraction: int) -> None:
    assert nanoseconds(f"{seconds}.{fraction:09d}") == seconds * 10**9 + fraction


@pytest.mark.parametrize("stamp", ["", "now", "1.", "-1", "1e9", "0.1234567891"])
def test_what_is_no_time_stamp_is_refused(stamp: str) -> None:
    with pytest.raises(ValueError, match=r"time stamp|less than a nanosecond"):
        nanoseconds(stamp)


def test_dates_are_nanoseconds_since_1970() -> None:
    assert nanoseconds_of_date("1970-01-02 00:00:01.000000002") == 86401 * 10**9 + 2
    assert nanoseconds_of_date("2011-09-26 13:02:25.964389445") == 1317042145964389445
    with pytest.raises(ValueError, match="no date and time"):
        nanoseconds_of_date("yesterday")


# ---- rules


@pytest.mark.parametrize(
    ("rule", "name", "wanted"),
    [
        ("dir", "walks/a/frame-000300", ("walks/a", 300, None)),
        ("dir", "000300", ("recording", 300, None)),
        ("dir", "a/cam0_17_left", ("a", 17, None)),
        ("dir", "demo.h5: /data/demo_3#12", ("demo.h5: /data/demo_3", 12, None)),
        ("dir", "a/cover", None),
        ("{sequence}/frame-{frame}", "b/c/frame-0007", ("b/c", 7, None)),
        ("{sequence}{frame}", "walk001", ("walk", 1, None)),
        ("{sequence}_{frame}", "walk_2_0001", ("walk_2", 1, None)),
        ("*_{frame}", "left_0001", ("recording", 1, None)),
        ("{sequence}/{time}", "x/12.5", ("x", None, 12_500_000_000)),
        ("{sequence}/{frame}_{time}", "x/3_1403636579763", ("x", 3, 1403636579763 * 10**6)),
        (r"(?P<sequence>ep\d+)-(?P<frame>\d+)", "ep3-04", ("ep3", 4, None)),
        (r"(?P<sequence>ep\d+)-(?P<frame>\d+)", "ep3-04b", None),
        (r"(?P<sequence>ep\d+)(?:-(?P<frame>\d+))?", "ep3", None),
        ("none", "a/1", None),
    ],
)
def test_rules_read_names(rule: str, name: str, wanted: tuple[str, int | None, int | None]) -> None:
    found = SequenceRule.parse(rule).read(name)
    assert found == wanted if wanted is None else tuple(found or ()) == wanted


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{sequence}", "where is the frame"),
        ("folder", "where is the frame"),
        ("{sequence}/{number}", "{number} is none of"),
        ("{frame}/{frame}", "redefinition"),
        ("(?P<sequence>.+", "expected one of dir; "),
        (r"(?P<scene>.+)/(?P<frame>\d+)", "not scene"),
    ],
)
def test_rules_that_say_nothing_are_refused(rule: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("{", r"\{").replace("?", r"\?")):
        SequenceRule.parse(rule)


def test_a_number_that_no_column_keeps_is_refused_by_name(tmp_path: Path) -> None:
    Drawer(tmp_path).rgb(f"rgb/a/{MOST + 1}.png")
    with pytest.raises(UsageError, match=rf"sample a/{MOST + 1}: .*is it a {{time}}"):
        opened(tmp_path, sequence_by="dir")


# ---- layouts


def test_seven_scenes_are_recordings(tmp_path: Path) -> None:
    LOOKS["seven_scenes"](tmp_path)
    source = opened(tmp_path)
    assert places(source) == [
        SequencePlace(f"chess/{sequence}", frame)
        for sequence in ("seq-01", "seq-02")
        for frame in range(2)
    ]
    assert "recordings: 2 with 4 frames" in notes(source)


def test_a_flat_folder_of_seven_scenes_is_one_recording(tmp_path: Path) -> None:
    d = Drawer(tmp_path)
    for frame in (300, 310, 320, 340):
        d.rgb(f"frame-{frame:06d}.color.jpg")
        d.counts(f"frame-{frame:06d}.depth.png")
    source = opened(tmp_path)
    assert source.describe()["options"]["layout"] == "7-scenes"
    assert places(source) == [SequencePlace("recording", n) for n in (300, 310, 320, 340)]
    assert "in steps of 10" in notes(source)
    assert "leave gaps once: recording has 340 after 320" in notes(source)


def test_numbers_of_scannet_count_as_numbers(tmp_path: Path) -> None:
    LOOKS["scannet"](tmp_path)
    source = opened(tmp_path)
    own = [place for place in places(source) if place and place.sequence == "scene0000_00"]
    assert [place.frame for place in own] == [0, 2, 10]


def test_frames_of_time_stamps_come_in_the_order_of_exact_times(tmp_path: Path) -> None:
    d = Drawer(tmp_path)
    stamps = ("1305031102.9", "1305031102.175304", "1305031103.05", "1305031102.90000001")
    for stamp in stamps:
        d.rgb(f"rgbd_dataset_x/rgb/{stamp}.png")
        d.counts(f"rgbd_dataset_x/depth/{stamp}.png")
    source = opened(tmp_path)
    wanted = sorted(map(nanoseconds, stamps))
    assert places(source) == [SequencePlace("rgbd_dataset_x", n, t) for n, t in enumerate(wanted)]
    for index, time_ns in enumerate(wanted):
        assert nanoseconds(name_of(source, index).rpartition("/")[2]) == time_ns
        assert source.read(index, []).key == source.key(index)


def test_times_of_kitti_come_from_the_list_beside_the_frames(tmp_path: Path) -> None:
    LOOKS["kitti_depth"](tmp_path)
    lists = sorted(tmp_path.rglob("timestamps.txt"))
    lists[1].unlink()
    lines = [f"2011-09-26 13:02:{n:02d}.{n}00000001" for n in range(8)]
    lists[0].write_text("\n".join([*lines[:6], "", *lines[7:]]))
    source = opened(tmp_path)
    own = [p for p in places(source) if p and p.sequence.endswith("drive_0001_sync/image_02")]
    second = nanoseconds_of_date("2011-09-26 13:02:00")
    assert [place.frame for place in own] == [5, 6, 7]
    assert [place.time_ns for place in own] == [
        second + 5_500_000_001, None, second + 7_700_000_001
    ]  # fmt: skip
    other = [p for p in places(source) if p and p.sequence.endswith("image_03")]
    assert {place.time_ns for place in other} == {None}
    assert list(splits_of(source)) == ["train", "val"]
    lists[0].write_text("2011-09-26 13:02:00\nsoon\n")
    with pytest.raises(SampleError, match=r"timestamps.txt:2: 'soon' is no date.*--sequence-by"):
        opened(tmp_path)
    dir_ = opened(tmp_path, sequence_by="dir")
    assert {place.time_ns for place in places(dir_) if place} == {None}


@pytest.mark.parametrize("look", ["coco", "cityscapes", "kitti_flow", "kitti_depth_selection"])
def test_sets_of_photographs_are_no_recordings(look: str, tmp_path: Path) -> None:
    LOOKS[look](tmp_path)
    source, plain = opened(tmp_path), open_source("folder", str(tmp_path))
    assert set(places(source)) == {None}
    assert source.describe() == plain.describe()


@pytest.mark.parametrize("look", ["replica", "replica_semantic", "hypersim"])
def test_renderings_are_recordings(look: str, tmp_path: Path) -> None:
    LOOKS[look](tmp_path)
    found = places(opened(tmp_path))
    assert None not in found
    assert found == sorted(
        found, key=lambda place: (place and place.sequence, place and place.frame)
    )


def test_a_camera_of_a_recording_is_that_of_each_frame(tmp_path: Path) -> None:
    LOOKS["seven_scenes"](tmp_path)
    source = opened(tmp_path)
    assert "one file for all frames: intrinsics" in notes(source)
    read = [source.read(index, ["intrinsics"]) for index in range(4)]
    files = [tmp_path / f"chess/{at}camera-intrinsics.txt" for at in ("", "seq-02/")]
    sizes = [file.stat().st_size for file in files]
    assert [one.source_bytes["intrinsics"] for one in read] == [sizes[0], 0, sizes[1], 0]
    for index, file in enumerate((files[0], files[0], files[1], files[1])):
        np.testing.assert_array_equal(read[index].arrays["intrinsics"], np.loadtxt(file).ravel())
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(
        again.read(3, ["intrinsics"]).arrays["intrinsics"], read[3].arrays["intrinsics"]
    )


def test_a_camera_without_frames_is_left_out(tmp_path: Path) -> None:
    LOOKS["seven_scenes"](tmp_path)
    Drawer(tmp_path).matrix("chess/seq-03/camera-intrinsics.txt", rows=3, columns=3)
    left = {one.what: one for one in report_of(opened(tmp_path)).left_out}
    assert left["chess/seq-03/camera-intrinsics.txt"].reason == "of samples that are not there"


def test_a_damaged_camera_is_named(tmp_path: Path) -> None:
    LOOKS["seven_scenes"](tmp_path)
    (tmp_path / "chess/seq-02/camera-intrinsics.txt").write_text("585 0 x")
    source = opened(tmp_path)
    with pytest.raises(SampleError, match=r"seq-02/camera-intrinsics.txt"):
        source.read(2, ["intrinsics"])


# ---- any source


def test_directories_are_recordings_where_that_is_said(tmp_path: Path) -> None:
    d = Drawer(tmp_path)
    d.rgb(*(f"rgb/{walk}/img_{n}.png" for walk in ("b", "a") for n in (10, 9, 2)))
    d.counts(*(f"depth/{walk}/img_{n}.png" for walk in ("b", "a") for n in (10, 9)))
    d.rgb("rgb/a/cover.png")
    plain = opened(tmp_path)
    assert set(places(plain)) == {None}
    source = opened(tmp_path, sequence_by="dir")
    assert places(source) == [
        None, *(SequencePlace("a", n) for n in (2, 9, 10)),
        *(SequencePlace("b", n) for n in (2, 9, 10)),
    ]  # fmt: skip
    assert "of no recording: 1 sample, such as a/cover" in notes(source)
    assert splits_of(source) == {}


def test_none_switches_recordings_off(tmp_path: Path) -> None:
    LOOKS["seven_scenes"](tmp_path)
    source = opened(tmp_path, sequence_by="none")
    assert set(places(source)) == {None}
    assert source.describe() == open_source("folder", str(tmp_path)).describe()


def test_tars_are_recordings_by_their_keys(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    keys = ["ep1_10", "ep0_3", "ep1_9", "ep0_1"]
    write_samples(
        tmp_path / "a.tar", [(key, {"npy": rng.random(3).astype(np.float32)}) for key in keys]
    )
    source = opened(tmp_path, "webdataset", sequence_by="{sequence}_{frame}")
    assert places(source) == [
        SequencePlace("ep1", 9), SequencePlace("ep1", 10),
        SequencePlace("ep0", 1), SequencePlace("ep0", 3),
    ]  # fmt: skip
    assert [source.key(index) for index in range(4)] == ["ep1_9", "ep1_10", "ep0_1", "ep0_3"]


def test_rows_are_recordings_by_the_keys_of_a_column(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    lines = ["score,id", "1.5,ep1_2", "2.5,ep0_0", "3.5,ep1_1", ""]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    asked = {"source": "table", "sequence_by": "{sequence}_{frame}"}
    source = opened(tmp_path / "a.csv", **asked)
    assert [source.key(index) for index in range(3)] == ["ep1_1", "ep1_2", "ep0_0"]
    assert places(source)[1:] == [SequencePlace("ep1", 2), SequencePlace("ep0", 0)]
    again = source_from_description(json.loads(json.dumps(source.describe())))
    assert places(again) == places(source)
    with pytest.raises(UsageError, match="with keys such as ep1_2"):
        opened(tmp_path / "a.csv", source="table", sequence_by="x{frame}")


def test_two_frames_of_one_number_are_refused(tmp_path: Path) -> None:
    Drawer(tmp_path).rgb("rgb/a/1.png", "rgb/a/01.png", "rgb/a/2.png")
    with pytest.raises(UsageError, match=r"recording a: a/0?1 and a/0?1 are both its frame 1.*dir"):
        opened(tmp_path, sequence_by="dir")


def test_a_rule_that_fits_no_name_says_how_samples_are_called(tmp_path: Path) -> None:
    Drawer(tmp_path).rgb("rgb/a/1.png", "rgb/a/2.png", "rgb/a/3.png")
    with pytest.raises(UsageError, match=r"no sample is called like that.*a/1, a/2, a/3"):
        opened(tmp_path, sequence_by="x{frame}")


def test_time_that_runs_backward_is_noted_and_changes_no_order(tmp_path: Path) -> None:
    Drawer(tmp_path).rgb("rgb/a/1_5.5.png", "rgb/a/2_5.25.png", "rgb/a/3_6.0.png")
    source = opened(tmp_path, sequence_by="{sequence}/{frame}_{time}")
    assert [place and place.frame for place in places(source)] == [1, 2, 3]
    assert (
        "time does not rise once: in a, a/2_5.25 has 5250000000 ns after 5500000000 ns; frames "
        "keep the order of their numbers"
    ) in notes(source)


def test_a_recording_in_two_splits_of_the_source_is_refused(tmp_path: Path) -> None:
    Drawer(tmp_path).rgb("rgb/train/a/1.png", "rgb/train/a/2.png", "rgb/val/a/3.png")
    with pytest.raises(UsageError, match=r"recording a lies in two splits: .*a/1 in train, .*a/3"):
        opened(tmp_path, sequence_by="*/{sequence}/{frame}")
    source = opened(tmp_path, sequence_by="{sequence}/{frame}")
    assert [place and place.sequence for place in places(source)] == ["train/a"] * 2 + ["val/a"]


def test_description_opens_the_same_frames_again(tmp_path: Path) -> None:
    d = Drawer(tmp_path)
    d.rgb(*(f"rgb/a/img{n}_{t}.png" for n, t in ((1, 7), (2, 6))))
    source = opened(tmp_path, sequence_by="{sequence}/img*_{frame}")
    again = source_from_description(json.loads(json.dumps(source.describe())))
    assert again.describe() == source.describe()
    assert places(again) == places(source) == places(pickle.loads(pickle.dumps(source)))
    assert [again.key(n) for n in range(2)] == ["a__img2_6", "a__img1_7"]
    d.rgb("rgb/a/img3_5.png")
    with pytest.raises(UsageError, match="not what it was"):
        source_from_description(source.describe())


class Told:
    """A source that says its places itself."""

    name = "told"
    tasks = ()

    def __len__(self) -> int:
        return 2

    def key(self, index: int) -> str:
        return f"x_{index}"

    def place(self, index: int) -> SequencePlace:
        return SequencePlace("own", index + 5)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "root": None, "options": {}, "fingerprint": "f"}


def test_a_source_that_says_places_is_believed_until_a_rule_is_given() -> None:
    told: Any = Told()
    assert in_sequences(told) is told
    ruled = in_sequences(told, "{sequence}_{frame}")
    assert places(ruled) == [SequencePlace("x", 0), SequencePlace("x", 1)]
    off = in_sequences(told, "none")
    assert places(off) == [None, None]
    assert off.describe()["sequences"] == {"by": "none"}
    with pytest.raises(IndexError, match="sample 2 of 2"):
        ruled.key(2)


class Retold(Told):
    """A source that says what it is given."""

    def __init__(self, told: list[tuple[str, int] | None], splits: dict[str, int]) -> None:
        self._told, self.splits = told, splits

    def __len__(self) -> int:
        return len(self._told)

    def place(self, index: int) -> Any:
        told = self._told[index]
        return None if told is None else SequencePlace(*told)


@pytest.mark.parametrize(
    ("told", "splits", "why"),
    [
        ([("a", 1), ("a", 1)], {}, "recording a: x_1 is frame 1, after frame 1"),
        ([("a", 2), ("a", 1)], {}, "x_1 is frame 1, after frame 2"),
        ([("a", 1), ("b", 1), ("a", 2)], {}, "x_2 is frame 2, apart from the frames before it"),
        ([("a", 1), None, ("a", 2)], {}, "apart from"),
        ([("a", 1), ("a", 2)], {"train": 1, "val": 1}, "in another split than the frame before"),
    ],
)
def test_a_source_that_breaks_its_promise_is_refused(
    told: list[tuple[str, int] | None], splits: dict[str, int], why: str
) -> None:
    source: Any = Retold(told, splits)
    with pytest.raises(UsageError, match=rf"source told: .*{why}.*--sequence-by"):
        in_sequences(source)
    assert set(places(in_sequences(source, "none"))) == {None}


def test_recordings_that_lie_in_several_splits_are_found() -> None:
    sequence = np.array([0, 0, 1, 1, NONE, 2, 2])
    assert cut_sequences(sequence, np.array([0, 0, 1, 2, 3, -1, 2])) == {1: (2, 3)}
    assert cut_sequences(sequence[:0], sequence[:0]) == {}


def test_archives_keep_the_places(tmp_path: Path) -> None:
    LOOKS["seven_scenes"](tmp_path / "in")
    out = tmp_path / "out"
    dsc.compress("folder", out, root=tmp_path / "in", tasks="depth", codec="png")
    archive = Archive.open(str(out))
    assert [archive.place(n) for n in range(4)] == places(opened(tmp_path / "in"))
    plain = tmp_path / "plain"
    dsc.compress(
        "folder", plain, root=tmp_path / "in", tasks="depth", codec="png", sequence_by="none"
    )
    assert Archive.open(str(plain)).place(0) is None


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "sevenscenes_clip").is_dir(), reason=f"no clip under {DATA}")
def test_the_real_clip_is_one_recording() -> None:
    source = opened(DATA / "sevenscenes_clip")
    camera = source.read(63, ["intrinsics"]).arrays["intrinsics"]
    np.testing.assert_array_equal(camera, [585, 0, 320, 0, 585, 240, 0, 0, 1])
    assert places(source) == [SequencePlace("recording", n) for n in range(300, 364)]
