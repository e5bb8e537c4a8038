"""A contender at one level: bytes, distortion, time; and what one frame of it takes."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._bench.sequences.contenders import Contender, Groups, most_pixels
from dsc._bench.sequences.recording import Clip
from dsc._bench.speed.clock import processor_s
from dsc._pipeline.metrics import measure, peak_of
from dsc._schemas import Task, TaskKind
from dsc._schemas.group import whole
from dsc._threads import single_thread

Array = NDArray[Any]
Point = dict[str, float]
ALMOST_EXACT_DB = 99.0


def measure_point(recording: Clip, contender: Contender, level: int) -> dict[str, Any]:
    """Code a recording at one level, and hold what comes back against it.

    Returns
    -------
    dict
        JSON: ``level``, ``bytes`` a frame, ``mean`` and ``worst`` distortion of frames (PSNR of
        the mean squared error of all frames, AbsRel, or the share of frames that is identical),
        ``encode_s`` and ``decode_s`` of processor time; for groups ``access``.
    """
    with single_thread():
        start = processor_s()
        coded = contender.encode(recording, level)
        encoded = processor_s()
        decoded = contender.decode(coded, recording)
        end = processor_s()
        mean, worst = distortion(recording.task, recording.frames, decoded)
        found: dict[str, Any] = {
            "level": level,
            "bytes": contender.size(coded) / len(recording.frames),
            "mean": mean,
            "worst": worst,
            "encode_s": encoded - start,
            "decode_s": end - encoded,
        }
        if isinstance(contender, Groups):
            found["access"] = access(recording, contender, coded)
    return found


def distortion(
    task: Task, originals: Sequence[Array], decoded: Sequence[Array]
) -> tuple[float, float]:
    """Return the distortion of all frames, and of the worst."""
    if len(originals) != len(decoded):
        raise ValueError(f"{len(decoded)} frames came back of {len(originals)}")
    if any(a.shape != b.shape for a, b in zip(originals, decoded, strict=True)):
        raise ValueError("a frame came back in another size")
    if task.kind is TaskKind.IMAGE:
        errors = [
            float(np.mean((a.astype(np.float64) - b) ** 2))
            for a, b in zip(originals, decoded, strict=True)
        ]
        return _db(task, float(np.mean(errors))), _db(task, max(errors))
    name = "absrel" if task.kind is TaskKind.DEPTH else "identical"
    values = [measure(task, a, b)[name] for a, b in zip(originals, decoded, strict=True)]
    worst = max(values) if task.kind is TaskKind.DEPTH else min(values)
    return float(np.mean(values)), float(worst)


def _db(task: Task, error: float) -> float:
    if error == 0:
        return ALMOST_EXACT_DB
    return min(10 * math.log10(peak_of(task) ** 2 / error), ALMOST_EXACT_DB)


def access(
    recording: Clip, contender: Groups, coded: Sequence[dict[str, bytes]]
) -> dict[str, float]:
    """Count what one frame takes, whichever it is: frames that are decoded, bytes, seconds."""
    name, most = recording.task.name, most_pixels(recording)
    frames, sizes, seconds = [], [], []
    for group in contender.linked(coded):
        for one in group:
            chain = whole(next(iter(one.values()))).chain
            frames.append(len(chain))
            sizes.append(sum(len(data) for _, data in chain))
            start = processor_s()
            contender.codecs.decode_batch([one], [name], most)
            seconds.append(processor_s() - start)
    return {
        "frames_mean": float(np.mean(frames)),
        "frames_max": float(max(frames)),
        "bytes": float(np.mean(sizes)),
        "decode_s": float(np.mean(seconds)),
    }


def bytes_at(points: Sequence[Point], distortion: float, is_db: bool) -> float | None:
    """Return the bytes a frame at a distortion, between the points that were measured.

    Logarithms of bytes lie on straight lines between neighbours: over PSNR in dB, over the
    logarithm of AbsRel. None where the points do not reach as far.
    """
    place: Callable[[float], float] = (lambda value: value) if is_db else math.log
    known = sorted((place(max(p["mean"], 1e-9)), math.log(p["bytes"])) for p in points)
    at = place(distortion)
    for (x0, y0), (x1, y1) in pairwise(known):
        if x0 <= at <= x1 and x1 > x0:
            return math.exp(y0 + (y1 - y0) * (at - x0) / (x1 - x0))
    return None
