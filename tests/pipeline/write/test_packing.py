"""Packs that compress together, from the source to the sample: chosen, grown, fetched, streamed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import dsc
from dsc._pipeline.read.columns import ArchiveColumns
from dsc._pipeline.write import packing
from dsc._schemas import Task
from dsc._sources.base import SourceSample
from dsc._storage.files.root import Root
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc._storage.read.verify import verify_archive
from dsc.errors import UnknownTaskError, UsageError
from tests.everything import COLUMNS, TASKS, VALUES, EverythingSource, same, values

WORDS = [
    a + b + c
    for a in ("chair", "lamp", "wind", "old")
    for b in "abcdefghij"
    for c in ("ing", "ed", "table", "or", "wood", "glass", "er", "ment", "ful", "ly")
]


class Captions:
    """`n` captions and numbers, no maps."""

    name: ClassVar[str] = "captions"
    tasks = (
        Task(name="caption", kind="text", dtype="uint8"),
        Task(name="scene", kind="class", dtype="int64", channels=0),
        Task(name="sound", kind="bytes", dtype="uint8"),
    )

    def __init__(self, n: int, first: int = 0, sound: int = 0) -> None:
        self._n, self._first, self._sound = n, first, sound

    def __len__(self) -> int:
        return self._n

    def key(self, index: int) -> str:
        return f"c{self._first + index:06d}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        found = {name: self.value(name, index + self._first) for name in tasks}
        return SourceSample(self.key(index), found, {})

    def value(self, name: str, index: int) -> Any:
        rng = np.random.default_rng(index)
        words = " ".join(WORDS[k] for k in rng.integers(0, len(WORDS), 9))
        return {"caption": words, "scene": index % 7, "sound": rng.bytes(self._sound)}[name]

    def describe(self) -> dict[str, Any]:
        options = {"n": self._n, "first": self._first, "sound": self._sound}
        return {"name": self.name, "root": None, "options": options, "fingerprint": str(options)}


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def check(archive: Path, indices: range) -> None:
    data = dsc.open(archive)
    for at, index in enumerate(indices):
        for task in VALUES:
            assert same(task, data[at].get(task), index)
    assert verify_archive(archive) == []


def sizes(archive: Path) -> dict[str, int | None]:
    return {stream.name: stream.pack_size for stream in Archive.open(archive).manifest.streams}


def test_every_kind_comes_back_from_packs_of_its_own_size(tmp_path: Path) -> None:
    manifest = dsc.compress(EverythingSource(120), tmp_path, shard_size=50, pack=8)
    assert manifest.format_version == 2
    assert sizes(tmp_path) == {"rgb": None, **dict.fromkeys(VALUES, 56)}
    check(tmp_path, range(120))
    archive = Archive.open(tmp_path)
    assert all(archive.is_column(name) for name in VALUES)
    found = {}
    for batch in dsc.stream(tmp_path, batch_size=7, seed=1, output="numpy", missing="none"):
        for at, index in enumerate(batch["__index__"]):
            found[int(index)] = {name: batch[name][at] for name in ("scene", "caption", "pose")}
    assert sorted(found) == list(range(120))
    assert all(same(name, value, k) for k, one in found.items() for name, value in one.items())


def test_an_archive_of_maps_alone_is_as_it_was(tmp_path: Path) -> None:
    manifest = dsc.compress(EverythingSource(9), tmp_path, tasks="rgb")
    assert manifest.format_version == 1
    text = (tmp_path / "dsc.json").read_text()
    assert "compressed" not in text
    assert '"format_version": 1' in text


def test_a_copy_of_the_maps_alone_can_be_read_by_older_versions(tmp_path: Path) -> None:
    dsc.compress(EverythingSource(20), tmp_path / "whole", shard_size=8, pack=2)
    dsc.fetch(tmp_path / "whole", "rgb", tmp_path / "maps")
    dsc.fetch(tmp_path / "whole", "caption,pose", tmp_path / "values")
    assert Archive.open(tmp_path / "maps").manifest.format_version == 1
    assert Archive.open(tmp_path / "values").manifest.format_version == 2
    for copy in ("maps", "values"):
        assert verify_archive(tmp_path / copy) == []
    assert dsc.open(tmp_path / "values")[5]["caption"] == values(5)["caption"]


class Later(EverythingSource):
    """The samples behind those of another source."""

    def __init__(self, n: int, first: int, tasks: tuple[Task, ...] = TASKS) -> None:
        super().__init__(n)
        self._first, self._tasks = first, tasks

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self._tasks

    def key(self, index: int) -> str:
        return f"sample_{self._first + index}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        return SourceSample(self.key(index), super().read(index + self._first, tasks).arrays, {})


def test_an_archive_grows_by_samples_and_by_tasks(tmp_path: Path) -> None:
    rgb = TASKS[:1]
    dsc.compress(Later(30, 0, rgb), tmp_path, shard_size=12, pack=3)
    dsc.append(tmp_path, Later(30, 0), tasks=[*VALUES], columns="scene")
    manifest = Archive.open(tmp_path).manifest
    assert manifest.format_version == 2
    check(tmp_path, range(30))
    dsc.append(tmp_path, Later(17, 30), missing="none")
    assert len(Archive.open(tmp_path)) == 47
    check(tmp_path, range(47))
    with pytest.raises(UsageError, match="--columns: the archive has"):
        dsc.append(tmp_path, Later(4, 47), columns="scene")


def test_text_gets_a_dictionary_where_it_pays_and_runs_give_the_same_bytes(tmp_path: Path) -> None:
    big = Captions(4200)
    for name in ("one", "two"):
        dsc.compress(big, tmp_path / name, tasks="caption,scene", shard_size=100, pack=50)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    archive = Archive.open(tmp_path / "one")
    codecs = {codec.streams: codec.weights_sha256 is not None for codec in archive.manifest.codecs}
    assert codecs == {("scene",): False, ("caption",): True}
    data = dsc.open(tmp_path / "one")
    for index in range(0, 4200, 311):
        assert data[index]["caption"] == big.value("caption", index)
    dsc.append(tmp_path / "one", Captions(700, 4200), missing="none")
    assert dsc.open(tmp_path / "one")[4850]["caption"] == big.value("caption", 4850)
    assert verify_archive(tmp_path / "one") == []
    dsc.fetch(tmp_path / "one", "scene", tmp_path / "scene")
    assert not list((tmp_path / "scene").glob("codecs/*"))
    small = dsc.compress(Captions(500), tmp_path / "small", tasks="caption")
    assert not any(codec.weights_sha256 for codec in small.codecs)


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: Any) -> None:
    asked: Any = {"tasks": "caption,scene", "shard_size": 500, "pack": 100, "columns": ["scene"]}
    dsc.compress(Captions(5000), tmp_path / "whole", **asked)
    written = Root.write
    monkeypatch.setattr(
        Root, "write", lambda self, path, data: _stopping(written, self, path, data)
    )
    with pytest.raises(KeyboardInterrupt):
        dsc.compress(Captions(5000), tmp_path / "part", **asked)
    monkeypatch.undo()
    dsc.compress(Captions(5000), tmp_path / "part", **asked)
    assert files(tmp_path / "part") == files(tmp_path / "whole")
    dsc.compress(Captions(5000), tmp_path / "part", **asked)  # finished: nothing to do


def _stopping(written: Any, root: Root, path: str, data: bytes) -> None:
    if "records/train-000004" in path:
        raise KeyboardInterrupt
    written(root, path, data)


def test_long_payloads_are_compressed_each_by_itself(tmp_path: Path) -> None:
    source = Captions(12, sound=20_000)
    dsc.compress(source, tmp_path, shard_size=12, pack=4)
    streams = {s.name: (s.compressed, s.pack_size) for s in Archive.open(tmp_path).manifest.streams}
    assert streams["sound"] == ("each", None)
    assert dsc.open(tmp_path)[7]["sound"] == source.value("sound", 7)
    dsc.compress(source, tmp_path / "asked", shard_size=12, pack=4, columns="sound")
    assert sizes(tmp_path / "asked")["sound"] == 12
    assert dsc.open(tmp_path / "asked")[7]["sound"] == source.value("sound", 7)


def test_a_column_of_long_values_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(packing, "COLUMN_RAW", 100_000)
    source = Captions(12, sound=20_000)
    with pytest.raises(UsageError, match=r"--columns sound: .*--shard-size of at most"):
        dsc.compress(source, tmp_path / "a", shard_size=12, pack=4, columns="sound")
    dsc.compress(source, tmp_path / "b", shard_size=3, pack=1, columns="sound")


def test_columns_that_can_be_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--columns rgb: rgb holds image maps.*scene, caption"):
        dsc.compress(EverythingSource(4), tmp_path, columns="rgb")
    with pytest.raises(UnknownTaskError, match="--columns: no task 'mood' here; found: rgb, scene"):
        dsc.compress(EverythingSource(4), tmp_path, columns="mood")
    with pytest.raises(UsageError, match="codec vector does not leave"):
        dsc.compress(EverythingSource(4), tmp_path, codec="scene=vector", columns="scene")


@pytest.fixture(scope="module", params=[None, "scene=vector,gains=vector"])
def values_of_23(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    root = tmp_path_factory.mktemp("values")
    source = EverythingSource(23)
    dsc.compress(source, root, tasks=VALUES, shard_size=10, pack=4, codec=request.param)
    return Archive.open(root)


@pytest.mark.parametrize("task", [name for name in COLUMNS if name != "sound"])
def test_a_column_is_read_at_once(values_of_23: Archive, task: str) -> None:
    columns = ArchiveColumns(values_of_23, PackReader(values_of_23))
    found = [columns.read(task, shard) for shard in range(3)]
    there = np.concatenate([column.there for column in found])
    assert there.tolist() == [values(index)[task] is not None for index in range(23)]
    kind = next(one for one in TASKS if one.name == task)
    if not kind.varies:
        given = np.concatenate([column.values for column in found])  # type: ignore[attr-defined]
        assert all(same(task, given[k].astype(kind.dtype), k) for k in range(23))


def test_sizes_of_files_are_a_column_however_they_are_packed(tmp_path: Path) -> None:
    for name, size in (("together", 9), ("each", 20_000)):
        dsc.compress(Captions(12, sound=size), tmp_path / name, shard_size=12, pack=4)
        archive = Archive.open(tmp_path / name)
        column = ArchiveColumns(archive, PackReader(archive)).read("sound", 0)
        assert column.values.tolist() == [size] * 12  # type: ignore[attr-defined]


class Floats:
    """Poses, scalars and boxes, some of them no numbers."""

    name: ClassVar[str] = "floats"
    tasks = (
        Task(name="pose", kind="matrix", dtype="float64", shape=(4, 4)),
        Task(name="height", kind="scalar", dtype="float32", channels=0),
        Task(name="boxes", kind="matrix", dtype="float32", shape=(-1, 4)),
        Task(name="taken", kind="time", dtype="int64", channels=0),
    )

    def __len__(self) -> int:
        return 60

    def key(self, index: int) -> str:
        return f"f{index}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        values = self.values(index)
        return SourceSample(self.key(index), {name: values[name] for name in tasks}, {})

    def values(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng(index)
        pose = rng.normal(size=(4, 4)) * 10.0 ** rng.integers(-6, 9)
        pose[0, :3] = [[np.nan, 0, -0.0], [np.inf, -np.inf, 1e300]][index % 2]
        boxes = (rng.random((index % 3, 4)) * 1e6).astype(np.float32)
        height = np.array(rng.normal() * 1e5, np.float32)
        return {"pose": pose, "height": height, "boxes": boxes, "taken": np.array(index)}

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "root": None, "options": {}, "fingerprint": ""}


@pytest.mark.parametrize("bound", ["0.0001", "0.5", "3e-7", "120"])
def test_floats_are_rounded_within_their_bound(tmp_path: Path, bound: str) -> None:
    asked = f"pose={bound},height={bound},boxes={bound}"
    manifest = dsc.compress(Floats(), tmp_path / "rounded", max_error=asked)
    exact = dsc.compress(Floats(), tmp_path / "exact")
    data = dsc.open(tmp_path / "rounded")
    for index in range(60):
        for name, value in Floats().values(index).items():
            found = data[index][name]
            finite = np.isfinite(value)
            assert found.dtype == value.dtype
            np.testing.assert_array_equal(found[~finite], value[~finite])
            error = np.abs(found[finite].astype(float) - value[finite].astype(float))
            assert (error <= (0 if name == "taken" else float(bound))).all()
    assert verify_archive(tmp_path / "rounded") == []
    assert {one.task: one.unit for one in manifest.reached} == dict.fromkeys(
        ("pose", "height", "boxes"), "units"
    )
    if float(bound) > 1e-5:
        assert manifest.totals["pose"].payload_bytes < 0.9 * exact.totals["pose"].payload_bytes


@pytest.mark.parametrize(
    "asked", ["taken=1", "pose=1cm", "pose=-1", "pose=nan", "pose=1e-320", "pose=1e308"]
)
def test_bounds_that_mean_nothing_are_refused(tmp_path: Path, asked: str) -> None:
    with pytest.raises(UsageError, match="--max-error"):
        dsc.compress(Floats(), tmp_path, max_error=asked)
    with pytest.raises(UsageError, match="vector keeps no bound of gains; use plain"):
        dsc.compress(EverythingSource(4), tmp_path, codec="gains=vector", max_error="gains=1")
