"""Invalid masks as bytes: lossless, nothing at all when every pixel is valid.

Layout: no bytes when no pixel is set; else ``u8 method`` and the method's own data. Methods: 0,
every pixel is set (no data); 1, the flat mask packed to bits (`numpy.packbits`), brotli; 2, JPEG XL
lossless of the 0/1 image; 3 and 4, the two labels of `label-context` as entropy-coded words, the
first pixel unset (3) or set (4); 5, its rows as entropy-coded words (`dsc._coding.context.raster`).

The smallest is kept. A 640×480 Kinect frame takes 900 to 1,600 bytes by method 5, in 0.8 ms, less
than its picture takes to decode; by the label network 950 to 1,750 in 3 to 4 ms, by JPEG XL 1,400
to 2,150, by bits and brotli 2,400 to 3,600. Method 1 wins on what repeats. The network wins on a
few round holes, so it is tried where few bytes say that the holes are few and thus quickly decoded;
`Effort.BEST` always tries it. Method 2 wins nowhere by more than half a percent, so that it is only
read. ``python -m benchmarks masks`` prints bytes and times.

Methods 3 and 4 mean one model file for ever (`dsc._coding.context.weights.SHIPPED`): a better model
is a new method.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._coding.context.raster import decode_rows, encode_rows
from dsc._schemas import Effort
from dsc.errors import BitstreamError

ALL_SET, BROTLI, JPEG_XL, CONTEXT_UNSET, CONTEXT_SET, ROWS = range(6)
MOST_BY_ROWS = 1 << 25  # pixels; coding them takes eight bytes a pixel
FEW_HOLES = 320  # bytes; the network decodes what takes as many otherwise in about 2 ms


def encode_mask(mask: NDArray[np.bool_], effort: Effort = Effort.DEFAULT) -> bytes:
    """Code a (H, W) bool mask, True where a pixel is invalid, in the fewest bytes.

    Parameters
    ----------
    effort
        Whether the label network is tried: always at the best, never at the fastest.
    """
    if not mask.any():
        return b""
    if mask.all():
        return bytes([ALL_SET])
    best = _pack_bits(mask)
    if mask.size <= MOST_BY_ROWS:
        best = min(bytes([ROWS]) + encode_rows(mask), best, key=len)
    if effort is Effort.BEST or (effort is Effort.DEFAULT and len(best) <= FEW_HOLES):
        best = min(best, _encode_context(mask), key=len)
    return best


def _pack_bits(mask: NDArray[np.bool_]) -> bytes:
    import imagecodecs

    packed = np.packbits(mask).tobytes()
    return bytes([BROTLI]) + bytes(imagecodecs.brotli_encode(packed, level=9))


def _encode_context(mask: NDArray[np.bool_]) -> bytes:
    from dsc._coding.context.coder import encode_labels
    from dsc._coding.context.weights import shipped_model
    from dsc._coding.entropy import SymbolEncoder

    encoder = SymbolEncoder()
    ids = (mask != mask[0, 0]).astype(np.uint16)
    encode_labels(encoder, shipped_model(), ids)
    return bytes([CONTEXT_SET if mask[0, 0] else CONTEXT_UNSET]) + encoder.finish()


def decode_mask(data: bytes, height: int, width: int) -> NDArray[np.bool_]:
    """Return the (`height`, `width`) bool mask that `encode_mask` coded.

    Raises
    ------
    BitstreamError
        When the bytes are damaged, or are a mask of another size.
    """
    if not data:
        return np.zeros((height, width), bool)
    method, body = data[0], data[1:]
    if method == ALL_SET and not body:
        return np.ones((height, width), bool)
    try:
        if method == BROTLI:
            return _unpack_bits(body, height, width)
        if method == JPEG_XL:
            return _decode_jpeg_xl(body, height, width)
        if method == ROWS:
            return decode_rows(body, height, width)
        if method in (CONTEXT_UNSET, CONTEXT_SET):
            return _decode_context(body, height, width) ^ (method == CONTEXT_SET)
    except Exception as error:  # imagecodecs has an exception class of its own for every format
        raise BitstreamError(
            f"mask of {len(data)} bytes does not decode to {height}×{width} pixels ({error}); "
            "the bitstream is damaged"
        ) from None
    raise BitstreamError(
        f"mask of {len(data)} bytes: unknown method {method}; the bitstream is damaged or was "
        "written by a newer dsc"
    )


def _unpack_bits(body: bytes, height: int, width: int) -> NDArray[np.bool_]:
    import imagecodecs

    n_pixels = height * width
    n_bytes = -(-n_pixels // 8)
    # One byte of room more than is due: a longer mask is then seen, and a bomb cannot inflate.
    packed = imagecodecs.brotli_decode(body, out=n_bytes + 1)
    if len(packed) != n_bytes:
        raise ValueError(f"{len(packed)} bytes of bits, expected {n_bytes}")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    if bits[n_pixels:].any():
        raise ValueError("bits are set after the last pixel")
    return bits[:n_pixels].astype(bool).reshape(height, width)


def _decode_jpeg_xl(body: bytes, height: int, width: int) -> NDArray[np.bool_]:
    import imagecodecs

    # imagecodecs compares the header with `out` first, so a giant declared size allocates nothing.
    out: NDArray[Any] = np.empty((height, width), np.uint8)
    imagecodecs.jpegxl_decode(body, numthreads=1, out=out)
    if out.max() > 1:
        raise ValueError(f"value {out.max()} in a mask")
    return out.astype(bool)


def _decode_context(body: bytes, height: int, width: int) -> NDArray[np.bool_]:
    from dsc._coding.context.coder import decode_labels
    from dsc._coding.context.weights import shipped_model
    from dsc._coding.entropy import SymbolDecoder

    decoder = SymbolDecoder(body)
    ids = decode_labels(decoder, shipped_model(), height, width)
    decoder.check_end()
    if ids.max() != 1:
        raise ValueError(f"{ids.max() + 1} labels in a mask")
    return ids.astype(bool)
