"""Trains the networks of the machine paths, which come with dsc.

    python -m benchmarks.machine_path_weights --path cls --out machine-cls.safetensors

Pictures are the photographs of `natural/` at odd places (those at even ones are what benchmarks
measure), NYUv2's train split and Tiny-ImageNet-40; `seg` learns from NYUv2 alone, by the error of a
head that is trained before. What is coded, and how far training has come, is kept in `--work`: a
run that was stopped goes on. The same data, steps and seed give the same file on one machine.
"""

import argparse
import os
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import torch

from dsc._backbones.base import Backbone
from dsc._backbones.registry import load_backbone
from dsc._bench.machine import heads
from dsc._bench.machine.datasets import NYU_CLASSES, nyuv2
from dsc._bench.machine.heads import Schedule
from dsc._bench.machine.network import Network
from dsc._bench.machine.pictures import Array, resized
from dsc._bench.machine.segmentation import (
    SegmentationHead,
    segmentation_head,
    segmentation_loss,
)
from dsc._codecs.machine.paths import KIND
from dsc._codecs.restored.weights import save_network
from dsc._schemas.machine_path import PATHS
from dsc._training.models.machine_path import (
    SHAPE,
    CodedPictures,
    State,
    TaskNetwork,
    Terms,
    make_examples,
    train,
)

SIDE = 256  # of pictures that are coded
PHOTOGRAPHS_EACH, ROOMS_EACH, MOSAICS = 14, 3, 700
ROOMS = slice(107 * PHOTOGRAPHS_EACH, 107 * PHOTOGRAPHS_EACH + 330 * ROOMS_EACH)
LEAST_AREA = {"natural": 0.35, "nyuv2": 0.5}  # of the shorter side's square, that a crop takes
BORDER = 10  # NYUv2 frames have a white one
SAVED_EVERY = 100
BACKBONE = "efficientnet-lite0"
STEPS = {"cls": 1200, "seg": 400}


def crops(picture: Array, count: int, least: float, rng: np.random.Generator) -> Iterator[Array]:
    """Cut squares of random sizes and places, resized to `SIDE`."""
    height, width = picture.shape[:2]
    for _ in range(count):
        side = int(min(height, width) * np.sqrt(rng.uniform(least, 1)))
        top, left = (int(rng.integers(length - side + 1)) for length in (height, width))
        yield resized(picture[top : top + side, left : left + side], SIDE, SIDE)


def photographs(data: Path, rng: np.random.Generator) -> Iterator[Array]:
    for path in sorted((data / "natural").glob("*.JPEG"))[1::2]:
        picture = imagecodecs.jpeg8_decode(path.read_bytes())
        yield from crops(picture, PHOTOGRAPHS_EACH, LEAST_AREA["natural"], rng)


def rooms(data: Path, rng: np.random.Generator) -> Iterator[Array]:
    for number in (data / "nyuv2" / "train.txt").read_text().split():
        picture = imagecodecs.jpeg8_decode((data / f"nyuv2/nyu_images/{number}.jpg").read_bytes())
        inner = picture[BORDER:-BORDER, BORDER:-BORDER]
        yield from crops(inner, ROOMS_EACH, LEAST_AREA["nyuv2"], rng)


