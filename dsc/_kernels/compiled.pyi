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
    """Return the words of a stream whose symbols have these intervals (n, 2)."""

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
