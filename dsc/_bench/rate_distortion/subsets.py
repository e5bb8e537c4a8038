"""What every subset of tasks costs: all prerequisites once, beside codecs for one task at a time.

The comparison is at equal distortion: a joint codec works at one quality, which gives each task a
distortion; every other codec is charged what its own curve says for that very distortion. A codec
whose curve does not reach it is not compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from dsc._bench.rate_distortion.curves import LEAD, Curve, axis_of, rate_at
from dsc._bench.rate_distortion.points import Point
from dsc._schemas import Task

MOST_TASKS = 5  # 31 subsets; of more tasks only each alone and all together


@dataclass(frozen=True)
class SubsetCost:
    """Bits a pixel of one subset.

    Attributes
    ----------
    tasks
        The subset.
    together_bpp
        The joint codec, each stream once.
    alone_bpp
        The same codec, each task with what it requires, as if each were stored apart.
    single_bpp
        The single-task codec of the family at equal distortion, added up; None when it was not
        measured or does not reach.
    classical_bpp
        The best classical codec of each task at equal distortion, added up; None likewise.
    classical
        That codec by task.
    """

    tasks: tuple[str, ...]
    together_bpp: float
    alone_bpp: float
    single_bpp: float | None
    classical_bpp: float | None
    classical: Mapping[str, str]


def subset_costs(
    point: Point,
    tasks: Sequence[Task],
    curves: Mapping[tuple[str, str], Curve],
    single: str | None,
    classical: Sequence[str],
) -> list[SubsetCost]:
    """Return the costs of all subsets, smallest first.

    Parameters
    ----------
    point
        The joint codec at its operating quality.
    tasks
        The tasks; those that it codes with loss count.
    curves
        By (codec, task).
    single
        Name of the single-task codec of the family.
    classical
        Names of the classical codecs.
    """
    kinds = {t.name: t.kind for t in tasks if t.kind in LEAD and t.name in point.pixels}
    axis = {n: axis_of(kind, point.metrics[n][LEAD[kind]]) for n, kind in kinds.items()}
    best = {name: best_at(name, axis[name], curves, classical) for name in kinds}
    singles = {
        name: best_at(name, axis[name], curves, [single] if single else []) for name in kinds
    }
    costs = []
    sizes = range(1, len(kinds) + 1) if len(kinds) <= MOST_TASKS else (1, len(kinds))
    for size in sizes:
        for subset in combinations(kinds, size):
            found = {name: at for name in subset if (at := best[name])}
            costs.append(
                SubsetCost(
                    tasks=subset,
                    together_bpp=point.together_bpp(subset),
                    alone_bpp=sum(point.alone_bpp[name] for name in subset),
                    single_bpp=_total([singles[name] for name in subset]),
                    classical_bpp=_total([best[name] for name in subset]),
                    classical={name: codec for name, (_, codec) in found.items()},
                )
            )
    return costs


def best_at(
    task: str,
    axis_db: float,
    curves: Mapping[tuple[str, str], Curve],
    codecs: Sequence[str],
) -> tuple[float, str] | None:
    """Return the fewest bits a pixel at a quality, and whose; None when no curve reaches it."""
    found = []
    for codec in codecs:
        curve = curves.get((codec, task))
        rate = rate_at(curve, axis_db) if curve is not None else None
        if rate is not None:
            found.append((rate, codec))
    return min(found, default=None)


def _total(parts: Sequence[tuple[float, str] | None]) -> float | None:
    rates = [part[0] for part in parts if part is not None]
    return sum(rates) if len(rates) == len(parts) else None
