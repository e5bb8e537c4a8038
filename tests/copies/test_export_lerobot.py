"""Recordings as LeRobot datasets: read back by the source, by PyAV, and by lerobot where it is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from dsc._copies.export.lerobot_stats import Numbers, Pixels
from dsc._copies.export.run import export
from dsc._jobs.archive.compress import compress
from dsc._schemas import SequencePlace, Task
from dsc._sources.base import SourceSample
from dsc._sources.registry import Source, open_source
from dsc.errors import MissingPackageError, PlanMismatchError, UsageError
from tests.cli.conftest import run_dsc
from tests.lerobot import FPS, LENGTHS, PNG, TEXTS, TOP, Made, make

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
av = pytest.importorskip("av", reason="videos are written by PyAV")

MADE = Made(depth=True, images=True, splits={"val": "2:3", "train": "0:2"})


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An archive of three episodes, without loss beside that of the videos it was made from."""
    root = tmp_path_factory.mktemp("robot")
    data = make(root / "data", MADE)
    ran = run_dsc("compress", "lerobot", "--root", data, "--out", root / "dsc", "--codec", "png")
    assert ran.code == 0, ran.err
    return str(root / "dsc")


def written(archive: str, out: Path, **options: Any) -> Source:
    report = export(archive, options.pop("tasks", None), out, to="lerobot", **options)
    assert report.written >= 5
    return open_source("lerobot", str(out))


def samples(source: Source) -> list[Mapping[str, Any]]:
    names = [task.name for task in source.tasks]
    return [source.read(n, names).arrays for n in range(len(source))]


# what comes back


def test_without_video_all_comes_back(archive: str, tmp_path: Path) -> None:
    source = written(archive, tmp_path / "out", image_format="png")
    dataset = dsc.open(archive, native=True)
    assert {task.name for task in source.tasks} == {task.name for task in dataset.tasks}
    for n, arrays in enumerate(samples(source)):
        before = dataset[n]
        for name, array in arrays.items():
            assert np.array_equal(np.asarray(array), np.asarray(before[name])), (n, name)


@pytest.mark.parametrize("image_format", ["av1", "h264:10"])
def test_videos_have_every_frame_in_its_place(archive, image_format, tmp_path):
    source = written(archive, tmp_path / "out", image_format=image_format)
    dataset = dsc.open(archive, native=True)
    for n, arrays in enumerate(samples(source)):
        before = dataset[n]
        difference = np.abs(arrays["top"].astype(int) - before["top"])
        assert difference.mean() < 4, n  # a frame further it is more
        assert np.array_equal(arrays["depth"], before["depth"])  # codes of the same parameters
        assert np.array_equal(arrays["image"], before["image"])  # `image` in LeRobot, too
        for name in ("state", "action", "timestamp", "next_done", "task"):
            assert np.array_equal(arrays[name], before[name])


def test_what_was_said_of_features_is_said_again(archive: str, tmp_path: Path) -> None:
    source = written(archive, tmp_path / "out", image_format="h264")
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    before = json.loads((Path(archive).parent / "data/meta/info.json").read_text())
    assert (info["fps"], info["robot_type"], info["codebase_version"]) == (10, "so100", "v3.0")
    assert info["splits"] == {"val": "0:1", "train": "1:3"}
    assert source.splits == {"val": LENGTHS[2], "train": LENGTHS[0] + LENGTHS[1]}  # type: ignore
    assert set(info["features"]) == set(before["features"])
    for name, feature in before["features"].items():
        own = info["features"][name]
        assert (own["dtype"], own["shape"], own["names"]) == (
            feature["dtype"], feature["shape"], feature["names"],
        )  # fmt: skip
    assert info["features"][TOP]["info"]["video.codec"] == "h264"
    assert info["features"][TOP]["info"]["video.fps"] == FPS


