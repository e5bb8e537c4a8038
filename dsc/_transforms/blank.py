"""What a map holds where there is nothing: beside a picture that was padded, turned or moved."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dsc._schemas import TaskKind

UNMEASURED = (
    TaskKind.DEPTH, TaskKind.NORMAL, TaskKind.DISPARITY, TaskKind.FLOW, TaskKind.ARRAY,
)  # fmt: skip


def blank(kind: TaskKind, dtype: DTypeLike, invalid: tuple[int, ...] = ()) -> Any:
    """Return the value that stands for nothing.

    Parameters
    ----------
    kind
        Of the map.
    dtype
        Of its array: floats are metres, unit vectors and the like, integers the source's own.
    invalid
        Native values that mean "nothing measured here".

    Returns
    -------
    number
        NaN in floats of what is measured. In integers the first invalid value. Where there is none:
        0, but for labels the largest value of the dtype (255, 65535), or -1 if it has a sign.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "f" and kind in UNMEASURED:
        return np.nan
    if invalid and dtype.kind in "iuf":
        return dtype.type(invalid[0])
    if kind is not TaskKind.LABEL or dtype.kind not in "iu":
        return dtype.type(0)
    return np.iinfo(dtype).max if dtype.kind == "u" else dtype.type(-1)
