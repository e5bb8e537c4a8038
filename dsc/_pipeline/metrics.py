"""How far a decoded task is from its original, in the field's own metrics and units.

Every function takes native arrays (the integers of the source's files) with their `Task`, or plain
physical arrays where its name has a unit. NumPy only. Invalid pixels of the original never count;
whether the decoded mask of them is the same is a metric of its own (``invalid_exact``). A metric
that no pixel supports is NaN, and a mean leaves NaN out.

PSNR and MS-SSIM are our own: scikit-image has no MS-SSIM, torchmetrics refuses small images and
drops odd rows, and quality is searched for by these values. They are held to scikit-image's.

| metric | unit | better | source |
| --- | --- | --- | --- |
| psnr_db | dB, peak = largest value of the dtype; inf when identical | higher | |
| ms_ssim | 0 to 1 | higher | Wang, Simoncelli, Bovik 2003 |
| absrel | mean of abs(d - g) / g | lower | Eigen, Puhrsch, Fergus 2014 |
| rmse_m | metres | lower | Eigen, Puhrsch, Fergus 2014 |
| delta_1.25 | share with max(d / g, g / d) < 1.25 | higher | Ladicky, Shi, Pollefeys 2014 |
| mean_angle_deg | degrees | lower | Fouhey, Gupta, Hebert 2013 |
| rel_sq_error | sum of (d - g)² / sum of g² | lower | |
| cosine_distance | 1 - d · g / (abs(d) abs(g)), 0 to 2 | lower | |
| identical, invalid_exact | 1 or 0 | higher | |
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._schemas import Task, TaskKind

Array = NDArray[Any]
Float = NDArray[np.float64]

HIGHER_IS_BETTER = {
    "psnr_db": True,
    "ms_ssim": True,
    "absrel": False,
    "rmse_m": False,
    "delta_1.25": True,
    "mean_angle_deg": False,
    "rel_sq_error": False,
    "cosine_distance": False,
    "identical": True,
    "invalid_exact": True,
}
_NAMES = {
    "psnr_db": "PSNR",
    "ms_ssim": "MS-SSIM",
    "absrel": "AbsRel",
    "rmse_m": "RMSE",
    "delta_1.25": "δ < 1.25",
    "mean_angle_deg": "mean angle",
    "rel_sq_error": "relative squared error",
    "cosine_distance": "cosine distance",
    "identical": "identical",
    "invalid_exact": "invalid mask exact",
}
_FORMS = {
    "psnr_db": "{:.2f} dB",
    "ms_ssim": "{:.4f}",
    "absrel": "{:.2%}",
    "rmse_m": "{:.3f} m",
    "delta_1.25": "{:.2%}",
    "mean_angle_deg": "{:.2f}°",
}
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2
_WINDOW, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03


def measure(task: Task, original: Array, decoded: Array) -> dict[str, float]:
    """Return every metric that fits the task's kind; of an exact one, whether it is identical.

    Parameters
    ----------
    task
        What the arrays are of.
    original, decoded
        Native arrays of one sample, of the same shape.

    Returns
    -------
    dict
        Value by name: of images ``psnr_db`` (dB) and ``ms_ssim`` (0 to 1); of depth ``absrel``
        (a share, not percent), ``rmse_m`` (metres), ``delta_1.25`` (a share) and
        ``invalid_exact`` (1 or 0); of normals ``mean_angle_deg`` (degrees) and
        ``invalid_exact``; of feature maps and embeddings ``rel_sq_error`` and
        ``cosine_distance``; of exact tasks ``identical`` (1 or 0).

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    if original.shape != decoded.shape:
        raise ValueError(f"task {task.name}: {decoded.shape} decoded, {original.shape} original")
    by_kind: dict[TaskKind, Callable[[Task, Array, Array], dict[str, float]]] = {
        TaskKind.IMAGE: _measure_image,
        TaskKind.DEPTH: _measure_depth,
        TaskKind.NORMAL: _measure_normal,
        TaskKind.FEATURE: _measure_numbers,
        TaskKind.EMBEDDING: _measure_numbers,
    }
    if task.kind in by_kind and not task.is_exact:
        return by_kind[task.kind](task, original, decoded)
    return {"identical": identical(original, decoded)}


