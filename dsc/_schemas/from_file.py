"""Arrays that know the file that they were read from, byte for byte.

A source that decodes a picture's file may give the file along, and a codec that keeps files takes
it from there; to everything else such an array is an array like any other. Whatever is made of it
by NumPy (a slice, a copy, a sum) has no file, so the file is always that of all its values.
"""

from typing import Any, SupportsIndex, cast

import numpy as np
from numpy.typing import NDArray


class FileArray(np.ndarray[Any, np.dtype[Any]]):
    """A native array, and the file that it was read from.

    Attributes
    ----------
    file
        The whole file; None of what NumPy made of such an array.
    """

    file: bytes | None = None

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Pickle the file along: samples travel to worker processes."""
        return _again, (np.asarray(self), self.file)


def _again(array: NDArray[Any], file: bytes | None) -> NDArray[Any]:
    return array if file is None else with_file(array, file)


def with_file(array: NDArray[Any], file: bytes) -> NDArray[Any]:
    """Return an array that knows its file; the memory is the array's own.

    The codec `jpeg-exact` keeps the JPEG file of such an array, if it decodes to these pixels.

    Parameters
    ----------
    array
        Native values, as the source gives them.
    file
        The whole file that they were read from.
    """
    found = np.asarray(array).view(FileArray)
    found.file = file
    return cast(NDArray[Any], found)


def file_of(array: NDArray[Any]) -> bytes | None:
    """Return the file that an array was read from, as far as it knows of one."""
    return array.file if isinstance(array, FileArray) else None
