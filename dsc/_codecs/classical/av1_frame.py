"""What the frame header of an AV1 still picture says of how coarsely it was quantised.

Of a reduced still picture's header (AV1 Bitstream & Decoding Process Specification, 5.9.2) all
that stands before the quantiser's index (5.9.12) is read: five switches, the render size (5.9.6)
and the tiles (5.9.15).
"""

from dsc._codecs.classical.av1_still import (
    OBU_FRAME,
    OBU_FRAME_HEADER,
    Bits,
    SequenceHeader,
    parts,
    read_sequence,
    split_obus,
)

MOST_TILES = 64  # in a row, and in a column
MOST_TILE_SIDE, MOST_TILE_AREA = 4096, 4096 * 2304  # pixels


def quantiser_index(data: bytes) -> int:
    """Return the quantiser's index of what `av1_still.bare` gave, 0 (lossless) to 255.

    Raises
    ------
    ValueError
        When the bytes are no still picture, or one that is scaled up in decoding or has tiles of
        sizes of their own.
    """
    sequence, obus = parts(data)
    for kind, payload in split_obus(obus):
        if kind in (OBU_FRAME, OBU_FRAME_HEADER):
            return _index(Bits(payload[:32]), read_sequence(Bits(sequence)))
    raise ValueError("no frame")


def _index(bits: Bits, sequence: SequenceHeader) -> int:
    bits.take(1)  # disable_cdf_update
    has_screen_tools = bits.take(1)
    if has_screen_tools:
        bits.take(1)  # force_integer_mv
    if sequence.may_upscale and bits.take(1):
        raise ValueError("a picture that is scaled up in decoding")
    if bits.take(1):
        bits.take(32)  # width and height to show it at
    if has_screen_tools:
        bits.take(1)  # allow_intrabc
    _skip_tiles(bits, sequence)
    return bits.take(8)


def _skip_tiles(bits: Bits, sequence: SequenceHeader) -> None:
    """Read how the picture is cut into tiles (5.9.15)."""
    side = sequence.superblock
    columns, rows = (-(-length // side) for length in (sequence.width, sequence.height))
    if not bits.take(1):
        raise ValueError("a picture whose tiles have sizes of their own")
    least = _log2(MOST_TILE_SIDE // side, columns)
    least_tiles = max(least, _log2(MOST_TILE_AREA // side**2, rows * columns))
    found = _count(bits, least, columns)
    found += _count(bits, max(least_tiles - found, 0), rows)
    if found:
        bits.take(found + 2)  # which tile's statistics are kept, and bytes of a tile's size


def _count(bits: Bits, least: int, superblocks: int) -> int:
    """Read the logarithm of a number of tiles: a bit each time that it is one more."""
    count, most = least, _log2(1, min(superblocks, MOST_TILES))
    while count < most and bits.take(1):
        count += 1
    return count


def _log2(unit: int, target: int) -> int:
    """Return the least k such that unit · 2^k reaches the target."""
    return max(-(-target // unit) - 1, 0).bit_length()
