"""A lock: one holder at a time, gone with its holder, never held on a file that is gone."""

import fcntl
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from dsc._storage.files.lock import Lock, holder

HOLD = """
import sys, time
from pathlib import Path
from dsc._storage.files.lock import Lock
lock = Lock.take(Path(sys.argv[1]), "a test")
print(lock is not None, flush=True)
time.sleep(600)
"""


def take(path: Path, doing: str = "") -> Lock:
    lock = Lock.take(path, doing)
    assert lock is not None
    return lock


def test_one_holder_at_a_time_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "below" / "lock"
    path.parent.mkdir()
    lock = take(path)
    assert Lock.take(path) is None
    lock.release()
    lock.release()
    assert not path.exists()
    take(path).release()


def test_the_file_says_who_holds_it(tmp_path: Path) -> None:
    lock = take(tmp_path / "lock", "dsc compress")
    assert holder(lock.path).startswith(f"dsc compress (process {os.getpid()} on ")
    lock.path.write_bytes(b"\xff\x00" * 1000)
    assert holder(lock.path) == ""
    assert Lock.take(lock.path) is None
    lock.release()
    assert holder(lock.path) == ""


def test_a_killed_holder_gives_the_lock_up(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert Lock.take(path) is None
        assert holder(path).startswith(f"a test (process {process.pid} on ")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.exists()
    take(path).release()


def test_a_lock_that_nobody_refers_to_any_more_is_free(tmp_path: Path) -> None:
    lock = take(tmp_path / "lock")
    path = lock.path
    del lock
    gc.collect()
    assert not path.exists()
    take(path).release()


def _look(lock: Lock, say: Connection) -> None:
    say.send((lock.held, Lock.take(lock.path) is None))
    lock.release()  # a child's has no effect
    say.send(lock.path.exists())
    say.recv()  # until the parent has given it up
    other = Lock.take(lock.path)
    say.send(other is not None)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_neither_holds_the_lock_nor_keeps_it_from_others(tmp_path: Path) -> None:
    lock = take(tmp_path / "lock")
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_look, args=(lock, there))
    child.start()
    try:
        assert here.recv() == (False, True)
        assert here.recv()
        assert lock.held
        lock.release()
        take(lock.path).release()
        here.send(None)
        assert here.recv()
    finally:
        child.kill()
        child.join()


def test_a_lock_on_a_file_that_was_removed_meanwhile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    flock, removed = fcntl.flock, []

    def too_late(descriptor: int, how: int) -> None:
        if not removed:
            removed.append(os.fstat(descriptor).st_ino)
            path.unlink()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    lock = take(path)
    assert path.exists()
    assert Lock.take(path) is None
    lock.release()


def test_a_file_system_without_locks_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(descriptor: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    first, second = take(tmp_path / "lock"), take(tmp_path / "lock")
    assert first.held
    assert second.held
    first.release()
    second.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["/proc/nowhere/lock", "/proc/lock", "file/lock", "no/lock"])
def test_a_lock_that_cannot_be_made_is_an_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"/proc|file|no"):
        Lock.take(tmp_path / place)
    assert os.listdir(tmp_path) == ["file"]
