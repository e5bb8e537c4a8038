"""Invalid masks as bytes: lossless, nothing at all when every pixel is valid.

Layout: no bytes when no pixel is set; else ``u8 method`` and the method's own data. Methods: 0,
every pixel is set (no data); 1, the flat mask packed to bits (`numpy.packbits`), brotli; 2, JPEG XL
lossless of the 0/1 image; 3 and 4, the two labels of `label-context` as entropy-coded words, the
first pixel unset (3) or set (4). The smallest is kept. Method 1 wins on rectangles, methods 3 and 4
on ragged holes: a 640×480 Kinect frame takes 1,250 bytes where JPEG XL needs 1,610, bits and brotli
2,670, PNG 4,340 and JPEG-LS 3,530. Method 2 wins on some noise. JPEG XL's effort 4 takes a third of
effort 7's time and loses 1.5 %.

Methods 3 and 4 mean one model file for ever (`dsc._codecs.context.weights.SHIPPED`): a better model
is a new method.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc.errors import BitstreamError

ALL_SET, BROTLI, JPEG_XL, CONTEXT_UNSET, CONTEXT_SET = range(5)
JPEG_XL_EFFORT = 4
SMALL_ENOUGH = 256  # bytes; below this the others save some 50 bytes and take 20 ms to do it


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """Code a (H, W) bool mask, True where a pixel is invalid."""
    import imagecodecs

    if not mask.any():
        return b""
    if mask.all():
        return bytes([ALL_SET])
    best = bytes([BROTLI]) + imagecodecs.brotli_encode(np.packbits(mask).tobytes(), level=9)
    if len(best) > SMALL_ENOUGH:
        image = np.ascontiguousarray(mask).astype(np.uint8)
        coded = imagecodecs.jpegxl_encode(image, lossless=True, effort=JPEG_XL_EFFORT, numthreads=1)
        best = min(_encode_context(mask), best, bytes([JPEG_XL]) + coded, key=len)
    return best


def _encode_context(mask: NDArray[np.bool_]) -> bytes:
    from dsc._codecs.coding.entropy import SymbolEncoder
    from dsc._codecs.context.coder import encode_labels
    from dsc._codecs.context.weights import shipped_model

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
    from dsc._codecs.coding.entropy import SymbolDecoder
    from dsc._codecs.context.coder import decode_labels
    from dsc._codecs.context.weights import shipped_model

    decoder = SymbolDecoder(body)
    ids = decode_labels(decoder, shipped_model(), height, width)
    decoder.check_end()
    if ids.max() != 1:
        raise ValueError(f"{ids.max() + 1} labels in a mask")
    return ids.astype(bool)
