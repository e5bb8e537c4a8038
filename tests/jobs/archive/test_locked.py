"""One process at a time writes to an archive, and the others are told before they do any work."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from dsc._jobs.archive.compress import compress
from dsc._storage.files.root import Root
from dsc._storage.format.sole_writer import sole_writer
from dsc._storage.read.verify import verify_archive
from dsc.errors import PlanMismatchError, UsageError
from tests.jobs.faults import finished, start, tree, wait_for
from tests.jobs.growing import add_label, add_samples, begin
from tests.jobs.sources import PixelSource, reads

GIVEN: dict[str, Any] = {"codec": "png", "shard_size": 4, "pack": 2}


def test_of_two_equal_compressions_the_second_reads_nothing_and_is_told_who_is_at_work(
    tmp_path: Path,
) -> None:
    out, log, refused = tmp_path / "out", tmp_path / "log", []

    def second(done: int, total: int, info: dict[str, Any]) -> None:
        for more in ({}, {"overwrite": True}, {"codec": "auto"}):
            with pytest.raises(UsageError, match="wait until it has ended") as caught:
                compress(PixelSource(log=log), out, **{**GIVEN, **more})
            refused.append(str(caught.value))

    compress(PixelSource(), out, progress=second, **GIVEN)
    assert refused
    assert all(f"dsc compress (process {os.getpid()} on " in text for text in refused)
    assert reads(log) == []
    assert verify_archive(out) == []
    compress(PixelSource(), tmp_path / "alone", **GIVEN)
    assert tree(out) == tree(tmp_path / "alone")


def test_a_compression_and_an_append_keep_each_other_out(tmp_path: Path) -> None:
    begin(tmp_path)
    before = tree(tmp_path)
    with sole_writer(Root(tmp_path), "dsc compress"):
        for add in (add_samples, add_label):
            with pytest.raises(UsageError, match=r"dsc compress .* is writing"):
                add(tmp_path)
    with sole_writer(Root(tmp_path), "dsc append"), pytest.raises(UsageError, match="dsc append"):
        begin(tmp_path, overwrite=True)
    assert tree(tmp_path) == before


def test_a_finished_archive_is_found_finished_while_somebody_appends(tmp_path: Path) -> None:
    begin(tmp_path)
    with sole_writer(Root(tmp_path), "dsc append"):
        begin(tmp_path)
        with pytest.raises(PlanMismatchError):
            begin(tmp_path, quality=80)


def test_who_was_killed_keeps_nobody_out(tmp_path: Path) -> None:
    out = tmp_path / "out"
    compress(PixelSource(), tmp_path / "alone", **GIVEN)
    run = start(out, tmp_path / "log", 23, 0.05)
    wait_for(lambda: bool(finished(out)))
    with pytest.raises(UsageError, match=rf"dsc compress \(process {run.pid} on "):
        compress(PixelSource(), out, **GIVEN)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert (out / ".dsc" / "lock").exists()
    compress(PixelSource(), out, **GIVEN)
    assert tree(out) == tree(tmp_path / "alone")


def test_overwriting_keeps_the_lock_of_the_one_who_overwrites(tmp_path: Path) -> None:
    begin(tmp_path)

    def second(done: int, total: int, info: dict[str, Any]) -> None:
        if done:  # before, the old archive is there, and finished
            with pytest.raises(UsageError, match="is writing"):
                begin(tmp_path)

    begin(tmp_path, n=11, overwrite=True, progress=second)


def test_a_refused_call_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown codec"):
        compress(PixelSource(), tmp_path / "new" / "out", codec="nonsense")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    log = tmp_path / "log"
    for out in (tmp_path / "file" / "out", Path("/proc/nowhere/out")):
        with pytest.raises(UsageError, match=f"{out}: nothing can be written there"):
            compress(PixelSource(log=log), out, **GIVEN)
    assert reads(log) == []


def test_a_lock_file_that_says_nothing_is_held_all_the_same(tmp_path: Path) -> None:
    with sole_writer(Root(tmp_path), "dsc append"):
        (tmp_path / ".dsc" / "lock").write_bytes(b"\xff\x00")
        with (
            pytest.raises(UsageError, match="another dsc is writing"),
            sole_writer(Root(tmp_path), "dsc append"),
        ):
            pass
