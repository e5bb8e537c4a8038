"""Which of a sample's depth and normals are coded as surfaces, and how: in the fewest bytes.

Surfaces are taken where their errors, mean and root mean square, are no larger than those that the
task's own codec leaves at the same quality, and where the streams of all tasks together are then
shorter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._codecs.label.directions import ANGLE_BITS, Errors, angles_between
from dsc._codecs.surfaces.children import Way, shortest, ways_with
from dsc._codecs.surfaces.depth import Planes
from dsc._codecs.surfaces.fitting import Depths, Fitting
from dsc._codecs.surfaces.merging import Budget
from dsc._codecs.surfaces.partition import Partition
from dsc._coding.context.network import LabelModel
from dsc._coding.entropy import SymbolEncoder
from dsc._schemas import Effort

Bool = NDArray[np.bool_]
Floats = NDArray[np.float64]
LEAST_ERROR = 1e-12  # of a budget
OWN, WHOLE, PARTED, PARTED_BY_ROWS, PARTED_WITHIN = range(5)  # forms of a stream, as stored
FORMS = {None: WHOLE, Way.NETWORK: PARTED, Way.ROWS: PARTED_BY_ROWS, Way.WITHIN: PARTED_WITHIN}
FLAGS = {None: 0, Way.NETWORK: 0, Way.ROWS: 0x80, Way.WITHIN: 0x40}  # in ``geometry``, at first
END, END_SIZE = 0xA5, 1 << 8  # without it, a cut could pass for a map
DEPTH_PRICES: dict[Effort, tuple[float, ...]] = {
    Effort.FAST: (500,), Effort.DEFAULT: (500, 2000), Effort.BEST: (250, 500, 1000, 4000),
}  # fmt: skip
NORMAL_PRICES: dict[Effort, tuple[float, ...]] = {
    Effort.FAST: (1000,), Effort.DEFAULT: (4, 15, 60, 250, 1000, 4000),
    Effort.BEST: (2, 4, 8, 15, 30, 60, 120, 250, 500, 1000, 4000, 16000),
}  # fmt: skip
STARTS_AT = 250.0
# low bits of codes and slopes that are left out, the most first
ROUNDINGS = ((6, 17), (5, 17), (4, 17), (3, 17), (2, 16), (0, 12))


@dataclass(frozen=True)
class Map:
    """A task's map, and what its own codec makes of it.

    Attributes
    ----------
    array
        Native.
    invalid
        (H, W)
    own
        Bytes of its own codec's stream.
    decoded
        What a picture of that quality comes back as.
    finish
        Turns values of surfaces, and where there are none, into a native array.
    """

    array: Array
    invalid: Bool
    own: bytes
    decoded: Array
    finish: Callable[[Array, Bool | None], Array]


@dataclass(frozen=True)
class SurfaceStreams:
    """Streams of surfaces; None where a task is not coded by them."""

    geometry: bytes = b""
    depth: bytes | None = None
    normal: bytes | None = None

    def size(self, depth: Map | None, normal: Map | None) -> int:
        """Return the bytes of all streams, those of own codecs among them."""
        found = len(self.geometry)
        for coded, given in ((self.depth, depth), (self.normal, normal)):
            if given is not None:
                found += 1 + len(given.own) if coded is None else len(coded)
        return found


class SurfaceEncoder:
    """Finds the surfaces of one sample.

    Parameters
    ----------
    labels
        The partition that labels make.
    header
        What the stream ``geometry`` begins with.
    ways
        How its finer partition may come.
    """

    def __init__(
        self,
        model: LabelModel | None,
        effort: Effort,
        labels: Partition,
        depth: Map | None,
        normal: Map | None,
        header: bytes,
        ways: Sequence[Way],
    ) -> None:
        self._model, self._effort, self._labels = model, effort, labels
        self._depth, self._normal, self._header, self._ways = depth, normal, header, ways

    def encode(self) -> SurfaceStreams:
        """Return the streams that take the fewest bytes together."""
        found = [SurfaceStreams()]
        fitting = self._begin(self._inverse())
        by_depth = None if fitting is None else self._code_depth(fitting)
        if by_depth is not None and fitting is not None:
            partition, geometry, depth = by_depth
            normal = self._code_normals(fitting, partition)
            found += [
                SurfaceStreams(geometry, depth, None),
                SurfaceStreams(geometry, depth, normal),
            ]
        if by_depth is None or self._effort is Effort.BEST:
            fitting = fitting or self._begin(None)
            normal = None if fitting is None else self._code_normals(fitting, self._labels)
            if normal is not None:
                found.append(SurfaceStreams(self._header, None, normal))
        return min(found, key=lambda one: one.size(self._depth, self._normal))

    def _inverse(self) -> Floats | None:
        """Return inverse depth, 0 where there is none; None where it is no positive number."""
        given = self._depth
        if given is None or given.array[~given.invalid].min(initial=1) == 0:
            return None
        inverse: Floats = 1 / np.maximum(given.array, 1).astype(np.float64)
        inverse[given.invalid] = 0
        return inverse

    def _begin(self, inverse: Floats | None) -> Fitting | None:
        """Find pieces; None where they are too many, or there is nothing to find them by."""
        normal = self._normal
        if normal is None and inverse is None:
            return None
        nothing = np.zeros(self._labels.ids.shape, bool)
        return Fitting.begin(
            self._labels,
            None if normal is None else normal.array,
            nothing if normal is None else normal.invalid,
            inverse,
            None if normal is None else self._normal_budget(normal, 1.0),
            None if self._depth is None else self._depth_budget(self._depth, 1.0),
        )

    def _code_depth(self, fitting: Fitting) -> tuple[Partition, bytes, bytes] | None:
        given = self._depth
        if given is None or not fitting.has_depth:
            return None
        best = None
        for price in DEPTH_PRICES[self._effort]:
            budget = self._depth_budget(given, price)
            found = fitting.fit_depth(self._labels, given.invalid, budget)
            finer = shortest(self._model, [self._labels], found.partition, self._ways)
            fitted = found.numbered(finer.partition)
            planes = self._coarsest(given, fitted)
            if planes is None:
                continue
            encoder = SymbolEncoder()
            finer.put(encoder, self._model, [self._labels])
            if finer.way in (Way.ROWS, Way.WITHIN):
                encoder.put_uniform(np.array([END], np.int32), END_SIZE)
            first = self._header[0] | FLAGS[finer.way]
            geometry = bytes([first]) + self._header[1:] + encoder.finish()
            encoder = SymbolEncoder()
            planes.put(encoder)
            depth = bytes([WHOLE]) + encoder.finish()
            if best is None or len(geometry) + len(depth) < len(best[1]) + len(best[2]):
                best = fitted.partition, geometry, depth
            if self._effort is not Effort.BEST:
                break
        return best

    @staticmethod
    def _coarsest(given: Map, fitted: Depths) -> Planes | None:
        """Return planes with as many low bits left out as errors allow; None if none are."""
        valid = ~given.invalid
        original = given.array[valid].astype(np.float64)
        most = _relative_errors(given.decoded[valid], original)
        most_count = int(np.iinfo(given.array.dtype).max)

        def at(coarse: int, level: int) -> Planes | None:
            planes = fitted.rounded(coarse, level)
            depth = planes.depth(fitted.partition, most_count)
            made = given.finish(depth, planes.nothing(fitted.partition))
            found = _relative_errors(made[valid], original)
            within = all(one <= other for one, other in zip(found, most, strict=True))
            return planes if within else None

        best = None
        for coarse, level in ROUNDINGS:
            best = at(coarse, level)
            if best is not None:
                break
        if best is None:
            return None
        return at(best.coarse, best.level + 1) or best

    def _code_normals(self, fitting: Fitting, within: Partition) -> bytes | None:
        given = self._normal
        if given is None:
            return None
        prices = NORMAL_PRICES[self._effort]
        start = prices.index(STARTS_AT) if STARTS_AT in prices else 0
        first = self._at_price(fitting, within, given, prices[start])
        step = 1 if first is None else -1
        best, at = first, start + step
        while 0 <= at < len(prices):
            coded = self._at_price(fitting, within, given, prices[at])
            if coded is not None and (best is None or len(coded) < len(best)):
                best = coded
            if (coded is None) == (step < 0):
                break
            at += step
        return best

    def _at_price(
        self, fitting: Fitting, within: Partition, given: Map, price: float
    ) -> bytes | None:
        """Return the normals' stream; None where its errors are too large."""
        fitted, found = fitting.fit_normals(within, self._normal_budget(given, price))
        is_finer = within.count > self._labels.count
        levels = [self._labels, within] if is_finer else [self._labels]
        finer = shortest(self._model, levels, fitted, ways_with(self._model))
        partition = finer.partition
        found = found.numbered(fitted, partition)
        picture = found.picture(partition)
        made = given.finish(picture, found.nothing(partition))
        if not _angle_errors(given, made).is_within(_angle_errors(given, given.decoded)):
            return None
        encoder = SymbolEncoder()
        finer.put(encoder, self._model, levels)
        found.put(encoder)
        return bytes([FORMS[finer.way]]) + encoder.finish()

    @staticmethod
    def _depth_budget(given: Map, price: float) -> Budget:
        valid = ~given.invalid
        original = given.array[valid].astype(np.float64)
        mean, root = _relative_errors(given.decoded[valid], np.maximum(original, 1))
        count = original.size
        return Budget(max(mean * count, LEAST_ERROR), max(root**2 * count, LEAST_ERROR), price)

    @staticmethod
    def _normal_budget(given: Map, price: float) -> Budget:
        errors = _angle_errors(given, given.decoded)
        unit = 2.0**-ANGLE_BITS
        return Budget(
            max(errors.sum * unit, LEAST_ERROR), max(errors.square * 2.0**-32, LEAST_ERROR), price
        )


def _angle_errors(given: Map, made: Array) -> Errors:
    angles = angles_between(given.array.reshape(-1, 3), made.reshape(-1, 3))
    angles[given.invalid.ravel()] = 0
    return Errors.of(angles)


def _relative_errors(made: Array, original: Floats) -> tuple[float, float]:
    """Return the mean and the root mean square of the relative error."""
    if not original.size:
        return 0.0, 0.0
    error = np.abs(made - original) / original
    return float(error.mean()), float(np.sqrt((error**2).mean()))
