"""The codec `exact`: maps of any numbers, bit for bit, one stream a task that requires nothing.

For disparity, optical flow and every map whose values must come back and that no other codec holds:
(H, W) or (H, W, C), integers of 8 to 64 bits and floats of 16 to 64, NaN with its payload and -0.0
included. A stream's bytes, little-endian::

    u8   method         CONSTANT, PLANES, JPEG_XL, PALETTE, WEBP or VALUES
    u16  height, width
    ...                 the method's data

Methods work on *words*: the values' bits as unsigned integers in the order of the values
(`to_words`): -0.0 comes just below 0.0, infinities and NaNs lie at the ends, each bit pattern is
one word. CONSTANT: the words of one pixel. PLANES: the channels one by one, each predicted from its
neighbours and compressed (`pack_planes`); before that, ``u8`` predictor and the differences modulo
2^bits, zigzag (0, -1, 1, -2 ...), byte 0 of all words, then byte 1 ... JPEG_XL: a lossless image
file of the words, where they have 8 or 16 bits; (H, W, 3) as it is, and the planes of any other
number of channels below one another. PALETTE, where there are at most 65,536 different words:
``varint`` their number less 1, ``varint`` bytes of the list that follows, the words in ascending
order as one plane; then the JPEG XL file of their places in that list. That holds fixed-point
numbers in floats, millimetres divided by 1,000, and ids in 32 bits, in the bytes that the integers
would take. WEBP: a lossless image file of words of 8 bits, (H, W, 3) as it is and (H, W) as three
equal channels, tried where pixels mostly repeat; drawn scenes may take a seventh less than in JPEG
XL. VALUES, of words (H, W) of 8 or 16 bits, or of any bits where a list of them has places of 16:
row by row under chances that learn (`dsc._coding.context.values`), of depth 0.6 to 0.9 of JPEG
XL's bytes (``python -m benchmarks.exact_depth``); ``varint`` number of the different words and,
unless it is 0, ``varint`` bytes and the list of them as above, whose places then are the values;
``varint`` bytes and the mask of holes (`dsc._coding.context.mask`), none where there are no holes,
else followed by the word that they have; words of the entropy coder, and in them after the values
the byte `END`. The smallest is kept.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._codecs.base import Array
from dsc._codecs.maps.base import HEADER, MAX_SIDE, TaskCodec
from dsc._coding.context.mask import decode_mask, encode_mask
from dsc._coding.context.values import decode_values, encode_values
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder
from dsc._coding.varint import pack_varint, unpack_varint
from dsc._schemas import Effort, Task

# the best is not 9 alone: of drawn depth, 7 may take a quarter less
JPEG_XL_EFFORTS: Mapping[Effort, Sequence[int]] = {
    Effort.FAST: (3,), Effort.DEFAULT: (7,), Effort.BEST: (7, 9),
}  # fmt: skip
WEBP_METHOD, WEBP_SIDE = 4, 16383  # libwebp's effort of 6 takes ten times as long for 2 % less
MOST_WORDS = 1 << 16
SPARSE = 2  # words that lie farther apart on the mean are listed
MOST_LEARNED = 1 << 21  # pixels; writing takes some 35 bytes of memory a bit that is written
MOST_BITS = 4  # a pixel, beyond which there is little to learn, and much to decide
FEW_BYTES = 1 << 10  # which are never too many
END, END_SIZE = 0xA5, 1 << 8
SCOUTED = 1 << 14  # values that tell whether a map may have a palette


class ExactMethod(IntEnum):
    """How a map is coded; the numbers stand in bitstreams."""

    CONSTANT = 0
    PLANES = 1
    JPEG_XL = 2
    PALETTE = 3
    WEBP = 4
    VALUES = 5

    @classmethod
    def _missing_(cls, value: object) -> Self:
        raise ValueError(
            f"method {value} is not known here; a newer dsc wrote it, or it is damaged"
        )


class ExactCodec(TaskCodec):
    """Lossless whatever the quality."""

    id: ClassVar[str] = "exact"
    effort_before: ClassVar[Effort | None] = Effort.DEFAULT

    def refusal(self, task: Task) -> str | None:
        """Refuse what is no map."""
        if not task.is_map:
            return f"codes maps, not {task.kind.value} tasks; use vector"
        if task.channels == 0:
            return "cannot code a map of no channels; leave this task out"
        return None

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Encode a map by the method that takes the fewest bytes."""
        if max(array.shape[:2]) > MAX_SIDE:
            raise ValueError(f"a side is longer than {MAX_SIDE}")
        words = to_words(array)
        if (words == words[0, 0]).all():
            method, body = ExactMethod.CONSTANT, _little(words[0, 0])
        else:
            bodies = _bodies(words, JPEG_XL_EFFORTS[self.effort])
            if self.effort is not Effort.FAST and _may_learn(words, bodies):
                bodies[ExactMethod.VALUES] = _write_values(words, _hole_of(task, array, words))
            method = min(bodies, key=lambda name: (len(bodies[name]), name))
            body = bodies[method]
        return HEADER.pack(method, *array.shape[:2]) + body

    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        """Decode a map, the declared size checked first."""
        tag, height, width = HEADER.unpack_from(data)
        if not 0 < height * width <= max_pixels:
            raise ValueError(f"{height}×{width} pixels, at most {max_pixels} are expected here")
        shape = (height, width) if task.channels == 1 else (height, width, task.channels)
        dtype = np.dtype(task.dtype)
        words = _read(ExactMethod(tag), data[HEADER.size :], shape, word_type(dtype))
        return from_words(words, dtype)