def test_rows_are_as_lerobot_has_them(archive: str, tmp_path: Path) -> None:
    written(archive, tmp_path / "out")
    data = parquet.read_table(tmp_path / "out/data/chunk-000/file-000.parquet")
    assert data.column("index").to_pylist() == list(range(sum(LENGTHS)))
    assert data.column("episode_index").to_pylist()[:17] == [0] * 16 + [1]
    assert data.column("frame_index").to_pylist()[14:18] == [14, 15, 0, 1]
    assert data.column("timestamp").to_pylist()[3] == np.float32(0.3)
    assert data.schema.field("observation.state").type == pa.list_(pa.float32(), 3)
    assert data.schema.field("next.done").type == pa.bool_()
    noted = json.loads(data.schema.metadata[b"huggingface"])["info"]["features"]
    assert noted[PNG] == {"_type": "Image"}
    assert noted["next.done"] == {"_type": "Value", "dtype": "bool"}
    file = parquet.ParquetFile(tmp_path / "out/data/chunk-000/file-000.parquet")
    assert file.num_row_groups == len(LENGTHS)  # one an episode
    episodes = parquet.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet")
    row = episodes.slice(1, 1).to_pylist()[0]
    assert (row["length"], row["dataset_from_index"], row["dataset_to_index"]) == (13, 16, 29)
    assert row[f"videos/{TOP}/from_timestamp"] == 1.6
    assert row["tasks"] == [TEXTS[0]]
    pandas = pytest.importorskip("pandas")
    tasks = pandas.read_parquet(tmp_path / "out/meta/tasks.parquet")
    assert [tasks.iloc[n].name for n in range(2)] == list(TEXTS)
    assert tasks["task_index"].tolist() == [0, 1]


def test_figures_are_those_of_all_values(archive: str, tmp_path: Path) -> None:
    source = written(archive, tmp_path / "out", image_format="png")
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    arrays = samples(source)
    state = np.stack([one["state"] for one in arrays]).astype(float)
    assert np.allclose(stats["observation.state"]["mean"], state.mean(axis=0))
    assert np.allclose(stats["observation.state"]["std"], state.std(axis=0))
    assert stats["observation.state"]["count"] == [sum(LENGTHS)]
    top = np.stack([one["top"] for one in arrays]).reshape(-1, 3) / 255
    for name, figure in (("mean", top.mean(0)), ("std", top.std(0)), ("min", top.min(0))):
        assert np.allclose(np.ravel(stats[TOP][name]), figure)
        assert np.shape(stats[TOP][name]) == (3, 1, 1)
    median = np.quantile(top, 0.5, axis=0, method="inverted_cdf")
    assert np.allclose(np.ravel(stats[TOP]["q50"]), median)
    assert stats["index"]["max"] == [sum(LENGTHS) - 1]


def test_figures_of_parts_add_up() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 200, (5, 4, 6, 3), np.uint8)
    whole, parts = Pixels(3, 256, 1.0), [Pixels(3, 256, 1.0) for _ in range(2)]
    numbers, halves = Numbers(), [Numbers(), Numbers()]
    for n, frame in enumerate(frames):
        whole.add(frame)
        parts[n % 2].add(frame)
        numbers.add(frame[0, 0])
        halves[n % 2].add(frame[0, 0])
    parts[0].merge(parts[1])
    halves[0].merge(halves[1])
    assert parts[0].stats() == whole.stats()
    assert halves[0].stats()["max"] == numbers.stats()["max"]


def test_files_are_parted_by_size(archive: str, tmp_path: Path) -> None:
    source = written(archive, tmp_path / "out", file_size=600)
    names = sorted(path.name for path in (tmp_path / "out/data/chunk-000").iterdir())
    assert names == ["file-000.parquet", "file-001.parquet", "file-002.parquet"]
    dataset = dsc.open(archive, native=True)
    for n, arrays in enumerate(samples(source)):
        assert np.array_equal(arrays["state"], dataset[n]["state"])
        assert np.array_equal(arrays["depth"], dataset[n]["depth"])


