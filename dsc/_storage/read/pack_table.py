"""The table of one pack, without its payloads: which samples it holds, and where they lie.

All that stands before the payloads is known beforehand but for the table itself, so one comparison
checks header and table together.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc._storage.format.pack import HEADER, MAGIC, MISSING, VERSION
from dsc._storage.format.tar import BLOCK
from dsc._storage.read.archive import Archive
from dsc._storage.read.tar_index import check_head
from dsc.errors import LIST_DAMAGE, CorruptPackError


@dataclass(frozen=True)
class PackTable:
    """Where the bitstreams of a pack lie.

    Attributes
    ----------
    starts, ends
        In bytes of the tar, (n,) int64.
    crcs
        CRC-32 of each, (n,) uint32.
    missing
        Which samples do not have this stream, (n,) bool.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    crcs: NDArray[np.uint32]
    missing: NDArray[np.bool_]


def table_range(archive: Archive, shard: int, stream: str, pack: int) -> tuple[int, int]:
    """Return which bytes of the tar hold the headers and the table of a pack."""
    start, end = archive.extent(shard, stream, pack)
    _, count = archive.span(shard, pack)
    return start, min(end, start + BLOCK + HEADER.size + 8 * count)


def decode_table(data: bytes, archive: Archive, shard: int, stream: str, pack: int) -> PackTable:
    """Read and check the bytes that `table_range` names.

    Raises
    ------
    CorruptPackError
        When they are not what must stand there; the whole pack says more.
    """
    where = f"{archive.root.where(archive.record(shard, stream).path)}: pack {pack}"
    start, end = archive.extent(shard, stream, pack)
    first, count = archive.span(shard, pack)
    name, length = check_head(data[:BLOCK], end - start, where)
    header, table = data[BLOCK : BLOCK + HEADER.size], data[BLOCK + HEADER.size :]
    crc = zlib.crc32(table, zlib.crc32(header[:24]))
    expected = HEADER.pack(MAGIC, VERSION, 0, count, archive.slot(stream), first, crc, 0)
    if header != expected or len(table) != 8 * count or not name.endswith(f".{stream}.pack"):
        raise CorruptPackError(f"{where}: damaged header or table; {LIST_DAMAGE}")
    lengths, crcs = np.frombuffer(table, "<u4").reshape(count, 2).T
    missing = lengths == MISSING
    payloads = start + BLOCK + HEADER.size + 8 * count
    ends = payloads + np.cumsum(np.where(missing, 0, lengths), dtype=np.int64)
    if ends[-1] != start + BLOCK + length:
        raise CorruptPackError(f"{where}: the table does not fit the pack; {LIST_DAMAGE}")
    return PackTable(np.concatenate([[payloads], ends[:-1]]), ends, crcs.copy(), missing)
