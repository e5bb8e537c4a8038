"""Native label arrays as maps of small numbers, and the palette that names the numbers again.

A label is one integer a pixel, or several channels that are packed into one (RGB colour codes), the
first channel in the lowest bits; with more than 64 bits, each channel has a palette of its own.
Numbers follow the order in which coding meets the labels, so a bitstream needs no count of them:
the palette is read last, when it is known how many there are. It says how many bits an entry takes,
the smallest label, and each label's distance from it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._codecs.base import Array
from dsc._coding.context.escapes import MAX_LABELS
from dsc._coding.context.lattice import PHASES, Ids, Index, meeting_order
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder
from dsc.errors import BitstreamError

MOST_CHANNELS = 8
_MOST_BYTES = 8  # of a label that is packed into one integer
_PIECE = 16  # bits that are coded at once
_TABLE = 1 << 16  # labels below this are looked up, others are searched for
Packed = NDArray[np.uint64]


def index_labels(array: Array) -> tuple[Ids, Packed]:
    """Return each label of a map the number in whose order coding meets it.

    Parameters
    ----------
    array
        (H, W) or (H, W, channels), integers, of at most `MOST_CHANNELS`.

    Returns
    -------
    ids
        (H, W) uint16
    palette
        (m, n) uint64: the packed label of each number; m is 1, or the channels of a wide label.

    Raises
    ------
    ValueError
        When there are more labels than can be numbered.
    """
    wide = _is_wide(array.dtype, array.shape[2:])
    packed = _rank(array) if wide else _pack(array)
    ids, first = _number(packed)
    if not wide:
        return ids, packed.ravel()[first].astype(np.uint64)[None]
    labels = array.reshape(-1, array.shape[2])[first]
    return ids, np.stack([_pack(labels[:, k]) for k in range(labels.shape[1])]).astype(np.uint64)


def index_named(labels: Ids, names: Array) -> tuple[Ids, Packed]:
    """Return what `index_labels` gives for ``names[labels]``.

    Parameters
    ----------
    labels
        (H, W) uint16
    names
        (n, channels), all different, of at most 8 bytes each.
    """
    ids, first = _number(labels)
    packed = _pack(names[None])[0]
    return ids, packed[labels.ravel()[first]].astype(np.uint64)[None]


def _number(packed: Array) -> tuple[Ids, Index]:
    """Return the numbers (H, W) of packed labels in the order of coding, and a pixel of each."""
    if _kernels.in_use() and packed.size < 1 << 31:
        return _number_compiled(packed)
    return _number_here(packed)


def _number_compiled(packed: Array) -> tuple[Ids, Index]:
    ids, first = np.empty(packed.shape, np.uint16), np.empty(MAX_LABELS, np.int64)
    places = np.array([place for phase in PHASES for place in phase], np.uint8)
    unsigned = np.ascontiguousarray(packed).view(f"u{packed.itemsize}")
    count = _kernels.compiled.label_number(unsigned, packed.itemsize, places, ids, first)
    return ids, first[:count]


def _number_here(packed: Array) -> tuple[Ids, Index]:
    flat = packed.ravel()
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1  # labels come in runs: few pixels to sort
    values = np.unique(np.append(flat[starts], flat[0]))
    if len(values) > MAX_LABELS:
        raise ValueError(f"{len(values)} different labels; at most {MAX_LABELS} can be modelled")
    number = _numbers(packed, values, np.arange(len(values), dtype=np.uint16))
    order = meeting_order(number, len(values))
    met = np.empty(len(values), np.uint16)
    met[order] = np.arange(len(values))
    ids: Ids = met[number]
    return ids, np.unique(ids, return_index=True)[1]


def put_palette(
    encoder: SymbolEncoder, palette: Packed, dtype: np.dtype[Any], channels: int
) -> None:
    """Write a palette (m, n)."""
    for row in palette:
        low = row.min()
        distance = row - low
        bits = int(distance.max()).bit_length()
        encoder.put_uniform(np.array([bits], np.int32), 65)
        _put(encoder, np.array([low]), 8 * dtype.itemsize * channels // len(palette))
        _put(encoder, distance, bits)


def get_palette(decoder: SymbolDecoder, count: int, dtype: np.dtype[Any], channels: int) -> Packed:
    """Read a palette (m, n) of n = `count` labels.

    Raises
    ------
    BitstreamError
        When a label is beyond what the dtype holds.
    """
    wide = _is_wide(dtype, (channels,))
    whole = 8 * dtype.itemsize * (1 if wide else channels)
    rows = channels if wide else 1
    return np.stack([_get_row(decoder, count, whole, dtype) for _ in range(rows)])


def _get_row(
    decoder: SymbolDecoder, count: int, whole: int, dtype: np.dtype[Any]
) -> NDArray[np.uint64]:
    (bits,) = decoder.get_uniform(1, 65).tolist()
    low = _get(decoder, 1, whole)[0]
    distance = _get(decoder, count, bits)
    if bits > whole or int(distance.max()) + int(low) >= 1 << whole:
        raise BitstreamError(f"a label is beyond what {dtype} holds; the bitstream is damaged")
    return np.asarray(distance + low)


def name_labels(ids: Ids, palette: Packed, dtype: np.dtype[Any], channels: int) -> Array:
    """Return the native array (H, W) or (H, W, channels) of numbered labels."""
    names = names_of(palette, dtype, channels)
    native = np.empty((*ids.shape, *names.shape[1:]), dtype)
    write_names(ids, names, native)
    return native


def names_of(palette: Packed, dtype: np.dtype[Any], channels: int) -> Array:
    """Return the native labels (n,) or (n, channels) of a palette."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    if _is_wide(dtype, (channels,)):
        columns = [row.astype(unsigned) ^ _sign(dtype) for row in palette]
    else:
        columns = [
            (palette[0] >> np.uint64(8 * dtype.itemsize * k)).astype(unsigned) ^ _sign(dtype)
            for k in range(channels)
        ]
    names = np.stack(columns, axis=-1) if channels > 1 else columns[0]
    return np.asarray(names.view(dtype))


