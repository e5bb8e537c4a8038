"""Rate-distortion curves: Bjøntegaard-delta rates, and bits at equal distortion.

A curve is a rate in bits a pixel over a *quality axis* in decibels, so that equal steps are equal
ratios of error:

| kind | metric | axis |
| --- | --- | --- |
| image | PSNR | PSNR |
| depth | AbsRel | -10 log10(AbsRel²) |
| normal | mean angle in degrees | -10 log10(angle²) |

Points that another point beats (fewer bits and no worse) are left out, and so are lossless points,
which have no place on the axis. Between points the logarithm of the rate is interpolated by
piecewise cubic Hermite polynomials (PCHIP), which overshoot nowhere; nothing is extrapolated.

Sources: G. Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33,
2001; Fritsch and Butland 1984 (PCHIP); package `bjontegaard`.
"""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import TaskKind

Float = NDArray[np.float64]

LEAD = {
    TaskKind.IMAGE: "psnr_db",
    TaskKind.DEPTH: "absrel",
    TaskKind.NORMAL: "mean_angle_deg",
}
MIN_POINTS = 3


@dataclass(frozen=True)
class Curve:
    """Rate over quality; both strictly increasing.

    Attributes
    ----------
    rate_bpp, axis_db
        (n,) float64.
    """

    rate_bpp: Float
    axis_db: Float

    @classmethod
    def of(cls, kind: TaskKind, points: Iterable[tuple[float, float]]) -> "Curve":
        """Make the curve of points (bits a pixel, lead metric), in any order."""
        kept: list[tuple[float, float]] = []
        axes = ((rate, axis_of(kind, value)) for rate, value in points)
        usable = [(r, a) for r, a in axes if math.isfinite(a) and r > 0]
        for rate, axis in sorted(usable, key=lambda point: (point[0], -point[1])):
            if not kept or axis > kept[-1][1] + 1e-9:
                kept.append((rate, axis))
        rates, axis_db = np.array(kept, np.float64).reshape(-1, 2).T
        return cls(rates, axis_db)

    @property
    def drawable(self) -> bool:
        """Whether it has enough points to be interpolated."""
        return len(self.rate_bpp) >= MIN_POINTS


@dataclass(frozen=True)
class BdRate:
    """A Bjøntegaard-delta rate.

    Attributes
    ----------
    percent
        Bits more (positive) or less than the anchor's at equal quality, over the overlap.
    low_db, high_db
        The overlap on the quality axis.
    share
        Overlap as a share of the tested curve's own range.
    """

    percent: float
    low_db: float
    high_db: float
    share: float


def axis_of(kind: TaskKind, value: float) -> float:
    """Place a lead metric on the quality axis, in dB; see the module."""
    if kind is TaskKind.IMAGE:
        return value
    return -20 * math.log10(value) if value > 0 else math.inf


def value_of(kind: TaskKind, axis_db: float) -> float:
    """Return the lead metric of a place on the quality axis."""
    return axis_db if kind is TaskKind.IMAGE else 10 ** (-axis_db / 20)


def bd_rate(anchor: Curve, tested: Curve) -> BdRate | None:
    """Compare two curves; None when one is too short or they do not overlap."""
    if not anchor.drawable or not tested.drawable:
        return None
    low = max(anchor.axis_db[0], tested.axis_db[0])
    high = min(anchor.axis_db[-1], tested.axis_db[-1])
    if high <= low:
        return None
    import bjontegaard

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the overlap is part of the answer here
        percent = bjontegaard.bd_rate(
            anchor.rate_bpp, anchor.axis_db, tested.rate_bpp, tested.axis_db,
            method="pchip", require_matching_points=False, min_overlap=0,
        )  # fmt: skip
    share = (high - low) / (tested.axis_db[-1] - tested.axis_db[0])
    return BdRate(float(percent), float(low), float(high), float(share))


def rate_at(curve: Curve, axis_db: float) -> float | None:
    """Return the bits a pixel at a quality; None outside the curve."""
    if not curve.drawable or not curve.axis_db[0] <= axis_db <= curve.axis_db[-1]:
        return None
    from scipy.interpolate import PchipInterpolator

    return float(10 ** PchipInterpolator(curve.axis_db, np.log10(curve.rate_bpp))(axis_db))
