"""A pack: the bitstreams of P consecutive samples of one stream, in one tar member.

Layout, little-endian (docs/format.md):

``"DSCP" | u16 version | u16 flags | u32 n | u32 codec_slot | u64 first_index | u32 table_crc32 |
u32 0``, then n × ``{u32 length, u32 crc32}``, then the payloads. A length of 0xFFFFFFFF says that
the sample does not have this stream. `table_crc32` covers the first 24 bytes and the table, so no
bit of a pack is without a checksum.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dsc.errors import LIST_DAMAGE, CorruptPackError, UnsupportedVersionError

MAGIC = b"DSCP"
VERSION = 1
HEADER = struct.Struct("<4sHHIIQII")
MISSING = 0xFFFFFFFF
MAX_SAMPLES = 1 << 20


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
    """

    first_index: int
    codec_slot: int
    payloads: tuple[memoryview | None, ...]


def encode_pack(payloads: Sequence[bytes | None], first_index: int, codec_slot: int) -> bytes:
    """Write a pack.

    Raises
    ------
    ValueError
        When there are no payloads, too many, or one of 4 GiB or more.
    """
    if not 0 < len(payloads) <= MAX_SAMPLES:
        raise ValueError(f"a pack holds 1 to {MAX_SAMPLES} samples, got {len(payloads)}")
    if any(p is not None and len(p) >= MISSING for p in payloads):
        raise ValueError("a bitstream of 4 GiB or more does not fit a pack")
    table = b"".join(
        struct.pack("<II", MISSING, 0) if p is None else struct.pack("<II", len(p), zlib.crc32(p))
        for p in payloads
    )
    start = HEADER.pack(MAGIC, VERSION, 0, len(payloads), codec_slot, first_index, 0, 0)[:24]
    crc = zlib.crc32(table, zlib.crc32(start))
    rest = struct.pack("<II", crc, 0)
    return b"".join([start, rest, table, *(p for p in payloads if p is not None)])


def decode_pack(data: bytes | memoryview, where: str) -> Pack:
    """Read a pack and check all of it.

    Parameters
    ----------
    data
        The bytes of one pack, no more and no fewer.
    where
        File and pack, for messages.

    Raises
    ------
    CorruptPackError
        When a size or checksum is wrong.
    UnsupportedVersionError
        When the pack's version is not known.
    """
    view = memoryview(data)
    if len(view) < HEADER.size:
        raise CorruptPackError(f"{where}: {len(view)} bytes are no pack; {LIST_DAMAGE}")
    magic, version, flags, n, slot, first, crc, zero = HEADER.unpack_from(view)
    if magic != MAGIC:
        raise CorruptPackError(f"{where}: no pack starts here (found {magic!r}); {LIST_DAMAGE}")
    end = HEADER.size + 8 * n
    if not 0 < n <= MAX_SAMPLES or end > len(view):
        raise CorruptPackError(f"{where}: declares {n} samples in {len(view)} bytes")
    got = zlib.crc32(view[HEADER.size : end], zlib.crc32(view[:24]))
    if got != crc or zero:
        raise CorruptPackError(
            f"{where}: header or table crc {got:08x}, expected {crc:08x}; {LIST_DAMAGE}"
        )
    if version != VERSION or flags:
        raise UnsupportedVersionError(
            f"{where}: pack version {version}, flags {flags}; this dsc reads version {VERSION}"
        )
    import numpy as np  # here, for `dsc info` reads no pack

    table = np.frombuffer(view[HEADER.size : end], "<u4").reshape(n, 2)
    lengths, crcs = table[:, 0].tolist(), table[:, 1].tolist()
    total = sum(length for length in lengths if length != MISSING)
    if total != len(view) - end:
        raise CorruptPackError(f"{where}: payloads of {total} bytes, found {len(view) - end}")
    payloads: list[memoryview | None] = []
    at, crc32 = end, zlib.crc32
    for k, (length, expected) in enumerate(zip(lengths, crcs, strict=True)):
        if length == MISSING:
            payloads.append(None)
            continue
        payload = view[at : at + length]
        if crc32(payload) != expected:
            raise CorruptPackError(
                f"{where}, sample {first + k}: crc {crc32(payload):08x}, expected {expected:08x}; "
                f"{LIST_DAMAGE}"
            )
        payloads.append(payload)
        at += length
    return Pack(first, slot, tuple(payloads))


def unpack(source: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Expand packs in a stock webdataset pipeline: ``WebDataset(urls).compose(dsc.unpack)``.

    Parameters
    ----------
    source
        webdataset samples, each one pack: ``{"__key__", "__url__", "<stream>.pack": bytes}``.

    Yields
    ------
    dict
        One a sample: ``__key__`` (its index, nine digits), ``__index__``, ``__url__``, and the
        bitstream under the stream's name, None where the sample does not have it.

    Raises
    ------
    CorruptPackError
        When a pack is damaged.
    """
    for sample in source:
        for name, data in sample.items():
            if not name.endswith(".pack"):
                continue
            stream = name[: -len(".pack")]
            pack = decode_pack(data, f"{sample.get('__url__', '')}:{sample.get('__key__', '')}")
            for index, payload in enumerate(pack.payloads, pack.first_index):
                yield {
                    "__key__": f"{index:09d}",
                    "__index__": index,
                    "__url__": sample.get("__url__"),
                    stream: None if payload is None else bytes(payload),
                }