def _bodies(words: Array, efforts: Sequence[int]) -> dict[ExactMethod, bytes]:
    """Return the data of every method that can hold the words (H, W) or (H, W, C).

    Parameters
    ----------
    efforts
        JPEG XL's, 1 to 9; the smallest file counts.
    """
    bodies = {ExactMethod.PLANES: pack_planes(_planes(words))}
    if words.dtype.itemsize <= 2:
        bodies[ExactMethod.JPEG_XL] = _write_image(words, efforts)
        if _repeats(words):
            bodies[ExactMethod.WEBP] = _write_webp(words)
    elif (values := _few(words)) is not None:
        places = np.searchsorted(values, words).astype(_place_type(len(values)))
        listed = pack_planes(values[None, None])
        head = pack_varint(len(values) - 1) + pack_varint(len(listed))
        bodies[ExactMethod.PALETTE] = head + listed + _write_image(places, efforts)
    return bodies


def _read(method: ExactMethod, body: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return the words that one of `_bodies` holds."""
    if method is ExactMethod.CONSTANT:
        pixel = np.frombuffer(body, dtype.newbyteorder("<")).reshape(shape[2:])
        return np.full(shape, pixel, dtype)
    if method is ExactMethod.PLANES:
        return _from_planes(unpack_planes(body, _planes_shape(shape), dtype), shape)
    if method is ExactMethod.JPEG_XL:
        return _read_image(body, shape, dtype)
    if method is ExactMethod.WEBP:
        return _read_webp(body, shape, dtype)
    if method is ExactMethod.VALUES:
        return _read_values(body, shape, dtype)
    last, start = unpack_varint(body)
    length, start = unpack_varint(body, start)
    if last >= MOST_WORDS or length > len(body) - start:
        raise ValueError(f"a list of {last + 1} values in {length} bytes is not there")
    listed, image = body[start : start + length], body[start + length :]
    values = unpack_planes(listed, (1, 1, last + 1), dtype)[0, 0]
    places = _read_image(image, shape, _place_type(last + 1))
    if int(places.max()) > last:
        raise ValueError(f"value {places.max()} of a list of {last + 1}")
    return np.asarray(values[places])


def _may_learn(words: Array, bodies: Mapping[ExactMethod, bytes]) -> bool:
    """Tell whether words can be coded row by row, in little memory, and are no mere noise."""
    if words.ndim != 2 or words.size > MOST_LEARNED or not _kernels.in_use():
        return False
    if words.dtype.itemsize > 2 and ExactMethod.PALETTE not in bodies:
        return False
    fewest = min(len(body) for body in bodies.values())
    return fewest <= max(FEW_BYTES, MOST_BITS * words.size // 8)


def _hole_of(task: Task, array: Array, words: Array) -> Any:
    """Return the word of the invalid value that most pixels of a map have; None if none has one."""
    counts = {value: int(np.count_nonzero(array == value)) for value in task.invalid}
    value = max(counts, key=lambda one: counts[one], default=None)
    if value is None or not counts[value]:
        return None
    return words[array == value][0]


def _write_values(words: Array, hole: Any) -> bytes:
    """Return the data of method VALUES.

    Parameters
    ----------
    words
        (H, W) of at most `MOST_WORDS` different ones, of which one at least is no hole.
    hole
        Their word, or None.
    """
    holes = None if hole is None else words == hole
    listed = np.unique(words if holes is None else words[~holes])
    front, values = pack_varint(0), words
    is_dense = int(listed[-1] - listed[0]) < SPARSE * len(listed)
    if words.dtype.itemsize > 2 or not is_dense:
        packed = pack_planes(listed[None, None])
        front = pack_varint(len(listed)) + pack_varint(len(packed)) + packed
        values = np.searchsorted(listed, words)
    mask = b"" if holes is None else encode_mask(holes)
    encoder = SymbolEncoder()
    encode_values(encoder, np.ascontiguousarray(values, np.uint16), holes)
    encoder.put_uniform(np.array([END], np.int32), END_SIZE)
    word = b"" if hole is None else _little(hole)
    return front + pack_varint(len(mask)) + mask + word + encoder.finish()


def _read_values(body: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if len(shape) != 2:
        raise ValueError(f"rows of {shape[2]} channels")
    count, start = unpack_varint(body)
    listed = None
    if count:
        length, start = unpack_varint(body, start)
        if count > MOST_WORDS or length > len(body) - start:
            raise ValueError(f"a list of {count} values in {length} bytes is not there")
        listed = unpack_planes(body[start : start + length], (1, 1, count), dtype)[0, 0]
        start += length
    length, start = unpack_varint(body, start)
    holes, hole = None, np.zeros((), dtype)
    if length:
        end = start + length + dtype.itemsize
        if end > len(body):
            raise ValueError(f"a mask of {length} bytes is not there")
        holes = decode_mask(body[start : start + length], shape[0], shape[1])
        hole = np.frombuffer(body[:end], dtype.newbyteorder("<"), 1, start + length)[0]
        start = end
    decoder = SymbolDecoder(body[start:])
    values = decode_values(decoder, shape[0], shape[1], holes)
    if decoder.get_uniform(1, END_SIZE)[0] != END:
        raise ValueError("after the values comes no mark of the end")
    decoder.check_end()
    if holes is not None:
        values[holes] = 0
    most = int(values.max())
    if most >= (count or min(1 << 8 * dtype.itemsize, MOST_WORDS)):
        raise ValueError(f"value {most} is beyond those that there are")
    words: Array = values.astype(dtype) if listed is None else listed[values]
    if holes is not None:
        words[holes] = hole
    return words


def _few(words: Array) -> Array | None:
    """Return the different words in ascending order; None when they are too many for a palette."""
    flat = words.ravel()
    step = max(1, flat.size // SCOUTED)
    if len(np.unique(flat[::step])) > 0.9 * min(SCOUTED, flat.size) and flat.size > MOST_WORDS:
        return None  # nearly all differ, so sorting all of them would be in vain
    values: Array = np.unique(flat)
    return values if len(values) <= MOST_WORDS else None


def _place_type(count: int) -> np.dtype[Any]:
    return np.dtype(np.uint8 if count <= 1 << 8 else np.uint16)


def _little(words: Array) -> bytes:
    return words.astype(words.dtype.newbyteorder("<"), copy=False).tobytes()


def _planes_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return (shape[2] if len(shape) == 3 else 1, shape[0], shape[1])


def _planes(array: Array) -> Array:
    """Return (H, W) or (H, W, C) as planes (C, H, W)."""
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def _from_planes(planes: Array, shape: tuple[int, ...]) -> Array:
    return planes[0] if len(shape) == 2 else np.ascontiguousarray(planes.transpose(1, 2, 0))


def _image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the image file: channels other than 1 or 3 lie below one another."""
    if len(shape) == 2 or shape[2] == 3:
        return shape
    return (shape[2] * shape[0], shape[1])


def _write_image(array: Array, efforts: Sequence[int]) -> bytes:
    import imagecodecs

    shape = _image_shape(array.shape)
    image = array if shape == array.shape else _planes(array).reshape(shape)
    encode = partial(imagecodecs.jpegxl_encode, image, lossless=True, numthreads=1)
    return min((bytes(encode(effort=effort)) for effort in efforts), key=len)


def _read_image(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    import imagecodecs

    wanted = _image_shape(shape)
    # imagecodecs compares the file's header with `out` first, so a giant size allocates nothing
    image: Array = imagecodecs.jpegxl_decode(data, numthreads=1, out=np.empty(wanted, dtype))
    if image.shape != wanted or image.dtype != dtype:
        raise ValueError(f"the image is {image.dtype} {image.shape}, expected {dtype} {wanted}")
    return image if wanted == shape else _from_planes(image.reshape(_planes_shape(shape)), shape)


def _repeats(words: Array) -> bool:
    """Tell whether WebP holds words, and most pixels of a row are as the one before."""
    fits = words.dtype == np.uint8 and (words.ndim == 2 or words.shape[2] == 3)
    if not fits or max(words.shape[:2]) > WEBP_SIDE:
        return False
    same = words[:, 1:] == words[:, :-1]
    same = same if same.ndim == 2 else same.all(axis=2)
    return bool(2 * np.count_nonzero(same) > same.size)


def _write_webp(words: Array) -> bytes:
    import imagecodecs

    colour = np.repeat(words[..., None], 3, axis=2) if words.ndim == 2 else words
    return bytes(
        imagecodecs.webp_encode(colour, level=75, lossless=True, method=WEBP_METHOD, numthreads=1)
    )


def _read_webp(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    import imagecodecs

    if dtype != np.uint8:
        raise ValueError(f"a WebP file of {dtype}")
    colour = np.empty((*shape[:2], 3), np.uint8)
    imagecodecs.webp_decode(data, hasalpha=False, out=colour)
    if len(shape) == 2:
        return np.ascontiguousarray(colour[..., 1])
    if shape != colour.shape:
        raise ValueError(f"a WebP file of {shape[2]} channels")
    return colour


ZSTD_LEVEL = 9


class Predictor(IntEnum):
    """What a word is expected to be; the numbers stand in bitstreams."""

    NOTHING = 0
    LEFT = 1
    ABOVE = 2
    PLANE = 3


def word_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the unsigned integer that is as wide as a dtype."""
    return np.dtype(f"u{dtype.itemsize}")


def to_words(array: Array) -> Array:
    """Return the bits of an array of integers or floats, in the order of the values."""
    words: Array = np.ascontiguousarray(array).view(word_type(array.dtype))
    if array.dtype.kind == "u":
        return words
    top = _top(words.dtype)
    if array.dtype.kind == "i":
        return np.asarray(words ^ top)
    return np.where(words & top, ~words, words | top)


def from_words(words: Array, dtype: np.dtype[Any]) -> Array:
    """Return what `to_words` was given; a copy."""
    if dtype.kind == "u":
        return words.astype(dtype)
    top = _top(words.dtype)
    bits = words ^ top if dtype.kind == "i" else np.where(words & top, words ^ top, ~words)
    return np.ascontiguousarray(bits).view(dtype)


def pack_planes(planes: Array) -> bytes:
    """Compress planes (n, H, W) of unsigned integers.

    Each plane has the predictor whose bytes have the least entropy; zstd sees all planes at once.
    """
    import imagecodecs

    packed = b"".join(min((_coded(plane, p) for p in Predictor), key=_bits) for plane in planes)
    return bytes(imagecodecs.zstd_encode(packed, level=ZSTD_LEVEL))


def unpack_planes(data: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Array:
    """Return the planes (n, H, W) that `pack_planes` compressed.

    Raises
    ------
    ValueError
        When the bytes are other planes than these.
    """
    import imagecodecs

    count, height, width = shape
    size = 1 + height * width * dtype.itemsize
    # one byte of room more than is due: more is then seen, and a bomb cannot inflate
    packed = bytes(imagecodecs.zstd_decode(data, out=count * size + 1))
    if len(packed) != count * size:
        raise ValueError(f"{len(packed)} bytes of planes, expected {count * size}")
    planes = np.empty(shape, dtype)
    for number in range(count):
        part = packed[number * size : (number + 1) * size]
        planes[number] = _decoded(part, (height, width), dtype)
    return planes


def _coded(plane: Array, predictor: Predictor) -> bytes:
    """Return one plane's bytes before compression."""
    difference = plane.copy()
    if predictor in (Predictor.LEFT, Predictor.PLANE):
        difference[:, 1:] -= plane[:, :-1]
    if predictor is Predictor.ABOVE:
        difference[1:] -= plane[:-1]
    if predictor is Predictor.PLANE:
        difference[1:] -= difference[:-1].copy()
    if predictor is not Predictor.NOTHING:
        difference = zigzag(difference)
    little = difference.astype(difference.dtype.newbyteorder("<"), copy=False)
    shuffled = little.reshape(-1, 1).view(np.uint8).T
    return bytes([predictor]) + shuffled.tobytes()


def _decoded(data: bytes, size: tuple[int, int], dtype: np.dtype[Any]) -> Array:
    """Return the plane of `_coded`'s bytes."""
    predictor = Predictor(data[0])
    shuffled = np.frombuffer(data, np.uint8, offset=1).reshape(dtype.itemsize, -1)
    little = np.ascontiguousarray(shuffled.T).view(dtype.newbyteorder("<"))
    words: Array = little.reshape(size).astype(dtype)
    if predictor is not Predictor.NOTHING:
        words = unzigzag(words)
    if predictor in (Predictor.ABOVE, Predictor.PLANE):
        words = np.cumsum(words, axis=0, dtype=dtype)
    if predictor in (Predictor.LEFT, Predictor.PLANE):
        words = np.cumsum(words, axis=1, dtype=dtype)
    return words


def zigzag(words: Array) -> Array:
    """Name differences near zero by small numbers, modulo the words' width."""
    one = words.dtype.type(1)
    return np.asarray(np.where(words & _top(words.dtype), ~(words << one), words << one))


def unzigzag(words: Array) -> Array:
    one = words.dtype.type(1)
    return np.asarray(np.where(words & one, ~(words >> one), words >> one))


def _top(dtype: np.dtype[Any]) -> Any:
    """Return the word whose highest bit alone is set."""
    return dtype.type(1 << (8 * dtype.itemsize - 1))


def _bits(data: bytes) -> float:
    """Estimate the bits of a plane: the entropy of its bytes, place by place in the word."""
    # bytes of one place stand together, so pieces of the whole tell them apart well enough
    pieces = np.array_split(np.frombuffer(data, np.uint8), 8)
    return sum(_entropy(np.bincount(piece, minlength=256)) for piece in pieces)


def _entropy(counts: NDArray[np.int64]) -> float:
    found = counts[counts > 0].astype(np.float64)
    return float((found * np.log2(found.sum() / found)).sum())
