"""Transforms of samples with windows: their frames are so many maps of one sample, moved alike.

A transform of whole samples draws once and moves all maps. So a window is taken apart into a map
(or matrix, or vector) a frame, each under a name of its own that means what the task means, and put
together again behind the transform.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import numpy as np

from dsc._schemas.sample import Sample
from dsc._transforms.meaning import FRAME

Call = Callable[..., Sample]


def framewise(call: Call) -> Call:
    """Let the call of a transform take samples with windows."""

    @wraps(call)
    def called(self: Any, sample: Mapping[str, Any], *rng: Any, **named: Any) -> Sample:
        windows = _windows(sample)
        if not windows:
            return call(self, sample, *rng, **named)
        made = call(self, _apart(sample, windows), *rng, **named)
        return _together(made, sample, windows)

    return called


def _windows(sample: Mapping[str, Any]) -> dict[str, int]:
    """Return how many frames the arrays have that are windows still."""
    return {
        name: n
        for name, n in getattr(sample, "windows", {}).items()
        if isinstance(sample.get(name), np.ndarray)
        and len(np.shape(sample[name])) > 0
        and len(sample[name]) == n
    }


def _apart(sample: Mapping[str, Any], windows: Mapping[str, int]) -> Sample:
    """Return a sample with a value a frame; values of no map that are nothing are left out."""
    out: dict[str, Any] = {}
    tasks = getattr(sample, "tasks", {})
    for name, value in sample.items():
        if name not in windows:
            out[name] = value
            continue
        is_map = name in tasks and tasks[name].is_map
        out |= {
            f"{name}{FRAME}{k}": frame
            for k, frame in enumerate(value)
            if is_map or not _is_nothing(frame)
        }
    return Sample.of(out, tasks)


def _is_nothing(frame: Any) -> bool:
    return bool(np.asarray(frame).dtype.kind == "f" and np.isnan(frame).all())


def _together(made: Sample, sample: Mapping[str, Any], windows: Mapping[str, int]) -> Sample:
    out: dict[str, Any] = {}
    for name, value in sample.items():
        if name not in windows:
            out[name] = made[name]
            continue
        frames = [made.get(f"{name}{FRAME}{k}") for k in range(windows[name])]
        kept = [old if new is None else new for new, old in zip(frames, value, strict=True)]
        out[name] = np.stack(kept)
    return Sample.like(out, sample)