def write_names(ids: Ids, names: Array, out: Array) -> None:
    """Write ``names[ids]`` to `out`, C-contiguous.

    Parameters
    ----------
    ids
        (H, W), each below n.
    names
        (n,) or (n, channels), of any dtype.
    """
    if not _kernels.in_use():
        np.take(names, ids, axis=0, out=out)
        return
    raw = np.ascontiguousarray(names).view(np.uint8).reshape(len(names), -1)
    flat = out.view(np.uint8).reshape(-1, raw.shape[1])
    _kernels.compiled.label_name(np.ascontiguousarray(ids).ravel(), raw, flat)


def _is_wide(dtype: np.dtype[Any], channels: tuple[int, ...]) -> bool:
    """Tell whether labels of these channels do not fit one integer."""
    return dtype.itemsize * int(np.prod(channels)) > _MOST_BYTES


def _rank(array: Array) -> Array:
    """Return (H, W) int64, different where labels (H, W, channels) differ."""
    rank: Array = np.zeros(array.shape[:2], np.int64)
    for k in range(array.shape[2]):
        values, place = np.unique(array[..., k], return_inverse=True)
        joint = rank * len(values) + place.reshape(rank.shape)
        rank = np.unique(joint, return_inverse=True)[1].reshape(rank.shape)
    return rank


def _pack(array: Array) -> Array:
    """Return unsigned integers of labels' shape, in the order of the labels' values."""
    bits = np.ascontiguousarray(array).view(np.dtype(f"u{array.dtype.itemsize}"))
    unsigned: Array = bits ^ _sign(array.dtype)
    if array.ndim < 3:
        return unsigned
    packed = np.zeros(array.shape[:2], np.uint64)
    for k in range(array.shape[2]):
        packed |= unsigned[..., k].astype(np.uint64) << np.uint64(8 * array.dtype.itemsize * k)
    return packed


def _sign(dtype: np.dtype[Any]) -> Any:
    """Return what turns two's complement into unsigned numbers of the same order."""
    top = 1 << (8 * dtype.itemsize - 1) if dtype.kind == "i" else 0
    return np.dtype(f"u{dtype.itemsize}").type(top)


def _numbers(packed: Array, values: Array, numbers: Ids) -> Ids:
    if int(values[-1]) < _TABLE:
        table = np.zeros(int(values[-1]) + 1, np.uint16)
        table[values] = numbers
        return np.asarray(table[packed])
    return np.asarray(numbers[np.searchsorted(values, packed)])


def _put(encoder: SymbolEncoder, values: Packed, bits: int) -> None:
    for shift in range(0, bits, _PIECE):
        size = 1 << min(_PIECE, bits - shift)
        piece = (values >> np.uint64(shift)) & np.uint64(size - 1)
        encoder.put_uniform(piece.astype(np.int32), size)


def _get(decoder: SymbolDecoder, count: int, bits: int) -> Packed:
    values = np.zeros(count, np.uint64)
    for shift in range(0, bits, _PIECE):
        piece = decoder.get_uniform(count, 1 << min(_PIECE, bits - shift))
        values |= piece.astype(np.uint64) << np.uint64(shift)
    return values
