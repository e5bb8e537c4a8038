"""Tasks that follow from others, from files to an archive and back by every way that reads one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._codecs.base import Array
from dsc._codecs.derived import rules
from dsc._schemas import required_streams
from dsc._storage.read.archive import Archive
from dsc.errors import CorruptPackError
from tests import sum_rule

COUNT = 12
QUALITY = "rgb=95,edges=40"  # at which what follows is nearer than a picture
KINDS = {"rgb": "image", "edges": "image"}
LACKING, STRANGE = 1, 4  # not among those that are looked at: without the image; does not follow


@pytest.fixture(autouse=True)
def _sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES", {sum_rule.ID: sum_rule.WHERE})


def image(n: int) -> Array:
    rng = np.random.default_rng(n)
    coarse = rng.integers(30, 220, (5, 6, 3)).astype(np.uint8)
    return np.repeat(np.repeat(coarse, 8, 0), 8, 1)


def child(n: int) -> Array:
    if n == STRANGE:
        return np.arange(40 * 48, dtype=np.uint16).reshape(40, 48)
    return (7 * image(n).astype(np.uint16).sum(-1) + 10 * n).astype(np.uint16)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, make in (("rgb", image), ("edges", child)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for n in range(COUNT):
            if (name, n) != ("rgb", LACKING):
                path = tmp_path / "data" / name / f"{n:02d}.png"
                path.write_bytes(imagecodecs.png_encode(make(n)))
    return tmp_path / "data"


@pytest.fixture
def root(files: Path, tmp_path: Path) -> Path:
    dsc.compress(
        "folder", tmp_path / "a", root=files, kinds=KINDS, quality=QUALITY, pack=4, shard_size=8
    )
    return tmp_path / "a"


def test_a_task_that_follows_takes_a_few_bytes_and_requires_its_parent(root: Path) -> None:
    archive = Archive.open(root)
    assert {record.id for record in archive.manifest.codecs} == {"av1", "derived"}
    assert set(required_streams(archive.manifest.streams, ["edges"])) == {"rgb", "edges"}
    assert required_streams(archive.manifest.streams, ["rgb"]) == ("rgb",)
    sizes = [len(one["edges"] or b"") for one in payloads(root)]
    stored = {LACKING, STRANGE}
    assert [n for n, size in enumerate(sizes) if size > 3] == sorted(stored)


@pytest.mark.parametrize("tasks", [["edges"], ["edges", "rgb"], ["rgb", "edges"]])
def test_every_reader_gives_what_follows_from_the_decoded_image(
    root: Path, tasks: list[str]
) -> None:
    rows = list(dsc.open(root, tasks=tasks, native=True))
    images = list(dsc.open(root, tasks=["rgb"], native=True))
    for n, (row, other) in enumerate(zip(rows, images, strict=True)):
        if n not in (LACKING, STRANGE):
            wanted = 7 * other["rgb"].astype(np.uint16).sum(-1) + row_own(root, n)
            assert np.array_equal(row["edges"], wanted)
        assert ("rgb" in tasks) == ("rgb" in row)
        close = np.abs(row["edges"].astype(int) - child(n).astype(int))
        assert close.mean() < 60
    for threads in (0, 2):
        stream = dsc.stream(
            root, tasks=tasks, batch_size=1, native=True, threads=threads,
            missing="none", 
        )  # fmt: skip
        for row, batch in zip(rows, stream, strict=True):
            assert np.array_equal(np.asarray(batch["edges"])[0], row["edges"])


def payloads(root: Path) -> list[Mapping[str, Any]]:
    return dsc.open(root).payloads(list(range(COUNT)))


def row_own(root: Path, n: int) -> int:
    return int.from_bytes(bytes(payloads(root)[n]["edges"])[1:3], "little")


def test_never_stores_every_task(files: Path, tmp_path: Path) -> None:
    dsc.compress("folder", tmp_path / "a", root=files, kinds=KINDS, derive="never")
    assert "derived" not in {record.id for record in Archive.open(tmp_path / "a").manifest.codecs}


@pytest.mark.parametrize("asked", [{"quality": "rgb=5,edges=95"}, {"target": "rgb=18dB"}])
def test_what_would_be_stored_anyway_requires_no_other_task(
    files: Path, tmp_path: Path, asked: dict[str, str]
) -> None:
    dsc.compress("folder", tmp_path / "a", root=files, kinds=KINDS, **asked)
    dsc.compress("folder", tmp_path / "b", root=files, kinds=KINDS, derive="never", **asked)
    streams = Archive.open(tmp_path / "a").manifest.streams
    assert required_streams(streams, ["edges"]) == ("edges",)
    assert streams == Archive.open(tmp_path / "b").manifest.streams


def test_what_is_asked_for_by_name_is_stored(files: Path, tmp_path: Path) -> None:
    asked = ({"codec": "edges=exact"}, {"target": "edges=40dB"}, {"max_error": "edges=5"})
    for n, options in enumerate(asked):
        dsc.compress("folder", tmp_path / str(n), root=files, kinds=KINDS, **options)
        found = Archive.open(tmp_path / str(n)).manifest.codecs
        assert "derived" not in {record.id for record in found}, options


def test_a_target_of_the_parent_holds_for_what_follows(files: Path, tmp_path: Path) -> None:
    dsc.compress("folder", tmp_path / "a", root=files, kinds=KINDS, target="rgb=45dB")
    assert "derived" in {record.id for record in Archive.open(tmp_path / "a").manifest.codecs}
    for n, row in enumerate(dsc.open(tmp_path / "a", native=True)):
        assert np.abs(row["edges"].astype(int) - child(n).astype(int)).mean() < 40


def test_a_copy_of_the_task_has_its_parent(root: Path, tmp_path: Path) -> None:
    dsc.fetch(root, ["edges"], tmp_path / "b")
    for row, other in zip(
        dsc.open(root, native=True), dsc.open(tmp_path / "b", native=True), strict=True
    ):
        assert np.array_equal(row["edges"], other["edges"])


def test_damage_of_the_parent_is_named(root: Path) -> None:
    path = next((root / "rgb").glob("*-000000.tar"))
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(CorruptPackError, match="rgb"):
        list(dsc.open(root, tasks=["edges"], native=True))
