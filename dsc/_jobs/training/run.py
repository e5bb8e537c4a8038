"""Drives one training run: lets the loop run slice by slice, and writes what comes of it."""

import hashlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsc._jobs.training.on_ray import AnySession
from dsc._storage.files.atomic import atomic_write
from dsc._training.checkpoint import CHECKPOINT, load, newest, save
from dsc._training.config import TrainConfig
from dsc._training.evaluate import Figures
from dsc._training.export import BitCheck, can_export
from dsc._training.log import Log, LogRow
from dsc._training.session import About
from dsc.errors import DivergedError

CARD = "card.json"
SLICE_S = 1.0  # how long the loop runs between two reports
VARIABLE_QUALITIES = (20, 50, 80)
LOWER = 3  # what a learning rate is divided by after a divergence


@dataclass(frozen=True)
class TrainProgress:
    """What is told after every slice of the loop.

    Attributes
    ----------
    done, steps
        Steps done, and steps of the run.
    samples_per_s
        Crops coded a second, lately.
    eta_s
        Seconds left at that speed; None while it is not known.
    row
        The newest row of the log.
    """

    done: int
    steps: int
    samples_per_s: float
    eta_s: float | None
    row: LogRow | None


@dataclass(frozen=True)
class TrainReport:
    """What a run ended in.

    Attributes
    ----------
    out, checkpoint
        The run's directory, and its newest checkpoint.
    codec
        The codec file; None for kinds that write no archives.
    about
        What the run is made of.
    seconds
        Time spent in the loop, by all runs that went on from one another.
    row
        The last row of the log, None when nothing was left to do.
    figures
        The last evaluation on held-out samples.
    check
        Real against estimated bits of the codec file.
    skipped
        Samples that could not be trained on, with the reason.
    """

    out: str
    checkpoint: str
    codec: str | None
    about: About
    seconds: float
    row: LogRow | None
    figures: list[Figures]
    check: BitCheck | None
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pace:
    """When things happen beside the steps; changes no loss.

    Attributes
    ----------
    checkpoint_s
        Seconds between checkpoints.
    evaluate_every
        Steps between evaluations; 0 for one at the end only.
    """

    checkpoint_s: float = 300.0
    evaluate_every: int = 0


