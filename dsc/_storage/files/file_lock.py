"""The system's own lock on a small file, which is gone with its holder, however that ends.

The file goes when the lock is given up. On a file system without locks nobody is kept out.
"""

import fcntl
import os
from pathlib import Path


def try_lock(path: Path) -> int | None:
    """Lock a file, which is made where it is not there.

    Returns
    -------
    The open file, for `unlock`; None while another one has the lock.
    """
    while True:
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            return None
        except OSError:  # a file system without locks
            return held
        if _is_same(held, path):
            return held
        os.close(held)  # its last holder has removed it meanwhile


def unlock(held: int, path: Path) -> None:
    """Return a lock up that `try_lock` gave."""
    path.unlink(missing_ok=True)  # still held: nobody else can have made another
    os.close(held)


def _is_same(held: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(held), path.stat())
    except FileNotFoundError:
        return False
