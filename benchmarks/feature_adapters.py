"""What adapters of a task are worth to `feature-learned`: bits where answers are kept as well.

    python -m benchmarks.feature_adapters --work FOLDER    # three seeds; goes on where it stopped
    python -m benchmarks.feature_adapters --show           # the table of the figures there are
    python -m benchmarks.feature_adapters --quick --out /tmp/adapters.json    # sees that it runs

The codec, its weights as they come with dsc, and the task's network are frozen; what answers to
features that were never coded is the teacher. Each seed trains each arm for as many steps, of the
same features at the same qualities. The control has no adapter: its whole entropy model learns.
Bits are those at which an arm's answers diverge from the teacher's as far as the frozen codec's do
at a few qualities, over the frozen codec's. Features are of pictures that nothing was trained on;
rates are estimated from rounded symbols. An arm that was kept is not trained again, and features
and heads are kept in FOLDER.
"""

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.feature_crops import features_of, held_back, training_crops
from benchmarks.feature_learned import BACKBONE, squares
from dsc._backbones.registry import load_backbone
from dsc._bench.machine import heads
from dsc._bench.machine.datasets import CLASSIFICATION, DETECTION, SEGMENTATION, sets_of
from dsc._bench.machine.dense import DENSE
from dsc._bench.machine.heads import Schedule as HeadSchedule
from dsc._bench.machine.network import LOGITS, Network
from dsc._bench.machine.pictures import PictureSet
from dsc._codecs.learned.feature.codec import SHIPPED
from dsc._coding.weights_file import shipped_file
from dsc._replay.experiment.metrics import paired_interval
from dsc._training.models.feature import FeatureExamples, with_answers
from dsc._training.research.adapters.divergences import Divergence, of_centres, of_classes
from dsc._training.research.adapters.parallel import base_digest
from dsc._training.research.adapters.students import (
    Student,
    TaskTail,
    entropy_alone,
    load_base,
    low_rank_after,
    low_rank_before,
    unchanged,
    with_prompts,
)
from dsc._training.research.adapters.training import measure, train
from dsc._training.research.mpa.batches import Schedule

KEPT = Path(__file__).parent / "results" / "feature_adapters.json"
TASKS = (CLASSIFICATION, SEGMENTATION, DETECTION)
FROZEN, CONTROL = "frozen codec", "entropy model alone"
Make = Callable[..., Student]
ARMS: dict[str, Make] = {
    CONTROL: lambda base, task, seed: entropy_alone(base, task),
    "prompts, main": partial(with_prompts, hyper=False),
    "prompts, main + hyper": partial(with_prompts, hyper=True),
    "LoRA 2 before": partial(low_rank_before, rank=2),
    "LoRA 8 before": partial(low_rank_before, rank=8),
    "LoRA 2 after": partial(low_rank_after, rank=2),
    "LoRA 8 after": partial(low_rank_after, rank=8),
}
AT = (15, 30, 50)  # qualities of the frozen codec whose divergences are compared at
BITS_BAR, NUMBERS_BAR = 0.95, 0.02  # of the control's bits, of all numbers: to leave research


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes
    ----------
    steps
        Of each arm.
    share
        One of so many training crops is taken.
    qualities
        What an arm is measured at.
    head_epochs
        Of the head of a dense task.
    rendered
        Whether pictures are a few small ones that need no data.
    """

    steps: int
    share: int
    qualities: tuple[int, ...]
    head_epochs: int
    rendered: bool = False


FULL = Size(steps=400, share=4, qualities=(5, 15, 22, 30, 40, 50, 60), head_epochs=24)
QUICK = Size(steps=2, share=1, qualities=(15, 50), head_epochs=1, rendered=True)


@dataclass(frozen=True)
class Lesson:
    """A task's frozen network, its answers to what is trained on and to what is measured."""

    task: TaskTail
    divergence: Divergence
    seen: FeatureExamples
    unseen: FeatureExamples


