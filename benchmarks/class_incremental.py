"""Class-incremental learning on a pretrained backbone: learners and memories, row beside row.

    python -m benchmarks.class_incremental --out class-incremental
    python -m benchmarks.class_incremental --protocol cifar100-b50-10 --out class-incremental
    python -m benchmarks.class_incremental --protocol imagenet100-b0-10 --data DIR --out DIR

A row is a learner, what it may keep and how it is trained; all rows of a seed see the same classes
in the same order, and differences to the baseline are taken seed by seed. A number has its 95 %
interval of Student's t over the seeds. Features of the backbone are computed first, in all
processes, and kept in ``--cache``. Each run is kept as it ends: stopped at any moment, the same
command goes on, and with other rows it computes those alone.

CIFAR-100 lies in ``$DSC_TEST_DATA/cifar100``. ImageNet-100 and Food-101 are looked for in
``imagenet100`` and ``food101`` of ``--data``, a folder each with ``train`` and ``test`` (or
``val``) of ``<class>/<file>``; pictures of different sizes are resized to the backbone's side, and
all are held in memory: 6.4 and 5 GB at 128 pixels.
"""

import argparse
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.replay import run_all
from dsc._bench.environment import environment
from dsc._replay.experiment.metrics import paired_interval
from dsc._replay.experiment.plan import DataConfig, RunConfig, ScenarioConfig, Sweep
from dsc._replay.experiment.plots import Curves, draw_curves
from dsc._replay.experiment.result import ResultRow
from dsc._replay.experiment.summary import difference_text
from dsc._replay.experiment.sweep import compute, load_data
from dsc._replay.learners.base import Recipe
from dsc._replay.learners.registry import learner_class
from dsc._replay.learners.views.frozen import FrozenView

BACKBONE, SIDE = "efficientnet-lite0", 128
CHUNK = 500
"""Pictures whose features a process computes at a time."""


@dataclass(frozen=True)
class Protocol:
    """Which classes come when; as the literature names them, B0-10 or B50-10."""

    title: str
    place: str
    increment: int
    initial: int | None = None
    per_class: int | None = None

    def data(self, root: Path) -> DataConfig:
        """Say where the pictures are."""
        return DataConfig(place=str(root / self.place), per_class=self.per_class)

    def scenario(self) -> ScenarioConfig:
        """Return the steps; each seed has a class order of its own."""
        return ScenarioConfig(increment=self.increment, initial_increment=self.initial)


