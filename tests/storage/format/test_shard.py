"""Shards: nothing given to the writer is lost, nothing half written has a name."""

import os
import stat
from pathlib import Path

import pytest

from dsc._storage.files.root import Root
from dsc._storage.format.shard import ShardWriter
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import CorruptArchiveError, UsageError
from tests.archives import build_archive


def writer(root: Path, *streams: str) -> ShardWriter:
    return ShardWriter(Root(root), "train", 0, 0, dict.fromkeys(streams or ("rgb",), 0), 2)


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def test_a_payload_of_a_stream_that_is_not_written_is_refused_not_dropped(tmp_path: Path) -> None:
    with (
        writer(tmp_path) as shard,
        pytest.raises(UsageError, match=r"sample a: streams \['typo'\]"),
    ):
        shard.add("a", {"typo": b"x"})


@pytest.mark.parametrize("key", ["a.b", "a/b", "../a", "", "k" * 81, "é", "a b", "a\n"])
def test_keys_that_no_reader_would_take_are_not_written(tmp_path: Path, key: str) -> None:
    with writer(tmp_path) as shard, pytest.raises(UsageError, match="sample key"):
        shard.add(key, {"rgb": b"x"})


def test_a_name_too_long_for_a_tar_is_said_when_the_sample_comes(tmp_path: Path) -> None:
    stream = "s" * 40
    with writer(tmp_path, "rgb", stream) as shard:
        shard.add("k" * 54, {stream: b"x"})  # 54 + 1 + 40 + 5 is the 100 that fits
        with pytest.raises(UsageError, match=r"holds 100 characters.*has 101; shorten"):
            shard.add("k" * 55, {stream: b"x"})


def test_a_refused_sample_leaves_the_shard_as_it_was(tmp_path: Path) -> None:
    with writer(tmp_path) as shard:
        shard.add("a", {"rgb": b"x"})
        with pytest.raises(UsageError):
            shard.add("a.b", {"rgb": b"y"})
        _, streams = shard.finish()
    assert (streams["rgb"].payload_bytes, streams["rgb"].n_missing) == (1, 0)


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"?")


def test_bytes_that_the_disk_changes_get_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writer(tmp_path) as shard:
        shard.add("a", {"rgb": b"x"})
        shard.add("b", {"rgb": b"y"})
        monkeypatch.setattr(os, "fsync", lambda _: damage(next(tmp_path.rglob("*.part"))))
        with pytest.raises(CorruptArchiveError, match="the disk gives back other bytes"):
            shard.finish()
    assert names(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="no such call on this system")
def test_each_file_is_flushed_once_and_each_tar_then_read_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []  # (call, number of the file), of files and not directories
    fsync, advise = os.fsync, os.posix_fadvise

    def counted_fsync(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            done.append(("flush", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def counted_advise(descriptor: int, start: int, length: int, advice: int) -> None:
        assert (start, length, advice) == (0, 0, os.POSIX_FADV_DONTNEED)
        done.append(("forget", os.fstat(descriptor).st_ino))
        advise(descriptor, start, length, advice)

    monkeypatch.setattr(os, "fsync", counted_fsync)
    monkeypatch.setattr(os, "posix_fadvise", counted_advise)
    with writer(tmp_path, "rgb", "depth") as shard:
        for key in "abc":
            shard.add(key, {"rgb": b"x", "depth": b"y"})
        shard.finish()
    files = {path.stat().st_ino: path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert sorted(number for call, number in done if call == "flush") == sorted(files)
    tars = [number for number, suffix in files.items() if suffix == ".tar"]
    assert sorted(number for call, number in done if call == "forget") == sorted(tars)
    for number in tars:
        assert done.index(("flush", number)) < done.index(("forget", number))


def test_names_stay_as_the_contract_says(tmp_path: Path) -> None:
    with ShardWriter(Root(tmp_path), "val", 7, 40, {"depth.residual": 0}, 2) as shard:
        shard.add("k", {})
        keys, streams = shard.finish()
    assert keys.path == "keys/val-keys-000007.jsonl"
    assert (tmp_path / keys.path).read_text() == '{"key":"k"}\n'
    path = streams["depth.residual"].path
    assert path == "depth.residual/val-depth.residual-000007.tar"
    assert (tmp_path / path).read_bytes().startswith(b"k.depth.residual.pack\0")
    assert (tmp_path / f"{path}.idx").read_bytes() == bytes(8) + (1024).to_bytes(8, "little")


def test_what_a_killed_writer_left_is_listed_and_work_files_are_not(tmp_path: Path) -> None:
    build_archive(tmp_path)
    (tmp_path / ".dsc" / "records").mkdir(parents=True)
    (tmp_path / ".dsc" / "records" / "train-000000.json").write_text("{}")
    assert verify_archive(tmp_path) == []
    (tmp_path / "rgb" / "train-rgb-000009.tar.0123.part").write_bytes(b"half")
    problems = verify_archive(tmp_path)
    assert [problem.path for problem in problems] == ["rgb/train-rgb-000009.tar.0123.part"]
    assert "killed" in problems[0].detail
    Archive.open(tmp_path)
