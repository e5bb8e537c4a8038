"""zstd frames, with a dictionary or without, that never grow to more than is declared."""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zstandard import ZstdCompressionDict

LEVEL, QUICK = 19, 3
LARGE, LARGE_LEVEL = 4 << 20, 9  # above, a high level takes seconds for a per cent


def compress(data: bytes, dictionary: bytes | None = None, level: int | None = None) -> bytes:
    """Return one frame, without size and checksum: both stand elsewhere.

    Parameters
    ----------
    dictionary
        Bytes that the frame may refer to.
    level
        How long the encoder looks; None for the usual one.
    """
    import zstandard

    usual = LEVEL if len(data) <= LARGE else LARGE_LEVEL
    known = None if dictionary is None else _prepared(dictionary)
    compressor = zstandard.ZstdCompressor(
        usual if level is None else level, known, write_content_size=False, write_checksum=False
    )
    return compressor.compress(data)


def decompress(data: bytes | memoryview, size: int, dictionary: bytes | None = None) -> bytes:
    """Decompress one frame to exactly `size` bytes; no more are ever made.

    Raises
    ------
    ValueError
        When it is no such frame, or of another size.
    """
    import zstandard

    try:
        if zstandard.frame_content_size(data) not in (-1, size):
            raise ValueError("a zstd frame of another size than declared")
        known = None if dictionary is None else _prepared(dictionary)
        found = zstandard.ZstdDecompressor(known).decompress(
            data, max_output_size=size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise ValueError(f"not the zstd frame that was written: {error}") from None
    if len(found) != size:
        raise ValueError(f"a zstd frame of {len(found)} bytes, {size} are declared")
    return found


@lru_cache(maxsize=16)
def _prepared(dictionary: bytes) -> "ZstdCompressionDict":
    import zstandard

    return zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