PROTOCOLS = {
    "cifar100-b0-10": Protocol("CIFAR-100, 10 steps of 10 classes", "cifar100", 10),
    "cifar100-b50-10": Protocol("CIFAR-100, 50 classes, then 5 steps of 10", "cifar100", 10, 50),
    "imagenet100-b0-10": Protocol("ImageNet-100, 10 steps of 10 classes", "imagenet100", 10),
    "imagenet100-b50-10": Protocol(
        "ImageNet-100, 50 classes, then 5 steps of 10", "imagenet100", 10, 50
    ),
    "food101-b11-10": Protocol("Food-101, 11 classes, then 9 steps of 10", "food101", 10, 11),
}


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes
    ----------
    learner
        Its name.
    budget, codec
        What it may keep of the past, and how; not looked at where it keeps no exemplars.
    recipe
        What its recipe has besides the backbone.
    """

    learner: str
    budget: str | None = None
    codec: str = "raw"
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def run(self, protocol: Protocol, root: Path, backbone: Recipe, seed: int) -> RunConfig:
        """Return the run of a seed."""
        plan = Sweep.make(
            data=protocol.data(root), scenario=protocol.scenario(), learners=[self.learner],
            budgets=[] if self.budget is None else [self.budget], codecs=[self.codec],
            recipe=backbone.model_dump() | self.recipe, seeds=[seed],
        )  # fmt: skip
        (run,) = plan.runs()
        return run


HEAD = {"epochs": 10, "batch": 32, "lr": 0.01}
# by group, then by the name that the table has
ROWS: dict[str, dict[str, Row]] = {
    "exemplar-free": {
        "SimpleCIL": Row("simple-cil"),
        "ridge": Row("ridge"),
        "RanPAC, 2,000 features": Row("ranpac"),
    },
    "adapters": {
        "ridge on features adapted to the first step": Row("adapted-ridge", recipe={"epochs": 5}),
        "CL-LoRA": Row("cl-lora", recipe={"epochs": 3}),
        "sequential LoRA": Row("sequential-lora", recipe={"epochs": 3}),
    },
    "pictures": {
        f"ER-ACE, {budget} of {codec}": Row("er-ace", budget, codec, HEAD)
        for budget, codec in (
            ("50kB", "av1-small:20"),
            ("200kB", "av1-small:20"),
            ("3.072MB", "raw"),
        )
    },
}
BASELINE = "ridge"
AXES = ("classes seen", "accuracy over them, %")
Results = Mapping[str, Sequence[ResultRow]]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--protocol", choices=PROTOCOLS, default="cifar100-b0-10")
    parser.add_argument("--rows", help=f"groups, with commas, of {', '.join(ROWS)}; all of them")
    data = os.environ.get("DSC_TEST_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--out", type=Path, required=True, help="directory for results")
    parser.add_argument("--cache", type=Path, help="directory for features; features in --out")
    parser.add_argument("--backbone", default=BACKBONE)
    parser.add_argument("--backbone-side", type=int, default=SIDE, help="pixels that it sees")
    parser.add_argument("--per-class", type=int, help="at most so many training pictures a class")
    parser.add_argument("--seeds", type=int, default=5, help="paired seeds, from 0")
    parser.add_argument("--processes", type=int, default=2, help="at a time; 0: in this one")
    args = parser.parse_args(words)
    protocol = replace(PROTOCOLS[args.protocol], per_class=args.per_class)
    recipe = Recipe(backbone=args.backbone, backbone_side=args.backbone_side)
    rows = chosen(args.rows)
    plans = {
        name: [row.run(protocol, args.data, recipe, seed) for seed in range(args.seeds)]
        for name, row in rows.items()
    }
    cache = args.cache or args.out / "features"
    shown = {learner_class(row.learner).shown_layer(recipe) for row in rows.values()}
    layers = sorted(layer for layer in shown if layer is not None)
    took = compute_features(protocol.data(args.data), recipe, layers, cache, args.processes)
    # all rows of a seed before the next one: whenever it is stopped, there are whole seeds
    runs = [run for several in zip(*plans.values(), strict=True) for run in several]
    if args.processes:
        found = run_all(runs, args.out, args.processes, None, cache)
    else:
        found = {run.id: compute(run, args.out, features=cache) for run in runs}
    results = {name: [found[run.id] for run in several] for name, several in plans.items()}
    folder = args.out / args.protocol
    folder.mkdir(parents=True, exist_ok=True)
    draw_curves(curves(results), AXES, folder / "accuracy-over-steps")
    text = report(protocol, rows, results, took)
    (folder / "table.md").write_text(text, encoding="utf-8")
    print(text)


def chosen(groups: str | None) -> dict[str, Row]:
    """Return the rows of groups, the baseline among them."""
    names = list(ROWS) if groups is None else groups.split(",")
    unknown = set(names) - set(ROWS)
    if unknown:
        raise SystemExit(f"--rows {groups}: there are {', '.join(ROWS)}")
    every = {name: row for group in ROWS.values() for name, row in group.items()}
    return {BASELINE: every[BASELINE]} | {
        name: row for group in names for name, row in ROWS[group].items()
    }


def compute_features(
    data: DataConfig, recipe: Recipe, layers: Sequence[str], cache: Path, processes: int
) -> float:
    """Compute the features of all pictures that lack them; return the seconds that it took."""
    began = time.monotonic()
    sets = load_data(data.to_json(), recipe.backbone_side)[:2]
    chunks = [
        Chunk(data, recipe, layer, cache, part, at)
        for layer in layers
        for part, images in enumerate(sets)
        for at in range(0, len(images), CHUNK)
    ]
    if processes:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,)) as pool:
            list(pool.map(Chunk.compute, chunks))
    else:
        for chunk in chunks:
            chunk.compute()
    return time.monotonic() - began


@dataclass(frozen=True)
class Chunk:
    """Some training (part 0) or test pictures, whose features one process computes."""

    data: DataConfig
    recipe: Recipe
    layer: str
    cache: Path
    part: int
    at: int

    def compute(self) -> None:
        """Compute what is not there yet."""
        recipe = self.recipe
        images = load_data(self.data.to_json(), recipe.backbone_side)[self.part].images
        view = FrozenView(str(recipe.backbone), recipe.backbone_side, self.cache, self.layer)
        view.of(images[self.at : self.at + CHUNK])


def report(protocol: Protocol, rows: Mapping[str, Row], results: Results, features_s: float) -> str:
    """Write the table."""
    baseline = [row["last_accuracy"] for row in results[BASELINE]]
    lines = [f"### {protocol.title}", ""]
    lines += [
        f"| | exemplars | bytes kept | last, % | average, % | forgetting | last, less {BASELINE} | "
        "seconds a run |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in rows:
        runs = results[name]
        last = [row["last_accuracy"] for row in runs]
        against = "" if name == BASELINE else difference_text(*paired_interval(last, baseline))
        cells = (
            name, f"{statistics.fmean(row['exemplars'] for row in runs):,.0f}",
            f"{statistics.fmean(row['bytes'] for row in runs):,.0f}", interval_text(last),
            interval_text([row["average_incremental_accuracy"] for row in runs]),
            interval_text([row["forgetting"] for row in runs]), against,
            f"{statistics.median(row['seconds'] for row in runs):,.0f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    about = environment()
    lines += ["", f"{len(baseline)} seeds; features {features_s:,.0f} s; {about['cpu']}, torch "
              f"{about['versions']['torch']}."]  # fmt: skip
    return "\n".join(lines) + "\n"


def interval_text(values: Sequence[float]) -> str:
    """Spell a mean with its 95 % interval: ``61.2 ± 0.4``."""
    mean, half = paired_interval(values, [0.0] * len(values))
    return f"{mean:.1f}" if math.isnan(half) else f"{mean:.1f} ± {half:.1f}"


def curves(results: Results) -> Curves:
    """Return by row: (classes seen, mean accuracy over them, half its 95 % interval)."""
    found: Curves = {}
    for name, runs in results.items():
        steps = zip(*(run["steps"] for run in runs), strict=True)
        for step in steps:
            mean, half = paired_interval([one["accuracy"] for one in step], [0.0] * len(step))
            found.setdefault(name, []).append((step[0]["seen"], mean, np.nan_to_num(half)))
    return found


if __name__ == "__main__":
    main()
