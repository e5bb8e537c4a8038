"""OpenEXR: one part of scan lines, with half, float and integer channels.

What is written without compression, with run lengths or with zlib is read here; for the wavelet
and block compressions (PIZ and others), and for tiles, the package OpenEXR is used where it is
installed (``pip install 'dsc[exr]'``). The picture is that of the data window. Channels come as
R, G, B, A where those are the names, else in the order of the file, which is that of the alphabet.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dsc._files.formats.content import (
    Content,
    Family,
    Pixels,
    damaged,
    decoding,
    picture,
    refused,
)

_SIGNATURE = b"\x76\x2f\x31\x01"
_TILED, _DEEP, _PARTS = 0x200, 0x800, 0x1000
_TYPES = (np.dtype("<u4"), np.dtype("<f2"), np.dtype("<f4"))
_COMPRESSIONS = (
    "none", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "B44A", "DWAA", "DWAB", "HTJ2K256",
    "HTJ2K32",
)  # fmt: skip
_LINES = (1, 1, 1, 16)  # of a block, for those that are read here
_RLE, _LOSSY = 1, range(5, 10)
_MOST_RATIO = 1100  # what zlib can make of a byte
_ORDER = {name: place for place, name in enumerate(("R", "G", "B", "A"))}


class _Channel(NamedTuple):
    name: str
    dtype: np.dtype[np.generic]


class _Head(NamedTuple):
    channels: tuple[_Channel, ...]  # in the order of the file
    compression: int
    tiled: bool
    top: int
    height: int
    width: int
    table: int  # where the offsets of the blocks begin

    @property
    def names(self) -> tuple[str, ...]:
        """The channels in the order of the last axis: R, G, B, then others, then A."""
        names = [channel.name for channel in self.channels]
        return tuple(sorted(names, key=_place))

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.result_type(*(c.dtype for c in self.channels)).newbyteorder("=")


def _place(name: str) -> tuple[str, bool, int]:
    layer, _, own = name.rpartition(".")
    return layer, own == "A", _ORDER.get(own, 4)


def _head(data: bytes, where: str) -> _Head:
    if len(data) < 8:
        raise damaged(where, f"the OpenEXR file ends too early ({len(data)} bytes)")
    flags = struct.unpack_from("<I", data, 4)[0]
    if flags & (_DEEP | _PARTS):
        what = "deep samples" if flags & _DEEP else "several parts"
        raise refused(
            where, f"an OpenEXR with {what}", "write each part to a file of its own, one layer deep"
        )
    with decoding(where, "OpenEXR"):
        fields, table = _attributes(data)
        left, top, right, bottom = struct.unpack("<4i", fields[b"dataWindow"])
        channels = tuple(_channels(fields[b"channels"], where))
        compression = fields[b"compression"][0]
    height, width = bottom - top + 1, right - left + 1
    if not channels or height < 1 or width < 1:
        raise damaged(where, f"the OpenEXR header says {width}x{height}, {len(channels)} channels")
    tiled = bool(flags & _TILED)
    return _Head(channels, compression, tiled, top, height, width, table)


def _attributes(data: bytes) -> tuple[dict[bytes, bytes], int]:
    fields, place = {}, 8
    while data[place]:
        name_end = data.index(b"\0", place, place + 256)
        type_end = data.index(b"\0", name_end + 1, name_end + 257)
        start = type_end + 5
        size = struct.unpack_from("<i", data, type_end + 1)[0]
        if size < 0 or start + size >= len(data):
            raise EOFError("its header is cut")
        fields[data[place:name_end]] = data[start : start + size]
        place = start + size
    return fields, place + 1


def _channels(table: bytes, where: str) -> Iterator[_Channel]:
    place = 0
    while table[place]:
        end = table.index(b"\0", place)
        name = table[place:end].decode("utf-8", "replace")
        kind, _, across, down = struct.unpack_from("<iIii", table, end + 1)
        if (across, down) != (1, 1):
            raise refused(
                where, f"channel {name} at 1/{across * down} of the size", "write it as RGB"
            )
        yield _Channel(name, _TYPES[kind])
        place = end + 17


def _content(data: bytes, where: str) -> Content:
    head = _head(data, where)
    names = head.names
    return Content(
        "exr",
        head.dtype.name,
        picture(head.height, head.width, len(names)),
        lossless=head.compression not in _LOSSY,
        bits=8 * max(channel.dtype.itemsize for channel in head.channels),
        alpha=len(names) > 1 and names[-1].rpartition(".")[2] == "A",
        channels=names,
    )


def _pixels(data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
    head = _head(data, where)
    if head.tiled or head.compression >= len(_LINES):
        planes = _planes_by_package(data, head, where)
    else:
        with decoding(where, "OpenEXR"):
            planes = _planes(data, head)
    if len(planes) == 1:
        return planes[head.names[0]]
    return np.stack([planes[name].astype(head.dtype) for name in head.names], axis=2)


def _planes(data: bytes, head: _Head) -> dict[str, Pixels]:
    line_bytes = head.width * sum(channel.dtype.itemsize for channel in head.channels)
    if line_bytes * head.height > _MOST_RATIO * len(data):
        raise EOFError(f"{head.width}x{head.height} cannot be in {len(data)} bytes")
    lines = _LINES[head.compression]
    raster = np.empty((head.height, line_bytes), np.uint8)
    filled = np.zeros(head.height, bool)
    offsets = struct.unpack_from(f"<{-(-head.height // lines)}Q", data, head.table)
    for offset in offsets:
        first, size = struct.unpack_from("<ii", data, offset)
        first -= head.top
        count = min(lines, head.height - first)
        if first < 0 or count < 1 or size < 0 or offset + 8 + size > len(data):
            raise EOFError(f"the block at byte {offset} is cut")
        block = data[offset + 8 : offset + 8 + size]
        plain = _unpacked(block, head.compression, count * line_bytes)
        raster[first : first + count] = np.frombuffer(plain, np.uint8).reshape(count, line_bytes)
        filled[first : first + count] = True
    if not filled.all():
        raise EOFError(f"{int((~filled).sum())} of {head.height} lines are missing")
    return _split(raster, head)


def _split(raster: Pixels, head: _Head) -> dict[str, Pixels]:
    planes, place = {}, 0
    for name, dtype in head.channels:
        size = head.width * dtype.itemsize
        planes[name] = np.ascontiguousarray(raster[:, place : place + size]).view(dtype)
        place += size
    return planes


def _unpacked(block: bytes, compression: int, wanted: int) -> bytes:
    if not compression or len(block) == wanted:  # a block that would grow is stored
        plain = block
    else:
        plain = _run_lengths(block) if compression == _RLE else _inflated(block, wanted)
    if len(plain) != wanted:
        raise EOFError(f"a block has {len(plain)} of {wanted} bytes")
    if plain is block:
        return plain
    steps = np.frombuffer(plain, np.uint8).copy()
    steps[1:] += np.uint8(128)  # differences are stored with 128 added; modulo 256 that is -128
    halves = np.cumsum(steps, dtype=np.uint8)
    joined = np.empty_like(halves)
    joined[0::2], joined[1::2] = np.split(halves, [(wanted + 1) // 2])
    return joined.tobytes()


def _inflated(block: bytes, wanted: int) -> bytes:
    return zlib.decompressobj().decompress(block, wanted + 1)


def _run_lengths(block: bytes) -> bytes:
    parts, place = [], 0
    while place < len(block):
        count = block[place]
        if count > 127:  # 256 - count bytes as they are
            parts.append(block[place + 1 : place + 257 - count])
            place += 257 - count
        else:
            parts.append(block[place + 1 : place + 2] * (count + 1))
            place += 2
    return b"".join(parts)


def _planes_by_package(data: bytes, head: _Head, where: str) -> dict[str, Pixels]:
    known = head.compression < len(_COMPRESSIONS)
    name = _COMPRESSIONS[head.compression] if known else str(head.compression)
    what = "in tiles" if head.tiled else f"with compression {name}"
    try:
        import OpenEXR
    except ImportError:
        advice = "install the package for it with `pip install 'dsc[exr]'`, or write it with ZIP"
        raise refused(where, f"an OpenEXR {what}", advice) from None
    with decoding(where, "OpenEXR"):
        parts = OpenEXR.File(io.BytesIO(data), separate_channels=True).parts
        if not parts:  # it warns where it cannot read, and gives nothing
            raise EOFError("the package OpenEXR cannot read its blocks")
        planes: dict[str, Pixels] = {c.name: c.pixels for c in parts[0].channels.values()}
    sizes = {plane.shape for plane in planes.values()}
    if sizes != {(head.height, head.width)} or set(planes) != set(head.names):
        raise damaged(where, f"the OpenEXR gives {sizes} for {head.width}x{head.height}")
    return planes


FAMILY = Family("OpenEXR", (".exr",), lambda data: data.startswith(_SIGNATURE), _content, _pixels)
