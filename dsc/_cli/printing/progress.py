"""Shows how far long work is, on stderr: a bar on a terminal, plain lines now and then elsewhere.

Work reports (done, total) as often as it likes; what is shown is thinned out here.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dsc._cli.printing.output import note
from dsc._cli.printing.text import bytes_text, seconds_text

if TYPE_CHECKING:
    from rich.progress import Progress

SECONDS_BETWEEN_LINES = 5.0
EARLY_SECONDS = 1.0
BYTES = "bytes"


class ProgressReport(Protocol):
    """Is told how far work is.

    ``kept`` is how much of what is done an earlier run had left, so that no rate counts it; None
    where that is not known: then what is reported right at the start is taken for it.
    """

    def __call__(self, done: int, total: int, kept: int | None = None) -> None:
        """Take note of one report."""


@contextmanager
def progress(label: str, unit: str) -> Iterator[ProgressReport]:
    """Show progress while the block runs.

    Parameters
    ----------
    label
        What is being done, e.g. ``compress``.
    unit
        What is counted, e.g. ``samples``; ``bytes`` is shown as kB, MB and so on.
    """
    meter = ProgressMeter(label, unit, time.monotonic())
    if not sys.stderr.isatty():
        yield _lines(meter)
        return
    with _bars() as bars:
        yield _row(meter, bars)


@dataclass(frozen=True)
class Whole:
    """What is shown of a whole command: its own report, and the bars that others join, if any."""

    report: ProgressReport
    bars: "Progress | None"


@contextmanager
def whole(label: str, unit: str, first: str) -> Iterator[Whole]:
    """Show a whole command from its first moment to its last; the time told is all of it.

    Parameters
    ----------
    label, unit
        As in `progress`.
    first
        What is done before the first report, e.g. ``looking at the data``.
    """
    meter = ProgressMeter(label, unit, time.monotonic())
    last: list[tuple[int, int, int | None]] = []
    with _bars() if sys.stderr.isatty() else nullcontext() as bars:
        show = _lines(meter, first) if bars is None else _row(meter, bars, first)

        def report(done: int, total: int, kept: int | None = None) -> None:
            last[:] = [(done, total, kept)]
            if bars is not None or done < total:
                show(done, total, kept)
            else:  # a log gets its last line when all is over
                meter.note(done, kept, time.monotonic())

        yield Whole(report, bars)
        if last and last[0][0] >= last[0][1]:
            show(*last[0])
        elif bars is not None:  # there was nothing to do
            bars.remove_task(bars.task_ids[0])


def trying(beside: Whole) -> Callable[[int, int, float], None]:
    """Return what shows how many codecs were tried, and the time that is left for it at most."""
    shown: list[tuple[ProgressMeter, ProgressReport]] = []

    def report(done: int, total: int, left_s: float) -> None:
        if not shown:
            meter = ProgressMeter("try codecs", "candidates", time.monotonic())
            show = _lines(meter) if beside.bars is None else _row(meter, beside.bars)
            shown.append((meter, show))
            if beside.bars is None:
                note(f"{meter.label}: {_left(left_s) or 'no limit of time'}")
        meter, show = shown[0]
        meter.left_s = left_s
        if beside.bars is not None or done < total:  # a log's table says when all is over
            show(done, total)

    return report


def by_info(report: ProgressReport) -> Callable[[int, int, Mapping[str, Any]], None]:
    """Return what `dsc._jobs.archive.tally.Tally` calls, for a report."""
    return lambda done, total, info: report(done, total, info["samples_resumed"])


def _bars() -> "Progress":
    from rich import progress as bars
    from rich.console import Console

    tail = bars.TextColumn("{task.fields[tail]}")
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), tail)
    # a bar redraws itself below what is printed, but a pipe's share must not land on the terminal
    redirect = sys.stdout.isatty()
    return bars.Progress(*columns, console=Console(stderr=True), redirect_stdout=redirect)


def _row(meter: "ProgressMeter", bars: "Progress", first: str = "") -> ProgressReport:
    """Add a bar, and return what moves it."""
    task = bars.add_task(meter.label, total=None, tail=first)

    def report(done: int, total: int, kept: int | None = None) -> None:
        now_s = time.monotonic()
        meter.note(done, kept, now_s)
        bars.update(task, completed=done, total=total, tail=meter.tail(done, total, now_s))

    return report


def _lines(meter: "ProgressMeter", first: str = "") -> ProgressReport:
    """Return what prints a line now and then, and one at the first report if there is a `first`."""
    begun: list[str] = []

    def report(done: int, total: int, kept: int | None = None) -> None:
        if first and not begun:
            begun.append(first)
            note(f"{meter.label}: {first}")
        line = meter.line(done, total, time.monotonic(), kept)
        if line is not None:
            note(line)

    return report


class ProgressMeter:
    """Measures how fast work goes, decides when a line is due, and writes it.

    It knows no clock and no stream. A rate counts what this run has done, from the moment at which
    it began to do it: what an earlier run had left, and the time to find that, do not count.

    Parameters
    ----------
    label, unit
        As in `progress`.
    now_s
        When the work began, in seconds of any clock.

    Attributes
    ----------
    left_s
        How long work that ends after a time may still take; infinite for other work.
    """

    def __init__(self, label: str, unit: str, now_s: float) -> None:
        self.label, self._unit = label, unit
        self.left_s = math.inf
        self._began_s = self._shown_s = self._base_s = now_s
        self._base = 0  # what was done at `_base_s`, where rates count from
        self._kept = 0
        self._told: int | None = None  # of how much the end was told

    def note(self, done: int, kept: int | None, now_s: float) -> None:
        """Take note of a report.

        Parameters
        ----------
        kept
            As `ProgressReport` says.
        """
        if kept is not None:
            self._kept = kept
        early = kept is None and now_s - self._began_s < EARLY_SECONDS
        if done <= self._kept or early:
            self._base, self._base_s = done - self._kept, now_s

    def line(self, done: int, total: int, now_s: float, kept: int | None = None) -> str | None:
        """Return the line to show now: one each few seconds, and one at the end; else None."""
        self.note(done, kept, now_s)
        complete = done >= total
        due = now_s - self._shown_s >= SECONDS_BETWEEN_LINES or complete
        if not due or self._told == total:
            return None
        self._shown_s, self._told = now_s, total if complete else None
        share = f"{100 * done / total:.0f} %" if total else "100 %"
        count, *rest = self.tail(done, total, now_s).split(", ", 1)
        return ", ".join([f"{self.label}: {count} ({share})", *rest])

    def tail(self, done: int, total: int, now_s: float) -> str:
        """Say how much is done, how fast it goes, and how long it will take, or took."""
        rate = self._rate(done, now_s)
        speed = [] if rate is None else [f"{self._amount(rate)}/s"]
        if done >= total:
            end = f"in {seconds_text(now_s - self._began_s)}"
        else:
            end = f"ETA {seconds_text((total - done) / rate)}" if rate else "ETA unknown"
        if done < total and math.isfinite(self.left_s):
            end = _left(self.left_s)
        return ", ".join([self._count(done, total), *speed, end])

    def _rate(self, done: int, now_s: float) -> float | None:
        """Return what is done a second; None where nothing can be said."""
        made, base, base_s = done - self._kept, self._base, self._base_s
        if now_s - base_s < EARLY_SECONDS:  # too short to measure: the whole of it says more
            base, base_s = 0, self._began_s
        if now_s <= base_s or not made:
            return None
        return (made - base) / (now_s - base_s)

    def _count(self, done: int, total: int) -> str:
        if self._unit == BYTES:
            return f"{bytes_text(done)} of {bytes_text(total)}"
        return f"{done} of {total} {self._unit}"

    def _amount(self, rate: float) -> str:
        return bytes_text(rate) if self._unit == BYTES else f"{rate:.1f} {self._unit}"


def _left(left_s: float) -> str:
    return f"at most {seconds_text(left_s)} left" if math.isfinite(left_s) else ""
