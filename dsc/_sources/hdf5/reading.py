"""HDF5 files held open, a bounded number at a time, and reopened after being sent to a worker.

A local file is opened by its path, so that HDF5 itself finds the files that virtual datasets and
links name. A remote one is read through fsspec; what lies in other files cannot be followed there.
"""

import os
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsc._files.formats import read_pixels
from dsc._files.remote import raise_failure
from dsc._files.tree import FileTree
from dsc._schemas import Task
from dsc._schemas.from_file import with_file
from dsc._sources.hdf5.inventory import as_bytes, bytes_held, is_logical
from dsc._sources.hdf5.sample_table import Cell
from dsc._sources.meaning.decode import Conversion
from dsc.errors import SampleError

MOST_OPEN = 16
SIGNATURE = b"\x89HDF\r\n\x1a\n"
SIGNATURE_AT = (0, 512, 1024, 2048)  # behind a block of the user's own, as in MATLAB's files


class OpenFiles:
    """HDF5 files below a root, opened when first read; the least recently used is closed.

    Pickling leaves the open files behind.
    """

    def __init__(self, tree: FileTree) -> None:
        self.tree = tree
        self._begin()

    def _begin(self) -> None:
        """Hold nothing open; what will be is closed while Python still runs.

        HDF5 calls back into Python to close a remote file, which an interpreter that is going down
        does not survive.
        """
        self._open: OrderedDict[str, _Opened] = OrderedDict()
        weakref.finalize(self, _close_all, self._open)

    def __getstate__(self) -> dict[str, Any]:
        return {"tree": self.tree}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.tree = state["tree"]
        self._begin()

    @property
    def local(self) -> bool:
        """Whether HDF5 opens the files itself."""
        return self.tree.local is not None

    def get(self, path: str) -> Any:
        """Return the `h5py.File` at `path`.

        Raises
        ------
        SampleError
            When it is no whole HDF5 file.
        OSError
            When the file system or network fails.
        """
        return self._get(path).file

    def dataset(self, path: str, name: str) -> Any:
        """Return the `h5py.Dataset` of that name.

        Raises
        ------
        KeyError
            When there is none.
        """
        opened = self._get(path)
        if name not in opened.datasets:
            opened.datasets[name] = opened.file[name]
        return opened.datasets[name]

    def stored_form(self, path: str, name: str, where: str) -> "StoredForm":
        """Say how a dataset's values are stored.

        Raises
        ------
        SampleError
            When it cannot be opened; `where` names the sample.
        """
        opened = self._get(path)
        if name not in opened.forms:
            with _reading(where, f"{self.tree.where(path)}, dataset {name}"):
                opened.forms[name] = StoredForm.of(self.dataset(path, name))
        return opened.forms[name]

    def row(self, path: str, dataset: str, row: int, where: str) -> NDArray[Any]:
        """Read ``dataset[row]`` of a file.

        Raises
        ------
        SampleError
            When it cannot be read; `where` names the sample.
        OSError
            When the network fails: the sample may be whole.
        """
        return np.asarray(self.select(path, dataset, row, where))

    def select(self, path: str, dataset: str, selection: Any, where: str) -> Any:
        """Read a part of a dataset, as h5py returns it.

        Raises
        ------
        SampleError
            When it cannot be read; `where` names the sample.
        OSError
            When the network fails: the sample may be whole.
        """
        opened = self._get(path)
        row = f", row {selection}" if isinstance(selection, int) else ""
        with _reading(where, f"{self.tree.where(path)}, dataset {dataset}{row}", opened.handle):
            return self.dataset(path, dataset)[selection]

    def _get(self, path: str) -> "_Opened":
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        opened = self._open[path] = _open(self.tree, path)
        if len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)[1].close()
        return opened


@contextmanager
def _reading(where: str, what: str, handle: Any = None) -> Iterator[None]:
    try:
        yield
    except SampleError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise_failure(handle)
        raise SampleError(
            f"{where}: {what}: cannot be read ({error}); the file is damaged: copy it again"
        ) from None


@dataclass(frozen=True)
class StoredForm:
    """How a dataset's values are stored.

    Attributes
    ----------
    files
        Whether each is an image file.
    matlab
        Whether MATLAB wrote them: axes are the other way round.
    logical
        Whether MATLAB says that they are truth values.
    """

    files: bool
    matlab: bool
    logical: bool

    @classmethod
    def of(cls, dataset: Any) -> Self:
        """Look at an `h5py.Dataset`."""
        matlab = "MATLAB_class" in dataset.attrs
        return cls(bool(bytes_held(dataset)), matlab, matlab and is_logical(dataset.attrs))


