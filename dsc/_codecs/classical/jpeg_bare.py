"""JPEG for small pictures: only quality, chroma subsampling and the scan are stored.

A file of a 32×32 picture is 623 bytes of header and tables, the same for all pictures of a quality,
and 60 to 400 bytes of scan. `bare` keeps the scan; `contain` writes the file back, byte for byte
what libjpeg wrote. Tables are those of the standard's Annex K, the quantisation tables scaled as
libjpeg does. The bytes::

    u8   bits 0-6: quality, 1 to 100; bit 7: chroma is not subsampled (4:4:4, not 4:2:0)
    ...  the scan without byte stuffing (a zero behind each 0xFF)

RGB has the subsampling that costs less: which of the two wins depends on the picture and on the
quality. Source: ITU-T T.81, Annexes B and K; libjpeg's `jpeg_quality_scaling`.
"""

import struct
from functools import lru_cache
from typing import ClassVar

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.classical.jpeg import END, JpegCodec
from dsc._codecs.maps.small import SmallImageCodec
from dsc._schemas import Task, TaskKind

FULL_CHROMA = 0x80
STUFFED, PLAIN = b"\xff\x00", b"\xff"
# Squared error that a bit is worth, in units of the squared step of luma's lowest frequencies. Of
# 0.15 to 4, 1 (below 28 dB) and 2 take the fewest bytes at equal PSNR on CIFAR-100, 2 (below 26 dB)
# and 4 on Tiny-ImageNet, whose JPEGs are 4:2:0 themselves.
TRADE = 1.5


class JpegBareCodec(SmallImageCodec, JpegCodec):
    """Lossy images, normals, and depth as an 8-bit logarithm; quality is JPEG's own."""

    id: ClassVar[str] = "jpeg-bare"

    def write_image(self, image: Array, task: Task, quality: int | None) -> bytes:
        """Write a picture without header and tables."""
        level = quality or 100
        if image.ndim == 2:
            return _write(image, level, None)
        full = _write(image, level, "444")
        if task.kind is TaskKind.NORMAL:
            return full
        half = _write(image, level, "420")
        worth = TRADE * 8 * float(_scaled(LUMA, level)[1]) ** 2
        return min((half, full), key=lambda data: self._error(data, image) + worth * len(data))

    def _error(self, data: bytes, image: Array) -> float:
        """Return the squared error of a picture."""
        decoded = self.read_image(data, np.empty_like(image))
        return float(np.square(decoded.astype(np.float64) - image).sum())

    def whole_file(self, data: bytes, shape: tuple[int, ...]) -> bytes:
        """Return a JPEG file."""
        return contain(data, shape)

    def read_image(self, data: bytes, out: Array) -> Array:
        """Read what `write_image` gave into `out`."""
        return super().read_image(contain(data, out.shape), out)


def _write(image: Array, quality: int, subsampling: str | None) -> bytes:
    import imagecodecs

    coded = imagecodecs.jpeg8_encode(image, level=quality, subsampling=subsampling, optimize=False)
    return bare(bytes(coded), quality, image.shape, subsampling == "444")


def bare(jpeg: bytes, quality: int, shape: tuple[int, ...], full: bool) -> bytes:
    """Take the scan out of a JPEG file.

    Parameters
    ----------
    shape
        (H, W) or (H, W, 3).
    full
        Whether chroma is not subsampled.

    Raises
    ------
    ValueError
        When the file does not begin with the header that `contain` would write.
    """
    header = _header(quality, shape, full)
    if not jpeg.startswith(header) or not jpeg.endswith(END):
        raise ValueError("libjpeg wrote another header than the standard's tables give")
    scan = jpeg[len(header) : -len(END)].replace(STUFFED, PLAIN)
    return bytes([quality | (FULL_CHROMA if full else 0)]) + scan


def contain(data: bytes, shape: tuple[int, ...]) -> bytes:
    """Return the JPEG file of what `bare` gave.

    Raises
    ------
    ValueError
        When the first byte is no quality.
    """
    quality, full = data[0] & ~FULL_CHROMA, bool(data[0] & FULL_CHROMA)
    if not 1 <= quality <= 100 or (full and len(shape) == 2):
        raise ValueError(f"a first byte of {data[0]:#04x}")
    return _header(quality, shape, full) + data[1:].replace(PLAIN, STUFFED) + END


@lru_cache(maxsize=64)
def _header(quality: int, shape: tuple[int, ...], full: bool) -> bytes:
    """Return everything before the scan, in libjpeg's order."""
    gray = len(shape) == 2
    first = 0x11 if gray or full else 0x22  # sampling factors
    parts = [(1, first, 0)] if gray else [(1, first, 0), (2, 0x11, 1), (3, 0x11, 1)]
    quantisation = [LUMA] if gray else [LUMA, CHROMA]
    segments = [
        (0xE0, b"JFIF\0" + bytes([1, 1, 0, 0, 1, 0, 1, 0, 0])),
        *((0xDB, bytes([i]) + _scaled(table, quality)) for i, table in enumerate(quantisation)),
        (0xC0, struct.pack(">BHHB", 8, *shape[:2], len(parts)) + b"".join(map(bytes, parts))),
        *((0xC4, table) for table in HUFFMAN[: 2 * len(quantisation)]),
        (0xDA, bytes([len(parts)]) + b"".join(_scan_part(i, t) for i, _, t in parts) + b"\0\x3f\0"),
    ]
    return b"\xff\xd8" + b"".join(
        struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments
    )


def _scan_part(number: int, table: int) -> bytes:
    """Say which Huffman tables a component uses."""
    return bytes([number, table * 0x11])


def _scaled(table: tuple[int, ...], quality: int) -> bytes:
    """Return a quantisation table at a quality, in zigzag order."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return bytes(min(max((table[at] * percent + 50) // 100, 1), 255) for at in ZIGZAG)


# The standard's tables. Quantisation tables are in rows of the 8×8 block, as at quality 50. Huffman
# tables are bodies of DHT segments: class and number, how many codes each length has, their values;
# in the order luma DC, luma AC, chroma DC, chroma AC.
# fmt: off
LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)
CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
)
# The place in the block of each value of a scan.
ZIGZAG = (
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
)
# fmt: on
HUFFMAN = tuple(
    bytes.fromhex(table)
    for table in (
        "0000010501010101010100000000000000000102030405060708090a0b",
        "100002010303020403050504040000017d01020300041105122131410613516107227114328191a1082342b1"
        "c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a535455565758"
        "595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aa"
        "b2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7"
        "f8f9fa",
        "0100030101010101010101010000000000000102030405060708090a0b",
        "1100020102040403040705040400010277000102031104052131061241510761711322328108144291a1b1c1"
        "09233352f0156272d10a162434e125f11718191a262728292a35363738393a434445464748494a5354555657"
        "58595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8"
        "a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7"
        "f8f9fa",
    )
)
