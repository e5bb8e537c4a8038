"""TIFF and BigTIFF of either byte order through libtiff: numbers, pictures, palettes and masks.

The directories are read here, so that pages are counted, and what libtiff gives is put into the
form of the other formats: planes apart become (H, W, C), pictures where zero is white are inverted,
palettes give colours or indexes, gray of 1, 2 and 4 bits spans 0..255 unless `indexes`. Thumbnails,
overviews and masks (``NewSubfileType``) are no pages.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from dsc._codecs.classical.jpeg_file import inks_to_rgb
from dsc._files.formats.content import (
    Content,
    Family,
    Pixels,
    damaged,
    decoding,
    picture,
    refused,
    turned,
)

_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = (
    254, 255, 256, 257, 258, 259, 262,
)  # fmt: skip
_DESCRIPTION, _ORIENTATION, _SAMPLES, _PLANAR, _PALETTE, _EXTRA, _FORMAT, _DEPTH = (
    270, 274, 277, 284, 320, 338, 339, 32997,
)  # fmt: skip
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _COLOURS, _MASK, _INKS, _YCBCR = range(7)
_FAX, _JPEG = (2, 3, 4), (6, 7)
_LOSSY = {6, 7, 33003, 33005, 34676, 34677, 34712, 34887, 34892, 50001, 50002, 52546}
_NAMES = {33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34933: "PNG",
          50002: "JPEG XL", 52546: "JPEG XL"}  # fmt: skip
_KINDS = {1: "uint", 2: "int", 3: "float", 4: "uint"}
_MOST_PAGES = 1 << 20
_MOST_VALUES = 3 << 16  # a palette of 16 bits
_CONVERT = "convert it, for example with `magick FILE FILE.png` or `tiffcp -c zip FILE NEW`"


@dataclass(frozen=True)
class _Page:
    """One directory: its tags, and where the value of the orientation lies."""

    index: int
    tags: dict[int, list[int]] = field(default_factory=dict)
    text: bytes = b""
    orientation_at: int = 0

    def get(self, tag: int, default: int) -> int:
        values = self.tags.get(tag)
        return values[0] if values else default

    @property
    def auxiliary(self) -> bool:
        """Whether this is a thumbnail, an overview or a mask of another page."""
        return bool(self.get(_SUBFILE, 0) & 5) or self.get(_OLD_SUBFILE, 1) == 2


@dataclass(frozen=True)
class _Layout:
    """How the samples of a page lie in the file."""

    height: int
    width: int
    samples: int
    bits: int
    kind: str  # uint, int, float
    photometric: int
    compression: int
    scaled: int  # 255 // 15 for gray of 4 bits

    @property
    def dtype(self) -> str:
        if self.photometric in (_INKS, _YCBCR):
            return "uint8"
        return f"{self.kind}{next(size for size in (8, 16, 32, 64) if self.bits <= size)}"


class _File:
    """Reads directories; every offset is checked, because the file is a stranger's."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
        self.large = self.number(2, 2) == 43
        self.word = 8 if self.large else 4

    def number(self, place: int, size: int) -> int:
        piece = self.data[place : place + size]
        if len(piece) < size:
            raise EOFError(f"a directory lies beyond its end ({len(self.data)} bytes)")
        return int.from_bytes(piece, self.order)

    def pages(self) -> Iterator[_Page]:
        place = self.number(8 if self.large else 4, self.word)
        seen: set[int] = set()
        while place:
            if place in seen or len(seen) > _MOST_PAGES:
                raise ValueError("its directories form a loop")
            seen.add(place)
            head, entry = (8, 20) if self.large else (2, 12)
            count = self.number(place, head)
            end = place + head + count * entry
            following = self.number(end, self.word)
            yield self._page(len(seen) - 1, range(place + head, end, entry))
            place = following

    def _page(self, index: int, entries: range) -> _Page:
        tags: dict[int, list[int]] = {}
        text, orientation_at = b"", 0
        for entry in entries:
            tag, kind = self.number(entry, 2), self.number(entry + 2, 2)
            size = _TYPE_BYTES.get(kind)
            if size is None or tag not in _WANTED:
                continue
            count = self.number(entry + 4, self.word)
            place = entry + 4 + self.word
            if count * size > self.word:
                place = self.number(place, self.word)
            if tag == _DESCRIPTION:
                text = self.data[place : place + min(count, 4096)]
                continue
            if tag == _ORIENTATION:
                orientation_at = place
            if count > _MOST_VALUES:
                raise ValueError(f"tag {tag} has {count} values")
            tags[tag] = [self.number(place + i * size, size) for i in range(count)]
        return _Page(index, tags, text, orientation_at)


_WANTED = frozenset(
    (_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION,
     _ORIENTATION, _SAMPLES, _PLANAR, _PALETTE, _EXTRA, _FORMAT, _DEPTH)
)  # fmt: skip


def _first(data: bytes, where: str) -> tuple[_Page, int]:
    """Return the first full page, and the number of full pages."""
    with decoding(where, "TIFF"):
        pages = list(_File(data).pages())
    full = [page for page in pages if not page.auxiliary] or pages
    if not full:
        raise damaged(where, "the TIFF file has no page")
    count = len(full)
    if count == 1 and full[0].text.startswith(b"ImageJ="):  # the other images follow bare
        stack = re.search(rb"\bimages=(\d{1,9})", full[0].text)
        count = int(stack[1]) if stack else 1
    return full[0], max(count, full[0].get(_DEPTH, 1))


