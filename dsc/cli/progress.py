"""Shows how far long work is, on stderr: a bar on a terminal, plain lines now and then elsewhere.

Work reports (done, total) as often as it likes; what is shown is thinned out here.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from dsc.cli.text import bytes_text, seconds_text

Report = Callable[[int, int], None]
SECONDS_BETWEEN_LINES = 5.0
EARLY_SECONDS = 1.0
BYTES = "bytes"


@contextmanager
def progress(label: str, unit: str) -> Iterator[Report]:
    """Show progress while the block runs.

    Parameters
    ----------
    label
        What is being done, e.g. ``compress``.
    unit
        What is counted, e.g. ``samples``; ``bytes`` is shown as kB, MB and so on.

    Yields
    ------
    callable
        To be called with (done, total).
    """
    show = _bar if sys.stderr.isatty() else _lines
    with show(label, unit) as report:
        yield report


@contextmanager
def later(label: str, unit: str) -> Iterator[Report]:
    """Show progress from the first report on: work that comes before it does not count."""
    with ExitStack() as stack:
        shown: list[Report] = []

        def report(done: int, total: int) -> None:
            if not shown:
                shown.append(stack.enter_context(progress(label, unit)))
            shown[0](done, total)

        yield report


@contextmanager
def _bar(label: str, unit: str) -> Iterator[Report]:
    from rich import progress as bars
    from rich.console import Console

    count: tuple[bars.ProgressColumn, ...]
    if unit == BYTES:
        count = (bars.DownloadColumn(), bars.TransferSpeedColumn())
    else:
        count = (bars.MofNCompleteColumn(), bars.TextColumn("{task.fields[rate]}"))
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), *count)
    remaining = (bars.TextColumn("ETA"), bars.TimeRemainingColumn(compact=True))
    with bars.Progress(*columns, *remaining, console=Console(stderr=True)) as shown:
        task = shown.add_task(label, total=None, rate="")

        def report(done: int, total: int) -> None:
            speed = shown.tasks[0].finished_speed or shown.tasks[0].speed
            rate = f"{speed:.1f} {unit}/s" if speed else unit
            shown.update(task, completed=done, total=total, rate=rate)

        yield report


@contextmanager
def _lines(label: str, unit: str) -> Iterator[Report]:
    meter = Meter(label, unit, time.monotonic())

    def report(done: int, total: int) -> None:
        line = meter.line(done, total, time.monotonic())
        if line is not None:
            print(line, file=sys.stderr, flush=True)

    yield report


class Meter:
    """Decides when a line is due, and writes it; it knows no clock and no stream.

    Parameters
    ----------
    label, unit
        As in `progress`.
    now_s
        When the work began, in seconds of any clock.
    """

    def __init__(self, label: str, unit: str, now_s: float) -> None:
        self._label, self._unit = label, unit
        self._began_s = self._shown_s = now_s
        self._first: tuple[int, float] | None = None
        self._complete = False

    def line(self, done: int, total: int, now_s: float) -> str | None:
        """Give the line to show now: one each few seconds, and one at the end; else None."""
        if self._first is None:
            self._first = (done, now_s)
        complete = done >= total
        due = now_s - self._shown_s >= SECONDS_BETWEEN_LINES or complete
        if not due or self._complete:
            return None
        self._shown_s, self._complete = now_s, complete
        elapsed_s = now_s - self._began_s
        rate = self._rate_since(*self._first, done, now_s)
        share = f"{100 * done / total:.0f} %" if total else "100 %"
        if complete:
            tail = f"in {seconds_text(elapsed_s)}"
        else:
            tail = f"ETA {seconds_text((total - done) / rate)}" if rate > 0 else "ETA unknown"
        return f"{self._label}: {self._count(done, total)} ({share}), {self._rate(rate)}, {tail}"

    def _rate_since(self, first_done: int, first_s: float, done: int, now_s: float) -> float:
        # what an earlier run had left comes with an early report, and must not flatter the rate
        left_over = first_s - self._began_s < EARLY_SECONDS
        if left_over and done > first_done and now_s > first_s:
            return (done - first_done) / (now_s - first_s)
        return done / max(now_s - self._began_s, 1e-9)

    def _count(self, done: int, total: int) -> str:
        if self._unit == BYTES:
            return f"{bytes_text(done)} of {bytes_text(total)}"
        return f"{done} of {total} {self._unit}"

    def _rate(self, rate: float) -> str:
        return f"{bytes_text(rate)}/s" if self._unit == BYTES else f"{rate:.1f} {self._unit}/s"
