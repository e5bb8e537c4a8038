"""Gathers a run's figures into rows: rate by stream, distortion by task, speed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dsc._codecs.learned.network.trainable import Coded
from dsc._training.objective import Losses

NEVER = float("nan")


@dataclass(frozen=True)
class LogRow:
    """Means over the steps since the row before.

    Attributes
    ----------
    step
        Steps done.
    loss
        R + D.
    rate_bpp
        Bits a pixel by stream, over the steps that charged it; NaN where none did.
    psnr_db
        10 log10(255² / (255² MSE)) of the planes by task, over the steps that coded it.
    lr
        Learning rate of the last step.
    """

    step: int
    loss: float
    rate_bpp: dict[str, float]
    psnr_db: dict[str, float]
    lr: float

    def flat(self) -> dict[str, float]:
        """Return column names and values, as they are logged."""
        values = {"step": float(self.step), "loss": self.loss, "lr": self.lr}
        values |= {f"bpp_{name}": rate for name, rate in self.rate_bpp.items()}
        return values | {f"db_{name}": value for name, value in self.psnr_db.items()}


class Meter:
    """Sums since the last row.

    Parameters
    ----------
    streams, tasks
        All that the run may charge and code.
    """

    def __init__(self, streams: Sequence[str], tasks: Sequence[str]) -> None:
        self._streams, self._tasks = tuple(streams), tuple(tasks)
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, losses: Losses, coded: Coded) -> None:
        """Take in a step."""
        self._add("loss", float(losses.total.detach()))
        for name, rate in coded.rate.items():
            self._add(f"bpp_{name}", float(rate.detach().mean()))
        for name, error in coded.distortion.items():
            self._add(f"mse_{name}", float(error.detach().mean()))

    def _add(self, name: str, value: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value
        self._counts[name] = self._counts.get(name, 0) + 1

    def row(self, step: int, lr: float) -> LogRow:
        """Return the row, and begin the next."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return LogRow(
            step,
            means.get("loss", NEVER),
            {name: means.get(f"bpp_{name}", NEVER) for name in self._streams},
            {name: psnr(means.get(f"mse_{name}", NEVER)) for name in self._tasks},
            lr,
        )

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint must hold."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])


def psnr(error: float) -> float:
    """Turn 255² MSE of planes into decibels."""
    return 10 * math.log10(255.0**2 / max(error, 1e-9)) if math.isfinite(error) else NEVER
