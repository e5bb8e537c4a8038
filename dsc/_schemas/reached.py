"""What a promise came to: the distortion that was asked of a task, and the one it got."""

import math
from collections.abc import Iterable
from typing import Self

from pydantic import Field

from dsc._schemas.base import Schema
from dsc._schemas.target import Metric

MAX_ERROR = "max_error"


class Reached(Schema):
    """One task's measured distortion over samples, with the qualities that gave it.

    Attributes
    ----------
    asked
        What the user asked for, spelled for people.
    metric
        A metric's name, or ``max_error``: the largest error of a valid pixel.
    unit
        Of a ``max_error``: ``relative``, ``metres`` or ``counts``.
    samples
        Samples that were measured; one without a valid pixel is not.
    exact
        Of these, those that came back unchanged, of which PSNR has no finite value; the sums leave
        them out.
    total
        Sum of the values; the mean is `total` / (`samples` - `exact`).
    worst, worst_key
        The worst value and the key of its sample; None where there is none.
    quality_total, quality_min, quality_max
        Of the qualities used, over the measured samples.
    """

    task: str
    asked: str
    metric: str
    unit: str | None = None
    samples: int = Field(default=0, ge=0)
    exact: int = Field(default=0, ge=0)
    total: float = 0.0
    worst: float | None = None
    worst_key: str | None = None
    quality_total: int = 0
    quality_min: int = 100
    quality_max: int = 1

    @property
    def mean(self) -> float | None:
        """Mean over the samples that have a finite value."""
        count = self.samples - self.exact
        return self.total / count if count else None

    @property
    def quality_mean(self) -> float | None:
        """Mean quality over the measured samples."""
        return self.quality_total / self.samples if self.samples else None

    def with_sample(self, key: str, value: float, quality: int) -> Self:
        """Take in one sample; NaN means that nothing could be measured."""
        if math.isnan(value):
            return self
        one = self.model_copy(
            update={
                "samples": 1,
                "exact": int(math.isinf(value)),
                "total": 0.0 if math.isinf(value) else value,
                "worst": None if math.isinf(value) else value,
                "worst_key": None if math.isinf(value) else key,
                "quality_total": quality,
                "quality_min": quality,
                "quality_max": quality,
            }
        )
        return self.with_more(one)

    def with_more(self, other: "Reached") -> Self:
        """Take in what another part of the samples gave."""
        return self.model_copy(
            update={
                "samples": self.samples + other.samples,
                "exact": self.exact + other.exact,
                "total": self.total + other.total,
                **self._worst_of(other),
                "quality_total": self.quality_total + other.quality_total,
                "quality_min": min(self.quality_min, other.quality_min),
                "quality_max": max(self.quality_max, other.quality_max),
            }
        )

    def _worst_of(self, other: "Reached") -> dict[str, float | str | None]:
        mine, theirs = self.worst, other.worst
        if theirs is None or (mine is not None and not self._is_worse(theirs, mine)):
            return {"worst": mine, "worst_key": self.worst_key}
        return {"worst": theirs, "worst_key": other.worst_key}

    def _is_worse(self, one: float, other: float) -> bool:
        higher = self.metric != MAX_ERROR and Metric(self.metric).higher_is_better
        return one < other if higher else one > other


def merge_reached(parts: Iterable[Iterable[Reached]]) -> tuple[Reached, ...]:
    """Add up what the parts of a dataset reached, in order."""
    merged: dict[tuple[str, str], Reached] = {}
    for part in parts:
        for one in part:
            key = (one.task, one.metric)
            merged[key] = merged[key].with_more(one) if key in merged else one
    return tuple(merged.values())
