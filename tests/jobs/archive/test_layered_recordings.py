"""Recordings coded by `layered-seq`: written, fetched and read by levels, damaged, streamed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import dsc
from dsc._codecs.learned.layered.spec import SCALES
from dsc._jobs.archive.append import append
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc._storage.read.verify import verify_archive
from dsc.errors import BitstreamError, CorruptArchiveError
from tests.cli.conftest import run_dsc
from tests.codecs.layered_cases import sequence_file

FRAMES, GROUP, N = 18, 16, 36  # of each of two recordings; the last two are a group of their own
WORDS = ("--frames", FRAMES, "--sequences", 2, "--size", 48, "--tasks", "rgb,depth")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    path.write_bytes(sequence_file())
    return path


@pytest.fixture(scope="module")
def archive(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recordings") / "archive"
    words = (*WORDS, "--codec", f"rgb={weights}", "--shard-size", 36, "--pack", 18)
    done = run_dsc("compress", "rendered", *words, "--out", out)
    assert done.code == 0, done.err
    return out


@pytest.fixture(scope="module")
def levels(archive: Path) -> list[list[np.ndarray]]:
    """What each number of levels decodes to, intact: the first is of none."""
    counts = range(1, SCALES + 1)
    return [[], *([one["rgb"] for one in dsc.open(archive, "rgb", levels=c)] for c in counts)]


@contextmanager
def spoiled(root: Path, index: int, stream: str) -> Iterator[None]:
    """Flip a bit of a payload for a while."""
    opened = Archive.open(root)
    shard, pack, k = opened.locate(index)
    end = int(PackReader(opened).table(shard, stream, pack).ends[k])
    path = root / opened.record(shard, stream).path
    whole = path.read_bytes()
    data = bytearray(whole)
    data[end - 1] ^= 1
    path.write_bytes(data)
    yield
    path.write_bytes(whole)


def lost_by(index: int) -> set[int]:
    """List the frames that damage of one reaches: those up to the next key."""
    frame = index % FRAMES
    stop = min(frame // GROUP * GROUP + GROUP, FRAMES)
    return set(range(index, index - frame + stop))


def test_an_archive_is_whole_and_says_its_levels(archive: Path) -> None:
    assert verify_archive(archive) == []
    manifest = Archive.open(archive).manifest
    (record,) = (one for one in manifest.codecs if one.id == "layered-seq")
    assert record.streams == tuple(f"rgb.{scale}" for scale in range(SCALES))
    shown = run_dsc("info", archive)
    assert "layered-seq" in shown.out
    assert "levels" in shown.out


def test_every_level_has_all_frames(archive: Path, levels: list) -> None:
    assert [len(found) for found in levels[1:]] == [N] * SCALES
    views = dsc.open(archive, "rgb")
    for index in (0, 9, 17, 30):  # by itself, a frame is what it is among all
        assert np.array_equal(views[index]["rgb"], levels[SCALES][index])
    stream = dsc.stream(archive, "rgb", 5, levels=2, shuffle=True, output="numpy", threads=2)
    seen = []
    for batch in stream:
        for index, one in zip(batch["__index__"].tolist(), batch["rgb"], strict=True):
            assert np.array_equal(one, levels[2][index])
            seen.append(index)
    assert sorted(seen) == list(range(N))


def test_a_level_is_fetched_alone_and_refined(archive: Path, levels: list, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    done = run_dsc("fetch", archive, "--tasks", "rgb", "--levels", "rgb=1", "--out", out)
    assert done.code == 0, done.err
    assert {path.parent.name for path in out.rglob("*.tar")} == {"rgb.0"}
    assert verify_archive(out) == []
    for one, expected in zip(dsc.open(out, "rgb"), levels[1], strict=True):
        assert np.array_equal(one["rgb"], expected)
    assert run_dsc("fetch", archive, "--tasks", "rgb", "--out", out).code == 0
    for one, expected in zip(dsc.open(out, "rgb"), levels[SCALES], strict=True):
        assert np.array_equal(one["rgb"], expected)


@pytest.mark.parametrize(("index", "scale"), [(5, 3), (20, 1)])
def test_a_lost_scale_makes_frames_coarser_up_to_the_next_key(
    archive: Path, levels: list, index: int, scale: int
) -> None:
    with spoiled(archive, index, f"rgb.{scale}"):
        views = dsc.open(archive, "rgb", on_damage="coarser")
        for at, one in enumerate(views):
            left = scale if at in lost_by(index) else SCALES
            assert np.array_equal(one["rgb"], levels[left][at]), at
            assert one["__coarser__"] == ({"rgb": left} if left < SCALES else {})
        stream = dsc.stream(archive, "rgb", 4, output="numpy", on_damage="coarser")
        assert sum(len(batch["__index__"]) for batch in stream) == N
        assert stream.report.n_coarser == len(lost_by(index))
        plain = dsc.open(archive, "rgb")
        with pytest.raises((BitstreamError, CorruptArchiveError), match=rf"rgb\.{scale}"):
            plain[max(lost_by(index))]


def test_an_archive_grows(weights: Path, tmp_path: Path) -> None:
    asked = {"frames": 4, "size": 48}
    dsc.compress("rendered", tmp_path, tasks="rgb", codec=f"rgb={weights}", sequences=1, **asked)
    before = [one["rgb"] for one in dsc.open(tmp_path)]
    append(tmp_path, "rendered", sequences=2, **asked)
    views = dsc.open(tmp_path)
    assert len(views) == 8
    assert all(np.array_equal(views[at]["rgb"], one) for at, one in enumerate(before))
    assert verify_archive(tmp_path) == []
