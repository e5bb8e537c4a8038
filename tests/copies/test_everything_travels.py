"""Text, JSON, files and numbers travel like pictures: pushed, pulled, and read by stock tools."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from tests.everything import VALUES, everything, same
from tests.hub_server import hub
from tests.pipeline.write.test_packing import Captions

__all__ = ["everything"]
N = 60


@pytest.fixture
def archive(everything: str, tmp_path: Path) -> Path:
    """Captions are compressed with a dictionary, or together; some values are columns."""
    out = tmp_path / "a"
    options: dict[str, Any] = {"shard_size": 25, "pack": 5, "columns": "taken"}
    dsc.compress(everything, out, n=N, codec="png", **options)
    return out


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def check(sample: Mapping[str, Any], name: str) -> None:
    assert sample["__key__"] == f"sample_{sample['__index__']}"
    assert same(name, sample[name], sample["__index__"]), (name, sample["__index__"])


def test_it_is_pushed_grown_pushed_again_and_pulled(
    archive: Path, everything: str, tmp_path: Path
) -> None:
    url = f"memory://{tmp_path.name}/everything"
    opened = Archive.open(archive)
    assert {opened.pack_size(name) for name in VALUES} != {opened.manifest.pack_size}
    dsc.push(archive, url)
    assert verify_archive(url) == []
    dsc.append(archive, everything, n=N + 9)
    dsc.push(archive, url)
    dsc.pull(url, tmp_path / "b")
    assert files_of(tmp_path / "b") == files_of(archive)
    assert verify_archive(tmp_path / "b") == []
    dsc.push(archive, f"{url}-some", tasks="caption,taken")
    some = dsc.open(f"{url}-some")
    assert same("caption", some[N + 8]["caption"], N + 8)
    assert verify_archive(f"{url}-some") == []


@pytest.mark.parametrize("name", VALUES)
def test_webdataset_gives_values(archive: Path, name: str) -> None:
    wds = pytest.importorskip("webdataset")
    urls = sorted(map(str, (archive / name).glob("*.tar")))
    for stages in ([dsc.decode(archive)], [dsc.unpack, dsc.decode(archive)]):
        found = list(wds.WebDataset(urls, shardshuffle=False).compose(*stages))
        assert len(found) == N
        for sample in found:
            check(sample, name)


@pytest.mark.parametrize("name", ["caption", "meta", "pose", "taken"])
def test_hugging_face_datasets_give_values(archive: Path, name: str) -> None:
    datasets = pytest.importorskip("datasets")
    urls = sorted(map(str, (archive / name).glob("*.tar")))
    packs = datasets.load_dataset("webdataset", data_files=urls, split="train", streaming=True)
    names = packs.column_names
    samples = packs.map(dsc.decode(archive), batched=True, batch_size=1, remove_columns=names)
    found = list(samples)
    assert len(found) == N
    for sample in found:
        check(sample, name)


def test_the_hub_holds_it(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(monkeypatch):
        dsc.push(archive, "hf://datasets/me/everything")
        opened = dsc.open("hf://datasets/me/everything", tasks="caption,pose")
        assert same("caption", opened[31]["caption"], 31)
        assert isinstance(opened[31]["pose"], np.ndarray)
        dsc.pull("hf://datasets/me/everything", tmp_path / "b")
    assert files_of(tmp_path / "b") == files_of(archive)


def test_packs_that_share_a_dictionary_are_read_wherever_their_tars_lie(tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    source = Captions(4200)
    dsc.compress(source, tmp_path / "a", tasks="caption", shard_size=100, pack=50)
    dsc.push(tmp_path / "a", tmp_path / "b")
    assert files_of(tmp_path / "b") == files_of(tmp_path / "a")
    assert any(path.startswith("codecs/") for path in files_of(tmp_path / "b"))
    tar = tmp_path / "train-caption-000041.tar"
    shutil.copyfile(tmp_path / "b" / "caption" / tar.name, tar)
    samples = wds.WebDataset(str(tar), shardshuffle=False).compose(dsc.decode(tmp_path / "b"))
    found = {sample["__index__"]: sample["caption"] for sample in samples}
    assert found == {index: source.value("caption", index) for index in range(4100, 4200)}
