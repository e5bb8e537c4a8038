"""A file lock: one holder at a time, gone with its holder, never held on a file that is gone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dsc._storage.files import file_lock
from dsc._storage.files.file_lock import try_lock, unlock

HOLD = """
import sys, time
from pathlib import Path
from dsc._storage.files.file_lock import try_lock
print(try_lock(Path(sys.argv[1])) is not None, flush=True)
time.sleep(600)
"""


def test_one_holder_at_a_time_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = try_lock(path)
    assert held is not None
    assert try_lock(path) is None
    unlock(held, path)
    assert not path.exists()
    again = try_lock(path)
    assert again is not None
    unlock(again, path)


def test_a_killed_holder_gives_the_lock_up(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert try_lock(path) is None
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    held = try_lock(path)
    assert held is not None
    unlock(held, path)


def test_a_lock_on_a_file_that_was_removed_meanwhile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    flock, removed = file_lock.fcntl.flock, []

    def too_late(descriptor: int, how: int) -> None:
        if not removed:
            removed.append(os.fstat(descriptor).st_ino)
            path.unlink()
        flock(descriptor, how)

    monkeypatch.setattr(file_lock.fcntl, "flock", too_late)
    held = try_lock(path)
    assert held is not None
    assert os.path.samestat(os.fstat(held), path.stat())
    unlock(held, path)


def test_a_file_system_without_locks_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(descriptor: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(file_lock.fcntl, "flock", unsupported)
    first, second = try_lock(tmp_path / "lock"), try_lock(tmp_path / "lock")
    assert first is not None
    assert second is not None
    unlock(first, tmp_path / "lock")
    unlock(second, tmp_path / "lock")