class ClassHead(nn.Module):
    """The backbone's own answer: to its deepest feature maps alone."""

    def __init__(self, rest: nn.Module) -> None:
        super().__init__()
        self.rest = rest

    def forward(self, fine: Tensor, deep: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        logits: Tensor = self.rest(deep)
        return logits


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--work", type=Path, help="folder of features and heads")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=[CLASSIFICATION, SEGMENTATION])
    parser.add_argument("--steps", type=int, help="of each arm, in place of what is usual")
    parser.add_argument("--quick", action="store_true", help="a few steps, on rendered pictures")
    parser.add_argument("--show", action="store_true", help="only show what was kept")
    parser.add_argument("--out", type=Path, default=KEPT)
    args = parser.parse_args(words)
    size = QUICK if args.quick else FULL
    if args.steps:
        size = replace(size, steps=args.steps)
    kept = Kept(args.out, None if args.show else size)
    if not args.show:
        torch.set_num_threads(1)
        for task in args.tasks:
            work = None if size.rendered else args.work
            run(task, args.seeds, Path(args.data), work, size, kept)
    if not kept.curves:
        parser.error(f"{args.out} holds no figures; run it without --show first")
    show(kept)


class Kept:
    """The curves that were measured, in a file.

    Parameters
    ----------
    path
        The file; there may be none yet.
    size
        Of the run that goes on; None to take whatever is there.

    Attributes
    ----------
    size
        As JSON.
    curves
        Points (quality, bits a pixel, divergence), by task, arm and seed.
    counts
        Numbers that are an arm's own, by task and arm.
    """

    def __init__(self, path: Path, size: Size | None) -> None:
        self._path = path
        self.size = json.loads(json.dumps(asdict(size))) if size else None
        state: dict[str, Any] = {"curves": {}, "counts": {}, "core_s": 0.0}
        if path.exists():
            state = json.loads(path.read_text())
            self.size = self.size or state["size"]
            if state["size"] != self.size:
                raise SystemExit(
                    f"{path} holds a run of another size, {state['size']}; name another file "
                    "with --out"
                )
        self.curves: dict[str, dict[str, dict[str, list[list[float]]]]] = state["curves"]
        self.counts: dict[str, dict[str, int]] = state["counts"]
        self.core_s: float = state["core_s"]

    def has(self, task: str, arm: str, seed: int) -> bool:
        """Tell whether a curve is there."""
        return str(seed) in self.curves.get(task, {}).get(arm, {})

    def put(self, task: str, arm: str, seed: int, curve: list[list[float]], count: int) -> None:
        """Keep a curve."""
        self.curves.setdefault(task, {}).setdefault(arm, {})[str(seed)] = curve
        self.counts.setdefault(task, {})[arm] = count
        self.write()

    def write(self) -> None:
        """Write the file, whole or not at all."""
        state = {name: value for name, value in vars(self).items() if name != "_path"}
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(state, indent=1) + "\n")
        part.replace(self._path)


# ---- training and measuring


def run(
    task: str, seeds: Sequence[int], data: Path, work: Path | None, size: Size, kept: Kept
) -> None:
    """Train and measure what of a task is not there yet, one seed after the other."""
    missing = [(arm, seed) for seed in seeds for arm in ARMS if not kept.has(task, arm, seed)]
    if not missing:
        return
    base = load_base(shipped_file(next(iter(SHIPPED.values()))))
    lesson = lesson_of(task, data, work, size)
    if not kept.has(task, FROZEN, 0):
        kept.put(task, FROZEN, 0, curve_of(unchanged(base, lesson.task), lesson, size), 0)
    shared = base_digest(base), base_digest(lesson.task)
    for arm, seed in missing:
        began = time.process_time()
        student = ARMS[arm](base, lesson.task, seed=seed)
        how = Schedule(size.steps, batch=8, seed=seed)
        train(student, lesson.seen, lesson.divergence, how)
        if (base_digest(base), base_digest(lesson.task)) != shared:
            raise SystemExit(f"{task}, {arm}, seed {seed}: training changed what all tasks share")
        curve = curve_of(student, lesson, size)
        kept.core_s += time.process_time() - began
        kept.put(task, arm, seed, curve, student.parameter_count)
        print(f"{task}, {arm}, seed {seed}: {ratios(kept, task, arm, str(seed))}", flush=True)


