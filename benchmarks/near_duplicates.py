"""Cosine similarities of embeddings: copies of photographs beside photographs of other things.

    python -m benchmarks.near_duplicates [--every 2]

The threshold of `dsc info --duplicates` is read off this table. Copies are what happens to pictures
on their way: coded again, made smaller, cut at the borders. Of ``natural`` no two photographs show
one thing; frames of ``nyuv2`` may show one room, and frames of a clip (``sevenscenes_clip``) one
view. Data are found through DSC_TEST_DATA.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

import dsc
from dsc._backbones.extract import extract, make_extractor
from dsc._pipeline.read.vectors import unit
from dsc.schemas import Task, TaskKind
from dsc.sources import SourceSample

Picture = NDArray[np.uint8]
Units = NDArray[np.float32]
LEVELS = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


def jpeg(picture: Picture, quality: int) -> Picture:
    coded = imagecodecs.jpeg8_encode(np.ascontiguousarray(picture), level=quality)
    decoded: Picture = imagecodecs.jpeg8_decode(coded)
    return decoded


def avif(picture: Picture, quality: int) -> Picture:
    decoded: Picture = imagecodecs.avif_decode(
        imagecodecs.avif_encode(picture, level=quality, speed=8)
    )
    return decoded


def smaller(picture: Picture, scale: float) -> Picture:
    planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].float()
    found = functional.interpolate(planes, scale_factor=scale, mode="bicubic", antialias=True)
    return found[0].clamp(0, 255).round().byte().numpy().transpose(1, 2, 0)


def cut(picture: Picture, share: float) -> Picture:
    height, width = (round(length * (1 - share) / 2) for length in picture.shape[:2])
    return picture[height : picture.shape[0] - height, width : picture.shape[1] - width]


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "JPEG 90": lambda picture: jpeg(picture, 90),
    "JPEG 60": lambda picture: jpeg(picture, 60),
    "JPEG 30": lambda picture: jpeg(picture, 30),
    "AVIF 60": lambda picture: avif(picture, 60),
    "AVIF 30": lambda picture: avif(picture, 30),
    "3/4 as wide": lambda picture: smaller(picture, 0.75),
    "half as wide": lambda picture: smaller(picture, 0.5),
    "half as wide, JPEG 60": lambda picture: jpeg(smaller(picture, 0.5), 60),
    "the middle 95 %": lambda picture: cut(picture, 0.95),
    "the middle 90 %": lambda picture: cut(picture, 0.9),
    "brighter by 10 %": lambda picture: (picture * 1.1).clip(0, 255).astype(np.uint8),
    "mirrored": lambda picture: picture[:, ::-1],
}


class Vectored:
    """Vectors as a source, to be stored as an archive stores them."""

    name = "vectored"

    def __init__(self, vectors: Units) -> None:
        self.vectors = vectors
        kind, size = TaskKind.EMBEDDING, vectors.shape[1]
        self.tasks = (Task(name="embedding", kind=kind, dtype="float32", channels=size),)

    def __len__(self) -> int:
        return len(self.vectors)

    def key(self, index: int) -> str:
        """Return the key of a vector."""
        return f"v{index:06d}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Return a vector."""
        return SourceSample(self.key(index), dict.fromkeys(tasks, self.vectors[index]), {})

    def describe(self) -> dict[str, Any]:
        """Say that nobody need open it again."""
        return {"name": self.name, "root": None, "options": {}, "fingerprint": None}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--every", type=int, default=2, help="photographs that are copied")
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DSC_TEST_DATA", ".")))
    asked = parser.parse_args(words)
    photographs = read(asked.data / "natural", "*.JPEG")
    embed = embedder(asked.backbone)
    copied = photographs[:: asked.every]
    sets = {name: embed([copy(one) for one in copied]) for name, copy in COPIES.items()}
    sets |= {
        "photographs": embed(photographs),
        "frames of rooms": embed(read(asked.data / "nyuv2/nyu_images", "*.jpg")),
        "frames of one clip": embed(read(asked.data / "sevenscenes_clip", "*.color.jpg")),
    }
    for quality in (None, 80, 60):
        own, size = (sets, 4.0 * sets["photographs"].shape[1])
        if quality is not None:
            own, size = stored(sets, quality)
        how = "as computed" if quality is None else f"stored at quality {quality}"
        print(f"\n{how}, {size:,.0f} bytes each\n")
        show(own, asked.every)


def show(sets: Mapping[str, Units], every: int) -> None:
    """Print both tables."""
    heads = " | ".join(f"from {level}" for level in LEVELS)
    print(f"| copy | {heads} | least | median |\n" + "| --- " * (len(LEVELS) + 3) + "|")
    for name in COPIES:
        found = np.einsum("ij,ij->i", sets[name], sets["photographs"][::every])
        shares = [f"{np.mean(found >= level):.0%}" for level in LEVELS]
        print(f"| {name} | {' | '.join(shares)} | {found.min():.2f} | {np.median(found):.2f} |")
    print(f"\n| pairs of different pictures | of | {heads} | most |")
    print("| --- " * (len(LEVELS) + 3) + "|")
    for name in [name for name in sets if name not in COPIES]:
        found = (sets[name] @ sets[name].T)[np.triu_indices(len(sets[name]), 1)]
        counts = " | ".join(f"{int(np.sum(found >= level)):,}" for level in LEVELS)
        print(f"| {name} | {len(found):,} | {counts} | {found.max():.2f} |")


def stored(sets: Mapping[str, Units], quality: int) -> tuple[dict[str, Units], float]:
    """Return vectors as they come back from an archive of all of them, and bytes a vector."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "vectors"
        dsc.compress(Vectored(np.concatenate(list(sets.values()))), out, quality=quality)
        opened = dsc.open(out)
        size = opened.manifest.totals["embedding"].payload_bytes / len(opened)
        found = unit(np.stack([sample["embedding"] for sample in opened]))
    ends = np.cumsum([len(vectors) for vectors in sets.values()])
    return dict(zip(sets, np.split(found, ends[:-1]), strict=True)), size


def read(folder: Path, pattern: str) -> list[Picture]:
    pictures = [imagecodecs.imread(path) for path in sorted(folder.glob(pattern))]
    return [one if one.ndim == 3 else np.repeat(one[..., None], 3, 2) for one in pictures]


def embedder(backbone: str) -> Callable[[Sequence[Any]], Units]:
    extractor = make_extractor(backbone, "rgb")
    return lambda pictures: unit(np.stack([extract(extractor, one) for one in pictures]))


if __name__ == "__main__":
    main()
