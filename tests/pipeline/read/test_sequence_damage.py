"""Whatever is flipped in an archive of recordings: each frame that is lost is named, others exact.

``DSC_FLIPS`` says how many bits are flipped (300 unless told).
"""

import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from dsc._bench.server import serve
from dsc._codecs.sequence import libaom
from dsc._schemas.group import GroupHeader
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc._storage.read.samples import SamplePlace, SampleReader
from dsc.errors import BitstreamError, CorruptArchiveError
from tests.clips import FRAMES, write_clip

pytestmark = pytest.mark.skipif(not libaom.is_there(), reason="imagecodecs brings no known libaom")
FLIPS, AT_ONCE = int(os.environ.get("DSC_FLIPS", "300")), 25
DAMAGE = (BitstreamError, CorruptArchiveError)
TASKS = "rgb,depth"
Values = list[dict[str, Any]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip", shard_size=64)


@pytest.fixture(scope="module")
def values(clip: Path) -> Values:
    return list(dsc.open(clip, TASKS, native=True))


@pytest.fixture
def copy(clip: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clip, tmp_path / "copy"))


def payload_of(root: Path, stream: str, index: int) -> tuple[Path, int, int, int]:
    """Return the file, start, end and the place of the checksum of a sample's payload."""
    archive = Archive.open(root)
    shard, pack, k = archive.locate(index)
    table = PackReader(archive).table(shard, stream, pack)
    path = root / archive.record(shard, stream).path
    start, end = int(table.starts[k]), int(table.ends[k])
    crc = zlib.crc32(path.read_bytes()[start:end]).to_bytes(4, "little")
    return path, start, end, path.read_bytes().index(crc, archive.extent(shard, stream, pack)[0])


def sign(data: bytearray, root: Path, stream: str, index: int) -> None:
    """Make the checksum of a pack's table fit."""
    archive = Archive.open(root)
    shard, pack, _ = archive.locate(index)
    at = data.index(b"DSCP", archive.extent(shard, stream, pack)[0])
    count = int.from_bytes(data[at + 8 : at + 12], "little")
    table = bytes(data[at + 32 : at + 32 + 8 * count])
    crc = zlib.crc32(table, zlib.crc32(bytes(data[at : at + 24])))
    data[at + 24 : at + 28] = crc.to_bytes(4, "little")


def check(root: Path, values: Values, tasks: str = TASKS) -> set[int]:
    """Check that every frame is exact or an error that names it; return those that are lost."""
    views, lost = dsc.open(root, tasks, native=True), set()
    named: list[tuple[str, str]] = []
    for index in range(FRAMES):
        try:
            found = views[index]
        except DAMAGE as error:
            lost.add(index)
            named.append((Archive.open(root).key(index), str(error)))
            continue
        for name in tasks.split(","):
            assert np.array_equal(found[name], values[index][name]), index
    assert all(key in text for key, text in named)
    stream = dsc.stream(root, tasks, 5, native=True, output="numpy", on_error="skip")
    seen = {int(index) for batch in stream for index in batch["__index__"]}
    assert seen == set(range(FRAMES)) - lost
    assert {one.index for one in stream.report.skipped} == lost
    return lost


