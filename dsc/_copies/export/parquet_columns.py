"""From native arrays of tasks to columns of Parquet that the `datasets` library understands.

A task that was a column of rows becomes that column again: name, type and feature. Every other gets
those of its kind:

| task | column |
| --- | --- |
| maps of 8 or 16 bits, one or three channels | `Image`: bytes of a PNG, or a kept JPEG; its path |
| other maps | lists of lists |
| class | `ClassLabel` with its names, or whole numbers |
| scalar | numbers |
| time | moments in nanoseconds, UTC |
| vector, matrix | lists of one length, or `Array2D` to `Array5D` where shapes are fixed |
| text, json | text |
| bytes | `Audio`, `Video` or `Image` by media type, or binary |
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._copies.export.files import file_bytes
from dsc._schemas import SHAPED, VECTORS, Manifest, Task, TaskKind
from dsc._schemas.from_file import file_of
from dsc._sources.rows.arrow import (
    Known,
    arrow,
    from_json,
    is_binary,
    is_file,
    is_list,
    is_number,
    is_text,
    plain_type,
    read_column,
)
from dsc._sources.rows.cells import ns_of
from dsc._sources.rows.look import depth_of, leaf_of
from dsc.errors import CorruptArchiveError

PNG_TYPES = ("uint8", "uint16")
FEATURES_OF_MEDIA = {"audio": "Audio", "video": "Video", "image": "Image"}
ARRAY_AXES = range(2, 6)  # of Array2D to Array5D
Cell = Callable[[NDArray[Any], str | None], Any]


@dataclass(frozen=True)
class OutColumn:
    """A column that is written.

    Attributes
    ----------
    field
        Its name and type.
    feature
        What `datasets` calls it; None where it has no name for it.
    cell
        Makes a cell of a native array and the path that the source had.
    """

    task: Task
    field: Any
    feature: Any
    cell: Cell

    def array(self, values: Sequence[Any]) -> Any:
        """Return cells as an array of the column's type."""
        pa = arrow()
        kind = self.field.type
        found = pa.array(values, plain_type(kind))
        if isinstance(kind, pa.BaseExtensionType):
            return pa.ExtensionArray.from_storage(kind, found.cast(kind.storage_type))
        return found if found.type == kind else found.cast(kind)


def out_columns(manifest: Manifest, tasks: Sequence[Task]) -> list[OutColumn]:
    """Return the columns of tasks, in their order; no two have one name.

    Raises
    ------
    CorruptArchiveError
        When what the archive says of a column is none.
    """
    spelt = _spelt(manifest)
    found: list[OutColumn] = []
    for task in tasks:
        known = spelt.get(task.name)
        column = None if known is None else _as_it_was(task, known)
        found.append(_by_kind(task) if column is None else column)
    taken: set[str] = set()
    return [_renamed(column, taken) for column in found]


def _renamed(column: OutColumn, taken: set[str]) -> OutColumn:
    name, n = column.field.name, 2
    while name in taken:
        name, n = f"{column.field.name}_{n}", n + 1
    taken.add(name)
    field = column.field.with_name(name)
    return OutColumn(column.task, field, column.feature, column.cell)


def _spelt(manifest: Manifest) -> dict[str, Known]:
    """Return what columns were, where all that were added to an archive agree."""
    reports = [manifest.source_report, *(one.source_report for one in manifest.appended)]
    texts: dict[str, str | None] = {}
    for report in reports:
        for name, task in (report.tasks if report else {}).items():
            same = texts.setdefault(name, task.column) == task.column
            texts[name] = task.column if same else None
    found = {}
    for name, text in texts.items():
        if text:
            try:
                found[name] = read_column(text)
            except ValueError as error:
                raise CorruptArchiveError(f"dsc.json: task {name}: {error}") from None
    return found


# columns that were


