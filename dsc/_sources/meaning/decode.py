"""Turns what a file holds into the native array of its task.

`dsc._files.formats` turns bytes into an array; here it becomes what its task holds:
counts of depth, 8-bit normals, a label map in a wide enough dtype. What does not fit is a
`SampleError` that names the file, what was found in it and what to do. Nothing is dropped without
being told to.

A gray file serves an image task of three channels (the value is repeated, as folders of
photographs hold gray JPEGs). In a label map, a palette's indexes are taken, which are the labels,
not its colours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.classical.jpeg_file import MAGIC as JPEG
from dsc._files.formats import read_content, read_pixels
from dsc._files.formats.single_array import HDF5, holds_one, read_one
from dsc._schemas import SHAPED, Task, TaskKind
from dsc._schemas.from_file import with_file
from dsc._sources.meaning.evidence import Evidence, alike, as_vectors, is_nothing, look
from dsc._sources.meaning.units import FileUnit, coarse_enough
from dsc.errors import SampleError

WIDENED = (TaskKind.LABEL, TaskKind.CLASS, TaskKind.VECTOR, TaskKind.ARRAY, TaskKind.FLOW)
NO_NORMAL = 127


@dataclass(frozen=True)
class Conversion:
    """How a file's values become a task's.

    Attributes
    ----------
    indexes
        Whether the indexes of a palette are meant rather than its colours.
    alpha
        ``drop`` leaves a last channel of alpha out, ``only`` keeps nothing but it; None refuses it.
    file_unit
        What the values of depth are, where they are to be turned into counts.
    invalid
        Values of such depth that mean nothing, beside 0, negative ones, NaN and infinity.
    signed
        Whether floating-point normals span -1 to 1 rather than 0 to 1.
    gray
        Whether three channels that are alike are one.
    """

    indexes: bool = False
    alpha: str | None = None
    file_unit: FileUnit | None = None
    invalid: tuple[int, ...] = ()
    signed: bool = True
    gray: bool = False


UNCHANGED = Conversion()


def read_array(
    data: bytes, task: Task, where: str, conversion: Conversion | None = None
) -> NDArray[Any]:
    """Decode one file to the native array of `task`, which knows its file where that is a JPEG.

    Parameters
    ----------
    data
        The whole file.
    where
        Sample and file, for messages.
    conversion
        How its values become the task's; by default as they are.

    Raises
    ------
    SampleError
        When the file is damaged, of an unknown format, or not what the task needs.
    """
    conversion = conversion or Conversion(indexes=task.kind is TaskKind.LABEL)
    array = fit_to_task(_read(data, where, conversion.indexes), task, where, conversion)
    return knowing_file(array, task, data)


def knowing_file(array: NDArray[Any], task: Task, data: bytes) -> NDArray[Any]:
    """Return an array that knows its file where codecs can keep it: a picture's JPEG."""
    return with_file(array, data) if task.is_map and data.startswith(JPEG) else array


def probe(data: bytes, where: str, nothing: tuple[int, ...] = ()) -> Evidence:
    """Gather the evidence of one file, in which the values `nothing` have no meaning.

    Raises
    ------
    SampleError
        When the file is damaged or of an unknown format.
    """
    if holds_one(data):
        form = "hdf5" if data.startswith(HDF5) else "text"
        return look(read_one(data, where), nothing, format=form)
    content = read_content(data, where)
    return look(
        read_pixels(data, where, indexes=True),
        nothing,
        format=content.format,
        lossless=content.lossless,
        palette=content.palette,
        alpha=content.alpha,
        turned=content.orientation != 1,
    )


