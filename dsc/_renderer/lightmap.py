"""Light on surfaces, found once at nodes that lie on them, and read between the nodes.

Nodes belong to surfaces and not to an image. So a shadow stays in its place while the camera moves,
and what one view has found serves the next. A node's light is a function of the scene alone:
whichever views were rendered before, and in which order, an image is the same.

Each face has a grid of its own: of a box's or the room's sides in metres along two axes, of round
sides around and along them. A node inside a solid knows nothing of the light beside it, and is left
out.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dsc._renderer.light import SLOTS, visibility_at
from dsc._renderer.solids import Scene, Solid, Vector
from dsc._renderer.surface import Surfaces
from dsc._renderer.trace import Float

STEP_M = 0.04  # between nodes, at most
_INSET_M = 0.003  # of the outermost nodes from an edge, where another surface may begin
_LIFT_M = np.float32(2e-3)
_ROOM_FACES = 6
_SHAPES = ("box", "cylinder", "sphere")
_FIRST, _SECOND = np.array([1, 0, 0]), np.array([2, 2, 1])  # axes of a face, by the axis across it
_UNKNOWN, _VALID, _INSIDE = 0, 1, 2


class LightMap:
    """The light of a scene of which some solids move.

    Parameters
    ----------
    scene
        All that stands still.
    movers
        The solids that move, anywhere: only their sizes count here.
    """

    def __init__(self, scene: Scene, movers: list[Solid]) -> None:
        self._scene = scene
        self._still = 1 + len(scene.solids)  # the room is the first body
        bodies = _Bodies.of(scene, movers)
        self._lengths = _lengths(bodies)
        self._cells = np.maximum(np.ceil(self._lengths / STEP_M), 1).astype(np.int64)
        counts = (self._cells + 1).prod(axis=1)
        self._base = np.concatenate([[0], np.cumsum(counts)])
        rows = 1 + len(scene.lights) + (scene.sun is not None)
        self._seen = np.zeros((self._base[-1], rows), np.float32)
        self._samples = np.zeros((self._base[-1], rows, SLOTS), np.float32)
        self._state = np.zeros(self._base[-1], np.uint8)

    def look(self, found: Surfaces, movers: list[Solid]) -> Float:
        """Return what reaches surfaces, float32 (K, N), while the movers are where they are now."""
        bodies = _Bodies.of(self._scene, movers)
        slot, u, v = _places(bodies, found)
        corners, weights = self._corners(slot, u, v)
        is_used = np.zeros(len(self._state), bool)
        is_used[corners] = True
        used = np.flatnonzero(is_used)
        seen, state = self._known(bodies, used, movers)
        total = np.zeros((len(u), seen.shape[1]), np.float32)
        plain, norm = np.zeros_like(total), np.zeros(len(u), np.float32)
        for ids, weight in zip(corners, weights, strict=True):
            light = seen[ids]
            plain += weight[:, None] * light
            counted = weight * (state[ids] == _VALID)
            total += counted[:, None] * light
            norm += counted
        has = norm > 1e-4
        total[has] /= norm[has, None]
        total[~has] = plain[~has]
        return np.asarray(total.T)

    def _known(
        self, bodies: "_Bodies", used: NDArray[np.intp], movers: list[Solid]
    ) -> tuple[Float, NDArray[np.uint8]]:
        """Return light and state of all nodes, those that are used up to date."""
        is_moving = used >= self._base[_ROOM_FACES * self._still]
        points, normal = self._nodes(bodies, used)
        new = (self._state[used] == _UNKNOWN) & ~is_moving
        at, there = used[new], (_only(points, new), _only(normal, new))
        self._samples[at] = visibility_at(self._scene, *there)
        self._seen[at] = self._samples[at].mean(axis=2)
        self._state[at] = _states(self._scene, *there)
        if not movers:
            return self._seen, self._state
        seen, state = self._seen.copy(), self._state.copy()
        now, alone = with_movers(self._scene, movers), only_movers(self._scene, movers)
        own = _only(points, is_moving), _only(normal, is_moving)
        seen[used[is_moving]] = visibility_at(now, *own).mean(axis=2)
        state[used[is_moving]] = _states(now, *own)
        at, there = used[~is_moving], (_only(points, ~is_moving), _only(normal, ~is_moving))
        # what one sample sees is what both the still things and the movers leave of it
        seen[at] = np.minimum(self._samples[at], visibility_at(alone, *there)).mean(axis=2)
        state[at] = np.maximum(state[at], _states(alone, *there))
        return seen, state

    def _corners(
        self, slot: NDArray[np.intp], u: Float, v: Float
    ) -> tuple[list[NDArray[np.intp]], list[Float]]:
        """Return the four nodes around each point, and their weights."""
        cells = self._cells[slot]
        scale = (self._cells / self._lengths).astype(np.float32)[slot]
        x, y = u * scale[:, 0], v * scale[:, 1]
        i = np.clip(np.floor(x).astype(np.int64), 0, cells[:, 0] - 1)
        j = np.clip(np.floor(y).astype(np.int64), 0, cells[:, 1] - 1)
        fx = np.clip(x - i, 0, 1).astype(np.float32)
        fy = np.clip(y - j, 0, 1).astype(np.float32)
        wide = cells[:, 1] + 1
        first = self._base[slot] + i * wide + j
        return (
            [first, first + 1, first + wide, first + wide + 1],
            [(1 - fx) * (1 - fy), (1 - fx) * fy, fx * (1 - fy), fx * fy],
        )

    def _nodes(self, bodies: "_Bodies", ids: NDArray[np.intp]) -> tuple[Float, Float]:
        """Return the points of nodes and the normals there, (3, N) in the world."""
        slot = np.searchsorted(self._base, ids, side="right") - 1
        i, j = np.divmod(ids - self._base[slot], self._cells[slot, 1] + 1)
        lengths = self._lengths[slot]
        place = np.stack([i, j], axis=1) / self._cells[slot] * lengths
        inset = np.minimum(_INSET_M, lengths / 4)
        return _surface(bodies, slot, np.clip(place, inset, lengths - inset))


def with_movers(scene: Scene, movers: list[Solid]) -> Scene:
    """Return the scene with further solids; those it had keep their numbers."""
    return replace(scene, pieces=[*scene.pieces, *([solid] for solid in movers)])


def only_movers(scene: Scene, movers: list[Solid]) -> Scene:
    """Return the room and its lights, with nothing in it but these solids."""
    return replace(scene, pieces=[[solid] for solid in movers])


@dataclass(frozen=True)
class _Bodies:
    """The room and all solids as arrays: what has a number has it in all of them."""

    center: Vector
    half: Vector
    cos: Vector
    sin: Vector
    shape: NDArray[np.int64]

    @classmethod
    def of(cls, scene: Scene, movers: list[Solid]) -> "_Bodies":
        solids = [*scene.solids, *movers]
        yaw = np.array([0.0, *(solid.yaw for solid in solids)])
        return cls(
            np.stack([scene.room / 2, *(solid.center for solid in solids)]),
            np.stack([scene.room / 2, *(solid.half for solid in solids)]),
            np.cos(yaw),
            np.sin(yaw),
            np.array([0, *(_SHAPES.index(solid.shape) for solid in solids)]),
        )


def _lengths(bodies: _Bodies) -> Vector:
    """Return the extent of each face's grid (F, 2): six faces a body, two for each axis."""
    lengths = np.empty((len(bodies.half), 3, 2, 2))
    lengths[..., 0] = 2 * bodies.half[:, _FIRST, None]
    lengths[..., 1] = 2 * bodies.half[:, _SECOND, None]
    is_round = bodies.shape > 0
    around = 2 * np.pi * bodies.half[:, 0]
    lengths[is_round, 0, :, 0] = around[is_round, None]
    is_ball = bodies.shape == 2
    lengths[is_ball, 0, :, 1] = around[is_ball, None] / 2
    return lengths.reshape(-1, 2)


