"""What a run says of itself: figures gathered into rows, and the logs that hold these rows.

Rates by stream, distortions by task, speed. Logs are ``log.csv`` always, TensorBoard where it is
installed. Rows of steps that a resumed run repeats are dropped first, so that a log reads as if the
run had never been interrupted.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dsc._codecs.learned.network.trainable import Coded
from dsc._training.evaluate import Figures, psnr
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


LOG, FIGURES, BOARD = "log.csv", "figures.csv", "tensorboard"
TIMING = ("samples_per_s", "seconds")


class Log:
    """The logs of one run, open.

    Parameters
    ----------
    out
        The run's directory.
    streams, tasks
        What rows have columns for.
    done
        Steps that the run has done; rows beyond are dropped.
    """

    def __init__(self, out: Path, streams: Sequence[str], tasks: Sequence[str], done: int) -> None:
        self._columns = ["step", "loss", "lr"]
        self._columns += [f"bpp_{name}" for name in streams] + [f"db_{name}" for name in tasks]
        self._columns += TIMING
        self._path = out / LOG
        kept = [row for row in _rows(self._path, done) if len(row) == len(self._columns)]
        self._file = self._path.open("w", newline="", buffering=1)
        self._csv = csv.writer(self._file)
        self._csv.writerow(self._columns)
        self._csv.writerows(kept)
        self._figures, self._measured = out / FIGURES, _measured(out / FIGURES, done)
        self._board = _board(out / BOARD, done)

    def row(self, row: LogRow, samples_per_s: float, seconds: float) -> None:
        """Write one row."""
        values = row.flat() | {"samples_per_s": round(samples_per_s, 2), "seconds": seconds}
        self._csv.writerow([_text(values.get(name)) for name in self._columns])
        self._scalars("train", values, row.step)

    def figures(self, step: int, figures: Sequence[Figures]) -> None:
        """Write an evaluation: a row for each data set and quality."""
        self._measured += [
            {name: _text(value) for name, value in {"step": step, **one.flat()}.items()}
            for one in figures
        ]
        columns = list(dict.fromkeys(name for row in self._measured for name in row))
        with self._figures.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self._measured)
        for one in figures:
            self._scalars(f"held out/{one.data} q{one.quality}", one.flat(), step)

    def _scalars(self, group: str, values: Mapping[str, Any], step: int) -> None:
        if self._board is None:
            return
        for name, value in values.items():
            if isinstance(value, float) and math.isfinite(value):
                self._board.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Write out what is left."""
        self._file.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _rows(path: Path, done: int) -> list[list[str]]:
    """Return the rows of a log that are of steps up to `done`, without its header."""
    if not done or not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [row for row in rows if row and row[0].isdigit() and int(row[0]) <= done]


def _measured(path: Path, done: int) -> list[dict[str, str]]:
    """Return the evaluations up to step `done`, by column."""
    if not done or not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if int(row["step"]) <= done]


def _board(place: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # the extra `train` brings it; the CSV has all of it
        return None
    return SummaryWriter(str(place), purge_step=done + 1 if done else None)


def _text(value: Any) -> str:
    """Spell a value so that equal numbers read equal; nothing for what was not measured."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)