def test_random_flips_cost_frames_that_are_named_and_no_others(copy: Path, values: Values) -> None:
    paths = sorted(path for name in ("rgb", "depth") for path in copy.glob(f"{name}.*/*.tar"))
    whole = {path: path.read_bytes() for path in paths}
    sizes = np.array([len(data) for data in whole.values()])
    rng = np.random.default_rng(5)
    found, nearest = 0, 0
    for _ in range(FLIPS // AT_ONCE):
        changed = {}
        for which in rng.choice(len(paths), AT_ONCE, p=sizes / sizes.sum()):
            path = paths[which]
            data = changed.setdefault(path, bytearray(whole[path]))
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        for path, data in changed.items():
            path.write_bytes(data)
        lost = check(copy, values)
        found += len(lost)
        if lost and nearest < FRAMES:
            nearest += check_nearest(copy, values, lost)
        for path in changed:
            path.write_bytes(whole[path])
    assert found > FLIPS // AT_ONCE
    assert nearest > 0


def check_nearest(root: Path, values: Values, lost: set[int]) -> int:
    """Check that what stands for a frame is an intact one, and said; return how many do."""
    views, stood = dsc.open(root, TASKS, native=True, on_damage="nearest"), 0
    for index in range(FRAMES):
        try:
            found = views[index]
        except DAMAGE:
            assert index in lost
            continue
        stood += index in lost
        for name in TASKS.split(","):
            other = index + found["__nearest__"].get(name, 0)
            assert np.array_equal(found[name], values[other][name]), (index, name)
            assert (other == index) or index in lost
    return stood


@pytest.mark.parametrize("stream", ["rgb.t1", "depth.t1", "depth.residual.t1"])
def test_the_nearest_frame_stands_for_each_that_is_lost(
    copy: Path, values: Values, stream: str
) -> None:
    path, start, _, _ = payload_of(copy, stream, 4)
    data = bytearray(path.read_bytes())
    data[start + 6] ^= 4
    path.write_bytes(data)
    task = stream.partition(".")[0]
    lost = check(copy, values, task)
    assert 4 in lost
    assert (len(lost) == 1) == ("residual" in stream)
    views = dsc.open(copy, task, native=True, on_damage="nearest")
    for index in range(FRAMES):
        found = views[index]
        away = found["__nearest__"].get(task, 0)
        assert (away != 0) == (index in lost)
        assert np.array_equal(found[task], values[index + away][task])


@pytest.mark.parametrize(
    "stream", ["rgb.t0", "rgb.t2", "depth.t0", "depth.t2", "depth.residual.t2"]
)
@pytest.mark.parametrize("how", ["noise", "zeros", "flip"])
def test_what_passes_its_checksum_and_does_not_decode_is_named(
    copy: Path, values: Values, stream: str, how: str
) -> None:
    index = 0 if stream.endswith("t0") else 5
    path, start, end, at = payload_of(copy, stream, index)
    data = bytearray(path.read_bytes())
    head = 0 if "residual" in stream else GroupHeader.unpack(bytes(data[start:end])).size
    body = start + head
    if how == "flip":
        data[body] ^= 0xFF
    else:
        rng = np.random.default_rng(0)
        data[body:end] = rng.bytes(end - body) if how == "noise" else bytes(end - body)
    data[at : at + 4] = zlib.crc32(bytes(data[start:end])).to_bytes(4, "little")
    sign(data, copy, stream, index)
    path.write_bytes(data)
    task = stream.partition(".")[0]
    views, lost = dsc.open(copy, task, native=True), set()
    named: list[tuple[str, str]] = []
    for other in range(FRAMES):
        try:
            found = views[other][task]
        except DAMAGE as error:
            lost.add(other)
            named.append((Archive.open(copy).key(other), str(error)))
            continue
        # what decodes to other values cannot be told without a checksum, but is of this group
        assert np.array_equal(found, values[other][task]) or other < 16
        assert found.shape == values[other][task].shape
    assert all(key in text for key, text in named)
    assert lost <= set(range(16)) if index == 0 else lost <= {5}


def test_one_remote_frame_takes_two_rounds(clip: Path, values: Values) -> None:
    with serve(clip) as (url, traffic):
        views = dsc.open(url, "rgb", native=True)
        before = dict(traffic.requests)
        found = views[13]
        asked = {
            path: count - before.get(path, 0)
            for path, count in traffic.requests.items()
            if path.endswith(".tar")
        }
    assert np.array_equal(found["rgb"], values[13]["rgb"])
    assert set(asked) <= {f"rgb.t{layer}/train-rgb.t{layer}-000000.tar" for layer in range(3)}
    assert max(asked.values()) <= 2  # small packs are read whole: one each


def test_of_a_large_pack_one_frame_takes_two_rounds(
    clip: Path, values: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsc._storage.read.samples.SMALL_PACK", 0)
    monkeypatch.setattr("dsc._storage.read.samples.DENSE", 1)
    rounds = []
    read_parts = SampleReader._read_parts

    def counted(self: SampleReader, wanted: Any) -> Any:
        rounds.append(sorted((one.stream, tuple(ks)) for one, ks in wanted.items()))
        return read_parts(self, wanted)

    monkeypatch.setattr(SampleReader, "_read_parts", counted)
    with serve(clip) as (url, _):
        archive = Archive.open(url)
        reader = SampleReader(PackReader(archive), ("rgb.t0", "rgb.t1", "rgb.t2"))
        (found,) = reader.read([SamplePlace(*archive.locate(13))])
    assert len(rounds) == 2
    assert found["rgb.t2"] is not None
    assert not getattr(found["rgb.t2"], "lack", "")
