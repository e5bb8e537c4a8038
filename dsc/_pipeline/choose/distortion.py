"""How far what a codec gives back is from the original, as one number that a search can go by.

Targets and references are in the metrics' own units. Searches go by decibels, which rise about in
proportion to quality whatever the metric is, so that two measured points tell where a third lies.
"""

import math
from collections.abc import Sequence

import numpy as np

from dsc._codecs.base import Array
from dsc._pipeline.metrics import (
    absrel,
    cosine_distance,
    mean_angle_deg,
    ms_ssim,
    peak_of,
    psnr_db,
    rel_sq_error,
    rmse_m,
)
from dsc._schemas import Metric, Target, Task

EXACT_DB = 100.0  # what identical images count as in a mean of PSNRs
SQUARED = (Metric.MS_SSIM, Metric.RELATIVE, Metric.COSINE)  # grow as the square of an error
HAIR_DB = 1e-9  # by which a target is missed at least that is missed by rounding alone


def distortion(task: Task, metric: Metric, original: Array, decoded: Array) -> float:
    """Measure one sample over the valid pixels of the original; NaN where there is none."""
    mask = task.invalid_mask(original) if task.invalid else None
    if metric in (Metric.PSNR, Metric.MS_SSIM):
        if mask is not None and mask.any():
            if mask.all():
                return math.nan
            decoded = np.where(mask if original.ndim == 2 else mask[..., None], original, decoded)
            if metric is Metric.PSNR:
                original, decoded = original[~mask], decoded[~mask]
        measure = psnr_db if metric is Metric.PSNR else ms_ssim
        return measure(original, decoded, peak_of(task))
    truth, found = task.to_physical(original), task.to_physical(decoded)
    by_metric = {
        Metric.ABSREL: absrel,
        Metric.RMSE: rmse_m,
        Metric.ANGLE: mean_angle_deg,
        Metric.RELATIVE: rel_sq_error,
        Metric.COSINE: cosine_distance,
    }
    return by_metric[metric](truth, found)


def mean_distortion(values: Sequence[float]) -> float:
    """Return the mean over samples; NaN does not count, identical images count as 100 dB."""
    known = [EXACT_DB if math.isinf(value) else value for value in values if not math.isnan(value)]
    if len(known) == 1:
        return next(value for value in values if not math.isnan(value))
    return sum(known) / len(known) if known else math.nan


def level_db(metric: Metric, value: float) -> float:
    """Return a distortion in decibels, more being better; infinite where nothing differs.

    PSNR as it is, -10 log10 of what MS-SSIM lacks of 1 and of what grows as the square of an error,
    -20 log10 of an error.
    """
    if metric is Metric.PSNR:
        return value
    left = 1.0 - value if metric is Metric.MS_SSIM else value
    scale = 10.0 if metric in SQUARED else 20.0
    return -scale * math.log10(left) if left > 0 else math.inf


def margin_db(target: Target, found: float) -> float:
    """Return by how many dB a measured value exceeds a target; below 0 exactly where it misses."""
    if math.isnan(found):
        return math.inf  # nothing to measure is good enough
    margin = level_db(target.metric, found) - level_db(target.metric, target.value)
    if math.isnan(margin):  # both are infinite
        margin = 0.0
    return max(margin, 0.0) if target.is_met(found) else min(margin, -HAIR_DB)
