"""Trains `layered-seq` beside a still network, and compares it with that.

    python -m benchmarks.layered_seq train --still layered.pt --out layered-seq.pt
    python -m benchmarks.layered_seq compare --still layered.pt --branches layered-seq.pt
    python -m benchmarks.layered_seq export --still layered.pt --branches layered-seq.pt --out DIR
    python -m benchmarks.layered_seq real [--still layered.safetensors --branches seq.safetensors]

Trained on the first 44 frames of the 7-Scenes clip, whole and halved, and on rendered recordings;
compared on the clip's last frames and on recordings of other seeds: by estimates of rates, or
``real``, through the codecs `layered` and `layered-seq` (files of ``train``, or codec files): bytes
of all payloads of groups of 16, their headers and motion included, and the PSNR of what they decode
to, mean over frames. Ratios are of bytes at equal PSNR, `layered` between its qualities
interpolated. Then a tenth of the payloads of the finest scale is lost, at random. Without files,
those that come with dsc take part.
"""

import argparse
import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import torch

from dsc._codecs.base import Codec, GroupCodec, decoder_from
from dsc._codecs.learned.codec_file import (
    default_weights,
    export_codec,
    export_sequence_codec,
)
from dsc._codecs.learned.layered.codec import LayeredNetworkCodec
from dsc._codecs.learned.layered.differentiable import LayeredNetwork, layered
from dsc._codecs.learned.layered.sequence import GROUP, LayeredSequenceCodec
from dsc._codecs.learned.layered.spec import SCALES
from dsc._codecs.learned.layered.temporal import Past, TemporalModel
from dsc._codecs.registry import make_codec
from dsc._pipeline.metrics import psnr_db
from dsc._schemas import Quality, Task, TaskKind
from dsc._schemas.group import link_all
from dsc._sources.rendered.recording import RecordingSource
from dsc._training.checkpoint import unpack
from dsc._training.models.layered_seq import PARTS, Footage, train

RGB = ("rgb",)
TRAINED, TESTED = slice(0, 44), slice(45, 61)  # of the clip's 64 frames
RECORDINGS, FRAMES, WIDTH = 12, 12, 256
QUALITIES = (20, 50, 80)
TASK = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
REAL_QUALITIES, LOST_QUALITY = (10, 25, 40, 55, 70, 85), 55
AV1_QUALITIES = (35, 50, 65)
LOST_SHARE, DRAWS = 0.1, 1000
MAX_PIXELS = 1 << 22
DATA_CARD = "44 frames of 7-Scenes, whole and halved, and 12 rendered recordings of 12 frames"
Clip = Sequence[np.ndarray]


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


def trained_branches(path: Path, still: LayeredNetwork) -> TemporalModel:
    branches = TemporalModel(still.spec)
    branches.load_state_dict(torch.load(path)["network"])
    return branches.eval()


def codec_files(still: Path | None, branches: Path | None) -> tuple[bytes, bytes]:
    """Return the codec files of `layered` and `layered-seq`; those that come with dsc for None."""
    if branches is None or branches.suffix == ".safetensors":
        return (
            still.read_bytes() if still else default_weights("layered"),
            branches.read_bytes() if branches else default_weights("layered-seq"),
        )
    if still is None:
        raise SystemExit("--branches are of a still network: say with --still which")
    network = still_network(still)
    trained = {"rgb": trained_branches(branches, network).modalities["rgb"]}
    card = {"data": DATA_CARD, **torch.load(branches).get("card", {})}
    whole = export_sequence_codec(network, trained, card)
    return export_codec(network, {}), whole