def _layout(page: _Page, where: str) -> _Layout:
    bits, kinds = set(page.tags.get(_BITS, [1])), set(page.tags.get(_FORMAT, [1]))
    height, width = page.get(_HEIGHT, 0), page.get(_WIDTH, 0)
    if not height or not width:
        raise damaged(where, f"the TIFF directory says {width}x{height}")
    depth, kind = max(bits), _KINDS.get(max(kinds), "complex or unknown")
    samples = page.get(_SAMPLES, 1)
    photometric = page.get(_PHOTOMETRIC, _BLACK_IS_ZERO)
    compression = page.get(_COMPRESSION, 1)
    whole = depth in (8, 16, 32, 64) or (kind == "uint" and (depth <= 16 and samples == 1))
    odd_float = kind == "float" and depth not in (16, 32, 64)
    if len(bits) > 1 or len(kinds) > 1 or kind not in _KINDS.values() or not whole or odd_float:
        sizes = ", ".join(map(str, sorted(bits)))
        raise refused(where, f"a TIFF of {samples} samples of {sizes} bits ({kind})", _CONVERT)
    if photometric > _YCBCR or photometric == _MASK:
        raise refused(where, f"a TIFF in colour space {photometric}", _CONVERT)
    inks_apart = photometric == _INKS and (samples != 4 or depth != 8)
    if inks_apart or (photometric == _YCBCR and compression not in _JPEG):
        name = "CMYK" if photometric == _INKS else "YCbCr"
        raise refused(where, f"a {name} TIFF of {samples} samples of {depth} bits", _CONVERT)
    gray = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and depth in (1, 2, 4)
    scaled = 255 // ((1 << depth) - 1) if gray else 1
    return _Layout(height, width, samples, depth, kind, photometric, compression, scaled)


def _content(data: bytes, where: str) -> Content:
    page, pages = _first(data, where)
    layout = _layout(page, where)
    orientation = page.get(_ORIENTATION, 1)
    orientation = orientation if 1 <= orientation <= 8 else 1
    palette = layout.photometric == _COLOURS
    samples = layout.samples
    if palette or layout.photometric == _INKS:
        samples = 3
    colours = 3 if layout.photometric in (_RGB, _YCBCR) else 1
    extra = page.tags.get(_EXTRA, [2] if samples == 4 and colours == 3 else [])
    return Content(
        "tiff",
        "uint8" if palette else layout.dtype,
        turned(picture(layout.height, layout.width, samples), orientation),
        lossless=layout.compression not in _LOSSY,
        palette=palette,
        bits=layout.bits,
        pages=pages,
        orientation=orientation,
        alpha=bool(extra) and extra[-1] in (1, 2) and samples == colours + len(extra),
        cmyk=layout.photometric == _INKS,
    )


def _pixels(data: bytes, where: str, content: Content, indexes: bool) -> Pixels:
    page, _ = _first(data, where)
    layout = _layout(page, where)
    if layout.compression in _NAMES:
        name = _NAMES[layout.compression]
        raise refused(where, f"a TIFF compressed with {name}, which is not read", _CONVERT)
    array = _decoded(data, where, page, layout)
    if layout.photometric == _COLOURS:
        return array if indexes else _coloured(array, page, layout, where)
    # programs that write fax invert; those that write a mask of numbers mean the bits themselves
    stored = indexes and layout.compression not in _FAX
    if layout.photometric == _WHITE_IS_ZERO and layout.kind == "uint":
        white = 255 if layout.scaled > 1 else (1 << layout.bits) - 1
        if stored is (layout.scaled > 1):  # libtiff has inverted the pictures of few bits
            array = array.dtype.type(white) - array
    return array // layout.scaled if indexes and layout.scaled > 1 else array


def _decoded(data: bytes, where: str, page: _Page, layout: _Layout) -> Pixels:
    import imagecodecs

    if page.get(_ORIENTATION, 1) != 1:  # libtiff turns some kinds in part: take it out
        upright = (1).to_bytes(2, "little" if data[:2] == b"II" else "big")
        data = data[: page.orientation_at] + upright + data[page.orientation_at + 2 :]
    spread = layout.scaled > 1  # as RGBA, because imagecodecs before 2026.3 reads no single bits
    with decoding(where, "TIFF", f"copy it again, or {_CONVERT}"):
        array: Pixels = imagecodecs.tiff_decode(data, index=page.index, asrgb=spread)
    if spread:
        return array[:, :, 0]
    if array.dtype == bool:  # indexes of one bit
        array = array.view(np.uint8)
    if layout.photometric == _INKS and array.ndim == 3 and array.shape[-1] == 4:
        return inks_to_rgb(array, inverted=False)
    apart = page.get(_PLANAR, 1) == 2 and array.ndim == 3 and array.shape[0] == layout.samples
    return np.moveaxis(array, 0, 2) if apart else array


def _coloured(array: Pixels, page: _Page, layout: _Layout, where: str) -> Pixels:
    table = np.array(page.tags.get(_PALETTE, []), np.uint16)
    if table.size != 3 << layout.bits:
        raise damaged(where, f"the TIFF has a palette of {table.size // 3} colours")
    if table.max() > 255:  # some programs write 8 bits into the 16
        table >>= 8
    colours: Pixels = table.astype(np.uint8).reshape(3, -1).T[array.astype(np.intp)]
    return colours


FAMILY = Family(
    "TIFF",
    (".tif", ".tiff"),
    lambda data: data.startswith((b"II*\0", b"MM\0*", b"II+\0\x08\0", b"MM\0+\0\x08")),
    _content,
    _pixels,
)
