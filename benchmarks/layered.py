"""Trains `layered` beside `independent`, at equal parameters and steps, and compares them.

    python -m benchmarks.layered all --out runs
    python -m benchmarks.layered train --name prefixes --seed 0 --out runs
    python -m benchmarks.layered compare --out runs

``all`` trains what is not there yet of `TABLE`, with two seeds, and compares.

Trained on Tiny-ImageNet-40's training split (64 px) and on every second photograph of `natural/`;
compared on the first pictures of Tiny-ImageNet-40's validation split and on crops of 128 px of the
other photographs.
"""

import argparse
import io
import math
import os
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dsc._codecs.base import decoder_from
from dsc._codecs.learned.codec_file import export_codec
from dsc._codecs.learned.layered.spec import sized_layers
from dsc._codecs.learned.network.spec import ModalitySpec, ModelSpec, sized
from dsc._codecs.registry import codec_class, make_codec
from dsc._schemas import Quality, Task, TaskKind
from dsc._training.checkpoint import unpack
from dsc._training.config import DataSpec, TrainConfig
from dsc._training.data.batches import TrainingData
from dsc._training.loop import KLT_CROPS, Trainer
from dsc._training.networks import make_network

RGB = ("rgb",)
TASK = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
Pictures = list[np.ndarray]
STEPS, BATCH, SIDE = 2000, 16, 64
LOG_S = 60.0
SMALL, LARGE = 128, 64  # pictures that are compared
QUALITIES = (5, 20, 35, 50, 65, 80, 95)
PREFIX_QUALITIES = (47, 60)  # λ is 0.01 at the first
LEVELS = {"64 px": (22.5, 23.5, 24.5), "128 px": (26.0, 27.5, 29.0)}  # dB


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
TABLE, SEEDS = ("independent", "whole", "prefixes"), (0, 1)


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
    kind = TrainConfig.model_validate_json(state["config"]).kind
    network = make_network(kind, RGB, spec=state["spec"])
    network.load_state_dict(state["average"] or state["network"])
    return network.eval()


def codec_of(path: Path) -> Any:
    """Return the codec that a checkpoint becomes."""
    network = trained(path)
    made = codec_class(network.kind)
    return made([TASK], export_codec(network, {}))  # type: ignore[call-arg]


# ---- what is compared