def _places(bodies: _Bodies, found: Surfaces) -> tuple[NDArray[np.intp], Float, Float]:
    """Return the face that each point is on, and where in its grid."""
    face = found.face.astype(np.int64)
    body = np.where(face < 8, 0, face // 8)
    side = np.where(face < 0, -1 - face, face)  # an opening is in a wall
    axis = np.where(face < 8, side // 2, face % 8)
    center, half = bodies.center.astype(np.float32), bodies.half.astype(np.float32)
    cos, sin = bodies.cos.astype(np.float32)[body], bodies.sin.astype(np.float32)[body]
    x, y, z = found.points - center.T.take(body, axis=1)
    local = np.stack([cos * x + sin * y, cos * y - sin * x, z])
    columns, shape = np.arange(len(face)), bodies.shape[body]
    round_side = (shape > 0) & (axis == 0)
    far = (local[axis, columns] > 0) & ~round_side
    u = local[_FIRST[axis], columns] + half[body, _FIRST[axis]]
    v = local[_SECOND[axis], columns] + half[body, _SECOND[axis]]
    at = np.flatnonzero(round_side)
    radius = half[body[at], 0]
    u[at] = (np.arctan2(local[1, at], local[0, at]) + np.float32(np.pi)) * radius
    ball = at[shape[at] == 2]
    up = np.clip(local[2, ball] / half[body[ball], 0], -1, 1)
    v[ball] = (np.arcsin(up) + np.float32(np.pi / 2)) * half[body[ball], 0]
    return (6 * body + 2 * axis + far).astype(np.intp), u, v


def _surface(bodies: _Bodies, slot: NDArray[np.intp], place: Vector) -> tuple[Float, Float]:
    """Return points and normals of the places (N, 2) in the grids of faces."""
    body, side = np.divmod(slot, 6)
    axis, sign = side // 2, 2.0 * (side % 2) - 1
    half, shape = bodies.half.T.take(body, axis=1), bodies.shape[body]
    columns = np.arange(len(slot))
    local, normal = np.zeros((3, len(slot))), np.zeros((3, len(slot)))
    local[_FIRST[axis], columns] = place[:, 0] - half[_FIRST[axis], columns]
    local[_SECOND[axis], columns] = place[:, 1] - half[_SECOND[axis], columns]
    local[axis, columns] = sign * half[axis, columns]
    normal[axis, columns] = np.where(body == 0, -sign, sign)
    at = np.flatnonzero((shape > 0) & (axis == 0))
    around = place[at, 0] / half[0, at] - np.pi
    up = np.where(shape[at] == 2, place[at, 1] / half[0, at] - np.pi / 2, 0.0)
    normal[:, at] = np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)
    local[:2, at] = half[0, at] * normal[:2, at]
    ball = at[shape[at] == 2]
    local[2, ball] = half[0, ball] * normal[2, ball]
    cos, sin = bodies.cos[body], bodies.sin[body]
    turned = [np.stack([cos * a[0] - sin * a[1], sin * a[0] + cos * a[1], a[2]])
              for a in (local, normal)]  # fmt: skip
    points = turned[0] + bodies.center.T.take(body, axis=1)
    return points.astype(np.float32), turned[1].astype(np.float32)


def _only(vectors: Float, chosen: NDArray[np.bool_]) -> Float:
    """Return some of the vectors (3, N), each coordinate one contiguous row."""
    return np.compress(chosen, vectors, axis=1)


def _states(scene: Scene, points: Float, normal: Float) -> NDArray[np.uint8]:
    """Say which points of surfaces are valid, and which lie inside of something."""
    inside = _is_inside(scene, points + _LIFT_M * normal)
    return np.where(inside, _INSIDE, _VALID).astype(np.uint8)


def _is_inside(scene: Scene, points: Float) -> NDArray[np.bool_]:
    room = scene.room.astype(np.float32)[:, None]
    inside = np.zeros(points.shape[1], bool)
    inside |= ((points < 0) | (points > room)).any(axis=0)
    for solid in scene.solids:
        x, y, z = points - solid.center.astype(np.float32)[:, None]
        half = solid.half.astype(np.float32)
        if solid.shape == "sphere":
            inside |= x * x + y * y + z * z < half[0] * half[0]
            continue
        if solid.shape == "cylinder":
            within = x * x + y * y < half[0] * half[0]
        else:
            cos, sin = np.float32(np.cos(solid.yaw)), np.float32(np.sin(solid.yaw))
            within = np.abs(cos * x + sin * y) < half[0]
            within &= np.abs(cos * y - sin * x) < half[1]
        inside |= within & (np.abs(z) < half[2])
    return inside