def check_file(
    data: bytes, task: Task, where: str, conversion: Conversion
) -> tuple[int, int] | None:
    """Check from a file's head that it will do for its task; return height and width of a map.

    Pixels are not decoded, so damage further on is not seen.

    Raises
    ------
    SampleError
        When dtype, channels or pages do not fit, or the head is damaged.
    """
    if holds_one(data):
        found = read_array(data, task, where, conversion)
        return (found.shape[0], found.shape[1]) if task.is_map else None
    content = read_content(data, where)
    if content.pages > 1:
        read_pixels(data, where)  # says what to do
    content = content.as_indexes() if conversion.indexes else content
    stands_for = np.broadcast_to(np.zeros((), content.dtype), content.shape)
    if task.is_map and stands_for.ndim in (2, 3):
        stands_for = stands_for[:1, :1]
    fit_to_task(stands_for, task, where, conversion)
    return (content.shape[0], content.shape[1]) if task.is_map else None


def _read(data: bytes, where: str, indexes: bool) -> NDArray[Any]:
    if holds_one(data):
        return read_one(data, where)
    return read_pixels(data, where, indexes=indexes)


def fit_to_task(
    array: NDArray[Any], task: Task, where: str, conversion: Conversion = UNCHANGED
) -> NDArray[Any]:
    """Return the array as its task wants it, C-contiguous and in the machine's byte order.

    Raises
    ------
    SampleError
        When dtype, shape or values do not fit.
    """
    if task.kind in (*SHAPED, TaskKind.SCALAR):
        return _numbers(array, task, where)
    if not task.is_map:
        array = array.reshape(_flat_shape(array, task))
    elif array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if task.is_map and conversion.alpha:
        array = _alpha(array, conversion.alpha)
    if conversion.gray and array.ndim == 3:
        array = _one_of_three(array, where)
    if task.kind is TaskKind.DEPTH:
        array = _counts(array, task, where, conversion)
    elif task.kind is TaskKind.NORMAL and array.dtype != np.uint8:
        array = quantise_normal(array, (*task.invalid, NO_NORMAL)[0], conversion.signed)
    elif task.kind is TaskKind.IMAGE and task.channels == 3 and array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    array = _widen(array, task, where)
    _check_shape(array, task, where)
    dtype = np.dtype(task.dtype)
    return np.ascontiguousarray(array, dtype) if array.ndim else array.astype(dtype)


def quantise_depth(depth_m: NDArray[Any], unit_m: float, where: str) -> NDArray[np.uint16]:
    """Turn metres into counts of `unit_m`: uint16, 0 where there is no depth.

    The error is at most half a count. Zero, negative and non-finite depth has no value.

    Raises
    ------
    SampleError
        When a depth is beyond 65535 counts.
    """
    counts = np.rint(depth_m.astype(np.float64) / unit_m)
    measured = np.isfinite(depth_m) & (depth_m > 0)
    farthest = float(depth_m[measured].max(initial=0.0))
    if farthest / unit_m > 65535:
        raise SampleError(
            f"{where}: a depth of {farthest:g} m does not fit 16 bits in counts of {unit_m:g} m; "
            f"if it is that far, give a coarser --depth-unit, {coarse_enough(farthest)} or more; "
            "if not, say what the file's values are with --file-unit, for example mm"
        )
    return np.where(measured, np.maximum(counts, 1), 0).astype(np.uint16)


def quantise_normal(
    normal: NDArray[Any], none: int = NO_NORMAL, signed: bool = True
) -> NDArray[np.uint8]:
    """Turn normals of 16 bits or floating point into 8 bits; see `as_vectors`.

    A vector that is not finite or has no length becomes `none` in all channels.
    """
    vectors = as_vectors(normal, signed)
    length = np.linalg.norm(vectors, axis=-1)
    missing = ~np.isfinite(length) | (length < 0.02)
    scaled = np.rint(np.nan_to_num(vectors) * 127.5 + 127.5)
    counts: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    counts[missing] = none
    return counts


def map_sizes(
    arrays: Mapping[str, NDArray[Any]], tasks: Mapping[str, Task]
) -> dict[str, tuple[int, int]]:
    """Return height and width of a sample's maps."""
    return {
        name: (array.shape[0], array.shape[1])
        for name, array in arrays.items()
        if tasks[name].is_map
    }


