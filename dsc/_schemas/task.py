"""What a task means: kind, dtype, unit, range, invalid value and how its distortion is measured.

Arrays travel through dsc in their *native* encoding (the integers of the source's files), so that
a lossless codec is exact and an export is a plain write. `Task.to_physical` turns them into what a
trainer wants: metres, unit vectors.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from dsc import _kernels
from dsc._schemas.base import Schema
from dsc.errors import UnknownTaskError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TaskKind(StrEnum):
    """How a task's values are to be understood."""

    IMAGE = "image"  # intensities; (H, W, 3) or (H, W), uint8 or uint16
    DEPTH = "depth"  # distance; (H, W), `unit_m` metres a count, invalid values
    NORMAL = "normal"  # surface normal; (H, W, 3) uint8, n = (v - 127.5) / 127.5
    LABEL = "label"  # label map; (H, W) or (H, W, 3) colour code; lossless, always
    CLASS = "class"  # one integer; shape ()
    VECTOR = "vector"  # a few floats; shape (N,)
    DISPARITY = "disparity"  # counts or pixels of disparity; (H, W); exact, invalid values
    FLOW = "flow"  # optical flow as the source has it; (H, W, C); exact
    ARRAY = "array"  # any other numbers a pixel; (H, W) or (H, W, C); exact


EXACT_KINDS = (TaskKind.LABEL, TaskKind.DISPARITY, TaskKind.FLOW, TaskKind.ARRAY)


METRICS: dict[TaskKind, tuple[str, ...]] = {
    TaskKind.IMAGE: ("psnr_db", "ms_ssim"),
    TaskKind.DEPTH: ("absrel", "rmse_m", "delta_1.25"),
    TaskKind.NORMAL: ("mean_angle_deg",),
    TaskKind.LABEL: ("identical",),
    TaskKind.CLASS: ("identical",),
    TaskKind.VECTOR: ("identical",),
    TaskKind.DISPARITY: ("identical",),
    TaskKind.FLOW: ("identical",),
    TaskKind.ARRAY: ("identical",),
}

SAME_AS_RGB = ("color", "colour", "leftimg8bit")
ALIASES: dict[str, tuple[str, ...]] = {
    "depth": ("depth_zbuffer", "depth_euclidean"),
    "depth_zbuffer": ("depth",),
    "depth_euclidean": ("depth",),
    "normals": ("normal",),
    "normal": ("normals",),
    "color": ("rgb",),
    "colour": ("rgb",),
    "leftimg8bit": ("rgb",),
    "rgb": ("image", "images", "img", "imgs"),
    "label": ("segment_semantic", "semantic", "labels"),
    "labels": ("segment_semantic", "semantic", "label"),
    "semantic": ("segment_semantic", "label", "labels"),
    "segment_semantic": ("semantic", "label", "labels"),
    "segmentation": ("segment_semantic", "semantic", "label", "labels"),
}

DType = Literal[
    "uint8", "uint16", "int32", "int64", "float32", "float64",
    "int8", "int16", "uint32", "uint64", "float16",
]  # fmt: skip
"""The NumPy dtypes that a native array may have."""


