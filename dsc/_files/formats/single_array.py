"""Files of one array each that are no pictures: a matrix as text, an HDF5 file of one dataset."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc.errors import SampleError

HDF5 = b"\x89HDF\r\n\x1a\n"
MOST_NUMBERS = 4096


def holds_one(data: bytes) -> bool:
    """Tell whether a file is one that `read_one` may read."""
    return data.startswith(HDF5) or _is_text(data)


def read_one(data: bytes, where: str) -> NDArray[Any]:
    """Read the only array of a file.

    Returns
    -------
    array
        Of text, float64 (rows, columns); of HDF5, as it is stored, (C, H, W) with channels last.

    Raises
    ------
    SampleError
        When there is not just one array, or text holds something else than numbers.
    """
    return _read_hdf5(data, where) if data.startswith(HDF5) else _read_text(data, where)


def turn_channels_last(array: NDArray[Any]) -> NDArray[Any]:
    """Return (H, W, C) of a picture stored as (C, H, W); anything else as it is."""
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        return np.moveaxis(array, 0, -1)
    return array


def _is_text(data: bytes) -> bool:
    return bool(data) and not data[:64].translate(None, b"0123456789+-.eE,;[]nafiNAFI \t\r\n")


def _read_text(data: bytes, where: str) -> NDArray[np.float64]:
    text = data.translate(bytes.maketrans(b",;[]", b"    ")).decode("ascii", "replace")
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if len(rows) * max(map(len, rows), default=0) > MOST_NUMBERS:
        raise SampleError(
            f"{where}: {len(rows)} lines of text are no small matrix; save it as .npy"
        )
    try:
        return np.array([[float(word) for word in row] for row in rows], np.float64)
    except ValueError as error:
        raise SampleError(
            f"{where}: not a matrix of numbers ({error}); leave its task out with --tasks"
        ) from None


def _read_hdf5(data: bytes, where: str) -> NDArray[Any]:
    import h5py

    def is_array(item: Any) -> bool:
        return isinstance(item, h5py.Dataset) and item.dtype.kind in "uifb" and bool(item.ndim)

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            found: list[Any] = []
            file.visititems(lambda _, item: found.append(item) if is_array(item) else None)
            if len(found) != 1:
                names = ", ".join(item.name for item in found) or "none"
                raise SampleError(
                    f"{where}: {len(found)} arrays in one HDF5 file ({names}); "
                    "read the directory as `dsc compress hdf5`"
                )
            return turn_channels_last(np.asarray(found[0][()]))
    except (OSError, ValueError, KeyError) as error:
        raise SampleError(f"{where}: not a whole HDF5 file ({error}); copy it again") from None
