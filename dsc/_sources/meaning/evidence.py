"""What the first files of a task say about it: dtype, shape, and how their values are spread.

A task's name says what its author thought of it; only its values tell a map of ids from a picture,
a normal map from a normalised picture, and metres from millimetres. Evidence is gathered from a few
files spread over the data set, each once, before work starts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEW_VALUES = 64  # so few in a file, each on this many pixels at least, may be ids
PIXELS_A_VALUE = 16
PROBES = 5  # values of a task that are looked at, spread over all
FLAT_SHARE = 0.8  # share of equal neighbours from which regions are flat
MANY = 1 << 16  # distinct values beyond this are not counted
UNIT_LENGTH = 0.08  # what 8 bits, a resize and a JPEG do to the length of a unit vector
MATRIX = 4  # rows and columns up to which floating point is a matrix and no map
KNOWN_DTYPES = (
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
    "float16", "float32", "float64",
)  # fmt: skip
SIGNED = -0.01  # a float map of normals with a value below this spans -1 to 1, not 0 to 1
NO_DIRECTION = (0, 127, 128, 255)  # all channels alike, none of which is a unit vector


@dataclass(frozen=True)
class Evidence:
    """What some files of one task hold.

    Attributes
    ----------
    dtype
        NumPy name, in the machine's byte order.
    shape
        Of the first example: (H, W), (H, W, C), or that of a row.
    format
        Format of the files (``png``), or ``hdf5``.
    lossless
        Whether every file is stored without loss.
    palette, alpha
        Whether a file has a palette; whether the last channel of one is alpha. What is told of
        values is then of the others.
    turned
        Whether a file has an EXIF orientation other than upright.
    distinct
        Distinct values of the fullest file (colours, where there are three channels), at most
        `MANY`.
    pixels
        Pixels of that file.
    flat
        Share of horizontal neighbours that are equal, 0 to 1.
    jumps
        Of the neighbours that differ, the share that differs by more than 4 counts.
    low, high
        Smallest and largest finite value.
    near
        Smallest finite value above 0; 0 where there is none.
    typical, far
        Median and 95th percentile of the finite values above 0 and below the dtype's largest; 0
        where there are none.
    whole
        Whether all finite values are whole numbers.
    zero, top
        Share of pixels that are 0, and that are the dtype's largest value.
    finite
        Share of values that are finite.
    unit_length
        Of the pixels that are not in `no_direction`, the share whose channels are a unit vector.
    no_direction
        Native values, all channels alike, that occur and are no unit vector, the most frequent
        first (images of three channels).
    gray
        Whether the three channels of every file are alike.
    """

    dtype: str
    shape: tuple[int, ...]
    format: str = "npy"
    lossless: bool = True
    palette: bool = False
    alpha: bool = False
    turned: bool = False
    distinct: int = 0
    pixels: int = 0
    flat: float = 0.0
    jumps: float = 0.0
    low: float = 0.0
    high: float = 0.0
    near: float = 0.0
    typical: float = 0.0
    far: float = 0.0
    whole: bool = True
    zero: float = 0.0
    top: float = 0.0
    finite: float = 1.0
    unit_length: float = 0.0
    no_direction: tuple[int, ...] = ()
    gray: bool = False

    @property
    def channels(self) -> int:
        """Channels of a picture; 1 for (H, W)."""
        return self.shape[2] if len(self.shape) == 3 else 1

    @property
    def is_map(self) -> bool:
        """Whether there is one value a pixel: a small matrix of floating point is none."""
        matrix = len(self.shape) == 2 and (max(self.shape) <= MATRIX or min(self.shape) == 1)
        return len(self.shape) in (2, 3) and not (matrix and self.is_float)

    @property
    def is_float(self) -> bool:
        """Whether the values are floating point."""
        return np.dtype(self.dtype).kind == "f"

    def why_ids(self) -> str | None:
        """Say why the values may be ids of something and no intensities; None if they are not.

        Files that were stored with loss hold none.
        """
        if self.palette:
            return "has a palette"
        if not self.lossless or not self.is_map or self.is_float or not self.pixels:
            return None
        if self.dtype not in ("uint8", "uint16"):
            return f"{self.dtype} values"
        what = "colours" if self.channels == 3 else "values"
        if self.distinct <= FEW_VALUES and self.distinct * PIXELS_A_VALUE <= self.pixels:
            return f"only {self.distinct} {what} a file"
        if self.flat >= FLAT_SHARE and self.jumps >= 0.5:
            return f"flat regions with jumps between ({self.distinct} {what})"
        return None


def look(array: NDArray[Any], nothing: tuple[int, ...] = (), **facts: Any) -> Evidence:
    """Gather the evidence of one array.

    Parameters
    ----------
    array
        What a file holds, of any shape.
    nothing
        Values that mean nothing: where numbers are floating point, they count as not finite.
    facts
        What is known of the file: `Evidence.format`, `lossless`, `palette`, `alpha`, `turned`.
    """
    values = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    plain = values.astype(np.uint8) if values.dtype == bool else values
    base: Evidence = Evidence(array.dtype.newbyteorder("=").name, values.shape, **facts)
    if base.dtype not in KNOWN_DTYPES or values.ndim not in (2, 3) or not plain.size:
        return base
    if base.alpha and plain.ndim == 3:
        plain = plain[..., 0] if plain.shape[2] == 2 else plain[..., :-1]
    if nothing and plain.dtype.kind == "f":
        plain = np.where(is_nothing(plain, nothing), np.nan, plain)
    found: dict[str, Any] = {**_spread(plain), **_neighbours(plain), **_directions(plain)}
    return replace(base, **found)


def alike(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell where all channels of (H, W, C) have one value, or are all NaN: (H, W) bool."""
    first = values[..., :1]
    same = values == first
    if values.dtype.kind == "f":
        same |= np.isnan(values) & np.isnan(first)
    return np.asarray(same.all(axis=-1), bool)


