"""Fewer trained weights: what embedding them in modes saves and costs, beside freezing as many.

    python -m benchmarks.training_dynamics                 # both networks, two seeds
    python -m benchmarks.training_dynamics --kinds independent --seeds 3
    python -m benchmarks.training_dynamics --quick         # sees that it runs

Trainings of the same network on the same batches, from the same start, step by step side by side in
one process, so that what else the machine does slows all of them alike: plain, with an average of
the weights (EMA, SMA), with weights embedded (`dsc._training.research.embedded`), the very same
weights frozen, and whole layers frozen; and a plain one with fewer steps, which is what any saving
of time has to beat. rgb at one quality on photographs of Tiny-ImageNet, where DSC_TEST_DATA has
them, else on rendered views; L = bpp + λ·255²·MSE of held-out pictures, with estimated rates of
rounded symbols. Times are of one thread's CPU; *all* counts the search for modes as well.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsc._replay.scenario.images import load_split
from dsc._sources.registry import open_source
from dsc._training.average import WeightAverage
from dsc._training.networks import NETWORKS, make_network
from dsc._training.objective import weigh
from dsc._training.research.embedded.methods import Embedded, Frozen, FrozenLayers, Timetable
from dsc._training.research.embedded.run import SteppedTraining
from dsc._training.research.mpa.batches import Schedule, draw, to_planes

KINDS = tuple(kind for kind in ("independent", "layered") if kind in NETWORKS)
SIDE, QUALITY = 64, 50
LR = 1e-3
START = 256  # pictures that a network's weights are computed from before the first step
FEWER_STEPS = 0.85
LOOKS = (12, 14, 16, 17, 18, 19, 20)  # twentieths of the steps after which L is measured
PLAIN, EMA = "plain", "plain, EMA"
TRUE, BOTH, BOTH_SMA = "embedded", "embedded, and dummies", "embedded, and dummies, SMA"
FROZEN, LAYERS = "the same weights frozen", "whole layers frozen"


@dataclass(frozen=True)
class Pictures:
    """Pictures (N, 3, 64, 64) uint8, to train on and held out."""

    trained: Tensor
    held_out: Tensor
    about: str


@dataclass
class Contender:
    """A training, and what was seen of it.

    Attributes
    ----------
    cpu_s
        Seconds of each step, of one thread's CPU time: other processes do not count.
    losses
        L of held-out pictures after so many steps.
    ema
        An average beside it, which changes nothing of it, and its CPU seconds a step.
    """

    run: SteppedTraining
    cpu_s: list[float] = field(default_factory=list)
    losses: dict[int, float] = field(default_factory=dict)
    ema: WeightAverage | None = None
    ema_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """One training's figures of one seed.

    Attributes
    ----------
    share
        Part of the weights that train at the end.
    step, late_step
        Medians of a step's time over plain training's: of all steps after the warm-up, and of those
        after the last choice.
    cpu
        Time of the whole training over plain training's.
    loss
        L at the end.
    reached
        Steps after which L was first at most plain training's at its end; None if never.
    """

    share: float
    step: float
    late_step: float
    cpu: float
    loss: float
    reached: int | None


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--size", default="fast", choices=("tiny", "fast", "base"))
    parser.add_argument("--quick", action="store_true", help="a few steps of tiny networks")
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    args = parser.parse_args(words)
    if args.quick:
        args.size, args.steps, args.seeds = "tiny", 20, 1
    torch.set_num_threads(1)
    pictures = read_pictures(Path(args.data), *((32, 8) if args.quick else (4000, 128)))
    when = timetable(args.steps)
    print(f"{pictures.about}; {args.steps} steps, {when}", flush=True)
    for kind in args.kinds:
        seeds = []
        for seed in range(args.seeds):
            how = Schedule(args.steps, batch=8, lr=LR, seed=seed)
            seeds.append(side_by_side(kind, args.size, pictures, how, when))
            print(f"\n{kind}, size {args.size}, {seed + 1} seeds\n\n{table(seeds)}", flush=True)


def timetable(steps: int) -> Timetable:
    """Choose a tenth of the weights eight times, between 36 % and 80 % of the steps."""
    return Timetable(
        warm_up=steps * 3 // 10,
        every=max(1, steps // 80),
        period=steps // 16,
        choices=8,
        watched=min(10, steps // 16),
    )


def read_pictures(place: Path, count: int, held_out: int) -> Pictures:
    """Read photographs, or render views where there are none: so many, and so many held out."""
    if (folder := place / "tiny_imagenet40").exists():
        train, test = load_split(folder)
        return Pictures(_some(train.images, count), _some(test.images, held_out), "photographs")
    source = open_source("clevr", n=count + held_out, seed=1, size=SIDE)
    views = np.stack([source.read(k, ["rgb"]).arrays["rgb"] for k in range(count + held_out)])
    return Pictures(_some(views[held_out:], count), _some(views[:held_out], held_out), "views")


def _some(images: np.ndarray[Any, Any], count: int) -> Tensor:
    """Take `count` pictures, evenly spread, channels first."""
    rows = np.linspace(0, len(images) - 1, min(count, len(images))).astype(np.int64)
    return torch.from_numpy(images[rows]).permute(0, 3, 1, 2).contiguous()


def contenders(
    kind: str, size: str, pictures: Pictures, how: Schedule, when: Timetable
) -> dict[str, Contender]:
    """Make all trainings of a seed, from the same weights."""
    torch.manual_seed(how.seed)
    first = make_network(kind, ("rgb",), size)
    first.initialise({"rgb": to_planes(pictures.trained[:: len(pictures.trained) // START or 1])})
    weights = first.state_dict()

    def run(method: Any = None, average: Any = "none", steps: int = how.steps) -> SteppedTraining:
        network = make_network(kind, ("rgb",), size)
        network.load_state_dict(weights)
        network.to(memory_format=torch.channels_last)
        return SteppedTraining(network.train(), steps, how.lr, method, average)

    embedded = partial(Embedded, when=when, seed=how.seed)
    true = run(partial(embedded, dummy=False))
    chosen = true.method.chosen  # type: ignore[union-attr]  # it is an Embedded
    runs = {
        PLAIN: run(),
        "plain, SMA": run(average="sma"),
        f"plain, {FEWER_STEPS:.0%} of the steps": run(steps=round(FEWER_STEPS * how.steps)),
        TRUE: true,
        BOTH: run(partial(embedded, dummy=True)),
        BOTH_SMA: run(partial(embedded, dummy=True), average="sma"),
        FROZEN: run(lambda _, trained: Frozen(trained, chosen)),
        LAYERS: run(partial(FrozenLayers, when=when)),
    }
    found = {name: Contender(one) for name, one in runs.items()}
    found[PLAIN].ema = WeightAverage("ema", found[PLAIN].run.network)
    return found


def side_by_side(
    kind: str, size: str, pictures: Pictures, how: Schedule, when: Timetable
) -> dict[str, Row]:
    """Train all of a seed, a step of each after the other, and measure them."""
    running = contenders(kind, size, pictures, how, when)
    looks = {how.steps * part // 20 for part in LOOKS}
    for number in range(how.steps):
        planes = batch(pictures.trained, how, number)
        for one in running.values():
            if one.run.done == one.run.steps:
                continue
            step(one, planes, (how.seed << 32) + number + 1)
            if one.run.done in looks or one.run.done == one.run.steps:
                network = one.run.average.network
                one.losses[one.run.done] = held_out_loss(network, pictures.held_out)
        if (number + 1) % max(1, how.steps // 4) == 0:
            tell(kind, how.seed, running)
    return rows(running, pictures, when)


def batch(pictures: Tensor, how: Schedule, number: int) -> Tensor:
    """Return what a step sees, (B, 3, H, W)."""
    chosen, mirrored = draw(len(pictures), how, number)
    return to_planes(pictures[chosen], mirrored).contiguous(memory_format=torch.channels_last)


def step(one: Contender, planes: Tensor, seed: int) -> None:
    """Do one step, on the clock."""
    quality = {"rgb": torch.full((len(planes),), QUALITY)}
    began = time.process_time()
    one.run.step({"rgb": planes}, quality, seed)
    one.cpu_s.append(time.process_time() - began)
    if one.ema is not None:
        began = time.process_time()
        one.ema.update(one.run.done)
        one.ema_s.append(time.process_time() - began)


@torch.no_grad()
def held_out_loss(network: Any, pictures: Tensor) -> float:
    """Return the mean L of pictures, symbols rounded."""
    was_training = network.training
    network.eval()
    torch.manual_seed(0)
    total = 0.0
    for part in pictures.split(32):
        quality = {"rgb": torch.full((len(part),), QUALITY)}
        coded = network.code({"rgb": to_planes(part)}, {}, ("rgb",), quality)
        total += float(weigh(coded, network, quality, {}).total) * len(part)
    network.train(was_training)
    return total / len(pictures)


def tell(kind: str, seed: int, running: Mapping[str, Contender]) -> None:
    """Say how far a seed is."""
    losses = [f"{name} {list(one.losses.values())[-1:]}" for name, one in running.items()]
    print(f"{kind}, seed {seed}: {running[PLAIN].run.done} steps; {'; '.join(losses)}", flush=True)
    method = running[TRUE].run.method
    if isinstance(method, Embedded) and method.modes is not None:
        median = float(method.modes.correlation.median())
        print(f"  median |correlation| with the own mode's reference {median:.2f}", flush=True)


def rows(running: Mapping[str, Contender], pictures: Pictures, when: Timetable) -> dict[str, Row]:
    """Make the figures of a seed."""
    plain = running[PLAIN]
    target = plain.losses[plain.run.done]

    def row(one: Contender, cpu_s: Sequence[float], losses: Mapping[int, float]) -> Row:
        late = min(when.warm_up + when.choices * when.period, len(cpu_s) * 9 // 10)
        reached = [done for done, loss in losses.items() if loss <= target]
        return Row(
            one.run.share_trained,
            ratio(cpu_s, plain.cpu_s, when.warm_up),
            ratio(cpu_s, plain.cpu_s, late),
            sum(cpu_s) / sum(plain.cpu_s),
            losses[one.run.done],
            min(reached, default=None),
        )

    found = {}
    for name, one in running.items():
        found[name] = row(one, one.cpu_s, one.losses)
        if one.ema is not None:
            both = [own + more for own, more in zip(one.cpu_s, one.ema_s, strict=True)]
            averaged = held_out_loss(one.ema.network, pictures.held_out)
            found[EMA] = row(one, both, {one.run.done: averaged})
    return found


def ratio(own: Sequence[float], plain: Sequence[float], begin: int) -> float:
    """Return the median over steps from `begin` on of own time over plain training's."""
    return statistics.median(a / b for a, b in zip(own[begin:], plain[begin:], strict=False))


