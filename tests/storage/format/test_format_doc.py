"""docs/format.md is true: its reader reads, its example and its limits are the real ones."""

import re
from pathlib import Path
from typing import Any

import pytest

from dsc._schemas.group import Linked
from dsc._storage.format.keys import KEY
from dsc._storage.format.pack import MAX_SAMPLES, Packing, encode_compressed, encode_pack
from dsc._storage.format.tar import MAX_NAME, header_bytes
from dsc._storage.read.archive import MAX_TOTAL_SAMPLES, Archive
from dsc._storage.read.pack_reader import PackReader
from dsc._storage.read.samples import SamplePlace, SampleReader
from tests import compressed
from tests.archives import STREAMS, build_archive, payload
from tests.places import ROOT
from tests.recordings import Recordings

TEXT = (ROOT / "docs" / "format.md").read_text()


def reader(name: str = "read") -> Any:
    section = TEXT.partition("## A reader")[2].partition("\n## ")[0]
    scope: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        exec(code, scope)
    return scope[name]


def test_the_reader_of_the_document_reads_every_sample(tmp_path: Path) -> None:
    build_archive(tmp_path, 23)
    read = reader()
    for index in range(23):
        for stream in STREAMS:
            assert read(tmp_path, stream, index) == payload(stream, index)


def test_the_reader_of_the_document_reads_packs_that_compress(tmp_path: Path) -> None:
    manifest = compressed.build(tmp_path)
    read = reader()
    for index in range(compressed.N):
        for stream in compressed.STREAMS:
            assert read(tmp_path, stream, index) == compressed.payload(stream, index)
    methods = set()
    for tar in tmp_path.glob("*/*.tar"):
        methods |= {data[6] for data in re.findall(rb"DSCP\x02\x00..", tar.read_bytes(), re.DOTALL)}
    assert manifest.format_version == 2
    assert {2, 3, 4} <= methods


@pytest.mark.parametrize("stream", compressed.STREAMS)
def test_the_reader_of_the_document_finds_damage_in_them(tmp_path: Path, stream: str) -> None:
    compressed.build(tmp_path)
    path = tmp_path / stream / f"train-{stream}-000000.tar"
    data = bytearray(path.read_bytes())
    data[512 + 32 + 12 * compressed.PACK + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        reader()(tmp_path, stream, 0)


def test_the_reader_of_the_document_finds_a_flipped_bit(tmp_path: Path) -> None:
    build_archive(tmp_path, 23)
    path = tmp_path / "rgb" / "train-rgb-000000.tar"
    data = bytearray(path.read_bytes())
    data[512 + 32 + 3 * 8] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged payload"):
        reader()(tmp_path, "rgb", 0)


def test_the_reader_of_the_document_lists_what_a_frame_takes(tmp_path: Path) -> None:
    Recordings().write(tmp_path)
    archive, chain = Archive.open(tmp_path), reader("chain")
    for lane in archive.lanes:
        found = SampleReader(PackReader(archive), lane)
        for index in range(len(archive)):
            [given] = found.read([SamplePlace(*archive.locate(index))])
            linked = [one.chain for one in given.values() if isinstance(one, Linked)]
            expected = [bytes(data) for _, data in linked[0]] if linked else []
            assert chain(tmp_path, lane, index) == expected


def test_the_example_pack_is_to_the_byte() -> None:
    example = re.search(r"```\n(44534350.*?)```", TEXT, re.DOTALL)
    assert example is not None
    assert bytes.fromhex(example[1]) == encode_pack([b"\x01\x02", None], 5, 3)


def test_the_example_of_a_pack_that_compresses_is_to_the_byte() -> None:
    example = re.search(r"```\n(44534350 0200.*?)```", TEXT, re.DOTALL)
    assert example is not None
    pack, _ = encode_compressed([b"ab", None, b"b"], 5, 3, Packing())
    assert bytes.fromhex(example[1]) == pack


def test_the_header_table_is_what_is_written() -> None:
    header = header_bytes("k.rgb.pack", 1234)
    for at, what in [
        (0, b"k.rgb.pack\0"), (100, b"0000444\0"), (108, b"0000000\0" * 2), (124, b"00000002322\0"),
        (136, b"00000000000\0"), (156, b"0"), (257, b"ustar\x0000"), (265, bytes(247)),
    ]:  # fmt: skip
        assert header[at : at + len(what)] == what
    total = sum(header[:148] + b" " * 8 + header[156:])
    assert header[148:156] == b"%06o\0 " % total


def test_the_limits_are_the_codes() -> None:
    assert (MAX_SAMPLES, MAX_TOTAL_SAMPLES, MAX_NAME) == (2**20, 2**48, 100)
    assert KEY.fullmatch("A-z_0" * 16)
    assert not KEY.fullmatch("k" * 81)


def test_every_manifest_and_shard_field_is_described(tmp_path: Path) -> None:
    build_archive(tmp_path)
    archive = Archive.open(tmp_path)
    for field in [*type(archive.manifest).model_fields, *type(archive.shards[0]).model_fields]:
        assert f"`{field}`" in TEXT, field
