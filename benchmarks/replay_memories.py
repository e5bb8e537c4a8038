"""What to keep for a head on a frozen backbone: pictures, embeddings, or a few pictures among them.

    python -m benchmarks.replay_memories --out memories               # about 11 minutes
    python -m benchmarks.replay_memories --smoke --out memories       # see that it runs

CIFAR-100 from ``$DSC_TEST_DATA``, ten steps of ten classes in an order of the seed;
EfficientNet-Lite0 at 128 pixels, frozen; ER trains a linear head on its features, ten epochs a
step. The memory is a class-balanced `ReplayBuffer` at equal bytes, everything counted but tables of
embeddings, which have a column of their own and a row in which the budget pays for them. Pictures
are shown at the codec and quality with the best mean, chosen on the runs that are shown, which
favours them a little. Differences are taken seed by seed, with 95 % intervals of Student's t.

Each run is kept as it ends: stopped at any moment, the same command goes on.
"""

import argparse
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch

from dsc._replay.experiment.metrics import paired_interval
from dsc._replay.experiment.plan import DataConfig, RunConfig, ScenarioConfig, Sweep
from dsc._replay.experiment.plots import Curves, draw_curves
from dsc._replay.experiment.result import ResultRow
from dsc._replay.experiment.summary import difference_text
from dsc._replay.experiment.sweep import sweep
from dsc._replay.learners.base import Recipe

BACKBONE = "efficientnet-lite0"
PICTURES = ("png", "av1-small:20", "av1-small:40", "av1-small:60")
EMBEDDINGS = ("embedding:20", "embedding:40")
MIXTURES = ("embedding:20+10%av1-small:20",)
FEW = ("av1-small:40", "embedding:40")
PAID = 47_800
"""A budget that leaves 50 kB less tables of embeddings."""
ARMS = {
    20_000: FEW,
    PAID: ("embedding:40",),
    50_000: (*PICTURES, *EMBEDDINGS, *MIXTURES),
    200_000: FEW,
}
SMOKE = {20_000: ("av1-small:20", "embedding:40", "embedding:40+10%av1-small:20")}
Key = tuple[int, str]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path, required=True, help="directory for results")
    parser.add_argument("--cache", type=Path, help="directory for the backbone's features")
    parser.add_argument("--learner", default="er", help="of `dsc replay run`")
    parser.add_argument("--seeds", type=int, default=5, help="paired seeds, from 0")
    parser.add_argument("--smoke", action="store_true", help="four classes, one epoch")
    args = parser.parse_args(words)
    torch.set_num_threads(1)
    rows = [
        row
        for budget, arms in (SMOKE if args.smoke else ARMS).items()
        for row in sweep(plan(args, budget, arms), args.out, features=args.cache, tell=print)
    ]
    print(report(rows))
    draw_curves(curves(rows), ("budget, bytes", "accuracy at the end, %"), args.out / "memories",
                logarithmic=True)  # fmt: skip


def plan(args: argparse.Namespace, budget: int, arms: Sequence[str]) -> Sweep:
    """Return the runs at one budget."""
    place = str(Path(args.data) / "cifar100")
    small = args.smoke
    return Sweep(
        data=DataConfig(place=place, classes=4, per_class=20) if small else DataConfig(place=place),
        scenario=ScenarioConfig(increment=2 if small else 10),
        learners=(args.learner,), budgets=(budget,), codecs=tuple(arms),
        seeds=tuple(range(2 if small else args.seeds)),
        recipe=Recipe(backbone=BACKBONE, epochs=1 if small else 10),
    )  # fmt: skip


def report(rows: Sequence[ResultRow]) -> str:
    """Write the table."""
    found = by_arm(rows)
    lines = [
        "| budget, bytes | kept as | exemplars | with tables | accuracy, % | "
        "less the best of pictures |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for (budget, arm), own in found.items():
        best = best_pictures(found, budget if budget != PAID else 50_000)
        cells = (
            f"{budget:,}", arm, f"{mean(own, 'exemplars'):,.0f}",
            f"{mean(own, 'bytes_with_decoder'):,.0f}", f"{mean(own, 'last_accuracy'):.1f}",
            "" if best is own else difference(own, best),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    seeds = sorted({row["config"]["seed"] for row in rows})
    return "\n".join([*lines, "", f"Seeds {seeds}."])


def by_arm(rows: Sequence[ResultRow]) -> dict[Key, list[ResultRow]]:
    """Group results by budget and by how exemplars are kept."""
    found: dict[Key, list[ResultRow]] = {}
    for row in rows:
        config = RunConfig.model_validate(row["config"])
        found.setdefault((config.budget, str(config.kept)), []).append(row)
    return found


def best_pictures(found: dict[Key, list[ResultRow]], budget: int) -> list[ResultRow]:
    """Return the runs of the best arm that keeps pictures alone."""
    own = [rows for (at, arm), rows in found.items() if at == budget and "embedding" not in arm]
    return max(own, key=lambda rows: mean(rows, "last_accuracy"), default=[])


def difference(rows: Sequence[ResultRow], others: Sequence[ResultRow]) -> str:
    """Spell the paired difference of two arms."""
    mine, theirs = (
        {row["config"]["seed"]: row["last_accuracy"] for row in some} for some in (rows, others)
    )
    both = sorted(mine.keys() & theirs.keys())
    if not both:
        return ""
    return difference_text(*paired_interval([mine[s] for s in both], [theirs[s] for s in both]))


def mean(rows: Sequence[ResultRow], name: str) -> float:
    return statistics.fmean(row[name] for row in rows)


def curves(rows: Sequence[ResultRow]) -> Curves:
    """Return pictures, embeddings and mixtures at their best: budget, accuracy, standard error."""
    best: dict[tuple[str, int], tuple[float, float]] = {}
    for (budget, arm), own in by_arm(rows).items():
        name = "pictures" if "embedding" not in arm else "mixture" if "%" in arm else "embeddings"
        values = [row["last_accuracy"] for row in own]
        error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
        point = (statistics.fmean(values), error)
        best[name, budget] = max(best.get((name, budget), point), point)
    found: Curves = {}
    for (name, budget), (value, error) in sorted(best.items()):
        found.setdefault(name, []).append((budget, value, error))
    return found


if __name__ == "__main__":
    main()
