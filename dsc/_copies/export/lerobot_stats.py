"""What lerobot keeps of each feature to normalise by: smallest, largest, mean, spread, quantiles.

Exact, over every value: of numbers from the numbers, of pictures from counts of each value. Images
are told in 0 to 1, by channel, as lerobot has them.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
Stats = Mapping[str, Any]


class Collector(Protocol):
    """Gathers the values of a feature."""

    def add(self, array: NDArray[Any]) -> None:
        """Take the value of one frame."""
        ...

    def merge(self, other: Any) -> None:
        """Take all that another one of the same kind has."""
        ...

    def stats(self) -> Stats:
        """Return what was gathered, as JSON."""
        ...


class Numbers:
    """The values of a feature of numbers, all of one shape."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.float64]] = []

    def add(self, array: NDArray[Any]) -> None:
        """Take the value of one frame."""
        self._rows.append(np.atleast_1d(array).astype(np.float64))

    def merge(self, other: "Numbers") -> None:
        """Take all that another has."""
        self._rows.extend(other._rows)

    def stats(self) -> Stats:
        """Return the figures of each element, over the frames."""
        rows = np.stack(self._rows)
        found = {
            "min": rows.min(axis=0),
            "max": rows.max(axis=0),
            "mean": rows.mean(axis=0),
            "std": rows.std(axis=0),
            **{name: np.quantile(rows, share, axis=0) for name, share in QUANTILES.items()},
        }
        return {**{name: value.tolist() for name, value in found.items()}, "count": [len(rows)]}


class Pixels:
    """The pixels of a feature of whole numbers, by channel, as counts of each value.

    Parameters
    ----------
    scale
        What a value is told as, times its number: 1/255 of images.
    """

    def __init__(self, channels: int, levels: int, scale: float) -> None:
        self._counts = np.zeros((channels, levels), np.int64)
        self._scale, self._frames = scale, 0

    def add(self, array: NDArray[Any]) -> None:
        """Take a frame: (H, W) or (H, W, C)."""
        channels, levels = self._counts.shape
        flat = array.reshape(-1, channels)
        for n in range(channels):
            self._counts[n] += np.bincount(flat[:, n], minlength=levels)
        self._frames += 1

    def merge(self, other: "Pixels") -> None:
        """Take all that another has."""
        self._counts += other._counts
        self._frames += other._frames

    def stats(self) -> Stats:
        """Return the figures of each channel, over all pixels: (C, 1, 1)."""
        channels = [self._channel(counts) for counts in self._counts]
        found = {name: [[[one[name]]] for one in channels] for name in channels[0]}
        return {**found, "count": [self._frames]}

    def _channel(self, counts: NDArray[np.int64]) -> dict[str, float]:
        values = np.flatnonzero(counts)
        weights, told = counts[values], values * self._scale
        total = int(weights.sum())
        mean = float((told * weights).sum() / total)
        spread = float(np.sqrt(((told - mean) ** 2 * weights).sum() / total))
        ends = np.cumsum(weights)
        quantiles = {
            name: float(told[np.searchsorted(ends, share * total, "left")])
            for name, share in QUANTILES.items()
        }
        low, high = float(told[0]), float(told[-1])
        return {"min": low, "max": high, "mean": mean, "std": spread, **quantiles}
