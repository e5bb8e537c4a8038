"""What a replay run comes to: one row of JSON values, from what was measured after increments."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._replay.experiment.checkpoint import IncrementRow
from dsc._replay.experiment.metrics import (
    average_incremental_accuracy,
    backward_transfer,
    forgetting,
    last_accuracy,
    step_accuracy,
)

ResultRow = dict[str, Any]
"""What a run comes to, JSON values by name."""
AT_THE_END = ("exemplars", "buffer_bytes", "learner_bytes", "bytes", "bytes_with_decoder")


def accuracy_matrix(rows: Sequence[IncrementRow], increments: int) -> NDArray[np.float64]:
    """Return the accuracies (steps, steps) in percent; see `dsc._replay.experiment.metrics`.

    Parameters
    ----------
    rows
        What was measured, one row for each increment that is complete.
    increments
        Increments of the whole scenario.
    """
    accuracy = np.full((increments, increments), np.nan)
    for row in rows:
        accuracy[row["step"], : len(row["accuracies"])] = row["accuracies"]
    return accuracy


def accuracy_of_step(rows: Sequence[IncrementRow], tests: Sequence[int]) -> float:
    """Return the accuracy over all classes seen by the newest of `rows`; NaN where not measured."""
    return float(step_accuracy(accuracy_matrix(rows, len(tests)), tests)[len(rows) - 1])


def measures(rows: Sequence[IncrementRow], tests: Sequence[int]) -> dict[str, Any]:
    """Sum a finished run up.

    Parameters
    ----------
    rows
        As above, of all increments.
    tests
        Test images of each increment.

    Returns
    -------
    dict
        `average_incremental_accuracy`, `last_accuracy`, `forgetting` and `backward_transfer`, null
        where nothing was measured; what `AT_THE_END` names, at the end; and `steps`, the rows
        with the `accuracy` over all classes seen.
    """
    accuracy = accuracy_matrix(rows, len(tests))
    seen = step_accuracy(accuracy, tests)
    return {
        "average_incremental_accuracy": _json(average_incremental_accuracy(accuracy, tests)),
        "last_accuracy": last_accuracy(accuracy, tests),
        "forgetting": _json(forgetting(accuracy)),
        "backward_transfer": _json(backward_transfer(accuracy)),
        **{name: rows[-1][name] for name in AT_THE_END},
        "steps": [row | {"accuracy": _json(value)} for row, value in zip(rows, seen, strict=True)],
    }


def _json(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
