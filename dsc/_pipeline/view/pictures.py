"""Turns native arrays into small pictures for a page: colour maps, palettes, error maps, data URIs.

Depth, disparity and the first channel of flow and other arrays run through Turbo from small (blue)
to large (red), labels get well-spread hues, invalid pixels are gray, and errors run from black to
yellow with the end of the scale in the caption.
"""

import base64
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.classical.png import png_file
from dsc._pipeline.metrics import angles_deg, peak_of
from dsc._pipeline.read.values import time_text
from dsc._schemas import Task, TaskKind

Array = NDArray[Any]
RGB = NDArray[np.uint8]

LARGEST_SIDE = 256  # pixels of a thumbnail
WEBP_LEVEL = 85
ERROR_WEBP_LEVEL = 60  # error maps are mostly noise, which costs most and tells least
INVALID_GRAY = 128
MAX_TEXT = 2000
HEAT_MAPS = (TaskKind.DEPTH, TaskKind.DISPARITY, TaskKind.FLOW, TaskKind.ARRAY)
ERROR_ENDS = {  # where yellow may lie: the first that 99 % of a map's errors stay below
    TaskKind.IMAGE: (0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
    TaskKind.DEPTH: (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
    TaskKind.NORMAL: (2.0, 5.0, 10.0, 30.0, 90.0, 180.0),
}
# every 16th colour of Google's Turbo (Anton Mikhailov, 2019); straight lines between them are off
# by at most 7 of 255
_TURBO = np.array(
    [
        *([48, 18, 59], [64, 64, 162], [70, 107, 227], [66, 148, 255], [40, 188, 235]),
        *([24, 221, 194], [50, 242, 152], [109, 254, 98], [164, 252, 60], [203, 237, 52]),
        *([236, 209, 58], [253, 174, 53], [251, 129, 34], [236, 83, 15], [210, 49, 5]),
        *([172, 23, 1], [122, 4, 3]),
    ]
)
_HEAT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]])


@dataclass(frozen=True)
class Picture:
    """A thumbnail, ready for ``<img src>``."""

    title: str
    caption: str
    uri: str
    width: int
    height: int


def task_pictures(task: Task, decoded: Array, original: Array | None) -> list[Picture]:
    """Return original, decoded and error map of one map task; decoded alone without an original."""
    reference = decoded if original is None else original
    scale = scale_of(task, reference)
    caption = scale_text(task, scale)
    level = None if task.kind is TaskKind.LABEL else WEBP_LEVEL  # borders of labels stay sharp
    pictures = [_picture("decoded", caption, colour(task, decoded, scale), level)]
    if original is not None:
        shown = colour(task, original, scale)
        pictures.insert(0, _picture("original", caption, shown, level))
        error, end = error_map(task, original, decoded)
        level = None if task.is_exact else ERROR_WEBP_LEVEL
        pictures.append(_picture("error", end, error, level))
    return pictures


def value_text(task: Task, value: Array) -> str:
    """Spell a value that is no map: a class, a text, numbers, a vector's largest classes."""
    if task.is_blob:
        return _blob_text(task, value)
    if task.kind is TaskKind.CLASS:
        return _class_name(task, int(value))
    if task.kind is TaskKind.TIME:
        return time_text(int(value))
    if task.kind is TaskKind.VECTOR and task.classes:
        order = np.argsort(value)[::-1][:3]
        return ", ".join(f"{_class_name(task, int(at))} {float(value[at]):.3g}" for at in order)
    if task.kind is TaskKind.FEATURE:
        return _feature_text(value)
    return np.array2string(value, precision=6, threshold=32, max_line_width=1 << 16)


def _feature_text(value: Array) -> str:
    size = " × ".join(map(str, value.shape))
    numbers = value.astype(np.float64)
    mean_square = float(np.mean(numbers**2))
    least, most = float(numbers.min()), float(numbers.max())
    return f"{size}, {least:.3g} to {most:.3g}, root mean square {math.sqrt(mean_square):.3g}"


def _blob_text(task: Task, value: Array) -> str:
    if task.kind is TaskKind.BYTES:
        return f"{value.size} bytes of {task.media_type or 'a file'}"
    text = value.tobytes().decode(errors="replace")
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " …"


def colour(
    task: Task, array: Array, scale: tuple[float, float], side: int | None = LARGEST_SIDE
) -> RGB:
    """Return an array as (h, w, 3) uint8 for the eye.

    Parameters
    ----------
    scale
        Physical values (metres, counts) at the two ends of the colours; unused for labels,
        normals and 8-bit images.
    side
        The most pixels a side, which larger maps are made smaller for; None for all there are.
    """
    small = _shrink(array, side, mean=task.kind is TaskKind.IMAGE)
    if task.kind in HEAT_MAPS:
        values = _heights(task, small)
        shown = turbo(_unit_interval(values, scale))
        shown[~np.isfinite(values)] = INVALID_GRAY
        return shown
    if task.kind is TaskKind.LABEL and small.ndim == 2:
        return label_colours(small)
    if task.kind is TaskKind.IMAGE and task.dtype != "uint8":
        small = np.nan_to_num(np.rint(255 * _unit_interval(small.astype(np.float64), scale)))
    return _rgb(small.astype(np.uint8))


