"""Files that are whole or not there: written beside their place, flushed to disk, then renamed.

A reader sees the old file, no file, or the whole new one, also after the writer was killed or the
machine lost power. What a killed writer leaves are ``NAME.<32 hex digits>.part`` files, which no
reader takes for anything else. Each file is flushed once, and the directory that its name stands
in once.
"""

import os
import uuid
from pathlib import Path


def atomic_write(target: Path, data: bytes) -> None:
    """Write a whole local file of any name, or none; directories that it takes are made."""
    part = part_name(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.write_bytes(data)
        publish(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def part_name(target: Path) -> Path:
    """Name the unfinished form of a file: unique, in the same directory."""
    return target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")


def publish(part: Path, target: Path) -> None:
    """Flush a finished part to disk and make it the file, durably."""
    flush(part)
    rename(part, target)


def flush(path: Path) -> None:
    """Return once a file's bytes are on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def forget_cached(path: Path) -> None:
    """Let go of what the system keeps of a file in memory, so that it is read from the disk next.

    Only what was flushed is let go of. Where the system has no such call, and on file systems that
    live in memory, nothing happens.
    """
    advise = getattr(os, "posix_fadvise", None)
    if advise is not None:
        with path.open("rb") as file:
            advise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rename(part: Path, target: Path) -> None:
    """Make a part that was flushed the file, durably; the old one is replaced."""
    os.replace(part, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
