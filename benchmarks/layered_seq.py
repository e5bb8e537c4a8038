"""Trains `layered-seq` beside a still network, and compares it with that.

    python -m benchmarks.layered_seq train --still layered.pt --out layered-seq.pt
    python -m benchmarks.layered_seq compare --still layered.pt --branches layered-seq.pt

Trained on the first 44 frames of the 7-Scenes clip, whole and halved, and on rendered recordings;
compared on the clip's last frames and on recordings of other seeds.
"""

import argparse
import math
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import torch

from dsc._codecs.learned.layered.differentiable import LayeredNetwork, layered
from dsc._codecs.learned.layered.spec import SCALES
from dsc._codecs.learned.layered.temporal import Past, TemporalModel
from dsc._sources.rendered.recording import RecordingSource
from dsc._training.checkpoint import unpack
from dsc._training.models.layered_seq import PARTS, Footage, train

RGB = ("rgb",)
TRAINED, TESTED = slice(0, 44), slice(45, 61)  # of the clip's 64 frames
RECORDINGS, FRAMES, WIDTH = 12, 12, 256
QUALITIES = (20, 50, 80)


def scenes(data: Path, part: slice) -> list[np.ndarray]:
    paths = sorted((data / "sevenscenes_clip").rglob("*.color.jpg"))[part]
    return [imagecodecs.jpeg8_decode(path.read_bytes()) for path in paths]


def rendered(seed: int, count: int, frames: int) -> list[list[np.ndarray]]:
    """Render recordings of cameras that walk and orbit."""
    found = []
    for number, camera in enumerate(("walk", "orbit")):
        source = RecordingSource.open(
            frames=frames, sequences=count // 2, camera=camera, size=WIDTH, seed=seed + number
        )
        for start in range(0, len(source), frames):
            own = range(start, start + frames)
            found.append([source.read(at, RGB).arrays["rgb"] for at in own])
    return found


def still_network(path: Path) -> LayeredNetwork:
    state = unpack(path.read_bytes(), str(path))
    network = layered(RGB, "fast", state["spec"])
    network.load_state_dict(state["average"] or state["network"])
    return network.eval()


@torch.no_grad()
def cost(
    network: LayeredNetwork, branches: TemporalModel | None, clip: Footage, quality: int
) -> tuple[torch.Tensor, float, float]:
    """Return bits a pixel by scale, PSNR in dB of frames after the first, and of motion (bpp)."""
    branch = None if branches is None else branches.modalities["rgb"]
    q = torch.tensor([quality])
    coded = network.code_layers("rgb", clip.planes[:1], q)
    bits, errors, moved = torch.zeros(SCALES), 0.0, 0.0
    pixels = clip.planes[0, 0].numel()
    for at in range(1, len(clip.planes)):
        past = None if branch is None else Past(coded.scales, clip.motion[at : at + 1])
        x = clip.planes[at : at + 1]
        coded = network.code_layers("rgb", x, q, temporal=branch, past=past)
        bits += torch.stack(coded.bits)[:, 0] / pixels
        errors += float((coded.planes - x).square().mean())
        if branch is not None:
            moved += motion_bits(clip.motion[at].numpy()) / pixels
    count = len(clip.planes) - 1
    return bits / count, 10 * math.log10(count / errors), moved / count


def motion_bits(motion: np.ndarray) -> float:
    """Return the entropy of the differences to the left neighbour, in bits."""
    left = np.diff(motion, axis=2, prepend=0)
    _, counts = np.unique(left, return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum() * left.size)


def compare(
    still: LayeredNetwork, branches: TemporalModel, clips: dict[str, list[Footage]]
) -> None:
    for name, own in clips.items():
        for quality in QUALITIES:
            rows = []
            for model in (None, branches):
                found = [cost(still, model, clip, quality) for clip in own]
                bits = torch.stack([one[0] for one in found]).mean(0)
                moved = float(np.mean([one[2] for one in found]))
                rows.append((bits, float(np.mean([one[1] for one in found])), moved))
            (a, psnr_a, _), (b, psnr_b, moved) = rows
            total = float(b.sum()) + moved
            print(
                f"{name} q{quality}: still {float(a.sum()):.3f} bpp {psnr_a:.2f} dB; "
                f"seq {total:.3f} bpp {psnr_b:.2f} dB (motion {moved:.3f}); "
                f"ratio {total / float(a.sum()):.3f}; by scale "
                f"{' '.join(f'{float(y / x):.2f}' for x, y in zip(a, b, strict=True))}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "compare"))
    parser.add_argument("--still", type=Path, required=True)
    parser.add_argument("--branches", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--without-motion", action="store_true")
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, still = Path(args.data), still_network(args.still)
    if args.what == "train":
        began = time.process_time()
        clips = [Footage.of(scenes(data, TRAINED))]
        clips.append(clips[0].halved())
        clips = [*clips, *clips] + [Footage.of(one) for one in rendered(1000, RECORDINGS, FRAMES)]
        print(f"{len(clips)} clips after {time.process_time() - began:.0f} s", flush=True)
        if args.without_motion:
            clips = [replace(one, motion=torch.zeros_like(one.motion)) for one in clips]
        log = partial(print, flush=True)
        model = train(still, clips, args.steps, args.seed, log, parts=args.parts.split(","))
        torch.save({"spec": model.spec_json(), "network": model.state_dict()}, args.out)
        print(f"{time.process_time() - began:.0f} s of CPU")
        return
    state = torch.load(args.branches)
    branches = TemporalModel(still.spec)
    branches.load_state_dict(state["network"])
    branches.eval()
    tested: dict[str, list[Footage]] = {
        "7-Scenes half": [Footage.of(scenes(data, TESTED)).halved()]
    }
    tested["rendered"] = [Footage.of(one) for one in rendered(0, 4, 8)]
    compare(still, branches, tested)


if __name__ == "__main__":
    main()
