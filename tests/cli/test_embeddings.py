"""Embeddings of a data set's own from compress to export, as a user meets them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsc
from dsc._bench.server import serve
from dsc._pipeline.metrics import cosine_distance
from tests.cli.conftest import run_dsc
from tests.codecs.test_embedding import rectified, signed

COUNT, MORE, LENGTH = 40, 4, 512
CLIP = signed(COUNT + MORE, LENGTH).astype(np.float32)
LOOKS = rectified(COUNT + MORE, LENGTH).astype(np.float16)
KINDS = ("--kinds", "clip=embedding")


def write(root: Path, first: int = 0, last: int = COUNT) -> Path:
    rng = np.random.default_rng(3)
    for folder in ("rgb", "clip", "embedding"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index in range(first, last):
        picture = rng.integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(picture).save(root / f"rgb/{index:03d}.png")
        np.save(root / f"clip/{index:03d}.npy", CLIP[index])
        np.save(root / f"embedding/{index:03d}.npy", LOOKS[index])
    return root


def run(*words: object) -> str:
    ran = run_dsc(*words)
    assert ran.code == 0, ran.err + ran.out
    return ran.out + ran.err


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def archive(files: Path) -> Path:
    out = files.parent / "archive"
    run("compress", "folder", "--root", files, *KINDS, "--out", out)
    return out


def clips(archive: Path, name: str = "clip") -> np.ndarray:
    opened = dsc.open(archive)
    keys = sorted(range(len(opened)), key=lambda at: str(opened.origin(at).name))
    return np.array([opened[at][name] for at in keys])


def test_the_run_says_what_is_an_embedding_and_why(files: Path, tmp_path: Path) -> None:
    said = run("compress", "folder", "--root", files, "--out", tmp_path / "a")
    assert "named like embeddings, which come back with a small loss" in said
    assert "clip: its 512 floats are stored exactly" in said
    assert "--kinds clip=embedding" in said
    assert np.array_equal(clips(tmp_path / "a"), CLIP[:COUNT])
    assert not np.array_equal(clips(tmp_path / "a", "embedding"), LOOKS[:COUNT])


def test_they_come_back_near_in_a_few_hundredths_of_the_bytes(archive: Path) -> None:
    rows = json.loads(run("info", archive, "--json"))["rows"]
    sizes = {row["name"]: row["payload_bytes"] / COUNT for row in rows}
    for name, wanted in (("clip", CLIP), ("embedding", LOOKS)):
        assert sizes[name] < wanted[0].nbytes * 0.08
        found = clips(archive, name)
        assert found.dtype == wanted.dtype
        losses = [cosine_distance(*pair) for pair in zip(wanted, found, strict=False)]
        assert 0 < max(losses) < 0.15


def test_verify_tells_the_distance_to_the_source(archive: Path, files: Path) -> None:
    run("verify", archive, "--deep")
    said = run("verify", archive, "--against", files)
    assert "cosine distance" in said


@pytest.mark.parametrize("asked", [("--exact",), ("--kinds", "clip=vector,embedding=vector")])
def test_asked_for_exact_ones_nothing_is_lost(files: Path, tmp_path: Path, asked: tuple) -> None:
    kinds = KINDS if asked == ("--exact",) else ()
    run("compress", "folder", "--root", files, *kinds, *asked, "--out", tmp_path / "a")
    assert np.array_equal(clips(tmp_path / "a"), CLIP[:COUNT])
    assert np.array_equal(clips(tmp_path / "a", "embedding"), LOOKS[:COUNT])


def test_a_target_is_met_by_each_vector(files: Path, tmp_path: Path) -> None:
    asked = ("--target", "clip=0.01cos,embedding=0.05rel")
    said = run("compress", "folder", "--root", files, *KINDS, *asked, "--out", tmp_path / "a")
    assert "0.01 cos" in said
    for wanted, found in zip(CLIP, clips(tmp_path / "a"), strict=False):
        assert 0.005 < cosine_distance(wanted, found) <= 0.01
    back = clips(tmp_path / "a", "embedding").astype(float)
    truth = LOOKS[:COUNT].astype(float)
    assert (np.sum((back - truth) ** 2, 1) <= 0.05 * np.sum(truth**2, 1)).all()


def test_a_bound_holds_for_each_component(files: Path, tmp_path: Path) -> None:
    asked = ("--max-error", "clip=0.002,embedding=0.01")
    run("compress", "folder", "--root", files, *KINDS, *asked, "--out", tmp_path / "a")
    assert np.abs(clips(tmp_path / "a") - CLIP[:COUNT]).max() <= 0.002
    back = clips(tmp_path / "a", "embedding").astype(float)
    assert np.abs(back - LOOKS[:COUNT]).max() <= 0.01


def test_a_target_of_a_vector_says_what_would_take_one(files: Path, tmp_path: Path) -> None:
    asked = ("--target", "clip=0.01cos")
    ran = run_dsc("compress", "folder", "--root", files, *asked, "--out", tmp_path / "a")
    assert ran.code
    assert "say --kinds clip=embedding" in ran.err


def test_fetching_them_takes_not_one_byte_of_a_picture(archive: Path, tmp_path: Path) -> None:
    with serve(archive.parent) as (url, traffic):
        dsc.fetch(f"{url}/archive", "clip", tmp_path / "alone")
        assert {path.split("/")[-2] for path in traffic.requests if ".tar" in path} == {"clip"}
    assert np.array_equal(clips(tmp_path / "alone"), clips(archive))


def test_they_stream_as_rows_of_floats(archive: Path) -> None:
    loop = dsc.stream(archive, tasks="clip,embedding", batch_size=8, output="numpy")
    batches = list(loop)
    assert all(one["clip"].shape == (8, LENGTH) for one in batches)
    assert {one["clip"].dtype for one in batches} == {np.dtype("float32")}
    assert {one["embedding"].dtype for one in batches} == {np.dtype("float16")}
    total = np.concatenate([one["clip"] for one in batches])
    assert np.allclose(np.sort(total, axis=0), np.sort(clips(archive), axis=0))


def test_new_samples_are_coded_as_the_archives_own(archive: Path, tmp_path: Path) -> None:
    import shutil

    grown = Path(shutil.copytree(archive, tmp_path / "grown"))
    before = [one.sha256 for one in dsc.open(grown).manifest.files if "codecs/" in one.path]
    run("append", grown, "folder", "--root", write(tmp_path / "new", COUNT, COUNT + MORE), *KINDS)
    after = [one.sha256 for one in dsc.open(grown).manifest.files if "codecs/" in one.path]
    assert before == after
    assert np.array_equal(clips(grown)[:COUNT], clips(archive))
    assert cosine_distance(CLIP[-1], clips(grown)[-1]) < 0.15


def test_they_join_an_archive_as_a_task(files: Path, tmp_path: Path) -> None:
    run("compress", "folder", "--root", files, "--tasks", "rgb", "--out", tmp_path / "a")
    run("append", tmp_path / "a", "folder", "--root", files, "--tasks", "clip", *KINDS)
    assert cosine_distance(CLIP[5], clips(tmp_path / "a")[5]) < 0.15
    run("verify", tmp_path / "a", "--deep")


def test_they_are_exported_as_files_of_floats(archive: Path, tmp_path: Path) -> None:
    run("export", archive, "--out", tmp_path / "files", "--tasks", "clip")
    found = np.load(next((tmp_path / "files").rglob("007.npy")))
    assert np.array_equal(found, clips(archive)[7])


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        (np.where(np.arange(LENGTH) == 3, np.nan, CLIP[0]), ["031", "component 3 is nan"]),
        (CLIP[0][:500], ["031", "500"]),
    ],
    ids=["nan", "another length"],
)
def test_a_vector_that_cannot_be_coded_is_named(
    tmp_path: Path, vector: np.ndarray, words: list[str]
) -> None:
    root = write(tmp_path / "files")
    np.save(root / "clip/031.npy", vector.astype(np.float32))
    ran = run_dsc("compress", "folder", "--root", root, *KINDS, "--out", tmp_path / "a")
    assert ran.code
    assert all(word in ran.err + ran.out for word in words), ran.err
    assert not (tmp_path / "a/dsc.json").exists()


def test_lists_of_a_table_may_be_embeddings(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    kind = pa.list_(pa.float32(), LENGTH)
    columns = {name: pa.array(list(CLIP[:COUNT]), kind) for name in ("embedding", "clip")}
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    said = run("compress", "huggingface", "--root", tmp_path / "rows.parquet", "--out",
               tmp_path / "a")  # fmt: skip
    assert "named like embeddings" in said
    opened = dsc.open(tmp_path / "a")
    assert {task.name: str(task.kind) for task in opened.tasks} == {
        "embedding": "embedding", "clip": "matrix",
    }  # fmt: skip
    assert cosine_distance(CLIP[3], opened[3]["embedding"]) < 0.15
    assert np.array_equal(opened[3]["clip"], CLIP[3])
