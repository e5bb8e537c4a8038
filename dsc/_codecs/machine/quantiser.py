"""How coarsely a picture of the AV1 codecs was quantised, as their bitstreams say."""

from dsc._codecs.classical.av1_frame import quantiser_index
from dsc._codecs.classical.avif import AvifCodec
from dsc._codecs.maps.base import METHOD_BITS, Method
from dsc._codecs.restored.network import LAST_QUANTISER

INDICES = 4  # a quantiser: libaom steps the index in fours, but for the last ones


def quantiser_of(codec: AvifCodec, data: bytes) -> int:
    """Return the quantiser of a bitstream of 8-bit colours without invalid values, 0 to 62.

    0 is a picture that was coded without loss.

    Parameters
    ----------
    codec
        The codec that wrote it.

    Raises
    ------
    ValueError
        When it is none.
    """
    tag, height, width, body = codec.read_header(data)
    if tag & METHOD_BITS != Method.LOSSY:
        return 0
    return min(quantiser_index(codec.picture(body, (height, width))) // INDICES, LAST_QUANTISER)