def curve_of(student: Student, lesson: Lesson, size: Size) -> list[list[float]]:
    """Return (quality, bits a pixel, divergence) of what is measured."""
    points = []
    for quality in size.qualities:
        found = measure(student, lesson.unseen, lesson.divergence, quality)
        points.append([quality, float(found.rate_bpp), float(found.divergence)])
    return points


# ---- tasks


def lesson_of(task: str, data: Path, work: Path | None, size: Size) -> Lesson:
    """Make a task's frozen network, and what is trained on and measured."""
    network = Network(load_backbone(BACKBONE))
    tail = network.backbone.tail(network.layer.name, network.deepest.name)
    if task == CLASSIFICATION:
        head: nn.Module = ClassHead(network.backbone.tail(network.deepest.name, LOGITS))
        maps = cached(work, task, lambda: photograph_maps(network, data, size))
        divergence: Divergence = of_classes
    else:
        (pictures,) = sets_of(task, data, network.backbone, None, quick=size.rendered)
        maps = cached(work, task, lambda: dense_maps(network, pictures))
        head = dense_head(task, network, pictures, maps[0], work, size)
        divergence = of_centres(len(pictures.classes)) if task == DETECTION else of_classes
    answering = TaskTail(tail, head)
    seen, unseen = (with_answers(part, answering) for part in maps)
    return Lesson(answering, divergence, seen, unseen)


Maps = tuple[Tensor, Tensor]  # float16 (n, C, h, w): what is trained on, and what is measured