def error_map(
    task: Task, original: Array, decoded: Array, side: int | None = LARGEST_SIDE
) -> tuple[RGB, str]:
    """Return where and how much a decoded map is off, and a caption that says what yellow means.

    Parameters
    ----------
    side
        As in `colour`.
    """
    if task.is_exact:
        differs = original != decoded
        if original.dtype.kind == "f":
            differs &= ~(np.isnan(original) & np.isnan(decoded))
        differs = differs.any(-1) if differs.ndim == 3 else differs
        return heat(
            _shrink(differs.astype(np.float64), side)
        ), f"{int(differs.sum())} pixels differ"
    if task.kind is TaskKind.DEPTH:
        truth, found = task.to_physical(original), task.to_physical(decoded)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.abs(found - truth) / truth
        unit = "{:.0%} of the depth"
    elif task.kind is TaskKind.NORMAL:
        error = angles_deg(task.to_physical(original), task.to_physical(decoded))
        unit = "{:.0f} degrees"
    else:
        with np.errstate(invalid="ignore"):
            difference = np.abs(original.astype(np.float64) - decoded) / peak_of(task)
        error = difference.mean(-1) if difference.ndim == 3 else difference
        unit = "{:.0%} of the range"
    small, end = _shrink(error, side), _error_end(error, ERROR_ENDS[task.kind])
    shown = heat(_unit_interval(small, (0.0, end)))
    shown[~np.isfinite(small)] = INVALID_GRAY
    return shown, "0 to " + unit.format(end)


def _error_end(error: Array, ends: tuple[float, ...]) -> float:
    finite = error[np.isfinite(error)]
    most = float(np.percentile(finite, 99)) if finite.size else 0.0
    return next((end for end in ends if end >= most), ends[-1])


def turbo(values: Array) -> RGB:
    """Map [0, 1] (H, W) to the colours of Turbo, (H, W, 3) uint8."""
    return _ramp(values, _TURBO)


def heat(values: Array) -> RGB:
    """Map [0, 1] (H, W) to black, purple, red, orange, yellow, (H, W, 3) uint8."""
    return _ramp(values, _HEAT)


def _ramp(values: Array, colours: Array) -> RGB:
    at, stops = np.nan_to_num(values) * (len(colours) - 1), np.arange(len(colours))
    planes = [np.interp(at, stops, colours[:, channel]) for channel in range(3)]
    mapped: RGB = np.rint(np.stack(planes, -1)).astype(np.uint8)
    return mapped


def label_colours(labels: Array) -> RGB:
    """Return every label a colour of its own, the same on every page; neighbours differ most."""
    number = labels.astype(np.int64)
    hue = (number * 0.618033988749895) % 1.0  # golden ratio: consecutive hues lie far apart
    light = 0.55 + 0.25 * ((number * 7) % 3 - 1) / 2
    phase = (hue[..., None] + np.array([0, 2 / 3, 1 / 3])) % 1.0
    wave = np.clip(np.abs(phase * 6 - 3) - 1, 0, 1)
    mixed = (light[..., None] + 0.42 * (wave - 0.5)).clip(0, 1)
    colours: RGB = np.rint(255 * mixed).astype(np.uint8)
    return colours


def _picture(title: str, caption: str, pixels: RGB, level: int | None) -> Picture:
    """Encode a thumbnail: WebP of that level, or lossless PNG."""
    import imagecodecs

    if level is None:
        kind, data = "png", png_file(pixels, 9)
    else:
        kind, data = "webp", bytes(imagecodecs.webp_encode(pixels, level=level, lossless=False))
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return Picture(title, caption, uri, pixels.shape[1], pixels.shape[0])


def scale_of(task: Task, array: Array) -> tuple[float, float]:
    """Choose the values at the ends of the colours; a few outliers must not flatten the rest."""
    if task.kind is TaskKind.IMAGE:
        values = array.astype(np.float64)
    elif task.kind in HEAT_MAPS:
        values = _heights(task, array)
    else:
        return 0.0, 1.0
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(end) for end in np.percentile(finite, (1, 99)))
    return low, max(high, low + 1e-6)


def scale_text(task: Task, scale: tuple[float, float]) -> str:
    """Spell the values at the ends of a map's colours; empty where it has no colour scale."""
    ends = f"{scale[0]:.2f} to {scale[1]:.2f}"
    if task.kind is TaskKind.DEPTH:
        return f"{ends} m"
    if task.kind not in HEAT_MAPS:
        return ""
    return ends if task.channels == 1 else f"first of {task.channels} channels, {ends}"


def _heights(task: Task, array: Array) -> NDArray[np.float64]:
    """Return the one value a pixel that a heat map shows, (H, W), NaN where there is none."""
    values: Array = task.to_physical(array)
    heights: NDArray[np.float64] = (values[..., 0] if values.ndim == 3 else values).astype(
        np.float64
    )
    heights[~np.isfinite(heights) | task.invalid_mask(array)] = np.nan
    return heights


def _unit_interval(values: Array, scale: tuple[float, float]) -> NDArray[np.float64]:
    low, high = scale
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)


def _shrink(array: Array, side: int | None, mean: bool = False) -> Array:
    """Reduce to thumbnail size by a whole factor: means of blocks, or every n-th pixel."""
    factor = 1 if side is None else math.ceil(max(array.shape[:2]) / side)
    if factor <= 1:
        return array
    if not mean:
        return array[factor // 2 :: factor, factor // 2 :: factor]
    height, width = (max(side // factor, 1) for side in array.shape[:2])
    cut = array[: height * factor, : width * factor].astype(np.float64)
    blocks = cut.reshape(height, -1, width, cut.shape[1] // width, *cut.shape[2:])
    means: Array = blocks.mean((1, 3)).round()
    return means


def _rgb(pixels: RGB) -> RGB:
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    planes = planes[..., :3] if planes.shape[-1] >= 3 else np.repeat(planes[..., :1], 3, -1)
    return np.ascontiguousarray(planes)


def _class_name(task: Task, at: int) -> str:
    return task.classes[at] if 0 <= at < len(task.classes) else str(at)