class Run:
    """One call's work on a run: drives the session and writes what comes of it."""

    def __init__(
        self,
        session: AnySession,
        config: TrainConfig,
        out: Path,
        pace: Pace,
        tell: Callable[[TrainProgress], None] | None,
    ) -> None:
        self._session, self._config, self._out, self._pace = session, config, out, pace
        self._tell = tell or (lambda _: None)
        self._about = session.about()
        self._done, self._steps = self._about.done, self._about.steps
        self._row: LogRow | None = None
        self._figures: list[Figures] = []
        self._stopped, self._good = False, True
        self._saved_s = time.monotonic()

    def train(self, fresh: bool) -> None:
        """Train to the last step.

        Parameters
        ----------
        fresh
            Whether the run begins: then a checkpoint is written first, which fixes the number of
            steps and is there to be named by a divergence.
        """
        if fresh:
            save(self._out, self._session.checkpoint())
        if self._done >= self._steps:
            return
        speed = _Speed()
        with (
            Log(self._out, self._about.streams, self._about.tasks, self._done) as log,
            _interrupts(self._stop),
        ):
            while self._done < self._steps and not self._stopped:
                before = self._done
                self._slice(log, speed)
                self._save_if_due()
                over = self._done >= self._steps  # then it is measured below
                if _crossed(self._pace.evaluate_every, before, self._done) and not over:
                    log.figures(self._done, self._session.evaluate(self._qualities()))
            if self._done > self._about.done:
                save(self._out, self._session.checkpoint())
            if self._stopped:
                raise KeyboardInterrupt(
                    f"stopped after step {self._done} of {self._steps}, saved in "
                    f"{self._out / CHECKPOINT}; the same command goes on from there"
                )
            self._figures = self._session.evaluate(self._qualities())
            log.figures(self._done, self._figures)

    def _slice(self, log: Log, speed: "_Speed") -> None:
        try:
            made = self._session.advance(SLICE_S, lambda: self._stopped)
        except DivergedError as error:
            raise self._explain(error) from None
        self._done = made.done
        self._good = made.good
        speed.add(made.samples, made.seconds, made.done)
        for row in made.rows:
            self._row = row
            log.row(row, speed.samples_per_s, round(speed.seconds, 1))
        eta = speed.eta_s(self._steps - self._done)
        self._tell(TrainProgress(self._done, self._steps, speed.samples_per_s, eta, self._row))

    def _save_if_due(self) -> None:
        if self._good and time.monotonic() - self._saved_s >= self._pace.checkpoint_s:
            save(self._out, self._session.checkpoint())
            self._saved_s = time.monotonic()

    def _stop(self) -> None:
        self._stopped = True

    def _qualities(self) -> Sequence[int]:
        fixed = self._config.quality
        return VARIABLE_QUALITIES if fixed is None else (fixed,)

    def _explain(self, error: DivergedError) -> DivergedError:
        path = newest(self._out)
        step = load(path)["done"] if path is not None else 0
        config = self._config
        precision = ", or without --bfloat16" if config.bfloat16 else ""
        return DivergedError(
            f"{self._out}: {error}. The last good checkpoint is {path} (step {step}). The same "
            f"command would repeat this; try a lower learning rate from there: --start {path} "
            f"--lr {config.lr / LOWER:.2g} --out ANOTHER{precision}, or begin anew with a lower "
            "--lr or a larger --batch"
        )

    def conclude(self) -> TrainReport:
        """Write card and codec file, and say what the run ended in."""
        figures = self._figures or self._session.evaluate(self._qualities())
        card = self._session.card(figures)
        codec, check = self._export(card)
        atomic_write(self._out / CARD, json.dumps(_finite(card), indent=1).encode())
        return TrainReport(
            str(self._out),
            str(newest(self._out)),
            codec,
            self._about,
            card["seconds"],
            self._row,
            figures,
            check,
            self._session.skipped(),
        )

    def _export(self, card: dict[str, Any]) -> tuple[str | None, BitCheck | None]:
        if not can_export(self._config.kind):
            return None, None
        made = self._session.export(card)
        path = self._out / f"{self._config.kind}.safetensors"
        atomic_write(path, made.weights)
        card["codec"] = {
            "file": path.name,
            "bytes": len(made.weights),
            "sha256": hashlib.sha256(made.weights).hexdigest(),
            "estimated_bytes": round(made.check.estimated_bytes),
            "real_bytes": round(made.check.real_bytes),
            "within_1_percent": made.check.ok,
        }
        return str(path), made.check


class _Speed:
    """Samples a second over the last slices, and what that says of the time left."""

    KEPT = 0.9

    def __init__(self) -> None:
        self.seconds = self.samples_per_s = 0.0
        self._samples = self._spent = 0.0
        self._steps_per_s = 0.0
        self._done: int | None = None
        self._steps = 0.0

    def add(self, samples: int, seconds: float, done: int) -> None:
        """Take in a slice."""
        steps = done - self._done if self._done is not None else 0
        self.seconds += seconds
        self._samples = self.KEPT * self._samples + samples
        self._steps = self.KEPT * self._steps + steps
        self._spent = self.KEPT * self._spent + seconds
        self.samples_per_s = self._samples / max(self._spent, 1e-9)
        self._steps_per_s = self._steps / max(self._spent, 1e-9)
        self._done = done

    def eta_s(self, left: int) -> float | None:
        """Return the seconds that so many steps will take."""
        return left / self._steps_per_s if self._steps_per_s > 0 else None


@contextmanager
def _interrupts(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C end the step that runs, so that its state can be saved."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the second one ends at once
        stop()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _crossed(every: int, before: int, after: int) -> bool:
    return every > 0 and before // every < after // every


def _finite(value: Any) -> Any:
    """Replace numbers that JSON does not know by null."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
