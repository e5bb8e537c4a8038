"""Trains the weights of `feature-learned` for a layer, from crops of staged pictures.

    python -m benchmarks.learned_feature_weights --out feature-learned.safetensors --work FOLDER

Features are computed once and kept in FOLDER, and the state of training every few hundred steps, so
that the command goes on where it was stopped, and `--steps` more than before train longer. Every
other photograph is kept back (`benchmarks.feature_crops`). The same pictures, steps and seed give
the same file on the same machine, if training is not stopped to be given other steps.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.feature_crops import features_of, training_crops
from dsc._backbones.base import Backbone, Layer
from dsc._backbones.registry import load_backbone
from dsc._codecs.learned.feature.spec import FeatureSpec
from dsc._codecs.learned.feature.weights import CodedLayer, save_network
from dsc._training.models.feature import FeatureExamples, train, untrained, with_answers


def layer_of(backbone: Backbone, name: str) -> Layer:
    """Return a layer of a backbone by its name."""
    return next(layer for layer in backbone.layers if layer.name == name)


def examples_of(
    backbone: Backbone, layer: str, data: Path, work: Path, share: int
) -> FeatureExamples:
    """Compute the features of the training crops, or read those that are kept."""
    kept = work / f"{backbone.name}-{layer}-{share}.npy"
    if not kept.exists():
        found = features_of(backbone, layer, training_crops(data, share=share), batch=32)
        with kept.with_suffix(".part").open("wb") as file:
            np.save(file, found)
        kept.with_suffix(".part").replace(kept)
    return with_answers(torch.from_numpy(np.load(kept)), backbone.tail(layer, "logits"))


def main() -> None:
    """Train, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--out", required=True)
    parser.add_argument("--work", required=True, help="folder of features and state")
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--layer", default="block10")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quality", type=int, help="train for this one alone, to compare")
    parser.add_argument("--share", type=int, default=1, help="take every n-th crop")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    work = Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    backbone = load_backbone(args.backbone)
    layer = layer_of(backbone, args.layer)
    examples = examples_of(backbone, layer.name, Path(args.data), work, args.share)
    print(f"{len(examples)} crops after {time.process_time() - start:.0f} s", flush=True)
    tail = backbone.tail(layer.name, "logits")
    network = untrained(FeatureSpec(layer.channels, layer.stride), examples, tail, args.seed)
    qualities = range(1, 101) if args.quality is None else [args.quality]
    state = work / f"{backbone.name}-{layer.name}-{args.seed}-{args.quality or 'all'}.state"
    trained = train(
        network,
        examples,
        tail,
        args.steps,
        args.seed,
        qualities,
        checkpoint=state,
        log=lambda text: print(text, flush=True),
    )
    card = {
        "data": "crops of 107 ImageNet photographs, one a class, of 330 frames of NYU Depth v2's "
        "train split, and of mosaics of Tiny-ImageNet (40 classes) and CIFAR-100 (train splits)",
        "licence of the data": "ImageNet, Tiny-ImageNet: non-commercial research; NYU Depth v2 "
        "and CIFAR-100: none stated",
        "steps": str(args.steps),
        "seed": str(args.seed),
    }
    of = CodedLayer(backbone.name, backbone.weights_sha256, layer.name)
    Path(args.out).write_bytes(save_network(trained, of, card))


if __name__ == "__main__":
    main()
