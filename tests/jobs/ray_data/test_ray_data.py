"""An archive as a ray.data dataset: its samples once each, its values, and only its bytes."""

import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import dsc
from dsc._bench.server import serve
from dsc._jobs.ray_data.dataset import read_archive
from dsc._jobs.ray_data.plan import ReadPlan
from dsc._schemas import Extractor, Preprocessing, Task, TaskKind
from dsc._storage.format.pack import encode_pack
from dsc._storage.read.archive import Archive
from dsc._stream.source import StreamSource
from dsc.errors import BitstreamError, CorruptPackError, UnknownTaskError, UsageError
from tests.archives import build_archive
from tests.jobs.sources import PixelSource
from tests.places import ROOT

N = 23
GIVEN: dict[str, Any] = {"codec": "png", "shard_size": 8, "pack": 2}
SCENE = Task(name="scene", kind=TaskKind.CLASS, dtype="int64", channels=0)
POSE = Task(name="pose", kind=TaskKind.VECTOR, dtype="float64", channels=7)

SEEN = Extractor(
    backbone="none", weights_sha256="0" * 64, layer="last", of="rgb",
    preprocessing=Preprocessing(side=None, mean=(0.0,) * 3, std=(1.0,) * 3),
)  # fmt: skip
MAPS = Task(
    name="maps", kind=TaskKind.FEATURE, dtype="float16", channels=4, shape=(4, 2, 3), extractor=SEEN
)

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]


@dataclass(frozen=True)
class VariedSource(PixelSource):
    """Pictures of several sizes, a class that some samples lack, and a pose."""

    name: ClassVar[str] = "varied"

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (*super().tasks[:2], SCENE, POSE)

    def arrays(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, index])
        size = (8, 12) if index < 8 else (8 + index % 3, 12)
        arrays = {
            "rgb": rng.integers(0, 256, (*size, 3), np.uint8),
            "depth": rng.integers(0, 4000, size, np.uint16),
            "scene": np.array(index % 4, np.int64),
            "pose": rng.standard_normal(7),
        }
        if index % 5 == 2:
            del arrays["scene"]
        return arrays


@dataclass(frozen=True)
class SeenSource(PixelSource):
    """Pictures, feature maps of them that some samples lack, and a class."""

    name: ClassVar[str] = "seen"

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (super().tasks[0], MAPS, SCENE)

    def arrays(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, index])
        maps = {"maps": rng.standard_normal((4, 2, 3)).astype(np.float16)}
        return {
            "rgb": rng.integers(0, 256, (8, 12, 3), np.uint8),
            **(maps if index % 5 != 2 else {}),
            "scene": np.array(index % 4, np.int64),
        }


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ray_data") / "pixels"
    dsc.compress(PixelSource(n=N), out, **GIVEN)
    return out


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ray_data") / "varied"
    dsc.compress(VariedSource(n=N), out, **GIVEN)
    return out


@pytest.fixture
def own_copy(archive: Path, tmp_path: Path) -> Path:
    for path in archive.rglob("*"):
        if path.is_file():
            target = tmp_path / "copy" / path.relative_to(archive)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path / "copy"


def check_rows(rows: Sequence[dict[str, Any]], url: Path, **how: Any) -> None:
    """Check that the rows are the samples of an archive, once each, in whatever order."""
    expected = dsc.open(url, **how)
    keys = list(expected.keys())
    assert sorted(row["__index__"] for row in rows) == list(range(len(expected)))
    for row in rows:
        index = row.pop("__index__")
        assert row.pop("__key__") == keys[index]
        sample = expected[index]
        assert list(row) == list(sample)
        for name, value in sample.items():
            if value is None:
                assert row[name] is None
                continue
            found = np.asarray(row[name])
            assert (found.dtype, found.shape) == (value.dtype, value.shape)
            assert np.array_equal(found, value, equal_nan=value.dtype.kind == "f")


@pytest.mark.parametrize("parallelism", [1, 5, 1000, -1])
def test_every_sample_comes_once_and_as_it_was_stored(
    ray_session: Any, archive: Path, parallelism: int
) -> None:
    check_rows(read_archive(archive, parallelism=parallelism).take_all(), archive)


def test_native_integers_come_on_request(ray_session: Any, archive: Path) -> None:
    rows = read_archive(archive, "depth,rgb", native=True, parallelism=2).take_all()
    check_rows(rows, archive, tasks="depth,rgb", native=True)


def test_sizes_that_differ_classes_and_vectors_come_as_they_are(
    ray_session: Any, varied: Path
) -> None:
    dataset = read_archive(varied, parallelism=3)
    check_rows(dataset.take_all(), varied)
    (batch,) = dataset.select_columns(["rgb", "pose", "scene"]).iter_batches(batch_size=N)
    assert {picture.shape for picture in batch["rgb"]} == {(8, 12, 3), (9, 12, 3), (10, 12, 3)}
    assert batch["pose"].shape == (N, 7)
    assert int(np.isnan(batch["scene"]).sum()) == 5


