"""Values looked up pixel by pixel, in one pass over a map; the loop is in `dsc/_kernels/maps.c`."""

import numpy as np

from dsc import _kernels
from dsc._codecs.base import Array


def look_up(image: Array, table: Array, mask: Array | None = None, masked: int = 0) -> Array:
    """Return what a table has for each value of an image, and `masked` where a mask is set.

    Parameters
    ----------
    image
        (H, W) or (H, W, C), uint8 or uint16.
    table
        (n,), uint8 or uint16.
    mask
        bool, of the image's shape.

    Returns
    -------
    A new array of the image's shape and the table's dtype.

    Raises
    ------
    ValueError
        When a value of the image, masked or not, is beyond the table.
    """
    found = np.empty(image.shape, table.dtype)
    if _kernels.in_use():
        hidden = None if mask is None else _flat(mask)
        largest = _kernels.compiled.maps_look_up(
            _flat(image), _flat(table), hidden, masked, _flat(found)
        )
    else:
        largest = int(image.max(initial=0))
        if largest < len(table):
            found[...] = table[image]
            if mask is not None:
                found[mask] = masked
    if largest >= len(table):
        raise ValueError(f"value {largest} of an image whose values are below {len(table)}")
    return found


def _flat(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1)
