"""HDF5 files held open, a bounded number at a time, and reopened after being sent to a worker."""

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc.errors import SampleError
from dsc.pipeline.sources.listing import FileTree

MOST_OPEN = 16


class OpenFiles:
    """HDF5 files below a root, opened when first read; the least recently used is closed.

    Pickling leaves the open files behind.
    """

    def __init__(self, tree: FileTree) -> None:
        self.tree = tree
        self._open: OrderedDict[str, Any] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"tree": self.tree, "_open": OrderedDict()}

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
            handle.close()
            raise SampleError(
                f"{self.tree.where(path)}: not a whole HDF5 file ({error}); copy it again "
                "(a .mat must be of version 7.3)"
            ) from None
        self._open[path] = opened
        if len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)[1].close()
        return opened

    def row(self, path: str, dataset: str, row: int, where: str) -> NDArray[Any]:
        """Read ``dataset[row]`` of a file.

        Raises
        ------
        SampleError
            When it cannot be read; `where` names the sample.
        """
        try:
            return np.asarray(self.get(path)[dataset][row])
        except (OSError, KeyError, ValueError) as error:
            raise SampleError(
                f"{where}: {self.tree.where(path)}, dataset {dataset}, row {row}: cannot be read "
                f"({error}); the file is damaged: copy it again"
            ) from None