def is_nothing(array: NDArray[Any], nothing: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tell where an array has one of these values, each as its dtype has it."""
    if array.dtype.kind != "f":
        return np.isin(array, nothing)
    with np.errstate(over="ignore"):
        return np.isin(array, np.array(nothing, np.float64).astype(array.dtype))


def merge(found: Iterable[Evidence]) -> Evidence:
    """Put the evidence of several files of one task together.

    Shape and format are those of the first; the rest is what speaks most for ids, or the widest
    range.
    """
    return reduce(_both, found)


def _both(first: Evidence, second: Evidence) -> Evidence:
    fuller = max(first, second, key=lambda one: one.distinct)
    flatter = max(first, second, key=lambda one: one.flat)
    ids = next((one for one in (first, second) if one.why_ids()), fuller)
    return replace(
        first,
        dtype=str(np.result_type(first.dtype, second.dtype)),
        lossless=first.lossless and second.lossless,
        palette=first.palette or second.palette,
        alpha=first.alpha or second.alpha,
        turned=first.turned or second.turned,
        distinct=ids.distinct,
        pixels=ids.pixels,
        flat=ids.flat if ids is not fuller else flatter.flat,
        jumps=ids.jumps if ids is not fuller else flatter.jumps,
        low=min(first.low, second.low),
        high=max(first.high, second.high),
        near=min(filter(None, (first.near, second.near)), default=0.0),
        typical=max(first.typical, second.typical),
        far=max(first.far, second.far),
        whole=first.whole and second.whole,
        zero=max(first.zero, second.zero),
        top=max(first.top, second.top),
        finite=min(first.finite, second.finite),
        unit_length=min(first.unit_length, second.unit_length),
        gray=first.gray and second.gray,
        no_direction=tuple(dict.fromkeys((*first.no_direction, *second.no_direction))),
    )


def _spread(values: NDArray[Any]) -> dict[str, Any]:
    finite = np.isfinite(values)
    known = values[finite]
    top = np.iinfo(values.dtype).max if values.dtype.kind in "ui" else np.inf
    positive = known[(known > 0) & (known < top)]
    typical, far = np.percentile(positive, (50, 95)) if positive.size else (0.0, 0.0)
    return {
        "pixels": int(np.prod(values.shape[:2])),
        "distinct": _distinct(values),
        "low": float(known.min()) if known.size else 0.0,
        "high": float(known.max()) if known.size else 0.0,
        "near": float(positive.min()) if positive.size else 0.0,
        "typical": float(typical),
        "far": float(far),
        "whole": values.dtype.kind != "f" or bool((known == np.rint(known)).all()),
        "zero": float((values == 0).mean()),
        "top": float((values == top).mean()),
        "finite": float(finite.mean()),
    }


def _distinct(values: NDArray[Any]) -> int:
    if values.ndim == 3 and values.dtype == np.uint8 and values.shape[2] == 3:
        packed = values.astype(np.uint32)
        values = packed[..., 0] << 16 | packed[..., 1] << 8 | packed[..., 2]
    elif values.ndim == 3:
        rows = np.ascontiguousarray(values.reshape(-1, values.shape[2]))
        values = rows.view(f"V{rows.itemsize * rows.shape[1]}")
        return min(len(set(values.ravel().tolist())), MANY)
    return min(len(np.unique(values)), MANY)


def _neighbours(values: NDArray[Any]) -> dict[str, float]:
    if values.shape[1] < 2 or values.dtype.kind not in "ui":
        return {}
    wide = values.astype(np.int64)
    change = np.abs(np.diff(wide, axis=1))
    change = change.max(axis=2) if change.ndim == 3 else change
    changed = change > 0
    return {
        "flat": float(1 - changed.mean()),
        "jumps": float((change > 4).sum() / max(int(changed.sum()), 1)),
    }


def _directions(values: NDArray[Any]) -> dict[str, Any]:
    if values.ndim != 3 or values.shape[2] != 3:
        return {}
    vectors = as_vectors(values, signed=float(values.min()) < SIGNED)
    gray = alike(values)
    counted = {value: int((values[..., 0][gray] == value).sum()) for value in NO_DIRECTION}
    found = [value for value, n in sorted(counted.items(), key=lambda one: -one[1]) if n]
    none = gray & np.isin(values[..., 0], NO_DIRECTION)
    length = np.linalg.norm(vectors, axis=-1)
    none |= ~np.isfinite(length) | (length == 0)
    unit = np.abs(length - 1) <= UNIT_LENGTH
    return {
        "unit_length": float(unit[~none].mean()) if not none.all() else 0.0,
        "gray": bool(gray.all()),
        "no_direction": tuple(found) if values.dtype == np.uint8 else (),
    }


def as_vectors(values: NDArray[Any], signed: bool = True) -> NDArray[np.float32]:
    """Read (H, W, 3) normals as float32 vectors.

    Whole numbers span -1 to 1 over their dtype's range; floating point is as it is where `signed`,
    and else spans 0 to 1.
    """
    if values.dtype.kind in "ui":
        half = np.float32(np.iinfo(values.dtype).max / 2)
        return (values.astype(np.float32) - half) / half
    vectors = values.astype(np.float32)
    return vectors if signed else vectors * 2 - 1