class MeanMetrics:
    """Means over a dataset of what `measure` gives a sample: a few numbers, however many samples.

    Each sample counts once, whatever its size: the mean of PSNRs is the mean over images.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """Take in one sample."""
        self.samples += 1
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0))
            if not math.isnan(value):
                total, count = total + value, count + 1
            self._sums[name] = (total, count)

    def means(self) -> dict[str, float]:
        """Return the mean of every metric; NaN where no sample had it."""
        return {
            name: total / count if count else math.nan
            for name, (total, count) in self._sums.items()
        }


def metric_name(name: str) -> str:
    """Return the name of a metric as papers write it."""
    return _NAMES.get(name, name)


def metric_text(name: str, value: float) -> str:
    """Spell a metric with its unit: ``PSNR 34.12 dB``."""
    if name in ("identical", "invalid_exact"):
        return metric_name(name) if value == 1 else f"{metric_name(name)}: {value:.1%}"
    return f"{metric_name(name)} {amount_text(name, value)}"


def amount_text(name: str, value: float | None) -> str:
    """Spell a metric's value with its unit, without its name: ``34.12 dB``."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "lossless"
    if name in ("identical", "invalid_exact"):
        return f"{value:.1%}"
    return _FORMS.get(name, "{:.4g}").format(value)


def psnr_db(original: Array, decoded: Array, peak: float = 255.0) -> float:
    """Return the peak signal-to-noise ratio, 10 log10(peak² / MSE), in dB; inf when equal.

    Parameters
    ----------
    original, decoded
        Arrays of one shape and range; the error is averaged over all their values.
    peak
        The largest value that there may be.
    """
    difference = original.astype(np.float64) - decoded.astype(np.float64)
    mse = float(np.mean(difference * difference))
    return math.inf if mse == 0 else 10 * math.log10(peak * peak / mse)


def ms_ssim(original: Array, decoded: Array, peak: float = 255.0) -> float:
    """Return the multi-scale structural similarity, the mean over channels.

    Five scales, a Gaussian window of 11 with sigma 1.5 without padding, K1 = 0.01, K2 = 0.03. An
    image too small for five scales (a side below 176) gets as many as its window fits, with the
    weights of those scales divided by their sum; below 11 pixels the window shrinks to the image.
    Negative contrast terms count as 0.

    Parameters
    ----------
    original, decoded
        (H, W) or (H, W, C), any dtype, values 0 to `peak`.
    """
    first, second = _channels_first(original), _channels_first(decoded)
    side = min(first.shape[1:])
    scales = 1
    while scales < len(_SCALE_WEIGHTS) and side >> scales >= _WINDOW:
        scales += 1
    weights = np.array(_SCALE_WEIGHTS[:scales])
    if scales < len(_SCALE_WEIGHTS):  # the published five add up to 1.0001, and stay as published
        weights /= weights.sum()
    product = np.ones(len(first))
    for scale, weight in enumerate(weights):
        if scale:
            first, second = _halve(first), _halve(second)
        similarity, contrast = _ssim_terms(first, second, peak)
        term = similarity if scale == scales - 1 else contrast
        product *= np.maximum(term, 0.0) ** weight
    return float(product.mean())


def absrel(original_m: Array, decoded_m: Array) -> float:
    """Return mean(abs(d - g) / g) over the pixels where both are finite and g > 0."""
    truth, found = _paired(original_m, decoded_m)
    return float(np.mean(np.abs(found - truth) / truth)) if truth.size else math.nan


def rmse_m(original_m: Array, decoded_m: Array) -> float:
    """Return the root of the mean squared error in metres over the pixels where both are finite."""
    both = np.isfinite(original_m) & np.isfinite(decoded_m)
    difference = original_m[both].astype(np.float64) - decoded_m[both]
    return float(np.sqrt(np.mean(difference * difference))) if difference.size else math.nan


