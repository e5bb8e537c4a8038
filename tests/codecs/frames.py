"""Frames of a made-up recording: a picture that moves, and a box that moves over it."""

import numpy as np

from dsc._codecs.base import Array
from dsc._schemas import Task, TaskKind

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
GRAY = Task(name="gray", kind=TaskKind.IMAGE, dtype="uint8", channels=1)


def recording(
    count: int,
    size: tuple[int, int] = (48, 64),
    channels: int = 3,
    noise: float = 1.0,
    seed: int = 0,
) -> list[Array]:
    """Return frames (H, W, 3), or (H, W) of one channel, uint8.

    Parameters
    ----------
    noise
        Standard deviation of what no frame shares with another, in counts.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    wide = rng.normal(size=(height + 2 * count, width + 3 * count, channels))
    for axis in (0, 1):
        wide = sum(np.roll(wide, shift, axis) for shift in range(-3, 4))
    wide = 128 + wide * (40 / wide.std())
    frames = []
    for number in range(count):
        view = wide[2 * number :, 3 * number :][:height, :width].copy()
        view[height // 4 : height // 2, 2 * number : 2 * number + width // 4] = 30 + 4 * number
        view += rng.normal(0, noise, view.shape)
        frame = view.round().clip(0, 255).astype(np.uint8)
        frames.append(frame if channels == 3 else np.ascontiguousarray(frame[..., 0]))
    return frames


def psnr_db(images: list[Array], others: list[Array]) -> float:
    """Return the ratio of 255 to the root mean square error over all, in decibels."""
    error = np.mean(
        [np.mean((a.astype(float) - b) ** 2) for a, b in zip(images, others, strict=True)]
    )
    return float(10 * np.log10(255**2 / error))


DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0, 65535))


def depth_recording(
    count: int, size: tuple[int, int] = (48, 64), noise: float = 0.002, seed: int = 0
) -> list[Array]:
    """Return frames of depth (H, W) uint16 with holes (0) that move with what is seen.

    Parameters
    ----------
    noise
        Standard deviation of what no frame shares with another, relative to the depth.
    """
    rng = np.random.default_rng(seed)
    pictures = recording(count, size, channels=3, noise=0.0, seed=seed)
    frames = []
    for picture in pictures:
        depth = 900 + 10.0 * picture[..., 0] + 4.0 * picture[..., 1]
        depth *= 1 + rng.normal(0, noise, depth.shape)
        depth[picture[..., 2] > 175] = 0
        frames.append(depth.round().astype(np.uint16))
    return frames


LABEL = Task(name="label", kind=TaskKind.LABEL, dtype="uint16", invalid=(65535,))


def label_recording(
    count: int, size: tuple[int, int] = (48, 64), labels: int = 7, seed: int = 0
) -> list[Array]:
    """Return label maps (H, W) uint16 that move, with an edge that is ragged in each by itself."""
    rng = np.random.default_rng(seed)
    names = rng.integers(0, 65535, labels)
    names[-1] = 65535
    maps = []
    for picture in recording(count, size, channels=3, noise=0.0, seed=seed):
        number = picture[..., 0].astype(int) * labels // 256
        ragged = (np.roll(number, 1, 1) != number) & (rng.random(size) < 0.1)
        number[ragged] = np.roll(number, 1, 1)[ragged]
        maps.append(names[number].astype(np.uint16))
    return maps
