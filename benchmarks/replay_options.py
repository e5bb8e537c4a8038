"""What pre-processing, herding on decoded images and CutMix change: paired differences over seeds.

    python -m benchmarks.replay_options --out replay-results

CIFAR-100's first 20 classes at 32 pixels from ``$DSC_TEST_DATA``, four steps, a memory of 50 kB,
recipes and seeds of `benchmarks.replay`, whose directory may be used again: what is finished there
is not computed twice. A difference is the final accuracy with the option less that without,
seed by seed, with its 95 % interval of Student's t.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.replay import CIFAR, ER_ACE, GDUMB, Setting, run_all
from dsc._replay.experiment.metrics import paired_interval
from dsc._replay.experiment.plan import RunConfig
from dsc._replay.experiment.summary import difference_text
from dsc._replay.learners.base import Recipe

BUDGET = 50_000
RECIPES = {"gdumb": GDUMB, "er-ace": ER_ACE, "icarl": ER_ACE}


@dataclass(frozen=True)
class Case:
    """An option beside its absence, with one learner and codec."""

    option: str
    learner: str
    codec: str

    def changes(self, recipe: Recipe) -> dict[str, Any]:
        """Return what the option changes in a `RunConfig`."""
        if self.option == "cutmix":
            return {"recipe": recipe.model_copy(update={"cutmix": 0.5})}
        return {self.option: True}


CASES = (
    Case("preprocess", "gdumb", "av1-small:10"),
    Case("preprocess", "gdumb", "webp:1"),
    Case("preprocess", "er-ace", "av1-small:10"),
    Case("preprocess", "er-ace", "av1-small:20"),
    Case("preprocess", "icarl", "av1-small:10"),
    Case("herd_decoded", "icarl", "av1-small:10"),
    Case("cutmix", "gdumb", "av1-small:10"),
    Case("cutmix", "gdumb", "raw"),
)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path, required=True, help="directory for results")
    parser.add_argument("--seeds", type=int, default=3, help="paired seeds, from 0")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, a thread each")
    args = parser.parse_args(words)
    pairs = {case: pairs_of(case, args.data, range(args.seeds)) for case in CASES}
    runs = {run.id: run for several in pairs.values() for pair in several for run in pair}
    results = run_all(list(runs.values()), args.out, args.processes, None)
    lines = ["| option | learner | codec | without, % | with, % | difference |"]
    lines += ["| --- | --- | --- | ---: | ---: | ---: |"]
    for case, several in pairs.items():
        without, changed = (
            [results[pair[side].id]["last_accuracy"] for pair in several] for side in (0, 1)
        )
        means = (f"{sum(values) / len(values):.1f}" for values in (without, changed))
        difference = difference_text(*paired_interval(changed, without))
        cells = (case.option, case.learner, case.codec, *means, difference)
        lines.append(f"| {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    (args.out / "options.md").write_text(text, encoding="utf-8")
    print(text)


def pairs_of(case: Case, data: str, seeds: Sequence[int]) -> list[tuple[RunConfig, RunConfig]]:
    """Return for each seed the run without the option, and with it."""
    recipe = RECIPES[case.learner]
    setting = Setting(*CIFAR, (BUDGET,), (case.codec,), case.learner, recipe=recipe)
    without = setting.sweep(data, seeds).runs()
    return [(run, run.model_copy(update=case.changes(recipe))) for run in without]


if __name__ == "__main__":
    main()
