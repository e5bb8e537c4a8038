"""What a selection costs: seconds, and images encoded and sent through a network."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Attributes are sums.

    Attributes
    ----------
    wall_s, cpu_s
        Seconds on the clock, and of all threads of this process.
    encoded
        Images that were encoded, at least: what could not stay is mostly not encoded.
    forward
        Images that went through a network to be looked at.
    trained
        Images that went through a network in training, forward and backward.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    encoded: int = 0
    forward: int = 0
    trained: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.wall_s + other.wall_s,
            self.cpu_s + other.cpu_s,
            self.encoded + other.encoded,
            self.forward + other.forward,
            self.trained + other.trained,
        )


class Meter:
    """Adds up what each stage costs."""

    def __init__(self) -> None:
        self.stages: dict[str, Cost] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block for a stage."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._add(name, Cost(time.perf_counter() - wall, time.process_time() - cpu))

    def count(self, name: str, *, encoded: int = 0, forward: int = 0, trained: int = 0) -> None:
        """Count images for a stage."""
        self._add(name, Cost(encoded=encoded, forward=forward, trained=trained))

    def total(self, names: tuple[str, ...]) -> Cost:
        """Return the sum over some stages."""
        return sum((self.stages.get(name, Cost()) for name in names), Cost())

    def _add(self, name: str, cost: Cost) -> None:
        self.stages[name] = self.stages.get(name, Cost()) + cost
