"""Lets one process at a time write to an archive.

The lock is the system's own, so it is gone with its holder, however that ends. Object stores have
none; there the plan in ``.dsc`` is looked at before anything is published, which refuses every
other plan, and equal plans write equal bytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsc.errors import UsageError
from dsc.storage.commit import LOCK
from dsc.storage.file_lock import try_lock, unlock
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
        unlock(held, path)
        with suppress(OSError):  # what an interrupted append has left stays
            path.parent.rmdir()


def _acquire(path: Path, url: str) -> int:
    while True:
        try:
            path.parent.mkdir(exist_ok=True)
            held = try_lock(path)
        except (FileNotFoundError, FileExistsError):
            if path.parent.is_file():
                raise
            continue  # its last holder has just removed the directory
        if held is None:
            raise UsageError(
                f"{url}: another append is writing to this archive; wait until it has ended and "
                "run the same command again"
            )
        return held
