"""The rule `edge_occlusion`: how steeply the root of depth changes, as Omnidata draws it.

With s = sqrt(depth in counts) / 256 the edge is sqrt((gx² + gy²) / 2) · 65535, rounded, where gx
and gy are Sobel's sums divided by 4; 0 on the rim, and where one of the nine pixels is too far or
not measured. Of Omnidata's annotator, commit 96f5a09d864f, which smooths s and then does not use
it: nothing is smoothed here. Its maps come out within one count. What is too far, and the scale,
are found.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._codecs.base import Array, Sample
from dsc._codecs.derived.evidence import (
    check_fit,
    check_own,
    complete,
    dtype_range,
    input_maps,
    is_count_map,
    middle,
    read_param,
    share_within,
)
from dsc._codecs.derived.rule import Own
from dsc._schemas import Task, TaskKind

ROOT_BITS = 20
SCALE_BITS = 31  # sqrt(2) of the sums' root, 256 of s, 4 of Sobel's: 2 · 2^(20 + 8 + 2) to one
COARSE_BITS = 4  # that large sums are given without, lest their squares be beyond 2^53
LARGE = 1 << 26
SCALE = 65535
MOST_SCALE = 1 << 20
TOO_FAR = 65036  # counts: what Omnidata takes for no measurement
NOWHERE = 65535  # the count of what is not measured, and the greatest limit
WITHIN, SHARE = 1, 0.99  # of a sample's pixels that have to be within a count
TELLING = 0.01  # of a map that is above a count: the least that is evidence
CLEAR = 64  # counts of an edge that tells the scale


class EdgeOcclusion:
    """Edges of depth: `scale` for one, 0 next to depth of `limit` counts or more."""

    id: ClassVar[str] = "edge_occlusion@1"
    own_count = 0

    def __init__(self, child: Task, depth: Task, scale: int, limit: int) -> None:
        self.inputs = (depth.name,)
        self._child, self._depth = child, depth
        self._scale, self._limit = scale, limit

    @classmethod
    def find(cls, child: Task, parents: Sequence[Task], samples: Sequence[Sample]) -> Self | None:
        """Find a map of depth whose edges the child has, and from where on depth has none."""
        for depth in parents:
            whole = complete(samples, child.name, depth.name) if _fits(child, depth) else []
            telling = [sample for sample in whole if _tells(sample[child.name])]
            scale = _scale(child, depth, telling[0]) if telling else 0
            if not 1 <= scale <= MOST_SCALE:
                continue
            for some in ([], telling[:1], telling):
                limits = [_limit(child, depth, scale, sample) for sample in some]
                rule = cls(child, depth, scale, min(limits, default=TOO_FAR))
                if all(rule._holds(sample) for sample in whole):
                    return rule
                if some and not rule._holds(some[0]):
                    break
        return None

    @classmethod
    def from_params(cls, child: Task, inputs: Sequence[Task], params: Mapping[str, int]) -> Self:
        """Make the rule that has `scale` for one, and no edges next to `limit` counts or more."""
        check_fit(cls.id, len(inputs) == 1 and _fits(child, inputs[0]), child, inputs)
        scale = read_param(cls.id, params, "scale", 1, MOST_SCALE)
        limit = read_param(cls.id, params, "limit", 1, NOWHERE)
        return cls(child, inputs[0], scale, limit)

    def params(self) -> dict[str, int]:
        """Return the scale, and the least count that is too far."""
        return {"scale": self._scale, "limit": self._limit}

    def fit(self, child: Array, inputs: Mapping[str, Array]) -> Own:
        """Return nothing: samples have no parameters of their own."""
        del child, inputs
        return ()

    def derive(self, inputs: Mapping[str, Array], own: Own) -> Array:
        """Return the edges (H, W)."""
        check_own(own, self.own_count)
        (depth,) = input_maps(inputs, [self._depth])
        most = dtype_range(self._child)
        found = edges(_counts(self._depth, depth), self._limit, self._scale, most)
        return found.astype(self._child.dtype, copy=False)

    def _holds(self, sample: Sample) -> bool:
        return share_within(self.derive(sample, ()), sample[self._child.name], WITHIN) >= SHARE


def edges(depth: NDArray[np.uint16], limit: int, scale: int, most: int) -> NDArray[np.uint16]:
    """Return the edges of depth (H, W), at most `most`; 0 next to `limit` counts or more."""
    if _kernels.in_use():
        found = np.empty(depth.shape, np.uint16)
        _kernels.compiled.geometry_edges(depth, _roots(), limit, scale, most, found)
        return found
    found = np.zeros(depth.shape, np.uint16)
    if min(depth.shape) >= 3:
        counts = (steepness(depth) * scale + (1 << SCALE_BITS - 1)) >> SCALE_BITS
        near = _farthest(depth) < limit
        found[1:-1, 1:-1] = np.where(near, np.minimum(counts, most), 0)
    return found


def steepness(depth: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return the edges of depth within its rim (H - 2, W - 2) in 2^-31, of whatever is far."""
    root = _roots()[depth].astype(np.int64)
    smooth = root[:, :-2] + 2 * root[:, 1:-1] + root[:, 2:]
    slope = root[:, 2:] - root[:, :-2]
    along = np.abs(slope[:-2] + 2 * slope[1:-1] + slope[2:])
    down = np.abs(smooth[2:] - smooth[:-2])
    lost = np.where(np.maximum(along, down) >= LARGE, COARSE_BITS, 0)
    along >>= lost
    down >>= lost
    found: NDArray[np.int64] = np.rint(np.sqrt(2 * (along**2 + down**2))).astype(np.int64) << lost
    return found


