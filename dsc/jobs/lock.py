"""Lets one process at a time write to an archive.

The lock is the system's own, so it is gone with its holder, however that ends. Object stores have
none; there the plan in ``.dsc`` is looked at before anything is published, which refuses every
other plan, and equal plans write equal bytes.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsc.errors import UsageError
from dsc.storage.commit import LOCK
from dsc.storage.fs import Root


@contextmanager
def sole_writer(root: Root) -> Iterator[None]:
    """Hold the lock of an archive.

    Raises
    ------
    UsageError
        When another process holds it.
    """
    if root.local is None:
        yield
        return
    path = root.local / LOCK
    held = _acquire(path, root.url)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # still held: nobody else can have made another
        os.close(held)
        with suppress(OSError):  # what an interrupted append has left stays
            path.parent.rmdir()


def _acquire(path: Path, url: str) -> int:
    while True:
        try:
            path.parent.mkdir(exist_ok=True)
            held = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except (FileNotFoundError, FileExistsError):
            if path.parent.is_file():
                raise
            continue  # its last holder has just removed the directory
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            raise UsageError(
                f"{url}: another append is writing to this archive; wait until it has ended and "
                "run the same command again"
            ) from None
        except OSError:  # a file system without locks: as on an object store
            return held
        if _is_same(held, path):
            return held
        os.close(held)  # its last holder has removed it meanwhile


def _is_same(held: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(held), path.stat())
    except FileNotFoundError:
        return False
