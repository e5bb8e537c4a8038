"""Values of tasks that are no maps: between what people have, and the native arrays of archives.

Text, JSON and other files are the bytes that the source had, so that they come back to the byte;
numbers are arrays. Whatever cannot be turned without loss is refused.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dsc._schemas.kind import TaskKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]

NS = 1_000_000_000
ZONE = re.compile(r"(.*?)(Z|[+-]\d\d:?\d\d)?", re.DOTALL)


def blob_value(kind: TaskKind, data: bytes) -> Any:
    """Return what bytes stand for: a str, the value of JSON, or the bytes.

    Raises
    ------
    ValueError
        When they are no UTF-8 or no JSON.
    """
    if kind is TaskKind.BYTES:
        return data
    if kind is TaskKind.TEXT:
        return data.decode()
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def native_blob(kind: TaskKind, value: Any) -> "Array":
    """Return the bytes of text, JSON or a file, uint8 (N,).

    Raises
    ------
    ValueError
        When it is none; the message says what it is.
    """
    import numpy as np

    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 1:
        data = value.tobytes()
    elif isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
    elif kind is TaskKind.JSON:
        data = json_bytes(value)
    elif kind is TaskKind.TEXT and isinstance(value, str):
        data = _utf8(value)
    else:
        wanted = "text" if kind is TaskKind.TEXT else "bytes"
        raise ValueError(f"{wanted} expected, found {type(value).__name__} {_short(value)}")
    blob_value(kind, data)  # refused if it is no text, or no JSON
    return np.frombuffer(data, np.uint8)


def json_bytes(value: Any) -> bytes:
    """Write a value as JSON: UTF-8, without spaces; lone surrogates as escapes.

    Raises
    ------
    ValueError
        When there is no JSON for it, or an object has names that are no text.
    """
    try:
        _check_names(value)
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"no JSON: {error}") from None
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), default=_plain).encode()


def _check_names(value: Any) -> None:
    """Refuse names of objects that JSON would make text of, so that two might become one."""
    if isinstance(value, Mapping):
        odd = next((name for name in value if not isinstance(name, str)), None)
        if odd is not None or None in value:
            raise ValueError(f"no JSON: an object's names are text, {odd!r} is none")
    if isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            _check_names(one)


def native_numbers(value: Any, dtype: str, shape: Sequence[int]) -> "Array":
    """Return numbers as an array of a dtype.

    Parameters
    ----------
    shape
        Lengths of its axes; -1 where any will do.

    Raises
    ------
    ValueError
        When the shape is another, or a number would change.
    """
    import numpy as np

    try:
        found = np.asarray(value)
    except ValueError:
        raise ValueError(f"no array: rows differ in length in {_short(value)}") from None
    if found.dtype.kind not in "biuf":
        raise ValueError(f"numbers expected, found {type(value).__name__} {_short(value)}")
    fits = len(found.shape) == len(shape)
    if not fits or any(want not in (-1, got) for want, got in zip(shape, found.shape, strict=True)):
        wanted = "(" + ", ".join("any" if n < 0 else str(n) for n in shape) + ")"
        raise ValueError(f"shape {found.shape}, expected {wanted}")
    with np.errstate(invalid="ignore", over="ignore"):
        cast = found.astype(dtype, order="C")
        same = found == cast if dtype[0] != "f" else np.equal(found, cast) | _both_nan(found, cast)
    if not np.all(same) or (found.dtype.kind != cast.dtype.kind and not _is_safe(found, cast)):
        raise ValueError(f"{_short(value)} changes as {dtype}")
    return cast


def native_time(value: Any) -> "Array":
    """Return nanoseconds since 1970-01-01 UTC, int64, of a moment.

    Parameters
    ----------
    value
        Whole nanoseconds; a datetime or ISO 8601 text (UTC, where it names no zone); or NumPy's.

    Raises
    ------
    ValueError
        When it is no moment, or lies outside what int64 holds.
    """
    import numpy as np

    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        passed = aware - datetime(1970, 1, 1, tzinfo=UTC)
        whole = (passed.days * 86_400 + passed.seconds) * NS + passed.microseconds * 1000
        value = whole + getattr(value, "nanosecond", 0)  # of pandas
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            raise ValueError("no moment: NaT")
        nanoseconds = value.astype("datetime64[ns]")
        if nanoseconds.astype(value.dtype) != value:
            raise ValueError(f"{value} lies outside the years that nanoseconds reach")
        value = nanoseconds.astype(np.int64)
    try:
        return native_numbers(value, "int64", ())
    except (ValueError, OverflowError):
        raise ValueError(
            f"no moment: {_short(value)}; whole nanoseconds, a datetime or ISO 8601 text"
        ) from None


def _parsed(text: str) -> "np.datetime64":
    """Read ISO 8601 to the nanosecond, a zone included."""
    import numpy as np

    moment, zone = ZONE.fullmatch(text.strip()).groups()  # type: ignore[union-attr]
    try:
        found = np.datetime64(moment)
        shift = datetime.fromisoformat(f"2000-01-01T00:00{zone}").utcoffset() if zone else None
    except ValueError:
        raise ValueError(f"no moment: {_short(text)}") from None
    return found if not shift else found - np.timedelta64(shift // timedelta(seconds=1), "s")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"a lone surrogate, {text[error.start]!r} at letter {error.start}, is no text: UTF-8 "
            "cannot hold it; repair it, or store the field as bytes"
        ) from None


def _plain(value: Any) -> Any:
    """Return what JSON has for a number or array of NumPy's, or a moment."""
    import numpy as np

    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} {_short(value)} has no JSON")


def _both_nan(one: "Array", other: "Array") -> "NDArray[np.bool_]":
    import numpy as np

    if one.dtype.kind != "f":
        return np.zeros(one.shape, bool)
    both: NDArray[np.bool_] = np.isnan(one) & np.isnan(other)
    return both


def _is_safe(found: "Array", cast: "Array") -> bool:
    """Tell whether integers as floats, or floats as integers, are still the same numbers."""
    import numpy as np

    with np.errstate(invalid="ignore", over="ignore"):
        back = cast.astype(found.dtype)
    return bool(np.all((back == found) | _both_nan(found, back)))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
