"""One bitstream, several decoder paths: which path is best for whom, and what each part is worth.

    python -m benchmarks.mpa                 # three seeds, 20 minutes of one core
    python -m benchmarks.mpa --show          # the tables of the figures that were kept
    python -m benchmarks.mpa --quick --out /tmp/mpa.json    # sees that it runs

The codec of `dsc._training.research.mpa` at 64 pixels. The task networks are trained once: a
classifier of Tiny-ImageNet-40's photographs, a segmenter of rendered solids, and a network on
CIFAR-100 whose features stand for what people see. Each seed then trains a codec, on photographs
and rendered views, by squared error and features, and after that each path alone. All paths of a
seed see equally many pictures, at the same levels and positions of the slider; the terms of their
losses are weighed so that each begins at 1. Figures are of pictures that nothing was trained on,
rates are estimated from rounded symbols. A seed that was kept is not trained again.
"""

import argparse
import hashlib
import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsc._replay.experiment.metrics import paired_interval
from dsc._replay.scenario.images import LabelledImages, load_split
from dsc._sources.registry import open_source
from dsc._training.research.mpa.batches import Schedule, to_planes
from dsc._training.research.mpa.codec import MultiPathCodec
from dsc._training.research.mpa.losses import (
    AnswerDivergence,
    FeatureDistance,
    Measure,
    Term,
    squared_error,
)
from dsc._training.research.mpa.task_networks import TaskNetwork, fit
from dsc._training.research.mpa.training import train_path, train_shared

KEPT = Path(__file__).parent / "results" / "mpa.json"
LEVELS = (2, 4, 6)
SIDE = 64
MAIN = "main"
VIEW_CLASSES = 4  # ground, cube, sphere, cylinder
TERMS = ("mse", "features", "answers")
FEATURES = 100.0  # what the distance of features is worth in squared error, while the codec trains
FIRST = 512  # training pictures that the codec starts from, and that terms are weighed by
JUDGES_SEED = 0


@dataclass(frozen=True)
class Arm:
    """One path that is trained.

    Attributes
    ----------
    kind
        Of its side path.
    data
        ``photographs``, ``views`` or ``both``: what it sees.
    terms
        How many of `TERMS` its loss has.
    """

    kind: str
    data: str
    terms: int = 3


ARMS = {
    "mse": Arm("inverted", "both", 1),
    "cls": Arm("bottleneck", "photographs"),
    "seg": Arm("bottleneck", "views"),
    "mse, bottleneck": Arm("bottleneck", "both", 1),
    "cls, inverted": Arm("inverted", "photographs"),
    "seg, inverted": Arm("inverted", "views"),
    "mse, LoRA 4": Arm("lora-4", "both", 1),
    "mse, LoRA 16": Arm("lora-16", "both", 1),
    "cls, MSE": Arm("bottleneck", "photographs", 1),
    "cls, MSE + features": Arm("bottleneck", "photographs", 2),
}
OWN = {MAIN: "features", "mse": "psnr_db", "cls": "kl", "seg": "view_kl"}  # what each shall win
METRICS = {
    "psnr_db": ".2f",
    "features": ".3f",
    "kl": ".3f",
    "top1": ".1f",
    "view_kl": ".4f",
    "miou": ".1f",
}  # and how they are shown
RISING = ("psnr_db", "top1", "miou")


@dataclass(frozen=True)
class Size:
    """How much of everything: pictures, and steps of each training."""

    photographs: int
    views: int
    test: int
    judge_steps: int
    shared_steps: int
    path_steps: int


FULL = Size(8000, 2400, 400, judge_steps=1000, shared_steps=1200, path_steps=300)
QUICK = Size(64, 48, 16, judge_steps=3, shared_steps=3, path_steps=2)


@dataclass(frozen=True)
class Pictures:
    """Pictures (N, 3, 64, 64) uint8 and their labels, (N,) or (N, 64, 64)."""

    pictures: Tensor
    labels: Tensor

    def cut(self, begin: int, end: int) -> "Pictures":
        """Return those from `begin` to before `end`."""
        return Pictures(self.pictures[begin:end], self.labels[begin:end])


@dataclass(frozen=True)
class Data:
    """What is trained on and what is measured on."""

    photographs: Pictures
    views: Pictures
    small: Pictures  # CIFAR-100, for the features
    test_photographs: Pictures
    test_views: Pictures


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a few steps of everything")
    parser.add_argument("--show", action="store_true", help="only show what was kept")
    parser.add_argument("--out", type=Path, default=KEPT)
    args = parser.parse_args(words)
    size = QUICK if args.quick else FULL
    found: dict[str, Any] = {"size": asdict(size), "seeds": {}}
    if args.out.exists():
        found = json.loads(args.out.read_text())
    if found["size"] != asdict(size):
        parser.error(f"{args.out} holds a run of another size; name another file with --out")
    missing = [seed for seed in range(args.seeds) if str(seed) not in found["seeds"]]
    if missing and not args.show:
        torch.set_num_threads(1)
        data = read_data(Path(args.data), size)
        judges = train_judges(data, size.judge_steps)
        for seed in missing:
            found["seeds"][str(seed)] = run(data, judges, size, seed)
            args.out.write_text(json.dumps(found, indent=1) + "\n")
    if not found["seeds"]:
        parser.error(f"{args.out} holds no figures; run it without --show first")
    show(found)