def delta_125(original_m: Array, decoded_m: Array) -> float:
    """Return the share of pixels with max(d / g, g / d) < 1.25, where both are finite and g > 0."""
    truth, found = _paired(original_m, decoded_m)
    if not truth.size:
        return math.nan
    return float(np.mean((found < 1.25 * truth) & (truth < 1.25 * found)))


def mean_angle_deg(original: Array, decoded: Array) -> float:
    """Return the mean angle in degrees between unit vectors (H, W, 3).

    Pixels where the original is NaN do not count; a decoded NaN where there should be a vector
    counts as 90 degrees.
    """
    angles = angles_deg(original, decoded)
    valid = angles[np.isfinite(angles)]
    return float(valid.mean()) if valid.size else math.nan


def angles_deg(original: Array, decoded: Array) -> Float:
    """Return the angle a pixel in degrees, (H, W); NaN where the original has no vector."""
    # by component: sums along an axis of three are slow
    ax, ay, az = np.ascontiguousarray(np.moveaxis(original, -1, 0), np.float64)
    bx, by, bz = np.nan_to_num(np.ascontiguousarray(np.moveaxis(decoded, -1, 0), np.float64))
    # atan2 of cross and dot: arccos loses all digits of small angles
    cross = (ay * bz - az * by) ** 2 + (az * bx - ax * bz) ** 2 + (ax * by - ay * bx) ** 2
    dot = ax * bx + ay * by + az * bz
    degrees: Float = np.degrees(np.arctan2(np.sqrt(cross), dot))
    degrees[~((bx != 0) | (by != 0) | (bz != 0)) & np.isfinite(degrees)] = 90.0
    return degrees


def rel_sq_error(original: Array, decoded: Array) -> float:
    """Return sum (d - g)² / sum g² over all numbers; 0 when equal, inf where only g is 0."""
    truth, found = _squarable(original, decoded)
    error, power = float(np.sum((found - truth) ** 2)), float(np.sum(truth**2))
    return error / power if power else math.inf if error else 0.0


def cosine_distance(original: Array, decoded: Array) -> float:
    """Return 1 less the cosine of the angle between all numbers as vectors, 0 to 2.

    0 when equal; 1 where only one of them has no length.
    """
    truth, found = (_squarable(one)[0].ravel() for one in (original, decoded))
    lengths = [float(np.linalg.norm(one)) for one in (truth, found)]
    if not all(lengths):
        return float(any(lengths))
    half_chord = np.linalg.norm(truth / lengths[0] - found / lengths[1]) ** 2 / 2
    return float(half_chord)  # 1 - cos loses all digits of small angles


def _squarable(*arrays: Array) -> list[Float]:
    """Return numbers in float64, all over the power of two that leaves the largest below 1.

    So their squares are no more than float64 holds, and no ratio of them changes.
    """
    largest = max(float(np.max(np.abs(one.astype(np.float64)), initial=0)) for one in arrays)
    exponent = math.frexp(largest)[1]
    return [np.ldexp(one.astype(np.float64), -exponent) for one in arrays]


def identical(original: Array, decoded: Array) -> float:
    """Return 1.0 when dtype, shape and every value agree (NaN with NaN), else 0.0."""
    same_values = np.array_equal(original, decoded, equal_nan=original.dtype.kind == "f")
    return float(original.dtype == decoded.dtype and same_values)


def peak_of(task: Task) -> float:
    """Return the largest value that the task's dtype can hold, the peak of PSNR and SSIM."""
    return float(np.iinfo(task.dtype).max) if np.dtype(task.dtype).kind in "iu" else 1.0


def _measure_image(task: Task, original: Array, decoded: Array) -> dict[str, float]:
    peak = peak_of(task)
    return {
        "psnr_db": psnr_db(original, decoded, peak),
        "ms_ssim": ms_ssim(original, decoded, peak),
    }


def _measure_depth(task: Task, original: Array, decoded: Array) -> dict[str, float]:
    truth_m, found_m = task.to_physical(original), task.to_physical(decoded)
    return {
        "absrel": absrel(truth_m, found_m),
        "rmse_m": rmse_m(truth_m, found_m),
        "delta_1.25": delta_125(truth_m, found_m),
        "invalid_exact": _same_mask(task, original, decoded),
    }


