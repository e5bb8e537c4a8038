"""What a byte of memory buys: final accuracy at equal bytes, codec beside codec.

    python -m benchmarks.replay --out replay-results            # hours
    python -m benchmarks.replay --quick --out replay-results    # a part of it, minutes

CIFAR-100's first 20 classes at 32 pixels (100 images each) and 40 classes of Tiny-ImageNet at 64
pixels (200 each), from ``$DSC_TEST_DATA``; classes come in four steps, in an order of the seed. The
memory is a class-balanced `ReplayBuffer` with the codec at each of its qualities; budgets count
payloads, labels, index and the policy's state. GDumb trains one small network on the memory alone,
the same number of steps for all; ER-ACE learns step by step with the memory beside it. A codec is
shown at the quality with the best mean over the seeds, chosen on the runs that are shown, which
favours codecs with several qualities a little; all runs are in results.csv. Differences are taken
seed by seed, with 95 % intervals of Student's t.

Each run is kept as it ends: stopped at any moment, the same command goes on.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dsc._bench.environment import environment
from dsc._codecs.registry import CODECS
from dsc._replay.experiment.metrics import paired_interval
from dsc._replay.experiment.plan import DataConfig, RunConfig, ScenarioConfig, Sweep
from dsc._replay.experiment.plots import Curves, draw, draw_curves
from dsc._replay.experiment.result import ResultRow
from dsc._replay.experiment.summary import Summary, difference_text, summarise
from dsc._replay.experiment.sweep import RUNS, compute, write_tables
from dsc._replay.learners.base import Recipe
from dsc._schemas.size import parse_bytes

BASE = ("raw", "png", "jpeg:20")
LOW = (
    "webp:1", "webp:5", "webp:20", "webp-bare:1", "jpeg-bare:5", "jpeg-bare:15",
    "av1-small:10", "av1-small:20", "av1-small:40", "av1-small-restored:20",
)  # fmt: skip
HIGH = (
    "webp:1", "webp:20", "jpeg-bare:5", "jpeg-bare:15", "webp-bare:5",
    "av1-small:20", "av1-small:40", "av1-small:60", "av1-small-restored:40",
)  # fmt: skip
FEW = ("raw", "webp:1", "webp:5", "jpeg-bare:5", "av1-small:10", "av1-small:20")
GDUMB = Recipe(network="resnet8-early", steps=2400, batch=32, lr=0.1)
ER_ACE = Recipe(network="resnet8-early", epochs=20, batch=32, lr=0.05)
ER_ACE_FEWER = ER_ACE.model_copy(update={"epochs": 5})  # of four times as many images
FILES = ("png", "jpeg", "webp")  # what people have without dsc
RAW = "raw"
ORDER = (*FILES[::-1], RAW, *(codec for codec in CODECS if codec not in (*FILES, RAW)))


@dataclass(frozen=True)
class Setting:
    """A data set, a learner, budgets in bytes and the codecs to try at each of them."""

    name: str
    place: str
    classes: int
    increment: int
    budgets: tuple[int, ...]
    arms: tuple[str, ...]
    learner: str = "gdumb"
    per_class: int | None = None
    recipe: Recipe = GDUMB

    @property
    def title(self) -> str:
        """Name set and learner as the tables do."""
        return f"{self.name}, {self.classes} classes, {self.learner}"

    def sweep(self, data: str, seeds: Sequence[int]) -> Sweep:
        """Return the runs of this set, with the codecs that there are."""
        known = tuple(arm for arm in self.arms if arm.partition(":")[0] in CODECS)
        return Sweep(
            data=DataConfig(
                place=str(Path(data) / self.place), classes=self.classes, per_class=self.per_class
            ),
            scenario=ScenarioConfig(increment=self.increment),
            learners=(self.learner,), budgets=self.budgets, codecs=known, seeds=tuple(seeds),
            recipe=self.recipe, evaluate="last" if self.learner == "gdumb" else "every",
        )  # fmt: skip


CIFAR = ("CIFAR-100 at 32 pixels", "cifar100", 20, 5)
TINY = ("Tiny-ImageNet at 64 pixels", "tiny_imagenet40", 40, 10)
QUICK = (
    Setting(*CIFAR, (50_000, 200_000), ("jpeg:20", *FEW[:2], *FEW[3:])),
    Setting(*CIFAR, (50_000,), ("raw", "webp:5", "av1-small:20"), "er-ace", recipe=ER_ACE),
)
SETTINGS = (
    Setting(*CIFAR, (50_000,), BASE + LOW),
    Setting(*CIFAR, (50_000,), FEW, "er-ace", recipe=ER_ACE),
    Setting(*TINY, (50_000, 500_000), BASE + LOW),
    Setting(*TINY, (500_000,), FEW, "er-ace", recipe=ER_ACE_FEWER),
    Setting(*CIFAR, (200_000,), BASE + HIGH),
    Setting(*TINY, (2_000_000,), BASE + HIGH),
)
SMOKE = {
    "classes": 4, "increment": 2, "per_class": 20, "budgets": (20_000,), "arms": ("raw", "webp:20"),
    "recipe": Recipe(network="resnet8-early", steps=20, epochs=1),
}  # fmt: skip


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path, required=True, help="directory for results")
    parser.add_argument("--sets", help="only these, with commas: cifar100,tiny_imagenet40")
    parser.add_argument("--budgets", help="only these of each set, with commas: 50kB,2MB")
    parser.add_argument("--seeds", type=int, default=3, help="paired seeds, from 0")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, a thread each")
    parser.add_argument("--minutes", type=float, help="begin no run after so many minutes")
    parser.add_argument("--quick", action="store_true", help="a part of CIFAR-100")
    parser.add_argument("--smoke", action="store_true", help="see that it runs: 20 steps each")
    args = parser.parse_args(words)
    settings = list(QUICK if args.quick else SETTINGS)
    if args.smoke:
        settings = list(dict.fromkeys(replace(one, **SMOKE) for one in settings))
    settings = chosen(settings, args.sets, args.budgets)
    seeds = range(2 if args.smoke else args.seeds)
    plans = {one: one.sweep(args.data, seeds).runs() for one in settings}
    # all arms of a seed before the next one: whenever it is stopped, there are whole seeds
    runs = sorted((run for found in plans.values() for run in found), key=lambda run: run.seed)
    results = run_all(runs, args.out, args.processes, args.minutes)
    text = report(plans, results, args.out)
    (args.out / "replay.md").write_text(text, encoding="utf-8")
    print(text)


def chosen(settings: Sequence[Setting], sets: str | None, budgets: str | None) -> list[Setting]:
    """Leave out what was not asked for."""
    places = None if sets is None else sets.split(",")
    sizes = (
        None if budgets is None else [parse_bytes(size, "--budgets") for size in budgets.split(",")]
    )
    kept = [
        replace(one, budgets=tuple(b for b in one.budgets if sizes is None or b in sizes))
        for one in settings
        if places is None or one.place in places
    ]
    if not any(one.budgets for one in kept):
        raise SystemExit(f"--sets {sets} --budgets {budgets}: there are no such runs")
    return [one for one in kept if one.budgets]


def run_all(
    runs: Sequence[RunConfig],
    out: Path,
    processes: int,
    minutes: float | None,
    features: Path | None = None,
) -> dict[str, ResultRow]:
    """Compute runs side by side; write the tables as each ends; return results by id."""
    began, found = time.monotonic(), {}
    context = multiprocessing.get_context("spawn")
    deadline = None if minutes is None else time.time() + 60 * minutes
    pool = ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,))
    try:
        waiting = {pool.submit(one_run, run, out, deadline, features): run for run in runs}
        for future in as_completed(waiting):
            row = future.result()
            if row is None:
                continue
            found[row["id"]] = row
            write_tables([found[run.id] for run in runs if run.id in found], out)
            print(
                f"{len(found)} of {len(runs)}, {time.monotonic() - began:.0f} s: "
                f"{Path(row['config']['data']['place']).name} {waiting[future].arm} "
                f"{waiting[future].budget} seed {waiting[future].seed}: "
                f"{row['exemplars']} exemplars, {row['last_accuracy']:.1f} %", flush=True,
            )  # fmt: skip
    finally:
        pool.shutdown(cancel_futures=True)  # a run that fails ends the others that wait
    return found


def one_run(
    run: RunConfig, out: Path, deadline: float | None, features: Path | None
) -> ResultRow | None:
    """Compute a run in a process of its own; None when there is no time for it any more."""
    finished = (out / RUNS / f"{run.id}.json").exists()
    if deadline is not None and time.time() > deadline and not finished:
        return None
    return compute(run, out, features=features)


def report(plans: dict[Setting, list[RunConfig]], results: dict[str, ResultRow], out: Path) -> str:
    """Draw accuracy over bytes; write a table for each set."""
    lines = []
    for title in dict.fromkeys(setting.title for setting in plans):
        several = {one: runs for one, runs in plans.items() if one.title == title}
        rows = [results[run.id] for runs in several.values() for run in runs if run.id in results]
        if not rows:
            continue
        lines += [f"### {title}", ""]
        lines += [
            "| budget, bytes | codec | exemplars | bytes used | with decoder | accuracy, % | "
            "less raw | less the best of PNG, JPEG, WebP |",
            "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        shown = best_of_each(summarise(rows))
        lines += [line(one, shown, rows) for one in shown]
        lines.append("")
        setting = next(iter(several))
        folder = out / f"{setting.place}-{setting.learner}"
        folder.mkdir(parents=True, exist_ok=True)
        kept = {(one.arm, one.budget) for one in shown}
        draw([row for row in rows if key_of(row) in kept], folder)
        axes = ("budget, bytes", f"accuracy at the end, %: {setting.learner}")
        draw_curves(curves(shown, rows), axes, folder / "best-over-bytes", logarithmic=True)
    about = environment()
    seeds = sorted({row["config"]["seed"] for row in results.values()})
    lines.append(f"Seeds {seeds}; {about['cpu']}, torch {about['versions']['torch']}.")
    return "\n".join(lines) + "\n"


def curves(shown: Sequence[Summary], rows: Sequence[ResultRow]) -> Curves:
    """Return each codec at its best quality: (budget, mean accuracy, its standard error)."""
    found: Curves = {}
    for one in sorted(shown, key=lambda one: ORDER.index(codec_of(one))):
        values = [row["last_accuracy"] for row in rows if key_of(row) == (one.arm, one.budget)]
        error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
        found.setdefault(codec_of(one), []).append((one.budget, statistics.fmean(values), error))
    return {codec: sorted(points) for codec, points in found.items()}


def key_of(row: ResultRow) -> tuple[str, int]:
    config = RunConfig.model_validate(row["config"])
    return config.arm, config.budget


def codec_of(one: Summary) -> str:
    return one.arm.rstrip("0123456789").rstrip("-")


def best_of_each(summaries: Iterable[Summary]) -> list[Summary]:
    """Return each codec at each budget at its best quality, of those that all seeds have."""
    found: dict[tuple[int, str], Summary] = {}
    for one in summaries:
        key = (one.budget, codec_of(one))
        if key not in found or rank(one) > rank(found[key]):
            found[key] = one
    return sorted(found.values(), key=lambda one: one.budget)


def rank(one: Summary) -> tuple[int, float]:
    return one.seeds, one.means["last_accuracy"] or 0.0


def line(one: Summary, shown: Sequence[Summary], rows: Sequence[ResultRow]) -> str:
    """Write one row of the table."""
    others = [other for other in shown if other.budget == one.budget]
    files = [other for other in others if codec_of(other) in FILES]
    best = max(files, key=rank, default=None)
    raw = next((other for other in others if other.arm == RAW), None)
    whole = statistics.fmean(
        row["bytes_with_decoder"] for row in rows if key_of(row) == (one.arm, one.budget)
    )
    cells = (
        f"{one.budget:,}", one.arm, f"{one.exemplars:,.0f}", f"{one.bytes:,.0f}", f"{whole:,.0f}",
        f"{one.means['last_accuracy']:.1f}", against(one, raw, rows), against(one, best, rows),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def against(one: Summary, other: Summary | None, rows: Sequence[ResultRow]) -> str:
    """Spell the paired difference of two arms at one budget."""
    if other is None or one.arm == other.arm:
        return ""
    mine, theirs = (
        {row["config"]["seed"]: row["last_accuracy"] for row in rows
         if key_of(row) == (arm, one.budget)}
        for arm in (one.arm, other.arm)
    )  # fmt: skip
    both = sorted(mine.keys() & theirs.keys())
    if not both:
        return ""
    return difference_text(*paired_interval([mine[s] for s in both], [theirs[s] for s in both]))


if __name__ == "__main__":
    main()
