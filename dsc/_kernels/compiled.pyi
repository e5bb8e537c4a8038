"""The functions of the compiled kernels; `dsc._kernels` says what holds for all of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Plane = Any  # a buffer of bytes
Words = NDArray[np.uint32]

def instructions() -> str:
    """Name the instructions that the kernels were built for and that this processor has."""

def residual_contexts(
    planes: NDArray[np.int32],
    valid: NDArray[np.bool_],
    symbols: NDArray[np.int32],
    contexts: NDArray[np.uint8],
    ends: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """List the symbols and contexts of planes (C, H, W), where valid (H, W), in coding order.

    `symbols` and `contexts` have 64 elements more than `planes`; `ends` (16,) says where each visit
    ends. To `counts` (43, 2 reach + 3) is added how often a context has each symbol, from -reach to
    reach, and those below and above.
    """

def residual_decode(
    words: Words,
    state: NDArray[np.uint64],
    used: NDArray[np.bool_],
    table_of: NDArray[np.uint8],
    bounds: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    lows: NDArray[np.int32],
    valid: NDArray[np.bool_],
    planes: NDArray[np.int32],
) -> None:
    """Read planes (C, H, W) where valid (H, W); `used` and `table_of` (43,) are by context.

    Raises `ValueError` for a context that is not used.
    """

def bound_quantise(
    low: NDArray[np.int32],
    high: NDArray[np.int32],
    up: NDArray[Any],
    down: NDArray[Any],
    original: NDArray[Any],
    decoded: NDArray[Any],
    residual: NDArray[np.int32],
) -> None:
    """Write the steps from `decoded` (n,) to within the bound of `original` (n,) to `residual`.

    Maps are uint8 or uint16, and so are the tables (powers, counts) of 1, 2, 4 ... steps up and
    down; `low` and `high` (counts,) are what each count covers.
    """

def bound_apply(
    low: NDArray[np.int32],
    high: NDArray[np.int32],
    up: NDArray[Any],
    down: NDArray[Any],
    decoded: NDArray[Any],
    residual: NDArray[np.int32],
    found: NDArray[Any],
) -> None:
    """Write `decoded` (n,) moved by `residual` (n,) steps to `found` (n,)."""

def bound_holds(
    allowed: NDArray[np.int32],
    original: NDArray[Any],
    decoded: NDArray[Any],
    within: NDArray[np.bool_],
) -> None:
    """Write whether each of n pixels is within what its original allows to `within`."""

def maps_look_up(
    image: NDArray[Any],
    table: NDArray[Any],
    mask: NDArray[np.bool_] | None,
    masked: int,
    found: NDArray[Any],
) -> int:
    """Write what `table` has for each of n values, `masked` where `mask` is set, to `found` (n,).

    `image` and `table` are uint8 or uint16 each; `found` has the table's dtype. Returns the largest
    value of the image; where that is beyond the table nothing is written.
    """

def maps_unit_vectors(
    image: NDArray[np.uint8], invalid: NDArray[np.uint8], found: NDArray[np.float32]
) -> None:
    """Write the unit vectors of normals (H, W, 3), NaN where all channels are one of `invalid`."""

def maps_fill(planes: NDArray[np.float32], weight: NDArray[np.float32]) -> None:
    """Fill planes (C, H, W) where weight (H, W) is 0, and divide them by it elsewhere."""

def maps_similarity(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    down: NDArray[np.float64],
    along: NDArray[np.float64],
    c1: float,
    c2: float,
    similarity: NDArray[np.float64],
    contrast: NDArray[np.float64],
) -> None:
    """Write SSIM and its contrast-structure term of (H, W) images, under windows down and along."""

def ans_look_up(
    symbols: NDArray[np.int32],
    indexes: NDArray[np.uint8],
    bounds: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    lows: NDArray[np.int32],
    intervals: NDArray[np.uint32],
    escaped: NDArray[np.int32],
) -> int:
    """Write the interval (left, size) of each of n symbols to `intervals` (n, 2), in coding order.

    Symbols outside their table get its escape's; they are written to `escaped` (n,), in the order
    of coding. Returns how many those are.
    """

def ans_encode(intervals: NDArray[np.uint32]) -> bytes:
    """Return the words of a stream whose symbols have these intervals (n, 2).

    The upper eight bits of `left` say how often more a symbol comes.
    """

def ans_decode(
    words: Words,
    state: NDArray[np.uint64],
    indexes: NDArray[np.uint8],
    bounds: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    lows: NDArray[np.int32],
    symbols: NDArray[np.int32],
) -> None:
    """Read n symbols, grouped by table, escapes after them; `state` is (state, words left)."""

def ans_decode_uniform(
    words: Words, state: NDArray[np.uint64], size: int, values: NDArray[np.int32]
) -> None:
    """Read n integers from 0 to below `size`."""

class LabelModel:
    """A model as the walk uses it: what `label_model` made."""

Bounds = tuple[NDArray[np.uint32], NDArray[np.int64]]

def label_model(
    networks: tuple[tuple[tuple[NDArray[np.int8], NDArray[np.int32]], ...], ...],
    calm: Bounds,
    decisions: tuple[Bounds, ...],
    escapes: Bounds,
    places: tuple[NDArray[np.uint8], ...],
    moves: NDArray[np.int8],
    radii: NDArray[np.uint8],
) -> LabelModel:
    """Take over a model.

    Parameters
    ----------
    networks
        The (weight, bias) of each layer of each phase.
    calm, decisions, escapes
        The (bounds, offsets) of the tables.
    places
        (n, 2) of each phase's pixels in a cell.
    moves
        (phases, neighbours, 2) where each phase looks, nearest first.
    radii
        (phases, 3) of its windows.
    """

def label_tables(
    model: LabelModel,
    phase: int,
    level: int,
    patterns: NDArray[np.uint64],
    index: NDArray[np.uint8],
) -> None:
    """Write the tables (n, 3) of patterns (n, 3): which neighbours have each candidate, as bits."""

def label_encode(
    model: LabelModel, labels: NDArray[np.uint16], most_bits: float = -1, finest: int = 1
) -> bytes | None:
    """Return the intervals of a map (H, W) numbered in the order of coding, for `ans_encode`.

    None where they are found to take more than `most_bits`, if those are not below 0. Levels finer
    than that of the step `finest` are left out.
    """

def label_decode(
    model: LabelModel,
    words: Words,
    state: NDArray[np.uint64],
    labels: NDArray[np.uint16],
    known: NDArray[np.uint16] | None = None,
    step: int = 1,
    finest: int = 1,
) -> int:
    """Read a map (H, W) into `labels`; return how many labels it has.

    Where `step` is more than 1, every step-th pixel of every step-th row is `known`, and what is
    read begins with the next level. `labels` may be the level of the step `finest` of a map that is
    so many times as large; both are powers of two.
    """

def planes_to_rgb(
    luma: Plane, blue: Plane, red: Plane, stride: int, chroma_stride: int, colour: bool, out: Bytes
) -> None:
    """Write three planes of 8 bits, rows `stride` bytes apart, to `out` (H, W, 3) as RGB.

    They are YCbCr of BT.601 in full range where `colour`, else green, blue and red.
    """

def plane_look_up(
    plane: Plane,
    stride: int,
    value_bytes: int,
    table: NDArray[Any],
    entry_bytes: int,
    mask: NDArray[np.bool_] | None,
    out: NDArray[Any],
) -> None:
    """Write the entry of each value of a plane to `out` (H, W); the last one where `mask` is set.

    Table and `out` are uint8, uint16 or uint32, whatever the bits mean. Raises `ValueError` for a
    value that has no entry.
    """

def label_number(
    labels: NDArray[Any],
    size: int,
    places: NDArray[np.uint8],
    ids: NDArray[np.uint16],
    first: NDArray[np.int64],
) -> int:
    """Give unsigned labels (H, W) of `size` bytes numbers in the order of coding; return how many.

    Parameters
    ----------
    places
        (48, 2) of a cell's pixels, in the order of coding.
    ids
        (H, W) the number of each pixel's label.
    first
        (65534,) a pixel, in the flat map, of each number.
    """

def label_name(ids: NDArray[np.uint16], names: NDArray[np.uint8], named: NDArray[np.uint8]) -> None:
    """Write the bytes `names` (n, size) of each of `ids` (m,) to `named` (m, size)."""

def directions_number(
    image: NDArray[np.uint8],
    invalid: NDArray[np.bool_],
    numbers: NDArray[np.uint16],
    values: Words,
    counts: NDArray[np.int64],
) -> int:
    """Give the normals of (H, W, 3) numbers in the order of pixels; return how many there are.

    Parameters
    ----------
    invalid
        (H, W) pixels that are passed over; their number is 0.
    numbers
        (H, W) written.
    values, counts
        (most,), at most 8192: of each number, the value (red in the highest bits) and its pixels,
        written. Where there are more the result is -1.
    """

def directions_angles(
    first: NDArray[np.uint8], second: NDArray[np.uint8], angles: NDArray[np.uint32]
) -> None:
    """Write the angles between normals (n, 3), in 2^-26 rad, to `angles` (n,)."""

def directions_merge(
    values: NDArray[np.uint8],
    counts: NDArray[np.int64],
    least: float,
    most_sum: int,
    most_square: int,
    own: NDArray[np.uint16],
) -> bool:
    """Write which of n normals stands for each one: the first within a tolerance.

    `least` is the square of the tolerance's cosine. Returns whether the sum of angles, and of their
    squares in 2^-32 rad², are at most what is given; where not, `own` is not whole.
    """

def raster_intervals(mask: NDArray[np.bool_], intervals: Words) -> None:
    """Write the interval of each pixel of a mask (H, W), row by row, to `intervals` (H W, 2)."""

def raster_decode(words: Words, state: NDArray[np.uint64], mask: NDArray[np.bool_]) -> None:
    """Read a mask (H, W) row by row; `state` is (state, words left)."""

def scan_encode(
    labels: NDArray[np.uint16], order: NDArray[np.uint16], levels: NDArray[np.uint16] = ...
) -> tuple[bytes, int]:
    """Return the intervals (n, 2) uint32 of a map (H, W), and how many labels it has.

    `order` (65534,) gets the number of each of them, in the order in which they are met. `levels`
    (n, H, W) are known: each is of regions of the one before, and labels of regions of the last.
    """

def scan_decode(
    words: Words,
    state: NDArray[np.uint64],
    labels: NDArray[np.uint16],
    levels: NDArray[np.uint16] = ...,
) -> int:
    """Read a map (H, W) into `labels`; return how many labels it has."""

def values_encode(values: NDArray[np.uint16], holes: NDArray[np.bool_] | None) -> bytes:
    """Return the intervals (n, 2) uint32 of a map (H, W), but of its holes."""

def values_decode(
    words: Words,
    state: NDArray[np.uint64],
    values: NDArray[np.uint16],
    holes: NDArray[np.bool_] | None,
) -> None:
    """Read a map (H, W) into `values`; holes get what is predicted there."""

Learned = tuple[NDArray[np.generic], ...]

def follow_encode(
    mask: NDArray[np.bool_], before: NDArray[np.bool_] | None, learned: Learned
) -> bytes:
    """Return the intervals (H W, 2) uint32 of a mask (H, W); `learned` is moved on.

    `learned` is (chances (1024,) uint32, seen (1024,) uint16, the same of 32,768 patterns, weights
    (128,) int32).
    """

def follow_decode(
    words: Words,
    state: NDArray[np.uint64],
    mask: NDArray[np.bool_],
    before: NDArray[np.bool_] | None,
    learned: Learned,
) -> None:
    """Read a mask (H, W); `state` is (state, words left); `learned` is moved on."""

Vectors = NDArray[np.int32]

def track_search(labels: NDArray[np.uint16], earlier: NDArray[np.uint16], vectors: Vectors) -> None:
    """Write to `vectors` (blocks down, across, 2) what moves an earlier map to one (H, W) best."""

def track_encode(
    labels: NDArray[np.uint16],
    earlier: NDArray[np.uint16],
    vectors: Vectors,
    count: int,
    learned: Learned,
) -> bytes:
    """Return the intervals (n, 2) uint32 of a map of labels below `count`; moves `learned` on."""

def track_decode(
    words: Words,
    state: NDArray[np.uint64],
    labels: NDArray[np.uint16],
    earlier: NDArray[np.uint16],
    vectors: Vectors,
    count: int,
    learned: Learned,
) -> None:
    """Read a map, and its vectors; `state` is (state, words left); `learned` is moved on."""

def geometry_edges(
    depth: NDArray[np.uint16],
    roots: NDArray[np.uint32],
    limit: int,
    scale: int,
    most: int,
    out: NDArray[np.uint16],
) -> None:
    """Write the edges of depth (H, W), of whose counts `roots` (65536,) has roots, to `out`.

    0 on the rim and where one of nine pixels is not below `limit`; at most `most`.
    """

def geometry_shade(
    normal: Bytes,
    depth: NDArray[np.uint16],
    down: NDArray[np.float64],
    across: NDArray[np.float64],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    toward: float,
    reach: float,
    gain: float,
    by_axis: bool,
    as_unit: bool,
    out: Bytes,
) -> None:
    """Write the light of a lamp at the camera on normals (H, W, 3) at `depth` (H, W) to `out`.

    Numbers are integers below 2^53: `down` (H,), `across` (W,) and `toward` of rays in 2^-20, whose
    squared lengths are the sums of `rows` (H,) and `columns` (W,) in 2^-24.
    """

def edge_texture(
    image: NDArray[np.uint8], weights: NDArray[np.uint32], found: NDArray[np.uint16]
) -> None:
    """Write the edges of an image (H, W, 3), smoothed by Gaussian weights, to `found` (H, W).

    `weights` (radius + 1,) are those at distance 0, 1 ...; both sides together they sum to 2^24.
    """

def keypoints2d(
    image: NDArray[np.uint8], filters: NDArray[np.int64], found: NDArray[np.uint16]
) -> None:
    """Write the keypoints of an image (H, W, 3) to `found` (H, W).

    `filters` (n, 5) are sizes, and the factors and shifts of straight and mixed derivatives.
    """

def surfaces_boxes(ids: NDArray[np.uint16], found: NDArray[np.int64]) -> None:
    """Write where classes of a map (H, W) lie to `found` (2, n, 2).

    Rows, then columns; of each class the mean, rounded down, and the length from first to last.
    """

def surfaces_refine(
    ids: NDArray[np.uint16],
    n_regions: int,
    children: NDArray[np.uint16],
    n_children: int,
    found: NDArray[np.uint16],
) -> int:
    """Write which of the pairs of region and child there are each pixel has to `found` (H, W).

    Returns how many there are; where that is more than 65,535, nothing is written.
    """

def surfaces_depth(
    ids: NDArray[np.uint16],
    planes: NDArray[np.int64],
    distances: NDArray[np.int64],
    most: int,
    found: NDArray[np.uint16],
) -> None:
    """Write the depth of planes (n, 3) at distances (n,), at most `most`, to `found` (H, W)."""
