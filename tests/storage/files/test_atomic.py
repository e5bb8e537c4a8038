"""A file is whole or not there, and reaches the disk before it has its name."""

import os
import stat
from pathlib import Path

import pytest

from dsc._storage.files.atomic import atomic_write
from dsc._storage.files.root import Root


class Flushes:
    """What was flushed to disk, in order: sizes of files, and "directory"."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[int | str] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.seen.append("directory" if stat.S_ISDIR(status.st_mode) else status.st_size)
        self._fsync(descriptor)


@pytest.mark.parametrize("name", ["plain", "bericht-ü: 1.html", "a b#c?", "x" * 200])
def test_a_file_of_any_name_is_written_and_replaced(tmp_path: Path, name: str) -> None:
    for data in (b"old", b"the new one"):
        atomic_write(tmp_path / "below" / name, data)
        assert (tmp_path / "below" / name).read_bytes() == data
    assert [path.name for path in (tmp_path / "below").iterdir()] == [name]


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "f").write_bytes(b"old")
    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, full)
            with pytest.raises(OSError, match="No space"):
                atomic_write(tmp_path / "f", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"f": b"old"}


def test_a_file_and_its_directory_are_flushed_once_each_the_file_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes = Flushes(monkeypatch)
    atomic_write(tmp_path / "f", b"12345")
    assert flushes.seen == [5, "directory"]
    flushes.seen.clear()
    Root(tmp_path).write("g", b"123")
    assert flushes.seen == [3, "directory"]
    flushes.seen.clear()
    (tmp_path / "source").write_bytes(b"1234567")
    Root(tmp_path).put(tmp_path / "source", "h")
    assert flushes.seen == [7, "directory"]
