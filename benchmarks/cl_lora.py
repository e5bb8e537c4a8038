"""CL-LoRA beside ridge regression on frozen features: accuracy, forgetting, what each part does.

    python -m benchmarks.cl_lora --out cl-lora                  # an hour on one core
    python -m benchmarks.cl_lora --parts accuracy --out cl-lora

CIFAR-100 from ``$DSC_TEST_DATA`` on EfficientNet-Lite0 at 128 pixels, no exemplars; the order of
classes is the seed's. Differences are taken seed by seed, with 95 % intervals of Student's t. Each
run is kept as it ends: stopped at any moment, the same command goes on. The recipe was chosen on
seed 0, on a fifth of the training pictures that was held out; test pictures decided nothing.
"""

import argparse
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from dsc._replay.experiment.metrics import paired_interval
from dsc._replay.experiment.plan import DataConfig, RunConfig, ScenarioConfig
from dsc._replay.experiment.result import ResultRow
from dsc._replay.experiment.sweep import compute
from dsc._replay.learners.base import Recipe

BACKBONE = "efficientnet-lite0"
CL_LORA = "cl-lora"
Measure = Literal["last_accuracy", "forgetting"]


@dataclass(frozen=True)
class Arm:
    """A learner as it is compared, under a name."""

    name: str
    learner: str
    recipe: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Comparison:
    """Arms on the same pictures; the first is what the others are compared with."""

    title: str
    arms: tuple[Arm, ...]
    seeds: int
    per_class: int
    increment: int = 10
    classes: int | None = None
    evaluate: Literal["every", "last"] = "every"
    measures: tuple[Measure, ...] = ("last_accuracy", "forgetting")

    def run(self, arm: Arm, seed: int, data: str) -> RunConfig:
        """Return the run of an arm."""
        return RunConfig(
            data=DataConfig(
                place=str(Path(data) / "cifar100"), classes=self.classes, per_class=self.per_class
            ),
            scenario=ScenarioConfig(increment=self.increment),
            learner=arm.learner, recipe=Recipe(backbone=BACKBONE, **arm.recipe), seed=seed,
            evaluate=self.evaluate,
        )  # fmt: skip


COMPARISONS = {
    "accuracy": Comparison(
        "100 classes in 10 steps, 50 pictures a class",
        (
            Arm("ridge, frozen features", "ridge"),
            Arm("class means, frozen features", "simple-cil"),
            Arm("ridge, features adapted to the first step", "adapted-ridge", {"epochs": 5}),
        ),
        seeds=5, per_class=50, evaluate="last", measures=("last_accuracy",),
    ),
    "forgetting": Comparison(
        "50 classes in 10 steps, 20 pictures a class",
        (
            Arm("sequential LoRA", "sequential-lora", {"epochs": 4}),
            Arm("CL-LoRA", CL_LORA, {"epochs": 4}),
            Arm("class means, frozen features", "simple-cil", {"epochs": 4}),
        ),
        seeds=5, per_class=20, increment=5, classes=50,
    ),
    "ablations": Comparison(
        "50 classes in 10 steps, 20 pictures a class",
        (
            Arm("CL-LoRA", CL_LORA, {"epochs": 4}),
            *(
                Arm(f"without {part}", CL_LORA, {"epochs": 4, "without": (part,)})
                for part in (
                    "shared", "specific", "distillation", "reassignment", "block-weights",
                    "orthogonality",
                )
            ),
        ),
        seeds=5, per_class=20, increment=5, classes=50,
    ),
}  # fmt: skip


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path, required=True, help="directory for results")
    parser.add_argument("--cache", type=Path, help="directory for the backbone's features")
    parser.add_argument("--parts", default=",".join(COMPARISONS), help="with commas")
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    for part in arguments.parts.split(","):
        comparison = COMPARISONS[part]
        rows = {
            arm: [
                compute(
                    comparison.run(arm, seed, arguments.data),
                    arguments.out,
                    features=arguments.cache,
                )
                for seed in range(comparison.seeds)
            ]
            for arm in comparison.arms
        }
        print(table(comparison, rows), flush=True)


def table(comparison: Comparison, rows: dict[Arm, list[ResultRow]]) -> str:
    """Return means over the seeds, and differences to the first arm."""
    titles = {"last_accuracy": "accuracy at the end, %", "forgetting": "forgetting, points"}
    columns = [f"{titles[one]} | less the first" for one in comparison.measures]
    lines = [
        f"{comparison.title}; {comparison.seeds} seeds",
        "",
        f"| learner | {' | '.join(columns)} |",
        "| --- " * (1 + 2 * len(columns)) + "|",
    ]
    first = rows[comparison.arms[0]]
    for arm, found in rows.items():
        cells = [cell for one in comparison.measures for cell in cells_of(found, first, one)]
        lines.append(f"| {arm.name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def cells_of(
    rows: Sequence[ResultRow], first: Sequence[ResultRow], measure: Measure
) -> tuple[str, str]:
    """Return the mean of a measure, and its paired difference with the interval."""
    values, base = ([float(row[measure] or 0) for row in some] for some in (rows, first))
    mean = f"{statistics.fmean(values):.1f}"
    if rows is first:
        return mean, ""
    difference, half = paired_interval(values, base)
    return mean, f"{difference:+.1f} ± {half:.1f}"


if __name__ == "__main__":
    main()
