"""Byte ranges of a local file, read by one opening of it."""

import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

from dsc._storage.files.http import check_size


def read_ranges(
    path: Path, ranges: Sequence[tuple[int, int | None]], file_bytes: int | None = None
) -> list[bytes]:
    """Read bytes [start, end) of a file, several times; see `dsc._storage.files.root.Root.read`.

    Raises
    ------
    CorruptArchiveError
        When the file has another size than `file_bytes`.
    OSError
        When it is not there or cannot be read.
    """
    parts = []
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        check_size(str(path), size, file_bytes)
        for start, end in ranges:
            # `read(n)` allocates n bytes first, and n may come from a hostile record
            stop = size if end is None else min(end, size)
            file.seek(min(start, size))
            parts.append(_read(file, max(stop - start, 0)))
    return parts


def _read(file: FileIO, length: int) -> bytes:
    """Read so many bytes; fewer only at the end of the file. One call gives at most 2 GiB."""
    data = file.read(length)
    while len(data) < length and (more := file.read(length - len(data))):
        data += more
    return data
