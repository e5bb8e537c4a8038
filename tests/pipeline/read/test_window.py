"""`dsc.open(window=...)`: frames around each sample, by number and by time."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import dsc
from dsc import transforms
from dsc._bench.server import serve
from dsc._pipeline.read.frame_index import NONE, FrameIndex
from dsc._sources import registry
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError
from tests.walks import PLACES, STEP, values

N = len(PLACES) + 2
INDEX = {place[:2]: index for index, place in enumerate(PLACES)}


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compressed(tmp_path_factory.mktemp("walks") / "a")


def compressed(out: Path, **options: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.SOURCES, "walks", "tests.walks:WalksSource")
        dsc.compress(
            "walks", out, **{"n": N, "codec": "png", "shard_size": 10, "pack": 4} | options
        )
    return out


def which(sample: Any) -> list[int]:
    """Return which samples the frames of a window are, by their pixels."""
    return [int(frame[0, 0, 0]) for frame in sample["rgb"]]


def test_a_window_has_the_frames_before_and_after(walks: Path) -> None:
    data = dsc.open(walks, window=(-1, 0, 2))
    assert len(data) == N
    at = INDEX["hall", 110]
    sample = data[at]
    assert sample["rgb"].shape == (3, 16, 24, 3)
    assert sample["depth"].shape == (3, 16, 24)
    for k, index in enumerate((at - 1, at, at + 2)):
        wanted = values(index)
        assert np.array_equal(sample["rgb"][k], wanted["rgb"])
        assert np.allclose(sample["depth"][k], wanted["depth"] / 1000)
        assert np.array_equal(sample["action"][k], wanted["action"])
        assert sample["note"][k] == wanted["note"]
    assert sample["intrinsics"].shape == (3, 3, 3)
    assert sample["__sequence__"] == "hall"
    assert sample["__frames__"].tolist() == [109, 110, 112]
    assert sample["__window__"].tolist() == [True, True, True]
    assert sample["__window__"].dtype == bool
    assert sample["__frames__"].dtype == np.int64


def test_ends_are_clamped_missing_or_left_out(walks: Path) -> None:
    first, last = INDEX["hall", 100], INDEX["hall", 122]
    clamped = dsc.open(walks, "rgb", window=(-2, 0, 1))
    assert which(clamped[first]) == [first, first, first + 1]
    assert which(clamped[last]) == [last - 2, last, last]
    assert clamped[first]["__window__"].tolist() == [False, True, True]
    assert clamped[first]["__frames__"].tolist() == [100, 100, 101]
    missing = dsc.open(walks, "rgb,depth,action", window=(-2, 0, 1), window_edges="missing")
    sample = missing[first]
    assert sample["__window__"].tolist() == [False, True, True]
    assert sample["__frames__"].tolist() == [-1, 100, 101]
    assert not sample["rgb"][0].any()
    assert np.isnan(sample["depth"][0]).all()
    assert np.isnan(sample["action"][0]).all()
    assert not np.isnan(sample["action"][1]).any()
    native = dsc.open(walks, "depth", native=True, window=(-1, 0), window_edges="missing")
    assert native[first]["depth"].dtype == np.uint16
    assert not native[first]["depth"][0].any()
    whole = dsc.open(walks, "rgb", window=(-2, 0, 1), window_edges="skip")
    kept = [index for index in whole.indices.tolist()]
    assert kept == [
        index
        for index, place in enumerate(PLACES)
        if all((place.sequence, place.frame + k) in INDEX for k in (-2, 0, 1))
    ]
    assert all(one["__window__"].all() for one in whole)


def test_a_frame_that_the_recording_lost_is_missing(walks: Path) -> None:
    at = INDEX["walk", 5]
    for edges in ("clamp", "missing"):
        sample = dsc.open(walks, "rgb", window=(-2, -1, 0), window_edges=edges)[at]
        assert sample["__frames__"].tolist() == [3, -1, 5]
        assert sample["__window__"].tolist() == [True, False, True]
        assert which(sample) == [INDEX["walk", 3], 0, at]


def test_windows_never_leave_their_recording(walks: Path) -> None:
    data = dsc.open(walks, "rgb", window=(-3, 0, 3))
    for index, sample in enumerate(data):
        place = PLACES[index] if index < len(PLACES) else None
        assert sample["__sequence__"] == (place.sequence if place else None)
        for frame, found in zip(sample["__frames__"].tolist(), which(sample), strict=True):
            assert frame == -1 or PLACES[found][:2] == (sample["__sequence__"], frame)
    alone = data[INDEX["one", 7]]
    assert alone["__frames__"].tolist() == [7, 7, 7]
    assert alone["__window__"].tolist() == [False, True, False]
    of_none = data[N - 1]
    assert which(of_none) == [N - 1] * 3
    assert of_none["__window__"].tolist() == [False, True, False]
    assert of_none["__frames__"].tolist() == [-1, -1, -1]


def test_offsets_in_time_are_the_nearest_frames(walks: Path) -> None:
    at = INDEX["walk", 6]
    data = dsc.open(walks, "rgb", window=("-33ms", 0, "0.1s", "-2 ns"), window_edges="missing")
    assert data[at]["__frames__"].tolist() == [5, 6, 9, 6]
    # frame 4 was lost: what lies half a step from frame 3 is it, what lies further is nothing
    half = STEP // 2
    ends = (f"-{3 * STEP - half}ns", f"-{2 * STEP}ns", f"-{3 * STEP - half - 1}ns")
    found = dsc.open(walks, "rgb", window=ends, window_edges="missing")[at]
    assert found["__frames__"].tolist() == [3, -1, -1]
    clamped = dsc.open(walks, "rgb", window=("-10s", "10s"))[at]
    assert clamped["__frames__"].tolist() == [0, 10]
    assert not clamped["__window__"].any()
    assert dsc.open(walks, "rgb", window=("0s",))[N - 1]["__window__"].all()


def test_tasks_may_have_windows_of_their_own(walks: Path) -> None:
    data = dsc.open(walks, "rgb,depth,action", window={"rgb": (-1, 0), "action": (0, 1, 2)})
    at = INDEX["hall", 121]
    sample = data[at]
    assert which(sample) == [at - 1, at]
    assert sample["depth"].shape == (16, 24)  # this sample's own
    assert sample["action"][:, 0].tolist() == [at, at + 1, at + 1]
    assert sample["__window_action__"].tolist() == [True, True, False]
    assert sample["__frames_rgb__"].tolist() == [120, 121]
    assert "__window__" not in sample


def test_a_frame_that_lacks_a_task_is_not_there(walks: Path) -> None:
    at = INDEX["hall", 106]
    sample = dsc.open(walks, "rgb,depth,note", window=(-1, 0))[at]
    assert sample["__window__"].tolist() == [False, True]
    assert sample["__frames__"].tolist() == [105, 106]
    assert which(sample) == [at - 1, at]
    assert np.isnan(sample["depth"][0]).all()
    assert sample["note"] == [None, f"frame of sample {at}"]
    own = dsc.open(walks, "rgb,depth", window={"rgb": (-1, 0), "depth": (-1,)})[at]
    assert own["depth"] is None
    assert own["__window_rgb__"].all()
    assert own["__window_depth__"].tolist() == [False]


def test_joint_transforms_move_all_frames_alike(walks: Path) -> None:
    augment = transforms.Compose(
        [transforms.RandomCrop(8), transforms.HorizontalFlip(0.5), transforms.ColorJitter(0.3)]
    )
    names = "rgb,depth,intrinsics"
    data = dsc.open(walks, names, window=(-1, 0, 1), transform=augment, seed=3)
    plain = dsc.open(walks, names, window=(-1, 0, 1))
    drawn = set()
    for index in range(12, 24):
        sample = data[index]
        assert sample["rgb"].shape == (3, 8, 8, 3)
        assert sample["depth"].shape == (3, 8, 8)
        depth = plain[index]["depth"]
        moved = sample["depth"] - depth[:, :1, :1]  # the same pixels of all frames
        assert np.allclose(moved, moved[1], atol=1e-5) or np.isnan(moved).any()
        cameras = sample["intrinsics"]
        assert (cameras == cameras[0]).all()
        assert not (cameras == plain[index]["intrinsics"]).all()
        drawn.add(cameras[0].tobytes())
    assert len(drawn) > 3
    resized = dsc.open(walks, names, window=(0, 1), transform=transforms.Resize((8, 12)))[11]
    assert resized["intrinsics"][1][0, 0] == 15.0
    assert resized["rgb"].shape == (2, 8, 12, 3)


def test_a_frame_that_is_nothing_stays_nothing_under_transforms(walks: Path) -> None:
    data = dsc.open(
        walks, "rgb,depth,intrinsics", window=(-1, 0), window_edges="missing",
        transform=transforms.CenterCrop(8),
    )  # fmt: skip
    sample = data[0]
    assert np.isnan(sample["intrinsics"][0]).all()
    assert np.isnan(sample["depth"][0]).all()
    assert sample["intrinsics"][1][0, 2] == 4.0


def test_own_transforms_see_the_window(walks: Path) -> None:
    def crop(sample: Any) -> Any:
        assert sample.windows == {"rgb": 2}
        return sample | {"rgb": sample["rgb"][:, :4, :4]}

    assert dsc.open(walks, "rgb", window=(0, 1), transform=crop)[3]["rgb"].shape == (2, 4, 4, 3)


def test_windows_go_with_selections_loaders_and_pickles(walks: Path) -> None:
    data = dsc.open(walks, "rgb,action", window=(0, 1), window_edges="skip", where="index > 15")
    assert min(data.indices) == 16
    assert INDEX["hall", 122] not in data.indices
    few = data.select(limit=2)
    assert which(few[0]) == [16, 17]
    assert which(pickle.loads(pickle.dumps(few))[1]) == [17, 18]
    for workers in (0, 2):
        batches = list(DataLoader(data, batch_size=4, num_workers=workers, shuffle=False))  # type: ignore[arg-type]
        assert batches[0]["rgb"].shape == (4, 2, 16, 24, 3)
        assert batches[0]["__frames__"].tolist() == [[105 + k, 106 + k] for k in range(4)]


def test_samples_pickle_with_and_without_windows(walks: Path) -> None:
    for window in (None, (0, 1)):
        sample = dsc.open(walks, "rgb", window=window)[3]
        same = pickle.loads(pickle.dumps(sample))
        assert same.windows == sample.windows == ({} if window is None else {"rgb": 2})
        assert same.tasks == sample.tasks
    assert pickle.loads(pickle.dumps(type(sample)({"a": 1}).copy())) == {"a": 1}


def test_each_frame_of_a_batch_is_decoded_once(
    walks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dsc._pipeline.read.decoding import SampleDecoder

    decoded: list[int] = []
    begin = SampleDecoder.begin

    def counted(self: Any, indices: Any, *rest: Any, **more: Any) -> Any:
        decoded.extend(indices)
        return begin(self, indices, *rest, **more)

    monkeypatch.setattr(SampleDecoder, "begin", counted)
    dsc.open(walks, "rgb", window=(-1, 0, 1)).batch(range(12, 20))
    assert sorted(decoded) == list(range(11, 21))


def test_over_a_network_only_the_frames_tasks_are_read(tmp_path: Path) -> None:
    root = compressed(tmp_path / "a", pack=1)
    sent = []
    for window in (None, {"action": (0, 1, 2, 20)}):  # of two shards
        with serve(root) as (url, traffic):
            dsc.open(url, "rgb,action", window=window)[12]
            sent.append({name: traffic.total(name) for name in ("rgb", "action")})
    assert sent[0]["rgb"] == sent[1]["rgb"]
    assert sent[0]["action"] < sent[1]["action"]


def test_decoded_frames_are_kept(walks: Path) -> None:
    data = dsc.open(walks, window={"rgb": (-1, 0), "note": (0, 1)}, cache_decoded="10MB")
    first = [data[index] for index in range(N)]
    again = [data[index] for index in range(N)]
    plain = dsc.open(walks, window={"rgb": (-1, 0), "note": (0, 1)})
    for one, two, index in zip(first, again, range(N), strict=True):
        for name, value in plain[index].items():
            for found in (one[name], two[name]):
                np.testing.assert_equal(found, value)


@pytest.mark.parametrize(
    ("window", "text"),
    [
        (3, "window=3: at least one offset in a row"),
        ((), r"window=\(\): at least one offset"),
        ("-1,0", "at least one offset in a row"),
        ((0.5, 0), "0.5 is no offset; give frames as whole numbers"),
        (("0.5", 0), "'0.5' is no offset"),
        ((True,), "True is no offset"),
        (("0.00000000001s",), "is no whole number of nanoseconds"),
        ({}, "no task has a window"),
        ({"depth": (0, 1)}, "window of 'depth', which is not read; tasks: rgb"),
        ({"rgb": 1}, "window of rgb: at least one offset"),
    ],
)  # fmt: skip
def test_bad_windows_are_refused(walks: Path, window: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        dsc.open(walks, "rgb", window=window)


def test_what_cannot_be_had_is_refused(walks: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="window_edges='wrap': one of clamp, missing, skip"):
        dsc.open(walks, "rgb", window=(0, 1), window_edges="wrap")
    with pytest.raises(UsageError, match="of no sample all frames of the window are there"):
        dsc.open(walks, "rgb", window=(0, 1000), window_edges="skip")
    timeless = compressed(tmp_path / "timeless", times=False)
    with pytest.raises(UsageError, match="the times of its frames are not known"):
        dsc.open(timeless, "rgb", window=(0, "1s"))
    assert dsc.open(timeless, "rgb", window=(0, 1))[0]["__window__"].all()
    dsc.compress("taskonomy", tmp_path / "stills", sample=2, tasks="rgb", size=32, codec="png")
    with pytest.raises(UsageError, match="knows none: compress the data again, with --sequence-by"):
        dsc.open(tmp_path / "stills", "rgb", window=(0, 1))


LINES = st.lists(st.integers(0, 60), min_size=1, max_size=12, unique=True)


@settings(max_examples=60)
@given(st.lists(LINES, min_size=1, max_size=3), st.integers(-70, 70), st.integers(0, 2**40))
def test_frames_are_found_whatever_order_samples_lie_in(
    lines: list[list[int]], offset: int, start: int
) -> None:
    pairs = [(number, frame) for number, line in enumerate(lines) for frame in line]
    order = np.random.default_rng(start).permutation(len(pairs))
    pairs = [pairs[k] for k in order]
    sequence, frame = (np.array(column) for column in zip(*pairs, strict=True))
    names = tuple(f"s{number}" for number in range(len(lines)))
    found = FrameIndex(names, sequence.astype(np.int32), frame, start + 10 * frame)
    for number, line in enumerate(lines):
        rows = np.flatnonzero(sequence == number)
        index, end = found.by_frame(number, frame[rows] + offset)
        for row, at, beyond in zip(rows, index, end, strict=True):
            wanted = int(frame[row]) + offset
            assert at == (pairs.index((number, wanted)) if wanted in line else NONE)
            ends = {True: NONE, wanted < min(line): min(line), wanted > max(line): max(line)}
            last = [value for is_so, value in ends.items() if is_so][-1]
            assert beyond == (NONE if last == NONE else pairs.index((number, last)))
        exact, _ = found.by_time(number, start + 10 * frame[rows])
        assert exact.tolist() == rows.tolist()


def test_recordings_of_an_archive_are_those_of_its_source(walks: Path) -> None:
    found = FrameIndex.read(Archive.open(str(walks)))
    assert found.names == ("walk", "one", "hall")
    assert found.sequence.tolist() == [0] * 10 + [1] + [2] * 23 + [-1] * 2
    assert found.frame[:34].tolist() == [place.frame for place in PLACES]