def _measure_normal(task: Task, original: Array, decoded: Array) -> dict[str, float]:
    return {
        "mean_angle_deg": mean_angle_deg(task.to_physical(original), task.to_physical(decoded)),
        "invalid_exact": _same_mask(task, original, decoded),
    }


def _measure_numbers(task: Task, original: Array, decoded: Array) -> dict[str, float]:
    measures = {"rel_sq_error": rel_sq_error, "cosine_distance": cosine_distance}
    return {name: measures[name](original, decoded) for name in task.metrics}


def _same_mask(task: Task, original: Array, decoded: Array) -> float:
    return float(np.array_equal(task.invalid_mask(original), task.invalid_mask(decoded)))


def _paired(original_m: Array, decoded_m: Array) -> tuple[Float, Float]:
    both = np.isfinite(original_m) & np.isfinite(decoded_m) & (original_m > 0)
    return original_m[both].astype(np.float64), decoded_m[both].astype(np.float64)


def _channels_first(image: Array) -> Float:
    planes = image[:, :, None] if image.ndim == 2 else image
    return np.ascontiguousarray(planes.transpose(2, 0, 1), np.float64)


def _ssim_terms(first: Float, second: Float, peak: float) -> tuple[Float, Float]:
    """Return mean SSIM and mean contrast-structure term of each channel, (C,) both."""
    terms = _ssim_maps_compiled if _kernels.in_use() else _ssim_maps
    similarity, contrast = terms(first, second, (_K1 * peak) ** 2, (_K2 * peak) ** 2)
    return similarity.mean((1, 2)), contrast.mean((1, 2))


def _ssim_maps_compiled(first: Float, second: Float, c1: float, c2: float) -> tuple[Float, Float]:
    """Do what `_ssim_maps` does, in C, to the same last bit."""
    down, along = (_window(size) for size in first.shape[1:])
    height, width = (n - len(w) + 1 for n, w in zip(first.shape[1:], (down, along), strict=True))
    similarity = np.empty((len(first), height, width))
    contrast = np.empty_like(similarity)
    for planes in zip(first, second, similarity, contrast, strict=True):
        _kernels.compiled.maps_similarity(*planes[:2], down, along, c1, c2, *planes[2:])
    return similarity, contrast


def _ssim_maps(first: Float, second: Float, c1: float, c2: float) -> tuple[Float, Float]:
    """Return SSIM and its contrast-structure term at every place of the window, (C, h, w) both."""
    mean_1, mean_2 = _blur(first), _blur(second)
    variance_1 = _blur(first * first) - mean_1 * mean_1
    variance_2 = _blur(second * second) - mean_2 * mean_2
    covariance = _blur(first * second) - mean_1 * mean_2
    contrast = (2 * covariance + c2) / (variance_1 + variance_2 + c2)
    luminance = (2 * mean_1 * mean_2 + c1) / (mean_1 * mean_1 + mean_2 * mean_2 + c1)
    return luminance * contrast, contrast


def _window(length: int) -> Float:
    """Return the weights of the window along an axis of this many pixels."""
    size = min(_WINDOW, length)
    offsets = np.arange(size) - (size - 1) / 2
    window = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights: Float = window / window.sum()
    return weights


def _blur(planes: Float) -> Float:
    for axis in (1, 2):
        window = _window(planes.shape[axis])
        size = len(window)
        length = planes.shape[axis] - size + 1
        rows = np.moveaxis(planes, axis, 1)
        blurred = rows[:, :length] * window[0]
        for k in range(1, size):
            blurred += rows[:, k : k + length] * window[k]
        planes = np.moveaxis(blurred, 1, axis)
    return planes


def _halve(planes: Float) -> Float:
    """Return means of 2 × 2 pixels; an odd last row or column is repeated, as Wang et al. do."""
    odd = [(0, 0), *((0, size % 2) for size in planes.shape[1:])]
    even = np.pad(planes, odd, mode="edge")
    halves: Float = (
        even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]
    )
    return halves / 4
