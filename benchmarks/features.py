"""Feature maps beside pixels: bits at equal error of a network's answer, and time to a batch.

    python -m benchmarks.features --data DIR

DIR has `natural/` and `nyuv2/`. Pictures are every other photograph, 224 pixels square, none of
which anything was learnt from. A picture is coded by `av1`, and its feature map of block 10 of
efficientnet-lite0 by `feature-klt`: with the file that comes with dsc (`python -m
benchmarks.feature_weights`), and with one learnt from the features of the other photographs alone.
The error is the Kullback-Leibler divergence of the network's answer from that to the uncompressed
picture, in nats. Times are of one thread, medians; a batch of pictures goes through the network up
to the layer.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

import dsc
from benchmarks.feature_crops import SIDE, Picture, features_of, held_back, learnt_from
from dsc._backbones.base import Backbone
from dsc._backbones.pictures import prepare
from dsc._backbones.registry import load_backbone
from dsc._codecs.base import Codec
from dsc._codecs.klt.codec import SHIPPED_TASK, FeatureKltCodec, shipped_model
from dsc._codecs.klt.learn import learn
from dsc._codecs.registry import make_codec
from dsc._schemas import Extractor, Quality, Task
from dsc._sources.base import SourceSample

LAYER = "block10"
KL = (0.96, 0.47, 0.124)  # at which bits are compared
PICTURES = (15, 30, 45, 60, 70, 80)  # qualities
FEATURES = (1, 10, 20, 30, 40, 50, 60, 80, 100)
BATCH, REPEATS = 36, 5
RGB = Task(name="rgb", kind="image", dtype="uint8", channels=3)

Features = NDArray[np.float16]


@dataclass(frozen=True)
class Point:
    """What a quality takes, in bytes a picture, and does to the answer."""

    quality: int
    size: float
    divergence: float
    agrees: float

    @property
    def bpp(self) -> float:
        """Bits a pixel of the picture."""
        return 8 * self.size / SIDE**2


class Network:
    """The backbone's answers, and how far others are from them."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.backbone: Backbone = load_backbone("efficientnet-lite0")
        self.features = self.features_of(pictures)
        self._tail = self.backbone.tail(LAYER, "logits")
        self._truth = self.answer(self.features)

    def features_of(self, pictures: Sequence[Picture]) -> Features:
        """Return feature maps (n, C, h, w)."""
        return features_of(self.backbone, LAYER, list(pictures))

    @torch.no_grad()
    def answer(self, features: Features) -> torch.Tensor:
        """Return log-probabilities (n, 1000)."""
        given = torch.from_numpy(features).float()
        return torch.cat([self._tail(part) for part in given.split(BATCH)]).log_softmax(1)

    def point(self, quality: int, size: float, features: Features) -> Point:
        """Measure what decoded features do to the answer."""
        found, truth = self.answer(features), self._truth
        divergence = (truth.exp() * (truth - found)).sum(1).mean().item()
        agrees = (found.argmax(1) == truth.argmax(1)).float().mean().item()
        return Point(quality, size, divergence, agrees)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--pictures", type=int, default=108)
    args = parser.parse_args()
    torch.set_num_threads(1)
    backbone = load_backbone("efficientnet-lite0")
    pictures, others = (
        [_square(one, backbone) for one in read(Path(args.data))[: args.pictures]]
        for read in (held_back, learnt_from)
    )
    network = Network(pictures)
    task = _task(backbone, network.features.shape[1:])
    own = learn(list(network.features_of(others)))
    known = shipped_model(task)
    assert known is not None
    curves = {
        "av1": _curve_of_pictures(network, pictures),
        "feature-klt": _curve(network, FeatureKltCodec([task], {task.name: known})),
        "feature-klt, learnt": _curve(network, FeatureKltCodec([task], {task.name: own})),
    }
    for name, points in curves.items():
        _print_curve(name, points)
    _print_ratios(curves)
    _print_times(network, pictures, task)


def _square(picture: Picture, backbone: Backbone) -> Picture:
    """Return what the network sees of a photograph, as a picture again."""
    seen = prepare([picture], backbone.preprocessing, 32)[0]
    mean, std = (torch.tensor(v)[:, None, None] for v in
                 (backbone.preprocessing.mean, backbone.preprocessing.std))  # fmt: skip
    return (seen * std + mean).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def _task(backbone: Backbone, shape: Sequence[int]) -> Task:
    made = Extractor(
        backbone=backbone.name,
        weights_sha256=backbone.weights_sha256,
        layer=LAYER,
        of="rgb",
        preprocessing=backbone.preprocessing,
    )
    return Task(
        name=SHIPPED_TASK, kind="feature", dtype="float16", channels=shape[0], shape=tuple(shape),
        extractor=made,
    )  # fmt: skip


