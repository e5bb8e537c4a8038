"""HDF5 files held open, a bounded number at a time, and reopened after being sent to a worker."""

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc.errors import SampleError
from dsc.pipeline.sources.listing import FileTree
from dsc.pipeline.sources.remote_files import raise_failure

MOST_OPEN = 16


class OpenFiles:
    """HDF5 files below a root, opened when first read; the least recently used is closed.

    Pickling leaves the open files behind.
    """

    def __init__(self, tree: FileTree) -> None:
        self.tree = tree
        self._open: OrderedDict[str, Any] = OrderedDict()
        self._handles: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"tree": self.tree, "_open": OrderedDict(), "_handles": {}}

    def get(self, path: str) -> Any:
        """Give the `h5py.File` at `path`.

        Raises
        ------
        SampleError
            When it is no whole HDF5 file.
        OSError
            When the file system or network fails.
        """
        import h5py

        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        handle = self.tree.open(path)
        try:
            opened = h5py.File(handle, "r")
        except OSError as error:
            raise_failure(handle)
            handle.close()
            raise SampleError(
                f"{self.tree.where(path)}: not a whole HDF5 file ({error}); copy it again "
                "(a .mat must be of version 7.3)"
            ) from None
        self._open[path], self._handles[path] = opened, handle
        if len(self._open) > MOST_OPEN:
            oldest, file = self._open.popitem(last=False)
            file.close()
            self._handles.pop(oldest).close()
        return opened

    def row(self, path: str, dataset: str, row: int, where: str) -> NDArray[Any]:
        """Read ``dataset[row]`` of a file.

        Raises
        ------
        SampleError
            When it cannot be read; `where` names the sample.
        OSError
            When the network fails: the sample may be whole.
        """
        try:
            opened = self.get(path)
        except SampleError as error:
            raise SampleError(f"{where}: {error}") from None
        try:
            return np.asarray(opened[dataset][row])
        except (OSError, KeyError, ValueError) as error:
            raise_failure(self._handles.get(path))
            raise SampleError(
                f"{where}: {self.tree.where(path)}, dataset {dataset}, row {row}: cannot be read "
                f"({error}); the file is damaged: copy it again"
            ) from None
