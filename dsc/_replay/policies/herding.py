"""Herding: exemplars whose mean feature stays closest to the mean of their class.

iCaRL's selection (Rebuffi et al., CVPR 2017, algorithm 4) with a budget in bytes: a class keeps a
prefix of its herding order, and shrinking it keeps a shorter prefix.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dsc._replay.policies.base import (
    ExemplarTable,
    Ints,
    PolicyChoice,
    State,
    by_class,
    class_state,
    class_state_bytes,
    class_values,
    fill_equally,
    joined,
)
from dsc.errors import UsageError


class Herding:
    """Equal bytes for every class, in herding order on the features given with the images.

    Exemplars are stored in the order of their classes and, within a class, in herding order, which
    is therefore kept without any features. When a class comes again, its new samples are herded
    among themselves and the two orders are merged, in proportion to the samples each stands for.
    """

    name: ClassVar[str] = "herding"
    in_parts: ClassVar[bool] = False
    mergeable: ClassVar[bool] = False

    def config(self) -> dict[str, Any]:
        """Return the JSON that makes the policy again."""
        return {"name": self.name}

    def admits(self, labels: Ints, random: NDArray[np.uint32], state: State) -> NDArray[np.bool_]:
        """Admit everything: what herding picks depends on all."""
        return np.ones(len(labels), bool)

    def quality(self, wanted: int, state: State) -> int:
        """Return the quality asked for."""
        return wanted

    def select(self, rows: ExemplarTable, budget: int, state: State) -> PolicyChoice:
        """Keep a prefix of the herding order of every class.

        Raises
        ------
        UsageError
            When there are new samples and no features, or features that are not finite.
        """
        room = budget - class_state_bytes(rows.labels, state)
        seen = class_values(state, "seen")
        old = by_class(rows.labels, np.flatnonzero(~rows.fresh))
        new = by_class(rows.labels, np.flatnonzero(rows.fresh))
        features = _checked(rows) if new else None
        first = len(rows.fresh) - int(rows.fresh.sum())
        for label, queue in new.items():
            if features is not None:  # always: `new` has rows
                order = herding_order(features[queue - first], rows.costs[queue], room)
                before = old.get(label, np.zeros(0, np.int64))
                old[label] = _interleave(before, seen.get(label, 0), queue[order], len(queue))
            seen[label] = seen.get(label, 0) + len(queue)
        queues = {label: old[label] for label in sorted(old)}
        counts = fill_equally(queues, rows.costs, room)
        kept = [queue[: counts[label]] for label, queue in queues.items()]
        return PolicyChoice(joined(kept), class_state("seen", seen))

    def merged(self, states: Sequence[State]) -> State:
        """Refuse: orders by features of different models cannot be compared.

        Raises
        ------
        UsageError
            Always.
        """
        raise UsageError("herding buffers cannot be merged; use reservoir or class-balanced")


def herding_order(features: NDArray[Any], costs: Ints, budget: int) -> Ints:
    """Order the samples of a class by herding; end where `budget` bytes are reached.

    Pick k is the sample that brings the mean of the first k picks closest to the class mean:
    ``argmin_x || mu - (f(x) + sum_{j<k} f(p_j)) / k ||``, features scaled to unit length.

    Parameters
    ----------
    features
        (N, D) float.
    costs
        (N,) bytes.

    Returns
    -------
    (M,) int64, M at most N; ties go to the first.
    """
    unit = np.asarray(features, np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    mean, total = unit.mean(axis=0), np.zeros(unit.shape[1])
    squared = (unit**2).sum(axis=1)
    picked: list[int] = []
    used, left = 0, np.ones(len(unit), bool)
    while len(picked) < len(unit) and used <= budget:
        wanted = (len(picked) + 1) * mean - total
        distance = squared - 2 * (unit @ wanted)  # less |wanted|^2, which is equal for all
        pick = int(np.where(left, distance, np.inf).argmin())
        picked.append(pick)
        left[pick] = False
        total += unit[pick]
        used += int(costs[pick])
    return np.array(picked, np.int64)


def _checked(rows: ExemplarTable) -> NDArray[Any]:
    if rows.features is None:
        raise UsageError(
            "policy herding selects by features; give add(..., features=) an array (N, D), one "
            "row an image, for example the output of the network's last pooling layer"
        )
    features = np.asarray(rows.features)
    if not np.isfinite(features).all():
        bad = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise UsageError(f"features of image {bad} are not finite; herding cannot order them")
    return features


def _interleave(old: Ints, n_old: int, new: Ints, n_new: int) -> Ints:
    """Merge two orders, each in proportion to the samples it was chosen from."""
    rank_old = (np.arange(len(old)) + 1) / max(n_old, 1)
    rank_new = (np.arange(len(new)) + 1) / max(n_new, 1)
    return np.concatenate([old, new])[
        np.argsort(np.concatenate([rank_old, rank_new]), kind="stable")
    ]