def test_bitstreams_come_as_they_are_stored(ray_session: Any, archive: Path) -> None:
    rows = read_archive(archive, "label,rgb", decode="bytes", parallelism=2).take_all()
    stored = Archive.open(archive)
    assert len(rows) == N
    for row in rows:
        assert list(row) == ["__key__", "__index__", "rgb", "label"]
        for name, data in stored.payloads(row["__index__"], ["rgb", "label"]).items():
            assert row[name] == (None if data is None else bytes(data))


def test_heads_get_float32_features_and_no_pictures(ray_session: Any, tmp_path: Path) -> None:
    dsc.compress(SeenSource(n=N), tmp_path / "seen", exact=True, shard_size=8, pack=2)
    expected = dsc.open(tmp_path / "seen")
    rows = read_archive(tmp_path / "seen", decode="features", parallelism=3).take_all()
    assert len(rows) == N
    for row in rows:
        assert list(row) == ["__key__", "__index__", "maps", "scene"]
        sample = expected[row["__index__"]]
        assert row["scene"] == sample["scene"]
        if sample["maps"] is None:
            assert row["maps"] is None
            continue
        assert sample["maps"].dtype == np.float16
        assert row["maps"].dtype == np.float32
        assert np.array_equal(row["maps"], sample["maps"])
    named = read_archive(tmp_path / "seen", "rgb,maps", decode="features")
    assert named.columns() == ["__key__", "__index__", "rgb", "maps"]
    with pytest.raises(UsageError, match="no feature maps and no embeddings"):
        read_archive(tmp_path / "seen", "rgb", decode="features")


def test_counting_reads_nothing_and_names_the_files_that_would_be_read(
    ray_session: Any, own_copy: Path
) -> None:
    dataset = read_archive(own_copy, "depth")
    files = sorted(str(path) for path in own_copy.glob("depth/*.tar"))
    for path in own_copy.rglob("*.tar"):
        path.unlink()
    assert dataset.count() == N
    assert sorted(dataset.input_files()) == files


def test_batches_are_mapped_and_become_tensors(ray_session: Any, archive: Path) -> None:
    dataset = read_archive(archive, "rgb,depth", parallelism=3)
    means = dataset.map_batches(
        lambda batch: {"i": batch["__index__"], "mean": batch["rgb"].mean((1, 2, 3))}
    )
    expected = dsc.open(archive, "rgb,depth")
    for row in means.take_all():
        assert row["mean"] == expected[row["i"]]["rgb"].mean()
    seen = []
    for batch in dataset.drop_columns(["__key__"]).iter_torch_batches(batch_size=10):
        assert batch["rgb"].shape[1:] == (8, 12, 3)
        for index, depth in zip(batch["__index__"], batch["depth"], strict=True):
            seen.append(int(index))
            assert np.array_equal(depth.numpy(), expected[int(index)]["depth"], equal_nan=True)
    assert sorted(seen) == list(range(N))


def test_samples_without_a_task_can_be_filtered_out(ray_session: Any, archive: Path) -> None:
    whole = read_archive(archive, "label", parallelism=2).filter(
        lambda row: row["label"] is not None
    )
    batches = list(whole.select_columns(["label"]).iter_torch_batches(batch_size=6))
    assert sum(len(batch["label"]) for batch in batches) == N - 5
    assert all(batch["label"].shape[1:] == (8, 12) for batch in batches)


@pytest.mark.parametrize("select", [False, True])
def test_only_the_streams_that_are_needed_are_fetched(
    ray_session: Any, archive: Path, select: bool
) -> None:
    with serve(archive) as (url, traffic):
        dataset = read_archive(url, None if select else "depth", parallelism=4)
        traffic.sent.clear()
        if select:
            dataset = dataset.select_columns(["depth"])
        assert len(dataset.take_all()) == N
    stored = sum(path.stat().st_size for path in archive.glob("depth/*"))
    assert 0 < traffic.total("depth/") <= 1.02 * stored
    assert not traffic.total("rgb/") + traffic.total("label/")
    assert bool(traffic.total("keys/")) is not select


def test_an_archive_that_changes_meanwhile_is_read_as_it_was(
    ray_session: Any, own_copy: Path, archive: Path
) -> None:
    dataset = read_archive(own_copy, parallelism=2)
    (own_copy / "dsc.json").unlink()
    (own_copy / "shards.jsonl").unlink()
    check_rows(dataset.take_all(), archive)


