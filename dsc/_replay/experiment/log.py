"""TensorBoard logs of replay runs, where TensorBoard is installed.

A run's directory below ``tensorboard/`` has, over the increments, ``accuracy``, ``exemplars``,
``bytes`` and ``bytes_with_decoder``; its directory ``training`` has ``loss`` over all epochs. A
run that goes on says from where, and TensorBoard drops what came later: every point is shown once.
"""

import math
import time
from pathlib import Path
from typing import Any, Self

from dsc._replay.experiment.checkpoint import IncrementRow
from dsc._replay.experiment.plan import RunConfig

BOARD, TRAINING = "tensorboard", "training"
LONGEST_WAIT_S = 2.0  # of another machine whose clock is ahead
SCALARS = ("exemplars", "bytes", "bytes_with_decoder")


class Observer:
    """What a run tells as it goes; this one ignores it."""

    def begin(self, increments: int, epochs: int) -> None:
        """Hear how far the run is when it is begun, or gone on with.

        Parameters
        ----------
        increments
            Increments that are complete.
        epochs
            Epochs that are complete, of all increments together.
        """

    def epoch(self, epochs: int, loss: float) -> None:
        """Hear the mean loss of an epoch, the `epochs`-th of the run."""

    def increment(self, row: IncrementRow, accuracy: float) -> None:
        """Hear what was measured after an increment.

        Parameters
        ----------
        row
            The increment's row of the result.
        accuracy
            Over all classes seen, in percent; NaN where it was not measured.
        """

    def flush(self) -> None:
        """Hear that a checkpoint will be written, from which nothing is told again."""


class Board(Observer):
    """Writes what a run tells to TensorBoard; nothing where that is not installed.

    Parameters
    ----------
    place
        The run's directory; `board_place` names it.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._increments: Any = None
        self._epochs: Any = None

    def begin(self, increments: int, epochs: int) -> None:
        """Open the logs; points beyond are dropped."""
        self._increments = _writer(self._place, increments)
        self._epochs = _writer(self._place / TRAINING, epochs)

    def epoch(self, epochs: int, loss: float) -> None:
        """Write the loss."""
        _scalar(self._epochs, "loss", loss, epochs)

    def increment(self, row: IncrementRow, accuracy: float) -> None:
        """Write accuracy, exemplars and bytes."""
        for name, value in {"accuracy": accuracy, **{n: row[n] for n in SCALARS}}.items():
            _scalar(self._increments, name, value, row["step"] + 1)

    def flush(self) -> None:
        """Write out what has been told."""
        for writer in self._writers():
            writer.flush()

    def close(self) -> None:
        """Write out what is left."""
        for writer in self._writers():
            writer.close()

    def _writers(self) -> list[Any]:
        return [one for one in (self._increments, self._epochs) if one is not None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def board_place(out: Path, config: RunConfig) -> Path:
    """Name the directory of a run's logs: ``er-ace_webp-50_500000_seed0_1a2b3c4d``."""
    words = (config.learner, config.arm, str(config.budget), f"seed{config.seed}", config.id[:8])
    return out / BOARD / "_".join(words).replace("/", "-")


def _writer(place: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # the extra `train` brings it; the tables have all of it
        return None
    _wait_for_later_name(place)
    return SummaryWriter(str(place), purge_step=done + 1)


def _wait_for_later_name(place: Path) -> None:
    """Let a second pass after the last log was begun: logs are read in the order of their names.

    These begin with the second, and then the process.
    """
    seconds = [int(path.name.split(".")[3]) for path in place.glob("events.out.tfevents.*")]
    deadline = time.monotonic() + LONGEST_WAIT_S
    while seconds and int(time.time()) <= max(seconds) and time.monotonic() < deadline:
        time.sleep(0.05)


def _scalar(writer: Any, name: str, value: float, at: int) -> None:
    if writer is not None and math.isfinite(value):
        writer.add_scalar(name, value, at)
