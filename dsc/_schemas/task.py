"""What a task means: kind, dtype, unit, range, invalid value and how its distortion is measured.

Arrays travel through dsc in their *native* encoding (the integers of the source's files), so that
a lossless codec is exact and an export is a plain write. `Task.to_physical` turns them into what a
trainer wants: metres, unit vectors.
"""

import re
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from dsc import _kernels
from dsc._schemas.base import Schema
from dsc._schemas.extractor import Extractor
from dsc._schemas.kind import (
    BLOBS,
    EXACT_KINDS,
    LOSSY_NUMBERS,
    METRICS,
    NUMBERS,
    SHAPED,
    TaskKind,
)
from dsc._schemas.values import blob_value, native_blob, native_numbers, native_time
from dsc.errors import UnknownTaskError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


MAX_AXES, MAX_AXIS = 8, 1 << 24  # of a matrix
MEDIA_TYPE = r"^[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+$"
LATER = ("exact", "shape", "media_type", "extractor")  # fields that came later
FEATURE_DTYPES = ("float16", "float32")


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
        1 for (H, W) arrays, 3 for (H, W, 3); 0 for a class, scalar or time; length of a vector
        or embedding; C of feature maps.
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
    shape
        Lengths of the axes of a matrix, or of feature maps, (C, h, w); -1 where they differ from
        sample to sample.
    media_type
        What kind of file `bytes` are, e.g. ``audio/wav``, where the source knows.
    extractor
        The backbone that computed the values, where one did.

    Raises
    ------
    ValueError
        When dtype, channels or shape are none that the kind has.
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
    shape: tuple[Annotated[int, Field(ge=-1, le=MAX_AXIS)], ...] = Field(
        default=(), max_length=MAX_AXES
    )
    media_type: str | None = Field(default=None, pattern=MEDIA_TYPE, max_length=127)
    extractor: Extractor | None = None

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        """Refuse what a kind cannot have; kinds that archives had before are taken as they are."""
        kind = self.kind.value
        if self.is_blob and (self.dtype, self.channels) != ("uint8", 1):
            raise ValueError(f"task {self.name}: {kind} is uint8 bytes of one channel")
        if self.kind is TaskKind.TIME and (self.dtype, self.channels) != ("int64", 0):
            raise ValueError(f"task {self.name}: a time is int64 nanoseconds of no channel")
        if self.kind is TaskKind.SCALAR and self.channels != 0:
            raise ValueError(f"task {self.name}: a scalar has channels 0, not {self.channels}")
        if (self.kind in SHAPED) != bool(self.shape):
            raise ValueError(
                f"task {self.name}: a matrix and a feature map have a shape, and nothing else has"
            )
        if self.kind is TaskKind.FEATURE:
            self._check_feature()
        if self.kind is TaskKind.EMBEDDING and not (self.channels and "float" in self.dtype):
            raise ValueError(
                f"task {self.name}: an embedding is floats, at least one, not {self.channels} of "
                f"{self.dtype}"
            )
        if self.media_type is not None and self.kind is not TaskKind.BYTES:
            raise ValueError(f"task {self.name}: only bytes have a media type")
        return self

    def _check_feature(self) -> None:
        if self.dtype not in FEATURE_DTYPES:
            known = " or ".join(FEATURE_DTYPES)
            raise ValueError(f"task {self.name}: feature maps are {known}, not {self.dtype}")
        if len(self.shape) != 3 or self.channels < 1 or self.shape[0] != self.channels:
            raise ValueError(
                f"task {self.name}: feature maps of {self.channels} channels have the shape "
                f"({self.channels}, h, w), not {self.shape}"
            )

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not so: archives without it keep their bytes."""
        whole: dict[str, Any] = handler(self)
        return {name: value for name, value in whole.items() if name not in LATER or value}

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
        return self.kind not in NUMBERS and self.kind not in BLOBS

    @property
    def is_spatial(self) -> bool:
        """Whether values lie on a grid over a picture: maps, and feature maps."""
        return self.is_map or self.kind is TaskKind.FEATURE

    @property
    def may_lose(self) -> bool:
        """Whether a codec may give other values back than it was given."""
        return not self.is_exact and (self.is_map or self.kind in LOSSY_NUMBERS)

    @property
    def is_blob(self) -> bool:
        """Whether a native array is bytes, as many as each sample has: text, JSON, a file."""
        return self.kind in BLOBS

    @property
    def is_step_coded(self) -> bool:
        """Whether values may be rounded on request: floats that are no maps."""
        return self.kind in NUMBERS and self.dtype.startswith("float")

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Shape of a native array that is no map; -1 where a length differs between samples."""
        if self.is_blob:
            return (-1,)
        return self.shape or ((self.channels,) if self.channels else ())

    def pixels(self, shape: Sequence[int]) -> int:
        """Return how many pixels a native array of some shape has, or positions a feature map."""
        if not self.is_spatial:
            return 0
        height, width = shape[1:] if self.kind is TaskKind.FEATURE else shape[:2]
        return height * width

    def most_values(self, max_pixels: int) -> int:
        """Return how many numbers a native array holds at most; 1 where nothing says it.

        Parameters
        ----------
        max_pixels
            Of the largest map.
        """
        if self.is_map:
            return max_pixels * max(self.channels, 1)
        if self.is_spatial and self.varies:
            return max_pixels * self.channels
        return prod(abs(length) for length in self.value_shape)

    @property
    def varies(self) -> bool:
        """Whether the native arrays of samples may differ in shape, and not as maps may."""
        return self.is_blob or -1 in self.shape

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
        return self.kind not in (TaskKind.DEPTH, TaskKind.NORMAL, *BLOBS)

    def to_physical(self, array: "NDArray[Any]") -> Any:
        """Turn native values into physical ones.

        Depth becomes float32 metres with NaN where invalid; normals become float32 unit vectors
        (H, W, 3) with NaN where there is none; disparity in whole counts becomes float32 counts
        with NaN where invalid; text becomes a str, JSON what it says, bytes `bytes`. Every other
        kind is returned as it is.

        Raises
        ------
        ValueError
            When bytes are no UTF-8 or no JSON.
        """
        import numpy as np

        if self.is_blob:
            return blob_value(self.kind, array.tobytes())

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

    def to_native(self, value: Any) -> "NDArray[Any]":
        """Turn the value of a task that is no map into its native array.

        Parameters
        ----------
        value
            str or UTF-8 `bytes` for text; what `json.dumps` takes, or `bytes` of JSON, for json;
            `bytes` for bytes; numbers, or lists or arrays of them, for the others; a datetime, or
            numpy's, for times. A native array is returned as it is.

        Raises
        ------
        ValueError
            When it is no such value, or cannot be one without loss; it says what is wrong.
        """
        if self.is_blob:
            return native_blob(self.kind, value)
        if self.kind is TaskKind.TIME:
            return native_time(value)
        return native_numbers(value, self.dtype, self.value_shape)

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
