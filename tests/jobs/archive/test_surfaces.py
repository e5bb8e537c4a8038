"""Depth, normals and labels that share surfaces, in an archive: fetched, streamed, grown."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._renderer.render import render_view
from dsc._storage.read.archive import Archive
from dsc.errors import CorruptArchiveError, UsageError

COUNT, LATER, LACKING = 4, 6, 2  # one sample has no normals
TASKS = ("depth_zbuffer", "normal", "segment_semantic")
KINDS = {"depth_zbuffer": "depth", "normal": "normal", "segment_semantic": "label"}


def write(root: Path, first: int, last: int) -> None:
    for n in range(first, last):
        view = render_view(n, 64)
        for task in TASKS:
            if (task, n) != ("normal", LACKING):
                (root / task).mkdir(parents=True, exist_ok=True)
                data = imagecodecs.png_encode(view[task])
                (root / task / f"{n:02d}.png").write_bytes(data)


def compress(root: Path, out: Path, **more: object) -> None:
    dsc.compress("folder", out, root=root, kinds=KINDS, codec="surfaces", pack=4, **more)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write(tmp_path / "data", 0, COUNT)
    return tmp_path / "data"


def test_tasks_are_fetched_with_what_they_require_and_streamed(files: Path, tmp_path: Path) -> None:
    compress(files, tmp_path / "a")
    archive = Archive.open(tmp_path / "a")
    requires = {stream.name: stream.requires for stream in archive.manifest.streams}
    assert requires["depth_zbuffer"] == ("segment_semantic", "geometry")
    assert requires["segment_semantic"] == ()
    whole = dsc.open(tmp_path / "a")
    for task, streams in (("segment_semantic", 1), ("depth_zbuffer", 3)):
        dsc.fetch(tmp_path / "a", tasks=[task], out=tmp_path / task)
        assert len(Archive.open(tmp_path / task).manifest.streams) == streams
        for one, other in zip(dsc.open(tmp_path / task), whole, strict=True):
            np.testing.assert_array_equal(one[task], other[task])
    assert [("normal" in sample and sample["normal"] is not None) for sample in whole] == [
        n != LACKING for n in range(COUNT)
    ]
    batches = list(
        dsc.stream(tmp_path / "a", tasks=["depth_zbuffer"], batch_size=COUNT, shuffle=False)
    )
    for n, depth in zip(batches[0]["__index__"].tolist(), batches[0]["depth_zbuffer"], strict=True):
        np.testing.assert_array_equal(np.asarray(depth), whole[n]["depth_zbuffer"])


def test_an_archive_grows_as_it_began(files: Path, tmp_path: Path) -> None:
    compress(files, tmp_path / "parts")
    write(files, COUNT, LATER)
    dsc.append(tmp_path / "parts", "folder", root=files, kinds=KINDS)
    compress(files, tmp_path / "whole")
    for one, other in zip(dsc.open(tmp_path / "parts"), dsc.open(tmp_path / "whole"), strict=True):
        for task in TASKS:
            if other.get(task) is not None:
                np.testing.assert_array_equal(one[task], other[task])


def test_workers_write_the_same_bytes(files: Path, tmp_path: Path) -> None:
    compress(files, tmp_path / "one")
    compress(files, tmp_path / "two", workers=2)
    written = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(written) > 4
    for path in written:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_errors_may_be_bounded_and_aimed_at(files: Path, tmp_path: Path) -> None:
    compress(files, tmp_path / "bounded", max_error="depth_zbuffer=3counts")
    compress(files, tmp_path / "aimed", target="depth_zbuffer=2%")
    native = dsc.open(tmp_path / "bounded", native=True)
    aimed = dsc.open(tmp_path / "aimed", native=True)
    relative = []
    for n in range(COUNT):
        path = files / "depth_zbuffer" / f"{n:02d}.png"
        depth = imagecodecs.png_decode(path.read_bytes()).astype(np.int64)
        assert np.abs(native[n]["depth_zbuffer"].astype(np.int64) - depth).max() <= 3
        relative.append(np.mean(np.abs(aimed[n]["depth_zbuffer"] - depth) / depth))
    assert 0.001 < max(relative) <= 0.02
    alone = dsc.open(tmp_path / "bounded", native=True, tasks=["depth_zbuffer"])
    for one, other in zip(alone, native, strict=True):
        np.testing.assert_array_equal(one["depth_zbuffer"], other["depth_zbuffer"])


def test_a_damaged_byte_of_what_tasks_share_is_seen(files: Path, tmp_path: Path) -> None:
    compress(files, tmp_path / "a")
    payload = dict(Archive.open(tmp_path / "a").payloads(0, ["geometry"]))["geometry"]
    assert payload
    (path,) = (tmp_path / "a" / "geometry").glob("*.tar")
    data = path.read_bytes()
    start = data.index(payload)
    for at in (start, start + len(payload) // 2, start + len(payload) - 1):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(CorruptArchiveError):
            dsc.open(tmp_path / "a")[0]
    path.write_bytes(data)
    assert dsc.open(tmp_path / "a")[0]["normal"] is not None


def test_one_map_alone_is_refused(files: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"surfaces codes none of segment_semantic: .* two or more maps"
    ):
        dsc.compress(
            "folder", tmp_path / "a", root=files, kinds=KINDS, tasks=["segment_semantic"],
            codec="surfaces",
        )  # fmt: skip
