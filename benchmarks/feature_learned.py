"""Bits of `feature-learned` beside `av1` where both keep as much of a backbone's answer.

    python -m benchmarks.feature_learned

The photographs are those of `natural/` that nothing was trained on, 224 pixels; bits are real, of
streams without containers. What is kept is told by the divergence of the answer to what is decoded
from that to the photograph itself: KL, in nats, over 1000 classes. Also printed: how far estimated
bits are from real ones, whether bits rise from quality to quality, and operations of the networks.
"""

import argparse
import math
import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.feature_crops import SIDE, Picture, held_back
from dsc._backbones.pictures import prepare
from dsc._backbones.registry import load_backbone
from dsc._codecs.learned.encoder_alone import TablePrior
from dsc._codecs.learned.feature.codec import FeatureLearnedCodec
from dsc._codecs.learned.feature.weights import load_network
from dsc._codecs.registry import make_codec
from dsc._coding.integer import IntegerConv
from dsc._schemas import Extractor, Quality, Task, TaskKind
from dsc._training.models.feature import code, divergence_of

BACKBONE, LAYER = "efficientnet-lite0", "block10"
DIVERGENCES = (0.96, 0.47, 0.124, 0.03)
PIXELS = SIDE * SIDE
AV1 = (1, 15, 30, 45, 60, 75, 90)
LEARNED = (1, 8, 15, 22, 30, 40, 50, 60, 70, 80, 90, 100)
RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)