def damage(root: Path, index: int, stream: str = "depth") -> tuple[str, str]:
    """Flip a byte of a sample's bitstream; give its file and key."""
    archive = Archive.open(root)
    shard, pack, k = archive.locate(index)
    path = archive.shards[shard].streams[stream].path
    payload = archive.read_pack(shard, stream, pack).payloads[k]
    assert payload is not None
    data = bytearray((root / path).read_bytes())
    at = data.index(bytes(payload))
    data[at + len(payload) // 2] ^= 1
    (root / path).write_bytes(data)
    return path, archive.key(index)


def test_damage_is_an_error_that_names_file_and_key(ray_session: Any, own_copy: Path) -> None:
    path, key = damage(own_copy, 11)
    with pytest.raises(CorruptPackError, match=f"(?s){path}.*{key}"):
        read_archive(own_copy, parallelism=3).take_all()
    assert len(read_archive(own_copy, "rgb", parallelism=3).take_all()) == N


def test_a_bitstream_that_cannot_be_decoded_is_named(ray_session: Any, own_copy: Path) -> None:
    archive = Archive.open(own_copy)
    pack, path = archive.read_pack(0, "depth", 1), archive.shards[0].streams["depth"].path
    whole = [bytes(payload or b"") for payload in pack.payloads]
    noise = encode_pack([whole[0], bytes(len(whole[1]))], pack.first_index, pack.codec_slot)
    true = encode_pack(whole, pack.first_index, pack.codec_slot)
    data = (own_copy / path).read_bytes()
    assert true in data
    (own_copy / path).write_bytes(data.replace(true, noise))
    with pytest.raises(BitstreamError, match=f"(?s){path}: pack 1, sample {archive.key(3)}"):
        read_archive(own_copy, "depth", parallelism=1).take_all()


def test_errored_blocks_that_are_allowed_cost_the_damaged_pack_alone(
    ray_session: Any, own_copy: Path
) -> None:
    from ray.data import DataContext

    damage(own_copy, 11)
    context = DataContext.get_current()
    context.max_errored_blocks = 1
    try:
        rows = read_archive(own_copy, parallelism=N).take_all()
    finally:
        context.max_errored_blocks = 0
    assert sorted(row["__index__"] for row in rows) == [i for i in range(N) if i not in (10, 11)]


def test_sizes_are_known_before_anything_is_read(ray_session: Any, archive: Path) -> None:
    arrays = 8 * 12 * 3 + 8 * 12 * 4
    plan = ReadPlan.of(StreamSource.open(str(archive), "rgb,depth", None), False, "pixels")
    assert arrays <= plan.row_bytes <= arrays + 100
    assert N * arrays <= read_archive(archive, "rgb,depth").size_bytes() <= N * (arrays + 100)


@pytest.mark.parametrize(("shard_size", "pack"), [(1, 1), (5, 2), (40, 3)])
def test_runs_hold_every_pack_once_whatever_the_parallelism(
    tmp_path: Path, shard_size: int, pack: int
) -> None:
    build_archive(tmp_path, n=13, shard_size=shard_size, pack_size=pack)
    plan = ReadPlan.of(StreamSource.open(str(tmp_path), None, None), False, "bytes")
    packs = len(plan.source.packs.shard)
    for parallelism in range(1, 30):
        runs = plan.runs(parallelism)
        assert [number for run in runs for number in run] == list(range(packs))
        assert sum(plan.rows(run) for run in runs) == 13
        assert len(runs) == min(parallelism, packs)
        assert max(map(len, runs)) - min(map(len, runs)) <= 1


def test_the_page_about_ray_runs_as_it_is_written(ray_session: Any, tmp_path: Path) -> None:
    dsc.compress("taskonomy", tmp_path, sample=20, size=32, tasks="rgb,depth", codec="png")
    page = (ROOT / "docs" / "ray.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block.replace("ARCHIVE", str(tmp_path)), names)
    assert len(names["batch"]["rgb"]) == 20 - 16
    assert callable(names["train"])


@pytest.mark.parametrize("read_bytes", [1, 1 << 20])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_blocks_and_reads_of_any_size_hold_every_sample(
    ray_session: Any, archive: Path, monkeypatch: pytest.MonkeyPatch, rows: int, read_bytes: int
) -> None:
    from dsc._jobs.ray_data import datasource as ray_datasource

    plan = ReadPlan.of(StreamSource.open(str(archive), "rgb", None), False, "pixels")
    monkeypatch.setattr(ray_datasource, "BLOCK_BYTES", rows * plan.row_bytes)
    monkeypatch.setattr(ray_datasource, "READ_BYTES", read_bytes)
    (run,) = plan.runs(1)
    tables = list(ray_datasource.read_run(*ray_datasource.open_plan(plan), run))
    assert max(len(table) for table in tables) <= rows
    assert [i for table in tables for i in table["__index__"].to_pylist()] == list(range(N))


def test_what_cannot_be_honoured_is_refused_at_once(archive: Path) -> None:
    with pytest.raises(UnknownTaskError, match=r"no task 'edges'.*found: rgb, depth, label"):
        read_archive(archive, "edges")
    with pytest.raises(UsageError, match="no split 'test'; found: train"):
        read_archive(archive, split="test")
    with pytest.raises(UsageError, match="decode='latents'"):
        read_archive(archive, decode="latents")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="parallelism=0"):
        read_archive(archive, parallelism=0)


def test_a_killed_reader_loses_and_repeats_nothing(
    ray_session: Any, archive: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "killed"

    def kill_once(batch: dict[str, Any]) -> dict[str, Any]:
        if 12 in batch["__index__"] and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return batch

    dataset = read_archive(archive, parallelism=4).map_batches(kill_once, batch_size=None)
    check_rows(dataset.take_all(), archive)
    assert mark.exists()
