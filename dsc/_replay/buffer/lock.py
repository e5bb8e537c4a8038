"""Lets one writer at a time update a replay buffer; readers need no lock.

Forked children (the workers of a DataLoader) do not hold it: they only read. On a file system
without locks, an update still replaces the file whole.
"""

from pathlib import Path

from dsc._storage.files.lock import Lock
from dsc.errors import UsageError


def write_lock(path: Path) -> Lock:
    """Take the right to write to a buffer, held until it is released.

    Raises
    ------
    UsageError
        When another writer has it.
    """
    held = Lock.take(path.with_name(f".{path.name}.lock"))
    if held is None:
        raise UsageError(
            f"{path}: another process or object is writing to this buffer; close it, or "
            "open this one with ReplayBuffer.open(path, readonly=True)"
        )
    return held