def test_the_same_archive_gives_the_same_bytes(archive: str, tmp_path: Path) -> None:
    def content(out: Path) -> dict[str, bytes]:
        written(archive, out)
        files = [path for path in out.rglob("*") if path.is_file()]
        return {str(path.relative_to(out)): path.read_bytes() for path in files}

    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_an_export_that_is_whole_is_kept(archive: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written(archive, out)
    report = export(archive, None, out, to="lerobot")
    assert (report.written, report.kept) == (0, 7)
    (out / "meta/info.json").unlink()  # as a killed one leaves it
    assert export(archive, None, out, to="lerobot").written == 7
    with pytest.raises(PlanMismatchError, match=r"not as --to lerobot .*--image-format png"):
        export(archive, None, out, to="lerobot", image_format="png")
    report = export(archive, None, out, to="lerobot", image_format="png", overwrite=True)
    assert report.written == 5
    assert not (out / "videos").exists() or not list((out / "videos").rglob("*.mp4"))


def test_some_samples_are_numbered_anew(archive: str, tmp_path: Path) -> None:
    where = f"task == '{TEXTS[0]}' and timestamp >= 0.45"
    out = tmp_path / "out"
    report = export(archive, ["top", "task"], out, to="lerobot", selection={"where": where})
    assert any("2 episodes whose frames had other numbers" in note for note in report.notes)
    source = open_source("lerobot", str(out))
    assert len(source) == LENGTHS[0] + LENGTHS[2] - 10
    assert source.key(11) == "episode_000001__000000"


# other archives


class Walk:
    """Frames of a recording that no robot made."""

    name = "walk"
    tasks = (
        Task(name="rgb", kind="image", dtype="uint8", channels=3),
        Task(name="depth", kind="depth", dtype="uint16", unit_m=0.0002, invalid=(0,)),
        Task(name="pose", kind="matrix", dtype="float64", shape=(4, 4)),
        Task(name="label", kind="label", dtype="uint8"),
        Task(name="speed", kind="vector", dtype="float32", channels=1),
    )

    def __init__(self, times: bool = True, size: int = 32, edit: Any = None) -> None:
        self._times, self._size, self._edit = times, size, edit

    def __len__(self) -> int:
        return 9

    def key(self, index: int) -> str:
        return f"w{index}"

    def place(self, index: int) -> SequencePlace | None:
        walk, frame = divmod(index, 5)
        return SequencePlace(
            f"walk-{walk}", 10 + frame, frame * 33_366_667 if self._times else None
        )

    def read(self, index: int, tasks: Any) -> SourceSample:
        size = self._size
        arrays: dict[str, Any] = {
            "rgb": np.full((size, size, 3), 20 * index, np.uint8),
            "depth": np.full((size, size), 5000 + index, np.uint16),
            "pose": np.eye(4) * index,
            "label": np.full((size, size), index, np.uint8),
            "speed": np.array([index / 2], np.float32),
        }
        if self._edit is not None:
            self._edit(index, arrays)
        own = {name: arrays[name] for name in tasks if name in arrays}
        return SourceSample(self.key(index), own, {name: 1 for name in own})

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "root": None, "options": {}, "fingerprint": "x"}


class Odd(Walk):
    """The same, taken by a clock that is not steady."""

    def place(self, index: int) -> SequencePlace | None:
        walk, frame = divmod(index, 5)
        late = 60_000_000 if frame == 3 else 0
        return SequencePlace(f"walk-{walk}", frame, 100_000_000 * frame + late)


class Apart(Walk):
    """Pictures that are frames of nothing."""

    def place(self, index: int) -> SequencePlace | None:
        return None


def far(index: int, arrays: dict[str, Any]) -> None:
    arrays["depth"][0, 0] = 60_000


def without_pose(index: int, arrays: dict[str, Any]) -> None:
    if index == 3:
        arrays.pop("pose")


def resize(index: int, arrays: dict[str, Any]) -> None:
    if index == 3:
        for name in ("rgb", "depth", "label"):
            arrays[name] = np.repeat(arrays[name], 2, axis=0)


def archive_of(tmp_path: Path, source: Any) -> str:
    out = str(tmp_path / "walk-dsc")
    compress(source, out, codec="rgb=png,depth=png,label=png,pose=plain,speed=plain", workers=1)
    return out


def test_any_recording_becomes_episodes(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, Walk())
    source = written(archive, tmp_path / "out", image_format="h264:5")
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert info["fps"] == 30
    assert [name for name in info["features"] if "." in name] == [
        "observation.images.rgb", "observation.images.depth", "observation.pose",
        "observation.images.label", "observation.speed",
    ]  # fmt: skip
    assert info["features"]["observation.images.label"]["dtype"] == "image"
    assert info["features"]["observation.speed"]["shape"] == [1]
    assert source.place(6)[:2] == ("episode_000001", 1)  # type: ignore[attr-defined]
    for n, arrays in enumerate(samples(source)):
        assert np.abs(arrays["rgb"].astype(int) - 20 * n).max() <= 3
        assert np.abs(arrays["depth"] * 0.001 - (5000 + n) * 0.0002).max() < 0.0013
        assert np.array_equal(arrays["pose"], np.eye(4) * n)
        assert np.array_equal(arrays["label"], np.full((32, 32), n))
        assert arrays["speed"] == np.float32(n / 2)
        assert arrays["task"].tobytes() == b"none"


