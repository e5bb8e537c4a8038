"""What is likely to code a label map in the fewest bytes, as far as it can be told in little time.

Two coders of labels are there: networks that know boundaries of scenes
(`dsc._coding.context.coder`) and chances that learn from the map (`dsc._coding.context.scan`).
Smooth boundaries take the former 2 to 25 % fewer bytes and twice the time; ragged ones, those of
superpixels, and straight ones along rows and columns take the latter 0.2 to 0.9 of the bytes.

JPEG XL takes ten times as long as either. Regions take it a third more bytes than the smaller of
the two, and more. It is smaller on what is no map of regions: on speckles and noise, on patterns
that repeat, and where one label follows from another by a number.
"""

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._coding.context.lattice import Ids

EVERY = 8  # rows, and columns, that are looked at
SMOOTH = 1.0  # bits by the networks for each side of a pixel that is a boundary
BENT = 0.12  # share of these at which a boundary is no longer along rows and columns alone
FEW_BYTES = 100  # there is little time to save
NAMED = 6  # bytes for each label, below which these are most of what there is to say
MANY_BITS = 0.5  # for each pixel
REPEATED = 1.5  # only of what repeats zstd takes less than so many times as many bytes
SPECKLED = 0.5  # share of boundaries along rows that are of single pixels
FEW_LABELS = 16  # of as few, many steps from label to label are alike by chance
STEPS = 0.6  # share of steps that are the same


def share_unlike(array: Array) -> float:
    """Return the share of pixels unlike their left neighbour."""
    differ = array[:, 1:] != array[:, :-1]
    return float(differ.mean()) if differ.size else 0.0


def is_smooth(ids: Ids, n_labels: int, n_bytes: int) -> bool:
    """Tell whether no coder takes clearly less for a map than the networks, which take `n_bytes`.

    Parameters
    ----------
    ids
        (H, W)
    """
    upper, lower = ids[:-1:EVERY], ids[1::EVERY]
    across, below, down = (
        upper[:, 1:] != upper[:, :-1],
        lower[:, 1:] != lower[:, :-1],
        upper != lower,
    )
    boundary = np.count_nonzero(across) + np.count_nonzero(down)
    bends = np.count_nonzero((across != below) | (down[:, 1:] != down[:, :-1]))
    return bool(
        8 * n_bytes < SMOOTH * EVERY * boundary
        and bends > BENT * boundary
        and n_bytes > max(NAMED * n_labels, FEW_BYTES)
    )


def may_be_smaller(array: Array, n_labels: int, n_bytes: int, by_zstd: int) -> bool:
    """Tell whether JPEG XL may take fewer bytes than `n_bytes`.

    Parameters
    ----------
    array
        (H, W) or (H, W, 3)
    by_zstd
        What zstd takes.
    """
    plane = array if array.ndim == 2 else array[..., 0]
    return bool(
        8 * n_bytes > MANY_BITS * plane.size
        or by_zstd < REPEATED * n_bytes
        or _is_speckled(plane[::EVERY])
        or (n_labels > FEW_LABELS and _has_steps(plane))
    )


def _is_speckled(rows: NDArray[np.unsignedinteger]) -> bool:
    differ = rows[:, 1:] != rows[:, :-1]
    single = differ[:, 1:] & differ[:, :-1] & (rows[:, 2:] == rows[:, :-2])
    return bool(2 * np.count_nonzero(single) > SPECKLED * np.count_nonzero(differ))


def _has_steps(labels: NDArray[np.unsignedinteger]) -> bool:
    """Tell whether most changes along rows, or along columns, are by one number."""
    return _are_alike(labels[::EVERY]) or _are_alike(labels[:, ::EVERY].T)


def _are_alike(rows: NDArray[np.unsignedinteger]) -> bool:
    steps = np.diff(rows.astype(np.int32), axis=1)
    steps = steps[steps != 0]
    return bool(steps.size and np.unique(steps, return_counts=True)[1].max() > STEPS * steps.size)
