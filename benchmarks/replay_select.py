"""How good a selection without a sweep is: what it picks, against what the sweep found.

    python -m benchmarks.replay --out replay-results
    python -m benchmarks.replay_select replay-results

For each data set, learner and budget of the sweep, each proxy of `dsc replay select` judges the
sweep's codecs from the first step's images of each seed. Shown are Spearman's rank correlation with
the mean accuracy over the sweep's seeds, and the regret: the accuracy of the best codec less that
of the pick, in points. The best of a sweep is chosen on noisy means, which flatters it, so there is
a second regret: the best by all seeds but one, and the pick, both judged on the seed left out. The
row ``one seed`` is what a sweep of one seed would have picked, judged on the other seeds;
``exemplars`` ranks by their number alone. A codec without one exemplar a class comes last.

Cost is seconds of CPU. The sweep's are what its training alone would take at the probe's speed an
image, because the seconds that it noted depend on what else its machine did.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.replay_runs import Accuracies, Group, first_increment, groups, seeds
from dsc._replay.learners.base import Recipe
from dsc._replay.selection import CodecSelection, ScoredCandidate, select_codec
from dsc._replay.selection.proxies import drift_score
from dsc._replay.selection.result import Cost
from dsc._replay.selection.select import PROXIES

MINIMUM = 3
"""Fewest codecs whose ranks say anything."""
BETAS = (5.0, 10.0, 15.0, 30.0)


@dataclass(frozen=True)
class Judged:
    """What one proxy said of each codec, for one seed's first increment.

    Attributes
    ----------
    saving
        The sweep's seconds of CPU, at the probe's speed, for each of its own.
    """

    scores: Mapping[str, float]
    cost: Cost
    saving: float


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+", help="directories of a sweep")
    parser.add_argument("--steps", type=int, default=150, help="of each network of a proxy")
    parser.add_argument("--rounds", type=int, default=3, help="of the probe")
    parser.add_argument("--proxies", default=",".join(PROXIES), help="with commas")
    parser.add_argument("--only", default="", help="a part of a group's title")
    parser.add_argument("--out", type=Path, help="file for the scores, JSON lines")
    args = parser.parse_args(words)
    torch.set_num_threads(1)
    for group in groups(args.results):
        if args.only not in group.title or len(group.accuracies) < MINIMUM:
            continue
        selections = {seed: selected(group, seed, args) for seed in seeds(group)}
        if args.out is not None:
            append(args.out, group, selections)
        print("\n".join(report(group, judgements(group, selections))), flush=True)


def selected(group: Group, seed: int, args: argparse.Namespace) -> CodecSelection:
    """Judge the sweep's codecs by the proxies, from one seed's first increment."""
    increment, classes = first_increment(group.config, seed)
    network, batch = group.config.recipe.network, group.config.recipe.batch
    recipe = Recipe(
        network=network, batch=batch, lr=0.1, steps=args.steps, cutmix=group.config.recipe.cutmix
    )
    began = time.monotonic()
    found = select_codec(
        increment.images, increment.labels, group.config.budget, candidates=tuple(group.accuracies),
        proxy=args.proxies.split(","), classes=classes, recipe=recipe, rounds=args.rounds,
        seed=seed,
    )  # fmt: skip
    print(f"{group.title}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
    return found


def judgements(group: Group, selections: Mapping[int, CodecSelection]) -> dict[str, list[Judged]]:
    """Return what each way of choosing says, a seed each."""
    found: dict[str, list[Judged]] = defaultdict(list)
    for selection in selections.values():
        probe = selection.costs.get("probe")
        whole = group.trained * probe.cpu_s / probe.trained if probe else 0.0

        def note(name: str, cost: Cost, scores: Sequence[float | None], whole: float = whole,
                 selection: CodecSelection = selection) -> None:  # fmt: skip
            arms = [str(row.candidate) for row in selection.rows]
            scored = with_last(dict(zip(arms, scores, strict=True)))
            found[name].append(Judged(scored, cost, whole / cost.cpu_s if cost.cpu_s else 0.0))

        for name in selection.costs:
            note(name, selection.costs[name], [row.scores.get(name) for row in selection.rows])
        if probe:
            note("probe, accuracy alone", probe, [row.accuracy for row in selection.rows])
        note("exemplars", Cost(), [_drifted(row, 0.0) for row in selection.rows])
        for beta in BETAS if "drift" in selection.costs else ():
            scores = [_drifted(row, beta) for row in selection.rows]
            note(f"drift, beta {beta:g}", selection.costs["drift"], scores)
    return found


def _drifted(row: ScoredCandidate, beta: float) -> float | None:
    return None if row.drift is None else drift_score(row.exemplars, row.drift, beta)


def with_last(scores: Mapping[str, float | None]) -> dict[str, float]:
    """Put what does not fit last."""
    lowest = min(score for score in scores.values() if score is not None)
    return {arm: lowest - 1 if score is None else score for arm, score in scores.items()}


def report(group: Group, judged: Mapping[str, Sequence[Judged]]) -> list[str]:
    """Write the table of one group."""
    accuracies, whole = group.accuracies, seeds(group)
    means = {arm: float(np.mean([values[s] for s in whole])) for arm, values in accuracies.items()}
    best = max(means, key=lambda arm: means[arm])
    several = len(whole) > 1
    error = (
        np.std([accuracies[best][s] for s in whole], ddof=1) / np.sqrt(len(whole)) if several else 0
    )
    lines = [
        f"\n### {group.title}: {len(means)} codecs, {len(whole)} seeds",
        "",
        f"The sweep: {len(group.runs)} runs, {group.seconds:.0f} s as noted, {group.trained:,} "
        f"images trained on. Best: {best}, {means[best]:.1f} %"
        + (f" (standard error {error:.1f})." if several else "."),
        "",
        "| proxy | seconds of CPU | sweep's / its | images trained on, sweep's / its | "
        "rank correlation | picks | accuracy | regret | regret, seed left out |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    lines += [line(name, of, group, means, best) for name, of in judged.items()]
    return [*lines, one_seed(accuracies, whole)] if several else lines


def line(
    name: str, judged: Sequence[Judged], group: Group, means: Mapping[str, float], best: str
) -> str:
    """Write the row of one proxy: means over the seeds it was given."""
    accuracies = group.accuracies
    picks = [max(one.scores, key=lambda arm: one.scores[arm]) for one in judged]
    rho = [spearmanr([one.scores[arm] for arm in means], list(means.values()))[0] for one in judged]
    reached = float(np.mean([means[pick] for pick in picks]))
    several = len(seeds(group)) > 1
    out = [left_out(accuracies, pick) for pick in picks] if several else []
    cpu, trained, saving = (
        float(np.mean(values))
        for values in zip(
            *((one.cost.cpu_s, one.cost.trained, one.saving) for one in judged), strict=True
        )
    )
    cells = (
        name, f"{cpu:.1f}", f"{saving:.0f}" if saving else "",
        f"{group.trained / trained:.0f}" if trained else "", spread(rho), ", ".join(picks),
        f"{reached:.1f}", f"{means[best] - reached:.2f}", f"{np.mean(out):.2f}" if out else "",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def left_out(accuracies: Accuracies, pick: str) -> float:
    """Return the mean regret on a seed left out, against the best by the others."""
    whole = sorted(next(iter(accuracies.values())))
    regrets = []
    for seed in whole:
        rest = [other for other in whole if other != seed]
        best = max(accuracies, key=lambda arm: np.mean([accuracies[arm][s] for s in rest]))
        regrets.append(accuracies[best][seed] - accuracies[pick][seed])
    return float(np.mean(regrets))


def one_seed(accuracies: Accuracies, whole: Sequence[int]) -> str:
    """Write the row of a sweep with one seed, judged on the others."""
    rho, regret, picks = [], [], []
    for seed in whole:
        rest = [other for other in whole if other != seed]
        means = {arm: np.mean([values[s] for s in rest]) for arm, values in accuracies.items()}
        own = {arm: values[seed] for arm, values in accuracies.items()}
        picks.append(max(own, key=lambda arm: own[arm]))
        rho.append(spearmanr([own[arm] for arm in means], list(means.values()))[0])
        regret.append(max(means.values()) - means[picks[-1]])
    cells = (
        "one seed", "", str(len(whole)), str(len(whole)), spread(rho), ", ".join(picks), "",
        f"{np.mean(regret):.2f}", "",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def append(path: Path, group: Group, selections: Mapping[int, CodecSelection]) -> None:
    with path.open("a", encoding="utf-8") as file:
        for seed, found in selections.items():
            rows = [
                {"candidate": str(row.candidate), "exemplars": row.exemplars, "moved": row.drift,
                 "ratio": row.volume_ratio, "accuracy": row.accuracy, **row.scores}
                for row in found.rows
            ]  # fmt: skip
            costs = {name: vars(cost) for name, cost in found.costs.items()}
            value = {"group": group.title, "seed": seed, "rows": rows, "costs": costs}
            file.write(json.dumps(value) + "\n")


if __name__ == "__main__":
    main()
