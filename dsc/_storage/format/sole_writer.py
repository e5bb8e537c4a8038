"""Lets one process at a time write to an archive.

Object stores have no locks; there the plan in ``.dsc`` is looked at before anything is published,
which refuses every other plan, and equal plans write equal bytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsc._storage.files.lock import Lock, holder
from dsc._storage.files.root import Root
from dsc._storage.files.writable import is_refusal, missing_folders
from dsc._storage.format.names import LOCK
from dsc.errors import UsageError

ATTEMPTS = 100


@contextmanager
def sole_writer(root: Root, command: str) -> Iterator[None]:
    """Hold the lock of an archive; directories that it takes are made, and go if they stay empty.

    Parameters
    ----------
    command
        What the holder is doing, for others to read: ``dsc compress``.

    Raises
    ------
    UsageError
        When another process holds it, which the message names; or nothing can be written there.
    """
    if root.local is None:
        yield
        return
    path = root.local / LOCK
    made = missing_folders(root.local)
    held = _acquire(path, root.url, command)
    try:
        yield
    finally:
        held.release()
        for folder in (path.parent, *made):
            with suppress(OSError):  # what is in it stays
                folder.rmdir()


def _acquire(path: Path, url: str, command: str) -> Lock:
    for attempt in range(ATTEMPTS):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held = Lock.take(path, command)
        except OSError as error:
            # where it is not there, its last holder may have just removed the directory
            if isinstance(error, FileNotFoundError) and attempt < ATTEMPTS - 1:
                continue
            if not (is_refusal(error) or isinstance(error, FileExistsError)):
                raise
            raise UsageError(
                f"{url}: nothing can be written there ({error.strerror}: {error.filename})"
            ) from error
        if held is None:
            break
        return held
    raise UsageError(
        f"{url}: {holder(path) or 'another dsc'} is writing to this archive; wait until it has "
        "ended and run the same command again"
    )
