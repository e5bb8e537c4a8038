"""Masks of a recording: each pixel under what its own mask and the one before it say.

Row by row, as in `dsc._coding.context.raster`, whose ten pixels are one pattern of a pixel. The
other has the six nearest of them and nine of the mask of an earlier frame, around the same place.
What was learned goes on from frame to frame: a frame begins with what the frame before it in its
chain has learned, so that all is a function of what the frame needs. The first frame of a chain has
the pattern of its own pixels alone. After the pixels comes a mark of eight bits, as there.

Whole frames of a Kinect at 30 Hz take 0.7 of the bytes that they take by themselves. The bytes::

    u8   NONE, ALL or ROWS
    ...  of ROWS: words of the entropy coder

NONE and ALL teach nothing, but are the mask before of those that follow.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._coding.entropy import AnsReader, SymbolDecoder, SymbolEncoder
from dsc._coding.mixing import (
    Counts,
    Port,
    Writing,
    code_one,
    code_two,
    reading,
    weights_start,
)
from dsc.errors import BitstreamError

AROUND_BITS, NEAR_BITS, BEFORE_BITS = 10, 6, 9
AROUND, BOTH = 1 << AROUND_BITS, 1 << (NEAR_BITS + BEFORE_BITS)
WEIGHT_SETS = 64
NONE, ALL, ROWS = range(3)
END, END_SIZE = 0xA5, 1 << 8

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Learned:
    """What is known when a mask begins.

    Attributes
    ----------
    around, both
        Of the patterns of ten pixels of a mask; of those of six and of nine of the mask before.
    weights
        (2 `WEIGHT_SETS`,) int32.
    before
        (H, W) the mask before; None of the first frame.
    """

    around: Counts = field(default_factory=lambda: Counts.start(AROUND))
    both: Counts = field(default_factory=lambda: Counts.start(BOTH))
    weights: NDArray[np.int32] = field(default_factory=lambda: weights_start(WEIGHT_SETS))
    before: Mask | None = None

    def copy(self) -> "Learned":
        """Return the same, to go on from."""
        return Learned(self.around.copy(), self.both.copy(), self.weights.copy(), self.before)

    def after(self, mask: Mask) -> "Learned":
        """Return what is known after a mask, when these counts have learned from it."""
        return Learned(self.around, self.both, self.weights, mask)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """As the kernel takes them."""
        return *self.around.arrays, *self.both.arrays, self.weights


def encode_mask(mask: Mask, known: Learned | None) -> tuple[bytes, Learned]:
    """Code a (H, W) mask, True where a pixel is invalid.

    Parameters
    ----------
    known
        What a frame before it left, of the same size; None of the first frame.

    Returns
    -------
    bytes
    Learned
        What is left to the frames that follow.
    """
    learned = Learned() if known is None else known.copy()
    mask = np.ascontiguousarray(mask)
    if mask.all() or not mask.any():
        return bytes([ALL if mask.any() else NONE]), learned.after(mask)
    encoder = SymbolEncoder()
    if _kernels.in_use():
        coded = _kernels.compiled.follow_encode(mask, learned.before, learned.arrays)
        encoder.put_intervals(np.frombuffer(coded, np.uint32).reshape(-1, 2))
    else:
        port = Writing()
        _walk(port, learned, mask.copy())
        encoder.put_intervals(np.array(port.intervals, np.uint32))
    encoder.put_uniform(np.array([END], np.int32), END_SIZE)
    return bytes([ROWS]) + encoder.finish(), learned.after(mask)


def decode_mask(
    data: bytes, height: int, width: int, known: Learned | None
) -> tuple[Mask, Learned]:
    """Return the mask that `encode_mask` coded, and what it leaves.

    Raises
    ------
    BitstreamError
        When the bytes are no mask of this size after what is known.
    """
    learned = Learned() if known is None else known.copy()
    if learned.before is not None and learned.before.shape != (height, width):
        raise BitstreamError(f"a mask of {height}×{width} after one of {learned.before.shape}")
    if data in (bytes([NONE]), bytes([ALL])):
        mask = np.full((height, width), data[0] == ALL)
        return mask, learned.after(mask)
    if not data or data[0] != ROWS:
        raise BitstreamError(f"{len(data)} bytes are no mask of a recording")
    decoder = SymbolDecoder(data[1:])
    mask = np.zeros((height, width), bool)
    if _kernels.in_use():
        _kernels.compiled.follow_decode(
            decoder.words, decoder.state, mask, learned.before, learned.arrays
        )
    else:
        reader = AnsReader(decoder)
        _walk(reading(reader), learned, mask)
        reader.keep()
    (mark,) = decoder.get_uniform(1, END_SIZE)
    if mark != END:
        raise BitstreamError(f"after the rows comes {mark:#04x}, not the mark of their end")
    decoder.check_end()
    return mask, learned.after(mask)


# ---- the twin of the compiled kernel


def _walk(port: Port, learned: Learned, mask: Mask) -> None:
    """Code all pixels of `mask`; when reading, they are put there."""
    rows = np.pad(mask, ((2, 0), (2, 2))).astype(int).tolist()
    before = None
    if learned.before is not None:
        before = np.pad(learned.before, 1).astype(int).tolist()
    for y, x in np.ndindex(*mask.shape):
        above2, above, own = rows[y], rows[y + 1], rows[y + 2]
        around = _number((*above2[x + 1 : x + 4], *above[x : x + 5], *own[x : x + 2]))
        last = None
        if before is not None:
            last = _number(tuple(bit for row in before[y : y + 3] for bit in row[x : x + 3]))
        own[x + 2] = _code(port, learned, around, last, own[x + 2])
        mask[y, x] = own[x + 2]


def _code(port: Port, learned: Learned, around: int, before: int | None, bit: int) -> int:
    if before is None:
        return code_one(port, learned.around, around, bit)
    near = (around & 3) | (around >> 3 & 7) << 2 | (around >> 8 & 1) << 5
    both = near << BEFORE_BITS | before
    if around == before == 0 or (around == AROUND - 1 and both == BOTH - 1):  # calm
        return code_one(port, learned.both, both, bit)
    at = (around & 1) | (around >> 3 & 7) << 1 | (before >> 3 & 3) << 4
    weights = learned.weights[2 * at : 2 * at + 2]
    return code_two(port, (learned.around, learned.both), (around, both), weights, bit)


def _number(bits: tuple[int, ...]) -> int:
    return sum(bit << place for place, bit in enumerate(reversed(bits)))
