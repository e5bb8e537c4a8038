"""What a move of pixels does to values: normals turn, flow and disparity scale, intrinsics follow.

A move takes a point of the old picture to the new one by a matrix A (3, 3), in coordinates in which
pixel (0, 0) spans [0, 1] × [0, 1]. To a camera it is other intrinsics and, where it mirrors or
turns, another camera: ``A K = K' Q``, K' upper triangular with a positive diagonal, Q (2, 2)
orthogonal. Points and normals of the camera become Q of themselves, so that crops and sizes leave
normals alone, and a mirror negates one component.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import TaskKind
from dsc._transforms.meaning import MapMeaning, Meaning, named
from dsc.errors import UsageError

Floats = NDArray[np.floating[Any]]
UNKNOWN_FLOW = 1e9  # of .flo files: what is larger than that is not known
CLOSE = 1e-9
MATRICES = {9: (3, 3), 12: (3, 4), 16: (4, 4)}  # by their numbers, row by row


@dataclass(frozen=True)
class Move:
    """A move, see the module.

    Attributes
    ----------
    matrix
        A, (3, 3), its last row (0, 0, 1).
    what
        The transform, for messages.
    """

    matrix: Floats
    what: str

    @classmethod
    def of(
        cls, what: str, scale: tuple[float, float] = (1, 1), shift: tuple[float, float] = (0, 0)
    ) -> "Move":
        """Return the move that scales x and y, and then adds to them."""
        (sx, sy), (dx, dy) = scale, shift
        return cls(np.array([[sx, 0, dx], [0, sy, dy], [0, 0, 1.0]]), what)

    @property
    def linear(self) -> Floats:
        """What it does to differences of coordinates, (2, 2)."""
        return self.matrix[:2, :2]

    def parts(self, camera: Floats | None = None) -> tuple[Floats, Floats]:
        """Return K' and Q (2, 2) of a camera K (2, 2); without one, of square pixels."""
        return triangular_orthogonal(self.linear if camera is None else self.linear @ camera)

    def finish(
        self, sample: Mapping[str, Any], maps: Mapping[str, MapMeaning], meaning: Meaning
    ) -> dict[str, Any]:
        """Return what values become of a sample whose pixels have been moved.

        Raises
        ------
        UsageError
            When some cannot be made right; the message says which, and what to do.
        """
        meaning.check_features(sample, self.what)
        out = dict(sample)
        cameras = {
            name: value
            for name, value in sample.items()
            if name not in maps and meaning.is_intrinsics(name, value)
        }
        first = None
        for name, value in cameras.items():
            matrix = _camera_matrix(name, value, sample)
            first = matrix[:2, :2] if first is None else first
            out[name] = _like(value, self._camera(matrix, meaning), name)
        camera, turn = self.parts(first)
        scale = camera[0, 0] / (1 if first is None else first[0, 0])  # of the focal length
        if not np.allclose(turn, np.eye(2), atol=CLOSE):
            self._check_poses({n: v for n, v in sample.items() if n not in maps}, meaning)
        for name, known in maps.items():
            if known.kind is TaskKind.NORMAL:
                out[name] = turned_normals(sample[name], turn, known, meaning, self.what)
            elif known.kind is TaskKind.FLOW:
                out[name] = self._flow(name, sample[name])
            elif known.kind is TaskKind.DISPARITY:
                out[name] = _scaled(sample[name], scale, known)
        return out

    def _camera(self, matrix: Floats, meaning: Meaning) -> Floats:
        shift = np.eye(3)
        shift[:2, 2] = 0.5 - meaning.pixel_center  # from its coordinates to ours
        camera = self.matrix @ shift @ matrix
        _, turn = triangular_orthogonal(camera[:2, :2])
        camera[:2, :2] = camera[:2, :2] @ turn.T
        camera[1, 0] = 0
        shift[:2, 2] *= -1
        return shift @ camera

    def _check_poses(self, sample: Mapping[str, Any], meaning: Meaning) -> None:
        for name, value in sample.items():
            if meaning.is_pose(name, value):
                size = "×".join(map(str, value.shape))
                raise UsageError(
                    f"{self.what}: {named(sample)}: {name} has {size} numbers; if it is a pose, a "
                    "picture that is mirrored or turned has another one: leave the transform out, "
                    f"or say Meaning(leave=[{name!r}])"
                )

    def _flow(self, name: str, array: Any) -> Any:
        """Return vectors (H, W, 2 or more) of pixels in the new picture's pixels."""
        if np.allclose(self.linear, np.eye(2), atol=CLOSE):
            return array
        if array.dtype.kind != "f" or array.ndim != 3 or array.shape[2] < 2:
            raise UsageError(
                f"{self.what}: {name} is flow of {array.dtype} {array.shape}, as the source has "
                "it: only vectors of floats (H, W, 2) can be scaled and mirrored; make them so by "
                f"a transform before, crop only, or say Meaning(leave=[{name!r}])"
            )
        vectors = array[..., :2]
        with np.errstate(invalid="ignore"):
            moved = (vectors @ self.linear.T).astype(array.dtype)
            unknown = (np.abs(vectors) >= UNKNOWN_FLOW).any(axis=-1, keepdims=True)
        out = array.copy()
        out[..., :2] = np.where(unknown, vectors, moved)
        return out


