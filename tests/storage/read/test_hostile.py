"""Archives made to deceive: every hash is true, only the checks of meaning can refuse them."""

import io
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsc._storage.format.pack import encode_pack
from dsc._storage.format.tar import END, member_bytes
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import (
    CorruptArchiveError,
    CorruptPackError,
    DscError,
    TaskMismatchError,
    UnsafeArchiveError,
)
from tests.archives import STREAMS, build_archive, forge

TAR = "rgb/train-rgb-000000.tar"
KEYS = "keys/train-keys-000000.jsonl"
Edit = Callable[[list[dict[str, Any]]], object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    build_archive(tmp_path / "a")
    return tmp_path / "a"


def read_everything(root: Path) -> None:
    archive = Archive.open(root)
    for shard in range(len(archive.shards)):
        archive.keys(shard)
        for stream in STREAMS:
            for pack in range(archive.n_packs(shard)):
                archive.read_pack(shard, stream, pack)
            list(archive.iter_packs(shard, stream))


def refuse(root: Path, error: type[DscError], match: str) -> None:
    """The reader refuses it with a message, and so does verify, which raises nothing."""
    with pytest.raises(error, match=match):
        read_everything(root)
    assert verify_archive(root)


def replace_tar(root: Path, data: bytes, *, idx: bool = True) -> None:
    (root / TAR).write_bytes(data)
    if idx:
        (root / f"{TAR}.idx").unlink()
    forge(root, lambda shards: shards[0]["streams"]["rgb"].update(bytes=len(data)))


def test_a_forged_archive_that_says_nothing_false_is_read(root: Path) -> None:
    forge(root)
    read_everything(root)
    assert verify_archive(root) == []


@pytest.mark.parametrize("size", [10**9, 10**15, 2**63, 10**30])
@pytest.mark.parametrize("place", ["keys", "stream"])
def test_giant_declared_sizes_allocate_nothing(root: Path, size: int, place: str) -> None:
    def edit(shards: list[dict[str, Any]]) -> None:
        file = shards[0]["keys"] if place == "keys" else shards[0]["streams"]["rgb"]
        file["bytes"] = size

    forge(root, edit)
    refuse(root, CorruptArchiveError, f"{size}|do not fit")


def test_giant_sizes_in_the_manifest_allocate_nothing(root: Path) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        for file in manifest["files"]:
            file["bytes"] = 10**15

    forge(root, manifest=edit)
    with pytest.raises(CorruptArchiveError, match=r"shards\.jsonl.*1000000000000000 bytes"):
        Archive.open(root)
    assert [problem.path for problem in verify_archive(root)] == ["dsc.json"]


def test_an_index_beyond_the_file_allocates_nothing(root: Path) -> None:
    giant = 1 << 45
    offsets = list(struct.unpack("<4Q", (root / f"{TAR}.idx").read_bytes()))
    (root / f"{TAR}.idx").write_bytes(struct.pack("<4Q", *offsets[:-1], giant))
    forge(root, lambda shards: shards[0]["streams"]["rgb"].update(bytes=giant + len(END)))
    refuse(root, CorruptPackError, "damaged tar header")


@pytest.mark.parametrize("samples", [5 * 10**18, 10**30])
def test_giant_sample_counts_are_refused(root: Path, samples: int) -> None:
    def edit(shards: list[dict[str, Any]]) -> None:
        for number, record in enumerate(shards):
            record |= {"samples": samples, "first_index": number * samples}

    forge(root, edit, lambda manifest: manifest["splits"].update(train=3 * samples))
    refuse(root, UnsafeArchiveError, f"{samples} samples")


@pytest.mark.parametrize(
    "key", ["../../../etc/x", "/etc/passwd", "a.b", "a/b", "a\\\\b", "", "k" * 81, "é", "a\\u0000"]
)
def test_keys_that_would_leave_an_export_directory_are_refused(root: Path, key: str) -> None:
    lines = [f'{{"key":"{key}"}}'] + [f'{{"key":"k{i}"}}' for i in range(1, 8)]
    data = "".join(line + "\n" for line in lines).encode()
    (root / KEYS).write_bytes(data)
    forge(root, lambda shards: shards[0]["keys"].update(bytes=len(data)))
    refuse(root, UnsafeArchiveError, "is no sample key")


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"key":' * 50_000, "{}", "[]", "1" * 5000, '{"key":{"a":1}}', "\xff"]
)
def test_keys_that_are_json_bombs_or_no_strings_are_refused(root: Path, line: str) -> None:
    data = line.encode("latin-1") + b"\n" + b'{"key":"a"}\n' * 7
    (root / KEYS).write_bytes(data)
    forge(root, lambda shards: shards[0]["keys"].update(bytes=len(data)))
    refuse(root, CorruptArchiveError, KEYS)


