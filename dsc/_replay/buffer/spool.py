"""Payloads of an update that is not yet written, in a nameless file instead of memory."""

import os
import tempfile
from pathlib import Path

PREFIX = ".dsc-replay-"


class Spool:
    """A file that is gone with its process.

    Parameters
    ----------
    folder
        Where it lies: the folder of the buffer, which has room for it.
    base
        The address of its first byte.
    """

    def __init__(self, folder: Path, base: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix=PREFIX, buffering=0)  # noqa: SIM115
        self.base, self._size = base, 0

    def append(self, payload: bytes) -> int:
        """Write a payload; give its address."""
        address = self.base + self._size
        written = 0
        while written < len(payload):
            rest = payload[written:]
            written += os.pwrite(self._file.fileno(), rest, self._size + written)
        self._size += len(payload)
        return address

    def read(self, address: int, size: int) -> bytes:
        """Read payload bytes."""
        return os.pread(self._file.fileno(), size, address - self.base)

    def close(self) -> None:
        """Return the file up."""
        self._file.close()
