"""What a user asks of a task instead of a quality: a mean distortion, or a bound on every pixel.

A `Target` is a distortion that each sample is to reach in the fewest bytes (``--target``). A
`Bound` is the largest error that a valid pixel may have, without exception (``--max-error``).
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Self

from pydantic import Field

from dsc._schemas.base import Schema
from dsc._schemas.kind import TaskKind
from dsc._schemas.task import Task, resolve_task
from dsc.errors import UsageError

LEAST, MOST = 1e-300, 1e300  # of a bound in a task's own unit: steps of it are floats, too
_PART = re.compile(r"(?P<value>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[^\d\s.].*)?")
_METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}


class Metric(StrEnum):
    """How a target is measured; the names are those of `dsc.metrics`."""

    PSNR = "psnr_db"
    MS_SSIM = "ms_ssim"
    ABSREL = "absrel"
    RMSE = "rmse_m"
    ANGLE = "mean_angle_deg"
    RELATIVE = "rel_sq_error"
    COSINE = "cosine_distance"

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better."""
        return self in (Metric.PSNR, Metric.MS_SSIM)


# What each kind may ask for: unit (lower case), metric, and how many of the metric's a unit is.
_UNITS: dict[TaskKind, tuple[tuple[str, Metric, float], ...]] = {
    TaskKind.IMAGE: (("dB", Metric.PSNR, 1.0), ("msssim", Metric.MS_SSIM, 1.0)),
    TaskKind.DEPTH: (
        ("%", Metric.ABSREL, 0.01),
        *((unit, Metric.RMSE, metres) for unit, metres in _METRES.items()),
    ),
    TaskKind.NORMAL: (("deg", Metric.ANGLE, 1.0), ("°", Metric.ANGLE, 1.0)),
    TaskKind.FEATURE: (("rel", Metric.RELATIVE, 1.0), ("cos", Metric.COSINE, 1.0)),
    TaskKind.EMBEDDING: (("cos", Metric.COSINE, 1.0), ("rel", Metric.RELATIVE, 1.0)),
}


class Target(Schema):
    """A distortion to reach in every sample.

    Attributes
    ----------
    value
        In the metric's unit; AbsRel as a share, not in percent.
    """

    metric: Metric
    value: float = Field(gt=0)

    def is_met(self, found: float) -> bool:
        """Tell whether a measured value is good enough; NaN, nothing to measure, is."""
        return not (found < self.value if self.metric.higher_is_better else found > self.value)

    def __str__(self) -> str:
        return measured_text(self.metric, self.value)

    @classmethod
    def parse(cls, text: str, tasks: Sequence[Task]) -> dict[str, Self]:
        """Read ``rgb=38dB,depth=0.5%,normal=1deg``; task names may be aliases.

        Units: of images ``dB`` (PSNR) and ``msssim``, of depth ``%`` (AbsRel) and ``m``, ``cm``,
        ``mm`` (root mean square error), of normals ``deg`` (mean angle), of feature maps and
        embeddings ``rel`` (squared error as a share of the squares) and ``cos`` (1 less the
        cosine).

        Raises
        ------
        UsageError
            When a part cannot be read, or its task is always lossless.
        UnknownTaskError
            When a part names no task.
        """
        found: dict[str, Self] = {}
        for part, task, written in _parts(text, "--target", tasks):
            units = () if task.is_exact else _UNITS.get(task.kind, ())
            if not units:
                raise UsageError(
                    f"--target {part}: {task.name} is a {task.kind.value} task, which is always "
                    f"lossless; leave it out{_or_embedding(task)}"
                )
            value, unit = _number(part, "--target", written, [name for name, _, _ in units])
            metric, scale = next((m, s) for n, m, s in units if n.lower() == unit)
            if value == 0 or (metric is Metric.MS_SSIM and value > 1):
                raise UsageError(f"--target {part}: {value:g} cannot be reached; {_EXAMPLE}")
            found[task.name] = cls(metric=metric, value=value * scale)
        return found


class BoundKind(StrEnum):
    """What a bound is relative to."""

    RELATIVE = "relative"  # a share of the pixel's own value
    METRES = "metres"
    COUNTS = "counts"  # integers of the source's files
    UNITS = "units"  # the numbers themselves, of what is no map