def read_data(place: Path, size: Size) -> Data:
    """Read photographs and render views."""
    train, test = load_split(place / "tiny_imagenet40")
    small, _ = load_split(place / "cifar100")
    views = render(size.views)
    held_out = min(size.test, size.views // 6)
    return Data(
        photographs=labelled(train, size.photographs),
        views=views.cut(0, size.views - held_out),
        small=labelled(small, size.photographs),
        test_photographs=labelled(test, size.test),
        test_views=views.cut(size.views - held_out, size.views),
    )


def labelled(images: LabelledImages, count: int) -> Pictures:
    """Take `count` pictures, evenly spread over the classes."""
    rows = np.linspace(0, len(images) - 1, min(count, len(images))).astype(np.int64)
    some = images.take(rows)
    return Pictures(_channels_first(some.images), torch.from_numpy(some.labels))


def render(count: int) -> Pictures:
    """Render CLEVR-like views with the class of each pixel."""
    source = open_source("clevr", n=count, seed=1, size=SIDE)
    read = [source.read(k, ["rgb", "segment_semantic"]).arrays for k in range(count)]
    maps = torch.from_numpy(np.stack([one["segment_semantic"] for one in read]))
    return Pictures(_channels_first(np.stack([one["rgb"] for one in read])), maps - 1)


def _channels_first(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Judges:
    """The frozen task networks of a seed."""

    classifier: TaskNetwork
    segmenter: TaskNetwork
    features: TaskNetwork

    def measures(self, arm: Arm) -> list[Measure]:
        """Return what the loss of an arm is made of."""
        answers = self.segmenter if arm.data == "views" else self.classifier
        every = [squared_error, FeatureDistance(self.features), AnswerDivergence(answers)]
        return every[: arm.terms]


def train_judges(data: Data, steps: int) -> Judges:
    """Train the task networks on uncompressed pictures."""
    torch.manual_seed(JUDGES_SEED)
    judges = Judges(
        classifier=TaskNetwork(int(data.photographs.labels.max()) + 1),
        segmenter=TaskNetwork(VIEW_CLASSES, dense=True),
        features=TaskNetwork(int(data.small.labels.max()) + 1),
    )
    how = Schedule(steps, batch=64, lr=4e-3, seed=JUDGES_SEED)
    fit(judges.classifier, data.photographs.pictures, data.photographs.labels, how)
    fit(judges.features, data.small.pictures, data.small.labels, how)
    how = Schedule(steps, batch=16, lr=4e-3, seed=JUDGES_SEED)
    fit(judges.segmenter, data.views.pictures, data.views.labels, how)
    return judges


def run(data: Data, judges: Judges, size: Size, seed: int) -> dict[str, Any]:
    """Train and measure a codec and its paths."""
    began = time.process_time()
    seen = {"photographs": data.photographs.pictures, "views": data.views.pictures}
    seen["both"] = torch.cat([seen["photographs"], seen["views"]])
    codec = train_codec(seen["both"], judges, Schedule(size.shared_steps, seed=seed))
    found: dict[str, Any] = {"paths": {MAIN: measure(codec, None, data, judges)}}
    tell(f"seed {seed}: {MAIN}", found["paths"][MAIN])
    before = codec.digest(), fingerprint(codec, data)
    for name, arm in ARMS.items():
        codec.add_task(name, arm.kind)
        terms = weighed_alike(codec, judges.measures(arm), seen[arm.data])
        train_path(codec, name, seen[arm.data], terms, Schedule(size.path_steps, seed=seed))
        found["paths"][name] = measure(codec, name, data, judges)
        tell(f"seed {seed}: {name}", found["paths"][name])
    found["shares"] = {name: codec.task_share(name) for name in ARMS}
    found["uncompressed"] = uncompressed(data, judges)
    found["same_bits"] = fingerprint(codec, data) == before[1]
    found["same_weights"] = shared_digest(codec) == before[0]
    found["core_s"] = time.process_time() - began
    return found


def train_codec(pictures: Tensor, judges: Judges, how: Schedule) -> MultiPathCodec:
    """Train all that the tasks share."""
    torch.manual_seed(how.seed)
    codec = MultiPathCodec()
    codec.initialise(to_planes(evenly(pictures)))
    terms = [Term(1.0, squared_error), Term(FEATURES, FeatureDistance(judges.features))]
    train_shared(codec, pictures, terms, how)
    return codec


@torch.no_grad()
def weighed_alike(
    codec: MultiPathCodec, measures: Sequence[Measure], pictures: Tensor
) -> list[Term]:
    """Weigh measures so that each is 1 on the main path, on the average of all levels."""
    planes = to_planes(evenly(pictures))
    level = 1 + torch.arange(len(planes)).remainder(8).float()
    decoded = codec.decode(codec.encode(planes, level).latent, level).planes
    return [Term(1 / float(one(decoded, planes).mean()), one) for one in measures]


def evenly(pictures: Tensor) -> Tensor:
    """Take `FIRST` pictures, evenly spread."""
    return pictures[:: max(1, len(pictures) // FIRST)]


def shared_digest(codec: MultiPathCodec) -> str:
    """Return the hash of the codec as it was before there were any tasks."""
    bare = MultiPathCodec(codec.spec)
    state = codec.state_dict()
    bare.load_state_dict({name: state[name] for name in bare.state_dict()})
    return bare.digest()


@torch.no_grad()
def fingerprint(codec: MultiPathCodec, data: Data) -> str:
    """Return a hash of symbols, bits and the main path's pixels of some test pictures."""
    planes = to_planes(data.test_photographs.pictures[:32])
    found = hashlib.sha256()
    for level in LEVELS:
        at = torch.full((len(planes),), float(level))
        encoded = codec.encode(planes, at)
        decoded = codec.decode(encoded.latent, at)
        for part in (encoded.symbols, encoded.hyper, encoded.rate_bpp, decoded.planes):
            found.update(part.contiguous().numpy().tobytes())
    return found.hexdigest()


@torch.no_grad()
def measure(
    codec: MultiPathCodec, task: str | None, data: Data, judges: Judges
) -> dict[str, dict[str, float]]:
    """Measure a path at each of `LEVELS`, by all that any path is trained for."""
    on_photographs: dict[str, Measure] = {
        "squared": squared_error,
        "features": FeatureDistance(judges.features),
        "kl": AnswerDivergence(judges.classifier),
    }
    on_views = {"view_kl": AnswerDivergence(judges.segmenter)}
    found = {}
    for level in LEVELS:
        photographs = decode_all(codec, task, level, data.test_photographs, on_photographs)
        views = decode_all(codec, task, level, data.test_views, on_views)
        labels = answers(judges.classifier, photographs.decoded)
        maps = answers(judges.segmenter, views.decoded)
        found[str(level)] = {
            "bpp": photographs.rate_bpp,
            "view_bpp": views.rate_bpp,
            "psnr_db": psnr_db(photographs.means.pop("squared")),
            **{name: float(x.mean()) for name, x in (photographs.means | views.means).items()},
            "top1": accuracy(labels, data.test_photographs.labels),
            "miou": mean_iou(maps, data.test_views.labels),
        }
    return found


@dataclass(frozen=True)
class DecodedAll:
    """Decoded planes of a set, its mean rate, and each measure of every picture."""

    decoded: Tensor
    rate_bpp: float
    means: dict[str, Tensor]


def decode_all(
    codec: MultiPathCodec, task: str | None, level: int, of: Pictures, by: dict[str, Measure]
) -> DecodedAll:
    """Encode and decode a set of pictures, and measure them."""
    decoded, rates = [], []
    measured: dict[str, list[Tensor]] = {name: [] for name in by}
    for part in of.pictures.split(100):
        planes, at = to_planes(part), torch.full((len(part),), float(level))
        encoded = codec.encode(planes, at)
        decoded.append(codec.decode(encoded.latent, at, task).planes)
        rates.append(encoded.rate_bpp)
        for name, one in by.items():
            measured[name].append(one(decoded[-1], planes))
    means = {name: torch.cat(parts) for name, parts in measured.items()}
    return DecodedAll(torch.cat(decoded), float(torch.cat(rates).mean()), means)


def psnr_db(squared: Tensor) -> float:
    """Return the mean PSNR of pictures with these mean squared errors, in units of 255²."""
    return float((10 * (255.0**2 / squared.clamp_min(1e-9)).log10()).mean())


@torch.no_grad()
def answers(network: TaskNetwork, planes: Tensor) -> Tensor:
    """Return the likeliest classes."""
    return torch.cat([network(part).argmax(dim=1) for part in planes.split(100)])


def accuracy(found: Tensor, labels: Tensor) -> float:
    """Return the share of right answers, %."""
    return 100 * float((found == labels).float().mean())


def mean_iou(found: Tensor, labels: Tensor) -> float:
    """Return the mean over classes of intersection over union, %."""
    ratios = []
    for label in range(VIEW_CLASSES):
        both, either = (found == label) & (labels == label), (found == label) | (labels == label)
        ratios.append(float(both.sum()) / max(float(either.sum()), 1.0))
    return 100 * statistics.mean(ratios)


def uncompressed(data: Data, judges: Judges) -> dict[str, float]:
    """Return what the task networks reach on the pictures as they are."""
    labels = answers(judges.classifier, to_planes(data.test_photographs.pictures))
    maps = answers(judges.segmenter, to_planes(data.test_views.pictures))
    return {
        "top1": accuracy(labels, data.test_photographs.labels),
        "miou": mean_iou(maps, data.test_views.labels),
    }


def show(found: dict[str, Any]) -> None:
    """Print the table of all paths, and by how much one is better than another."""
    seeds = list(found["seeds"].values())
    print(f"\nMeans of {len(seeds)} seeds, at levels {', '.join(map(str, LEVELS))}:\n")
    print(
        "| path | parameters | PSNR, dB | feature distance | KL, classes | top-1, % | "
        f"KL, label maps | mIoU, % |\n|{' --- |' * 8}"
    )
    for path in (MAIN, *ARMS):
        share = statistics.mean(one["shares"].get(path, 0.0) for one in seeds)
        cells = [row(seeds, path, metric) for metric in METRICS]
        print(f"| {path} | {100 * share:.2f} % | {' | '.join(cells)} |")
    for name in ("top1", "miou"):
        whole = statistics.mean(one["uncompressed"][name] for one in seeds)
        print(f"uncompressed {name}: {whole:.1f} %")
    for name in ("bpp", "view_bpp"):
        print(f"{name}: {row(seeds, MAIN, name, '.3f')}, of every path")
    for name in ("same_bits", "same_weights"):
        print(f"{name} after all paths were trained: {[one[name] for one in seeds]}")
    print(
        "\n| is | better than | by | mean, 95 % interval over seeds | in seeds and levels |"
        f"\n|{' --- |' * 5}"
    )
    for better, worse, metric in relations():
        gains = compared(seeds, better, worse, metric)
        won = sum(gain > 0 for gain in gains.flat)
        mean, half = paired_interval(list(gains.mean(axis=1)), [0.0] * len(seeds))
        cells = f"{mean:+.4g} ± {half:.2g} | {won} of {gains.size}"
        print(f"| {better} | {worse} | {metric} | {cells} |")
    print(f"\n{sum(one['core_s'] for one in seeds) / 60:.0f} minutes of one core")


def row(seeds: Sequence[dict[str, Any]], path: str, metric: str, form: str = "") -> str:
    """Return a metric at each level, the mean of the seeds."""
    form = form or METRICS[metric]
    means = (
        statistics.mean(one["paths"][path][str(level)][metric] for one in seeds) for level in LEVELS
    )
    return " / ".join(f"{mean:{form}}" for mean in means)


def relations() -> list[tuple[str, str, str]]:
    """List (path, other path, metric): what the paper lets one expect."""
    own = [(path, other, OWN[path]) for path in OWN for other in OWN if other != path]
    accuracies = [("cls", other, "top1") for other in OWN if other != "cls"]
    accuracies += [("seg", other, "miou") for other in OWN if other != "seg"]
    terms = [
        (path, other, metric)
        for path, other in (("cls, MSE + features", "cls, MSE"), ("cls", "cls, MSE + features"))
        for metric in ("psnr_db", "features", "kl", "top1")
    ]
    kinds = [
        ("mse", "mse, bottleneck", "psnr_db"),
        ("cls", "cls, inverted", "kl"),
        ("seg", "seg, inverted", "view_kl"),
    ]
    lora = [
        (path, f"mse, LoRA {rank}", "psnr_db")
        for path in ("mse", "mse, bottleneck")
        for rank in (4, 16)
    ]
    return [*own, *accuracies, *terms, *kinds, *lora]


def compared(
    seeds: Sequence[dict[str, Any]], better: str, worse: str, metric: str
) -> NDArray[np.float64]:
    """Return by how much one path is better than another, (seeds, levels)."""
    sign = 1 if metric in RISING else -1
    paths = [(one["paths"][better], one["paths"][worse]) for one in seeds]
    return sign * np.array(
        [[mine[str(at)][metric] - other[str(at)][metric] for at in LEVELS] for mine, other in paths]
    )


def tell(what: str, measured: dict[str, dict[str, float]]) -> None:
    """Print the figures of a path, a line a level."""
    for level, at in measured.items():
        figures = ", ".join(f"{name} {x:.4g}" for name, x in at.items())
        print(f"{what}, level {level}: {figures}", flush=True)


if __name__ == "__main__":
    main()
