"""Locks: the system's own, so that each is gone with its holder, however that ends.

`Lock` is what archives, replay buffers and runs are kept by: a small file beside them, which says
who holds it and goes when the lock is given up. filelock takes it, and takes it away from forked
children; the note, the removal of the file and what happens without locks are ours, because
filelock leaves the file behind and stops where a file system knows no locks.

`lock_open_file` is for files that are open already. filelock locks names only, and takes a hundred
times as long (0.25 ms against 2 µs), where a cache locks twice for every pack.
"""

import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from filelock import BaseFileLock

LONGEST_NOTE = 400  # characters that a holder may take to name itself
LINGER_S = 0.05  # how long a lock that is just being given up, and its file removed, may take
POLL_S = 0.002


class Lock:
    """A lock that is held until `release`, or until this process ends.

    Two holders keep each other out, in two processes and in one. A forked child does not hold its
    parent's. On a file system without locks nobody is kept out.

    Attributes
    ----------
    path
        The file that is locked; only its holder may remove it.
    """

    def __init__(self, path: Path, native: "BaseFileLock | None") -> None:
        self.path, self._native = path, native
        self._pid = os.getpid()

    @classmethod
    def take(cls, path: Path, doing: str = "") -> Self | None:
        """Lock a file, which is made where it is not there; its directory is not.

        Parameters
        ----------
        doing
            What the holder is doing, for others to read: ``dsc compress``.

        Returns
        -------
        Lock or None
            None while another one has it; `holder` tells which.

        Raises
        ------
        OSError
            When the file cannot be made or written.
        """
        from filelock import FileLock, Timeout

        path.parent.stat()  # filelock would make it, whatever was mistyped
        native = FileLock(path, thread_local=False, fallback_to_soft=False)
        try:
            native.acquire(timeout=LINGER_S, poll_interval=POLL_S)
            held = cls(path, native)
        except Timeout:
            if not path.exists():  # perhaps no file can be made there: filelock waits for that, too
                with TemporaryFile(dir=path.parent):
                    pass
            return None
        except OSError as error:
            if error.filename is not None:  # of making the file: only the lock's own names none
                raise
            held = cls(path, None)  # a file system without locks
        held._leave_note(doing)
        return held

    @property
    def held(self) -> bool:
        """Whether this process holds the lock."""
        return self._pid == os.getpid()

    def release(self) -> None:
        """Release the lock and remove its file; nothing happens where it is not held."""
        if not self.held:
            return
        self._pid = -1
        try:
            self.path.unlink(missing_ok=True)  # still held: nobody else can have made another
        finally:
            if self._native is not None:
                self._native.release()

    def __del__(self) -> None:
        if getattr(self, "_pid", -1) == os.getpid():
            self.release()

    def _leave_note(self, doing: str) -> None:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        who = f"process {os.getpid()} on {socket.gethostname()}"
        note = f"{doing} ({who}, since {since})\n" if doing else f"{who}\n"
        with suppress(OSError):  # a full disk does not keep anybody from holding a lock
            self.path.write_text(note, encoding="utf-8")


def holder(path: Path) -> str:
    """Return what the holder of a lock says of itself; empty where it has said nothing."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            note = file.readline(LONGEST_NOTE).strip()
    except OSError:
        return ""
    return note if note.isprintable() else ""


def lock_open_file(descriptor: int, wait_s: float) -> bool:
    """Lock an open file; return False when another holds it for longer than `wait_s` seconds.

    Raises
    ------
    OSError
        When the file system has no locks.
    """
    begun, pause = time.monotonic(), 0.0005
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() - begun >= wait_s:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        else:
            return True


def unlock_open_file(descriptor: int) -> None:
    """Unlock a file and close it."""
    # closing alone would leave the lock with a process that was forked meanwhile
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Tell whether an open file is still the one that lies at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
