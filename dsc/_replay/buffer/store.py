"""The file of a replay buffer: one HDF5 file, written whole and never changed.

An update writes a new file beside the old one, flushes it and renames it into place. So a killed
update leaves the old buffer or the new one, a reader goes on with the file it has opened, and no
garbage has to be collected. It costs one sequential copy of the payloads that stay, at most the
budget, however many tasks have come. A write in place could not be killed: HDF5 has no journal.

::

    payloads     uint8    of all exemplars, one after another, contiguous in the file
    meta, labels ...      the index, see `dsc._replay.buffer.packing`
    blocks       uint32   CRC-32 of every 16 KiB of payloads
    weights/<sha256>      uint8, the codecs' weights files

The attribute ``index_crc32`` covers everything but payloads and weights.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from dsc._replay.buffer.packing import Contents, checksum, packed
from dsc._storage.files.atomic import publish
from dsc.errors import CorruptArchiveError

BLOCK_BYTES = 16 << 10
CRC_BYTES = 4
WRITE_BYTES = 64 * BLOCK_BYTES


def block_bytes(payload_bytes: int) -> int:
    """Count the bytes of the checksums of so many payload bytes."""
    return CRC_BYTES * -(-payload_bytes // BLOCK_BYTES)


def part_of(path: Path) -> Path:
    """Name the file that an update of a buffer writes; a leftover is of a killed one."""
    return path.with_name(f".{path.name}.part")


def write_buffer(
    path: Path,
    contents: Contents,
    weights: Mapping[str, bytes],
    payloads: Iterable[bytes],
) -> None:
    """Put a new file in the place of the old one, whole or not at all.

    Parameters
    ----------
    payloads
        In the order of the rows, in pieces of any size.

    Raises
    ------
    OSError
        When the disk is full or cannot be written; the old file stands.
    """
    part = part_of(path)
    try:
        _write(part, contents, weights, payloads)
        publish(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _write(
    path: Path, contents: Contents, weights: Mapping[str, bytes], payloads: Iterable[bytes]
) -> None:
    import h5py

    total = int(contents.rows.sizes.sum())
    arrays = packed(contents)
    with h5py.File(path, "w", libver="latest") as file:
        room = file.create_dataset("payloads", (total,), np.uint8)
        crcs, at = [], 0
        for piece in _pieces(payloads):
            room[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            starts = range(0, len(piece), BLOCK_BYTES)
            crcs += [zlib.crc32(piece[start : start + BLOCK_BYTES]) for start in starts]
            at += len(piece)
        if at != total:
            raise CorruptArchiveError(f"{path}: {at} bytes of payloads, the index says {total}")
        arrays["blocks"] = np.array(crcs, np.uint32)
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        for sha, data in weights.items():
            file.create_dataset(f"weights/{sha}", data=np.frombuffer(data, np.uint8))
        file.attrs["index_crc32"] = np.uint32(checksum(arrays))


def _pieces(payloads: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a run of bytes into pieces of whole blocks."""
    waiting = bytearray()
    for payload in payloads:
        waiting += payload
        while len(waiting) >= WRITE_BYTES:
            yield bytes(waiting[:WRITE_BYTES])
            del waiting[:WRITE_BYTES]
    if waiting:
        yield bytes(waiting)
