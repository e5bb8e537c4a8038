"""Lowers the quality of what a full buffer holds before anything is dropped.

As long as something is above the floor quality, it is encoded again, one step lower: the best
quality first, and among equals the largest random key. Then the policy below decides what stays.
New samples are encoded at the best quality still in use, from their original pixels. What was
stored is decoded and encoded again, and so loses more than one encoding at that quality would.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dsc._replay.policies.base import (
    ClassBalanced,
    ExemplarTable,
    Ints,
    Policy,
    PolicyChoice,
    Reservoir,
    State,
)
from dsc.errors import UsageError

STEP = 0.7  # of the quality; webp and JPEG then save 10 to 25 % of a small image's bytes
EXPECTED_SAVING = 0.15

BASES: dict[str, type[Reservoir] | type[ClassBalanced]] = {
    "reservoir": Reservoir,
    "class-balanced": ClassBalanced,
}


class RateAdaptive:
    """More exemplars, at a lower rate; not from a paper.

    What is lowered is chosen among the best quality, and among equals by the largest random key.
    It is encoded again at 0.7 of its quality.

    Parameters
    ----------
    floor
        The lowest quality, 1 to 100: below it nothing is encoded, and exemplars are dropped.
    base
        The policy that drops: ``reservoir`` or ``class-balanced``.

    Raises
    ------
    UsageError
        When the floor is no quality or the base is not one of the two.
    """

    name: ClassVar[str] = "rate-adaptive"
    in_parts: ClassVar[bool] = True
    mergeable: ClassVar[bool] = True

    def __init__(self, floor: int = 10, base: str = "class-balanced") -> None:
        if not 1 <= floor <= 100:
            raise UsageError(f"rate-adaptive: floor={floor}; give a quality from 1 to 100")
        if base not in BASES:
            raise UsageError(f"rate-adaptive: base={base!r}; known: {', '.join(BASES)}")
        self._floor, self._base_name = floor, base
        self._base: Policy = BASES[base]()

    def config(self) -> dict[str, Any]:
        """Return the JSON that makes the policy again."""
        return {"name": self.name, "floor": self._floor, "base": self._base_name}

    def admits(self, labels: Ints, random: NDArray[np.uint32], state: State) -> NDArray[np.bool_]:
        """Admit what the base admits."""
        return self._base.admits(labels, random, state)

    def quality(self, wanted: int, state: State) -> int:
        """Return the best quality still in use, at most the one asked for."""
        return min(wanted, int(state["quality"][0])) if "quality" in state else wanted

    def select(self, rows: ExemplarTable, budget: int, state: State) -> PolicyChoice:
        """Ask for lower qualities until everything fits or all is at the floor; then drop."""
        room = budget - 1  # a byte for the quality in use
        base = {name: array for name, array in state.items() if name != "quality"}
        chosen = self._base.select(rows, room, base)
        if len(chosen.keep) < len(rows.labels):
            excess = int(rows.costs.sum()) - room
            lower = self._lower(rows, excess)
            if lower:
                return PolicyChoice(np.arange(len(rows.labels)), state, lower)
        best = int(rows.qualities[chosen.keep].max()) if len(chosen.keep) else 0
        known = state.get("quality")
        if len(chosen.keep) == len(rows.labels) and known is None and not _mixed(rows):
            return chosen
        kept = dict(chosen.state) | {"quality": np.array([best], np.uint8)}
        return PolicyChoice(chosen.keep, kept)

    def _lower(self, rows: ExemplarTable, excess: int) -> dict[int, int]:
        """Choose rows whose next quality should save `excess` bytes."""
        above = np.flatnonzero(rows.qualities > self._floor)
        first = np.lexsort((-rows.random[above].astype(np.int64), -rows.qualities[above]))
        order = above[first]
        saved = np.cumsum(rows.costs[order]) * EXPECTED_SAVING
        count = int(np.searchsorted(saved, max(excess, 1))) + 1
        steps = rows.qualities[order[:count]]
        lowered = np.maximum(self._floor, (steps * STEP).astype(np.int64))
        return dict(zip(order[:count].tolist(), lowered.tolist(), strict=True))

    def merged(self, states: Sequence[State]) -> State:
        """Merge the base's states and take the lowest quality in use."""
        plain = [{k: v for k, v in state.items() if k != "quality"} for state in states]
        merged = dict(self._base.merged(plain))
        qualities = [state["quality"] for state in states if "quality" in state]
        return merged | ({"quality": np.min(qualities, axis=0)} if qualities else {})


def _mixed(rows: ExemplarTable) -> bool:
    return len(set(rows.qualities.tolist())) > 1