def halved(frame: np.ndarray) -> np.ndarray:
    height, width, channels = frame.shape
    small = frame.reshape(height // 2, 2, width // 2, 2, channels).mean((1, 3))
    return small.round().astype(np.uint8)


def coded(codec: Codec, clip: Clip, quality: int) -> list[dict[str, bytes]]:
    """Return the payloads of a clip, group by group."""
    samples, found = [{"rgb": frame} for frame in clip], []
    for start in range(0, len(samples), GROUP):
        group = samples[start : start + GROUP]
        if not isinstance(codec, GroupCodec):
            found += codec.encode_batch(group, Quality(default=quality))
        else:
            payloads = codec.encode_group(group, Quality(default=quality))
            found += link_all(payloads, codec.config()["grouped"])
    return found


def psnr_of(
    codec: Codec, payloads: list[dict[str, bytes]], clip: Clip, levels: int = SCALES
) -> np.ndarray:
    """Return the PSNR of each frame, decoded from its first levels."""
    decoder = decoder_from(codec, [f"rgb.{scale}" for scale in range(levels)])
    found = decoder.decode_batch(payloads, ["rgb"], MAX_PIXELS)
    pairs = zip(clip, found, strict=True)
    return np.array([psnr_db(frame, one["rgb"], 255) for frame, one in pairs])


def compare_real(codecs: tuple[Codec, Codec], clips: dict[str, list[Clip]]) -> None:
    for name, own in clips.items():
        pixels = sum(frame[..., 0].size for clip in own for frame in clip)
        curves = []
        for codec in codecs:
            points = []
            for quality in REAL_QUALITIES:
                payloads = [coded(codec, clip, quality) for clip in own]
                size = sum(len(data) for clip in payloads for one in clip for data in one.values())
                found = [psnr_of(codec, *pair) for pair in zip(payloads, own, strict=True)]
                points.append((float(np.concatenate(found).mean()), size * 8 / pixels))
            curves.append(points)
        still = np.array(curves[0])
        for quality, (db, bpp), (at, cost) in zip(REAL_QUALITIES, *curves, strict=True):
            inside = still[0, 0] <= at <= still[-1, 0]
            alike = math.exp(np.interp(at, still[:, 0], np.log(still[:, 1])))
            ratio = f"{cost / alike:.3f}" if inside else "beyond"
            print(
                f"{name} q{quality}: still {bpp:.3f} bpp {db:.2f} dB; seq {cost:.3f} bpp "
                f"{at:.2f} dB; ratio {cost / bpp:.3f}, at equal PSNR {ratio}",
                flush=True,
            )


def list_av1(clips: dict[str, list[Clip]]) -> None:
    """Print what AV1 takes: stills, and groups."""
    for name, own in clips.items():
        pixels = sum(frame[..., 0].size for clip in own for frame in clip)
        for codec in (make_codec(word, [TASK]) for word in ("av1", "av1-seq")):
            points = []
            for quality in AV1_QUALITIES:
                payloads = [coded(codec, clip, quality) for clip in own]
                size = sum(len(data) for clip in payloads for one in clip for data in one.values())
                found = [psnr_of(codec, *pair) for pair in zip(payloads, own, strict=True)]
                points.append(f"{8 * size / pixels:.3f} bpp {np.concatenate(found).mean():.2f} dB")
            print(f"{name}, {codec.id}: {'; '.join(points)}", flush=True)


def compare_lost(codecs: tuple[Codec, Codec], clips: dict[str, list[Clip]]) -> None:
    """Lose payloads of the finest scale: what a frame then decodes to depends on no draw."""
    for name, own in clips.items():
        for codec in codecs:
            payloads = [coded(codec, clip, LOST_QUALITY) for clip in own]
            pairs = list(zip(payloads, own, strict=True))
            whole, coarser = (
                np.concatenate([psnr_of(codec, *pair, levels) for pair in pairs])
                for levels in (SCALES, SCALES - 1)
            )
            rng = np.random.default_rng(0)
            lost = rng.random((DRAWS, len(whole) // GROUP, GROUP)) < LOST_SHARE
            if isinstance(codec, LayeredSequenceCodec):  # up to the next key
                lost = np.logical_or.accumulate(lost, axis=2)
            left = np.where(lost.reshape(DRAWS, -1), coarser, whole)
            print(
                f"{name} q{LOST_QUALITY}, {codec.id}, {LOST_SHARE:.0%} of rgb.{SCALES - 1} lost: "
                f"{lost.mean():.0%} of frames coarser, {whole.mean():.2f} dB become "
                f"{left.mean():.2f} dB, a coarser frame {(coarser - whole).mean():+.2f} dB"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "compare", "export", "real"))
    parser.add_argument("--still", type=Path)
    parser.add_argument("--branches", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--without-motion", action="store_true")
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(args.data)
    if args.what in ("export", "real"):
        files = codec_files(args.still, args.branches)
        if args.what == "export":
            args.out.mkdir(parents=True, exist_ok=True)
            for name, file in zip(("layered", "layered-seq"), files, strict=True):
                (args.out / f"{name}.safetensors").write_bytes(file)
            return
        real = {"7-Scenes half": [[halved(frame) for frame in scenes(data, TESTED)]]}
        real["rendered"] = rendered(0, 4, GROUP)
        codecs = LayeredNetworkCodec([TASK], files[0]), LayeredSequenceCodec([TASK], files[1])
        compare_real(codecs, real)
        list_av1(real)
        compare_lost(codecs, real)
        return
    if args.still is None:
        raise SystemExit("--still is needed: a checkpoint of `dsc train layered`")
    still = still_network(args.still)
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
        seconds = time.process_time() - began
        told = f"{args.steps} steps beside a still network, seed {args.seed}, {seconds:.0f} s"
        state = {"spec": model.spec_json(), "network": model.state_dict(), "card": {"rgb": told}}
        torch.save(state, args.out)
        print(f"{seconds:.0f} s of CPU")
        return
    branches = trained_branches(args.branches, still)
    tested: dict[str, list[Footage]] = {
        "7-Scenes half": [Footage.of(scenes(data, TESTED)).halved()]
    }
    tested["rendered"] = [Footage.of(one) for one in rendered(0, 4, 8)]
    compare(still, branches, tested)


if __name__ == "__main__":
    main()
