"""Damage in recordings costs the frames that need what is damaged, each named, and no others."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import dsc
from dsc._codecs import registry
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc._storage.read.verify import verify_archive
from dsc.errors import BitstreamError, CorruptArchiveError, UnknownCodecError, UsageError
from tests.group_codec import TreeCodec, ancestors
from tests.recordings import Recordings

RECORDINGS = Recordings((40, 3, 21), lacking=())
PACK = 24
FLIPS, AT_ONCE = 2000, 8


@pytest.fixture(autouse=True)
def _tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CODECS, TreeCodec.id, "tests.group_codec:TreeCodec")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    RECORDINGS.write(tmp_path / "archive", PACK)
    return tmp_path / "archive"


def group_of(index: int) -> range:
    start = index // PACK * PACK
    groups = RECORDINGS.groups(start, min(start + PACK, len(RECORDINGS)))
    return next(group for group in groups if index in group)


def needs(index: int) -> set[int]:
    """List the samples that a sample is decoded with, itself among them."""
    group = group_of(index)
    return {index, *(group[at] for at in ancestors(index - group[0], range(len(group))))}


def payload_at(archive: Archive, index: int, lane: tuple[str, ...]) -> tuple[str, int]:
    """Return the stream and place of the last byte of a sample's payload."""
    shard, pack, k = archive.locate(index)
    for name in lane:
        table = PackReader(archive).table(shard, name, pack)
        if not table.missing[k]:
            return archive.record(shard, name).path, int(table.ends[k]) - 1
    raise AssertionError


def spoil(root: Path, index: int, task: str = "rgb") -> None:
    lane = tuple(f"{task}.t{layer}" for layer in range(3))
    path, at = payload_at(Archive.open(root), index, lane)
    data = bytearray((root / path).read_bytes())
    data[at] ^= 1
    (root / path).write_bytes(data)


@pytest.mark.parametrize("index", [0, 8, 12, 5, 16, 41])
def test_a_damaged_frame_costs_those_that_need_it_and_each_is_named(
    archive: Path, index: int
) -> None:
    spoil(archive, index)
    views, damaged = dsc.open(archive, "rgb", native=True), RECORDINGS.key(index)
    for other in range(len(RECORDINGS)):
        if index not in needs(other):
            assert np.array_equal(views[other]["rgb"], RECORDINGS.arrays(other)["rgb"])
            continue
        with pytest.raises((BitstreamError, CorruptArchiveError)) as caught:
            views[other]
        text = str(caught.value)
        assert "rgb.t" in text
        assert f"pack {other % 48 // PACK}" in text
        assert damaged in text
        assert RECORDINGS.key(other) in text
    stream = dsc.stream(
        archive, "rgb", 7, native=True, output="numpy", on_error="skip", shuffle=True
    )
    for batch in stream:
        for at, array in zip(batch["__index__"].tolist(), batch["rgb"], strict=True):
            assert np.array_equal(array, RECORDINGS.arrays(at)["rgb"])
    lost = {other for other in range(len(RECORDINGS)) if index in needs(other)}
    assert {one.index for one in stream.report.skipped} == lost
    assert all(damaged in one.reason for one in stream.report.skipped if one.index != index)


@pytest.mark.parametrize("index", [0, 8, 12, 5, 16, 41])
def test_the_nearest_intact_frame_stands_for_a_damaged_one(archive: Path, index: int) -> None:
    spoil(archive, index)
    intact = [o for o in group_of(index) if index not in needs(o)]
    views = dsc.open(archive, "rgb,label", native=True, on_damage="nearest")
    if not intact:  # nothing of this group can be decoded
        with pytest.raises((BitstreamError, CorruptArchiveError)):
            views[index]
        return
    expected = {}
    for other in range(len(RECORDINGS)):
        away = 0
        if index in needs(other):
            away = min((abs(one - other), one - other) for one in intact)[1]
        expected[other] = away
        found = views[other]
        assert np.array_equal(found["rgb"], RECORDINGS.arrays(other + away)["rgb"])
        assert np.array_equal(found["label"], RECORDINGS.arrays(other)["label"])
        assert found["__nearest__"] == ({"rgb": away} if away else {})
    for options in ({}, {"cache_decoded": "10MB", "threads": 2}):
        stream = dsc.stream(
            archive, "rgb,label", 7, native=True, output="numpy", on_damage="nearest", **options
        )
        for _ in range(2):  # the second epoch is of the cache
            for batch in stream:
                for at, array, flag in zip(
                    batch["__index__"].tolist(), batch["rgb"], batch["__nearest__"], strict=True
                ):
                    away = expected[at]
                    assert np.array_equal(array, RECORDINGS.arrays(at + away)["rgb"])
                    assert flag == ({"rgb": away} if away else {})
        assert stream.report.n_nearest == 2 * sum(away != 0 for away in expected.values())


@pytest.mark.parametrize("how", ["gone", "cut", "header"])
def test_a_layer_that_is_lost_costs_its_frames_only(archive: Path, how: str) -> None:
    for path in (archive / "rgb.t2").glob("*.tar"):
        if how == "gone":
            path.unlink()
        elif how == "cut":
            path.write_bytes(path.read_bytes()[:-700])
        else:
            data = bytearray(path.read_bytes())
            for at in (m.start() for m in re.finditer(b"DSCP", bytes(data))):
                data[at + 8] ^= 1
            path.write_bytes(data)
    views = dsc.open(archive, "rgb", native=True)
    there = {index for index in range(len(RECORDINGS)) if (index - group_of(index)[0]) % 4 == 0}
    for index in range(len(RECORDINGS)):
        if index in there:
            assert np.array_equal(views[index]["rgb"], RECORDINGS.arrays(index)["rgb"])
        else:
            with pytest.raises(CorruptArchiveError, match=r"rgb\.t2"):
                views[index]
    stream = dsc.stream(archive, "rgb", 7, native=True, output="numpy", on_error="skip")
    seen = {index for batch in stream for index in batch["__index__"].tolist()}
    assert seen == there
    nearest = dsc.open(archive, "rgb", native=True, on_damage="nearest")
    assert nearest[1]["__nearest__"] == {"rgb": -1}
    assert verify_archive(archive)


