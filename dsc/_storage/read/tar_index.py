"""Where packs lie in a tar: the index, read, checked, or made again from the tar itself."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from dsc._schemas import FileRecord
from dsc._storage.files.retry import call_again
from dsc._storage.files.root import Root
from dsc._storage.format.shard import idx_bytes
from dsc._storage.format.tar import BLOCK, END, Member, scan
from dsc.errors import CorruptArchiveError

if TYPE_CHECKING:  # listing an archive needs no NumPy, and goes without the time to load it
    import numpy as np
    from numpy.typing import NDArray

    Offsets = NDArray[np.int64]  # in bytes, (n_packs + 1,)

READ_BLOCK = 8 << 20
IDX_READS = 3


def read_idx(root: Root, record: FileRecord, n_packs: int) -> "Offsets":
    """Return where each pack's tar member starts, and where the last one ends.

    From the ``.idx``, over a network several times where it is damaged on its way; from the tar
    when there is none.

    Raises
    ------
    CorruptArchiveError
        When the index does not fit the tar.
    """
    where = f"{root.where(record.path)}.idx"

    def read() -> "Offsets":
        data = root.read(f"{record.path}.idx", 0, 8 * (n_packs + 1) + 1)
        return check_idx(data, n_packs, record, where)

    try:
        return call_again(
            read,
            lambda error: isinstance(error, CorruptArchiveError),
            1 if root.local is not None else IDX_READS,
            lambda: root.counts.add("refetched_damaged"),
        )
    except FileNotFoundError:
        return check_idx(rebuild_idx(root, record), n_packs, record, where)


def check_idx(data: bytes, n_packs: int, record: FileRecord, where: str) -> "Offsets":
    """Read an index; raises CorruptArchiveError when it does not fit the tar."""
    if len(data) != 8 * (n_packs + 1):
        raise CorruptArchiveError(
            f"{where}: {len(data)} bytes, expected {8 * (n_packs + 1)}; "
            "delete the file, it is rebuilt from the tar"
        )
    import numpy as np

    offsets = np.frombuffer(data, "<u8")
    last = record.bytes - len(END)
    rising = bool((offsets[1:] > offsets[:-1]).all())
    if not rising or (offsets % BLOCK).any() or offsets[0] != 0 or offsets[-1] != last:
        raise CorruptArchiveError(
            f"{where}: the offsets do not fit the tar; delete the file, it is rebuilt"
        )
    return offsets.astype(np.int64)


def rebuild_idx(root: Root, record: FileRecord) -> bytes:
    """Make an ``.idx`` from the tar itself."""
    return idx_of(scan_file(root, record))


def idx_of(members: Sequence[Member]) -> bytes:
    """Return the ``.idx`` that fits these members of a tar."""
    ends = [member.offset + member.size for member in members] or [0]
    last = ends[-1] + -ends[-1] % BLOCK
    return idx_bytes([*(member.offset - BLOCK for member in members), last])


def scan_file(root: Root, record: FileRecord) -> list[Member]:
    """List the members of a tar, its structure checked; see `scan`."""

    @lru_cache(maxsize=4)
    def block(number: int) -> bytes:
        return root.read(record.path, number * READ_BLOCK, (number + 1) * READ_BLOCK)

    def read(start: int, end: int) -> bytes:
        first, last = start // READ_BLOCK, max(end - 1, start) // READ_BLOCK
        joined = b"".join(block(number) for number in range(first, last + 1))
        return joined[start - first * READ_BLOCK : end - first * READ_BLOCK]

    size = root.size(record.path)
    return list(scan(read, size, root.where(record.path)))
