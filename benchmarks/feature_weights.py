"""Learns what `feature-klt` knows of a layer of a backbone, from photographs and NYUv2 frames.

    python -m benchmarks.feature_weights --out FILE.safetensors

Every other photograph of `natural/` is kept back (`python -m benchmarks.features` measures on
those), and so is NYUv2's test split. Half of the metric is the features' own, half how much the
network's answer moves with them: Fisher information E[g gᵀ], g the gradient of the log-probability
of a class that is drawn from the answer (Amari, "Natural gradient works efficiently in learning",
1998), to the power of 1/2. The same seed gives the same file on the same machine.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from benchmarks.feature_crops import SIDE, Picture, features_of, frames, learnt_from
from dsc._backbones.base import Backbone
from dsc._backbones.registry import load_backbone
from dsc._codecs.klt.blocks import LONGEST, bands, to_coefficients
from dsc._codecs.klt.codec import KIND, SHIPPED_TASK
from dsc._codecs.klt.learn import learn
from dsc._codecs.klt.model import Model
from dsc._coding.weights_file import save_with_facts

BATCH = 16
NATURAL_EACH, NYU_EACH = 8, 2  # crops
AREA = (0.25, 1.0)  # of a crop
POWER = 0.5  # of Fisher information

Floats = NDArray[np.float64]


def crops(data: Path, seed: int) -> Iterator[Picture]:
    """Yield squares of `SIDE` pixels to learn from."""
    rng = np.random.default_rng(seed)
    for picture in learnt_from(data):
        yield from (_crop(picture, rng) for _ in range(NATURAL_EACH))
    for frame in frames(data):
        yield from (_crop(frame, rng) for _ in range(NYU_EACH))


def gradients_of(backbone: Backbone, layer: str, features: NDArray[np.float16]) -> Floats:
    """Return gradients (n, C, h, w) of the log-probability of classes drawn from the answer."""
    tail, parts = backbone.tail(layer, "logits"), []
    for at in range(0, len(features), BATCH):
        given = torch.from_numpy(features[at : at + BATCH]).float().requires_grad_()
        answer = tail(given).log_softmax(1)
        drawn = torch.multinomial(answer.detach().exp(), 1)
        answer.gather(1, drawn).sum().backward()
        assert given.grad is not None
        parts.append(given.grad.double().numpy())
    return np.concatenate(parts)


def learn_for(features: NDArray[np.float16], gradients: Floats) -> Model:
    """Learn a model in the metric that the module tells of."""
    channels = gradients.shape[1]
    fisher = np.einsum("nchw,ndhw->cd", gradients, gradients, optimize=True)
    values, vectors = np.linalg.eigh(fisher * (channels / np.trace(fisher)))
    metric = (vectors * np.maximum(values, 1e-9) ** POWER) @ vectors.T
    return learn(list(features), metric, _energy(gradients) ** (POWER / 2))


def _energy(gradients: Floats) -> Floats:
    """Return the mean square of gradients by bands of frequencies (8, 8)."""
    down, along = (bands(side) for side in gradients.shape[2:])
    power = sum(np.square(to_coefficients(one)).sum(axis=0) for one in gradients)
    found, seen = np.zeros((LONGEST, LONGEST)), np.zeros((LONGEST, LONGEST))
    np.add.at(found, (down[:, None], along), power)
    np.add.at(seen, (down[:, None], along), 1)
    rows, columns = (np.minimum(np.arange(LONGEST), side.max()) for side in (down, along))
    energy: Floats = (found / np.maximum(seen, 1))[rows[:, None], columns]
    return energy


def _crop(picture: Picture, rng: np.random.Generator) -> Picture:
    """Cut a random square out, resize it, and mirror it now and then."""
    height, width = picture.shape[:2]
    side = round(min(height, width) * float(np.sqrt(rng.uniform(*AREA))))
    top, left = (int(rng.integers(n - side + 1)) for n in (height, width))
    part = np.ascontiguousarray(picture[top : top + side, left : left + side])
    planes = torch.from_numpy(part).permute(2, 0, 1)[None].float()
    sized = functional.interpolate(planes, (SIDE, SIDE), mode="bicubic", antialias=True)
    found = sized[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(found[:, :: rng.choice((-1, 1))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--layer", default="block10")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    backbone = load_backbone(args.backbone)
    features = features_of(backbone, args.layer, crops(Path(args.data), args.seed))
    print(f"{len(features)} crops", flush=True)
    model = learn_for(features, gradients_of(backbone, args.layer, features))
    facts = {
        "kind": KIND,
        "tasks": {SHIPPED_TASK: model.facts()},
        "weights_sha256": backbone.weights_sha256,
        "data": "107 ImageNet photographs, one a class, and 330 frames of NYU Depth v2's train "
        "split, as crops of 224 pixels",
    }
    tensors = {f"{SHIPPED_TASK}.{name}": array for name, array in model.tensors().items()}
    Path(args.out).write_bytes(save_with_facts(tensors, facts))


if __name__ == "__main__":
    main()
