"""Reads samples once, keeps them as compact planes in memory, and cuts crops out of them.

A sample is turned into planes whole, exactly as the codec turns it (its own median depth, holes
filled over the whole picture), and kept as 8-bit values where that loses nothing. What cannot be
trained on is skipped with a count, or is an error that names sample and reason.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.learned.planes import to_planes
from dsc._schemas import Task, TaskKind
from dsc._sources.base import read_sample
from dsc._sources.registry import Source
from dsc._storage.cache.lru import LruCache
from dsc.errors import DscError, SampleError

MIN_SIDE = 16
BAD_SHARE = 0.5  # more bad samples than this among those read is a mistake, not an accident
BAD_ENOUGH = 16

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Planes:
    """One sample, or a crop of it.

    Attributes
    ----------
    values
        (c, H, W) by modality: uint8 v for (v - 127.5) / 255, or the value itself in floating point.
    valid
        (H, W) bool by modality, for those with holes; or weights of the squared error, from 0 up.
    """

    values: Mapping[str, NDArray[Any]]
    valid: Mapping[str, NDArray[Any]]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = next(iter(self.values.values())).shape[1:]
        return int(height), int(width)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        parts = [*self.values.values(), *self.valid.values()]
        return sum(part.nbytes for part in parts)


class Samples:
    """The samples of one data set that are trained on.

    Parameters
    ----------
    tasks
        Task by modality.
    border
        Pixels left out on every side.
    cache_bytes
        Memory for samples; those used longest ago are dropped.
    on_error
        ``skip`` or ``fail``.
    """

    def __init__(
        self,
        source: Source,
        tasks: Mapping[str, Task],
        border: int,
        cache_bytes: int,
        on_error: str,
    ) -> None:
        self.source, self.tasks, self.border = source, dict(tasks), border
        self.limit, self._fail = cache_bytes, on_error == "fail"
        self.held: LruCache[int, Planes] = LruCache(cache_bytes)
        self.reads = 0
        self._lock = threading.Lock()
        self.bad: dict[int, str] = {}

    def get(self, index: int) -> Planes | None:
        """Return a sample, read or remembered; None when it cannot be trained on.

        Raises
        ------
        SampleError
            When it cannot be used and that is not to be skipped, or when most samples cannot.
        """
        with self._lock:
            found = self.held.get(index)
            if found is not None or index in self.bad:
                return found
        try:
            planes = read_planes(self.source, index, self.tasks, self.border)
        except DscError as error:
            self._note_bad(index, error)
            return None
        with self._lock:
            self._keep(index, planes)
        return planes

    def _keep(self, index: int, planes: Planes) -> None:
        self.reads += 1
        self.held.put(index, planes, planes.nbytes)

    def _note_bad(self, index: int, error: DscError) -> None:
        if self._fail:
            raise SampleError(f"{error}; leave it out, or skip such samples: --on-error skip")
        with self._lock:
            self.bad[index] = str(error)
            bad, read = len(self.bad), len(self.bad) + self.reads
        if bad >= min(BAD_ENOUGH, len(self.source)) and bad > BAD_SHARE * read:
            raise SampleError(
                f"{bad} of the first {read} samples of {self.source.name} cannot be trained on, "
                f"the last because: {error}"
            )


def read_planes(source: Source, index: int, tasks: Mapping[str, Task], border: int) -> Planes:
    """Read one sample as compact planes.

    Raises
    ------
    SampleError
        When it cannot be read, lacks a task, has no valid depth or normal, or is too small.
    """
    sample = read_sample(source, index, [task.name for task in tasks.values()])
    values: dict[str, NDArray[Any]] = {}
    valid: dict[str, NDArray[np.bool_]] = {}
    for modality, task in tasks.items():
        where = f"{source.name}: sample {sample.key}: task {task.name}"
        if task.name not in sample.arrays:
            raise SampleError(f"{where} is missing; train without it (--tasks), or complete it")
        array = sample.arrays[task.name]
        if border:
            array = array[border:-border, border:-border]
        if min(array.shape[:2]) < MIN_SIDE:
            height, width = sample.arrays[task.name].shape[:2]
            raise SampleError(
                f"{where}: {width}x{height} pixels, border {border}; at least {MIN_SIDE} a side "
                "are needed"
            )
        values[modality], holes = _compact(task, array, where)
        if holes is not None:
            valid[modality] = ~holes
    return Planes(values, valid)


def _compact(
    task: Task, array: NDArray[Any], where: str
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise SampleError(
            f"{where}: {count} values are NaN or infinite; store unmeasured depth as 0 in integers"
        )
    planes, holes, _ = to_planes(task, array)
    if holes is not None and holes.all():
        raise SampleError(f"{where}: no pixel is valid (all hold {task.invalid})")
    if task.kind is TaskKind.DEPTH:
        return planes, holes
    if holes is None:  # what `to_planes` does to 8-bit values, undone by `crop`
        return np.ascontiguousarray(array.transpose(2, 0, 1)), None
    return planes.astype(np.float16), holes


def crop(
    planes: Planes, at: tuple[float, float], side: int, half: bool, flip: bool
) -> tuple[dict[str, Float], dict[str, Float]]:
    """Cut a square crop; what is smaller than it is repeated at its edges, with weight 0 there.

    Parameters
    ----------
    at
        Place of the crop, 0 to 1 from top to bottom and from left to right.
    side
        Pixels of the result.
    half
        Take twice the side at half the resolution, where the sample is large enough.
    flip
        Mirror left to right.

    Returns
    -------
    values, weights
        (c, side, side) float32 planes by modality, and (1, side, side) weights for those with
        holes or weights.
    """
    height, width = planes.size
    taken = side * 2 if half and min(height, width) >= side * 2 else side
    rows, columns = min(taken, height), min(taken, width)
    top = round(at[0] * (height - rows))
    left = round(at[1] * (width - columns))
    step = -1 if flip else 1
    values, weights = {}, {}
    for name, whole in planes.values.items():
        x = _as_float(whole[:, top : top + rows, left : left + columns][:, :, ::step])
        weight = np.ones((1, rows, columns), np.float32)
        if name in planes.valid:
            weight[0] = planes.valid[name][top : top + rows, left : left + columns][:, ::step]
        if taken > side:
            x, weight = _halve(x), np.floor(_halve(weight))
        if min(rows, columns) < side:
            x, weight = _pad(x, side, "edge"), _pad(weight, side, "constant")
        values[name] = x
        if weight.min() < 1:
            weights[name] = weight
    return values, weights


def _as_float(x: NDArray[Any]) -> Float:
    if x.dtype == np.uint8:
        return x.astype(np.float32) / np.float32(255) - np.float32(0.5)
    return x.astype(np.float32)


def _halve(x: Float) -> Float:
    total = x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]
    mean: Float = total * np.float32(0.25)
    return mean


def _pad(x: Float, side: int, mode: Any) -> Float:
    below, right = side - x.shape[1], side - x.shape[2]
    padded: Float = np.pad(x, ((0, 0), (0, below), (0, right)), mode=mode)
    return padded
