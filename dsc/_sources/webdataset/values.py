"""What a file of a tar holds: from its bytes to the native array of its task.

Text, JSON and whatever is no array stay the bytes that they are. Pickles are never loaded.
"""

import io
import json
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._files.formats.single_array import read_one
from dsc._schemas import SHAPED, VECTORS, Task, TaskKind
from dsc._sources.meaning.decode import UNCHANGED, Conversion, read_array
from dsc._sources.meaning.endings import JSON_ENDINGS
from dsc.errors import SampleError

_WHOLE = re.compile(r"[+-]?\d+")


def read_value(
    data: bytes, task: Task, ending: str, where: str, conversion: Conversion = UNCHANGED
) -> NDArray[Any]:
    """Return the native array of a file.

    Parameters
    ----------
    ending
        Of the file: what is no map is read by it.
    where
        Sample and file, for messages.

    Raises
    ------
    SampleError
        When it is damaged, or not what its task holds.
    """
    if task.is_map:
        return read_array(data, task, where, conversion)
    try:
        return task.to_native(data if task.is_blob else parse(data, task.kind, ending, where))
    except (ValueError, OverflowError, RecursionError) as error:
        raise SampleError(
            f"{where}: not the {task.kind.value} that task {task.name} holds ({error}); "
            f"--kinds {task.name}=bytes keeps files as they are"
        ) from None


def parse(data: bytes, kind: TaskKind, ending: str, where: str) -> Any:
    """Return the numbers of a file: of ``.npy`` an array, of JSON its value, else of its text.

    Raises
    ------
    ValueError
        When there are none.
    SampleError
        When text is no matrix.
    """
    last = ending.rpartition(".")[2].lower()
    if last == "npy":
        return load_npy(data)
    if last in JSON_ENDINGS:
        return json.loads(data)
    text = data.decode().strip()
    if kind in (*VECTORS, *SHAPED):
        found = read_one(data, where)
        return found.ravel() if kind in VECTORS else found
    if _WHOLE.fullmatch(text):
        return int(text)
    return text if kind is TaskKind.TIME else float(text)


def load_npy(data: bytes) -> NDArray[Any]:
    """Return the array of a ``.npy`` file in the machine's byte order.

    Raises
    ------
    ValueError
        When it is none, is cut, or holds objects.
    """
    if not data.startswith(b"\x93NUMPY"):
        raise ValueError("no .npy file")
    try:
        found: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    except (EOFError, OSError, SyntaxError, TypeError) as error:
        raise ValueError(f"a damaged .npy file: {error}") from None
    return np.asarray(found, found.dtype.newbyteorder("="), order="C")


def npy_bytes(array: NDArray[Any]) -> bytes:
    """Return the ``.npy`` file of an array, as `numpy.save` writes it."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def whole_bytes(number: int) -> bytes:
    """Return the text of a whole number, as webdataset writes it."""
    return str(number).encode()
