"""Copies one file whose size and hash are known, from any root, and goes on where it stopped.

What has arrived lies in ``NAME.part`` beside the target; only a whole file with the right sha256
gets its name. A connection that breaks is taken up again at the byte where it broke. Over HTTP a
file is one request, read as it arrives, so that a server that knows no ranges sends nothing twice;
when such a server cuts the connection it must send all of it again, of which the part that is here
is passed over. Attempts that bring nothing new are counted, and end it.
"""

import errno
import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dsc._schemas import FileRecord
from dsc._storage.files.atomic import publish
from dsc._storage.files.place import redact
from dsc._storage.files.retry import ATTEMPTS, final_error, is_final, wait_s
from dsc._storage.files.root import Root, check_relative
from dsc.errors import CorruptArchiveError, IncompleteError

BLOCK_BYTES = 1 << 20
REMOTE_BLOCK_BYTES = 8 << 20
HTTP_PARTIAL, HTTP_RANGE_NOT_THERE = 206, 416
Advance = Callable[[int], None]


def is_whole(path: Path, record: FileRecord) -> bool:
    """Tell whether a local file has the size and hash of its record."""
    if not path.is_file() or path.stat().st_size != record.bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == record.sha256


def part_of(target: Path) -> Path:
    """Name what has arrived of a file; one name, unlike `part_name`, so that it is found again."""
    return target.with_name(f"{target.name}.part")


def download(source: Root, record: FileRecord, target: Path, advance: Advance) -> int:
    """Copy a file, or the rest of it.

    Parameters
    ----------
    source
        Where it comes from.
    record
        Its path below `source`, size and hash.
    target
        Where it goes; directories are made.
    advance
        Called with the number of bytes that are newly there; negative when bytes had to be thrown
        away.

    Returns
    -------
    int
        Bytes read from `source`.

    Raises
    ------
    CorruptArchiveError
        When the source's file is not what its record says.
    IncompleteError
        When the connection is lost for good; what has arrived is kept.
    PermissionError, OSError
        When the server refuses, or calls the request wrong.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(target)
    read = 0
    resumed = part.exists()
    while True:
        read += _fill(source, record, part, advance)
        if is_whole(part, record):
            publish(part, target)
            return read
        advance(-part.stat().st_size)
        part.unlink()
        if not resumed:
            raise CorruptArchiveError(
                f"{source.where(record.path)}: not the file that the archive's records describe "
                f"({record.bytes} bytes, sha256 {record.sha256[:16]}); it was damaged or replaced "
                "where it lies: run `dsc verify` there"
            )
        resumed = False  # an old part may be of another file of this name: begin anew, once


def _fill(source: Root, record: FileRecord, part: Path, advance: Advance) -> int:
    """Append to a part until it is as long as it should be. Return the bytes read."""
    held = min(part.stat().st_size, record.bytes) if part.exists() else 0
    advance(held)
    read, failures = 0, 0
    with part.open("ab") as file:
        file.truncate(held)
        while held < record.bytes:
            before, problem = held, None
            try:
                for block in _blocks(source, record, held):
                    file.write(block)
                    held += len(block)
                    advance(len(block))
            except Exception as error:  # every filesystem has network errors of its own
                if _is_disk(error):
                    raise
                problem = error
            read += held - before
            failures = 0 if held > before else failures + 1
            if held < record.bytes:
                _wait_or_give_up(source, record, held, failures, problem)
    return read


class _WholeFilesOnlyError(Exception):
    """The server knows no ranges, and its answer to a question for the rest of a file broke."""


def _is_disk(error: Exception) -> bool:
    """Tell a full or closed disk from a network that fails and may recover."""
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
    return isinstance(error, OSError) and error.errno in codes


def _wait_or_give_up(
    source: Root, record: FileRecord, held: int, failures: int, problem: Exception | None
) -> None:
    where = source.where(record.path)
    if isinstance(problem, FileNotFoundError):
        raise CorruptArchiveError(f"{where}: the archive names this file, but it is not there")
    no_more = problem is None or getattr(problem, "status", None) == HTTP_RANGE_NOT_THERE
    if no_more and (source.local is not None or failures > 1):
        raise CorruptArchiveError(
            f"{where}: it ends after {held} bytes, the archive's records say {record.bytes}; "
            "it was cut where it lies: run `dsc verify` there"
        )
    if problem is not None and not no_more and is_final(problem):
        raise final_error(where, problem) from None
    if failures >= ATTEMPTS:
        what = f"{type(problem).__name__}: {redact(str(problem))}"
        if isinstance(problem, _WholeFilesOnlyError):
            what = str(problem)
        raise IncompleteError(
            f"{where}: the connection was lost ({what}) with {held} of {record.bytes} bytes here, "
            f"{failures} times without a new byte; what has arrived is kept: run the same command "
            "again and it goes on from there"
        ) from None
    # not `call_again`: what counts are attempts in a row that brought nothing new
    time.sleep(wait_s(failures))


def _blocks(source: Root, record: FileRecord, start: int) -> Iterator[bytes]:
    """Yield the bytes of a file from `start` on, never more than its record says."""
    if source.remote.place.is_http:
        yield from _http_blocks(source, record, start)
        return
    size = BLOCK_BYTES if source.local is not None else REMOTE_BLOCK_BYTES
    while start < record.bytes:
        block = source.read(record.path, start, min(start + size, record.bytes))
        if not block:
            return
        yield block
        start += len(block)


def _http_blocks(source: Root, record: FileRecord, start: int) -> Iterator[bytes]:
    url = source.remote.place.address(check_relative(record.path))
    headers = {"Accept-Encoding": "identity"}  # a gzipped answer has other offsets
    if start:
        headers["Range"] = f"bytes={start}-{record.bytes - 1}"
    filesystem: Any = source.remote.filesystem()
    with filesystem.open(url, block_size=0, size=record.bytes, headers=headers) as stream:
        whole = start > 0 and stream.r.status != HTTP_PARTIAL
        blocks = _read_blocks(stream, start if whole else 0, record.bytes - start)
        try:
            yield from blocks
        except Exception as error:  # whatever the network raises
            if not whole:
                raise
            raise _WholeFilesOnlyError(
                "the server sends whole files only, no byte ranges, and its answer broke again; "
                "a server or mirror that knows ranges can go on in mid-file"
            ) from error


def _read_blocks(stream: Any, skip: int, length: int) -> Iterator[bytes]:
    while skip and (block := stream.read(min(BLOCK_BYTES, skip))):
        skip -= len(block)
    while length and (block := stream.read(min(BLOCK_BYTES, length))):
        yield block
        length -= len(block)
