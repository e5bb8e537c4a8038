"""Trains `layered` beside `independent`, at equal parameters and steps, and compares them.

    python -m benchmarks.layered train --name prefixes --seed 0 --out runs
    python -m benchmarks.layered compare --out runs

Trained on Tiny-ImageNet-40's training split (64 px) and on every second photograph of `natural/`;
compared on the first pictures of Tiny-ImageNet-40's validation split and on crops of 128 px of the
other photographs.
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dsc._codecs.learned.layered.spec import sized_layers
from dsc._codecs.learned.network.spec import ModalitySpec, ModelSpec, sized
from dsc._training.checkpoint import unpack
from dsc._training.config import DataSpec, TrainConfig
from dsc._training.data.batches import TrainingData
from dsc._training.loop import KLT_CROPS, Trainer
from dsc._training.networks import make_network

RGB = ("rgb",)
STEPS, BATCH, SIDE = 2000, 16, 64
LOG_S = 60.0


def equal_independent() -> ModelSpec:
    """Return an `independent` network with as many parameters as `layered` of size fast."""
    spec = sized("independent", RGB, "fast")
    own = ModalitySpec(3, 128, 164, (3, 2), spec.modalities["rgb"].lambda_range)
    return replace(spec, modalities={"rgb": own})


SPECS = {"layered": lambda: sized_layers(RGB, "fast"), "independent": equal_independent}
RUNS: dict[str, dict[str, Any]] = {
    "independent": {"kind": "independent"},
    "whole": {"kind": "layered", "prefix_share": 0.0},
    "prefixes": {"kind": "layered", "prefix_share": 0.2},
    "sma": {"kind": "layered", "prefix_share": 0.0, "average": "sma"},
    "random": {"kind": "layered", "prefix_share": 0.0, "init": "random"},
}


def photographs(data: Path, folder: Path, part: int) -> Path:
    """Link every second photograph of `natural/`, from the first or the second on."""
    folder.mkdir(parents=True)
    for path in sorted((data / "natural").glob("*.JPEG"))[part::2]:
        (folder / path.name).symlink_to(path.resolve())
    return folder


def train(name: str, seed: int, steps: int, data: Path, out: Path) -> None:
    """Train one of `RUNS` and leave its checkpoint in `out`."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        photos = photographs(data, Path(folder) / "photographs", 0)
        small, run = data / "tiny_imagenet40" / "train.zip", RUNS[name]
        config = TrainConfig.make(
            size="fast",
            data=(
                DataSpec(layout="folder", place=str(small), share=3),
                DataSpec(layout="folder", place=str(photos)),
            ),
            steps=steps,
            batch=BATCH,
            crop=SIDE,
            large_crops=False,
            seed=seed,
            **run,
        )
        torch.manual_seed(seed)
        network = make_network(config.kind, RGB, spec=SPECS[config.kind]().to_json())
        if config.init == "klt":
            network.initialise(TrainingData(config, 0).crops(KLT_CROPS, seed))
        weights = network.state_dict()
        start = {
            "spec": network.spec_json(), "modalities": RGB, "network": weights, "average": weights,
        }  # fmt: skip
        trainer = Trainer(config, start=start)
        began = time.process_time()
        parameters = sum(p.numel() for p in network.parameters())
        print(f"{name}, seed {seed}: {parameters / 1e6:.2f} M parameters", flush=True)
        while trainer.done < trainer.steps:
            made = trainer.advance(LOG_S)
            row = made.rows[-1] if made.rows else None
            spent = time.process_time() - began
            print(f"step {made.done}, {spent:.0f} s of CPU, {row}", flush=True)
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}-{seed}.pt").write_bytes(trainer.checkpoint())
        trainer.close()


def trained(path: Path) -> Any:
    """Return the averaged network of a checkpoint, in evaluation mode."""
    state = unpack(path.read_bytes(), str(path))
    network = make_network(state["config_kind"], RGB, spec=state["spec"])
    network.load_state_dict(state["average"] or state["network"])
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "compare"))
    parser.add_argument("--name", choices=tuple(RUNS), default="prefixes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    data, out = Path(args.data), Path(args.out)
    if args.what == "train":
        train(args.name, args.seed, args.steps, data, out)


if __name__ == "__main__":
    main()
