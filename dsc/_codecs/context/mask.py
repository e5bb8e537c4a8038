"""Invalid masks as bytes: lossless, nothing at all when every pixel is valid.

Layout: no bytes when no pixel is set; else ``u8 method`` and the method's own data. Methods: 0,
every pixel is set (no data); 1, the flat mask packed to bits (`numpy.packbits`), brotli; 2, JPEG XL
lossless of the 0/1 image; 3 and 4, the two labels of `label-context` as entropy-coded words, the
first pixel unset (3) or set (4); 5, lossless WebP of an opaque picture whose green is 0 or 1, red
and blue 0: what follows the header of its chunk VP8L (RFC 9649, 3.4), which says nothing new.

Kept is the smallest of those that are decoded in about the time of a picture. Methods 3 and 4 are
tried where few pixels are near a boundary: `decode_ns` says what they would take. Holes of a Kinect
pass (900 to 1,700 bytes, where WebP needs 1,600 to 3,200 and bits and brotli 1,800 to 3,600), noise
and masks of many small holes do not. JPEG XL, with effort 2, takes ten times as long as WebP to
decode (3 ms for 640×480 pixels), and is kept where it is clearly smaller, as of noise. For speed
(`Effort.FAST`) only methods 1 and 5 are tried; `Effort.BEST` keeps the smallest, whatever it takes.
``python -m benchmarks masks`` prints bytes and times.

Methods 3 and 4 mean one model file for ever (`dsc._codecs.context.weights.SHIPPED`): a better model
is a new method.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Effort
from dsc.errors import BitstreamError

ALL_SET, BROTLI, JPEG_XL, CONTEXT_UNSET, CONTEXT_SET, WEBP = range(6)
FAST_EFFORT, SMALL_EFFORT = 2, 4  # of JPEG XL
CLEARLY_SMALLER = 0.85  # JPEG XL beside WebP
# JPEG XL is not tried where another takes less than this share of bits and brotli: of no mask that
# was measured does it take so little.
LEAST_OF_JPEG_XL = 0.6
SMALL_ENOUGH = 256  # bytes; below this the others save some 50 bytes and take a while to do it
# What decoding by methods 3 and 4 takes, in ns of one core at 2.6 GHz: as a whole, for each pixel,
# and for each that is near a boundary, whose label a network predicts.
NS_BEGIN, NS_PIXEL, NS_BUSY = 100_000, 4.5, 140
# What it may take: 5.2 ms for 640×480, and what the whole of a small map takes to decode.
MOST_NS_PIXEL, MOST_NS_SMALL = 17, 1_500_000
WEBP_METHOD, WEBP_MOST = 2, 1 << 14  # others are slower and save nothing; pixels a side
RIFF = struct.Struct("<4sI4s4sIBI")  # a WebP file up to the entropy-coded data
VP8L_HEADER = 5


def encode_mask(mask: NDArray[np.bool_], effort: Effort = Effort.DEFAULT) -> bytes:
    """Code a (H, W) bool mask, True where a pixel is invalid.

    Parameters
    ----------
    effort
        What it may take to decode; see the module.
    """
    import imagecodecs

    if not mask.any():
        return b""
    if mask.all():
        return bytes([ALL_SET])
    best = bytes([BROTLI]) + imagecodecs.brotli_encode(np.packbits(mask).tobytes(), level=9)
    if len(best) <= SMALL_ENOUGH:
        return best
    least_of_jpeg_xl = LEAST_OF_JPEG_XL * len(best)
    if max(mask.shape) <= WEBP_MOST:
        best = min(best, _encode_webp(mask), key=len)
    if effort is Effort.FAST:
        return best
    is_best = effort is Effort.BEST
    if is_best or decode_ns(mask) <= max(MOST_NS_PIXEL * mask.size, MOST_NS_SMALL):
        best = min(_encode_context(mask), best, key=len)
    if is_best or len(best) > least_of_jpeg_xl:
        image = np.ascontiguousarray(mask).astype(np.uint8)
        own = SMALL_EFFORT if is_best else FAST_EFFORT
        coded = imagecodecs.jpegxl_encode(image, lossless=True, effort=own, numthreads=1)
        if len(coded) + 1 < len(best) * (1 if is_best else CLEARLY_SMALLER):
            best = bytes([JPEG_XL]) + coded
    return best


def decode_ns(mask: NDArray[np.bool_]) -> float:
    """Return about how many nanoseconds methods 3 and 4 take to decode a mask.

    It is counted, not timed: the same mask is coded alike on every machine.
    """
    return NS_BEGIN + NS_PIXEL * mask.size + NS_BUSY * count_busy(mask)


def count_busy(mask: NDArray[np.bool_]) -> int:
    """Count the pixels whose label a network would predict: those with a boundary near them.

    They are found in the mask itself, at each level of the lattice, not in what is known when they
    are coded: 6 % too few in holes of a Kinect, up to 40 % too many in noise.
    """
    found, step = 0, 1
    while step < max(mask.shape):
        padded = np.pad(mask[::step, ::step], 1, mode="edge")
        differ = padded[:-1, :-1] != padded[:-1, 1:]
        differ |= padded[:-1, :-1] != padded[1:, :-1]
        near = _widen(differ, 2)  # the nearest pixels; then two around
        wide = _widen(np.pad(differ, 1), 4)
        later = (near[::2, 1::2], near[1::2, ::2])  # the last phases; before them, those between
        found += sum(int(np.count_nonzero(part)) for part in (wide[1::2, 1::2], *later))
        step *= 2
    return found


def _widen(bits: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Tell where one of size × size is set."""
    rows = bits.shape[0] - size + 1
    columns = bits.shape[1] - size + 1
    found = np.logical_or.reduce([bits[k : k + rows] for k in range(size)])
    wide: NDArray[np.bool_] = np.logical_or.reduce([found[:, k : k + columns] for k in range(size)])
    return wide


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
        if method == WEBP:
            return _decode_webp(body, height, width)
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


def _encode_webp(mask: NDArray[np.bool_]) -> bytes:
    import imagecodecs

    image = np.zeros((*mask.shape, 3), np.uint8)
    image[..., 1] = mask
    file = bytes(imagecodecs.webp_encode(image, lossless=True, method=WEBP_METHOD, numthreads=1))
    *_, size, _, _ = RIFF.unpack_from(file)
    return bytes([WEBP]) + file[RIFF.size : RIFF.size - VP8L_HEADER + size]


def _decode_webp(body: bytes, height: int, width: int) -> NDArray[np.bool_]:
    import imagecodecs

    size = VP8L_HEADER + len(body)
    sides = width - 1 | height - 1 << 14
    head = RIFF.pack(
        b"RIFF", RIFF.size - VP8L_HEADER - 8 + size + size % 2, b"WEBP", b"VP8L", size, 0x2F, sides
    )
    out: NDArray[Any] = np.empty((height, width, 3), np.uint8)
    if max(height, width) > WEBP_MOST:
        raise ValueError("more pixels than WebP holds")
    imagecodecs.webp_decode(head + body + bytes(size % 2), out=out)
    green = np.ascontiguousarray(out[..., 1])
    # only contiguous arrays are compared: along an axis of three that would take ten times as long
    if out.max() > 1 or np.count_nonzero(out.view(bool)) != np.count_nonzero(green.view(bool)):
        raise ValueError(f"value {out.max()} in a mask")
    return green.view(bool)


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
