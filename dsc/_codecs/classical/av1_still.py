"""AV1 still pictures without their container.

An AVIF file of a small picture is mostly box structure: 275 bytes that are the same for every
picture of a dataset, beside 300 to 3,000 bytes of picture. `bare` keeps the sequence header (6 to 8
bytes; it holds width and height; what it says of colours, which not every libavif writes, the boxes
say too) and the frame; `contain` puts the boxes back, byte for byte what a
reader of AVIF needs. The bytes::

    u8   bits 0-6: length of the sequence header's payload; 0: whole OBUs follow, as an encoder
         wrote them. Bit 7: planes are not YCbCr (identity matrix)
    ...  payload of the sequence header OBU
    ...  payload of the frame OBU

Source: AV1 Bitstream & Decoding Process Specification, 5.3 to 5.5 (OBUs, sequence header); AV1
Image File Format v1.1 (boxes); AV1 Codec ISO Media File Format Binding, 2.3 (``av1C``).
"""

import struct
from dataclasses import dataclass

OBU_SEQUENCE, OBU_TEMPORAL_DELIMITER, OBU_FRAME_HEADER, OBU_FRAME = 1, 2, 3, 6
IDENTITY_BIT = 0x80
DESCRIPTION_BITS = 24  # primaries, transfer and matrix, a byte each
SRGB = 0x010D00  # with which the header says less of the rest (AV1 5.5.2)
MATRIX_IDENTITY, MATRIX_BT601 = 0, 6  # matrix coefficients, ITU-T H.273


@dataclass(frozen=True)
class SequenceHeader:
    """What a still picture's reduced sequence header says.

    Attributes
    ----------
    profile, level, tier
        As coded; a reduced header has tier 0.
    width, height
        Pixels.
    bits
        8, 10 or 12.
    monochrome
        One plane only.
    superblock
        Side in pixels, 64 or 128.
    may_upscale
        Whether frames say if they are scaled up in decoding.
    """

    profile: int
    level: int
    width: int
    height: int
    bits: int
    monochrome: bool
    superblock: int = 64
    may_upscale: bool = False


def bare(avif: bytes) -> bytes:
    """Take the picture out of an AVIF file of one still image.

    Raises
    ------
    ValueError
        When there is no media data, or it does not start as AV1 does.
    """
    obus = _media_data(avif)
    identity = IDENTITY_BIT if _matrix(avif) == MATRIX_IDENTITY else 0
    found = split_obus(obus)
    kinds = [kind for kind, _ in found if kind != OBU_TEMPORAL_DELIMITER]
    if kinds != [OBU_SEQUENCE, OBU_FRAME]:
        return bytes([identity]) + obus
    payload = dict(found)
    header = plain_sequence(payload[OBU_SEQUENCE])
    return bytes([identity | len(header)]) + header + payload[OBU_FRAME]


def contain(data: bytes) -> bytes:
    """Return the AVIF file of what `bare` gave.

    Raises
    ------
    ValueError
        When the bytes hold no sequence header of a still picture.
    """
    sequence, obus = parts(data)
    header = _parse_sequence(sequence)
    matrix = MATRIX_IDENTITY if data[0] & IDENTITY_BIT else MATRIX_BT601
    before = _boxes(header, matrix, 0, len(obus))
    return _boxes(header, matrix, len(before), len(obus)) + obus


def is_monochrome(data: bytes) -> bool:
    """Tell whether what `bare` gave has one plane only.

    Raises
    ------
    ValueError
        When the bytes hold no sequence header of a still picture.
    """
    return _parse_sequence(parts(data)[0]).monochrome


def picture_size(data: bytes) -> tuple[int, int]:
    """Return height and width of what `bare` gave.

    Raises
    ------
    ValueError
        When the bytes hold no sequence header of a still picture.
    """
    header = _parse_sequence(parts(data)[0])
    return header.height, header.width


def parts(data: bytes) -> tuple[bytes, bytes]:
    """Return the payload of the sequence header, and all OBUs, of what `bare` gave."""
    if not data:
        raise ValueError("no bytes")
    length = data[0] & ~IDENTITY_BIT
    if length == 0:
        obus = bytes(data[1:])
        for kind, payload in split_obus(obus):
            if kind == OBU_SEQUENCE:
                return payload, obus
        raise ValueError("no sequence header")
    header, frame = bytes(data[1 : 1 + length]), bytes(data[1 + length :])
    return header, obu(OBU_TEMPORAL_DELIMITER, b"") + obu(OBU_SEQUENCE, header) + obu(
        OBU_FRAME, frame
    )


def obu(kind: int, payload: bytes) -> bytes:
    """Return an OBU with its size field."""
    size, length = bytearray(), len(payload)
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes([kind << 3 | 2]) + bytes(size) + payload


def split_obus(data: bytes) -> list[tuple[int, bytes]]:
    """List (type, payload) of consecutive OBUs, each with its size field."""
    found, at = [], 0
    while at < len(data):
        kind, extended, sized = data[at] >> 3 & 15, data[at] & 4, data[at] & 2
        if data[at] & 0x80 or extended or not sized:
            raise ValueError(f"byte {at} starts no OBU of a still picture")
        at += 1
        size = shift = 0
        while True:
            if at >= len(data) or shift > 28:
                raise ValueError("an OBU's size does not end")
            size |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if data[at - 1] < 0x80:
                break
        if size > len(data) - at:
            raise ValueError(f"an OBU of {size} bytes is not there")
        found.append((kind, data[at : at + size]))
        at += size
    return found