def table(seeds: Sequence[Mapping[str, Row]]) -> str:
    """Draw up the means over the seeds, and half the range where it says ±."""
    return "\n".join(_lines(seeds))


def _lines(seeds: Sequence[Mapping[str, Row]]) -> Iterator[str]:
    yield "| training | weights at the end | step | late step | all | L | - plain | reached |"
    yield "| --- " * 8 + "|"
    for name in seeds[0]:
        own = [seed[name] for seed in seeds]
        differences = [seed[name].loss - seed[PLAIN].loss for seed in seeds]
        reached = [str(row.reached) if row.reached else "never" for row in own]
        yield " | ".join((
            f"| {name}",
            f"{mean(row.share for row in own):.0%}",
            f"{mean(row.step for row in own):.2f}",
            f"{mean(row.late_step for row in own):.2f}",
            f"{mean(row.cpu for row in own):.2f}",
            spread([row.loss for row in own]),
            "" if name == PLAIN else spread(differences, "+"),
            ", ".join(reached) + " |",
        ))  # fmt: skip


def mean(values: Iterator[float]) -> float:
    """Return the mean."""
    return statistics.fmean(values)


def spread(values: Sequence[float], sign: str = "") -> str:
    """Write a mean and half the range."""
    half = (max(values) - min(values)) / 2
    return f"{statistics.fmean(values):{sign}.4f} ± {half:.4f}"


if __name__ == "__main__":
    main()
