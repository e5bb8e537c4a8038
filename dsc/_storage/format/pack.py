"""A pack: the bitstreams of P consecutive samples of one stream, in one tar member.

Layout, little-endian (docs/format.md):

``"DSCP" | u16 version | u16 flags | u32 n | u32 codec_slot | u64 first_index | u32 table_crc32 |
u32 0``, then n × ``{u32 length, u32 crc32}``, then the payloads. A length of 0xFFFFFFFF says that
the sample does not have this stream. `table_crc32` covers the first 24 bytes and the table, so no
bit of a pack is without a checksum.

Version 2 compresses: the flags are the `Method`, the last field is the size of the block before it
was compressed, and the checksum covers bytes 0 to 23 and all from 28 on. With `Method.EACH` the
last field is 0, each payload is compressed by itself, and the table, which is the last that the
checksum covers, has n × ``{u32 length, u32 crc32, u32 size}``; what is as long as its size is
stored.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsc._storage.format.zstd import compress, decompress
from dsc.errors import LIST_DAMAGE, CorruptPackError, UnsupportedVersionError

if TYPE_CHECKING:  # it loads NumPy, and `dsc info` reads no pack
    from dsc._storage.format.block import Joined

MAGIC = b"DSCP"
VERSION, COMPRESSED = 1, 2
EACH = 4  # `Method.EACH`
MAX_BLOCK = 64 << 20  # bytes that one frame may grow to
MAX_EACH = 512 << 20  # bytes that the frames of a pack may grow to together
HEADER = struct.Struct("<4sHHIIQII")
TABLE_ROW = struct.Struct("<III")
MISSING = 0xFFFFFFFF
MAX_SAMPLES = 1 << 20

Dictionary = Callable[[int], bytes | None]  # of a codec slot


@dataclass(frozen=True)
class Packing:
    """How the payloads of a stream are compressed in packs of version 2.

    Attributes
    ----------
    together
        Whether those of a pack together, or each by itself.
    dtype
        Of the numbers that payloads are; None for text and other bytes.
    dictionary
        Bytes that all packs of the stream may refer to.
    """

    together: bool = True
    dtype: str | None = None
    dictionary: bytes | None = None


@dataclass(frozen=True)
class Pack:
    """A checked pack.

    Attributes
    ----------
    first_index
        Index, in the split, of its first sample.
    codec_slot
        Which of the manifest's codecs wrote it.
    payloads
        One bitstream a sample; None where the sample does not have this stream.
    stored_bytes
        What they take in the pack.
    """

    first_index: int
    codec_slot: int
    payloads: tuple[memoryview | None, ...]
    stored_bytes: int = 0

    def part(self, start: int, stop: int) -> "Pack":
        """Return the samples [start, stop) of it as a pack."""
        if (start, stop) == (0, len(self.payloads)):
            return self
        own = self.payloads[start:stop]
        joined = memoryview(b"".join(payload for payload in own if payload is not None))
        payloads: list[memoryview | None] = []  # of their own: what is kept must not keep the rest
        at = 0
        for payload in own:
            length = 0 if payload is None else len(payload)
            payloads.append(None if payload is None else joined[at : at + length])
            at += length
        return Pack(self.first_index + start, self.codec_slot, tuple(payloads))


def encode_pack(payloads: Sequence[bytes | None], first_index: int, codec_slot: int) -> bytes:
    """Write a pack of version 1.

    Raises
    ------
    ValueError
        When there are no payloads, too many, or one of 4 GiB or more.
    """
    _check_payloads(payloads)
    table = b"".join(
        struct.pack("<II", MISSING, 0) if p is None else struct.pack("<II", len(p), zlib.crc32(p))
        for p in payloads
    )
    start = HEADER.pack(MAGIC, VERSION, 0, len(payloads), codec_slot, first_index, 0, 0)[:24]
    crc = zlib.crc32(table, zlib.crc32(start))
    rest = struct.pack("<II", crc, 0)
    return b"".join([start, rest, table, *(p for p in payloads if p is not None)])


def encode_compressed(
    payloads: Sequence[bytes | None], first_index: int, codec_slot: int, packing: Packing
) -> tuple[bytes, int]:
    """Write a pack of version 2; return it, and how many bytes of it are payloads.

    Payloads that are too long to be one block are compressed each by itself.

    Raises
    ------
    ValueError
        When there are no payloads, too many, or one of 4 GiB or more.
    """
    _check_payloads(payloads)
    total = sum(len(payload) + 4 for payload in payloads if payload is not None)
    if packing.together and total + 4 * len(payloads) <= MAX_BLOCK // 2:
        from dsc._storage.format.block import encode_block

        found, body, size = encode_block(payloads, packing.dtype, packing.dictionary)
        method, covered = int(found), body
    else:
        method, size = EACH, 0
        covered, body = _each(payloads)
    head = MAGIC, COMPRESSED, method, len(payloads), codec_slot, first_index, 0, 0
    start = HEADER.pack(*head)[:24]
    end = struct.pack("<I", size)
    crc = zlib.crc32(covered, zlib.crc32(end, zlib.crc32(start)))
    whole = b"".join([start, struct.pack("<I", crc), end, body])
    return whole, len(body) - (len(covered) if method == EACH else 0)


def _check_payloads(payloads: Sequence[bytes | None]) -> None:
    if not 0 < len(payloads) <= MAX_SAMPLES:
        raise ValueError(f"a pack holds 1 to {MAX_SAMPLES} samples, got {len(payloads)}")
    if any(p is not None and len(p) >= MISSING for p in payloads):
        raise ValueError("a bitstream of 4 GiB or more does not fit a pack")


def _each(payloads: Sequence[bytes | None]) -> tuple[bytes, bytes]:
    """Return the table, and the table with the payloads, each compressed where that helps.

    What a reader would decompress to more than `MAX_EACH` is stored from there on.
    """
    rows, bodies, left = [], [], MAX_EACH
    for payload in payloads:
        if payload is None:
            rows.append(TABLE_ROW.pack(MISSING, 0, 0))
            continue
        body = compress(payload) if len(payload) <= min(MAX_BLOCK, left) else payload
        if len(body) < len(payload):
            left -= len(payload)
        else:
            body = payload
        rows.append(TABLE_ROW.pack(len(body), zlib.crc32(body), len(payload)))
        bodies.append(body)
    table = b"".join(rows)
    return table, b"".join([table, *bodies])


def decode_pack(data: bytes | memoryview, where: str, dictionary: Dictionary | None = None) -> Pack:
    """Read a pack of either version and check all of it.

    Parameters
    ----------
    data
        The bytes of one pack, no more and no fewer.
    where
        File and pack, for messages.
    dictionary
        Gives the dictionary of a codec slot; called where a pack was compressed with one.

    Raises
    ------
    CorruptPackError
        When a size or checksum is wrong.
    UnsupportedVersionError
        When the pack's version is not known.
    """
    view = memoryview(data)
    version, method, n, slot, first, crc, size = _header(view, where)
    if version == COMPRESSED and method != EACH:
        joined = _decode_joined(view, where, dictionary)
        return Pack(first, slot, joined.payloads(), len(view) - HEADER.size)
    width = TABLE_ROW.size if version == COMPRESSED else 8
    end = HEADER.size + width * n
    if end > len(view):
        raise CorruptPackError(f"{where}: declares {n} samples in {len(view)} bytes")
    if version == COMPRESSED:
        got = zlib.crc32(view[28:end], zlib.crc32(view[:24]))
    else:
        got = zlib.crc32(view[HEADER.size : end], zlib.crc32(view[:24]))
    if got != crc or size:
        raise CorruptPackError(
            f"{where}: header or table crc {got:08x}, expected {crc:08x}; {LIST_DAMAGE}"
        )
    _check_version(version, method, where)
    import numpy as np  # here, for `dsc info` reads no pack

    columns = np.frombuffer(view[HEADER.size : end], "<u4").reshape(n, width // 4).T.tolist()
    lengths, crcs = columns[:2]
    sizes = columns[2] if version == COMPRESSED else lengths
    total = sum(length for length in lengths if length != MISSING)
    if total != len(view) - end:
        raise CorruptPackError(f"{where}: payloads of {total} bytes, found {len(view) - end}")
    check_growth(lengths, sizes, where)
    payloads: list[memoryview | None] = []
    at, crc32 = end, zlib.crc32
    for k, (length, expected, full) in enumerate(zip(lengths, crcs, sizes, strict=True)):
        if length == MISSING:
            payloads.append(None)
            continue
        payload = view[at : at + length]
        if crc32(payload) != expected:
            raise CorruptPackError(
                f"{where}, sample {first + k}: crc {crc32(payload):08x}, expected {expected:08x}; "
                f"{LIST_DAMAGE}"
            )
        payloads.append(inflate(payload, full, f"{where}, sample {first + k}"))
        at += length
    return Pack(first, slot, tuple(payloads), total)


def check_growth(lengths: Sequence[int], sizes: Sequence[int], where: str) -> None:
    """Refuse payloads that would grow to more together than a writer lets them.

    Raises
    ------
    CorruptPackError
        When their sizes say so.
    """
    both = zip(lengths, sizes, strict=True)
    grown = sum(size for length, size in both if length not in (size, MISSING))
    if grown > MAX_EACH:
        raise CorruptPackError(
            f"{where}: declares {grown} bytes, at most {MAX_EACH} of a pack are decompressed"
        )


def inflate(payload: memoryview, size: int, where: str) -> memoryview:
    """Return a payload that was compressed by itself; one that is as long as it was is stored.

    Raises
    ------
    CorruptPackError
        When it does not give `size` bytes, or that is more than `MAX_BLOCK`.
    """
    if len(payload) == size:
        return payload
    try:
        if size > MAX_BLOCK:
            raise ValueError(f"declares {size} bytes, at most {MAX_BLOCK} are decompressed")
        return memoryview(decompress(payload, size))
    except ValueError as error:
        raise CorruptPackError(f"{where}: {error}; {LIST_DAMAGE}") from None


def decode_joined(
    data: bytes | memoryview, where: str, dictionary: Dictionary | None = None
) -> "tuple[int, int, Joined]":
    """Read a pack as first index, codec slot, and payloads that are not cut out yet.

    Raises like `decode_pack`.
    """
    view = memoryview(data)
    version, method, _, slot, first, _, _ = _header(view, where)
    if version == COMPRESSED and method != EACH:
        return first, slot, _decode_joined(view, where, dictionary)
    import numpy as np

    from dsc._storage.format.block import Joined

    pack = decode_pack(data, where, dictionary)
    lengths = np.array([-1 if p is None else len(p) for p in pack.payloads], np.int64)
    present = np.maximum(lengths, 0)
    joined = b"".join(p for p in pack.payloads if p is not None)
    starts = np.cumsum(present) - present
    return first, slot, Joined(starts, lengths, memoryview(joined))


def _header(view: memoryview, where: str) -> tuple[int, int, int, int, int, int, int]:
    """Return version, flags, samples, slot, first index, checksum and size; the magic holds."""
    if len(view) < HEADER.size:
        raise CorruptPackError(f"{where}: {len(view)} bytes are no pack; {LIST_DAMAGE}")
    magic, version, flags, n, slot, first, crc, size = HEADER.unpack_from(view)
    if magic != MAGIC:
        raise CorruptPackError(f"{where}: no pack starts here (found {magic!r}); {LIST_DAMAGE}")
    if not 0 < n <= MAX_SAMPLES:
        raise CorruptPackError(f"{where}: declares {n} samples in {len(view)} bytes")
    return version, flags, n, slot, first, crc, size


def _check_version(version: int, flags: int, where: str) -> None:
    known = (version == VERSION and not flags) or (version == COMPRESSED and flags <= EACH)
    if not known:
        raise UnsupportedVersionError(
            f"{where}: pack version {version}, flags {flags}; this dsc reads versions "
            f"{VERSION} and {COMPRESSED}"
        )


def _decode_joined(view: memoryview, where: str, dictionary: Dictionary | None) -> "Joined":
    from dsc._storage.format.block import DICTIONARY, decode_block

    version, method, n, slot, _, crc, size = _header(view, where)
    got = zlib.crc32(view[28:], zlib.crc32(view[:24]))
    if got != crc:
        raise CorruptPackError(f"{where}: crc {got:08x}, expected {crc:08x}; {LIST_DAMAGE}")
    _check_version(version, method, where)
    if size > MAX_BLOCK:
        raise CorruptPackError(f"{where}: declares {size} bytes, a block has up to {MAX_BLOCK}")
    known = dictionary(slot) if method == DICTIONARY and dictionary is not None else None
    if method == DICTIONARY and known is None:
        raise CorruptPackError(
            f"{where}: compressed with a dictionary, which codec {slot} of the archive does not "
            "have here; read it in its archive"
        )
    try:
        return decode_block(method, view[HEADER.size :], size, n, known)
    except ValueError as error:
        raise CorruptPackError(f"{where}: {error}; {LIST_DAMAGE}") from None
