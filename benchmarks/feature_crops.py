"""Pictures that codecs of features learn from, crops and mosaics of them, and those to judge by.

Every other photograph of `natural/` is kept back. Crops are drawn of the others and of the train
split of NYUv2, and small pictures are put together. The same seed draws the same crops.
"""

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dsc._backbones.base import Backbone
from dsc._backbones.pictures import prepare

SIDE = 224
NYU_MARGIN = 10  # frames have a white border
AREA, ASPECT = (0.25, 1.0), (3 / 4, 4 / 3)  # of a crop
NATURAL_EACH, NYU_EACH = 32, 6
MOSAICS = (("tiny_imagenet40", 2, 1000), ("tiny_imagenet40", 3, 1000), ("cifar100", 4, 600))

Picture = NDArray[np.uint8]


def held_back(data: Path) -> list[Picture]:
    """Read the photographs that nothing is learnt from."""
    return [_read(path) for path in _photographs(data)[::2]]


def learnt_from(data: Path) -> list[Picture]:
    """Read the other photographs."""
    return [_read(path) for path in _photographs(data)[1::2]]


def frames(data: Path) -> Iterator[Picture]:
    """Yield the frames of NYUv2's train split, without their border."""
    for number in (data / "nyuv2" / "train.txt").read_text().split():
        whole = _read(data / f"nyuv2/nyu_images/{number}.jpg")
        yield whole[NYU_MARGIN:-NYU_MARGIN, NYU_MARGIN:-NYU_MARGIN]


def training_crops(data: Path, seed: int = 0, share: int = 1) -> Iterator[Picture]:
    """Yield squares of `SIDE` pixels, in an order without meaning; a `share`-th of them."""
    rng = np.random.default_rng(seed)
    for each, pictures in ((NATURAL_EACH, learnt_from(data)), (NYU_EACH, frames(data))):
        for whole in pictures:
            for _ in range(max(1, each // share)):
                yield _flipped(_crop(whole, rng), rng)
    for name, across, count in MOSAICS:
        with zipfile.ZipFile(data / name / "train.zip") as archive:
            small = [path for path in sorted(archive.namelist()) if path.endswith(("JPEG", "png"))]
            for _ in range(count // share):
                drawn = [small[at] for at in rng.integers(0, len(small), across * across)]
                yield _mosaic([_decode(archive.read(path)) for path in drawn], across)


def features_of(
    backbone: Backbone, layer: str, crops: Iterable[Picture], batch: int = 16
) -> NDArray[np.float16]:
    """Return the feature maps (n, C, h, w) of squares that need no resizing."""
    own = backbone.preprocessing.model_copy(update={"side": None, "crop": 1.0})
    parts, waiting = [], []

    def run() -> None:
        found = backbone.features(prepare(waiting, own, 32), layer)
        parts.append(found.half().numpy())
        waiting.clear()

    for crop in crops:
        waiting.append(crop)
        if len(waiting) == batch:
            run()
    if waiting:
        run()
    return np.concatenate(parts)


def _photographs(data: Path) -> list[Path]:
    return sorted((data / "natural").rglob("*.JPEG"))


def _read(path: Path) -> Picture:
    return _decode(path.read_bytes())


def _decode(data: bytes) -> Picture:
    decode = imagecodecs.png_decode if data[:4] == b"\x89PNG" else imagecodecs.jpeg8_decode
    picture: Picture = decode(data)
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2)


def _crop(picture: Picture, rng: np.random.Generator) -> Picture:
    """Cut a random rectangle out and resize it."""
    height, width = picture.shape[:2]
    aspect = np.exp(rng.uniform(*np.log(ASPECT)))
    area = rng.uniform(*AREA) * height * width
    own_height = min(height, round(float(np.sqrt(area / aspect))))
    own_width = min(width, round(float(np.sqrt(area * aspect))))
    top, left = (int(rng.integers(n + 1)) for n in (height - own_height, width - own_width))
    return _resized(picture[top : top + own_height, left : left + own_width], (SIDE, SIDE))


def _mosaic(pictures: list[Picture], across: int) -> Picture:
    side = -(-SIDE // across)
    sized = [_resized(picture, (side, side)) for picture in pictures]
    rows = [np.concatenate(sized[at : at + across], axis=1) for at in range(0, len(sized), across)]
    return np.ascontiguousarray(np.concatenate(rows)[:SIDE, :SIDE])


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    planes = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    sized = F.interpolate(planes, size, mode="bicubic", align_corners=False, antialias=True)
    return sized[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()


def _flipped(picture: Picture, rng: np.random.Generator) -> Picture:
    return np.ascontiguousarray(picture[:, :: rng.choice((-1, 1))])
