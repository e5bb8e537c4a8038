"""What `dsc bench rd` finds out on one set, derived from its points; and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dsc._bench.rate_distortion.candidates import CLASSICAL, ComparedCodec
from dsc._bench.rate_distortion.curves import (
    LEAD,
    BdRate,
    Curve,
    axis_of,
    bd_rate,
    rate_at,
    value_of,
)
from dsc._bench.rate_distortion.following import FollowingTasks
from dsc._bench.rate_distortion.points import Point
from dsc._bench.rate_distortion.subsets import SubsetCost, best_at, subset_costs
from dsc._schemas import Task, TaskKind

SINGLE_TASK = "independent"  # the single-task codec of the learned family
AT = {TaskKind.IMAGE: 34.0, TaskKind.DEPTH: 0.005, TaskKind.NORMAL: 1.0}


@dataclass(frozen=True)
class EqualCost:
    """Bits of one codec at a stated distortion.

    Attributes
    ----------
    task, codec
        Names.
    value
        The distortion, in the unit of the task's lead metric.
    alone_bpp, own_bpp
        Interpolated; None outside the codec's curve.
    to_best_classical
        `alone_bpp` over that of the best classical codec; None when either is missing.
    """

    task: str
    codec: str
    value: float
    alone_bpp: float | None
    own_bpp: float | None
    to_best_classical: float | None


@dataclass(frozen=True)
class FollowingCost:
    """A task that follows from others, at the operating quality, beside codecs that store it.

    Attributes
    ----------
    task, codec, rule, inputs
        Names.
    own_bpp
        Bits beside the tasks that it follows from.
    alone_bpp
        Bits with these.
    value
        The distortion of what comes back; None for a task without loss.
    best_bpp, best
        The fewest bits of a codec that stores the task, at that distortion, and whose; None when
        no curve reaches it.
    """

    task: str
    codec: str
    rule: str
    inputs: tuple[str, ...]
    own_bpp: float
    alone_bpp: float
    value: float | None
    best_bpp: float | None
    best: str | None


@dataclass(frozen=True)
class SetReport:
    """All findings on one set.

    Attributes
    ----------
    name, title
        As in `BenchSet`.
    samples, total
        Measured, and in the source.
    size
        (H, W) of the first sample.
    tasks
        In order.
    candidates
        Those that coded something, in order.
    points
        All.
    operating
        Quality of the subset and channel figures.
    speed
        By codec, see `dsc._bench.rate_distortion.speed`.
    channels
        Bits a pixel by codec, stream and part (``hyper``, ``latent``): a list by channel.
    at
        The stated distortion by kind.
    """

    name: str
    title: str
    samples: int
    total: int
    size: tuple[int, int]
    tasks: tuple[Task, ...]
    candidates: tuple[ComparedCodec, ...]
    points: tuple[Point, ...]
    operating: int
    speed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    channels: Mapping[str, Mapping[str, Mapping[str, list[float]]]] = field(default_factory=dict)
    at: Mapping[TaskKind, float] = field(default_factory=lambda: dict(AT))

    @property
    def lossy_tasks(self) -> tuple[Task, ...]:
        """The tasks that have a distortion."""
        return tuple(task for task in self.tasks if task.kind in LEAD)

    @property
    def classical(self) -> tuple[str, ...]:
        """Names of the classical lossy codecs, the anchors."""
        found = {c.name for c in self.candidates if c.codec in CLASSICAL}
        return tuple(c.name for c in self.candidates if c.name in found)

    def of(self, codec: str, task: str) -> list[Point]:
        """Return a codec's points of a task, by quality."""
        found = [p for p in self.points if p.codec == codec and task in p.alone_bpp]
        return sorted(found, key=lambda point: point.quality)

    def curve(self, codec: str, task: Task, own: bool = False) -> Curve:
        """Return the curve of a task, read alone or as its own streams."""
        lead = LEAD[task.kind]
        rates = [
            ((p.own_bpp if own else p.alone_bpp)[task.name], p.metrics[task.name][lead])
            for p in self.of(codec, task.name)
            if lead in p.metrics[task.name]
        ]
        return Curve.of(task.kind, rates)

    def curves(self) -> dict[tuple[str, str], Curve]:
        """Return all curves that can be interpolated, by (codec, task)."""
        found = {
            (c.name, task.name): self.curve(c.name, task)
            for c in self.candidates
            for task in self.lossy_tasks
        }
        return {key: curve for key, curve in found.items() if curve.drawable}

    def bd_rates(self) -> dict[tuple[str, str, str], BdRate | None]:
        """Return the BD-rate by (task, codec, anchor); None where curves do not overlap."""
        curves = self.curves()
        return {
            (task.name, codec.name, anchor): bd_rate(curves[anchor, task.name], curves[key])
            for task in self.lossy_tasks
            for codec in self.candidates
            if (key := (codec.name, task.name)) in curves
            for anchor in self.classical
            if anchor != codec.name and (anchor, task.name) in curves
        }

    def equal_costs(self) -> list[EqualCost]:
        """Return every codec's bits at the stated distortions."""
        curves, costs = self.curves(), []
        for task in self.lossy_tasks:
            axis = axis_of(task.kind, self.at[task.kind])
            best = best_at(task.name, axis, curves, self.classical)
            for candidate in self.candidates:
                if (candidate.name, task.name) not in curves:
                    continue
                alone = rate_at(curves[candidate.name, task.name], axis)
                own = rate_at(self.curve(candidate.name, task, own=True), axis)
                ratio = alone / best[0] if alone is not None and best is not None else None
                costs.append(
                    EqualCost(task.name, candidate.name, self.at[task.kind], alone, own, ratio)
                )
        return costs

    def operating_point(self, codec: str) -> Point | None:
        """Return the point of all of a joint codec's tasks nearest to the operating quality."""
        joint = [p for p in self.points if p.codec == codec and len(p.pixels) > 1]
        return min(joint, key=lambda p: abs(p.quality - self.operating), default=None)

    def subsets(self) -> dict[str, list[SubsetCost]]:
        """Return the costs of all subsets by joint codec."""
        curves, found = self.curves(), {}
        names = [candidate.name for candidate in self.candidates]
        single = SINGLE_TASK if SINGLE_TASK in names else None
        for name in names:
            point = self.operating_point(name)
            if point is not None and name != single:
                found[name] = subset_costs(point, self.tasks, curves, single, self.classical)
        return {name: costs for name, costs in found.items() if len(costs) > 1}

    def following(self) -> list[FollowingCost]:
        """Return what tasks that follow from others cost."""
        curves, found = self.curves(), []
        for candidate in self.candidates:
            point = self.operating_point(candidate.name)
            if not isinstance(candidate, FollowingTasks) or point is None:
                continue
            others = [one.name for one in self.candidates if one.name != candidate.name]
            for rule in candidate.rules:
                task = next(one for one in self.tasks if one.name == rule.task)
                value = point.metrics[task.name].get(LEAD[task.kind]) if task.kind in LEAD else None
                axis = None if value is None else axis_of(task.kind, value)
                if axis is None:
                    best = min(self._exact(task, others), default=None)
                else:
                    best = best_at(task.name, axis, curves, others)
                bits = point.own_bpp[task.name], point.alone_bpp[task.name], value
                found.append(
                    FollowingCost(
                        task.name, candidate.name, rule.rule, rule.inputs, *bits,
                        *(best or (None, None)),
                    )
                )  # fmt: skip
        return found

    def _exact(self, task: Task, codecs: Sequence[str]) -> list[tuple[float, str]]:
        """Return the bits of those codecs that give a task back as it was."""
        points = [(self.of(name, task.name), name) for name in codecs]
        return [
            (own[-1].alone_bpp[task.name], name)
            for own, name in points
            if own and own[-1].metrics[task.name].get("identical") == 1.0
        ]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        kinds = {task.name: task.kind for task in self.tasks}
        return {
            "title": self.title,
            "samples": self.samples,
            "total": self.total,
            "size": list(self.size),
            "tasks": {name: kind.value for name, kind in kinds.items()},
            "codecs": [asdict(candidate) for candidate in self.candidates],
            "points": [asdict(point) for point in self.points],
            "bd_rate": [
                {
                    "task": task,
                    "codec": codec,
                    "anchor": anchor,
                    "percent": None if found is None else found.percent,
                    "from": None if found is None else value_of(kinds[task], found.low_db),
                    "to": None if found is None else value_of(kinds[task], found.high_db),
                    "share_of_range": None if found is None else found.share,
                }
                for (task, codec, anchor), found in self.bd_rates().items()
            ],
            "equal_distortion": [asdict(cost) for cost in self.equal_costs()],
            "operating_quality": self.operating,
            "subsets": {
                name: [asdict(cost) for cost in costs] for name, costs in self.subsets().items()
            },
            "following": [asdict(cost) for cost in self.following()],
            "channels": self.channels,
            "speed": self.speed,
        }


def codec_names(reports: Sequence[SetReport]) -> list[str]:
    """List the codecs of several reports, each once, in order."""
    return list(dict.fromkeys(c.name for report in reports for c in report.candidates))