class _Opened:
    """A file and the datasets of it that were read; `handle` is what a remote one is read by."""

    def __init__(self, file: Any, handle: Any = None) -> None:
        self.file, self.handle = file, handle
        self.datasets: dict[str, Any] = {}
        self.forms: dict[str, StoredForm] = {}

    def close(self) -> None:
        self.datasets.clear()
        self.file.close()
        if self.handle is not None:
            self.handle.close()


def _close_all(opened: OrderedDict[str, _Opened]) -> None:
    while opened:
        with suppress(Exception):  # a network that is gone closes nothing any more
            opened.popitem()[1].close()


def _open(tree: FileTree, path: str) -> _Opened:
    import h5py

    load_filters()
    handle = None
    try:
        if tree.local is not None:
            return _Opened(h5py.File(os.fspath(tree.local / path if path else tree.local), "r"))
        handle = tree.open(path)
        return _Opened(h5py.File(handle, "r"), handle)
    except FileNotFoundError:
        raise SampleError(
            f"{tree.where(path)}: gone since the directory was listed; put it back or start again"
        ) from None
    except BlockingIOError:
        raise SampleError(
            f"{tree.where(path)}: another program is writing to it; wait until it is done, or copy "
            "the file"
        ) from None
    except PermissionError:
        raise
    except OSError as error:
        raise_failure(handle)
        if handle is not None:
            handle.close()
        raise SampleError(f"{tree.where(path)}: {_why_not(tree, path, error)}") from None


def _why_not(tree: FileTree, path: str, error: OSError) -> str:
    if not is_hdf5(tree, path):
        return (
            "not an HDF5 file (a .mat must be of version 7.3: `save -v7.3`); leave it out with "
            f"--ignore '{path}'"
        )
    return f"not a whole HDF5 file ({error}); copy it again, or leave it out with --ignore '{path}'"


def is_hdf5(tree: FileTree, path: str) -> bool:
    """Tell whether a file begins as HDF5 files do."""
    with tree.open(path) as handle:
        head = handle.read(SIGNATURE_AT[-1] + len(SIGNATURE))
    return any(head.startswith(SIGNATURE, at) for at in SIGNATURE_AT)


@cache
def load_filters() -> None:
    """Register the compressions that the package hdf5plugin brings, where it is installed."""
    if find_spec("hdf5plugin") is not None:
        import_module("hdf5plugin")


def read_cell(files: OpenFiles, cell: Cell, where: str, indexes: bool) -> tuple[NDArray[Any], int]:
    """Read one value of a dataset, and return it with the number of its stored bytes.

    MATLAB's axes are restored; bytes of an image file are decoded to an array that knows them;
    channels may still come first.

    Raises
    ------
    SampleError
        When it cannot be read.
    """
    held = files.stored_form(cell.file, cell.dataset, where)
    if held.files:
        data, named = read_bytes(files, cell, where), f"{where}: {name_cell(files.tree, cell)}"
        return with_file(read_pixels(data, named, indexes=indexes), data), len(data)
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


def name_cell(tree: FileTree, cell: Cell) -> str:
    """Name a value in messages: its file, dataset and row."""
    row = "" if cell.row is None else f", row {cell.row}"
    return f"{tree.where(cell.file)}, dataset {cell.dataset}{row}"


def channels_last(
    array: NDArray[Any], task: Task, conversion: Conversion, first: bool
) -> NDArray[Any]:
    """Return (H, W, C) of a map that may be (C, H, W); `first` says what the task's others are."""
    if not task.is_map or array.ndim != 3:
        return array
    if comes_first(array.shape, first, stored_channels(task, conversion)):
        return np.moveaxis(array, 0, -1)
    return array


def stored_channels(task: Task, conversion: Conversion) -> int:
    """Return a dataset's channels.

    One more than the task's where alpha is dropped, 0 if unknown.
    """
    if conversion.alpha == "only":
        return 0
    return task.channels + (conversion.alpha == "drop")


def comes_first(shape: tuple[int, ...], first: bool, channels: int) -> bool:
    """Tell whether a shape of three axes is (C, H, W): as the task's others are, if that can be."""
    fits_first, fits_last = shape[0] == channels, shape[2] == channels
    if not channels or fits_first == fits_last:
        return first
    return fits_first