def small_pictures(data: Path) -> Pictures:
    """Return pictures of 64 px that nothing was trained on."""
    with zipfile.ZipFile(data / "tiny_imagenet40" / "val.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".JPEG"))
        files = [archive.read(name) for name in names[:: len(names) // SMALL]][:SMALL]
    return [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in files]


def crops(data: Path) -> Pictures:
    """Return the middle 128 px of photographs that nothing was trained on."""
    found = []
    for path in sorted((data / "natural").glob("*.JPEG"))[1::2][:LARGE]:
        picture = np.asarray(Image.open(path).convert("RGB"))
        top, left = ((side - 128) // 2 for side in picture.shape[:2])
        found.append(np.ascontiguousarray(picture[top : top + 128, left : left + 128]))
    return found


def psnr(pictures: Pictures, decoded: Pictures) -> float:
    """Return the PSNR in dB of the mean squared error of all pictures."""
    errors = [
        np.square(a.astype(np.float64) - b).mean() for a, b in zip(pictures, decoded, strict=True)
    ]
    return 10 * math.log10(255**2 / float(np.mean(errors)))


def curve(codec: Any, pictures: Pictures) -> list[tuple[float, float]]:
    """Return bits a pixel of whole payloads, and PSNR, at `QUALITIES`."""
    rows = []
    for quality in QUALITIES:
        coded = codec.encode_batch([{"rgb": one} for one in pictures], Quality(default=quality))
        decoded = codec.decode_batch(coded, ["rgb"], 1 << 20)
        size = sum(len(data) for one in coded for data in one.values())
        pixels = sum(one[..., 0].size for one in pictures)
        rows.append((8 * size / pixels, psnr(pictures, [one["rgb"] for one in decoded])))
    return rows


def bits_at(rows: Sequence[tuple[float, float]], level: float) -> float:
    """Return the bits a pixel at a PSNR, interpolated in their logarithm; NaN beyond the curve."""
    bits, levels = zip(*rows, strict=True)
    found = np.interp(level, levels, np.log(bits), left=np.nan, right=np.nan)
    return float(np.exp(found))


def prefixes(codec: Any, pictures: Pictures, quality: int) -> list[tuple[float, float, float]]:
    """Return of each number of scales bits a pixel, their part of all, and PSNR."""
    coded = codec.encode_batch([{"rgb": one} for one in pictures], Quality(default=quality))
    pixels = sum(one[..., 0].size for one in pictures)
    names = [stream.name for stream in codec.streams()]
    sizes = [sum(len(one[name]) for one in coded) for name in names]
    found = []
    for count in range(1, len(names) + 1):
        decoder = decoder_from(codec, names[:count])
        given = [{name: one[name] for name in names[:count]} for one in coded]
        decoded = decoder.decode_batch(given, ["rgb"], 1 << 20)
        level = psnr(pictures, [one["rgb"] for one in decoded])
        part = sum(sizes[:count])
        found.append((8 * part / pixels, part / sum(sizes), level))
    return found


def thumbnails(pictures: Pictures, side: int) -> tuple[float, float]:
    """Return bits a pixel of AV1 thumbnails of a side, and the PSNR of these enlarged, best of."""
    codec = make_codec("av1-small", [TASK])
    small = [np.asarray(Image.fromarray(one).resize((side, side), Image.BOX)) for one in pictures]
    coded = codec.encode_batch([{"rgb": one} for one in small], Quality(default=75))
    decoded = codec.decode_batch(coded, ["rgb"], 1 << 20)
    enlarged = [
        np.asarray(Image.fromarray(one["rgb"]).resize(whole.shape[1::-1], Image.BICUBIC))
        for one, whole in zip(decoded, pictures, strict=True)
    ]
    size = sum(len(data) for one in coded for data in one.values())
    return 8 * size / sum(one[..., 0].size for one in pictures), psnr(pictures, enlarged)


def compare(data: Path, out: Path) -> None:
    """Print bits at equal distortion beside `independent`, and what prefixes are worth."""
    torch.set_num_threads(1)
    for where, pictures in (("64 px", small_pictures(data)), ("128 px", crops(data))):
        print(f"\n{where}, {len(pictures)} pictures", flush=True)
        seeds = sorted(int(path.stem.rpartition("-")[2]) for path in out.glob("independent-*.pt"))
        base = {seed: curve(codec_of(out / f"independent-{seed}.pt"), pictures) for seed in seeds}
        for seed, rows in base.items():
            print(f"independent {seed}: {_listed(rows)}", flush=True)
        for path in sorted(out.glob("*.pt")):
            name, _, seed = path.stem.rpartition("-")
            if name == "independent" or int(seed) not in base:
                continue
            codec = codec_of(path)
            rows, beside = curve(codec, pictures), base[int(seed)]
            levels = LEVELS[where]
            ratios = [bits_at(rows, level) / bits_at(beside, level) for level in levels]
            said = ", ".join(f"{r:.3f} at {x:g} dB" for r, x in zip(ratios, levels, strict=True))
            print(f"{name} {seed}: {_listed(rows)}; beside independent {said}")
            for quality in PREFIX_QUALITIES:
                parts = prefixes(codec, pictures, quality)
                told = [f"{bits:.3f} bpp ({p:.1%}) {level:.2f} dB" for bits, p, level in parts]
                print(f"  quality {quality}: {', '.join(told)}", flush=True)
        for side in (8, 16):
            bits, level = thumbnails(pictures, side * pictures[0].shape[0] // 64)
            print(f"AV1 thumbnail of 1/{64 // side}: {bits:.3f} bpp {level:.2f} dB", flush=True)


def _listed(rows: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{bits:.3f}/{level:.2f}" for bits, level in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("all", "train", "compare"))
    parser.add_argument("--name", choices=tuple(RUNS), default="prefixes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    data, out = Path(args.data), Path(args.out)
    runs = [(args.name, args.seed)] if args.what == "train" else []
    if args.what == "all":
        runs = [(name, seed) for seed in SEEDS for name in TABLE]
        runs = [(name, seed) for name, seed in runs if not (out / f"{name}-{seed}.pt").exists()]
    for name, seed in runs:
        train(name, seed, args.steps, data, out)
    if args.what != "train":
        compare(data, out)


if __name__ == "__main__":
    main()
