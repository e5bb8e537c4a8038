"""What a sweep says: means over seeds, and paired differences between ways to keep exemplars.

A *row* is one learner at one budget with one codec. Its values are averaged over the seeds; its
difference to a baseline is taken seed by seed, since both saw the same classes in the same order,
and comes with a 95 % confidence interval of Student's t.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsc._replay.experiment.metrics import paired_interval
from dsc._replay.experiment.plan import NO_EXEMPLARS, RunConfig
from dsc._replay.experiment.result import ResultRow
from dsc.errors import UsageError

MEASURES = ("last_accuracy", "average_incremental_accuracy", "forgetting", "backward_transfer")


@dataclass(frozen=True)
class Summary:
    """One row; accuracies in percent, differences in percentage points.

    Attributes
    ----------
    arm
        How exemplars are kept: ``webp-50``.
    means
        By measure, over the seeds; None where not measured.
    exemplars, bytes
        Means at the end of the run.
    difference, half
        Of the last accuracy to the baseline's, and half the confidence interval; None for the
        baseline itself, NaN for `half` with a single seed.
    """

    learner: str
    budget: int
    arm: str
    seeds: int
    means: dict[str, float | None]
    exemplars: float
    bytes: float
    difference: float | None = None
    half: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON."""
        return dict(self.__dict__)


def summarise(results: Iterable[ResultRow], baseline: str | None = None) -> list[Summary]:
    """Sum results up.

    Parameters
    ----------
    results
        Of `dsc._replay.experiment.run.run`.
    baseline
        The arm to compare with; None for the first one found that keeps exemplars.

    Raises
    ------
    UsageError
        When there is no such arm.
    """
    groups: dict[tuple[str, int, str], dict[int, ResultRow]] = {}
    for row in results:
        config = RunConfig.model_validate(row["config"])
        key = (config.learner, config.budget, config.arm)
        groups.setdefault(key, {})[config.seed] = row
    arms = list(dict.fromkeys(arm for _, _, arm in groups))
    if baseline is not None and baseline not in arms:
        raise UsageError(f"no arm {baseline!r} among {', '.join(arms)}")
    against = baseline or first_arm(arms)
    return [
        _summary(key, rows, groups.get((key[0], key[1], against), {}), key[2] == against)
        for key, rows in groups.items()
    ]


def first_arm(arms: Iterable[str]) -> str:
    """Return the first arm that keeps exemplars; where there is none, `NO_EXEMPLARS`."""
    return next((arm for arm in arms if arm != NO_EXEMPLARS), NO_EXEMPLARS)


def _summary(
    key: tuple[str, int, str],
    rows: dict[int, ResultRow],
    others: dict[int, ResultRow],
    is_baseline: bool,
) -> Summary:
    both = sorted(rows.keys() & others.keys())
    difference: tuple[float | None, float | None] = (None, None)
    if both and not is_baseline:
        difference = paired_interval(
            [rows[seed]["last_accuracy"] for seed in both],
            [others[seed]["last_accuracy"] for seed in both],
        )
    every = list(rows.values())
    return Summary(
        *key,
        seeds=len(rows),
        means={name: _mean(row[name] for row in every) for name in MEASURES},
        exemplars=float(np.mean([row["exemplars"] for row in every])),
        bytes=float(np.mean([row["bytes"] for row in every])),
        difference=difference[0],
        half=difference[1],
    )


def _mean(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if len(known) == len(found) else None


def table(summaries: Sequence[Summary], baseline: str) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of a table for people."""
    columns = ["learner", "budget", "exemplars kept as", "seeds", "exemplars", "bytes", "last %",
               "average %", "forgetting", f"last, less {baseline}"]  # fmt: skip
    rows = [
        [
            one.learner, f"{one.budget:,}", one.arm, str(one.seeds), f"{one.exemplars:,.0f}",
            f"{one.bytes:,.0f}", _number(one.means["last_accuracy"]),
            _number(one.means["average_incremental_accuracy"]), _number(one.means["forgetting"]),
            difference_text(one.difference, one.half),
        ]
        for one in summaries
    ]  # fmt: skip
    return columns, rows


def difference_text(difference: float | None, half: float | None) -> str:
    """Spell a difference with its interval: ``+5.2 ± 1.1``."""
    if difference is None:
        return ""
    interval = "" if half is None or np.isnan(half) else f" ± {half:.1f}"
    return f"{difference:+.1f}{interval}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