def test_depth_of_another_unit_is_metres_without_video(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, Walk())
    written(archive, tmp_path / "out", image_format="png")
    source = open_source("lerobot", str(tmp_path / "out"), depth_unit=0.0002)
    assert source.read(4, ["depth"]).arrays["depth"][0, 0] == 5004


def test_what_has_no_times_needs_a_rate(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, Walk(times=False))
    with pytest.raises(UsageError, match=r"have no times.*give --fps"):
        export(archive, None, tmp_path / "out", to="lerobot")
    written(archive, tmp_path / "out", fps=29.97)
    assert json.loads((tmp_path / "out/meta/info.json").read_text())["fps"] == 29.97


def test_a_clock_that_is_not_steady_is_spoken_of(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, Odd())
    report = export(archive, ["pose"], tmp_path / "out", to="lerobot")
    assert any("times are not those of a steady rate" in note for note in report.notes)


def test_depth_beyond_codes_is_spoken_of(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, Walk(edit=far))
    report = export(archive, ["depth"], tmp_path / "out", to="lerobot")
    assert any("9 frames have depth beyond 10 m" in note for note in report.notes)


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        (Walk(edit=without_pose), {}, "sample w3 lacks pose, and LeRobot has every feature"),
        (Walk(edit=resize), {}, r"rgb of sample w3 has the shape \(64, 32, 3\), and the first"),
        (Walk(size=31), {}, "31×31 pixels, and video of av1 has an even number"),
        (Walk(), {"image_format": "gif"}, "--image-format gif: av1, h264, each with a crf"),
        (Walk(), {"image_format": "av1:90"}, "the crf of av1 is 0 to 63"),
        (Walk(), {"fps": -1.0}, "frames a second are above 0"),
        (Walk(), {"names": "keys"}, "--to lerobot has no option --names"),
    ],
)
def test_what_lerobot_cannot_hold_is_refused(source, options, said, tmp_path):
    archive = archive_of(tmp_path, source)
    with pytest.raises(UsageError, match=said):
        export(archive, None, tmp_path / "out", to="lerobot", **options)
    assert not list((tmp_path / "out").rglob("*.part*")) if (tmp_path / "out").exists() else True


def test_samples_of_no_recording_are_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, Apart())
    with pytest.raises(UsageError, match=r"sample w0 is of no recording.*--sequence-by"):
        export(archive, None, tmp_path / "out", to="lerobot")


def test_without_pyav_png_is_offered(archive, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=r"dsc\[video\]'.*or --image-format png"):
        export(archive, None, tmp_path / "out", to="lerobot")
    assert export(archive, None, tmp_path / "b", to="lerobot", image_format="png").written == 5


# through the command line, and by lerobot


def test_the_command_line_writes_it(archive: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = run_dsc("export", archive, "--to", "lerobot", "--image-format", "h264:20", "--out", out)
    assert ran.code == 0, ran.err
    assert "3 episodes, 10 frames a second" in ran.out
    assert "top, depth: video, which is a second loss" in " ".join(ran.out.split())
    found = run_dsc("compress", "lerobot", "--root", out, "--out", tmp_path / "again")
    assert found.code == 0, found.err


@pytest.mark.parametrize("image_format", ["av1", "png"])
def test_lerobot_reads_it(archive, image_format, tmp_path):
    datasets = pytest.importorskip(
        "lerobot.datasets.lerobot_dataset", reason="lerobot is installed by hand: pip install it"
    )
    source = written(archive, tmp_path / "out", image_format=image_format)
    root = tmp_path / "out"
    found = datasets.LeRobotDataset("somebody/something", root=root, video_backend="pyav")
    assert len(found) == len(source)
    for n in (0, 7, 20, len(source) - 1):
        arrays, item = source.read(n, ["top", "depth", "state", "task"]).arrays, found[n]
        top = np.rint(item[TOP].numpy().transpose(1, 2, 0) * 255)
        assert np.array_equal(top, arrays["top"])
        assert np.allclose(item["observation.state"].numpy(), arrays["state"])
        assert item["task"] == arrays["task"].tobytes().decode()
        metres = item["observation.images.depth"].numpy()[0]
        known = arrays["depth"] > 0
        assert np.abs(metres[known] - arrays["depth"][known]).max() <= 1.0