def _counts(task: Task, depth: Array) -> NDArray[np.uint16]:
    counts: NDArray[np.uint16] = depth.astype(np.uint16)
    counts[task.invalid_mask(depth)] = NOWHERE
    return counts


@lru_cache(maxsize=1)
def _roots() -> NDArray[np.uint32]:
    """Return the roots of all counts in 2^-20."""
    counts = np.arange(1 << 16) * 2.0 ** (2 * ROOT_BITS)
    roots: NDArray[np.uint32] = np.rint(np.sqrt(counts)).astype(np.uint32)
    return roots


def _farthest(depth: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the largest of the nine counts around each pixel within the rim."""
    along = np.maximum(np.maximum(depth[:, :-2], depth[:, 1:-1]), depth[:, 2:])
    return np.maximum(np.maximum(along[:-2], along[1:-1]), along[2:])


def _fits(child: Task, depth: Task) -> bool:
    edge = child.kind is not TaskKind.DEPTH and is_count_map(child)
    return edge and depth.kind is TaskKind.DEPTH and is_count_map(depth)


def _tells(edge: Array) -> bool:
    return min(edge.shape) >= 3 and bool(np.count_nonzero(edge > WITHIN) > TELLING * edge.size)


def _scale(child: Task, depth: Task, sample: Sample) -> int:
    """Return the scale by the median of clear edges, the usual one where it is near; or 0."""
    edge, steep = sample[child.name][1:-1, 1:-1], steepness(_counts(depth, sample[depth.name]))
    clear = (edge >= CLEAR) & (edge < dtype_range(child)) & (steep > 0)
    if not clear.any():
        return 0
    scale = round(middle(edge[clear] * float(1 << SCALE_BITS) / steep[clear]))
    return SCALE if abs(scale - SCALE) * 500 <= SCALE else scale


def _limit(child: Task, depth: Task, scale: int, sample: Sample) -> int:
    """Return the least count next to which there is no edge where one would be."""
    counts = _counts(depth, sample[depth.name])
    hidden = steepness(counts) * scale >= 2 << SCALE_BITS
    hidden &= sample[child.name][1:-1, 1:-1] == 0
    return max(int(_farthest(counts)[hidden].min(initial=NOWHERE)), 1)