def mosaics(data: Path, rng: np.random.Generator) -> Iterator[Array]:
    """Enlarge small pictures, one or four together in turns."""
    with zipfile.ZipFile(data / "tiny_imagenet40" / "train.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith("jpeg"))
        chosen = rng.permutation(len(names))[: 4 * MOSAICS].reshape(MOSAICS, 4)
        for number, four in enumerate(chosen):
            small = [_colours(imagecodecs.jpeg8_decode(archive.read(names[n]))) for n in four]
            rows = [np.concatenate(small[:2], 1), np.concatenate(small[2:], 1)]
            yield resized(np.concatenate(rows) if number % 2 else small[0], SIDE, SIDE)


def _colours(picture: Array) -> Array:
    return np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture


def examples_of(path: str, data: Path, work: Path, seed: int) -> CodedPictures:
    """Code the pictures that a path learns from, or read what was coded."""
    kept = work / f"examples-{seed}.npz"
    if not kept.is_file():
        rng = np.random.default_rng(seed)
        pictures = [*photographs(data, rng), *rooms(data, rng), *mosaics(data, rng)]
        part = kept.with_suffix(".part")
        with part.open("wb") as target:
            np.savez(target, **vars(make_examples(pictures, 1, seed)))
        part.replace(kept)
    with np.load(kept) as file:
        found = CodedPictures(**file)
    return found.part(ROOMS) if path == "seg" else found


def head_of(backbone: Backbone, data: Path, work: Path, seed: int) -> SegmentationHead:
    """Train a segmentation head on uncompressed frames, or read what was trained."""
    network, kept = Network(backbone), work / f"head-{seed}.pt"
    if kept.is_file():
        channels, deeper = network.layer.channels, network.deepest.channels
        known = SegmentationHead(channels, deeper, len(NYU_CLASSES))
        known.load_state_dict(torch.load(kept, weights_only=True))
        return known.eval()
    frames = nyuv2(data / "nyuv2", None)
    maps = network.maps(frames.pictures[: frames.train], None)
    pair = np.asarray(maps, np.float32), network.deeper(maps)
    fine, deep = (torch.from_numpy(values) for values in pair)
    head = heads.seeded(lambda: segmentation_head(network, frames), seed)
    loss = segmentation_loss(network, frames)
    heads.train(head, lambda at: head(fine[at], deep[at]), loss, len(fine), Schedule(), seed)
    torch.save(head.state_dict(), kept)
    return head


def teacher_of(path: str, data: Path, work: Path, seed: int) -> TaskNetwork:
    """Make the task network whose error a path makes small."""
    backbone = load_backbone(BACKBONE)
    if path == "cls":
        tail = backbone.tail("embedding", "logits")
        return TaskNetwork(backbone, ("block10", "embedding"), lambda _, one: tail(one))
    head = head_of(backbone, data, work, seed).requires_grad_(False)
    return TaskNetwork(backbone, ("block10", "block15"), head)


def report(path: Path, start: float, state: State) -> None:
    seconds = time.process_time() - start
    print(f"step {state.step}: loss {state.loss:.3f}, {seconds:.0f} s of one core", flush=True)
    if state.step % SAVED_EVERY == 0:
        part = path.with_suffix(".part")
        torch.save(state.pack(), part)
        part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--path", choices=tuple(PATHS), required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--work", default="machine_path_work")
    parser.add_argument("--steps", type=int, help=f"by default {STEPS}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--answer", type=float, default=1.0, help="weight of the divergence")
    parser.add_argument("--features", type=float, default=1.0, help="weight of the features")
    parser.add_argument("--pixels", type=float, default=0.02, help="weight of the pixels")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, work = Path(args.data), Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    terms = Terms(args.answer, args.features, args.pixels)
    steps, start = args.steps or STEPS[args.path], time.process_time()
    examples = examples_of(args.path, data, work, args.seed)
    teacher = teacher_of(args.path, data, work, args.seed)
    run = f"{args.path}-{args.seed}-{steps}-{terms.answer}-{terms.features}-{terms.pixels}"
    kept, state = work / f"state-{run}.pt", State.first(SHAPE, args.seed)
    if kept.is_file():
        state.take(torch.load(kept, weights_only=True))
    told = partial(report, kept, start)
    network = train(examples, teacher, steps, args.seed, terms=terms, state=state, log=told)
    card = {
        "data": "NYU Depth v2's train split (330 frames)"
        + ("" if args.path == "seg" else ", 107 ImageNet photographs, Tiny-ImageNet-40"),
        "licence of the data": "ImageNet: non-commercial research; NYU Depth v2: none stated",
        "task network": BACKBONE + ("" if args.path == "cls" else ", head of 13 classes"),
        "terms": f"answer {terms.answer}, features {terms.features}, pixels {terms.pixels}",
        "steps": str(steps),
        "seed": str(args.seed),
    }
    Path(args.out).write_bytes(save_network(network, card, KIND))


if __name__ == "__main__":
    main()
