"""Finds pictures whose noise decides what a quality means, and says so.

A codec of pictures smooths noise away, so at one quality a noisy picture comes back further from
the original than a clean one. Noise is estimated by Immerkær's operator, which straight edges and
slopes leave at zero ("Fast noise variance estimation", Computer Vision and Image Understanding
64(2), 1996), block by block: of the calmest blocks, since in others there is texture too. Noise of
a sensor halves where 2×2 pixels are averaged; texture of photographs hardly shrinks, or grows.
Everything is sums of integers, so that every machine says the same.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array, at_effort
from dsc._codecs.registry import make_codec
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.crops import crop
from dsc._pipeline.metrics import psnr_db
from dsc._schemas import Effort, Quality, Task, TaskKind

BLOCK = 8
FEW_BLOCKS = 30  # with fewer, nothing is said
CALMEST, CALM = 0.05, 0.2  # shares of the blocks: the former decides, the latter is said
CLIPPED = 4  # counts from black or white where noise is cut off
LEAST = 3.5  # counts of noise that are spoken of
WHITE = (0.35, 0.75)  # what is left of white noise of 2×2 pixels is a half
MUCH_DB = 33.0  # what comes back better needs no word
TARGET_DB = 34
PIXELS = 1 << 16  # of the part that is coded to measure what comes back
MEASURED = {"av1-seq": "av1"}  # frames by themselves stand for those of a recording
OF_PICTURES = ("av1", "av1-fast", "av1-psnr", "avif", "webp", "jpeg", "jxl")


def may_be_noisy(coding: Coding) -> list[Task]:
    """List the tasks of pictures whose noise would be lost without a word."""
    return [
        task
        for task in coding.tasks
        if task.kind is TaskKind.IMAGE
        and task.dtype == "uint8"
        and task.channels in (1, 3)
        and task.name not in (*coding.quality.targets, *coding.quality.max_error)
        and not coding.codec_set.is_exact(task)
        and _codec_of(coding, task) in OF_PICTURES
    ]


def noise_warning(coding: Coding, task: Task, images: Sequence[Array]) -> str | None:
    """Say in a line what noise does to a task, where it does.

    Parameters
    ----------
    images
        Of some samples, (H, W) or (H, W, 3) uint8.
    """
    found = [(one, amount) for one in images if (amount := noise_of(one)) is not None]
    if not found or 2 * len(found) < len(images):
        return None
    image, amount = sorted(found, key=lambda pair: pair[1])[len(found) // 2]
    quality = coding.quality.of(task.name)
    reached = _reached_db(task, image, quality, _codec_of(coding, task))
    if reached >= MUCH_DB:
        return None
    where = "in the calmest parts" + " of the green channel" * (image.ndim == 3)
    return (
        f"{task.name}: noise of about {amount:.0f} counts of 255 {where}, which quality {quality} "
        f"smooths away: pictures come back at about {reached:.0f} dB, where clean ones come "
        f"nearer; if the noise matters, --target {task.name}={TARGET_DB}dB keeps it, in several "
        "times the bytes"
    )


def noise_of(image: Array) -> float | None:
    """Estimate the standard deviation of a picture's noise, of green where it has channels.

    Returns
    -------
    float or None
        In counts; None where there is hardly any, or where it cannot be told from texture.
    """
    plane = (image if image.ndim == 2 else image[..., 1]).astype(np.int32)
    own = _deviations(plane, 1)
    height, width = (side // 2 * 2 for side in plane.shape)
    quads = plane[:height, :width]
    halved = _deviations(
        quads[::2, ::2] + quads[1::2, ::2] + quads[::2, 1::2] + quads[1::2, 1::2], 4
    )
    if min(len(own), len(halved)) < FEW_BLOCKS:
        return None
    least = float(np.quantile(own, CALMEST))
    left = float(np.quantile(halved, CALMEST)) / max(least, 1e-9)
    if least < LEAST or not WHITE[0] <= left <= WHITE[1]:
        return None
    return float(np.quantile(own, CALM))


def _deviations(plane: NDArray[np.int32], scale: int) -> NDArray[np.float64]:
    """Return the noise of each block that is not clipped, in counts, of a plane times `scale`."""
    if min(plane.shape) < BLOCK + 2:
        return np.empty(0)
    once = plane[:-2] - 2 * plane[1:-1] + plane[2:]
    twice = np.abs(once[:, :-2] - 2 * once[:, 1:-1] + once[:, 2:])
    inner = _blocks(plane[1:-1, 1:-1])
    low, high = CLIPPED * scale, (255 - CLIPPED) * scale
    whole = (inner.min(axis=(1, 3)) > low) & (inner.max(axis=(1, 3)) < high)
    sums = _blocks(twice).sum(axis=(1, 3), dtype=np.int64)[whole]
    return np.asarray(sums * (np.sqrt(np.pi / 2) / 6 / BLOCK**2 / scale))


def _blocks(plane: NDArray[np.int32]) -> NDArray[np.int32]:
    """Cut a plane into blocks: (rows, BLOCK, columns, BLOCK)."""
    rows, columns = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    whole = plane[: rows * BLOCK, : columns * BLOCK]
    return whole.reshape(rows, BLOCK, columns, BLOCK)


def _codec_of(coding: Coding, task: Task) -> str:
    name = coding.codec_set.codec_name(task.name)
    return MEASURED.get(name, name)


def _reached_db(task: Task, image: Array, quality: int, word: str) -> float:
    """Return the PSNR at which the middle of a picture comes back."""
    (part,) = crop([{task.name: image}], PIXELS).samples
    codec = at_effort(make_codec(word, [task]), Effort.FAST)
    coded = codec.encode_batch([part], Quality(default=quality))
    (back,) = codec.decode_batch(coded, [task.name], part[task.name].size)
    return psnr_db(part[task.name], back[task.name])
