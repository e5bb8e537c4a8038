"""Writers of small files for tests: what Pillow and imagecodecs do not write."""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

FLAT = {"u": 1, "i": 2, "f": 3}


def pillow(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def oriented(array: np.ndarray, form: str, orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return pillow(Image.fromarray(array), form, exif=exif, **options)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def tiff(
    *pages: np.ndarray,
    order: str = "<",
    planes: bool = False,
    tile: int = 0,
    deflate: bool = False,
    tags: Sequence[dict[int, int | Sequence[int] | bytes]] = (),
) -> bytes:
    """Write pages (H, W) or (H, W, C) as they are, in one strip, in tiles, or as planes."""
    data = bytearray(struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 0))
    link = 4
    for number, page in enumerate(pages):
        fields = _tiff_fields(page, order, planes, tile, deflate, data)
        fields |= tags[number] if number < len(tags) else {}
        entries = [_tiff_entry(tag, fields[tag], order, data) for tag in sorted(fields)]
        data += b"\0" * (len(data) % 2)
        data[link : link + 4] = struct.pack(f"{order}I", len(data))
        data += struct.pack(f"{order}H", len(entries)) + b"".join(entries)
        link = len(data)
        data += bytes(4)
    return bytes(data)


def _tiff_fields(page, order, planes, tile, deflate, data):  # type: ignore[no-untyped-def]
    cube = page if page.ndim == 3 else page[:, :, None]
    height, width, samples = cube.shape
    parts = np.moveaxis(cube, 2, 0)[..., None] if planes else [cube]
    offsets, sizes = [], []
    for part in parts:
        for block in _tiff_blocks(part, tile):
            raw = block.astype(block.dtype.newbyteorder(order)).tobytes()
            raw = zlib.compress(raw) if deflate else raw
            offsets.append(len(data))
            sizes.append(len(raw))
            data += raw
    fields = {
        256: width,
        257: height,
        258: [8 * page.dtype.itemsize] * samples,
        259: 8 if deflate else 1,
        262: 2 if samples in (3, 4) else 1,
        277: samples,
        284: 2 if planes else 1,
        339: [FLAT[page.dtype.kind]] * samples,
    }
    if samples in (2, 4):
        fields[338] = 2
    places = {322: tile, 323: tile, 324: offsets, 325: sizes} if tile else {}
    return fields | (places or {273: offsets, 278: height, 279: sizes})


def _tiff_blocks(part, tile):  # type: ignore[no-untyped-def]
    if not tile:
        return [part]
    height, width = part.shape[:2]
    wide = np.pad(part, ((0, -height % tile), (0, -width % tile), (0, 0)))
    return [
        wide[y : y + tile, x : x + tile]
        for y in range(0, wide.shape[0], tile)
        for x in range(0, wide.shape[1], tile)
    ]


def _tiff_entry(tag, value, order, data):  # type: ignore[no-untyped-def]
    if isinstance(value, bytes):
        kind, count, raw = 2, len(value), value
    else:
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        kind, code = (4, "I") if tag in (273, 279, 324, 325, 254) else (3, "H")
        count, raw = len(values), struct.pack(f"{order}{len(values)}{code}", *values)
    if len(raw) > 4:
        place = len(data)
        data += raw + b"\0" * (len(raw) % 2)
        raw = struct.pack(f"{order}I", place)
    return struct.pack(f"{order}HHI", tag, kind, count) + raw.ljust(4, b"\0")


EXR_LINES = {"none": (0, 1), "rle": (1, 1), "zips": (2, 1), "zip": (3, 16), "piz": (4, 32)}
EXR_TYPES = {"uint32": 0, "float16": 1, "float32": 2}


def exr(
    planes: dict[str, np.ndarray],
    compression: str = "zip",
    origin: tuple[int, int] = (0, 0),
    decreasing: bool = False,
    flags: int = 0,
) -> bytes:
    """Write scan lines; the blocks of ``piz`` are no such blocks."""
    code, lines = EXR_LINES[compression]
    height, width = next(iter(planes.values())).shape
    x, y = origin
    names = sorted(planes)
    table = b"".join(
        name.encode() + struct.pack("<BiIii", 0, EXR_TYPES[planes[name].dtype.name], 0, 1, 1)
        for name in names
    )
    box = struct.pack("<4i", x, y, x + width - 1, y + height - 1)
    head = struct.pack("<II", 20000630, 2 | flags)
    for name, kind, value in (
        ("channels", "chlist", table + b"\0"),
        ("compression", "compression", bytes([code])),
        ("dataWindow", "box2i", box),
        ("displayWindow", "box2i", box),
        ("lineOrder", "lineOrder", bytes([decreasing])),
        ("pixelAspectRatio", "float", struct.pack("<f", 1)),
        ("screenWindowCenter", "v2f", bytes(8)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
    ):
        head += f"{name}\0{kind}\0".encode() + struct.pack("<i", len(value)) + value
    head += b"\0"
    starts = list(range(0, height, lines))
    chunks = {}
    for start in starts:
        rows = range(start, min(start + lines, height))
        raw = b"".join(
            planes[name][r].astype(planes[name].dtype.newbyteorder("<")).tobytes()
            for r in rows
            for name in names
        )
        packed = _exr_packed(raw, compression)
        chunks[start] = struct.pack("<ii", y + start, len(packed)) + packed
    place, offsets = len(head) + 8 * len(starts), {}
    body = b""
    for start in reversed(starts) if decreasing else starts:
        offsets[start] = place + len(body)
        body += chunks[start]
    return head + struct.pack(f"<{len(starts)}Q", *(offsets[s] for s in starts)) + body


def _exr_packed(raw: bytes, compression: str) -> bytes:
    if compression in ("none", "piz"):
        return raw
    flat = np.frombuffer(raw, np.uint8)
    halves = np.concatenate([flat[0::2], flat[1::2]])
    steps = halves.copy()
    steps[1:] = halves[1:] - halves[:-1] + np.uint8(128)
    bare = steps.tobytes()
    packed = _exr_runs(bare) if compression == "rle" else zlib.compress(bare)
    return packed if len(packed) < len(raw) else raw


def _exr_runs(bare: bytes) -> bytes:
    packed, place = b"", 0
    while place < len(bare):
        stop = place
        while stop < min(place + 128, len(bare)) and bare[stop] == bare[place]:
            stop += 1
        if stop - place > 2:
            packed += bytes([stop - place - 1, bare[place]])
        else:
            stop = min(place + 3, len(bare))
            packed += bytes([256 - (stop - place)]) + bare[place:stop]
        place = stop
    return packed


def pfm(array: np.ndarray, order: str = "<") -> bytes:
    height, width = array.shape[:2]
    kind, scale = "PF" if array.ndim == 3 else "Pf", -1 if order == "<" else 1
    head = f"{kind}\n{width} {height}\n{scale}\n"
    return head.encode() + array[::-1].astype(f"{order}f4").tobytes()


def flo(array: np.ndarray) -> bytes:
    height, width = array.shape[:2]
    return b"PIEH" + struct.pack("<ii", width, height) + array.astype("<f4").tobytes()
