"""Reads one value of an HDF5 dataset, and turns its axes as pictures have them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Task
from dsc._sources.files.listing import FileTree
from dsc._sources.formats import read_pixels
from dsc._sources.hdf5.items import as_bytes
from dsc._sources.hdf5.open_files import OpenFiles
from dsc._sources.hdf5.table import Cell
from dsc._sources.meaning.decode import Reading


def read_cell(files: OpenFiles, cell: Cell, where: str, indexes: bool) -> tuple[NDArray[Any], int]:
    """Read one value of a dataset, and give the bytes that it had.

    MATLAB's axes are restored, bytes of an image file are decoded; channels may still come first.

    Raises
    ------
    SampleError
        When it cannot be read.
    """
    held = files.held(cell.file, cell.dataset, where)
    if held.files:
        data = read_bytes(files, cell, where)
        return read_pixels(data, f"{where}: {spell(files.tree, cell)}", indexes=indexes), len(data)
    array = np.asarray(files.select(cell.file, cell.dataset, _selection(cell), where))
    size = array.nbytes
    if held.matlab:  # which has no arrays of fewer than two axes
        array = array.reshape(()) if array.size == 1 else array.T
    return array.astype(bool) if held.logical else array, size


def read_bytes(files: OpenFiles, cell: Cell, where: str) -> bytes:
    """Read the bytes of an image file that a dataset holds.

    Raises
    ------
    SampleError
        When they cannot be read.
    """
    raw = files.select(cell.file, cell.dataset, _selection(cell), where)
    return as_bytes(raw[0] if cell.row is None and np.shape(raw) == (1,) else raw)


def _selection(cell: Cell) -> Any:
    if cell.row is None:
        return ()
    return (slice(None), cell.row) if cell.axis else cell.row


def spell(tree: FileTree, cell: Cell) -> str:
    """Name a value for messages."""
    row = "" if cell.row is None else f", row {cell.row}"
    return f"{tree.where(cell.file)}, dataset {cell.dataset}{row}"


def channels_last(array: NDArray[Any], task: Task, reading: Reading, first: bool) -> NDArray[Any]:
    """Return (H, W, C) of a map that may be (C, H, W); `first` says what the task's others are."""
    if not task.is_map or array.ndim != 3:
        return array
    if comes_first(array.shape, first, stored_channels(task, reading)):
        return np.moveaxis(array, 0, -1)
    return array


def stored_channels(task: Task, reading: Reading) -> int:
    """Return a dataset's channels.

    One more than the task's where alpha is dropped, 0 if unknown.
    """
    if reading.alpha == "only":
        return 0
    return task.channels + (reading.alpha == "drop")


def comes_first(shape: tuple[int, ...], first: bool, channels: int) -> bool:
    """Tell whether a shape of three axes is (C, H, W): as the task's others are, if that can be."""
    fits_first, fits_last = shape[0] == channels, shape[2] == channels
    if not channels or fits_first == fits_last:
        return first
    return fits_first
