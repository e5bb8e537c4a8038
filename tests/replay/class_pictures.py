"""Small pictures of classes that can be learnt in seconds: a colour and a direction each, noisy."""

import zipfile
from pathlib import Path

import imagecodecs
import numpy as np

from dsc._replay.scenario.images import LabelledImages


def make_pictures(
    classes: int = 4, per_class: int = 12, side: int = 16, seed: int = 0
) -> LabelledImages:
    """Draw pictures; those of another seed are others of the same classes."""
    rng = np.random.default_rng([seed, 99])
    looks = np.random.default_rng(7)
    images, labels = [], []
    place = np.arange(side)
    for label in range(classes):
        colour, (fx, fy) = looks.uniform(40, 215, 3), looks.uniform(0.2, 1.4, 2)
        for _ in range(per_class):
            wave = np.sin(fx * place[None, :] + fy * place[:, None] + rng.uniform(0, 6))
            picture = colour + 40 * wave[..., None] + rng.normal(0, 8, (side, side, 3))
            images.append(np.clip(picture, 0, 255).astype(np.uint8))
            labels.append(label)
    names = tuple(f"class{label}" for label in range(classes))
    keys = tuple(f"{names[label]}/{at}.png" for at, label in enumerate(labels))
    return LabelledImages(np.stack(images), np.array(labels, np.int64), keys, names)


def write_folder(root: Path, pictures: LabelledImages) -> Path:
    """Write <class>/<file>.png."""
    for image, key in zip(pictures.images, pictures.keys, strict=True):
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(imagecodecs.png_encode(image))
    return root


def write_zip(path: Path, pictures: LabelledImages) -> Path:
    """Write a zip of <class>/<file>.png."""
    with zipfile.ZipFile(path, "w") as file:
        for image, key in zip(pictures.images, pictures.keys, strict=True):
            file.writestr(key, imagecodecs.png_encode(image))
    return path
