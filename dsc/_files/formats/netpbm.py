"""PBM, PGM, PPM and PAM, plain and raw, and PFM.

Numbers stay as they are stored, whatever the maximum that the header states; only where it is 1
does a picture span 0..255. In PBM 1 is black, so it is given as 0. PFM stores its rows from the
bottom; here row 0 is the top. Its scale says the byte order by its sign; a size other than 1 is a
factor that nobody agrees on and is left to the values' owner.
"""

import re
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

_TOKEN = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*([^\s#]+)")
_NAMES = {b"1": "pbm", b"2": "pgm", b"3": "ppm", b"4": "pbm", b"5": "pgm", b"6": "ppm", b"7": "pam"}
_ALPHA_TYPES = (b"BLACKANDWHITE_ALPHA", b"GRAYSCALE_ALPHA", b"RGB_ALPHA")


class _Head(NamedTuple):
    kind: bytes  # the digit after P; F or f
    start: int  # of the pixels
    width: int
    height: int
    channels: int
    most: int  # the value of white
    alpha: bool = False
    little: bool = False

    @property
    def dtype(self) -> np.dtype[np.generic]:
        if self.kind in b"Ff":
            return np.dtype("<f4" if self.little else ">f4")
        return np.dtype(np.uint8 if self.most < 256 else ">u2")

    @property
    def raster_bytes(self) -> int:
        if self.kind == b"4":
            return (self.width + 7) // 8 * self.height
        return self.width * self.height * self.channels * self.dtype.itemsize


def _head(data: bytes, where: str, place: int = 0) -> _Head:
    with decoding(where, "Netpbm"):
        kind = data[place + 1 : place + 2]
        head = _pam_head(data, place) if kind == b"7" else _short_head(data, place, kind)
    if head.width < 1 or head.height < 1 or not 1 <= head.most <= 65535 or head.channels < 1:
        raise damaged(where, f"the header says {head.width}x{head.height}, maximum {head.most}")
    if head.kind not in b"123" and len(data) < head.start + head.raster_bytes:
        raise damaged(where, f"{len(data)} bytes, {head.start + head.raster_bytes} expected")
    return head


def _short_head(data: bytes, place: int, kind: bytes) -> _Head:
    tokens, place = [], place + 2
    for _ in range(2 if kind in b"14" else 3):
        token = _TOKEN.match(data, place, place + 4096)
        if token is None:
            raise EOFError("its header is cut")
        tokens.append(token[1])
        place = token.end()
    width, height = int(tokens[0]), int(tokens[1])
    start = place + 1
    floating = kind in b"Ff"
    most = 1 if kind in b"14Ff" else int(tokens[2])
    little = floating and float(tokens[2]) < 0
    head = _Head(kind, start, width, height, 3 if kind in b"36F" else 1, most, little=little)
    # one byte ends the header; where two were written, the file is longer by one
    longer = data[place : place + 2] == b"\r\n" and len(data) > start + head.raster_bytes
    return head._replace(start=start + 1) if longer and kind in b"456Ff" else head


def _pam_head(data: bytes, place: int) -> _Head:
    end = re.compile(rb"^ENDHDR[^\n]*\n", re.MULTILINE).search(data, place, place + 65536)
    if end is None:
        raise EOFError("its header is cut")
    lines = (line.split(None, 1) for line in data[place : end.start()].splitlines()[1:])
    fields = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    width, height, channels, most = (
        int(fields[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
    )
    alpha = fields.get(b"TUPLTYPE", b"") in _ALPHA_TYPES
    return _Head(b"7", end.end(), width, height, channels, most, alpha)


def _content(data: bytes, where: str) -> Content:
    head = _head(data, where)
    floating = head.kind in b"Ff"
    depth = 1 if head.most == 1 else 8 * head.dtype.itemsize
    return Content(
        "pfm" if floating else _NAMES[head.kind],
        "float32" if floating else "uint8" if head.most < 256 else "uint16",
        picture(head.height, head.width, head.channels),
        lossless=True,
        bits=32 if floating else depth,
        pages=_pictures(data, head, where),
        alpha=head.alpha,
    )


def _pictures(data: bytes, head: _Head, where: str) -> int:
    """Count the pictures of a raw file: they may follow one another."""
    count = 1
    while head.kind in b"4567":
        place = head.start + head.raster_bytes
        if not re.match(rb"P[4567]\s", data[place : place + 3]):
            break
        head = _head(data, where, place)
        count += 1
    return count


def _pixels(data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
    head = _head(data, where)
    if head.kind in b"123":
        array = _plain(data, head, where)
    elif head.kind == b"4":
        packed = np.frombuffer(data, np.uint8, head.raster_bytes, head.start)
        array = np.unpackbits(packed.reshape(head.height, -1), axis=1)[:, : head.width]
    else:
        count = head.width * head.height * head.channels
        array = np.frombuffer(data, head.dtype, count, head.start)
        array = array.reshape(picture(head.height, head.width, head.channels))
    if head.kind in b"Ff":
        return array[::-1]
    if head.kind in b"14":
        array = 1 - array
    return array * np.uint8(255) if head.most == 1 and not indexes else array


def _plain(data: bytes, head: _Head, where: str) -> Pixels:
    body = re.sub(rb"#[^\n\r]*", b"", data[head.start :])
    words = list(re.sub(rb"\s+", b"", body)) if head.kind == b"1" else body.split()
    count = head.width * head.height * head.channels
    if len(words) < count:
        raise damaged(where, f"{len(words)} numbers, {count} expected")
    with decoding(where, "Netpbm"):
        values = np.array(words[:count]).astype(np.int64)
    values = values - ord("0") if head.kind == b"1" else values
    if values.min() < 0 or values.max() > head.most:
        raise damaged(where, f"values {values.min()} to {values.max()}, at most {head.most} stated")
    if len(words) > count and head.kind != b"1":
        raise refused(where, f"{len(words)} numbers, {count} expected", "write one picture a file")
    dtype = np.uint8 if head.most < 256 else np.uint16
    return values.astype(dtype).reshape(picture(head.height, head.width, head.channels))


FAMILY = Family(
    "PNM, PFM",
    (".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".pfm"),
    lambda data: re.match(rb"P(?:[1-6Ff][\s#]|7\s)", data[:3]) is not None,
    _content,
    _pixels,
)
