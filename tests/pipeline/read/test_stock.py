"""Stock webdataset and Hugging Face datasets give an archive's samples, as `dsc.open` does."""

import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from dsc._bench.server import serve
from dsc._jobs.archive.compress import compress
from dsc._pipeline.read.stock import decode
from dsc.errors import ArchiveNotFoundError, CorruptPackError, UnknownTaskError, UsageError
from tests.jobs.sources import PixelSource

N = 23


class TwoSplits(PixelSource):
    """Fourteen samples to train on, and the rest to validate."""

    @property
    def splits(self) -> dict[str, int]:
        return {"train": 14, "val": N - 14}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits in five shards; every fifth sample has no label."""
    out = tmp_path_factory.mktemp("stock") / "a"
    compress(TwoSplits(n=N), out, codec="png", shard_size=5, pack=2)
    return out


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive whose depth is two streams."""
    out = tmp_path_factory.mktemp("stock") / "bounded"
    dsc.compress(
        "taskonomy", out, sample=7, tasks="rgb,depth", size=32, codec="rgb=jpeg,depth=av1",
        max_error="depth=20mm", shard_size=4, pack=2,
    )  # fmt: skip
    return out


def tars(archive: Path, stream: str) -> list[str]:
    return sorted(map(str, (archive / stream).glob("*.tar")))


def webdataset(urls: list[str], *stages: Any) -> list[dict[str, Any]]:
    wds = pytest.importorskip("webdataset")
    return list(wds.WebDataset(urls, shardshuffle=False).compose(*stages))


def check_same(found: Mapping[str, Any], reference: dsc.Dataset, task: str) -> None:
    index = found["__index__"]
    assert found["__key__"] == list(reference.keys())[index]
    expected = reference[index][task]
    if expected is None:
        assert found[task] is None
    else:
        np.testing.assert_array_equal(found[task], expected)
        assert found[task].dtype == expected.dtype


@pytest.mark.parametrize("task", ["rgb", "depth", "label"])
@pytest.mark.parametrize("unpacked", [False, True])
def test_webdataset_gives_what_open_gives(archive: Path, task: str, unpacked: bool) -> None:
    stages = [dsc.unpack] * unpacked + [decode(archive)]
    found = webdataset(tars(archive, task), *stages)
    assert [sample["__index__"] for sample in found] == list(range(N))
    for sample in found:
        check_same(sample, dsc.open(archive), task)


def test_values_of_the_source_on_request(archive: Path) -> None:
    found = webdataset(tars(archive, "depth"), decode(archive, native=True))
    assert {sample["depth"].dtype for sample in found} == {np.dtype("uint16")}


def test_other_tasks_and_required_streams_are_read_from_the_archive(bounded: Path) -> None:
    reference = dsc.open(bounded)
    streams = [stream.name for stream in reference.manifest.streams]
    assert "depth_zbuffer.residual" in streams
    for stream in ("depth_zbuffer", "depth_zbuffer.residual"):
        found = webdataset(tars(bounded, stream), decode(bounded))
        assert len(found) == 7
        for sample in found:
            check_same(sample, reference, "depth_zbuffer")
    both = webdataset(tars(bounded, "rgb"), decode(bounded, "depth,rgb"))
    for sample in both:
        check_same(sample, reference, "rgb")
        check_same(sample, reference, "depth_zbuffer")


@pytest.mark.slow
def test_a_stream_that_carries_no_task_gives_those_that_require_it(tmp_path: Path) -> None:
    out = tmp_path / "a"
    dsc.compress("taskonomy", out, sample=2, tasks="rgb,depth", size=32, codec="shared-latent")
    for stream in ("shared", "depth_zbuffer"):
        found = webdataset(tars(out, stream), decode(out))
        for sample in found:
            check_same(sample, dsc.open(out), "depth_zbuffer")
            assert ("rgb" in sample) == (stream == "shared")


def test_over_http_as_on_disk(archive: Path) -> None:
    with serve(archive) as (url, _):
        found = webdataset([f"pipe:cat {path}" for path in tars(archive, "rgb")], decode(url))
    for sample in found:
        check_same(sample, dsc.open(archive), "rgb")


def test_it_can_be_pickled_and_works_in_workers(archive: Path) -> None:
    wds = pytest.importorskip("webdataset")
    torch_data = pytest.importorskip("torch.utils.data")
    stage = pickle.loads(pickle.dumps(decode(archive)))
    dataset = wds.WebDataset(tars(archive, "depth"), shardshuffle=False).compose(stage)
    loader = torch_data.DataLoader(dataset, batch_size=None, num_workers=2)
    found = list(loader)
    assert sorted(sample["__index__"] for sample in found) == list(range(N))
    assert {sample["__key__"] for sample in found} == set(dsc.open(archive).keys())