def check_sizes(key: str, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Refuse a sample whose maps differ in height or width.

    Raises
    ------
    SampleError
        Naming the sample, and each task with its size.
    """
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {wide}x{high}" for name, (high, wide) in sizes.items())
        raise SampleError(
            f"sample {key}: tasks differ in size (width x height): {listed}; resize the files to "
            "one size, or leave tasks out with --tasks"
        )


def _alpha(array: NDArray[Any], wanted: str) -> NDArray[Any]:
    has_alpha = array.ndim == 3 and array.shape[2] in (2, 4)
    if wanted == "only":
        opaque = np.iinfo(array.dtype).max if array.dtype.kind in "ui" else 1
        return array[..., -1] if has_alpha else np.full(array.shape[:2], opaque, array.dtype)
    if not has_alpha:
        return array
    return array[..., 0] if array.shape[2] == 2 else array[..., :3]


def _one_of_three(array: NDArray[Any], where: str) -> NDArray[Any]:
    if not alike(array).all():
        raise SampleError(
            f"{where}: its channels differ, those of other files are alike; say --kinds TASK=array "
            "to keep all of them exactly"
        )
    return array[..., 0]


def _counts(array: NDArray[Any], task: Task, where: str, conversion: Conversion) -> NDArray[Any]:
    unit = conversion.file_unit
    if unit is None and array.dtype.kind == "f" and task.dtype == "uint16":
        unit = FileUnit(1.0)
    if unit is None:
        return array
    metres = unit.to_metres(array)
    if conversion.invalid:
        metres[is_nothing(array, conversion.invalid)] = np.nan
    return quantise_depth(metres, task.unit_m or 1.0, where)


def _widen(array: NDArray[Any], task: Task, where: str) -> NDArray[Any]:
    """Return ids and numbers the task's wider dtype, without changing a value."""
    dtype = np.dtype(task.dtype)
    found = array.dtype.newbyteorder("=")
    if found == dtype:
        return array
    wider = found.kind == "b" or (task.kind in WIDENED and np.can_cast(found, dtype, "safe"))
    if found == np.uint64 and dtype == np.int64:
        top = int(array.max(initial=0))
        if top > np.iinfo(np.int64).max:
            raise SampleError(f"{where}: the id {top} does not fit 63 bits; renumber the ids")
        wider = True
    if not wider:
        raise SampleError(
            f"{where}: {found.name} values, task {task.name} holds {task.dtype}; "
            "convert this file to the form that the other files have, or leave it out with --ignore"
        )
    return array.astype(dtype)


def _numbers(array: NDArray[Any], task: Task, where: str) -> NDArray[Any]:
    """Return a matrix, or one number, as it is."""
    if task.kind is TaskKind.SCALAR and array.size == 1:
        array = array.reshape(())
    try:
        return task.to_native(array)
    except ValueError as error:
        raise SampleError(
            f"{where}: not the {task.kind.value} that task {task.name} holds ({error})"
        ) from None


def _flat_shape(array: NDArray[Any], task: Task) -> tuple[int, ...]:
    if task.channels == 0 and array.size == 1:
        return ()
    return (array.size,) if task.channels else array.shape


def _check_shape(array: NDArray[Any], task: Task, where: str) -> None:
    if not task.is_map:
        wanted = (task.channels,) if task.channels else ()
        if array.shape != wanted:
            raise SampleError(
                f"{where}: shape {array.shape}, task {task.name} holds {wanted}; "
                "all files of one task must have one length"
            )
        return
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim in (2, 3) and channels == task.channels and array.size:
        return
    found = f"{channels} channels" if array.ndim in (2, 3) else f"shape {array.shape}"
    advice = "convert this file to the form that the other files have"
    if channels in (2, 4) and array.ndim == 3:
        found += " (alpha?)" if channels == 2 else " (alpha, or CMYK)"
        advice = "convert it, or say --alpha drop, or --alpha mask (sources folder and hdf5)"
    raise SampleError(f"{where}: {found}, task {task.name} has {task.channels}; {advice}")
