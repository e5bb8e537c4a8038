"""What tasks become in LeRobot: features of ``meta/info.json``, columns of Parquet, videos.

| task | feature |
| --- | --- |
| image of 8 bits | video, or ``image``: PNG in Parquet, which what was one in LeRobot stays |
| depth | video of 12-bit codes, or ``image``: PNG of millimetres, TIFF of metres for other units |
| normals, label maps, images that are exact | ``image``: PNG in Parquet |
| vector, matrix, scalar, class, time | numbers |
| text, json | ``string`` |

A feature has the name that it had in LeRobot, or ``observation.images.TASK`` and
``observation.TASK``; ``action`` and what begins with ``next_`` keep their names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._copies.export.files import file_bytes
from dsc._copies.export.lerobot_stats import Collector, Numbers, Pixels
from dsc._copies.export.lerobot_video import DEPTH, Encoding
from dsc._copies.export.parquet_columns import OutColumn, out_columns
from dsc._schemas import Manifest, Task, TaskKind
from dsc._sources.lerobot.depth import DepthCodes
from dsc._sources.rows.arrow import arrow
from dsc.errors import UsageError

OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index")  # lerobot's, of any data
TOLD = "task"
LANGUAGE = ("language_persistent", "language_events")
MM_PER_M, MOST_MM = 1000, 65535
AXES = ["height", "width", "channels"]
Cell = Callable[[NDArray[Any]], Any]


@dataclass
class Feature:
    """A feature that is written.

    Attributes
    ----------
    name
        In LeRobot.
    said
        What ``meta/info.json`` says of it.
    encoding
        How its video is encoded; None where it is a column.
    column, noted, cell
        Of a column: its field, what `datasets` calls it, and what makes a cell of a native array.
    collector
        Makes what gathers its figures; None where it has none.
    codes
        Of a video of depth, what its codes are.
    beyond
        Frames of depth that reached farther than codes do.
    """

    task: Task
    name: str
    said: Mapping[str, Any]
    encoding: Encoding | None = None
    column: Any = None
    noted: Any = None
    cell: Cell = lambda array: array
    collector: Callable[[], Collector] | None = None
    codes: DepthCodes | None = None
    beyond: int = 0

    def picture(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return what a video shows of a native array: colours, or codes of depth."""
        if self.codes is None:
            return array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)
        metres = self.task.to_physical(array)
        self.beyond += bool(np.nanmax(metres, initial=0.0) > self.codes.far_m)
        return self.codes.codes_of(metres)

    def gathered(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return what figures are made of: of depth, whole millimetres."""
        return millimetres(self.task, array) if self.task.kind is TaskKind.DEPTH else array


def millimetres(task: Task, array: NDArray[Any]) -> NDArray[np.uint16]:
    """Return depth in whole millimetres, 0 where there is none."""
    metres = np.nan_to_num(task.to_physical(array).astype(np.float64), nan=0.0)
    counts: NDArray[np.uint16] = np.rint(metres * MM_PER_M).clip(0, MOST_MM).astype(np.uint16)
    return counts


def features_of(
    manifest: Manifest,
    tasks: Sequence[Task],
    sample: Mapping[str, NDArray[Any]],
    image: Encoding | None,
    told: Mapping[str, Any],
) -> list[Feature]:
    """Say what each task becomes.

    Parameters
    ----------
    sample
        Native arrays of one sample, which tell shapes.
    image
        How images are encoded; None for PNG, depth too.
    told
        What ``meta/info.json`` said of features, where the archive came from LeRobot.

    Raises
    ------
    UsageError
        When LeRobot has no place for a task, or a video cannot have its size.
    """
    columns = out_columns(manifest, tasks)
    taken: set[str] = set()
    found = []
    for task, column in zip(tasks, columns, strict=True):
        name = _name(task, column, told)
        if name in OWN or (task.name == TOLD and task.kind is TaskKind.TEXT):
            continue
        if name in taken:
            raise UsageError(f"--to lerobot: two tasks would be called {name}; see --tasks")
        taken.add(name)
        before = told.get(name)
        before = before if isinstance(before, Mapping) else {}
        feature = _feature(task, name, column, sample[task.name], image, before)
        if before.get("shape") == feature.said["shape"]:
            feature.said = {**feature.said, "names": before.get("names")}
        found.append(feature)
    return found


def _name(task: Task, column: OutColumn, told: Mapping[str, Any]) -> str:
    own = str(column.field.name)
    if own in told or own in OWN:
        return own
    if task.is_map:
        return f"observation.images.{task.name}"
    if task.name == "action":
        return "action"
    if task.name.startswith("next_"):
        return f"next.{task.name.removeprefix('next_')}"
    return task.name if task.is_blob else f"observation.{task.name}"


def _feature(
    task: Task,
    name: str,
    column: OutColumn,
    array: NDArray[Any],
    image: Encoding | None,
    before: Mapping[str, Any],
) -> Feature:
    if task.is_map:
        was_image = before.get("dtype") == "image"
        return _map_feature(task, name, array, None if was_image else image, before)
    if task.kind is TaskKind.BYTES:
        raise UsageError(f"--to lerobot: {task.name} is files, which LeRobot does not have; {_OUT}")
    pa = arrow()
    if task.is_blob:
        is_language = name in LANGUAGE
        kind = column.field.type if is_language else pa.string()
        cell: Cell = lambda value: value.tobytes().decode()  # noqa: E731
        if is_language:
            cell = lambda value: column.cell(value, None)  # noqa: E731
        said = {"dtype": "language" if is_language else "string", "shape": [1], "names": None}
        noted = column.feature if is_language else {"_type": "Value", "dtype": "string"}
        return Feature(task, name, said, column=pa.field(name, kind), noted=noted, cell=cell)
    return _number_feature(task, name, column, array)


def _number_feature(task: Task, name: str, column: OutColumn, array: NDArray[Any]) -> Feature:
    pa = arrow()
    shape = [*array.shape] or [1]
    if -1 in task.value_shape:
        raise UsageError(f"--to lerobot: {task.name} differs in shape between samples; {_OUT}")
    if len(shape) > 5:
        raise UsageError(f"--to lerobot: {task.name} has {len(shape)} axes, at most 5; {_OUT}")
    is_bool = pa.types.is_boolean(column.field.type)
    dtype = "bool" if is_bool else task.dtype
    leaf = pa.bool_() if is_bool else pa.from_numpy_dtype(np.dtype(task.dtype))
    value: dict[str, Any] = {"_type": "Value", "dtype": dtype}
    said = {"dtype": dtype, "shape": shape, "names": None}
    if shape == [1]:
        cell: Cell = (lambda a: bool(a.item())) if is_bool else (lambda a: a.item())
        return Feature(
            task, name, said, column=pa.field(name, leaf), noted=value, cell=cell, collector=Numbers
        )
    if len(shape) == 1:
        kind = pa.list_(leaf, shape[0])
        noted: dict[str, Any] = {"_type": "Sequence", "feature": value, "length": shape[0]}
    else:
        kind, noted = leaf, {"_type": f"Array{len(shape)}D", "shape": shape, "dtype": dtype}
        for _ in shape:
            kind = pa.list_(kind)
    made, cell = pa.field(name, kind), _list_of(is_bool)
    return Feature(task, name, said, column=made, noted=noted, cell=cell, collector=Numbers)


def _list_of(is_bool: bool) -> Cell:
    return lambda array: (array.astype(bool) if is_bool else array).tolist()


def _map_feature(
    task: Task,
    name: str,
    array: NDArray[Any],
    image: Encoding | None,
    before: Mapping[str, Any],
) -> Feature:
    height, width = array.shape[:2]
    is_depth = task.kind is TaskKind.DEPTH
    if is_depth:
        said: dict[str, Any] = {"shape": [height, width, 1], "names": AXES}
        collector: Callable[[], Collector] = lambda: Pixels(1, MOST_MM + 1, 1.0)  # noqa: E731
    else:
        _check_picture(task, array)
        channels = 1 if array.ndim == 2 else array.shape[2]
        said = {"shape": [height, width, channels], "names": AXES}
        levels = np.iinfo(array.dtype).max + 1
        collector = lambda: Pixels(channels, levels, 1 / 255)  # noqa: E731
    is_video = is_depth or (task.kind is TaskKind.IMAGE and not task.exact)
    if image is not None and is_video:
        encoding = DEPTH if is_depth else image
        if not is_depth:
            said["shape"] = [height, width, 3]
            collector = lambda: Pixels(3, 256, 1 / 255)  # noqa: E731
        _check_even(task, encoding, height, width)
        codes = _codes_of(before, name) if is_depth else None
        info = {
            "video.height": height,
            "video.width": width,
            "video.codec": encoding.name,
            "video.pix_fmt": encoding.pix_fmt,
            "video.channels": 1 if is_depth else 3,
            "has_audio": False,
            **encoding.details,
            **(codes.details() if codes else {}),
            "is_depth_map": is_depth,
            **({"depth_unit": "mm"} if is_depth else {}),
        }
        return Feature(
            task,
            name,
            {"dtype": "video", **said, "info": info},
            encoding,
            collector=collector,
            codes=codes,
        )
    pa = arrow()
    info = {"is_depth_map": True, "depth_unit": "mm"} if is_depth else {}
    cell: Cell = _png_cell
    if is_depth and not _is_in_mm(task):
        info, cell = {"is_depth_map": True, "depth_unit": "m"}, _tiff_cell(task)
    elif is_depth:
        cell = lambda value: _png_cell(millimetres(task, value))  # noqa: E731
    return Feature(
        task,
        name,
        {"dtype": "image", **said, **({"info": info} if info else {})},
        column=pa.field(name, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        noted={"_type": "Image"},
        cell=cell,
        collector=collector,
    )


def _codes_of(before: Mapping[str, Any], name: str) -> DepthCodes:
    """Return the codes that depth had in LeRobot, or lerobot's own."""
    said = before.get("info")
    return DepthCodes.parse(said if isinstance(said, Mapping) else {}, name)


def _is_in_mm(task: Task) -> bool:
    whole = task.dtype in ("uint8", "uint16")
    return whole and task.unit_m is not None and abs(task.unit_m * MM_PER_M - 1) < 1e-9


def _png_cell(array: NDArray[Any]) -> dict[str, Any]:
    return {"bytes": file_bytes(array, "x.png"), "path": "frame.png"}


def _tiff_cell(task: Task) -> Cell:
    def cell(array: NDArray[Any]) -> dict[str, Any]:
        import imagecodecs

        metres = np.nan_to_num(task.to_physical(array), nan=0.0).astype(np.float32)
        return {"bytes": bytes(imagecodecs.tiff_encode(metres)), "path": "frame.tiff"}

    return cell


def _check_picture(task: Task, array: NDArray[Any]) -> None:
    fits = array.dtype == np.uint8 and (array.ndim == 2 or array.shape[2] in (1, 3))
    if not fits and not (array.dtype == np.uint16 and array.ndim == 2):
        raise UsageError(
            f"--to lerobot: {task.name} is {array.dtype} of shape {array.shape}, which no picture "
            f"holds that lerobot reads; {_OUT}"
        )


def _check_even(task: Task, encoding: Encoding, height: int, width: int) -> None:
    if encoding.pix_fmt == "yuv420p" and (height % 2 or width % 2):
        raise UsageError(
            f"--to lerobot: {task.name} has {width}×{height} pixels, and video of {encoding.name} "
            "has an even number of rows and columns; --image-format png keeps it as it is"
        )


_OUT = "leave it out with --tasks"