class Task(Schema):
    """One kind of data that the samples of a dataset have, and what its values mean.

    Attributes
    ----------
    name
        The source's own name; also the name of the task's stream and directory.
    kind
        How the values are to be understood.
    dtype
        NumPy dtype of the native array.
    channels
        1 for (H, W) arrays, 3 for (H, W, 3); 0 for a scalar class; length of a vector.
    unit_m
        Metres a count (depth only).
    valid_range
        Smallest and largest native value that a reader may meet, invalid values left out.
    invalid
        Native values (all channels alike) that mean "nothing measured here". A lossy codec gives
        them all back as the first one.
    classes
        Names of the classes of a label map or class label, where the source knows them.
    exact
        Whether an image is coded without loss, because its values may be ids.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=48)
    kind: TaskKind
    dtype: DType
    channels: int = Field(default=1, ge=0, le=65536)
    unit_m: float | None = Field(default=None, gt=0)
    valid_range: tuple[float, float] | None = None
    invalid: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    exact: bool = False

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not so: archives without it keep their bytes."""
        whole: dict[str, Any] = handler(self)
        return {name: value for name, value in whole.items() if name != "exact" or value}

    @property
    def is_exact(self) -> bool:
        """Whether every codec must give the values back bit for bit."""
        return self.exact or self.kind in EXACT_KINDS

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the distortion metrics that fit; of what is exact, whether it is identical."""
        return METRICS[TaskKind.ARRAY if self.is_exact else self.kind]

    @property
    def is_map(self) -> bool:
        """Whether the task has one value a pixel."""
        return self.kind not in (TaskKind.CLASS, TaskKind.VECTOR)

    def invalid_mask(self, array: "NDArray[Any]") -> "NDArray[np.bool_]":
        """Tell which pixels hold nothing: (H, W) bool, True where invalid."""
        import numpy as np

        mask = np.zeros(array.shape[:2], bool)
        for value in self.invalid:
            equal = array == value
            if array.ndim == 3:  # channel by channel: `all` along a short axis is slow
                equal = np.logical_and.reduce([equal[..., c] for c in range(array.shape[2])])
            mask |= equal
        return mask

    @property
    def is_physical(self) -> bool:
        """Whether native values are physical ones already: `to_physical` changes nothing."""
        if self.kind is TaskKind.DISPARITY:
            return not self.invalid
        return self.kind not in (TaskKind.DEPTH, TaskKind.NORMAL)

    def to_physical(self, array: "NDArray[Any]") -> "NDArray[Any]":
        """Turn native values into physical ones.

        Depth becomes float32 metres with NaN where invalid; normals become float32 unit vectors
        (H, W, 3) with NaN where there is none; disparity in whole counts becomes float32 counts
        with NaN where invalid. Every other kind is returned as it is.
        """
        import numpy as np

        if self.kind is TaskKind.DEPTH:
            depth_m = array.astype(np.float32) * np.float32(self.unit_m or 1.0)
            depth_m[self.invalid_mask(array)] = np.nan
            return depth_m
        if self.kind is TaskKind.NORMAL:
            return self._unit_vectors(array)
        if self.kind is TaskKind.DISPARITY and self.invalid:
            disparity = array.astype(np.result_type(array.dtype, np.float32))
            disparity[self.invalid_mask(array)] = np.nan
            return disparity
        return array

    def _unit_vectors(self, array: "NDArray[Any]") -> "NDArray[Any]":
        """Return float32 unit vectors of normals (H, W, 3), NaN where invalid."""
        import numpy as np

        if _kernels.in_use() and array.dtype == np.uint8 and array.ndim == self.channels == 3:
            found = np.empty(array.shape, np.float32)
            invalid = np.array([value for value in self.invalid if 0 <= value < 256], np.uint8)
            _kernels.compiled.maps_unit_vectors(np.ascontiguousarray(array), invalid, found)
            return found
        normal = (array.astype(np.float32) - 127.5) / 127.5
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
        normal[self.invalid_mask(array)] = np.nan
        return normal


def spelled(name: str) -> str:
    """Spell a name as a task's: small letters, digits and ``_``; empty where nothing is left.

    Color and colour are ``rgb``, because that is what they hold.
    """
    found = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:48].strip("_")
    return "rgb" if found in SAME_AS_RGB else found


def resolve_task(name: str, available: Sequence[str]) -> str:
    """Find the task that a user's word means: its own name, its spelling as a task, an alias.

    Raises
    ------
    UnknownTaskError
        When nothing fits; the message lists what there is.
    """
    for candidate in (name, spelled(name), *ALIASES.get(name, ())):
        if candidate in available:
            return candidate
    raise UnknownTaskError(f"no task {name!r} here; found: {', '.join(available) or 'none'}")


def resolve_tasks(names: Sequence[str] | str | None, available: Sequence[str]) -> tuple[str, ...]:
    """Resolve several names, in order and without repeats.

    Parameters
    ----------
    names
        A sequence, or text with commas (``rgb,depth``); None means every task.

    Raises
    ------
    UnknownTaskError
        When a name fits nothing in `available`.
    """
    if names is None:
        return tuple(available)
    if isinstance(names, str):
        names = [name for name in (part.strip() for part in names.split(",")) if name]
    return tuple(dict.fromkeys(resolve_task(name, available) for name in names))
