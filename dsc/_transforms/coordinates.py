"""What a foreign transform did to a picture, read off a map of coordinates that went through it.

Each pixel of the map says where its centre is, and holds a number by which what was put beside or
into the picture is told from it. What comes out says for each new pixel where it came from. Where
that is one linear map everywhere, normals, flow, disparity and intrinsics can be made right; where
it is not (perspective, elastic, reflected borders), only maps that are just picked can.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import TaskKind
from dsc._schemas.sample import Sample
from dsc._transforms.meaning import MapMeaning, Meaning, named
from dsc._transforms.move import Move
from dsc.errors import UsageError

MARK = 512.0  # in the picture; what is put beside it is filled with something else
TOLERANCE = 0.25  # pixels; OpenCV computes with steps of 1/32
UPWARD = 1e-4  # a centre between two pixels belongs to the second one, whatever was rounded
FITTED = 2048  # pixels that the linear map is fitted to; all are held against it
TURNED = (TaskKind.NORMAL, TaskKind.FLOW, TaskKind.DISPARITY)
Floats = NDArray[np.floating[Any]]


@lru_cache(maxsize=8)
def coordinates(height: int, width: int) -> NDArray[np.float32]:
    """Return the map, float32 (H, W, 3): x and y of centres, the first (0.5, 0.5), and `MARK`.

    It is kept: nobody may write to it.
    """
    grid = np.empty((height, width, 3), np.float32)
    grid[..., 0] = np.arange(width) + 0.5
    grid[..., 1] = (np.arange(height) + 0.5)[:, None]
    grid[..., 2] = MARK
    grid.setflags(write=False)
    return grid


@dataclass(frozen=True)
class Reading:
    """Where the pixels of a new picture come from.

    Attributes
    ----------
    rows, columns
        Of the old picture, (h, w).
    nothing
        (h, w) bool: where nothing of it is.
    matrix
        From the new picture's coordinates to the old one's, (3, 3); None where there is none.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    nothing: NDArray[np.bool_]
    matrix: Floats | None

    @classmethod
    def of(cls, moved: NDArray[Any], height: int, width: int) -> "Reading":
        """Read a map of coordinates of an old picture of some size."""
        mark = moved[..., 2] / np.float32(MARK)
        nothing = np.abs(mark - 1) > 0.5
        matrix = _linear(moved, np.abs(mark - 1) < 1e-3, (width, height))
        if matrix is None:
            where: Floats = moved[..., :2] / np.where(nothing, np.float32(1), mark)[..., None]
        else:
            where = _through(matrix, *moved.shape[:2])
        at = np.floor(where + UPWARD).astype(np.intp)
        columns, rows = at[..., 0], at[..., 1]
        if matrix is not None:
            nothing = nothing | (rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)
        return cls(rows.clip(0, height - 1), columns.clip(0, width - 1), nothing, matrix)

    def pick(self, array: Any, known: MapMeaning) -> Any:
        """Return a map (H, W) or (H, W, C) as the new picture shows it."""
        found = array[self.rows, self.columns]
        if self.nothing.any():
            found[self.nothing] = known.blank(array)
        return found


def finished(
    sample: Mapping[str, Any],
    images: Mapping[str, Any],
    moved: NDArray[Any],
    maps: Mapping[str, MapMeaning],
    meaning: Meaning,
    what: str,
) -> Sample:
    """Return a sample whose images a foreign transform has moved, with all else moved alike.

    Parameters
    ----------
    images
        What it made of them.
    moved
        What it made of `coordinates`.
    maps
        All maps of the sample.
    what
        Its name, for messages.

    Raises
    ------
    UsageError
        When something cannot be made right; the message says what.
    """
    h, w = next(iter(sample[name].shape[:2] for name in maps))
    if moved.shape == (h, w, 3) and np.array_equal(moved, coordinates(h, w)):
        return Sample.like({**sample, **images}, sample)
    meaning.check_features(sample, what)
    reading = Reading.of(moved, h, w)
    if reading.matrix is None:
        _check_none_turns(sample, maps, meaning, what)
    picked = {
        name: reading.pick(sample[name], known)
        for name, known in maps.items() if name not in images
    }  # fmt: skip
    made = {**sample, **images, **picked}
    if reading.matrix is not None:
        rest = {name: known for name, known in maps.items() if name in picked}
        made = Move(np.linalg.inv(reading.matrix), what).finish(made, rest, meaning)
    return Sample.like(made, sample)


def _linear(moved: Floats, seen: NDArray[np.bool_], size: tuple[int, int]) -> Floats | None:
    """Return the linear map that gives all coordinates, or None."""
    x, y = moved[..., 0], moved[..., 1]
    inside = seen & (x >= 1) & (x <= size[0] - 1) & (y >= 1) & (y <= size[1] - 1)
    used = inside if np.count_nonzero(inside) >= 16 else seen
    at = np.flatnonzero(used)
    at = at[:: max(len(at) // FITTED, 1)]
    if len(at) < 3:
        return None
    rows, columns = np.divmod(at, seen.shape[1])
    points = np.stack([columns + 0.5, rows + 0.5, np.ones(len(at))], axis=-1)
    if np.linalg.matrix_rank(points.T @ points) < 3:
        return None
    where = np.stack([x.ravel()[at], y.ravel()[at]], axis=-1).astype(np.float64)
    found = _whole(np.linalg.lstsq(points, where, rcond=None)[0].T)
    step = max(float(np.abs(found[:, :2]).sum(axis=1).max()), 1.0)
    matrix = np.append(found, [[0.0, 0.0, 1.0]], axis=0)
    wanted = _through(matrix, *seen.shape)
    off = (np.abs(wanted[..., axis] - moved[..., axis])[used].max() for axis in range(2))
    return None if max(off) > TOLERANCE * step else matrix


def _through(matrix: Floats, height: int, width: int) -> Floats:
    """Return where a map takes the centres of a picture, (H, W, 2)."""
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    out = np.empty((height, width, 2))
    for axis in range(2):
        out[..., axis] = (matrix[axis, 0] * x + matrix[axis, 2]) + matrix[axis, 1] * y
    return out


def _whole(found: Floats) -> Floats:
    """Return a map in which 1 and 0 are so exactly, and a shift of whole pixels, too."""
    linear = np.where(np.abs(found[:, :2] - np.rint(found[:, :2])) < 1e-4,
                      np.rint(found[:, :2]), found[:, :2])  # fmt: skip
    shift = found[:, 2]
    if (linear == np.rint(linear)).all():
        shift = np.where(np.abs(shift - np.rint(shift)) < 0.02, np.rint(shift), shift)
    return np.append(linear, shift[:, None], axis=1)


def _check_none_turns(
    sample: Mapping[str, Any], maps: Mapping[str, MapMeaning], meaning: Meaning, what: str
) -> None:
    names = [name for name, known in maps.items() if known.kind in TURNED]
    names += [
        name for name, value in sample.items()
        if name not in maps
        and (meaning.is_intrinsics(name, value) or meaning.is_pose(name, value))
    ]  # fmt: skip
    if names:
        raise UsageError(
            f"{what}: {named(sample)}: what it did to the picture is no one linear map (it bends, "
            f"reflects at a border, or leaves too few pixels), so {', '.join(names)} cannot be "
            f"made right: take a transform that crops, scales, mirrors, turns or shears, or say "
            f"Meaning(leave={names})"
        )
