"""What a cache does to its directory, one file at a time: mark, claim, list, sweep, lock.

A *part* is an entry that is being fetched. Who holds the `flock` on it owns it; the kernel drops
the lock of a process that dies, so a part that can be locked was left behind.
"""

import fcntl
import os
import re
import time
import uuid
from contextlib import suppress
from pathlib import Path

from dsc._storage.format.commit import MANIFEST
from dsc.errors import UsageError

MARKER = "dsc-cache.txt"
MARKER_TEXT = b"A cache of dsc: copies of packs. It can be deleted at any time.\n"
NAME = re.compile(r"[0-9a-f]{64}-[0-9]{1,12}")
PART = re.compile(rf"{NAME.pattern}(\.[0-9a-f]{{32}})?\.part")
PLAN = ".dsc/plan.json"  # of an archive that is being made
BLOCK = 4096


def pack_name(sha256: str, pack: int) -> str:
    """Name a pack for the cache: hash of its tar (from the shard's record), and its number."""
    return f"{sha256}-{pack}"


def check_place(directory: Path) -> None:
    """Refuse a directory in which a cache could harm what it did not write.

    Raises
    ------
    UsageError
        When it is no directory, or is or lies in an archive.
    """
    real = Path(os.path.realpath(directory))
    for folder in (real, *real.parents):
        if (folder / MANIFEST).exists() or (folder / PLAN).exists():
            raise UsageError(f"{directory}: lies in the archive {folder}; put the cache elsewhere")
    if real.exists() and not real.is_dir():
        raise UsageError(f"{directory}: a cache is a directory, and this is none")


def begin(directory: Path) -> None:
    """Make a directory a cache's own, and delete what killed processes left in it.

    Raises
    ------
    UsageError
        When it holds something and is not marked as a cache.
    OSError
        When it cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    marker = directory / MARKER
    # the marker comes first: whoever sees another file of a cache can see the marker, too
    if os.listdir(directory) and not marker.exists():
        raise UsageError(
            f"{directory}: holds files that no cache wrote; give an empty directory for the cache"
        )
    if not marker.exists():
        marker.write_bytes(MARKER_TEXT)
    for folder in (packs(directory), parts(directory)):
        folder.mkdir(exist_ok=True)
    sweep(directory)


def packs(directory: Path) -> Path:
    """Return where the entries are."""
    return directory / "packs"


def parts(directory: Path) -> Path:
    """Return where the unfinished entries are."""
    return directory / "parts"


def entry(directory: Path, name: str) -> Path:
    """Return where an entry is, or would be.

    Raises
    ------
    ValueError
        When it is not a name of a pack.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name[:100]!r} is no name of a pack")
    return packs(directory) / name[:2] / name


def blocks(size: int) -> int:
    """Round a file's bytes up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def entries(directory: Path) -> list[tuple[int, int, Path]]:
    """Return (time of last use, bytes in whole blocks, path) of all entries and parts.

    One that is finished meanwhile may come twice, but none is left out.
    """
    found = []
    folders = [parts(directory)]
    with suppress(FileNotFoundError):
        folders += sorted(packs(directory).iterdir())
    for folder in folders:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as listed:
            for file in listed:
                if not (NAME.fullmatch(file.name) or PART.fullmatch(file.name)):
                    continue  # not a cache's
                with suppress(FileNotFoundError):
                    status = file.stat(follow_symlinks=False)
                    found.append((status.st_mtime_ns, blocks(status.st_size), Path(file.path)))
    return found


def evict(directory: Path, wanted: int) -> tuple[int, int]:
    """Delete entries, least recently used first, and parts left behind.

    Parameters
    ----------
    wanted
        The bytes that may stay in use.

    Returns
    -------
    tuple of int
        Bytes in use, and how many entries were deleted.
    """
    sweep(directory)
    listed = entries(directory)
    used, evicted = sum(taken for _, taken, _ in listed), 0
    for _, taken, path in sorted(listed):
        if used > wanted and path.parent != parts(directory):
            path.unlink(missing_ok=True)
            used -= taken
            evicted += 1
    return used, evicted


def claim(directory: Path, name: str, alone: bool = False) -> tuple[int, Path] | None:
    """Lock the part of an entry, if nobody else has; gives its descriptor and path.

    Parameters
    ----------
    alone
        Take a part of one's own beside the one that another process holds.
    """
    own = f".{uuid.uuid4().hex}" if alone else ""
    path = parts(directory) / f"{name}{own}.part"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    # who held it before may have finished or deleted it: then what is locked is no part any more
    try:
        if lock_within(descriptor, 0) and is_at(descriptor, path):
            return descriptor, path
    except OSError:  # a filesystem without locks
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def give_back(descriptor: int, path: Path) -> None:
    """Unlock a part; it is deleted unless it has become an entry."""
    with suppress(OSError):
        if is_at(descriptor, path):
            path.unlink()
    unlock(descriptor)


def sweep(directory: Path) -> None:
    """Delete the parts of processes that were killed."""
    for file in os.scandir(parts(directory)):
        if not PART.fullmatch(file.name):
            continue
        with suppress(FileNotFoundError):
            descriptor = os.open(file.path, os.O_RDWR | os.O_NOFOLLOW)
            if lock_within(descriptor, 0):
                give_back(descriptor, Path(file.path))
            else:
                os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Tell whether an open file is still the one that lies at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def lock_within(descriptor: int, seconds: float) -> bool:
    """Lock an open file; gives False when another holds it for longer than this."""
    begun, pause = time.monotonic(), 0.0005
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() - begun >= seconds:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        else:
            return True


def unlock(descriptor: int) -> None:
    """Unlock and close."""
    # closing alone would leave the lock with a process that was forked meanwhile
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write at the start of an open file, all of it."""
    view, at = memoryview(data), 0
    while at < len(view):
        at += os.pwrite(descriptor, view[at:], at)


def read_number(descriptor: int) -> int | None:
    """Read the number that `write_number` wrote; None when there is none."""
    text = os.pread(descriptor, 20, 0)
    return int(text) if len(text) == 20 and text.isdigit() else None


def write_number(descriptor: int, number: int) -> None:
    """Write a number of up to 20 digits, by one write."""
    os.pwrite(descriptor, b"%020d" % number, 0)
