"""The file of a replay buffer: one HDF5 file, written whole and never changed.

An update writes a new file beside the old one, flushes it and renames it into place. So a killed
update leaves the old buffer or the new one, a reader goes on with the file it has opened, and no
garbage has to be collected. It costs one sequential copy of the payloads that stay, at most the
budget, however many tasks have come. A write in place could not be killed: HDF5 has no journal.

::

    payloads     uint8    of all exemplars, one after another, contiguous in the file
    meta, labels ...      the index, see `dsc._replay.buffer.format`
    blocks       uint32   CRC-32 of every 16 KiB of payloads
    weights/<sha256>      uint8, the codecs' weights files

The attribute ``index_crc32`` covers everything but payloads and weights.
"""

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dsc._replay.buffer.format import BufferContents, checksum, packed, unpacked
from dsc._storage.files.atomic import publish
from dsc.errors import CorruptArchiveError, DscError, SourceNotFoundError

if TYPE_CHECKING:
    import h5py

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
    contents: BufferContents,
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
        _write_all(part, contents, weights, payloads)
        publish(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _write_all(
    path: Path, contents: BufferContents, weights: Mapping[str, bytes], payloads: Iterable[bytes]
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


class BufferFile:
    """One file of a buffer, open for reading; what it holds never changes.

    Payloads are read with `os.pread` at their place in the file, so any number of threads and
    forked processes may share one of these.

    Raises
    ------
    SourceNotFoundError
        When there is no file.
    CorruptArchiveError
        When it is no replay buffer, or a damaged one.
    UnsupportedVersionError
        When a later dsc wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise SourceNotFoundError(f"{path}: there is no replay buffer here") from None
        try:
            self.contents, self._weights = self._read()
        except BaseException:
            os.close(self._fd)
            self._fd = -1
            raise

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            self.close()

    @property
    def file_bytes(self) -> int:
        """Bytes of the file on disk."""
        return os.fstat(self._fd).st_size

    def _read(self) -> tuple[BufferContents, dict[str, tuple[int, int]]]:
        import h5py

        try:
            with os.fdopen(os.dup(self._fd), "rb") as handle, h5py.File(handle, "r") as file:
                there = _datasets(file)
                arrays = {
                    name: dataset[()]
                    for name, dataset in there.items()
                    if name != "payloads" and not name.startswith("weights/")
                }
                if checksum(arrays) != int(file.attrs["index_crc32"]):
                    raise CorruptArchiveError(f"{self.path}: the index fails its checksum")
                self._start, self._total = _place(there["payloads"])
                weights = {
                    name.removeprefix("weights/"): _place(dataset)
                    for name, dataset in there.items()
                    if name.startswith("weights/")
                }
            contents = unpacked(arrays, str(self.path))
            self._blocks = arrays["blocks"]
            self._checked = bytearray(len(self._blocks))
            if int(contents.rows.sizes.sum()) != self._total:
                raise ValueError("the lengths do not add up to the payloads")
            if block_bytes(self._total) != self._blocks.nbytes:
                raise ValueError("checksums of another number of blocks")
            return contents, weights
        except DscError:
            raise
        except (OSError, LookupError, ValueError, TypeError, RuntimeError) as error:
            raise CorruptArchiveError(
                f"{self.path}: not a replay buffer, or a damaged one: {error}"
            ) from error

    def read(self, address: int, size: int) -> bytes:
        """Read payload bytes; each block is checked when it is first touched.

        Raises
        ------
        CorruptArchiveError
            When a block fails its checksum.
        """
        if size:
            for block in range(address // BLOCK_BYTES, (address + size - 1) // BLOCK_BYTES + 1):
                if not self._checked[block]:
                    self._check(block)
        return os.pread(self._fd, size, self._start + address)

    def _check(self, block: int) -> None:
        at = block * BLOCK_BYTES
        data = os.pread(self._fd, min(BLOCK_BYTES, self._total - at), self._start + at)
        if zlib.crc32(data) != int(self._blocks[block]):
            ends = self.contents.rows.addresses
            first, last = np.searchsorted(ends, [at + 1, at + BLOCK_BYTES])
            raise CorruptArchiveError(
                f"{self.path}: payload bytes {at} to {at + BLOCK_BYTES - 1} fail their checksum "
                f"(exemplars {max(first - 1, 0)} to {max(last - 1, 0)}); the file is damaged: "
                "restore it from a copy"
            )
        self._checked[block] = 1

    def has_weights(self, sha256: str) -> bool:
        """Tell whether a weights file is there."""
        return sha256 in self._weights

    def weights_bytes(self, sha256: str) -> int:
        """Count the bytes of a weights file; 0 where it is not there."""
        return self._weights[sha256][1] if sha256 in self._weights else 0

    def weights(self, sha256: str) -> bytes | None:
        """Read a weights file; None where it is not there.

        Raises
        ------
        CorruptArchiveError
            When it is not what its hash says.
        """
        if sha256 not in self._weights:
            return None
        start, size = self._weights[sha256]
        data = os.pread(self._fd, size, start)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise CorruptArchiveError(f"{self.path}: the weights {sha256} are damaged")
        return data


def _datasets(file: "h5py.File") -> "dict[str, h5py.Dataset]":
    """Open every dataset of a file, those of its groups too, by name."""
    import h5py

    found: dict[str, h5py.Dataset] = {}
    for name, item in file.items():
        if isinstance(item, h5py.Group):
            found |= {f"{name}/{part}": one for part, one in item.items()}
        else:
            found[name] = item
    return found


def _place(dataset: "h5py.Dataset") -> tuple[int, int]:
    """Return where a contiguous dataset lies in the file, and its bytes."""
    if dataset.dtype != np.uint8 or dataset.ndim != 1:
        raise ValueError(f"{dataset.name}: not a row of bytes")
    if not dataset.size:
        return 0, 0
    start = dataset.id.get_offset()
    if start is None:
        raise ValueError(f"{dataset.name}: not contiguous in the file")
    return int(start), int(dataset.size)
