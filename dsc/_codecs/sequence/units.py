"""Frames of AV1 without what can be put back: temporal units that hold one shown frame each.

libaom gives a frame as a temporal unit of OBUs: a delimiter, of a key frame a sequence header, and
the frame. The delimiter, the OBUs' headers and their sizes follow from the rest, and are not kept.
The bytes of a frame::

    u8   KEY or NEXT
    u16  height, width                            of a key frame
    u8   length of the sequence header, and it    of a key frame
    ...  payload of the frame OBU

Source: AV1 Bitstream & Decoding Process Specification, 5.3 to 5.5 (OBUs, sequence header).
"""

import struct
from dataclasses import dataclass

from dsc._codecs.classical.av1_still import (
    OBU_FRAME,
    OBU_SEQUENCE,
    OBU_TEMPORAL_DELIMITER,
    Bits,
    SequenceHeader,
    obu,
    split_obus,
)

KEY, NEXT = 1, 2
SIZE = struct.Struct("<HHB")
REDUCED_LEVELS = 7  # levels above have a bit more


@dataclass(frozen=True)
class Unit:
    """A frame that can be decoded.

    Attributes
    ----------
    obus
        The temporal unit.
    header
        What the sequence header says, of a key frame; None of others.
    """

    obus: bytes
    header: SequenceHeader | None


def strip(unit: bytes) -> bytes:
    """Return a frame without what can be put back.

    Raises
    ------
    ValueError
        When the temporal unit holds something else than one frame.
    """
    parts = split_obus(unit)
    kinds = [kind for kind, _ in parts if kind != OBU_TEMPORAL_DELIMITER]
    payload = dict(parts)
    if kinds == [OBU_FRAME]:
        return bytes([NEXT]) + payload[OBU_FRAME]
    if kinds != [OBU_SEQUENCE, OBU_FRAME]:
        raise ValueError(f"a temporal unit of OBUs {kinds}")
    header = read_header(payload[OBU_SEQUENCE])
    size = SIZE.pack(header.height, header.width, len(payload[OBU_SEQUENCE]))
    return bytes([KEY]) + size + payload[OBU_SEQUENCE] + payload[OBU_FRAME]


def restore(data: bytes, max_pixels: int) -> Unit:
    """Return the temporal unit of what `strip` gave.

    Raises
    ------
    ValueError
        When the bytes are none, or declare more than `max_pixels`.
    """
    delimiter = obu(OBU_TEMPORAL_DELIMITER, b"")
    if data[:1] == bytes([NEXT]) and len(data) > 1:
        return Unit(delimiter + obu(OBU_FRAME, data[1:]), None)
    start = 1 + SIZE.size
    if data[:1] != bytes([KEY]) or len(data) <= start:
        raise ValueError(f"{len(data)} bytes are no frame")
    height, width, length = SIZE.unpack_from(data, 1)
    if not 0 < height * width <= max_pixels:
        raise ValueError(f"{height}×{width} pixels, at most {max_pixels} are expected here")
    sequence, frame = data[start : start + length], data[start + length :]
    header = read_header(sequence)
    if (header.height, header.width) != (height, width) or not frame:
        raise ValueError(f"frames of {header.height}×{header.width}, expected {height}×{width}")
    return Unit(delimiter + obu(OBU_SEQUENCE, sequence) + obu(OBU_FRAME, frame), header)


def read_header(payload: bytes) -> SequenceHeader:
    """Read a sequence header of a recording (AV1 5.5.1) as far as the colour configuration.

    Raises
    ------
    ValueError
        When it has what libaom does not write here.
    """
    bits = Bits(payload)
    profile, still, reduced = bits.take(3), bits.take(1), bits.take(1)
    timing, delay, points = bits.take(1), bits.take(1), bits.take(5)
    if profile > 2 or still or reduced or timing or delay or points:
        raise ValueError("no sequence header of a recording")
    bits.take(12)  # of the only operating point: all there is
    level = bits.take(5)
    if level > REDUCED_LEVELS:
        bits.take(1)  # tier
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    width, height = bits.take(width_bits) + 1, bits.take(height_bits) + 1
    # a frame may state a size of its own in as many bits, which a decoder would make room for
    if (width_bits, height_bits) != (_bits_of(width), _bits_of(height)):
        raise ValueError(f"{height}×{width} pixels, in {height_bits} and {width_bits} bits")
    if bits.take(1):  # frame numbers
        raise ValueError("frames are numbered")
    bits.take(3)  # superblock size, intra tools
    bits.take(4)  # compound and warped prediction
    if bits.take(1):  # order hints
        bits.take(2)
        has_hints = True
    else:
        has_hints = False
    _skip_tools(bits, has_hints)
    high = bits.take(1)
    twelve = bits.take(1) if profile == 2 and high else 0
    monochrome = bool(bits.take(1)) if profile != 1 else False
    return SequenceHeader(profile, level, width, height, 12 if twelve else 8 + 2 * high, monochrome)


def _bits_of(size: int) -> int:
    """Return the bits that libaom writes a width or height in."""
    return max(1, (size - 1).bit_length())


def _skip_tools(bits: Bits, has_hints: bool) -> None:
    """Pass over what is between order hints and the colour configuration."""
    forced = 2 if bits.take(1) else bits.take(1)  # screen content tools
    if forced and not bits.take(1):  # integer motion vectors
        bits.take(1)
    if has_hints:
        bits.take(3)  # bits of an order hint
    bits.take(3)  # super-resolution, CDEF, restoration
