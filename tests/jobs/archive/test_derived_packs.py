"""Streams of tasks that follow are often of empty payloads, which every reader tells from none."""

from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._codecs.base import Array
from dsc._codecs.derived import rules
from dsc._schemas.stream import Compressed
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from tests import sum_rule
from tests.sum_rule import child, image

COUNT, LACKING = 40, (7, 39)  # samples without the child
QUALITY = "rgb=95,edges=40"  # at which what follows is nearer than a picture
KINDS = {"rgb": "image", "edges": "image"}


@pytest.fixture(autouse=True)
def _sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES", {sum_rule.PLAIN_ID: sum_rule.PLAIN_WHERE})


def write(root: Path, numbers: Sequence[int], tasks: Sequence[str] = ("rgb", "edges")) -> Path:
    for name, make in (("rgb", image), ("edges", child)):
        (root / name).mkdir(parents=True, exist_ok=True)
        for n in numbers if name in tasks else ():
            if name == "rgb" or n not in LACKING:
                (root / name / f"{n:02d}.png").write_bytes(imagecodecs.png_encode(make(n)))
    return root


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data"), range(COUNT))


@pytest.fixture
def root(files: Path, tmp_path: Path) -> Path:
    dsc.compress(
        "folder", tmp_path / "a", root=files, kinds=KINDS, quality=QUALITY, pack=4, shard_size=16
    )
    return tmp_path / "a"


def is_right(row: dict[str, Array | None], n: int) -> bool:
    edges = row["edges"]
    if n in LACKING:
        return edges is None
    return edges is not None and np.abs(edges - child(n).astype(float)).mean() < 60


def test_a_shard_of_nothing_is_one_tar_of_two_kilobytes(root: Path) -> None:
    archive = Archive.open(root)
    [stream] = [one for one in archive.manifest.streams if one.name == "edges"]
    assert (stream.compressed, stream.pack_size) == (Compressed.TOGETHER, 16)
    for shard in archive.shards:
        files = sorted((root / "edges").glob(f"*-{shard.n:06d}.tar*"))
        assert sum(file.stat().st_size for file in files) <= 2048 + 16
    assert archive.manifest.totals["edges"].n_missing == len(LACKING)
    assert [one["edges"] for one in dsc.open(root).payloads([6, 7])] == [b"", None]


@pytest.mark.parametrize("tasks", [["edges"], ["rgb", "edges"]])
def test_what_is_empty_is_no_missing_task(root: Path, tasks: list[str]) -> None:
    rows = dsc.open(root, tasks=tasks, native=True)
    assert all(is_right(rows[n], n) for n in range(COUNT))
    found = dsc.open(root, tasks=tasks, native=True)[:]
    assert all(is_right(row, n) for n, row in enumerate(found))


@pytest.mark.parametrize("options", [
    {}, {"threads": 2}, {"cache_decoded": 1 << 24}, {"cache": True}, {"missing": "skip"},
])  # fmt: skip
def test_streams_know_it(root: Path, options: dict[str, object], tmp_path: Path) -> None:
    if options.pop("cache", False):
        options["cache"] = tmp_path / "cache"
    skip = options.get("missing") == "skip"
    given = {"missing": "none"} | options
    stream = dsc.stream(root, tasks=["rgb", "edges"], batch_size=1, native=True, **given)
    there = [n for n in range(COUNT) if not (skip and n in LACKING)]
    for _ in range(2):
        found = [{k: None if v is None else np.asarray(v)[0] for k, v in b.items() if k in KINDS}
                 for b in stream]  # fmt: skip
        assert len(found) == len(there)
        assert all(is_right(row, n) for n, row in zip(there, found, strict=True))


def test_copies_exports_and_stock_readers_know_it(root: Path, tmp_path: Path) -> None:
    assert not verify_archive(root)
    dsc.fetch(root, ["edges"], tmp_path / "b")
    rows = dsc.open(tmp_path / "b", tasks=["edges"], native=True)
    assert all(is_right(rows[n], n) for n in range(COUNT))
    dsc.fetch(root, ["rgb"], tmp_path / "c")
    assert [task.name for task in dsc.open(tmp_path / "c").tasks] == ["rgb"]
    dsc.export(root, "edges", tmp_path / "d")
    assert len(list((tmp_path / "d").rglob("*.png"))) == COUNT - len(LACKING)
    webdataset = pytest.importorskip("webdataset")
    urls = sorted(map(str, (root / "edges").glob("*.tar")))
    parts = list(webdataset.WebDataset(urls, shardshuffle=False).compose(dsc.unpack))
    rows = dsc.open(root).payloads(range(COUNT))
    assert [part["edges"] for part in parts] == [row["edges"] for row in rows]
    assert {n for n, part in enumerate(parts) if part["edges"] is None} == set(LACKING)


def test_the_bytes_are_the_same_after_a_stop(files: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        """Stops a run after its first shard."""

    def stop(done: int, *_: object) -> None:
        if done >= 16:
            raise StopError

    def compress(name: str, **options: object) -> bytes:
        sizes = {"pack": 4, "shard_size": 16}
        given = {"root": files, "kinds": KINDS, "quality": QUALITY}
        dsc.compress("folder", tmp_path / name, **given, **sizes, **options)
        names = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        return b"".join(
            str(p.relative_to(tmp_path / name)).encode() + p.read_bytes() for p in names
        )

    whole = compress("a")
    with pytest.raises(StopError):
        compress("c", progress=stop)
    assert compress("c") == whole


def test_new_samples_are_packed_as_the_old_ones(tmp_path: Path) -> None:
    early = write(tmp_path / "early", range(20))
    dsc.compress(
        "folder", tmp_path / "a", root=early, kinds=KINDS, quality=QUALITY, pack=4, shard_size=16
    )
    dsc.append(tmp_path / "a", "folder", root=write(tmp_path / "all", range(COUNT)), kinds=KINDS,
               missing="none")  # fmt: skip
    rows = dsc.open(tmp_path / "a", native=True)
    assert all(is_right(rows[n], n) for n in range(COUNT))
    assert len(Archive.open(tmp_path / "a").shards) == 4
    assert not verify_archive(tmp_path / "a")
