"""Masks row by row: each pixel under the probability that its neighbours' pattern has had so far.

The pattern is three pixels two rows above, five one row above and two to the left, outside of the
mask unset: the three-line template of JBIG (ITU-T T.82) with its adaptive pixel at home. Each
of the 1,024 patterns begins at even odds and moves towards what is seen, by 1/(n + 1.8) of the way
after n pixels, which is the estimate (ones + 0.4)/(n + 0.8), and by that of 1,023 from then on. All
of it is integers, so that every machine reads alike, and nothing is trained.

After the pixels comes a mark of eight bits. A coder whose words have run out gives set pixels for
ever and ends as it should, so that without the mark a cut could pass for a mask.

Holes of a Kinect take 3 to 10 % less than by the label network, and a quarter of its time: a pixel
is one symbol of the entropy coder (`dsc._coding.entropy`), and noise takes no longer than
three times that.
"""

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._coding.entropy import ANS_BITS, AnsReader, SymbolDecoder, SymbolEncoder
from dsc.errors import BitstreamError

Mask = NDArray[np.bool_]
CONTEXT_BITS = 10
MOST_SEEN = 1023  # pixels of a pattern after which it no longer learns more slowly
LEFT = RIGHT = 2  # columns beside a row that are looked at, and are unset
ONE = 1 << ANS_BITS
END, END_SIZE = 0xA5, 1 << 8


def encode_rows(mask: Mask) -> bytes:
    """Code a (H, W) bool mask of at least one pixel; give the entropy coder's words."""
    intervals = np.empty((mask.size, 2), np.uint32)
    mask = np.ascontiguousarray(mask)
    if _kernels.in_use():
        _kernels.compiled.raster_intervals(mask, intervals)
    else:
        intervals[:] = _intervals(mask)
    encoder = SymbolEncoder()
    encoder.put_intervals(intervals)
    encoder.put_uniform(np.array([END], np.int32), END_SIZE)
    return encoder.finish()


def decode_rows(data: bytes, height: int, width: int) -> Mask:
    """Return the (`height`, `width`) mask that `encode_rows` coded.

    Raises
    ------
    BitstreamError
        When the words are no mask of this size.
    """
    decoder = SymbolDecoder(data)
    mask = np.empty((height, width), bool)
    if _kernels.in_use():
        _kernels.compiled.raster_decode(decoder.words, decoder.state, mask)
    else:
        _decode(AnsReader(decoder), mask)
    (mark,) = decoder.get_uniform(1, END_SIZE)
    if mark != END:
        raise BitstreamError(f"after the rows comes {mark:#04x}, not the mark of their end")
    decoder.check_end()
    return mask


# ---- the twin of the compiled kernel


class _Chances:
    """The probability of a set pixel after each pattern, of 2^24."""

    def __init__(self) -> None:
        self.of = [ONE // 2] * (1 << CONTEXT_BITS)
        self._seen = [0] * (1 << CONTEXT_BITS)
        self._share = [655_360 // (10 * n + 18) for n in range(MOST_SEEN + 1)]  # of 2^16

    def learn(self, context: int, is_set: int) -> None:
        """Move the chance of a pattern towards what was seen."""
        far = ONE - self.of[context] if is_set else self.of[context]
        step = far * self._share[self._seen[context]] >> 16
        self.of[context] += step if is_set else -step
        self._seen[context] += self._seen[context] < MOST_SEEN


class _Rows:
    """The pixels of a mask, and the pattern around each."""

    def __init__(self, mask: Mask) -> None:
        self.rows = np.pad(mask.astype(np.uint8), ((2, 0), (LEFT, RIGHT))).tolist()

    def context(self, y: int, x: int) -> int:
        """Return the pattern of a pixel."""
        above2, above, own = self.rows[y], self.rows[y + 1], self.rows[y + 2]
        bits = (*above2[x + 1 : x + 4], *above[x : x + 5], *own[x : x + 2])
        return sum(bit << place for place, bit in enumerate(reversed(bits)))


def _intervals(mask: Mask) -> list[tuple[int, int]]:
    """Return the interval (left, size) of each pixel, row by row."""
    rows, chances, found = _Rows(mask), _Chances(), []
    for y, x in np.ndindex(*mask.shape):
        context, is_set = rows.context(y, x), int(mask[y, x])
        chance = chances.of[context]
        found.append((0, chance) if is_set else (chance, ONE - chance))
        chances.learn(context, is_set)
    return found


def _decode(reader: AnsReader, mask: Mask) -> None:
    """Read all pixels into `mask`."""
    rows, chances = _Rows(np.zeros(mask.shape, bool)), _Chances()
    for y, x in np.ndindex(*mask.shape):
        context = rows.context(y, x)
        is_set = reader.below(chances.of[context])
        chances.learn(context, is_set)
        rows.rows[y + 2][LEFT + x] = mask[y, x] = is_set
    reader.keep()