class Judge:
    """Asks the backbone about pictures and features."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.backbone = load_backbone(BACKBONE)
        self.own = self.backbone.preprocessing.model_copy(update={"side": None, "crop": 1.0})
        self.tail = self.backbone.tail(LAYER, "logits")
        self.pictures = pictures
        self.features = self.features_of(pictures)
        self.answers = self.ask(self.features)

    def features_of(self, pictures: Sequence[Picture]) -> Tensor:
        """Return features (n, C, h, w) of pictures that need no resizing."""
        parts = [
            self.backbone.features(prepare(pictures[at : at + 16], self.own, 32), LAYER)
            for at in range(0, len(pictures), 16)
        ]
        return torch.cat(parts)

    @torch.inference_mode()
    def ask(self, features: Tensor) -> Tensor:
        """Return logits (n, classes)."""
        return torch.cat([self.tail(some.float()) for some in torch.split(features, 16)])

    def judge(self, features: Tensor) -> tuple[float, float]:
        """Return the mean divergence, and the share whose likeliest class stays."""
        found = self.ask(features)
        agrees = (found.argmax(1) == self.answers.argmax(1)).float().mean()
        return float(divergence_of(self.answers, found).mean()), float(agrees)


def squares(photographs: Sequence[Picture]) -> list[Picture]:
    """Return photographs as the backbone would see them, 8 bits again."""
    backbone = load_backbone(BACKBONE)
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (backbone.preprocessing.mean, backbone.preprocessing.std)
    )
    prepared = prepare(photographs, backbone.preprocessing, 32) * std + mean
    pixels = prepared.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return [np.ascontiguousarray(picture) for picture in pixels.numpy()]


def learned_codec(judge: Judge, weights: str | None) -> FeatureLearnedCodec:
    """Make the codec for the layer, with the weights of a file or those that come with dsc."""
    backbone = judge.backbone
    layer = next(known for known in backbone.layers if known.name == LAYER)
    side = SIDE // layer.stride
    task = Task(
        name="rgb_feature",
        kind=TaskKind.FEATURE,
        dtype="float16",
        channels=layer.channels,
        shape=(layer.channels, side, side),
        extractor=Extractor(
            backbone=backbone.name,
            weights_sha256=backbone.weights_sha256,
            layer=LAYER,
            of="rgb",
            preprocessing=backbone.preprocessing,
        ),
    )
    if weights is None:
        return FeatureLearnedCodec.for_tasks([task])
    return FeatureLearnedCodec([task], Path(weights).read_bytes())


def av1_curve(pictures: Sequence[Picture], judge: Judge) -> list[list[float]]:
    """Return bits a pixel, KL and agreement by quality."""
    codec, rows = make_codec("av1", [RGB]), []
    for quality in AV1:
        streams = codec.encode_batch([{"rgb": p} for p in pictures], Quality(default=quality))
        decoded = codec.decode_batch(streams, ["rgb"], PIXELS)
        bits = 8 * np.mean([len(one["rgb"]) for one in streams])
        found = judge.judge(judge.features_of([one["rgb"] for one in decoded]))
        rows.append([quality, bits / PIXELS, *found])
    return rows


def learned_curve(
    codec: FeatureLearnedCodec, judge: Judge, qualities: Sequence[int]
) -> list[list[float]]:
    """Return bits a pixel, KL and agreement by quality."""
    name, rows = codec.tasks[0].name, []
    samples = [{name: one} for one in judge.features.half().numpy()]
    for quality in qualities:
        streams = codec.encode_batch(samples, Quality(default=quality))
        decoded = codec.decode_batch(streams, [name], PIXELS)
        bits = 8 * np.mean([len(one[name]) for one in streams])
        features = torch.from_numpy(np.stack([one[name] for one in decoded]))
        rows.append([quality, bits / PIXELS, *judge.judge(features)])
    return rows


def at_divergence(rows: Sequence[Sequence[float]], divergence: float) -> float:
    """Return the bits a pixel where a curve has a divergence, interpolated between logarithms."""
    bpp, found = (np.log([row[column] for row in rows])[::-1] for column in (1, 2))
    if not found[0] <= np.log(divergence) <= found[-1]:
        return float("nan")
    return float(np.exp(np.interp(np.log(divergence), found, bpp)))


@torch.inference_mode()
def estimated_bpp(codec: FeatureLearnedCodec, judge: Judge, quality: int) -> float:
    """Return the bits a pixel of plainly rounded symbols by the densities that training uses."""
    loaded = load_network(codec.weights())
    loaded.network.entropy.prior = TablePrior(loaded.hyper_tables)
    parts = [
        code(loaded.network, some, torch.full((len(some),), quality)).bits
        for some in torch.split(judge.features, 16)
    ]
    return float(torch.cat(parts).mean()) / PIXELS


def operations(data: bytes) -> dict[str, float]:
    """Count millions of multiplications for one picture, by part of the network."""
    loaded = load_network(data)
    network, spec = loaded.network, loaded.network.spec
    counts: Counter[str] = Counter()

    def count(name: str, module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        counts[name] += out.numel() * module.weight[0].numel()

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | IntegerConv):
            part = "hyper-analysis" if name.startswith("entropy.analysis") else name.split(".")[0]
            module.register_forward_hook(partial(count, part))
    side = SIDE // spec.stride
    network.entropy.prior = TablePrior(loaded.hyper_tables)
    code(network, torch.zeros(1, spec.channels, side, side), torch.tensor([50]))
    counts["synthesis"] = counts["analysis"]  # its inverse, which training does not call as a layer
    return {name: value / 1e6 for name, value in counts.items()}


def print_curve(name: str, rows: Sequence[Sequence[float]]) -> None:
    print(
        f"\n{name}\n\n| quality | bits a pixel | KL | same class |\n| ---: | ---: | ---: | ---: |"
    )
    for quality, bpp, divergence, agrees in rows:
        print(f"| {quality:.0f} | {bpp:.4f} | {divergence:.4f} | {100 * agrees:.1f} % |")


def print_equal(av1: Sequence[Sequence[float]], learned: Sequence[Sequence[float]]) -> None:
    print("\n| KL | av1 | feature-learned | share |\n| ---: | ---: | ---: | ---: |")
    for divergence in DIVERGENCES:
        theirs, ours = (at_divergence(rows, divergence) for rows in (av1, learned))
        print(f"| {divergence} | {theirs:.3f} | {ours:.3f} | {ours / theirs:.3f} |")


def print_rates(codec: FeatureLearnedCodec, judge: Judge) -> None:
    """Print real beside estimated bits, and whether bits rise at every quality."""
    samples = [{codec.tasks[0].name: one} for one in judge.features.half().numpy()]
    plain = FeatureLearnedCodec(codec.tasks, codec.weights(), kappa=math.inf)

    def real(codec: FeatureLearnedCodec, quality: int, share: int) -> float:
        coded = codec.encode_batch(samples[::share], Quality(default=quality))
        return 8 * float(np.mean([len(data) for one in coded for data in one.values()])) / PIXELS

    print("\n| quality | estimated | real |\n| ---: | ---: | ---: |")
    for quality in (10, 30, 60, 100):
        found, wanted = real(plain, quality, 1), estimated_bpp(codec, judge, quality)
        print(f"| {quality} | {wanted:.4f} | {found:.4f} ({100 * (found / wanted - 1):+.2f} %) |")
    bits = [real(codec, quality, 18) for quality in range(1, 101)]
    falls = [q + 1 for q, (a, b) in enumerate(pairwise(bits), 1) if b <= a]
    print(f"\nbits rise at {99 - len(falls)} of 99 qualities" + (f", not at {falls}" * bool(falls)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--weights", help="a weights file instead of the one that comes with dsc")
    args = parser.parse_args()
    torch.set_num_threads(1)
    judge = Judge(squares(held_back(Path(args.data))))
    codec = learned_codec(judge, args.weights)
    learned = learned_curve(codec, judge, LEARNED)
    print_curve("feature-learned", learned)
    parts = operations(codec.weights())
    print("\nmillions of multiplications a picture: ", end="")
    print(", ".join(f"{name} {value:.1f}" for name, value in parts.items()))
    print_rates(codec, judge)
    av1 = av1_curve(judge.pictures, judge)
    print_curve("av1", av1)
    print_equal(av1, learned)


if __name__ == "__main__":
    main()
