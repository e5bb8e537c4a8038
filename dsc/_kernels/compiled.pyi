"""The functions of the compiled kernels; `dsc._kernels` says what holds for all of them."""

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

def instructions() -> str:
    """Name the instructions that the kernels were built for and that this processor has."""

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

def label_encode(model: LabelModel, labels: NDArray[np.uint16]) -> bytes:
    """Return the intervals of a map (H, W) numbered in the order of coding, for `ans_encode`."""

def label_decode(
    model: LabelModel, words: Words, state: NDArray[np.uint64], labels: NDArray[np.uint16]
) -> int:
    """Read a map (H, W) into `labels`; return how many labels it has."""
