"""Lets one process at a time write to an archive.

The lock is the system's own, so it is gone with its holder, however that ends; what the file says
is only to name the holder to others. Object stores have no locks; there the plan in ``.dsc`` is
looked at before anything is published, which refuses every other plan, and equal plans write equal
bytes.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsc._storage.files.file_lock import try_lock, unlock
from dsc._storage.files.root import Root
from dsc._storage.files.writable import is_refusal, missing_folders
from dsc._storage.format.commit import LOCK
from dsc.errors import UsageError

ATTEMPTS = 100
LONGEST_NOTE = 400  # characters that a holder may take to name itself


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
    held = _acquire(path, root.url)
    try:
        _leave_note(held, command)
        yield
    finally:
        unlock(held, path)
        for folder in (path.parent, *made):
            with suppress(OSError):  # what is in it stays
                folder.rmdir()


def _acquire(path: Path, url: str) -> int:
    for attempt in range(ATTEMPTS):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held = try_lock(path)
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
        f"{url}: {_holder(path)} is writing to this archive; wait until it has ended and "
        "run the same command again"
    )


def _leave_note(held: int, command: str) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    note = f"{command} (process {os.getpid()} on {socket.gethostname()}, since {since})\n"
    with suppress(OSError):  # a full disk does not keep anybody from holding a lock
        os.ftruncate(held, 0)
        os.pwrite(held, note.encode(), 0)


def _holder(path: Path) -> str:
    """Return what the holder says of itself, as far as it has said anything."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            note = file.readline(LONGEST_NOTE).strip()
    except OSError:
        note = ""
    return note if note.isprintable() and note else "another dsc"
