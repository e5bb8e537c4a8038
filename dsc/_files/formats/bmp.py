"""BMP without run lengths: palettes of 1, 4 and 8 bits, 16, 24 and 32 bits a pixel.

The fourth byte of a plain 32-bit pixel has no meaning by the format, but is written as alpha by
many programs. It counts as alpha where it is not the same in all pixels.
"""

import struct
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

_PLAIN, _FIELDS, _ALPHA_FIELDS = 0, 3, 6
_RED, _GREEN, _BLUE, _ALPHA = 0xFF0000, 0xFF00, 0xFF, 0xFF000000


class _Head(NamedTuple):
    start: int  # of the pixels
    width: int
    height: int
    flipped: bool  # the last row comes first
    bits: int
    compression: int
    palette: Pixels  # (N, 3) uint8, empty where there is none

    @property
    def row_bytes(self) -> int:
        return (self.width * self.bits + 31) // 32 * 4


def _head(data: bytes, where: str) -> _Head:
    if len(data) < 30:
        raise damaged(where, f"the BMP file ends in its header ({len(data)} bytes)")
    start, size = struct.unpack_from("<II", data, 10)
    colours, entry = 0, 4
    with decoding(where, "BMP"):
        if size == 12:  # OS/2
            width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
            compression, entry = _PLAIN, 3
        else:
            width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
            colours = struct.unpack_from("<I", data, 46)[0]
    if width <= 0 or height == 0:
        raise damaged(where, f"the BMP header says {width}x{height}")
    if bits not in (1, 4, 8, 16, 24, 32) or compression not in (_PLAIN, _FIELDS, _ALPHA_FIELDS):
        raise refused(
            where, f"a BMP of {bits} bits and compression {compression}", "convert it to PNG"
        )
    palette = np.zeros((0, 3), np.uint8)
    if bits <= 8:
        count = min(colours or 1 << bits, 1 << bits)
        table = np.frombuffer(data[14 + size : 14 + size + entry * count], np.uint8)
        palette = table[: table.size // entry * entry].reshape(-1, entry)[:, 2::-1]
    head = _Head(start, width, abs(height), height > 0, bits, compression, palette)
    if len(data) < start + head.row_bytes * head.height:
        raise damaged(where, f"the BMP file ends too early ({len(data)} bytes)")
    return head


def _content(data: bytes, where: str) -> Content:
    head = _head(data, where)
    alpha = head.bits == 32 and _has_alpha(data, head)
    return Content(
        "bmp",
        "uint8",
        picture(head.height, head.width, 4 if alpha else 3),
        lossless=True,
        palette=head.bits <= 8,
        bits=head.bits if head.bits <= 8 else 8,
        alpha=alpha,
    )


def _pixels(data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
    head = _head(data, where)
    rows = _rows(data, head)
    if head.bits <= 8:
        found = _unpacked(rows, head)
        if indexes:
            return found
        if int(found.max()) >= len(head.palette):
            raise damaged(where, f"the BMP has index {int(found.max())}, its palette "
                                 f"{len(head.palette)} colours")  # fmt: skip
        return head.palette[found]
    if head.bits == 16 or (head.bits == 32 and not _usual_fields(data, head)):
        import imagecodecs

        with decoding(where, "BMP"):
            array: Pixels = imagecodecs.bmp_decode(data)
        return array
    count = head.bits // 8
    pixels = rows[:, : head.width * count].reshape(head.height, head.width, count)
    return pixels[:, :, [2, 1, 0, 3]] if content.alpha else pixels[:, :, 2::-1]


def _rows(data: bytes, head: _Head) -> Pixels:
    flat = np.frombuffer(data, np.uint8, head.row_bytes * head.height, head.start)
    rows = flat.reshape(head.height, head.row_bytes)
    return rows[::-1] if head.flipped else rows


def _unpacked(rows: Pixels, head: _Head) -> Pixels:
    if head.bits == 8:
        return rows[:, : head.width]
    if head.bits == 1:
        return np.unpackbits(rows, axis=1)[:, : head.width]
    halves = np.stack([rows >> 4, rows & 15], axis=2)
    return halves.reshape(len(rows), -1)[:, : head.width]


def _usual_fields(data: bytes, head: _Head) -> bool:
    masks = struct.unpack_from("<III", data, 54)
    return head.compression == _PLAIN or masks == (_RED, _GREEN, _BLUE)


def _has_alpha(data: bytes, head: _Head) -> bool:
    if head.compression != _PLAIN:
        header_bytes = struct.unpack_from("<I", data, 14)[0]
        stated = header_bytes >= 56 or head.compression == _ALPHA_FIELDS
        return stated and struct.unpack_from("<I", data, 66)[0] == _ALPHA
    fourth = _rows(data, head)[:, 3::4]
    return bool((fourth != fourth[0, 0]).any())


FAMILY = Family("BMP", (".bmp", ".dib"), lambda data: data[:2] == b"BM", _content, _pixels)