def _as_it_was(task: Task, known: Known) -> OutColumn | None:
    """Return the column that a task was; None where it cannot be that again."""
    field, feature, first = known
    kind = plain_type(field.type)
    cell = _cell_of(task, kind, first)
    if cell is None:
        column = _by_kind(task)
        return OutColumn(task, column.field.with_name(field.name), column.feature, column.cell)
    return OutColumn(task, field, feature, cell)


def _cell_of(task: Task, kind: Any, first: bool = False) -> Cell | None:
    """Return what makes cells of a plain type; None where the task's values are none."""
    if arrow().types.is_null(kind):
        return lambda array, path: None
    if is_file(kind):
        return _struct_cell(task, kind.get_field_index("path") >= 0)
    makers = {TaskKind.JSON: _json_cell, TaskKind.TEXT: _text_cell, TaskKind.BYTES: _bytes_cell}
    if task.kind in makers:
        return makers[task.kind](kind)
    if is_list(kind):
        return _list_cell(task, kind, first) if is_number(leaf_of(kind)) else None
    if is_binary(kind):
        data = _file_maker(task)
        return lambda array, path: data(array)
    return None if task.is_map or array_like(task) else _number_cell(kind, task)


def _struct_cell(task: Task, has_path: bool) -> Cell:
    data = _file_maker(task)
    if not has_path:
        return lambda array, path: {"bytes": data(array)}
    return lambda array, path: {"bytes": data(array), "path": path}


def _bytes_cell(kind: Any) -> Cell | None:
    return (lambda array, path: array.tobytes()) if is_binary(kind) else None


def _file_maker(task: Task) -> Callable[[NDArray[Any]], bytes]:
    """Return what makes a file of a task's value: the kept one, PNG, ``.npy`` or the bytes."""
    if task.is_blob:
        return lambda array: array.tobytes()
    ending = "x.png" if _is_png(task) else "x.npy"
    return lambda array: file_of(array) or file_bytes(array, ending)


def _is_png(task: Task) -> bool:
    return task.is_map and task.dtype in PNG_TYPES and task.channels in (1, 3)


def _json_cell(kind: Any) -> Cell | None:
    if is_text(kind):
        return lambda array, path: array.tobytes().decode()
    return lambda array, path: from_json(json.loads(array.tobytes()), kind)


def _text_cell(kind: Any) -> Cell | None:
    if is_text(kind):
        return lambda array, path: array.tobytes().decode()
    if arrow().types.is_decimal(kind):
        return lambda array, path: Decimal(array.tobytes().decode())
    return None


def _list_cell(task: Task, kind: Any, first: bool = False) -> Cell:
    depth, leaf = depth_of(kind), leaf_of(kind)
    physical = task.is_map and arrow().types.is_floating(leaf)

    def cell(array: NDArray[Any], path: str | None) -> Any:
        found = task.to_physical(array) if physical else array
        if task.is_map and found.ndim == depth - 1:  # one channel, which had an axis
            found = found[..., None]
        if first:
            found = np.moveaxis(found, -1, 0)
        if arrow().types.is_boolean(leaf):
            found = found.astype(bool)
        return found.tolist()

    return cell


def _number_cell(kind: Any, task: Task) -> Cell | None:
    types = arrow().types
    if types.is_temporal(kind):
        factor = ns_of(kind) if task.kind is TaskKind.TIME else 1
        return lambda array, path: int(array) // factor
    if types.is_boolean(kind):
        return lambda array, path: bool(array)
    if types.is_float16(kind):
        return lambda array, path: np.float16(array)
    return (lambda array, path: array.item()) if is_number(kind) else None


def array_like(task: Task) -> bool:
    """Tell whether a task that is no map has more than one number."""
    return task.kind in (*VECTORS, *SHAPED)


# columns by kind


def _by_kind(task: Task) -> OutColumn:
    kind, feature, cell = _told(task)
    return OutColumn(task, _field(task.name, kind, feature), feature, cell)


