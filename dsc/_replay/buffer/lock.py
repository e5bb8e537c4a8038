"""Lets one writer at a time update a replay buffer; readers need no lock.

The lock is the system's own, on a small file beside the buffer, and is gone with its holder,
however that ends. Forked children (the workers of a DataLoader) give it up at once: they only read.
"""

import os
import weakref
from pathlib import Path

from dsc._storage.files.file_lock import try_lock, unlock
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
        held = try_lock(self._path)  # without locks, an update still replaces the file whole
        if held is None:
            raise UsageError(
                f"{path}: another process or object is writing to this buffer; close it, or "
                "open this one with ReplayBuffer.open(path, readonly=True)"
            )
        self._fd = held
        own = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _forget(own))

    @property
    def held(self) -> bool:
        """Whether this process still holds the lock."""
        return self._fd >= 0

    def release(self) -> None:
        """Return the lock up."""
        if self._fd >= 0:
            unlock(self._fd, self._path)
            self._fd = -1

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.release()


def _forget(own: "weakref.ref[WriteLock]") -> None:
    lock = own()
    if lock is not None and lock._fd >= 0:
        os.close(lock._fd)
        lock._fd = -1
