"""The depth of classes: planes, whose inverse depth is linear in the place.

Depth is K / G, rounded half up, where G = g + gx x + gy y in pixels from the top left corner, at
least 1, and K is the class's distance. A class has slopes (p, q): gx is p / w, rounded down, w the
width of the box around the class's pixels, gy likewise q by its height, and G is 2^24 at the mean
place of its pixels, rounded down. K is 2^e (1 + k / 1024), rounded down; its code is 1024 e + k.
All of it is integers, so that every machine decodes alike.

A stream's words of the entropy coder, after the byte of its form: how many low bits of codes are
left out (4 bits), the smallest code without these (16 bits) and the size of their range (16 bits),
how many low bits of slopes are left out (5 bits), and how many bits slopes then have with their
sign (5 bits); of each class whether it has depth (1 bit); the codes of those that have; their
slopes, in 1/2^24.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._codecs.surfaces.partition import Int, Partition
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder

MANTISSA = 10
MOST_CODE = 52 << MANTISSA  # K is below 2^52
ONE_BITS = 24
MOST_SLOPE_BITS = 28  # with the sign: slopes are from -8 to below 8
HALF = 1 << 16
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Planes:
    """The planes of the classes of a partition.

    Attributes
    ----------
    coarse, level
        How many low bits are left out of codes, and of slopes.
    there
        (n,) whether a class has depth.
    codes
        (n,) of distances, without the low bits; 0 where there is none.
    slopes
        (n, 2): down and right, without the low bits; 0 likewise.
    """

    coarse: int
    level: int
    there: NDArray[np.bool_]
    codes: Int
    slopes: Int

    def put(self, encoder: SymbolEncoder) -> None:
        """Write them."""
        codes, slopes = self.codes[self.there], self.slopes[self.there]
        low, span = (int(codes.min()), int(np.ptp(codes))) if len(codes) else (0, 0)
        bits = _bits(slopes)
        for value, size in (
            (self.coarse, 16), (low, HALF), (span, HALF), (self.level, 32), (bits, 32),
        ):  # fmt: skip
            encoder.put_uniform(np.array([value], np.int32), size)
        encoder.put_uniform(self.there.astype(np.int32), 2)
        if span:
            encoder.put_uniform((codes - low).astype(np.int32), span + 1)
        if bits:
            _put_bits(encoder, slopes.ravel() + (1 << bits >> 1), bits)

    @classmethod
    def get(cls, decoder: SymbolDecoder, classes: int) -> "Planes":
        """Read those of some classes; anything raised is damage."""
        (coarse,) = decoder.get_uniform(1, 16).tolist()
        low, span = decoder.get_uniform(2, HALF).tolist()
        level, bits = decoder.get_uniform(2, 32).tolist()
        if coarse > MANTISSA or (low + span) << coarse >= MOST_CODE:
            raise ValueError("a distance is beyond all that are")
        if bits and level + bits > MOST_SLOPE_BITS:
            raise ValueError(f"slopes of {level + bits} bits")
        there = decoder.get_uniform(classes, 2).astype(bool)
        codes, slopes = np.zeros(classes, np.int64), np.zeros((classes, 2), np.int64)
        count = int(there.sum())
        codes[there] = low
        if span:
            codes[there] += decoder.get_uniform(count, span + 1)
        if bits:
            slopes[there] = _get_bits(decoder, 2 * count, bits).reshape(-1, 2) - (1 << bits >> 1)
        return cls(coarse, level, there, codes, slopes)

    def nothing(self, partition: Partition) -> NDArray[np.bool_] | None:
        """Tell where (H, W) there is no depth; None where there is everywhere."""
        return None if self.there.all() else np.asarray(~self.there[partition.ids])

    def depth(self, partition: Partition, most: int) -> NDArray[np.uint16]:
        """Return the depth (H, W) in counts up to `most`; where there is none, it means nothing."""
        distances = distance_of(self.codes << self.coarse)
        planes = plane_of(partition.boxes(), self.slopes << self.level)
        if _kernels.in_use():
            found = np.empty(partition.ids.shape, np.uint16)
            ids = np.ascontiguousarray(partition.ids)
            _kernels.compiled.surfaces_depth(ids, planes, distances, most, found)
            return found
        rows, columns = (np.arange(n) for n in partition.ids.shape)
        below = planes[partition.ids, 0] + planes[partition.ids, 1] * rows[:, None]
        below = np.maximum(below + planes[partition.ids, 2] * columns, 1)
        exact = (2 * distances[partition.ids] + below) // (2 * below)
        return np.asarray(np.minimum(exact, most), np.uint16)


def plane_of(boxes: Int, slopes: Int) -> Int:
    """Return g, gy, gx (n, 3) of slopes (n, 2) in 1/2^24, from `Partition.boxes`."""
    each = slopes // boxes[:, :, 1].T
    at = (1 << ONE_BITS) - (each * boxes[:, :, 0].T).sum(axis=1)
    return np.ascontiguousarray(np.column_stack([at, each]))


def distance_of(codes: Int) -> Int:
    """Return K of codes below `MOST_CODE`."""
    whole = (codes & ((1 << MANTISSA) - 1)) | 1 << MANTISSA
    return np.asarray(whole << (codes >> MANTISSA) >> MANTISSA)


def distance_code(distances: Floats, coarse: int) -> Int:
    """Return the codes of the nearest K, without their low bits."""
    exact = np.maximum(distances, 1.0)
    exponent = np.floor(np.log2(exact))
    mantissa = (exact / 2**exponent - 1) * (1 << MANTISSA)
    codes = np.rint((exponent * (1 << MANTISSA) + mantissa) / (1 << coarse)).astype(np.int64)
    return np.asarray(codes.clip(0, MOST_CODE - 1 >> coarse))


def _bits(slopes: Int) -> int:
    """Return how many bits slopes need with their sign; 0 where all are 0."""
    if not slopes.any():
        return 0
    return int(max(slopes.max(), -1 - slopes.min(), 0)).bit_length() + 1


def _put_bits(encoder: SymbolEncoder, values: Int, bits: int) -> None:
    low = min(bits, 16)
    encoder.put_uniform((values & ((1 << low) - 1)).astype(np.int32), 1 << low)
    if bits > low:
        encoder.put_uniform((values >> low).astype(np.int32), 1 << bits - low)


def _get_bits(decoder: SymbolDecoder, count: int, bits: int) -> Int:
    low = min(bits, 16)
    values = decoder.get_uniform(count, 1 << low).astype(np.int64)
    if bits > low:
        values |= decoder.get_uniform(count, 1 << bits - low).astype(np.int64) << low
    return values
