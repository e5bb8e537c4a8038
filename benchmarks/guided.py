"""What a teacher is worth to `layered`: at equal steps, and at equal time with the teacher's.

    python -m benchmarks.guided --steps 500 --seeds 2 --out guided

Trains for each seed: ``teacher`` (a `bound` network), ``plain``, ``guided`` (by that teacher), each
with as many steps, and ``longer``, unguided, with as many more steps as the seconds of processor
time of teacher and guided run allow. Training is on Tiny-ImageNet-40's training split, 64 px; what
is printed is of pictures of its validation split, rates estimated: R + λD, the bits at plain's own
PSNR, and the teacher's (KL, MSE), an upper bound on the rate-distortion function. A run that is
there already is not trained again.
"""

import argparse
import hashlib
import json
import math
import os
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import torch
from torch import Tensor

from dsc._training.checkpoint import load
from dsc._training.config import DataSpec, TrainConfig
from dsc._training.loop import Trainer
from dsc._training.networks import load_weights, make_network

NAMES = ("teacher", "plain", "guided", "longer")
BATCH, SIDE, LOG_S = 8, 64, 60.0
QUALITIES = (5, 20, 35, 50, 65, 80, 95)
COMPARED = (20, 50, 80)


@dataclass(frozen=True)
class Point:
    """Means over pictures at one quality: bits a pixel, 255² MSE, and λ."""

    bpp: float
    error: float
    weight: float

    @property
    def loss(self) -> float:
        """R + λD."""
        return self.bpp + self.weight * self.error

    @property
    def psnr_db(self) -> float:
        """Of the mean squared error."""
        return 10 * math.log10(255.0**2 / self.error)


# ---- training


def train(name: str, size: str, seed: int, steps: int, data: Path, out: Path) -> None:
    """Train one run, and leave checkpoint and seconds of processor time."""
    place = out / f"{name}-{seed}.pt"
    if place.exists():
        return
    teacher = out / f"teacher-{seed}.pt" if name == "guided" else None
    hashed = hashlib.sha256(teacher.read_bytes()).hexdigest() if teacher is not None else ""
    config = TrainConfig.make(
        kind="bound" if name == "teacher" else "layered",
        size=size,
        data=(DataSpec(layout="folder", place=str(data / "tiny_imagenet40" / "train.zip")),),
        steps=steps,
        batch=BATCH,
        crop=SIDE,
        large_crops=False,
        seed=seed,
        prefix_share=None if name == "teacher" else 0.0,
        teacher=(str(teacher), hashed) if teacher is not None else None,
    )
    began = time.process_time()
    trainer = Trainer(config, teacher=load(teacher) if teacher is not None else None)
    parameters = sum(p.numel() for p in trainer.network.parameters())
    print(f"{name} {seed}: {parameters / 1e6:.2f} M parameters, {steps} steps", flush=True)
    while trainer.done < trainer.steps:
        made = trainer.advance(LOG_S)
        loss = made.rows[-1].loss if made.rows else math.nan
        spent = time.process_time() - began
        print(f"  step {made.done}, {spent:.0f} s, loss {loss:.3f}", flush=True)
    facts = {"seconds": time.process_time() - began, "steps": steps, "parameters": parameters}
    place.with_suffix(".json").write_text(json.dumps(facts))
    place.write_bytes(trainer.checkpoint())
    trainer.close()


def longer_steps(seed: int, out: Path) -> int:
    """Return the steps of plain that fit into the time of teacher and guided run."""
    plain, teacher, guided = (facts(name, seed, out) for name in ("plain", "teacher", "guided"))
    step_s = plain["seconds"] / plain["steps"]
    return int((teacher["seconds"] + guided["seconds"]) / step_s)


def facts(name: str, seed: int, out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / f"{name}-{seed}.json").read_text())
    return found


# ---- comparison


def held_out(data: Path, count: int) -> Tensor:
    """Return planes (N, 3, 64, 64) of pictures that nothing was trained on."""
    with zipfile.ZipFile(data / "tiny_imagenet40" / "val.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".JPEG"))
        chosen = [names[(2 * k + 1) * len(names) // (2 * count)] for k in range(count)]
        pictures = [np.atleast_3d(imagecodecs.jpeg8_decode(archive.read(n))) for n in chosen]
    planes = np.stack([np.broadcast_to(one, (SIDE, SIDE, 3)) for one in pictures])
    return torch.from_numpy(planes / np.float32(255) - np.float32(0.5)).permute(0, 3, 1, 2)


@torch.no_grad()
def measure(path: Path, planes: Tensor) -> list[Point]:
    """Return what a checkpoint's averaged weights make of pictures, at `QUALITIES`."""
    state = load(path)
    kind = TrainConfig.from_json(state["config"], str(path)).kind
    network = make_network(kind, spec=state["spec"]).eval()
    load_weights(network, state["average"])
    torch.manual_seed(0)
    points = []
    for quality in QUALITIES:
        rates, errors = [], []
        for x in planes.contiguous().split(32):
            asked = torch.full((len(x),), quality)
            coded = network.code({"rgb": x}, {}, ("rgb",), {"rgb": asked})
            rates.append(torch.stack(list(coded.rate.values())).sum(0))
            errors.append(coded.distortion["rgb"])
        weight = float(network.weight("rgb", torch.tensor([quality])))
        points.append(
            Point(float(torch.cat(rates).mean()), float(torch.cat(errors).mean()), weight)
        )
    return points


def bits_at(points: Sequence[Point], level: float) -> float:
    """Return the bits a pixel at a PSNR, interpolated in their logarithm; NaN beyond the curve."""
    levels, bits = [p.psnr_db for p in points], [p.bpp for p in points]
    return float(np.exp(np.interp(level, levels, np.log(bits), left=np.nan, right=np.nan)))


def compare(seed: int, planes: Tensor, out: Path) -> None:
    """Print R + λD of all runs of a seed, and bits at plain's PSNR beside plain's."""
    paths = {name: out / f"{name}-{seed}.pt" for name in NAMES}
    found = {name: measure(path, planes) for name, path in paths.items() if path.exists()}
    plain, asked = found["plain"], [QUALITIES.index(quality) for quality in COMPARED]
    print(f"\nseed {seed}, {len(planes)} pictures, qualities {COMPARED}")
    print("| run | steps, s of CPU | R + λD | beside plain | bits at plain's PSNR | bpp, dB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, points in found.items():
        told = facts(name, seed, out)
        losses = " / ".join(f"{points[at].loss:.3f}" for at in asked)
        ratios = [points[at].loss / plain[at].loss for at in asked]
        bits = [bits_at(points, plain[at].psnr_db) / plain[at].bpp for at in asked]
        curve = ", ".join(f"{points[at].bpp:.3f} {points[at].psnr_db:.2f}" for at in asked)
        print(
            f"| {name} | {told['steps']}, {told['seconds']:.0f} | {losses} | {_listed(ratios)} | "
            f"{_listed(bits)} | {curve} |",
            flush=True,
        )


def _listed(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.3f}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="fast")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    data, out = Path(args.data), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    planes = held_out(data, args.images)
    for seed in range(args.seeds):
        for name in NAMES:
            steps = longer_steps(seed, out) if name == "longer" else args.steps
            train(name, args.size, seed, steps, data, out)
        compare(seed, planes, out)


if __name__ == "__main__":
    main()