def _field(name: str, kind: Any, feature: Any) -> Any:
    """Return a field; of `Array2D` and so on, one that `datasets` knows again."""
    noted = str(feature.get("_type", ""))
    if not noted.startswith("Array"):
        return arrow().field(name, kind)
    own = json.dumps([feature["shape"], feature["dtype"]])
    of = f"datasets.features.features.{noted}ExtensionType"
    metadata = {"ARROW:extension:name": of, "ARROW:extension:metadata": own}
    return arrow().field(name, kind, metadata=metadata)


def _told(task: Task) -> tuple[Any, Any, Cell]:
    """Return type, feature and cells of a task by its kind."""
    pa = arrow()
    file_kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    media = FEATURES_OF_MEDIA.get((task.media_type or "").partition("/")[0])
    if _is_png(task) or media:
        return file_kind, {"_type": media or "Image"}, _struct_cell(task, True)
    if task.kind is TaskKind.BYTES:
        return pa.binary(), value("binary"), lambda array, path: array.tobytes()
    if task.is_blob:
        return pa.string(), value("string"), lambda array, path: array.tobytes().decode()
    if task.kind is TaskKind.TIME:
        moments = pa.timestamp("ns", "UTC")
        return moments, value(str(moments)), _known(_number_cell(moments, task))
    leaf = pa.from_numpy_dtype(np.dtype(task.dtype))
    if task.is_map or array_like(task):
        return _told_lists(task, leaf)
    if task.kind is TaskKind.CLASS and task.classes and task.dtype == "int64":
        feature: Any = {"_type": "ClassLabel", "names": list(task.classes)}
    else:
        feature = value(dtype_name(leaf))
    return leaf, feature, _known(_number_cell(leaf, task))


def _told_lists(task: Task, leaf: Any) -> tuple[Any, Any, Cell]:
    pa = arrow()
    shape = (-1,) * (3 if task.channels > 1 else 2) if task.is_map else task.value_shape
    kind, feature = leaf, dict[str, Any](value(dtype_name(leaf)))
    for _ in shape:
        kind, feature = pa.list_(kind), {"_type": "Sequence", "feature": feature}
    if len(shape) == 1 and shape[0] > 0:
        kind, feature["length"] = pa.list_(leaf, shape[0]), shape[0]
    if len(shape) in ARRAY_AXES and -1 not in shape[1:]:
        own = [None if length < 0 else length for length in shape]
        feature = {"_type": f"Array{len(shape)}D", "shape": own, "dtype": dtype_name(leaf)}
    return kind, feature, _list_cell(task, kind)


def _known(cell: Cell | None) -> Cell:
    if cell is None:
        raise ValueError("no cells of this type")
    return cell


def value(dtype: str) -> dict[str, str]:
    """Return the feature of plain values."""
    return {"_type": "Value", "dtype": dtype}


def dtype_name(kind: Any) -> str:
    """Return what `datasets` calls a type of numbers."""
    return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(
        str(kind), str(kind)
    )


def feature_of(kind: Any) -> Any:
    """Return the feature of a type that nothing is noted of; None where there is none."""
    pa = arrow()
    types = pa.types
    if types.is_struct(kind):
        if is_file(kind):
            return {"_type": "Image"}
        inner = {kind.field(i).name: feature_of(kind.field(i).type) for i in range(kind.num_fields)}
        return None if None in inner.values() else inner
    if is_list(kind):
        own = feature_of(kind.value_type)
        length = kind.list_size if types.is_fixed_size_list(kind) else -1
        return None if own is None else {"_type": "Sequence", "feature": own, "length": length}
    named = is_number(kind) or is_text(kind) or types.is_binary(kind) or types.is_temporal(kind)
    return value(dtype_name(kind)) if named or types.is_null(kind) else None


def features_of(columns: Sequence[OutColumn]) -> Mapping[str, Any] | None:
    """Return the features of all columns; None where `datasets` has no name for one."""
    found = {}
    for column in columns:
        feature = column.feature
        if feature is None:
            feature = feature_of(column.field.type)
        if feature is None:
            return None
        found[column.field.name] = feature
    return found