def plain_sequence(payload: bytes) -> bytes:
    """Return a sequence header without its description of colours, which a container overrules.

    A header that is not a reduced still picture's is given back as it is.
    """
    bits = Bits(payload)
    try:
        read_sequence(bits)
        if not bits.take(1) or bits.take(DESCRIPTION_BITS) == SRGB:
            return payload
    except ValueError:
        return payload
    value, left = int.from_bytes(payload, "big"), bits.left
    before = value >> (left + 1 + DESCRIPTION_BITS) << 1
    plain = before << left | value & ((1 << left) - 1)
    return plain.to_bytes(len(payload) - DESCRIPTION_BITS // 8, "big")


def plain_header(payload: bytes) -> SequenceHeader | None:
    """Read a sequence header; None where the picture is not in full range.

    Raises
    ------
    ValueError
        When it is not of a still picture.
    """
    bits = Bits(payload)
    header = read_sequence(bits)
    described = bits.take(1) and bits.take(DESCRIPTION_BITS)
    if described == SRGB and not header.monochrome:
        return header  # in full range, without a bit for it
    return header if bits.take(1) else None


def _parse_sequence(payload: bytes) -> SequenceHeader:
    return read_sequence(Bits(payload))


def read_sequence(bits: "Bits") -> SequenceHeader:
    """Read a reduced still picture header (AV1 5.5.1) as far as the colour configuration."""
    profile, still, reduced = bits.take(3), bits.take(1), bits.take(1)
    if not still or not reduced or profile > 2:
        raise ValueError("no sequence header of a still picture")
    level = bits.take(5)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    width, height = bits.take(width_bits) + 1, bits.take(height_bits) + 1
    superblock = 128 if bits.take(1) else 64
    bits.take(2)  # intra tools
    may_upscale = bool(bits.take(1))
    bits.take(2)  # CDEF, restoration
    high = bits.take(1)
    twelve = bits.take(1) if profile == 2 and high else 0
    monochrome = bool(bits.take(1)) if profile != 1 else False
    depth = 12 if twelve else 8 + 2 * high
    return SequenceHeader(profile, level, width, height, depth, monochrome, superblock, may_upscale)


class Bits:
    """The bits of a header, the highest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next bits as a number."""
        self.left -= count
        if self.left < 0:
            raise ValueError("the sequence header is cut")
        return self._value >> self.left & ((1 << count) - 1)


def _media_data(avif: bytes) -> bytes:
    at = 0
    while at + 8 <= len(avif):
        size, kind = struct.unpack_from(">I4s", avif, at)
        if kind == b"mdat" and 8 <= size <= len(avif) - at:
            return avif[at + 8 : at + size]
        at += max(size, 8)
    raise ValueError("an AVIF file without media data")


def _matrix(avif: bytes) -> int:
    """Return the matrix coefficients that an AVIF file declares."""
    at = avif.find(b"colrnclx")
    if at < 0 or len(avif) < at + 15:
        raise ValueError("an AVIF file without colour information")
    return int.from_bytes(avif[at + 12 : at + 14], "big")


def _boxes(header: SequenceHeader, matrix: int, start: int, length: int) -> bytes:
    """Return all boxes of the file up to its media data, which begins at `start`."""
    planes = 1 if header.monochrome else 3
    subsampled = 0b11 if header.monochrome else 0b00
    config = struct.pack(
        "BBBB",
        0x81,
        header.profile << 5 | header.level,
        (header.bits > 8) << 6 | (header.bits > 10) << 5 | header.monochrome << 4 | subsampled << 2,
        0,
    )
    properties = _box(
        b"ipco",
        _box(b"ispe", struct.pack(">III", 0, header.width, header.height)),
        _box(b"pixi", struct.pack(">IB", 0, planes), bytes([header.bits]) * planes),
        _box(b"av1C", config),
        _box(b"colr", b"nclx", struct.pack(">HHHB", 2, 2, matrix, 0x80)),
    )
    associations = struct.pack(">IIHB4B", 0, 1, 1, 4, 1, 2, 0x83, 4)
    item = struct.pack(">IHH4s", 0x02000000, 1, 0, b"av01") + b"Color\0"
    meta = _box(
        b"meta",
        bytes(4),
        _box(b"hdlr", bytes(8), b"pict", bytes(13)),
        _box(b"pitm", struct.pack(">IH", 0, 1)),
        _box(b"iloc", struct.pack(">IBBHHHHII", 0, 0x44, 0, 1, 1, 0, 1, start, length)),
        _box(b"iinf", struct.pack(">IH", 0, 1), _box(b"infe", item)),
        _box(b"iprp", properties, _box(b"ipma", associations)),
    )
    brands = _box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf")
    return brands + meta + struct.pack(">I4s", length + 8, b"mdat")


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind) + body