@pytest.mark.parametrize(
    "path", ["../x.tar", "/etc/passwd", "rgb/../../x", "pipe:ls", "http://h/x", "a\\b", "é", "a//b"]
)
def test_record_paths_that_leave_the_root_are_refused(root: Path, path: str) -> None:
    forge(root, lambda shards: shards[0]["streams"]["rgb"].update(path=path))
    refuse(root, CorruptArchiveError, "streams.rgb.path")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, b"x", b"L"])
def test_tars_with_other_than_plain_members_are_refused(root: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("view_00000.rgb.pack")
    info.type, info.linkname, info.mode, info.mtime = kind, "/etc/passwd", 0o444, 0
    replace_tar(root, info.tobuf(tarfile.USTAR_FORMAT) + END)
    refuse(root, UnsafeArchiveError, "links, devices and extended headers are refused")


def test_a_tar_with_extended_headers_is_refused(root: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("view_00000.rgb.pack")
        info.size, info.mtime = 3, 1.5  # a float time needs a PAX header
        tar.addfile(info, io.BytesIO(b"abc"))
    replace_tar(root, out.getvalue())
    refuse(root, UnsafeArchiveError, "refused")


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.rgb.pack", "a/../../b", "é.rgb.pack"])
def test_members_with_unsafe_names_are_refused(root: Path, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = 0o444, 0
    replace_tar(root, info.tobuf(tarfile.USTAR_FORMAT, "latin-1") + END)
    refuse(root, UnsafeArchiveError, "not a path inside an archive")


def packs_of(root: Path, stream: str = "rgb") -> list[bytes]:
    archive = Archive.open(root)
    return [
        encode_pack([None if p is None else bytes(p) for p in pack.payloads], pack.first_index, 0)
        for pack in archive.iter_packs(0, stream)
    ]


def tar_of(packs: list[bytes], stream: str = "rgb") -> bytes:
    names = (f"view_{3 * j:05d}.{stream}.pack" for j in range(len(packs)))
    return b"".join(map(member_bytes, names, packs)) + END


def test_rebuilding_the_tar_unchanged_gives_the_same_bytes(root: Path) -> None:
    assert tar_of(packs_of(root)) == (root / TAR).read_bytes()


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_whole_tar_that_lacks_a_pack_is_refused(root: Path, lost: int) -> None:
    packs = packs_of(root)
    del packs[lost]
    replace_tar(root, tar_of(packs))
    refuse(root, CorruptArchiveError, "expected 32|out of step")


def test_data_hidden_in_a_members_padding_is_refused(root: Path) -> None:
    packs = packs_of(root)
    data = bytearray(tar_of(packs))
    data[512 + len(packs[0])] = 1
    (root / TAR).write_bytes(data)
    forge(root)
    refuse(root, CorruptPackError, "padding is not zero")


def test_a_bitstream_replaced_with_its_checksum_is_found_by_verify(root: Path) -> None:
    """Every pack is true to itself, so only the recorded hash can tell."""
    packs = packs_of(root)
    archive = Archive.open(root)
    old = [bytes(p) for p in archive.read_pack(0, "rgb", 1).payloads if p is not None]
    packs[1] = encode_pack([bytes(len(p)) for p in old], 3, 0)
    (root / TAR).write_bytes(tar_of(packs))
    problems = verify_archive(root)
    assert [problem.path for problem in problems] == [TAR]
    assert "sha256" in problems[0].detail


def test_swapped_packs_are_refused(root: Path) -> None:
    packs = packs_of(root)
    replace_tar(root, tar_of([packs[1], packs[0], packs[2]]))
    refuse(root, TaskMismatchError, "holds samples 3 to 5, expected 0 to 2")


def test_a_pack_of_another_codec_is_refused(root: Path) -> None:
    packs = packs_of(root)
    replace_tar(root, tar_of([encode_pack([b"x"] * 3, 0, 1), *packs[1:]]))
    refuse(root, TaskMismatchError, "written by codec 1, the manifest says 0")


def test_another_streams_tar_under_this_streams_name_is_refused(root: Path) -> None:
    replace_tar(root, tar_of(packs_of(root, "depth"), "depth"))
    refuse(root, TaskMismatchError, "is of another stream")


def test_a_member_named_after_another_sample_is_found_by_verify(root: Path) -> None:
    data = (root / TAR).read_bytes().replace(b"view_00000.rgb", b"view_00001.rgb", 1)
    pack = packs_of(root)[0]
    replace_tar(
        root, member_bytes("view_00001.rgb.pack", pack) + data[512 + -(-len(pack) // 512) * 512 :]
    )
    assert "expected 'view_00000.rgb.pack'" in verify_archive(root)[0].detail


@pytest.mark.parametrize("count", [4, 2**20 + 1, 2**32 - 1])
def test_a_pack_that_declares_too_many_samples_is_refused(root: Path, count: int) -> None:
    packs = packs_of(root)
    packs[0] = packs[0][:8] + struct.pack("<I", count) + packs[0][12:]
    replace_tar(root, tar_of(packs))
    refuse(root, CorruptPackError, f"declares {count} samples|crc")


def test_hidden_data_after_the_end_of_a_tar_is_refused(root: Path) -> None:
    whole = (root / TAR).read_bytes()
    for extra in (bytes(512), b"hidden".ljust(512, b"\0"), whole):
        replace_tar(root, whole + extra, idx=(root / f"{TAR}.idx").exists())
        refuse(root, CorruptArchiveError, "after the last member")


@pytest.mark.parametrize("change", [{"payload_bytes": 1}, {"n_missing": 1}])
def test_sums_that_are_not_the_shards_sums_are_found_by_verify(
    root: Path, change: dict[str, int]
) -> None:
    forge(root, manifest=lambda manifest: manifest["totals"]["rgb"].update(change))
    assert [problem.path for problem in verify_archive(root)] == ["dsc.json"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda shards: shards.pop(),
        lambda shards: shards.append(shards[-1]),
        lambda shards: shards.reverse(),
        lambda shards: shards[1].update(first_index=7),
        lambda shards: shards[1].update(samples=0),
        lambda shards: shards.append(shards[-1] | {"n": 3, "first_index": 23, "samples": 0}),
        lambda shards: shards[1]["streams"].pop("depth"),
        lambda shards: shards[1].update(split="other"),
    ],
)
def test_shards_that_are_lost_repeated_or_out_of_step_are_refused(root: Path, edit: Edit) -> None:
    forge(root, edit)
    refuse(root, CorruptArchiveError, r"shards\.jsonl")


def test_a_key_that_comes_twice_is_found_by_verify(root: Path) -> None:
    data = (root / KEYS).read_bytes().replace(b"view_00001", b"view_00009")
    (root / KEYS).write_bytes(data)
    forge(root)
    assert any("'view_00009' is also in" in problem.detail for problem in verify_archive(root))


def test_weights_that_are_not_what_their_name_says_are_refused(root: Path) -> None:
    weights = next((root / "codecs").iterdir())
    weights.write_bytes(b"other weights")
    forge(root)  # the manifest now gives the hash of the new bytes, under the old name
    archive = Archive.open(root)
    with pytest.raises(CorruptArchiveError, match="foreign weights are not used"):
        archive.codec_file(archive.manifest.codecs[0])
    assert verify_archive(root)