def streamed(urls: list[str], **options: Any) -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.load_dataset("webdataset", data_files={"train": urls}, split="train", **options)


@pytest.mark.parametrize("size", [1, 3])
def test_hugging_face_datasets_stream_what_open_gives(archive: Path, size: int) -> None:
    packs = streamed(tars(archive, "depth"), streaming=True)
    assert set(packs.column_names) == {"__key__", "__url__", "depth.pack"}
    names = packs.column_names
    samples = packs.map(decode(archive), batched=True, batch_size=size, remove_columns=names)
    found = list(samples)
    assert [sample["__index__"] for sample in found] == list(range(N))
    for sample in found:
        check_same(sample, dsc.open(archive), "depth")


def test_hugging_face_datasets_keep_what_they_map(archive: Path, tmp_path: Path) -> None:
    packs = streamed(tars(archive, "depth"), cache_dir=str(tmp_path))
    options = {"batched": True, "batch_size": 1, "remove_columns": packs.column_names}
    samples = packs.map(decode(archive), **options).with_format("numpy")
    assert len(samples) == N
    for sample in samples:
        check_same({**sample, "__index__": int(sample["__index__"])}, dsc.open(archive), "depth")


def test_a_sample_that_does_not_tell_its_split_is_refused(archive: Path) -> None:
    one = next(iter(dsc.unpack([row(archive)])))
    with pytest.raises(UsageError, match="does not tell its split: keep __url__"):
        decode(archive)({name: one[name] for name in ("__key__", "__index__", "depth")})


def row(archive: Path, task: str = "depth", n: int = 1) -> dict[str, Any]:
    """The first pack of a shard as webdataset gives it."""
    url = tars(archive, task)[n]
    return {**next(iter(webdataset([url]))), "__url__": url}


def test_a_tar_that_was_copied_to_another_name_is_found_by_its_first_key(archive: Path) -> None:
    pack = row(archive) | {"__url__": "/root/.cache/downloads/4be1a0"}
    found = list(decode(archive)([pack]))
    assert [sample["__index__"] for sample in found] == [5, 6]
    batch = decode(archive)({name: [value] for name, value in pack.items()})
    assert batch["__key__"] == ["view_00005", "view_00006"]


def test_other_fields_are_passed_on(archive: Path) -> None:
    found = list(decode(archive)([row(archive) | {"note": "x"}]))
    assert [sample["note"] for sample in found] == ["x", "x"]
    one = next(iter(dsc.unpack([row(archive)])))
    assert decode(archive)(one | {"note": "y"})["note"] == "y"


def test_an_empty_batch_has_its_columns(archive: Path) -> None:
    found = decode(archive)({"__key__": [], "__url__": [], "depth.pack": []})
    assert found == {"__key__": [], "__index__": [], "__url__": [], "depth": []}


def test_what_cannot_be_decoded_is_said(archive: Path, bounded: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFoundError):
        decode(tmp_path)
    with pytest.raises(UnknownTaskError, match="flow"):
        decode(archive, "flow")
    pack = row(archive)
    with pytest.raises(UsageError, match=r"pack of many samples.*compose"):
        decode(archive)(pack)
    with pytest.raises(UsageError, match="give the archive that the tars are of"):
        list(decode(bounded)([pack]))
    with pytest.raises(UsageError, match="none of this archive's streams"):
        decode(archive)({"__key__": "a", "png": b""})
    other = tmp_path / "other"
    compress(PixelSource(n=3), other, codec="png", shard_size=5, pack=2)
    with pytest.raises(UsageError, match="holds no sample 5"):
        list(decode(other)([pack]))
    data = bytearray(pack["depth.pack"])
    data[-1] ^= 1
    with pytest.raises(CorruptPackError, match="depth-000001"):
        list(decode(archive)([pack | {"depth.pack": bytes(data)}]))


def test_a_copy_of_some_tasks_decodes_them(archive: Path, tmp_path: Path) -> None:
    dsc.fetch(archive, "depth", tmp_path / "d")
    moved = shutil.copytree(tmp_path / "d" / "depth", tmp_path / "moved")
    found = webdataset(sorted(map(str, Path(moved).glob("*.tar"))), decode(tmp_path / "d"))
    for sample in found:
        check_same(sample, dsc.open(archive), "depth")
