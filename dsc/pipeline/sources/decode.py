"""Reads image and array files by their content and checks them against a task.

PNG (16-bit too), JPEG, WebP, JPEG XL and TIFF go through imagecodecs, ``.npy`` through NumPy
without pickle. What comes back is the native array of the task, or a `SampleError` that names the
file, what was found in it and what to do. A cut file is an error, never a half-gray picture.

A gray file serves an image task of three channels (the value is repeated, as folders of photographs
hold gray JPEGs); alpha is refused, because dropping it silently would lose data. In a label map, a
palette PNG gives the palette's indexes, which are the labels, not the colours.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc.errors import SampleError
from dsc.schemas import Task, TaskKind

PNG = b"\x89PNG\r\n\x1a\n"
NPY = b"\x93NUMPY"
_PNG_END = b"IEND\xaeB`\x82"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
DTYPES = ("uint8", "uint16", "int32", "int64", "float32", "float64")
_SIGNATURES = (
    (PNG, "png"),
    (b"\xff\xd8\xff", "jpeg8"),
    (b"RIFF", "webp"),
    (b"\xff\x0a", "jpegxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jpegxl"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
)


@dataclass(frozen=True)
class Found:
    """What a file holds: dtype by name and the array's shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Channels of a picture; 1 for (H, W)."""
        return self.shape[2] if len(self.shape) == 3 else 1


def read_array(data: bytes, task: Task, where: str) -> NDArray[Any]:
    """Decode one file to the native array of `task`.

    Parameters
    ----------
    data
        The whole file.
    where
        Sample and file, for messages.

    Raises
    ------
    SampleError
        When the file is damaged, of an unknown format, or not what the task needs.
    """
    return fit_to_task(_decode(data, task.kind is TaskKind.LABEL, where), task, where)


def probe(data: bytes, label: bool, where: str) -> Found:
    """Tell dtype and shape of a file; PNG and ``.npy`` are not decoded for that.

    Raises
    ------
    SampleError
        When the file is damaged or of an unknown format.
    """
    if data.startswith(PNG) and len(data) >= 33:
        width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
        channels = 1 if label and colour == 3 else _PNG_CHANNELS.get(colour, 0)
        shape = (height, width) if channels == 1 else (height, width, channels)
        return Found("uint16" if depth == 16 else "uint8", shape)
    if data.startswith(NPY):
        return _probe_npy(data, where)
    array = _decode(data, label, where)
    return Found(array.dtype.name, array.shape)


def fit_to_task(array: NDArray[Any], task: Task, where: str) -> NDArray[Any]:
    """Give the array as its task wants it, C-contiguous and in the machine's byte order.

    Depth in floating point is metres and becomes counts of the task's unit.

    Raises
    ------
    SampleError
        When dtype or shape do not fit.
    """
    if not task.is_map:
        array = array.reshape(_flat_shape(array, task))
    elif array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if task.kind is TaskKind.DEPTH and array.dtype.kind == "f" and task.dtype == "uint16":
        array = quantise_depth(array, task.unit_m or 1.0, where)
    if task.kind is TaskKind.IMAGE and task.channels == 3 and array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    dtype = np.dtype(task.dtype)
    if array.dtype.newbyteorder("=") != dtype:
        raise SampleError(
            f"{where}: {array.dtype.name} values, task {task.name} holds {task.dtype}; "
            "convert this file to the form that the other files have"
        )
    _check_shape(array, task, where)
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
            f"give a coarser --depth-unit, at least {farthest / 65535:.6f}"
        )
    return np.where(measured, np.maximum(counts, 1), 0).astype(np.uint16)


def check_sizes(key: str, arrays: dict[str, NDArray[Any]], tasks: dict[str, Task]) -> None:
    """Refuse a sample whose maps differ in height or width.

    Raises
    ------
    SampleError
        Naming the sample, and each task with its size.
    """
    maps = {name: array for name, array in arrays.items() if tasks[name].is_map}
    if len({array.shape[:2] for array in maps.values()}) > 1:
        sizes = ", ".join(f"{name} {a.shape[1]}x{a.shape[0]}" for name, a in maps.items())
        raise SampleError(
            f"sample {key}: tasks differ in size (width x height): {sizes}; resize the files to "
            "one size, or leave tasks out with --tasks"
        )


def _decode(data: bytes, label: bool, where: str) -> NDArray[Any]:
    if data.startswith(NPY):
        return _decode_npy(data, where)
    codec = next((codec for magic, codec in _SIGNATURES if data.startswith(magic)), None)
    if codec is None:
        what = f"begins with {data[:8]!r}" if data else "is empty"
        raise SampleError(
            f"{where}: {what}; expected PNG, JPEG, WebP, JPEG XL, TIFF or .npy: "
            "the file is damaged, or leave its task out with --tasks"
        )
    if _is_cut(data, codec):
        raise SampleError(
            f"{where}: the {codec} file ends too early ({len(data)} bytes); copy it again"
        )
    import imagecodecs

    scale = 1
    if label and codec == "png" and data[25:26] == b"\x03":
        data, scale = _palette_as_gray(data)
    try:
        array: NDArray[Any] = getattr(imagecodecs, f"{codec}_decode")(data)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise SampleError(
            f"{where}: cannot be decoded ({error}); the file is damaged: copy it again"
        ) from None
    return array // scale if scale != 1 else array


def _is_cut(data: bytes, codec: str) -> bool:
    # libjpeg fills what is missing with gray, libpng reads no further than the last row
    if codec == "png":
        return _PNG_END not in data[-4096:]
    if codec == "jpeg8":
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    return False


def _palette_as_gray(data: bytes) -> tuple[bytes, int]:
    """Relabel a palette PNG as gray; give it and what libpng will multiply its indexes by."""
    depth = data[24]
    header = b"IHDR" + data[16:25] + b"\0" + data[26:29]
    parts = [PNG, struct.pack(">I", 13), header, struct.pack(">I", zlib.crc32(header))]
    place = 33
    while place + 12 <= len(data):
        size = 12 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] not in (b"PLTE", b"tRNS"):
            parts.append(data[place : place + size])
        place += size
    return b"".join(parts), 255 // ((1 << depth) - 1)


def _decode_npy(data: bytes, where: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise SampleError(
            f"{where}: cannot be read ({error}); a .npy file must hold plain numbers (no objects) "
            "and be whole"
        ) from None
    return array


def _probe_npy(data: bytes, where: str) -> Found:
    array = _decode_npy(data, where)
    return Found(array.dtype.newbyteorder("=").name, array.shape)


def _flat_shape(array: NDArray[Any], task: Task) -> tuple[int, ...]:
    flat = array.size == max(array.shape, default=1)  # at most one axis longer than 1
    if task.channels == 0 and array.size == 1:
        return ()
    return (array.size,) if flat and task.channels else array.shape


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
        advice = "convert it, for example with `magick FILE -alpha off -colorspace sRGB FILE`"
    raise SampleError(f"{where}: {found}, task {task.name} has {task.channels}; {advice}")
