"""Trains the weights of `av1-small-restored`: photographs of `natural/` and NYUv2's train split.

    python -m benchmarks.restored_weights --out av1-small-restored.safetensors

None of the photographs is of CIFAR-100 or Tiny-ImageNet, nor of the classes of Tiny-ImageNet-40,
so that experiments on those replay nothing that the network has seen. The same photographs, steps
and seed give the same file on the same machine.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import torch

from dsc._codecs.restored.weights import save_network
from dsc._training.models.restored import make_examples, reduce_photographs, train

MARGIN = 10  # NYUv2 frames have a white border
NATURAL_EACH, NYU_EACH = 16, 6  # how often a photograph is reduced
CROPS = {32: 12_000, 64: 3_000}


def natural(data: Path) -> Iterator[np.ndarray]:
    """Yield the photographs, but for those of classes that experiments learn."""
    lines = (data / "tiny_imagenet40" / "classes.txt").read_text().splitlines()
    learned = {line.split("\t")[0] for line in lines}
    for path in sorted((data / "natural").rglob("*.JPEG")):
        if path.name.split("_")[0] not in learned:
            yield imagecodecs.jpeg8_decode(path.read_bytes())


def nyu(data: Path) -> Iterator[np.ndarray]:
    for number in (data / "nyuv2" / "train.txt").read_text().split():
        image = imagecodecs.jpeg8_decode((data / f"nyuv2/nyu_images/{number}.jpg").read_bytes())
        yield image[MARGIN:-MARGIN, MARGIN:-MARGIN]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    rng = np.random.default_rng(args.seed)
    pictures = reduce_photographs(list(natural(Path(args.data))), NATURAL_EACH, rng)
    pictures += reduce_photographs(list(nyu(Path(args.data))), NYU_EACH, rng)
    examples = {side: make_examples(pictures, side, n, rng) for side, n in CROPS.items()}
    print(f"{len(pictures)} pictures after {time.process_time() - start:.0f} s", flush=True)
    network = train(examples, args.steps, args.seed, log=lambda text: print(text, flush=True))
    card = {
        "data": "208 ImageNet photographs, one a class, and 330 frames of NYU Depth v2's train "
        "split, reduced to sides of 33 to 140 pixels; no picture of CIFAR-100 or Tiny-ImageNet, "
        "no class of Tiny-ImageNet-40",
        "licence of the data": "ImageNet: non-commercial research; NYU Depth v2: none stated",
        "steps": str(args.steps),
        "seed": str(args.seed),
        "seconds of one core": f"{time.process_time() - start:.0f}",
    }
    Path(args.out).write_bytes(save_network(network, card))


if __name__ == "__main__":
    main()
