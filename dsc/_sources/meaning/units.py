"""Units of depth: what a value in a file is in metres, and what a stored count is.

Two options, because they are two things. ``--file-unit`` says what the *file's* values are:
metres, millimetres, inverse depth, disparity. ``--depth-unit`` says how many metres a *stored
count* is; whole numbers are stored as they are, so there it says both.

| file unit | metres of a value v |
| --- | --- |
| ``m``, ``cm``, ``mm``, ``um`` | v, v / 100, v / 1000, v / 1e6 |
| ``0.0002``, ``1/5000`` | v times that |
| ``inverse``, ``inverse:K`` | 1 / v, K / v |
| ``disparity:B:F``, ``disparity:B:F:S`` | B F / v, B F / (v S): baseline in metres, focal length \
in pixels, pixels a count |
| ``rotated`` | of 16-bit SUN RGB-D files: the bits turned right by 3, then millimetres |
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsc.errors import UsageError

DepthUnit = float | dict[str, float]
WORDS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "um": 1e-6}


@dataclass(frozen=True)
class FileUnit:
    """What the values of a depth file are.

    Attributes
    ----------
    factor
        Metres a count; of an inverse unit, metres times counts.
    inverse
        Whether values fall with distance.
    rotated
        Whether the bits of 16-bit values are to be turned right by 3 first.
    text
        The spelling that `parse` reads.
    """

    factor: float
    inverse: bool = False
    rotated: bool = False
    text: str = ""

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read one unit; see the module.

        Raises
        ------
        UsageError
            When it is none; the message lists the spellings.
        """
        text = str(value).strip()
        word, _, rest = text.partition(":")
        if text in WORDS:
            return cls(WORDS[text], text=text)
        if text == "rotated":
            return cls(WORDS["mm"], rotated=True, text=text)
        try:
            numbers = [positive(part) for part in rest.split(":")] if rest else []
            if word == "inverse" and len(numbers) <= 1:
                return cls(numbers[0] if numbers else 1.0, inverse=True, text=text)
            if word == "disparity" and len(numbers) in (2, 3):
                scale = numbers[2] if len(numbers) == 3 else 1.0
                return cls(numbers[0] * numbers[1] / scale, inverse=True, text=text)
            return cls(positive(text), text=text)
        except ValueError:
            raise UsageError(
                f"--file-unit {text}: expected m, cm, mm, um, a number of metres (1/5000), "
                "inverse, inverse:K, disparity:BASELINE_M:FOCAL_PX or rotated"
            ) from None

    def to_metres(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return metres, NaN where there is no positive finite value."""
        if self.rotated:
            whole = values.astype(np.uint16)
            values = whole >> 3 | whole << 13
        known = values.astype(np.float64)
        known = np.where(np.isfinite(known) & (known > 0), known, np.nan)
        return self.factor / known if self.inverse else known * self.factor


def parse_depth_unit(value: object) -> DepthUnit | None:
    """Read metres a count: a number, ``1/4096``, ``hm3d=1/4096,replica=0.001``, or a mapping.

    Raises
    ------
    UsageError
        When a part is not a positive number or fraction.
    """
    if value is None:
        return None
    if isinstance(value, str) and "=" in value:
        value = parse_pairs(value, "--depth-unit")
    if isinstance(value, Mapping):
        return {str(name): _metres(unit) for name, unit in value.items()}
    return _metres(value)


def parse_file_unit(value: object) -> dict[str, FileUnit]:
    """Read ``mm`` or ``depth=mm,disp=disparity:0.54:721``, or a mapping; ``""`` is all tasks.

    Raises
    ------
    UsageError
        When a part is no unit.
    """
    if value is None:
        return {}
    if isinstance(value, str):
        value = parse_pairs(value, "--file-unit") if "=" in value else {"": value}
    if not isinstance(value, Mapping):
        value = {"": value}
    return {str(name): FileUnit.parse(unit) for name, unit in value.items()}


def parse_pairs(text: str, option: str) -> dict[str, str]:
    """Read ``name=value`` pairs with commas.

    Raises
    ------
    UsageError
        When a part is no pair.
    """
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(name.strip() and value.strip() for name, _, value in parts):
        raise UsageError(f"{option} {text}: write task=value with commas")
    return {name.strip(): value.strip() for name, _, value in parts}


def unit_of(units: DepthUnit | None, name: str) -> float | None:
    """Return the unit stated for `name`, None where none is."""
    return units.get(name) if isinstance(units, dict) else units


def coarse_enough(farthest_m: float) -> str:
    """Spell a step in which 16 bits reach so far, a millimetre or more, two digits rounded up."""
    step = max(farthest_m / 65535, 0.001)
    digits = 1 - math.floor(math.log10(step))
    return f"{math.ceil(step * 10**digits) / 10**digits:g}"


def positive(value: Any) -> float:
    """Read a positive number or fraction.

    Raises
    ------
    ValueError
        When it is none.
    """
    top, _, bottom = str(value).partition("/")
    try:
        number = float(top) / float(bottom or 1)
    except ZeroDivisionError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{value} is no positive number")
    return number


def _metres(value: Any) -> float:
    if str(value).strip() in WORDS:
        return WORDS[str(value).strip()]
    try:
        return positive(value)
    except ValueError:
        raise UsageError(
            f"--depth-unit {value}: expected metres a count, for example 0.001, 1/512 or mm"
        ) from None
