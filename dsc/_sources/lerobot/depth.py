"""Depth in 12-bit codes, as lerobot puts it into video, to counts of a unit.

Code c of 0 to 4095 stands for the metres ``exp(a + c (b - a) / 4095) - shift`` with
``a = ln(near + shift)`` and ``b = ln(far + shift)``; without the logarithm, for
``near + c (far - near) / 4095`` (lerobot, ``datasets/depth_utils.py``). Pixels without depth are
stored as nearer than `near`, so code 0 means that nothing was measured.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc.errors import UsageError

CODES = 4096
DEFAULTS = {"depth_min": 0.01, "depth_max": 10.0, "shift": 3.5}
NOTHING = 0
MOST = 65535


@dataclass(frozen=True)
class DepthCodes:
    """How depth became codes.

    Attributes
    ----------
    near_m, far_m
        Depth of code 0 and of code 4095.
    shift_m
        What is added before the logarithm.
    is_log
        Whether codes are of the logarithm.
    """

    near_m: float
    far_m: float
    shift_m: float
    is_log: bool

    @classmethod
    def parse(cls, details: Mapping[str, Any], where: str) -> "DepthCodes":
        """Read what ``meta/info.json`` says of a depth video.

        Raises
        ------
        UsageError
            When no depth can be had by it.
        """
        found = {name: details.get(f"video.{name}", default) for name, default in DEFAULTS.items()}
        is_log = details.get("video.use_log", True)
        try:
            near, far, shift = (float(found[name]) for name in DEFAULTS)
        except (TypeError, ValueError):
            near = far = shift = math.nan
        fits = math.isfinite(near + far + shift) and 0 <= near < far
        if not fits or not isinstance(is_log, bool) or (is_log and near + shift <= 0):
            raise UsageError(
                f"{where}: depth_min {found['depth_min']}, depth_max {found['depth_max']}, shift "
                f"{found['shift']}, use_log {is_log} give no depth; expected are metres, "
                "0 <= depth_min < depth_max"
            )
        return cls(near, far, shift, is_log)

    def details(self) -> dict[str, float | bool]:
        """Return what ``meta/info.json`` says of them."""
        return {
            "video.depth_min": self.near_m,
            "video.depth_max": self.far_m,
            "video.shift": self.shift_m,
            "video.use_log": self.is_log,
        }

    def metres(self) -> NDArray[np.float64]:
        """Return the metres of each code: (4096,)."""
        share = np.arange(CODES) / (CODES - 1)
        if not self.is_log:
            return self.near_m + share * (self.far_m - self.near_m)
        low, high = math.log(self.near_m + self.shift_m), math.log(self.far_m + self.shift_m)
        return np.exp(low + share * (high - low)) - self.shift_m

    def codes_of(self, metres: NDArray[Any]) -> NDArray[np.uint16]:
        """Return the codes of depth: uint16, 0 where there is none or it is nearer than `near_m`.

        Parameters
        ----------
        metres
            NaN where nothing was measured.
        """
        known = np.nan_to_num(metres.astype(np.float64), nan=0.0)
        low, high, values = self.near_m, self.far_m, known
        if self.is_log:
            low, high = math.log(low + self.shift_m), math.log(high + self.shift_m)
            values = np.log(np.maximum(known, self.near_m) + self.shift_m)
        codes = np.rint((values - low) / (high - low) * (CODES - 1)).clip(0, CODES - 1)
        return codes.astype(np.uint16)

    def counts(self, unit_m: float, where: str) -> NDArray[np.uint16]:
        """Return the count of each code: (4096,); that of code 0 is 0.

        Raises
        ------
        UsageError
            When 16 bits do not reach so far.
        """
        counts = np.rint(self.metres() / unit_m)
        if counts[-1] > MOST:
            raise UsageError(
                f"{where}: 16 bits of {unit_m:g} m reach {MOST * unit_m:.2f} m, and depth goes to "
                f"{self.far_m:g} m; give a larger --depth-unit"
            )
        counts = np.maximum(counts, 1)
        counts[0] = NOTHING
        return counts.astype(np.uint16)
