"""Recordings that are coded as such are read, copied and exported by every way there is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from dsc._bench.server import Traffic, serve
from dsc._codecs.sequence import libaom
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from tests.cli.conftest import run_dsc
from tests.clips import FRAMES, ClipSource, write_clip

pytestmark = pytest.mark.skipif(not libaom.is_there(), reason="imagecodecs brings no known libaom")
LAYERS = ("t0", "t1", "t2")
Values = list[dict[str, Any]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip")


@pytest.fixture(scope="module")
def values(clip: Path) -> Values:
    return list(dsc.open(clip, native=True))


@pytest.fixture
def served(clip: Path) -> Iterator[tuple[str, Traffic]]:
    with serve(clip) as (url, traffic):
        yield url, traffic


def tars(traffic: Traffic) -> set[str]:
    return {path.split("/")[0] for path in traffic.requests if path.endswith(".tar")}


def stored(clip: Path, streams: set[str]) -> int:
    return sum(shard.streams[name].bytes for shard in Archive.open(clip).shards for name in streams)


def frames(step: int) -> list[int]:
    """List the frames of a rate: of every group, which begin at 0, 16 and 32, from its first."""
    return [index for index in range(FRAMES) if index % step == 0]


def check_all(found: Values, values: Values, task: str) -> None:
    by_index = {int(one["__index__"]): one for one in found}
    assert len(by_index) == len(found) == FRAMES
    for index, one in by_index.items():
        assert np.array_equal(one[task], values[index][task]), (task, index)


def test_what_is_written_is_what_it_was_within_the_bound(clip: Path, values: Values) -> None:
    source = ClipSource()
    assert run_dsc("verify", clip, "--deep").code == 0
    for index, found in enumerate(values):
        was = source.read(index, ["rgb", "depth", "pose"]).arrays
        valid = was["depth"] != 0
        assert np.array_equal(found["depth"] != 0, valid)
        off = np.abs(found["depth"].astype(int) - was["depth"])[valid]
        assert (off <= 0.02 * was["depth"][valid]).all()
        assert np.array_equal(found["pose"], was["pose"])
        assert np.mean((found["rgb"].astype(float) - was["rgb"]) ** 2) < 100


@pytest.mark.parametrize("task", ["rgb", "depth"])
def test_webdataset_has_each_frame_once_from_the_tars_of_all_layers(
    clip: Path, values: Values, task: str
) -> None:
    wds = pytest.importorskip("webdataset")
    of_layers = [sorted(map(str, (clip / f"{task}.{layer}").glob("*.tar"))) for layer in LAYERS]
    for stages in ([dsc.decode(clip, native=True)], [dsc.unpack, dsc.decode(clip, native=True)]):
        urls = [url for urls in of_layers for url in urls]
        data = wds.WebDataset(urls, shardshuffle=False).compose(*stages)
        check_all(list(data), values, task)
        indices = [
            {one["__index__"] for one in wds.WebDataset(u, shardshuffle=False).compose(*stages)}
            for u in of_layers
        ]
        assert sorted(index for some in indices for index in some) == list(range(FRAMES))
        assert indices[0] == set(frames(16))
        assert indices[1] == set(frames(4)) - set(frames(16))


def test_webdataset_has_all_tasks_by_the_tars_of_one(clip: Path, values: Values) -> None:
    wds = pytest.importorskip("webdataset")
    urls = [str(path) for layer in LAYERS for path in sorted((clip / f"rgb.{layer}").glob("*.tar"))]
    stage = dsc.decode(clip, tasks="rgb,depth,pose", native=True)
    found = list(wds.WebDataset(urls, shardshuffle=False).compose(stage))
    for task in ("rgb", "depth", "pose"):
        check_all(found, values, task)


def test_webdataset_has_each_frame_once_from_the_tars_of_residuals(
    clip: Path, values: Values
) -> None:
    wds = pytest.importorskip("webdataset")
    urls = [str(path) for path in sorted(clip.glob("depth.residual.t*/*.tar"))]
    data = wds.WebDataset(urls, shardshuffle=False).compose(dsc.decode(clip, native=True))
    check_all(list(data), values, "depth")


def test_hugging_face_datasets_have_each_frame_once(clip: Path, values: Values) -> None:
    datasets = pytest.importorskip("datasets")
    urls = [str(path) for layer in LAYERS for path in sorted((clip / f"rgb.{layer}").glob("*.tar"))]
    packs = [
        datasets.load_dataset("webdataset", data_files=[url], split="train", streaming=True)
        for url in urls
    ]
    found: Values = []
    for one in packs:
        names = one.column_names
        decode = dsc.decode(clip, native=True)
        found += one.map(decode, batched=True, batch_size=1, remove_columns=names)
    check_all(found, values, "rgb")


@pytest.mark.ray
@pytest.mark.timeout(180)
def test_ray_data_has_each_frame_once(ray_session: Any, clip: Path, values: Values) -> None:
    import dsc.ray_data as of_ray

    rows = of_ray.read_archive(clip, tasks="rgb,depth", native=True).take_all()
    check_all(rows, values, "rgb")
    check_all(rows, values, "depth")


def test_payloads_are_those_of_the_frame_alone(clip: Path) -> None:
    archive = Archive.open(clip)
    names = [stream.name for stream in archive.manifest.streams]
    for index in range(FRAMES):
        there = {n for n, data in archive.payloads(index, names).items() if data is not None}
        layer = "t0" if index % 16 == 0 else "t1" if index % 4 == 0 else "t2"
        assert there == {f"rgb.{layer}", f"depth.{layer}", f"depth.residual.{layer}", "pose"}


@pytest.mark.parametrize("task", ["rgb", "depth"])
def test_a_codec_that_is_loaded_decodes_what_the_archive_has(
    clip: Path, values: Values, task: str
) -> None:
    codec, archive = dsc.load_codec(clip, [task]), Archive.open(clip)
    names = [stream.name for stream in codec.streams()]
    payloads = archive.payloads(0, names)  # a key frame needs no other
    given = {name: bytes(data) for name, data in payloads.items() if data is not None}
    (found,) = codec.decode_batch([given], [task], 1 << 20)
    assert np.array_equal(found[task], values[0][task])
    (coded,) = codec.encode_batch([{task: values[0][task]}], archive.manifest.quality)
    assert codec.decode_batch([coded], [task], 1 << 20)[0][task].shape == values[0][task].shape


@pytest.mark.parametrize("layout", ["files", "webdataset", "parquet", "lerobot"])
def test_every_export_has_every_frame(
    clip: Path, values: Values, layout: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("--image-format", "png") if layout == "lerobot" else ()
    ran = run_dsc("export", clip, "--to", layout, *words, "--out", out)
    assert ran.code == 0, ran.err
    source = {"files": "folder", "parquet": "huggingface"}.get(layout, layout)
    root = f"{out}/*.tar" if layout == "webdataset" else out
    again = tmp_path / "again"
    ran = run_dsc("compress", source, "--root", root, "--codec", "exact", "--out", again)
    assert ran.code == 0, ran.err
    opened = dsc.open(again, native=True)
    for task in ("rgb", "depth"):
        (name,) = (one.name for one in Archive.open(again).manifest.tasks if task in one.name)
        found = [one[name] for one in opened]
        assert len(found) == FRAMES
        for index, one in enumerate(values):
            if layout != "lerobot" or task == "rgb":  # depth is in metres there
                assert any(np.array_equal(one[task], other) for other in found), index


def test_commands_show_it(clip: Path, tmp_path: Path) -> None:
    ran = run_dsc("view", clip, "--out", tmp_path / "page.html", "-n", 5)
    assert ran.code == 0, ran.err
    ran = run_dsc("view", clip, "--sequence", "walk", "--out", tmp_path / "walk.html")
    assert ran.code == 0, ran.err
    ran = run_dsc("info", clip, "--json")
    assert {row["codec"] for row in ran.json()["rows"]} >= {"av1-seq", "av1-seq + residual"}
    ran = run_dsc("info", clip, "--distortion")
    assert ran.code in (0, 2), ran.err


def test_depth_alone_is_fetched_without_a_byte_of_rgb(
    served: tuple[str, Traffic], clip: Path, tmp_path: Path, values: Values
) -> None:
    url, traffic = served
    ran = run_dsc("fetch", url, "--tasks", "depth", "--out", tmp_path / "copy")
    assert ran.code == 0, ran.err
    streams = {f"depth{part}.{layer}" for part in ("", ".residual") for layer in LAYERS}
    assert tars(traffic) == streams
    sent = sum(n for path, n in traffic.sent.items() if path.endswith(".tar"))
    assert sent == stored(clip, streams)
    for found, one in zip(dsc.open(tmp_path / "copy", native=True), values, strict=True):
        assert np.array_equal(found["depth"], one["depth"])


@pytest.mark.parametrize(("rate", "layers", "step"), [("1/16", 1, 16), ("1/4", 2, 4)])
def test_a_rate_copies_its_layers_and_their_residuals_and_not_one_byte_more(
    served: tuple[str, Traffic], clip: Path, tmp_path: Path, values: Values, rate, layers, step
) -> None:
    url, traffic = served
    out = tmp_path / "copy"
    ran = run_dsc("fetch", url, "--tasks", "rgb,depth", "--rate", rate, "--out", out)
    assert ran.code == 0, ran.err
    streams = {
        f"{task}.{layer}"
        for task in ("rgb", "depth", "depth.residual")
        for layer in LAYERS[:layers]
    }
    assert tars(traffic) == streams
    sent = {path: n for path, n in traffic.sent.items() if path.endswith((".tar", ".idx"))}
    assert sum(n for path, n in sent.items() if path.endswith(".tar")) == stored(clip, streams)
    assert {path.split("/")[0] for path in sent} == streams
    assert verify_archive(out) == []
    assert run_dsc("verify", out, "--deep").code == 0
    for task in ("rgb", "depth"):
        found = [one[task] for one in dsc.open(out, native=True)]
        assert [index for index, one in enumerate(found) if one is not None] == frames(step)
        for index in frames(step):
            assert np.array_equal(found[index], values[index][task])
    assert f"of depth every {step}th frame is here: rate {rate}" in run_dsc("ls", out).out
    assert run_dsc("ls", out, "--json").json()["rates"] == {"rgb": rate, "depth": rate}
    assert "rates" not in run_dsc("ls", clip, "--json").json()


def test_a_copy_gets_more_layers_and_becomes_whole(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    for words in (("--rate", "1/16"), ("--rate", "1/4"), ()):
        ran = run_dsc("fetch", clip, "--tasks", "depth", *words, "--out", out)
        assert ran.code == 0, ran.err
    whole = tmp_path / "whole"
    assert run_dsc("fetch", clip, "--tasks", "depth", "--out", whole).code == 0
    assert (out / "dsc.json").read_bytes() == (whole / "dsc.json").read_bytes()
    assert verify_archive(out) == []


def test_manifest_says_which_residuals_go_with_which_layer(clip: Path) -> None:
    said = json.loads((clip / "dsc.json").read_text())
    requires = {one["name"]: one["requires"] for one in said["streams"]}
    assert requires["depth.residual.t0"] == ["depth.t0"]
    assert requires["depth.residual.t2"] == ["depth.t0", "depth.t1", "depth.t2"]
    (bounded,) = (one for one in said["codecs"] if one["id"] == "residual")
    assert bounded["config"]["beside"] == [[f"depth.residual.{layer}" for layer in LAYERS]]
