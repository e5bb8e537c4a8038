"""Rendered rooms with tasks that follow, by the command line and every way that reads them."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._codecs.maps.base import TaskCodec
from dsc._schemas import required_streams
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import CorruptPackError
from tests.cli.conftest import run_dsc

TASKS = "rgb,depth_zbuffer,depth_euclidean,edge_texture,keypoints2d,edge_occlusion"
FOLLOWING = ("depth_euclidean", "edge_texture", "keypoints2d", "edge_occlusion")
COUNT, SIZE = 5, 96


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rooms") / "a"
    dsc.compress("taskonomy", out, sample=COUNT, size=SIZE, tasks=TASKS, shard_size=3, pack=3)
    return out


def derived(root: Path) -> dict[str, Mapping[str, Any]]:
    records = Archive.open(root).manifest.codecs
    return {record.streams[0]: record.config for record in records if record.id == "derived"}


def test_all_that_follows_is_found_and_required(root: Path) -> None:
    assert set(derived(root)) == set(FOLLOWING)
    assert derived(root)["edge_texture"]["params"] == {"sigma_1000": 3000}
    streams = Archive.open(root).manifest.streams
    assert set(required_streams(streams, ["edge_texture"])) == {"rgb", "edge_texture"}
    totals = Archive.open(root).manifest.totals
    assert totals["edge_texture"].payload_bytes < 100
    assert not verify_archive(root)


def test_workers_write_the_same_bytes(root: Path, tmp_path: Path) -> None:
    dsc.compress("taskonomy", tmp_path / "b", sample=COUNT, size=SIZE, tasks=TASKS, shard_size=3,
                 pack=3, workers=2)  # fmt: skip
    for path in (p for p in root.rglob("*") if p.is_file()):
        assert (tmp_path / "b" / path.relative_to(root)).read_bytes() == path.read_bytes()


def test_the_command_line_says_what_follows_from_what(root: Path, tmp_path: Path) -> None:
    shown = run_dsc("info", root)
    assert "edge_texture follows from rgb by edge_texture, sigma 3" in shown.out
    assert "derived (" in shown.out
    dsc.fetch(root, ["edge_texture"], tmp_path / "one")
    assert "rgb: no task here, but read for edge_texture" in run_dsc("info", tmp_path / "one").out
    rows = {row["name"]: row for row in json.loads(run_dsc("info", root, "--json").out)["rows"]}
    both = rows["rgb"]["stored_bytes"] + rows["keypoints2d"]["stored_bytes"]
    assert rows["keypoints2d"]["alone_bytes"] == both
    assert "edge_texture follows from rgb" in (root / "README.md").read_text(encoding="utf-8")
    words = ("--views", 2, "--size", SIZE, "--tasks", "rgb,edge_texture")
    ran = run_dsc("compress", "taskonomy", *words, "--out", tmp_path / "a")
    line = "edge_texture follows from rgb by edge_texture, sigma 3; fetching it fetches rgb too"
    assert line in ran.err.splitlines()
    ran = run_dsc("compress", "taskonomy", *words, "--derive", "never", "--out", tmp_path / "b")
    assert "follows" not in ran.err


def test_reasons_have_a_column_where_there_is_room(tmp_path: Path) -> None:
    words = ("--views", 1, "--size", 48, "--tasks", "rgb,depth")
    ran = run_dsc("compress", "taskonomy", *words, "--out", tmp_path / "a")
    (head,) = (line.split() for line in ran.err.splitlines() if line.startswith("  task "))
    assert head[-1] == "why"
    assert ran.err.count("the source's own") == 2


def test_the_table_of_tasks_is_at_most_120_columns_wide(tmp_path: Path) -> None:
    words = ("--views", 1, "--size", SIZE, "--tasks", f"{TASKS},reshading,normal")
    ran = run_dsc("compress", "taskonomy", *words, "--out", tmp_path / "a")
    (head,) = (line for line in ran.err.splitlines() if line.startswith("  task "))
    assert "codec" in head
    assert max(map(len, ran.err.splitlines())) <= 120
    reshading = "reshading follows from depth_zbuffer, normal by reshading; fetching it fetches "
    assert f"{reshading}depth_zbuffer, normal too" in ran.err.splitlines()
    assert "why (all): the source's own" in ran.err.splitlines()  # for which there is no room


def test_a_task_that_nearly_follows_is_stored_with_a_reason(tmp_path: Path) -> None:
    words = ("compress", "taskonomy", "--views", 1, "--size", SIZE, "--out", tmp_path / "a")
    low = ("--tasks", "depth_zbuffer,edge_occlusion", "--quality", 5)
    ran = run_dsc(*words, *low)
    line = "edge_occlusion would follow from depth_zbuffer by edge_occlusion, and is stored: that"
    assert f"{line} saves too few bytes here" in ran.err.splitlines()
    assert not derived(tmp_path / "a")
    tasks = ("--tasks", "rgb,edge_texture", "--overwrite")
    ran = run_dsc(*words, *tasks, "--codec", "rgb=jxl")
    line = "edge_texture would follow from rgb by edge_texture, and is stored: rgb by jxl does not"
    assert f"{line} decode the same on every machine" in ran.err.splitlines()
    assert not derived(tmp_path / "a")
    for more in (("--derive", "never"), ("--codec", "edge_texture=av1"), ()):
        assert "would follow" not in run_dsc(*words, *tasks, *more).err


def test_a_new_task_follows_from_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "a"
    dsc.compress("taskonomy", out, sample=3, size=SIZE, tasks="rgb", quality=80)
    ran = run_dsc(
        "append", out, "taskonomy", "--views", 3, "--size", SIZE, "--tasks", "edge_texture"
    )
    assert ran.code == 0
    assert set(derived(out)) == {"edge_texture"}
    for row in dsc.open(out, native=True):
        assert row["edge_texture"].shape == (SIZE, SIZE)


@pytest.mark.parametrize("threads", [0, 2])
def test_a_parent_is_decoded_once_for_itself_and_what_follows(
    root: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    counts: Counter[str] = Counter()
    alone = TaskCodec.decode_to

    def single(self: TaskCodec, name: str, *given: Any) -> Any:
        counts[name] += 1
        return alone(self, name, *given)

    monkeypatch.setattr(TaskCodec, "decode_to", single)
    tasks = ["rgb", "edge_texture", "keypoints2d"]
    found = list(dsc.stream(root, tasks=tasks, batch_size=2, threads=threads))
    assert counts["rgb"] == COUNT
    counts.clear()
    once = list(dsc.stream(root, tasks=["edge_texture"], batch_size=2, threads=threads))
    assert counts["rgb"] == COUNT
    for one, other in zip(found, once, strict=True):
        assert np.array_equal(np.asarray(one["edge_texture"]), np.asarray(other["edge_texture"]))
    counts.clear()
    kept = dsc.stream(root, tasks=tasks, batch_size=2, threads=threads, cache_decoded=1 << 26)
    for _ in range(2):
        list(kept)
    assert counts["rgb"] == COUNT


def test_loaders_of_others_read_what_follows(root: Path) -> None:
    torch = pytest.importorskip("torch")
    rows = dsc.open(root, tasks=["edge_texture"], native=True)
    loader = torch.utils.data.DataLoader(rows, batch_size=2, num_workers=0, collate_fn=list)
    found = [row["edge_texture"] for batch in loader for row in batch]
    assert all(
        np.array_equal(row["edge_texture"], one) for row, one in zip(rows, found, strict=True)
    )
    wds = pytest.importorskip("webdataset")
    tars = sorted(map(str, (root / "edge_texture").glob("*.tar")))
    decode = dsc.decode(root, tasks=["edge_texture"], native=True)
    samples = list(wds.WebDataset(tars, shardshuffle=False).compose(decode))
    assert all(
        np.array_equal(s["edge_texture"], one) for s, one in zip(samples, found, strict=True)
    )


def test_damage_names_the_task_or_its_parent(root: Path, tmp_path: Path) -> None:
    for stream in ("rgb", "edge_texture"):
        dsc.fetch(root, ["edge_texture"], tmp_path / stream)
        path = next((tmp_path / stream / stream).glob("*-000000.tar"))
        data = bytearray(path.read_bytes())
        data[512 + 34] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)
        with pytest.raises(CorruptPackError, match=f"{stream}/"):
            list(dsc.open(tmp_path / stream, tasks=["edge_texture"], native=True))
        assert verify_archive(tmp_path / stream)


def folder(root: Path, **tasks: Any) -> Path:
    """Write six samples of maps, each made by its number."""
    for name, make in tasks.items():
        (root / name).mkdir(parents=True)
        for n in range(6):
            (root / name / f"{n}.png").write_bytes(imagecodecs.png_encode(make(n)))
    return root


def room(root: Path, task: str) -> Any:
    rows = dsc.open(root, tasks=[task], native=True)
    return lambda n: rows[n % COUNT][task]


def test_names_are_no_evidence_and_bad_maps_are_stored(root: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    data = folder(
        tmp_path / "data",
        rgb=room(root, "rgb"),
        edge_texture=lambda _: noise.integers(0, 999, (SIZE, SIZE)).astype(np.uint16),
        keypoints2d=lambda _: np.zeros((SIZE, SIZE), np.uint16),
        mask_valid=lambda _: np.full((SIZE, SIZE), 255, np.uint8),
        any_name=room(root, "edge_texture"),
    )
    kinds = dict.fromkeys(("rgb", "edge_texture", "keypoints2d", "any_name"), "image")
    dsc.compress("folder", tmp_path / "a", root=data, kinds=kinds | {"mask_valid": "label"})
    assert set(derived(tmp_path / "a")) <= {"any_name"}
    flat = dsc.open(tmp_path / "a", tasks=["keypoints2d"], native=True)
    assert not any(row["keypoints2d"].any() for row in flat)


@pytest.mark.parametrize("option", [{"max_error": "rgb=4"}, {"target": "rgb=42dB"}])
def test_a_promise_about_a_parent_holds_for_what_follows(
    root: Path, tmp_path: Path, option: dict[str, str]
) -> None:
    out = tmp_path / "a"
    dsc.compress("taskonomy", out, sample=3, size=SIZE, tasks="rgb,edge_texture", **option)
    assert set(derived(out)) == {"edge_texture"}
    needed = required_streams(Archive.open(out).manifest.streams, ["edge_texture"])
    assert ("rgb.residual" in needed) == ("max_error" in option)
    dsc.fetch(out, ["edge_texture"], tmp_path / "b")
    rows = zip(dsc.open(out, native=True), dsc.open(tmp_path / "b", native=True), strict=True)
    assert all(np.array_equal(one["edge_texture"], two["edge_texture"]) for one, two in rows)


def test_a_parent_may_be_coded_together_with_others(tmp_path: Path) -> None:
    out, words = tmp_path / "a", ("depth_zbuffer", "normal", "segment_semantic")
    tasks = [*words, "depth_euclidean", "edge_occlusion"]
    codec = ",".join(f"{name}=surfaces" for name in words)
    dsc.compress("taskonomy", out, sample=3, size=SIZE, tasks=tasks, codec=codec)
    assert set(derived(out)) == {"depth_euclidean", "edge_occlusion"}
    whole = dsc.open(out, native=True)
    for some in (["edge_occlusion"], ["edge_occlusion", words[2]], [words[0], *tasks[3:]]):
        for threads in (0, 2):
            found = dsc.stream(out, tasks=some, batch_size=1, native=True, threads=threads)
            for row, batch in zip(whole, found, strict=True):
                assert all(np.array_equal(np.asarray(batch[n])[0], row[n]) for n in some)
