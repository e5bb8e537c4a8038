"""Lets one writer at a time update a replay buffer; readers need no lock.

The lock is the system's own, on a small file beside the buffer, and is gone with its holder,
however that ends. Forked children (the workers of a DataLoader) give it up at once: they only read.
"""

import fcntl
import os
import weakref
from pathlib import Path

from dsc.errors import UsageError


class WriteLock:
    """The right to write to a buffer, held until `release`.

    Raises
    ------
    UsageError
        When another writer has it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f".{path.name}.lock")
        self._fd = self._acquire(path)
        own = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _forget(own))

    def _acquire(self, path: Path) -> int:
        while True:
            held = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(held)
                raise UsageError(
                    f"{path}: another process or object is writing to this buffer; close it, or "
                    "open this one with ReplayBuffer.open(path, readonly=True)"
                ) from None
            except OSError:  # a file system without locks; an update still replaces the file whole
                return held
            if self._is_current(held):
                return held
            os.close(held)  # its last holder has removed it meanwhile

    def _is_current(self, held: int) -> bool:
        try:
            return os.path.samestat(os.fstat(held), self._path.stat())
        except FileNotFoundError:
            return False

    @property
    def held(self) -> bool:
        """Whether this process still holds the lock."""
        return self._fd >= 0

    def release(self) -> None:
        """Give the lock up."""
        if self._fd >= 0:
            self._path.unlink(missing_ok=True)  # still held: nobody else can have made another
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.release()


def _forget(own: "weakref.ref[WriteLock]") -> None:
    lock = own()
    if lock is not None and lock._fd >= 0:
        os.close(lock._fd)
        lock._fd = -1
