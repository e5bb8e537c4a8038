"""What the names of a sample are to a transform: maps of some kind, intrinsics, or neither."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from dsc._schemas import Task, TaskKind
from dsc._transforms.blank import blank
from dsc.errors import UsageError

INTRINSICS = ("camera_matrix", "camera", "k", "cam_k", "camera_k")
"""Names of tasks that are taken for intrinsics, beside all with ``intrinsic`` in them."""
FRAME = "@frame"  # between the name of a task and which frame of its window a value is
CAMERA_SIZES = (4, 9, 12, 16)  # fx, fy, cx, cy; matrices, also as sources flatten them
POSES = ("pose", "extrinsic", "c2w", "w2c", "cam2world", "world2cam")


class MapMeaning(NamedTuple):
    """What the values of a map mean: kind, native values of nothing, whether they may be ids."""

    kind: TaskKind
    invalid: tuple[int, ...] = ()
    exact: bool = False

    @property
    def is_smooth(self) -> bool:
        """Whether values between two pixels mean something."""
        return self.kind is TaskKind.IMAGE and not self.exact

    def blank(self, array: Any) -> Any:
        """Return what stands in such an array where there is nothing."""
        return blank(self.kind, array.dtype, self.invalid)

    def where_invalid(self, array: Any) -> Any:
        """Return (H, W) bool: pixels of native values that mean nothing."""
        found = np.zeros(array.shape[:2], bool)
        for value in self.invalid:
            same = array == value
            found |= same if same.ndim == 2 else same.all(axis=-1)
        return found


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a joint transform cannot know by itself.

    Tasks of the archive have a kind; so this is only needed for names that a transform before made,
    for matrices by other names, and for turning by other angles than mirrors do.

    Attributes
    ----------
    kinds
        Of names that are no task, such as ``{"foreground": "label"}``.
    intrinsics
        Names of 3×3 matrices of intrinsics (or their nine numbers, row by row), or vectors ``(fx,
        fy, cx, cy)``, beside those that have ``intrinsic`` in their names, or are called
        ``camera``, ``camera_matrix`` or ``k``.
    leave
        Names that stay as they are, whatever is done to the rest.
    pixel_center
        Where the first pixel's centre is in the coordinates of intrinsics: 0.0 (OpenCV, most data
        sets) or 0.5 (COLMAP).
    normals_y
        Whether the second component of normals grows ``down`` or ``up`` in a picture, if the first
        grows to the right. Mirrors, crops and sizes do not depend on it.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    intrinsics: Sequence[str] = ()
    leave: Sequence[str] = ()
    pixel_center: float = 0.0
    normals_y: Literal["down", "up"] | None = None

    def __post_init__(self) -> None:
        for name, kind in self.kinds.items():
            if kind not in MAP_KINDS:
                raise UsageError(f"kinds: {name}={kind!r}: one of {', '.join(MAP_KINDS)}")
        for what in ("intrinsics", "leave"):
            if isinstance(getattr(self, what), str):
                raise UsageError(f"{what}={getattr(self, what)!r}: a list of names")
        if self.pixel_center not in (0.0, 0.5):
            raise UsageError(f"pixel_center={self.pixel_center}: 0.0 or 0.5")
        if self.normals_y not in (None, "down", "up"):
            raise UsageError(f"normals_y={self.normals_y!r}: 'down' or 'up'")

    def maps(self, sample: Mapping[str, Any]) -> dict[str, MapMeaning]:
        """Say which of a sample's values are maps.

        Raises
        ------
        UsageError
            When an array has the size of the maps and nobody says what it is.
        """
        tasks: Mapping[str, Task] = getattr(sample, "tasks", {})
        found: dict[str, MapMeaning] = {}
        for name, value in sample.items():
            what = without_frame(name)
            if what in self.leave or not is_picture(value):
                continue
            if what in self.kinds:
                found[name] = MapMeaning(TaskKind(self.kinds[what]))
            elif what in tasks and tasks[what].is_map:
                task = tasks[what]
                found[name] = MapMeaning(task.kind, task.invalid, task.exact)
        sizes = {sample[name].shape[:2] for name in found}
        for name, value in sample.items():
            what = without_frame(name)
            unknown = name not in found and what not in tasks and what not in self.leave
            if unknown and is_picture(value) and (not sizes or value.shape[:2] in sizes):
                raise UsageError(
                    f"{name}: an array of {_size(value)} of no known kind: say what it is, "
                    f"Meaning(kinds={{{name!r}: 'label'}}), or Meaning(leave=[{name!r}])"
                )
        return found

    def is_intrinsics(self, name: str, value: Any) -> bool:
        """Tell whether a value is taken for intrinsics."""
        name = without_frame(name)
        if name in self.leave or not _is_numbers(value):
            return False
        is_called = name.lower() in INTRINSICS or "intrinsic" in name.lower()
        return name in self.intrinsics or (is_called and value.size in CAMERA_SIZES)

    def check_features(self, sample: Mapping[str, Any], what: str) -> None:
        """Refuse to move a sample with feature maps, which are of the picture as it was.

        Raises
        ------
        UsageError
            Naming the task, and what to do.
        """
        tasks: Mapping[str, Task] = getattr(sample, "tasks", {})
        for name in sample:
            task = tasks.get(without_frame(name))
            if task is None or task.kind is not TaskKind.FEATURE or task.name in self.leave:
                continue
            raise UsageError(
                f"{what}: {named(sample)}: {name} is a feature map of the whole picture, and the "
                "picture's crop or mirror image has another one: stream features without this "
                f"transform, or say Meaning(leave=[{task.name!r}])"
            )

    def is_pose(self, name: str, value: Any) -> bool:
        """Tell whether a value may be a pose, which a mirror would change."""
        name = without_frame(name)
        if name in self.leave or not _is_numbers(value) or self.is_intrinsics(name, value):
            return False
        is_called = any(word in name.lower() for word in POSES)
        return value.shape in ((4, 4), (3, 4)) or (is_called and value.ndim in (1, 2))


MAP_KINDS = (
    "image", "depth", "normal", "label", "disparity", "flow", "array",
)  # fmt: skip


def without_frame(name: str) -> str:
    """Return the name of what a frame of a window is of."""
    return name.partition(FRAME)[0]


def _is_numbers(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "iuf"


def is_picture(value: Any) -> bool:
    """Tell whether a value may be a map: (H, W) or (H, W, C)."""
    return isinstance(value, np.ndarray) and value.ndim in (2, 3) and value.size > 0


def common_size(sample: Mapping[str, Any], maps: Mapping[str, Any], what: str) -> tuple[int, int]:
    """Return height and width of the maps of a sample.

    Raises
    ------
    UsageError
        When there is none, or they differ.
    """
    sizes = {name: sample[name].shape[:2] for name in maps}
    if not sizes:
        raise UsageError(f"{what}: {named(sample)} has no map; it has {', '.join(sample)}")
    first, size = next(iter(sizes.items()))
    for name, other in sizes.items():
        if other != size:
            raise UsageError(
                f"{what}: {named(sample)}: {name} is {other[0]}×{other[1]} and {first} is "
                f"{size[0]}×{size[1]}; make them one size with Resize before"
            )
    return int(size[0]), int(size[1])


def named(sample: Mapping[str, Any]) -> str:
    """Return what to call a sample in a message."""
    return f"sample {sample['__index__']}" if "__index__" in sample else "the sample"


def _size(value: Any) -> str:
    return "×".join(map(str, value.shape))
