"""Tars: readable by stock tools, byte for byte the same, strict when read."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._storage.format.tar import END, header_bytes, member_bytes, scan
from dsc.errors import CorruptArchiveError, DscError, UnsafeArchiveError


def members(data: bytes) -> list[tuple[str, int, int]]:
    return [(m.name, m.offset, m.size) for m in scan(lambda a, b: data[a:b], len(data), "t.tar")]


def make(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(member_bytes(name, data) for name, data in parts) + END


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=1500), max_size=5))
def test_python_reads_what_we_write_and_we_read_it_too(blobs: list[bytes]) -> None:
    data = make(*((f"k{i}.rgb.pack", blob) for i, blob in enumerate(blobs)))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        read = [(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
    assert read == [(f"k{i}.rgb.pack", blob) for i, blob in enumerate(blobs)]
    assert [data[at : at + size] for _, at, size in members(data)] == blobs


@pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar is not installed")
def test_gnu_tar_lists_it(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(make(("k0.rgb.pack", b"x" * 700)))
    out = subprocess.run(
        ["tar", "tvf", "a.tar"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "k0.rgb.pack" in out.stdout
    assert out.stdout.startswith("-r--r--r-- 0/0")
    assert not out.stderr


def test_header_is_the_one_python_writes() -> None:
    info = tarfile.TarInfo("key.rgb.pack")
    info.size, info.mode, info.mtime = 1234, 0o444, 0
    assert header_bytes("key.rgb.pack", 1234) == info.tobuf(tarfile.USTAR_FORMAT)


def test_every_flipped_bit_outside_the_data_is_found() -> None:
    data = bytearray(make(("k0.rgb.pack", b"abc")))
    for bit in range(8 * len(data)):
        at = bit // 8
        if 512 <= at < 515:
            continue  # the pack's own checksums cover its data
        data[at] ^= 1 << bit % 8
        with pytest.raises(DscError):
            members(bytes(data))
        data[at] ^= 1 << bit % 8


def test_every_cut_is_found() -> None:
    data = make(("k0.rgb.pack", b"abc"), ("k1.rgb.pack", b"d" * 600))
    for end in range(0, len(data), 37):
        with pytest.raises(CorruptArchiveError):
            members(data[:end])
    with pytest.raises(CorruptArchiveError):
        members(data + bytes(512))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, b"x", b"L", b"S"]
)
def test_members_that_are_no_plain_files_are_refused(kind: bytes) -> None:
    info = tarfile.TarInfo("k0.rgb.pack")
    info.type, info.linkname, info.mode, info.mtime = kind, "/etc/passwd", 0o444, 0
    with pytest.raises(UnsafeArchiveError, match="refused"):
        members(info.tobuf(tarfile.USTAR_FORMAT) + END)


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.pack", "a/../../b", "a\\b", "é.pack"])
def test_unsafe_names_are_refused_both_ways(name: str) -> None:
    with pytest.raises(UnsafeArchiveError):
        header_bytes(name, 3)
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = 3, 0o444, 0
    with pytest.raises(UnsafeArchiveError):
        members(info.tobuf(tarfile.USTAR_FORMAT, "latin-1") + bytes(512) + END)


def test_giant_declared_size_is_refused() -> None:
    info = tarfile.TarInfo("k0.rgb.pack")
    info.size, info.mode, info.mtime = 8 * 2**30 - 1, 0o444, 0
    with pytest.raises(CorruptArchiveError, match="declares 8589934591 bytes"):
        members(info.tobuf(tarfile.USTAR_FORMAT) + END)