def _coded(codec: Codec, name: str, arrays: Sequence[Any], quality: int) -> tuple[float, Any]:
    """Return the mean bytes, and what is decoded."""
    samples = [{name: one} for one in arrays]
    streams = codec.encode_batch(samples, Quality(default=quality))
    decoded = codec.decode_batch(streams, [name], SIDE**2)
    return statistics.fmean(len(one[name]) for one in streams), [one[name] for one in decoded]


def _curve(network: Network, codec: FeatureKltCodec) -> list[Point]:
    points = []
    for quality in FEATURES:
        size, decoded = _coded(codec, codec.tasks[0].name, list(network.features), quality)
        points.append(network.point(quality, size, np.stack(decoded)))
    return points


def _curve_of_pictures(network: Network, pictures: Sequence[Picture]) -> list[Point]:
    codec, points = make_codec("av1", [RGB]), []
    for quality in PICTURES:
        size, decoded = _coded(codec, "rgb", pictures, quality)
        points.append(network.point(quality, size, network.features_of(decoded)))
    return points


def _bpp_at(points: Sequence[Point], divergence: float) -> float:
    """Return bits a pixel at a divergence: straight lines between points, both as logarithms."""
    ordered = sorted(points, key=lambda point: point.divergence)
    known = np.log([point.divergence for point in ordered])
    if not known[0] <= np.log(divergence) <= known[-1]:
        return float("nan")
    return float(np.exp(np.interp(np.log(divergence), known, np.log([p.bpp for p in ordered]))))


def _print_curve(name: str, points: Sequence[Point]) -> None:
    print(f"\n{name}\nquality  bytes     bpp      KL  same answer")
    for p in points:
        print(f"{p.quality:7} {p.size:6.0f}  {p.bpp:.4f}  {p.divergence:6.4f}  {p.agrees:.1%}")


def _print_ratios(curves: dict[str, list[Point]]) -> None:
    pixels = curves["av1"]
    print("\nbits a pixel at equal divergence, and beside av1")
    for divergence in KL:
        found = {name: _bpp_at(points, divergence) for name, points in curves.items()}
        cells = [f"{name} {bpp:.3f} ({bpp / found['av1']:.2f})" for name, bpp in found.items()]
        print(f"KL {divergence}: " + ", ".join(cells))
    worst = max(point.divergence for point in pixels)
    print(f"(of av1 between {min(p.divergence for p in pixels):.3f} and {worst:.2f})")


class _Both:
    """Pictures and their features, as a source."""

    name: ClassVar[str] = "both"

    def __init__(self, pictures: Sequence[Picture], features: Features, task: Task) -> None:
        self.tasks = (RGB, task)
        self._arrays = {"rgb": pictures, task.name: features}

    def __len__(self) -> int:
        return len(self._arrays["rgb"])

    def key(self, index: int) -> str:
        return f"sample_{index}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        found = {name: self._arrays[name][index] for name in tasks}
        return SourceSample(self.key(index), found, dict.fromkeys(found, 0))

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "root": None, "options": {}, "fingerprint": ""}


def _print_times(network: Network, pictures: Sequence[Picture], task: Task) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dsc.compress(_Both(pictures, network.features, task), f"{folder}/a", shard_size=BATCH)

        def from_pixels() -> None:
            for batch in dsc.stream(f"{folder}/a", "rgb", BATCH, threads=0, drop_last=True):
                whole = batch["rgb"].permute(0, 2, 3, 1).numpy()
                network.features_of(list(whole))

        def from_features() -> None:
            for _ in dsc.stream(
                f"{folder}/a", task.name, BATCH, threads=0, drop_last=True, decode="features"
            ):
                pass

        counted = len(pictures) // BATCH * BATCH
        pixels, features = (_milliseconds(one, counted) for one in (from_pixels, from_features))
    print(
        f"\nms a picture to a batch of {BATCH}: rgb by av1 and the network up to {LAYER} "
        f"{pixels:.2f}, features {features:.2f}: {pixels / features:.0f} times as fast"
    )


def _milliseconds(call: Callable[[], None], samples: int) -> float:
    """Return CPU milliseconds a sample, the median of some calls after a first one."""
    call()
    spent = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return 1000 * statistics.median(spent) / samples


if __name__ == "__main__":
    main()