def cached(work: Path | None, name: str, make: Callable[[], Maps]) -> Maps:
    """Read feature maps, or make and keep them."""
    if work is None:
        return make()
    path = work / f"{name}-maps.pt"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        torch.save(make(), path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    found: Maps = torch.load(path, weights_only=True)
    return found


def photograph_maps(network: Network, data: Path, size: Size) -> Maps:
    """Compute the feature maps of training crops, and of photographs that are held back."""
    if size.rendered:
        (pictures,) = sets_of(CLASSIFICATION, data, network.backbone, None, quick=True)
        return dense_maps(network, pictures)
    backbone, layer = network.backbone, network.layer.name
    seen = features_of(backbone, layer, training_crops(data, share=size.share))
    unseen = features_of(backbone, layer, iter(squares(held_back(data))))
    return torch.from_numpy(seen), torch.from_numpy(unseen)


def dense_maps(network: Network, pictures: PictureSet) -> Maps:
    """Compute the feature maps of a set; every other one of those that are measured is left out."""
    maps = torch.from_numpy(network.maps(pictures.pictures, pictures.side))
    return maps[: pictures.train].clone(), maps[pictures.train :: 2].clone()


def dense_head(
    task: str,
    network: Network,
    pictures: PictureSet,
    seen: Tensor,
    work: Path | None,
    size: Size,
) -> nn.Module:
    """Train a head on features that were never coded, or read what was trained."""
    kept = work / f"{task}-head.pt" if work else None
    if kept and kept.exists():
        known = DENSE[task].head(network, pictures)
        known.load_state_dict(torch.load(kept, weights_only=True))
        return known
    fine, deep = seen.float(), torch.from_numpy(network.deeper(seen.numpy()))
    head = heads.seeded(lambda: DENSE[task].head(network, pictures), 0)
    how = HeadSchedule(epochs=size.head_epochs)
    loss = DENSE[task].loss(network, pictures)
    heads.train(head, lambda at: head(fine[at], deep[at]), loss, len(fine), how, 0)
    if kept:
        torch.save(head.state_dict(), kept)
    return head


# ---- figures


def bits_at(curve: Sequence[Sequence[float]], divergence: float) -> float:
    """Return the bits a pixel where a curve has a divergence, interpolated between logarithms.

    Its fewest bits where it never diverges as far, which is more than it needs; not a number where
    it never comes as near.
    """
    points = sorted((math.log(lost), math.log(bpp)) for _, bpp, lost in curve)
    lost, bpp = zip(*points, strict=True)
    if math.log(divergence) < lost[0]:
        return math.nan
    return math.exp(np.interp(math.log(divergence), lost, bpp))


def anchors(kept: Kept, task: str) -> list[tuple[float, float]]:
    """Return (bits a pixel, divergence) of the frozen codec at the qualities of `AT`."""
    curve = kept.curves[task][FROZEN]["0"]
    return [(bpp, lost) for quality, bpp, lost in curve if quality in AT]


def ratios(kept: Kept, task: str, arm: str, seed: str) -> list[float]:
    """Return an arm's bits over the frozen codec's, at the divergences of `anchors`."""
    curve = kept.curves[task][arm][seed]
    return [bits_at(curve, lost) / bpp for bpp, lost in anchors(kept, task)]


def show(kept: Kept) -> None:
    """Print a table of all tasks and arms."""
    whole = whole_parameters()
    print(
        f"Bits beside the frozen codec's at equal divergence (its own at qualities "
        f"{', '.join(map(str, AT))}), {kept.size['steps']} steps; means of the seeds, and of the "
        "three beside the control's, paired by seed\n"
    )
    print("| task | arm | own numbers | bits | beside the control, 95 % interval | every seed |")
    print("| --- | --- | --- | --- | --- | --- |")
    for task in kept.curves:
        for arm in [arm for arm in ARMS if arm in kept.curves[task]]:
            print(row(kept, task, arm, whole))
    for task in kept.curves:
        points = ", ".join(f"{lost:.4f} at {bpp:.3f}" for bpp, lost in anchors(kept, task))
        print(f"{task}: the frozen codec's divergences and bits a pixel: {points}")
    print(f"\n{kept.core_s / 60:.0f} minutes of one core")


def row(kept: Kept, task: str, arm: str, whole: int) -> str:
    """Return the line of an arm."""
    found = {seed: ratios(kept, task, arm, seed) for seed in kept.curves[task][arm]}
    paired = [
        statistics.fmean(own) / statistics.fmean(ratios(kept, task, CONTROL, seed))
        for seed, own in found.items()
    ]
    means = (shown(statistics.fmean(at)) for at in zip(*found.values(), strict=True))
    count = kept.counts[task][arm]
    beside, half = paired_interval(paired, [0.0] * len(paired))
    interval = "" if math.isnan(half) else f" ± {half:.3f}"
    passes = " (passes)" if beside <= BITS_BAR and count <= NUMBERS_BAR * whole else ""
    return (
        f"| {task} | {arm} | {count:,} ({100 * count / whole:.2f} %) | {' / '.join(means)} | "
        f"{shown(beside)}{interval}{passes} | {', '.join(map(shown, paired))} |"
    )


def shown(ratio: float) -> str:
    """Write a ratio; it is not a number where an arm never comes so near to the teacher."""
    return "not reached" if math.isnan(ratio) else f"{ratio:.3f}"


def whole_parameters() -> int:
    """Count the numbers of backbone and codec together."""
    backbone = load_backbone(BACKBONE)
    parts = backbone.tail("input", LOGITS), load_base(shipped_file(next(iter(SHIPPED.values()))))
    return sum(one.numel() for part in parts for one in part.parameters())


if __name__ == "__main__":
    main()
