"""Trains the model file of `label-context`: NYUv2's train split and procedural views.

    python -m benchmarks.label_weights --out label-context.safetensors

The views' seeds are 77 and 78; benchmarks and tests use others. Every fourth NYUv2 map is there a
second time at 304×224 (nearest), so that the model meets coarse boundaries too. One core, seven
minutes of its time. The same maps, steps and seed give the same file on the same machine.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from dsc._codecs.label.palette import index_labels
from dsc._coding.context.weights import save_model
from dsc._sources.registry import open_source
from dsc._training.models.label_context import train

SETS = (("procedural 256", 240, 256, 77), ("procedural 512", 60, 512, 78))
SMALL = (224, 304)


def nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize by picking the pixel under the centre of each new one."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(size, labels.shape, strict=True)
    )
    return np.ascontiguousarray(labels[rows][:, columns])


def maps(data: Path, share: int) -> Iterator[np.ndarray]:
    """Yield the training maps, every `share`-th of each set."""
    nyu = open_source("nyuv2", str(data / "nyuv2"), split="train")
    for at in range(0, len(nyu), share):
        labels = nyu.read(at, ["label"]).arrays["label"]
        yield labels
        if at // share % 4 == 0:
            yield nearest(labels, SMALL)
    for _, count, size, seed in SETS:
        views = open_source("sample", n=count, size=size, seed=seed)
        for at in range(0, count, share):
            yield views.read(at, ["segment_semantic"]).arrays["segment_semantic"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=8000, help="updates of each phase's network")
    parser.add_argument("--share", type=int, default=1, help="train on every n-th map")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    indexed = [index_labels(labels)[0] for labels in maps(Path(args.data), args.share)]
    print(f"{len(indexed)} maps after {time.process_time() - start:.0f} s", flush=True)
    model = train(indexed, args.steps, log=print)
    card = {
        "data": "NYU Depth v2 (40 classes), 330 frames of the train split, native size and "
        "304×224; 300 procedural views of dsc's own renderer",
        "licence of the data": "NYU Depth v2: none stated by the copy that was used",
        "steps": f"{args.steps} updates of 2048 pixels for each of 7 networks",
        "seconds of one core": f"{time.process_time() - start:.0f}",
    }
    Path(args.out).write_bytes(save_model(model, card))


if __name__ == "__main__":
    main()
