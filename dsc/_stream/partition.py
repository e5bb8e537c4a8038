"""Cuts what is left of an epoch into steps, and each step into ranks' batches. Pure arithmetic.

A step takes ``world × batch_size`` positions from the front of what is left, and rank r the r-th
part of them. The last step may be short: it is dropped, shared out as evenly as can be, or filled
up so that all ranks get the same number.
"""

from dataclasses import dataclass

import numpy as np

from dsc._stream.order import Ints


@dataclass(frozen=True)
class Partition:
    """The steps of an epoch from a position on.

    Attributes
    ----------
    samples
        Positions of the whole epoch.
    start
        The first position that has not been seen.
    batch_size, world
        Samples a batch; ranks.
    drop_last
        Whether an incomplete last step is left out.
    pad
        Whether ranks get equal counts in an incomplete last step, by giving up to ``world - 1`` of
        its samples twice. Otherwise they differ by one at most.
    """

    samples: int
    start: int
    batch_size: int
    world: int
    drop_last: bool
    pad: bool

    @property
    def steps(self) -> int:
        """Number of steps."""
        left = self.samples - self.start
        full, rest = divmod(left, self.batch_size * self.world)
        return full + (rest > 0 and not self.drop_last)

    def batches(self, rank: int) -> int:
        """Return the number of batches of a rank: steps in which it has a sample."""
        steps = self.steps
        return steps - (steps > 0 and self.count(steps - 1, rank) == 0)

    def count(self, step: int, rank: int) -> int:
        """Return the size of a batch."""
        rest = self._rest(step)
        if rest is None:
            return self.batch_size
        if self.pad:
            return -(-rest // self.world)
        return rest * (rank + 1) // self.world - rest * rank // self.world

    def spans(self, step: int, rank: int) -> list[tuple[int, int]]:
        """Return the positions of a batch, as ranges [start, stop) in order."""
        begin = self.start + step * self.batch_size * self.world
        rest = self._rest(step)
        count = self.count(step, rank)
        if rest is None:
            first = begin + rank * count
            return [(first, first + count)]
        if not self.pad:
            first = begin + rest * rank // self.world
            return [(first, first + count)] if count else []
        at = begin + (rank * count + np.arange(count)) % rest
        return _runs(at)

    def position(self, steps: int) -> int:
        """Return how many positions have been seen after some steps."""
        return min(self.start + steps * self.batch_size * self.world, self.samples)

    def _rest(self, step: int) -> int | None:
        """Return the size of an incomplete step; None for a whole one."""
        left = self.samples - self.start - step * self.batch_size * self.world
        if left <= 0:
            raise IndexError(f"step {step} of {self.steps}")
        return left if left < self.batch_size * self.world else None


def _runs(at: Ints) -> list[tuple[int, int]]:
    """Cut increasing runs of positions into ranges."""
    cuts = np.flatnonzero(np.diff(at) != 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(at, cuts)]
