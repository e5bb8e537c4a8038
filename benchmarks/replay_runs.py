"""The finished runs of replay sweeps, by data set, learner and budget."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dsc._replay.experiment.plan import DataConfig, RunConfig
from dsc._replay.experiment.result import ResultRow
from dsc._replay.experiment.sweep import RUNS
from dsc._replay.scenario.images import LabelledImages, load_split
from dsc._replay.scenario.scenario import ClassIncremental, Increment
from dsc._replay.selection.candidates import ExemplarCodec

Accuracies = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Group:
    """One data set, learner and budget of a sweep, and its runs."""

    title: str
    config: RunConfig
    runs: tuple[ResultRow, ...]

    @property
    def accuracies(self) -> Accuracies:
        """Return the last accuracy by codec and seed: the most runs whose codecs have all seeds.

        Of a sweep under way, the rest is left out.
        """
        found: dict[str, dict[int, float]] = defaultdict(dict)
        for run in self.runs:
            config = run["config"]
            arm = str(ExemplarCodec(config["codec"], config["quality"]))
            found[arm][config["seed"]] = run["last_accuracy"]
        order = Counter(seed for values in found.values() for seed in values).most_common()
        tables = []
        for count in range(1, len(order) + 1):
            some = [seed for seed, _ in order[:count]]
            tables.append(
                {arm: {seed: values[seed] for seed in some}
                 for arm, values in found.items() if set(some) <= set(values)}
            )  # fmt: skip
        return max(tables, key=lambda table: sum(map(len, table.values())))

    @property
    def seconds(self) -> float:
        """Return the sum over its runs."""
        return float(sum(run["seconds"] for run in self.runs))

    @property
    def trained(self) -> int:
        """Return the images that its networks were trained on, exemplars and new ones."""
        return sum(trained_by(run) for run in self.runs)


def groups(results: Sequence[Path]) -> list[Group]:
    """Read all finished runs; those of a group differ in codec, quality and seed alone."""
    found: dict[str, list[ResultRow]] = defaultdict(list)
    for path in sorted(path for place in results for path in (place / RUNS).glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        config = RunConfig.model_validate(run["config"])
        if not config.preprocess and not config.herd_decoded:
            same = config.model_copy(update={"codec": "", "quality": 1, "seed": 0})
            found[same.to_json()].append(run)
    made = []
    for runs in found.values():
        config = RunConfig.model_validate(runs[0]["config"])
        place = Path(config.data.place).name
        made.append(
            Group(f"{place}, {config.learner}, {config.budget:,} bytes", config, tuple(runs))
        )
    return made


def seeds(group: Group) -> list[int]:
    """Return the seeds that all codecs shown have."""
    return sorted(set.intersection(*(set(values) for values in group.accuracies.values())))


def first_increment(config: RunConfig, seed: int) -> tuple[Increment, int]:
    """Return the first increment of a seed's scenario, and how many classes the whole has."""
    plan, train = config.scenario, training_images(config.data)
    order_seed = seed if plan.order_seed is None else plan.order_seed
    increments = ClassIncremental(
        train, plan.increment, plan.initial_increment, plan.class_order, order_seed
    )
    return increments[0], len(train.classes)


@lru_cache(maxsize=2)
def training_images(data: DataConfig) -> LabelledImages:
    return load_split(
        data.place, data.test, classes=data.classes, per_class=data.per_class, size=data.size
    )[0]


def trained_by(run: ResultRow) -> int:
    """Return the images that a run's networks were trained on."""
    config = run["config"]
    recipe = config["recipe"]
    if config["learner"] == "gdumb":
        measured = len(run["steps"]) if config["evaluate"] == "every" else 1
        return int(measured * recipe["steps"] * recipe["batch"])
    increment, classes = first_increment(RunConfig.model_validate(config), config["seed"])
    return int(2 * len(increment.labels) / increment.seen * classes * recipe["epochs"])