def extents(root: Path) -> dict[str, list[tuple[int, int, list[int]]]]:
    """List by tar which bytes are of which samples: of one, or of all of a pack."""
    archive = Archive.open(root)
    reader, found = PackReader(archive), {}
    for shard, record in enumerate(archive.shards):
        for lane in archive.lanes:
            for name in lane:
                parts = found.setdefault(record.streams[name].path, [])
                for pack in range(archive.n_packs(shard)):
                    table = reader.table(shard, name, pack)
                    first = record.first_index + pack * PACK
                    start, _ = archive.extent(shard, name, pack)
                    all_of_it = list(range(first, first + len(table.crcs)))
                    parts.append((start, int(table.starts[0]), all_of_it))
                    for k, (begin, end) in enumerate(zip(table.starts, table.ends, strict=True)):
                        if not table.missing[k]:
                            parts.append((int(begin), int(end), [first + k]))
    return found


def test_of_random_flips_exactly_the_frames_are_lost_that_need_them(archive: Path) -> None:
    rng, parts = np.random.default_rng(7), extents(archive)
    spoilt = [(path, *part) for path, own in parts.items() for part in own if part[1] > part[0]]
    sizes = np.array([end - begin for _, begin, end, _ in spoilt])
    there = owners(archive)
    for _ in range(FLIPS // AT_ONCE):
        flips, damaged = [], set[tuple[str, int]]()
        for number in rng.choice(len(spoilt), AT_ONCE, False, sizes / sizes.sum()).tolist():
            path, begin, end, samples = spoilt[number]
            flips.append((archive / path, int(rng.integers(begin, end)), 1 << int(rng.integers(8))))
            stream = path.split("/")[0]
            damaged |= {(stream, index) for index in samples}
        for one in flips:
            flip(*one)
        lost = {
            index
            for index in range(len(RECORDINGS))
            for task in ("rgb", "label")
            if any(is_lost(other, task, damaged, there) for other in needs(index))
        }
        stream = dsc.stream(
            archive, "rgb,label", 16, native=True, output="numpy", on_error="skip", threads=0
        )
        seen = set()
        for batch in stream:
            for at, index in enumerate(batch["__index__"].tolist()):
                seen.add(index)
                for name in ("rgb", "label"):
                    assert np.array_equal(batch[name][at], RECORDINGS.arrays(index)[name])
        assert {one.index for one in stream.report.skipped} == lost
        assert seen == set(range(len(RECORDINGS))) - lost
        for one in flips:
            flip(*one)
    assert verify_archive(archive) == []


def owners(root: Path) -> dict[tuple[str, int], str]:
    """Return by task and sample the stream that has its payload."""
    archive = Archive.open(root)
    reader, found = PackReader(archive), {}
    for index in range(len(archive)):
        shard, pack, k = archive.locate(index)
        for lane in archive.lanes:
            for name in lane:
                if not reader.table(shard, name, pack).missing[k]:
                    found[name.split(".")[0], index] = name
    return found


def is_lost(
    index: int,
    task: str,
    damaged: set[tuple[str, int]],
    there: dict[tuple[str, int], str],
) -> bool:
    """Tell whether a sample's payload is damaged."""
    return (there[task, index], index) in damaged


def flip(path: Path, at: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)[0]
        file.seek(at)
        file.write(bytes([old ^ bit]))


def test_verify_finds_a_group_that_is_not_whole(tmp_path: Path) -> None:
    class Forgetful(Recordings):
        """Writes group headers that name a sample that lacks the task."""

    made = Forgetful((20,), lacking=())
    original = TreeCodec.encode_group

    def encode(self: TreeCodec, samples: object, quality: object) -> list[dict[str, bytes]]:
        coded = original(self, samples, quality)  # type: ignore[arg-type]
        if len(coded) > 8:
            coded[8].pop("rgb.t1")
        return coded

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TreeCodec, "encode_group", encode)
        made.write(tmp_path / "archive", PACK)
    problems = verify_archive(tmp_path / "archive")
    assert len(problems) == 1
    assert "which it needs, has no payload here" in problems[0].detail
    with pytest.raises(BitstreamError, match="which it needs, has no payload here"):
        dsc.open(tmp_path / "archive", "rgb")[9]


def test_an_unknown_codec_of_groups_is_named_and_other_tasks_are_read(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(registry.CODECS, TreeCodec.id)
    with pytest.raises(UnknownCodecError, match="tree-of-differences"):
        dsc.open(archive, "rgb")[0]
    depth = dsc.open(archive, "depth", native=True)[3]["depth"]
    assert np.array_equal(depth, RECORDINGS.arrays(3)["depth"])
    assert verify_archive(archive) == []
    shutil.rmtree(archive / "rgb.t0")
    assert np.array_equal(dsc.open(archive, "depth", native=True)[3]["depth"], depth)


def test_bad_values_are_refused(archive: Path) -> None:
    with pytest.raises(UsageError, match="on_damage='closest': one of fail, nearest"):
        dsc.open(archive, on_damage="closest")
    with pytest.raises(UsageError, match="on_damage='closest': one of fail, nearest"):
        dsc.stream(archive, on_damage="closest")
    with pytest.raises(UsageError, match="on_damage='nearest' goes with decode='pixels'"):
        dsc.stream(archive, on_damage="nearest", decode="bytes")