def turned_normals(array: Any, turn: Floats, known: MapMeaning, meaning: Meaning, what: str) -> Any:
    """Return normals (H, W, 3), native or unit vectors, of a camera that was mirrored or turned."""
    if np.allclose(turn, np.eye(2), atol=CLOSE):
        return array
    diagonal = abs(turn[0, 1]) < CLOSE
    if not diagonal and meaning.normals_y is None:
        raise UsageError(
            f"{what} turns normals: say Meaning(normals_y='down') or Meaning(normals_y='up'), the "
            "way in which their second component grows"
        )
    if meaning.normals_y == "up":
        turn = turn * np.array([[1, -1], [-1, 1]])
    native = array.dtype.kind != "f"
    out = array.copy()
    if diagonal:
        for channel in range(2):
            if turn[channel, channel] < 0:
                values = array[..., channel]
                out[..., channel] = 255 - values if native else -values
    else:
        middle = 127.5 if native else 0.0
        moved = (array[..., :2] - array.dtype.type(middle) if not native else
                 array[..., :2].astype(np.float32) - 127.5) @ turn.T.astype(np.float32)  # fmt: skip
        out[..., :2] = np.rint(moved + middle).clip(0, 255) if native else moved
    if native:
        invalid = known.where_invalid(array)
        out[invalid] = array[invalid]
    return out


def _scaled(array: Any, scale: float, known: MapMeaning) -> Any:
    """Return disparity in the new picture's pixels: floats, or native counts where it is native."""
    if abs(scale - 1) < CLOSE:
        return array
    if array.dtype.kind == "f":
        return (array * scale).astype(array.dtype)
    limits = np.iinfo(array.dtype)
    out = np.rint(array * scale).clip(limits.min, limits.max).astype(array.dtype)
    invalid = known.where_invalid(array)
    out[invalid] = array[invalid]
    return out


def _camera_matrix(name: str, value: Any, sample: Mapping[str, Any]) -> Floats:
    """Return intrinsics as a matrix (3, 3)."""
    where = f"{named(sample)}: {name}"
    if value.shape == (4,):
        fx, fy, cx, cy = (float(one) for one in value)
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    elif value.size in MATRICES:
        matrix = value.reshape(MATRICES[value.size])[:3, :3].astype(np.float64)
    else:
        raise UsageError(f"{where} is {value.shape}: intrinsics are (3, 3), or (fx, fy, cx, cy)")
    fits = np.allclose(matrix[2], (0, 0, 1)) and matrix[1, 0] == 0
    if not fits or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise UsageError(
            f"{where} is no matrix of intrinsics ((fx, s, cx), (0, fy, cy), (0, 0, 1)): "
            f"{matrix.tolist()}; if it is something else, say Meaning(leave=[{name!r}])"
        )
    return matrix


def _like(value: Any, camera: Floats, name: str) -> Any:
    """Return intrinsics in the form in which they came."""
    if value.shape == (4,):
        if abs(camera[0, 1]) > CLOSE * camera[0, 0]:
            raise UsageError(f"{name}: (fx, fy, cx, cy) has no place for the skew of turned pixels")
        found = np.array([camera[0, 0], camera[1, 1], camera[0, 2], camera[1, 2]])
        return found.astype(value.dtype if value.dtype.kind == "f" else np.float64)
    out = value.astype(value.dtype if value.dtype.kind == "f" else np.float64)  # a copy
    out.reshape(MATRICES[value.size])[:3, :3] = camera
    return out


def triangular_orthogonal(matrix: Floats) -> tuple[Floats, Floats]:
    """Decompose (2, 2) into U Q: U upper triangular, its diagonal positive, Q orthogonal."""
    length = float(np.hypot(*matrix[1]))
    second = matrix[1] / length
    first = np.array([second[1], -second[0]])
    along = float(matrix[0] @ first)
    if along < 0:
        first, along = -first, -along
    upper = np.array([[along, float(matrix[0] @ second)], [0, length]])
    return upper, np.array([first, second])
