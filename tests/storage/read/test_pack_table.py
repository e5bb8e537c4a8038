"""A pack's table by itself says where the payloads lie; no flipped bit of it goes unseen."""

from pathlib import Path

import pytest

from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import decode_table, table_range
from dsc.errors import CorruptPackError
from tests.archives import build_archive, payload


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    build_archive(tmp_path, 10, 10, 4)
    return Archive.open(tmp_path)


def test_the_table_says_where_each_payload_lies(archive: Archive) -> None:
    data = archive.root.read(archive.record(0, "depth").path)
    for pack in range(3):
        start, end = table_range(archive, 0, "depth", pack)
        table = decode_table(data[start:end], archive, 0, "depth", pack)
        first, count = archive.span(0, pack)
        for k in range(count):
            expected = payload("depth", first + k)
            assert bool(table.missing[k]) == (expected is None)
            assert data[int(table.starts[k]) : int(table.ends[k])] == (expected or b"")


def test_every_flipped_bit_before_the_payloads_is_found(archive: Archive) -> None:
    start, end = table_range(archive, 0, "depth", 1)
    data = archive.root.read(archive.record(0, "depth").path, start, end)
    decode_table(data, archive, 0, "depth", 1)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptPackError):
            decode_table(bytes(damaged), archive, 0, "depth", 1)


@pytest.mark.parametrize(("stream", "pack"), [("rgb", 1), ("depth", 0), ("depth", 2)])
def test_the_table_of_another_pack_is_refused(archive: Archive, stream: str, pack: int) -> None:
    other = archive.root.read(
        archive.record(0, stream).path, *table_range(archive, 0, stream, pack)
    )
    with pytest.raises(CorruptPackError):
        decode_table(other, archive, 0, "depth", 1)


def test_a_cut_table_is_refused(archive: Archive) -> None:
    start, end = table_range(archive, 0, "depth", 1)
    data = archive.root.read(archive.record(0, "depth").path, start, end)
    for length in (0, 100, 512, 530, 544, len(data) - 1):
        with pytest.raises(CorruptPackError):
            decode_table(data[:length], archive, 0, "depth", 1)