class Bound(Schema):
    """The largest error of a valid pixel."""

    kind: BoundKind
    value: float = Field(ge=0)

    def __str__(self) -> str:
        if self.kind is BoundKind.RELATIVE:
            return f"{100 * self.value:g} %"
        if self.kind is BoundKind.UNITS:
            return f"{self.value:g}"
        return f"{self.value:g} {'m' if self.kind is BoundKind.METRES else 'counts'}"

    @classmethod
    def parse(cls, text: str, tasks: Sequence[Task]) -> dict[str, Self]:
        """Read ``depth=1%,rgb=2``; task names may be aliases.

        Of depth the units are ``%``, ``m``, ``cm``, ``mm``; of 8- and 16-bit images and normals,
        and of depth as ``counts``, a number without a unit counts the integers of the files. Of
        floats that are no maps (poses, scalars) it is a number of their own.

        Raises
        ------
        UsageError
            When a part cannot be read, or its task takes no bound.
        UnknownTaskError
            When a part names no task.
        """
        found: dict[str, Self] = {}
        for part, task, written in _parts(text, "--max-error", tasks):
            if task.is_step_coded:
                found[task.name] = cls(kind=BoundKind.UNITS, value=_plain_number(part, written))
                continue
            if task.kind not in _UNITS or task.is_exact:
                raise UsageError(
                    f"--max-error {part}: {task.name} is a {task.kind.value} task, which is "
                    "always lossless; leave it out"
                )
            if task.dtype not in ("uint8", "uint16"):
                raise UsageError(
                    f"--max-error {part}: {task.name} is {task.dtype}; only tasks of 8 and 16 bits "
                    "take a bound"
                )
            units = ["%", *_METRES, "counts"] if task.kind is TaskKind.DEPTH else ["", "counts"]
            value, unit = _number(part, "--max-error", written, units)
            found[task.name] = cls._of(part, value, unit)
        return found

    @classmethod
    def _of(cls, part: str, value: float, unit: str) -> Self:
        if unit == "%":
            if value >= 100:
                raise UsageError(f"--max-error {part}: a relative error is below 100 %")
            return cls(kind=BoundKind.RELATIVE, value=value / 100)
        if unit in _METRES:
            return cls(kind=BoundKind.METRES, value=value * _METRES[unit])
        if value != int(value):
            raise UsageError(f"--max-error {part}: {value:g} is no whole number of counts")
        return cls(kind=BoundKind.COUNTS, value=value)


_EXAMPLE = "write for example --target rgb=38dB,depth=0.5%,normal=1deg,clip=0.01cos"
_BOUND_EXAMPLE = "write for example --max-error depth=1%, depth=5mm or rgb=2"


def measured_text(metric: str, value: float) -> str:
    """Spell a measured value with its unit, for people."""
    return {
        "psnr_db": f"{value:.2f} dB",
        "ms_ssim": f"{value:.4f} MS-SSIM",
        "absrel": f"{100 * value:.4g} %",
        "rmse_m": f"{value:.4g} m",
        "mean_angle_deg": f"{value:.3g} deg",
        "rel_sq_error": f"{value:.4g} rel",
        "cosine_distance": f"{value:.4g} cos",
    }.get(metric, f"{value:.4g}")


def _or_embedding(task: Task) -> str:
    is_vector = task.kind is TaskKind.VECTOR and task.dtype.startswith("float")
    return f", or say --kinds {task.name}=embedding if its values may change" if is_vector else ""


def _parts(text: str, option: str, tasks: Sequence[Task]) -> list[tuple[str, Task, str]]:
    """Split an option into (part, task, what is asked of it)."""
    by_name = {task.name: task for task in tasks}
    found = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, written = part.partition("=")
        if not written.strip():
            example = _EXAMPLE if option == "--target" else _BOUND_EXAMPLE
            raise UsageError(f"{option} {text}: {part!r} names no task or no value; {example}")
        task = by_name[resolve_task(name.strip(), list(by_name))]
        found.append((part, task, written.strip()))
    return found


def _plain_number(part: str, written: str) -> float:
    try:
        value = float(written)
    except ValueError:
        value = -1.0
    if not (value == 0 or LEAST <= value <= MOST):
        raise UsageError(
            f"--max-error {part}: {written.strip()!r} is no number of this task's own unit; write "
            "for example pose=0.0001"
        )
    return value


def _number(part: str, option: str, written: str, units: Sequence[str]) -> tuple[float, str]:
    """Read a number and its unit, which must be one of `units`; gives the unit in lower case."""
    match = _PART.fullmatch(written)
    unit = (match["unit"] or "").strip().lower().replace("ms-ssim", "msssim") if match else ""
    if match is None or unit not in [known.lower() for known in units]:
        known = ", ".join(name for name in units if name)
        plain = " or no unit" if "" in units else ""
        example = _EXAMPLE if option == "--target" else _BOUND_EXAMPLE
        raise UsageError(
            f"{option} {part}: {written!r} is no number with a unit that fits this task "
            f"({known}{plain}); {example}"
        )
    return float(match["value"]), unit
