"""Types of Arrow: what they hold, and values of any type as JSON and back, without loss.

Numbers, text, booleans, lists and structs are what JSON has; a map is a list of pairs; moments,
dates and decimals are text, times of day and durations whole counts, and binary is base64. What a
column was is kept beside its task (`spell_column`), so that an export makes it again.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from dsc._extras import needing

HUGGINGFACE, FIRST = b"huggingface", b"dsc channels first"


def arrow() -> Any:
    """Return pyarrow.

    Raises
    ------
    MissingPackageError
        When it is not installed.
    """
    with needing("pyarrow", "reading rows of Parquet, Arrow or a table"):
        import pyarrow as pa
        import pyarrow.compute  # an attribute of it, from then on
    return pa


def is_list(kind: Any) -> bool:
    """Tell whether values of a type are lists, of any length or of one."""
    types = arrow().types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def is_number(kind: Any) -> bool:
    """Tell whether values of a type are numbers that NumPy has, or truth values."""
    types = arrow().types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def is_text(kind: Any) -> bool:
    """Tell whether values of a type are text."""
    types = arrow().types
    return bool(types.is_string(kind) or types.is_large_string(kind))


def is_binary(kind: Any) -> bool:
    """Tell whether values of a type are bytes."""
    types = arrow().types
    return bool(
        types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    )


def is_file(kind: Any) -> bool:
    """Tell whether a type is that of files in a column: a struct of bytes and path."""
    types = arrow().types
    if not types.is_struct(kind) or kind.num_fields not in (1, 2):
        return False
    fields = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
    own = "bytes" in fields and (is_binary(fields["bytes"]) or types.is_null(fields["bytes"]))
    path = fields.get("path", arrow().null())
    return own and len(fields) <= 1 + ("path" in fields) and (is_text(path) or types.is_null(path))


def plain_type(kind: Any) -> Any:
    """Return a type without extensions, dictionaries, run ends and views, at any depth."""
    pa = arrow()
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return pa.string() if types.is_string_view(kind) else pa.binary()
    return _plain_nested(kind)


def _plain_nested(kind: Any) -> Any:
    pa = arrow()
    types = pa.types
    if types.is_map(kind):
        return pa.map_(_plain_field(kind.key_field), _plain_field(kind.item_field))
    if types.is_struct(kind):
        return pa.struct([_plain_field(kind.field(i)) for i in range(kind.num_fields)])
    if types.is_fixed_size_list(kind):
        return pa.list_(_plain_field(kind.value_field), kind.list_size)
    if types.is_large_list(kind) or types.is_large_list_view(kind):
        return pa.large_list(_plain_field(kind.value_field))
    views = types.is_list(kind) or types.is_list_view(kind)
    return pa.list_(_plain_field(kind.value_field)) if views else kind


def _plain_field(field: Any) -> Any:
    return field.with_type(plain_type(field.type))


def plain(array: Any) -> Any:
    """Return an array of a column in its plain type."""
    pa = arrow()
    while True:
        if isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        elif pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        elif pa.types.is_run_end_encoded(array.type):
            array = pa.compute.run_end_decode(array)
        else:
            wanted = plain_type(array.type)
            return array if array.type == wanted else array.cast(wanted)


def combined(chunks: Any) -> Any:
    """Return one plain array of the chunks of a column."""
    pa = arrow()
    if isinstance(chunks, pa.ChunkedArray):
        parts = [plain(chunk) for chunk in chunks.chunks]
        if len(parts) == 1:
            return parts[0]
        return pa.concat_arrays(parts) if parts else pa.array([], plain_type(chunks.type))
    return plain(chunks)


def has_no_json(kind: Any) -> str | None:
    """Say why values of a plain type cannot be JSON; None when they can."""
    types = arrow().types
    if types.is_union(kind) or types.is_interval(kind):
        return f"{kind} values"
    if types.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        if len(set(names)) < len(names):
            return "a struct with two fields of one name"
        inner = [kind.field(i).type for i in range(kind.num_fields)]
    elif types.is_map(kind):
        inner = [kind.key_type, kind.item_type]
    else:
        inner = [kind.value_type] if is_list(kind) else []
    return next((why for one in inner if (why := has_no_json(one))), None)


def _is_json(kind: Any) -> bool:
    types = arrow().types
    if types.is_struct(kind):
        return all(_is_json(kind.field(i).type) for i in range(kind.num_fields))
    if is_list(kind):
        return _is_json(kind.value_type)
    return is_number(kind) or is_text(kind) or bool(types.is_null(kind))


def to_json(scalar: Any) -> Any:
    """Return the JSON value of a scalar of a plain type; see the module."""
    if not scalar.is_valid:
        return None
    kind, types = scalar.type, arrow().types
    if _is_json(kind):
        return scalar.as_py()
    if types.is_struct(kind):
        return {kind.field(i).name: to_json(scalar[i]) for i in range(kind.num_fields)}
    if types.is_map(kind):
        return [[to_json(one[0]), to_json(one[1])] for one in scalar.values]
    if is_list(kind):
        return [to_json(one) for one in scalar.values]
    return _leaf_to_json(scalar)


def _leaf_to_json(scalar: Any) -> Any:
    if is_binary(scalar.type):
        return base64.b64encode(scalar.as_py()).decode()
    return scalar.value if is_count(scalar.type) else text_of(scalar)


def is_count(kind: Any) -> bool:
    """Tell whether values of a type are no moments, but counts: times of day, durations."""
    types = arrow().types
    return bool(types.is_time(kind) or types.is_duration(kind))


def text_of(scalar: Any) -> str:
    """Spell a moment, date or decimal so that it can be read again."""
    pa, kind = arrow(), scalar.type
    if pa.types.is_decimal(kind):
        return str(scalar.as_py())
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        # an offset of hours and minutes is not all that zones once had
        scalar = scalar.cast(pa.timestamp(kind.unit, "UTC"))
    return str(scalar.cast(pa.string()).as_py())


def from_json(value: Any, kind: Any) -> Any:
    """Return what `pyarrow.array` takes for a value that `to_json` made of a plain type."""
    types = arrow().types
    if value is None:
        return None
    if types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return {one.name: from_json(value[one.name], one.type) for one in fields}
    if types.is_map(kind):
        return [(from_json(k, kind.key_type), from_json(v, kind.item_type)) for k, v in value]
    if is_list(kind):
        return [from_json(one, kind.value_type) for one in value]
    return leaf_from_json(value, kind)


def leaf_from_json(value: Any, kind: Any) -> Any:
    """Return what `pyarrow.array` takes for a value that is no list, struct or map."""
    pa = arrow()
    types = pa.types
    if is_binary(kind):
        return base64.b64decode(value, validate=True)
    if types.is_decimal(kind):
        return Decimal(value)
    if types.is_temporal(kind) and not is_count(kind):
        return pa.scalar(value).cast(kind).value
    return np.float16(value) if types.is_float16(kind) else value


def features_of(schema: Any) -> dict[str, Any]:
    """Return what the `datasets` library noted of a schema's columns, by name."""
    try:
        noted = json.loads((schema.metadata or {}).get(HUGGINGFACE, b"{}"))
        features = noted["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return dict(features) if isinstance(features, dict) else {}


def extension_only(field: Any) -> Any:
    """Return a field whose metadata say nothing but what extension its type is of.

    A type of extension that is not known in this process is so kept.
    """
    own = {k: v for k, v in (field.metadata or {}).items() if k.startswith(b"ARROW:extension:")}
    return field.with_metadata(own) if own else field.remove_metadata()


class Known(NamedTuple):
    """What a column was: its field, its feature or None, and whether channels came first."""

    field: Any
    feature: Any = None
    first: bool = False


def spell_column(known: Known) -> str:
    """Spell what a column is as text that `read_column` reads."""
    field = extension_only(known.field)
    metadata = {}
    if known.feature is not None:
        noted = {"info": {"features": {field.name: known.feature}}}
        metadata[HUGGINGFACE] = json.dumps(noted).encode()
    if known.first:
        metadata[FIRST] = b"1"
    schema = arrow().schema([field], metadata or None)
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def read_column(text: str) -> Known:
    """Return what `spell_column` spelt.

    Raises
    ------
    ValueError
        When it is none.
    """
    pa = arrow()
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True)))
        field = schema.field(0)
    except (pa.ArrowException, OSError, IndexError) as error:
        raise ValueError(f"no column: {error}") from None
    first = FIRST in (schema.metadata or {})
    return Known(field, features_of(schema).get(field.name), first)


def count_unit(text: str) -> str:
    """Return of what a column has whole counts, such as ``duration[ms]``; else nothing.

    Of moments these are counts only where nanoseconds do not reach.
    """
    if not text:
        return ""
    kind = read_column(text).field.type
    if arrow().types.is_timestamp(kind):
        return str(kind)
    return ", ".join(dict.fromkeys(str(leaf) for leaf in _leaves(kind) if is_count(leaf)))


def _leaves(kind: Any) -> Iterator[Any]:
    """Yield the types within a type that hold no other."""
    for n in range(kind.num_fields):
        yield from _leaves(kind.field(n).type)
    if not kind.num_fields:
        yield kind


def kind_of_feature(feature: Any) -> str:
    """Return what kind of feature it is, such as ``Image``; empty where nothing is noted."""
    return str(feature.get("_type", "")) if isinstance(feature, Mapping) else ""
