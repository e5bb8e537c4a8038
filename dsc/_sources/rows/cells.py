"""From a cell of a column to the value of its task."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Task
from dsc._sources.meaning.decide import Meaning
from dsc._sources.meaning.decode import fit_to_task, read_array
from dsc._sources.rows.arrow import arrow, is_list, text_of, to_json
from dsc.errors import SampleError

NS_OF = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1000, "ns": 1}
NS_OF_DAY = 86_400 * NS_OF["s"]


class Form(StrEnum):
    """How the values of a column are stored."""

    FILE = "file"  # bytes, or a path; a picture or any other file
    PATH = "path"  # text that is a path of a file
    NUMBER = "number"
    LISTS = "lists"  # of numbers, nested as an array's are
    COUNT = "count"  # of what has no number of its own: time of day, duration
    TIME = "time"
    TEXT = "text"
    SPELT = "spelt"  # as text: decimals
    JSON = "json"  # lists and structs
    JSON_TEXT = "json text"
    BYTES = "bytes"


@dataclass(frozen=True)
class Column:
    """A column, and the task that it is.

    Attributes
    ----------
    name
        As the source has it.
    spelt
        Name, type and feature, see `dsc._sources.rows.arrow.spell_column`.
    first
        Whether channels come first, (C, H, W).
    """

    name: str
    form: Form
    meaning: Meaning
    spelt: str = ""
    first: bool = False

    @property
    def task(self) -> Task:
        """The task."""
        return self.meaning.task


Load = Callable[[str], bytes]


def read_cell(
    column: Column, array: Any, at: int, where: str, load: Load
) -> tuple[Any, int] | None:
    """Return a cell's value and how many bytes it took; None where there is none.

    Parameters
    ----------
    array
        The column, of a plain type.
    where
        Sample, file, row and column, for messages.
    load
        Reads a file by the path that a cell names.

    Raises
    ------
    SampleError
        When it is damaged, or not what its task holds.
    OSError
        When a file cannot be read.
    """
    if not array[at].is_valid:
        return None
    if column.form in (Form.FILE, Form.PATH):
        try:
            data = file_of(array, at, load)
        except UnicodeDecodeError as error:
            raise SampleError(f"{where}: a path that is no UTF-8: {error}") from None
        return None if data is None else (_decoded(column, data, where), len(data))
    try:
        value = _value(column, array, at)
    except UnicodeDecodeError as error:
        raise SampleError(f"{where}: {_not_utf8(error)}") from None
    except (ValueError, arrow().ArrowException) as error:
        raise SampleError(f"{where}: {error}") from None
    if column.task.is_map:
        return fit_to_task(value, column.task, where, column.meaning.conversion), value.nbytes
    return value, value.nbytes


def _not_utf8(error: UnicodeDecodeError) -> str:
    """Say what of a text is no UTF-8: half of a UTF-16 pair, or another encoding."""
    odd = bytes(error.object[error.start : error.start + 3])
    if len(odd) == 3 and odd[0] == 0xED and odd[1] >= 0xA0:  # as escapes of JSON leave it
        code = 0xD000 | (odd[1] & 0x3F) << 6 | odd[2] & 0x3F
        return f"a lone surrogate, \\u{code:04x} at byte {error.start}, is no text"
    return (
        f"no UTF-8, byte 0x{odd[0]:02x} at place {error.start}: save the table as UTF-8, for "
        "example with `iconv -f latin1 -t utf-8`"
    )


def file_of(array: Any, at: int, load: Load) -> bytes | None:
    """Return the file in a cell: its bytes, or what lies at its path; None where there is none."""
    cell = array[at]
    if not arrow().types.is_struct(array.type):
        found = cell.as_py()
        return load(found) if isinstance(found, str) else found
    data, path = cell["bytes"].as_py(), path_of(array, at)
    if data is None and path:
        return load(path)
    return None if data is None else bytes(data)


def path_of(array: Any, at: int) -> str | None:
    """Return the path that a cell names beside its bytes, or instead of them."""
    cell, kind = array[at], array.type
    if not cell.is_valid:
        return None
    if not arrow().types.is_struct(kind):
        found = cell.as_py()
        return found if isinstance(found, str) else None
    named = kind.get_field_index("path")
    found = cell[named].as_py() if named >= 0 else None
    return found if isinstance(found, str) else None


def numbers_of(array: Any, at: int) -> NDArray[Any]:
    """Return a cell of lists of numbers as an array.

    Raises
    ------
    ValueError
        When rows of it differ in length, or a number is missing.
    """
    values, shape = array[at].values, [len(array[at].values)]
    while is_list(values.type):
        if values.null_count:
            raise ValueError("a list is missing")
        lengths = np.unique(arrow().compute.list_value_length(values).to_numpy(False))
        if len(lengths) > 1:
            raise ValueError(f"lists of {lengths[0]} and of {lengths[-1]} numbers in one array")
        shape.append(int(lengths[0]) if len(lengths) else 0)
        values = values.flatten()
    if values.null_count:
        raise ValueError("a number is missing")
    found = values.to_numpy(zero_copy_only=False)
    return np.asarray(found.astype(np.uint8) if found.dtype == bool else found).reshape(shape)


def _decoded(column: Column, data: bytes, where: str) -> Any:
    task = column.task
    if not task.is_blob:
        return read_array(data, task, where, column.meaning.conversion)
    try:
        return task.to_native(data)
    except ValueError as error:
        raise SampleError(f"{where}: {error}") from None


def _value(column: Column, array: Any, at: int) -> NDArray[Any]:
    form, cell = column.form, array[at]
    makers: dict[Form, Callable[[], NDArray[Any]]] = {
        Form.NUMBER: lambda: _number(array, at, column.task.dtype),
        Form.LISTS: lambda: _lists(column, array, at),
        Form.COUNT: lambda: np.array(count_of(cell), column.task.dtype),
        Form.TIME: lambda: np.array(nanoseconds(cell), np.int64),
        Form.TEXT: lambda: column.task.to_native(cell.as_py()),
        Form.SPELT: lambda: column.task.to_native(text_of(cell)),
        Form.JSON: lambda: column.task.to_native(to_json(cell)),
        Form.JSON_TEXT: lambda: column.task.to_native(cell.as_py().encode()),
        Form.BYTES: lambda: column.task.to_native(bytes(cell.as_py())),
    }
    return makers[form]()


def _number(array: Any, at: int, dtype: str) -> NDArray[Any]:
    return np.asarray(array.slice(at, 1).to_numpy(zero_copy_only=False)[0]).astype(dtype)


def _lists(column: Column, array: Any, at: int) -> NDArray[Any]:
    found = numbers_of(array, at)
    if column.task.is_map:
        return np.moveaxis(found, 0, -1) if column.first else found
    wanted = column.task.value_shape
    if not found.size and found.ndim == len(wanted):
        known = [got if want < 0 else want for got, want in zip(found.shape, wanted, strict=True)]
        found = found.reshape(known) if not np.prod(known) else found
    return column.task.to_native(found.astype(column.task.dtype, copy=False))


def count_of(cell: Any) -> int:
    """Return the whole number that a moment, date, time of day or duration is stored as."""
    pa = arrow()
    narrow = pa.types.is_date32(cell.type) or pa.types.is_time32(cell.type)
    return int(cell.cast(pa.int32() if narrow else pa.int64()).as_py())


def ns_of(kind: Any) -> int:
    """Return the nanoseconds of one count of a moment or date."""
    types = arrow().types
    if types.is_date32(kind):
        return NS_OF_DAY
    return NS_OF["ms"] if types.is_date64(kind) else NS_OF[kind.unit]


def nanoseconds(cell: Any) -> int:
    """Return the nanoseconds since 1970-01-01 UTC of a moment or date."""
    return count_of(cell) * ns_of(cell.type)
