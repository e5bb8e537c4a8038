"""How the tables of a benchmark spell numbers, and Markdown tables themselves."""

import math
from collections.abc import Sequence

from dsc._bench.curves import BdRate, value_of
from dsc._schemas import TaskKind

NA = "n/a"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table without the columns that are empty; nothing when there is no row."""
    used = [at for at in range(len(head)) if any(row[at] for row in rows)]
    if not used:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line[at] for at in used)} |" for line in lines) + "\n"


def value_text(kind: TaskKind, value: float) -> str:
    """Spell a lead metric: ``34 dB``, ``0.5 %``, ``1°``."""
    if kind is TaskKind.IMAGE:
        return f"{value:.3g} dB"
    return f"{100 * value:.2g} %" if kind is TaskKind.DEPTH else f"{value:.2g}°"


def percent_text(found: BdRate | None) -> str:
    """Spell a BD-rate: ``−12 %``."""
    return NA if found is None else f"{found.percent:+.0f} %".replace("-", "−")


def bd_text(kind: TaskKind, found: BdRate | None) -> str:
    """Spell a BD-rate with the range it holds over."""
    if found is None:
        return NA
    low, high = (value_text(kind, value_of(kind, v)) for v in (found.low_db, found.high_db))
    return f"{percent_text(found)} ({low} to {high})"


def bpp_text(value: float | None) -> str:
    """Spell bits a pixel."""
    return NA if value is None else f"{value:.3f}"


def ratio_text(value: float | None, base: float | None) -> str:
    """Spell a ratio; nothing when either is missing."""
    return "" if value is None or not base else f"{value / base:.2f}"


def speed_text(value: float | None) -> str:
    """Spell MPix/s."""
    if value is None:
        return ""
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def millions_text(value: int | None, unit: str) -> str:
    """Spell a count in millions."""
    return "" if value is None else f"{value / 1e6:.2f} {unit}"


def plain_text(value: float) -> str:
    """Spell any metric."""
    return "identical" if math.isinf(value) else f"{value:.4g}"
