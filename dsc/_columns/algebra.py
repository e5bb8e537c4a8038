"""What can be done with columns, all samples at once: compared, searched, calculated with.

A comparison with what is not there is False, whatever the operator; values of two kinds differ.
"""

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._columns.column import (
    Column,
    Mask,
    NumberColumn,
    Plain,
    TableColumn,
    described,
    flag,
    named,
)
from dsc._schemas.values import native_time
from dsc.errors import UsageError

ORDERED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    **ORDERED,
}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
LISTED = 12  # names of classes that a message lists


# ---- truth


def truth(value: "Column | Plain", samples: int) -> Mask:
    """Return for which samples a condition holds, (n,).

    Raises
    ------
    UsageError
        When it is no condition.
    """
    if isinstance(value, bool):
        return np.full(samples, value)
    if isinstance(value, TableColumn) and value.what == "json":
        return value.flags(bool).values
    if (
        isinstance(value, NumberColumn)
        and value.what in ("flag", "number")
        and value.values.ndim == 1
    ):
        values = value.values
        true = values if values.dtype == bool else values != 0
        if values.dtype.kind == "f":
            true = true & ~np.isnan(values)
        return np.asarray(true, bool) & value.there
    raise UsageError(f"{described(value)}, and no condition: compare it with something")


def is_none(value: "Column | Plain", samples: int) -> NumberColumn:
    """Return which samples have no value."""
    if isinstance(value, NumberColumn | TableColumn):
        return flag(~value.there)
    return flag(np.full(samples, value is None))


# ---- comparisons


def compare(sign: str, left: "Column | Plain", right: "Column | Plain") -> "NumberColumn | bool":
    """Compare two things, of which either may be a column.

    Raises
    ------
    UsageError
        When they cannot be compared: text with a number, a whole array, an unknown class.
    """
    if isinstance(left, NumberColumn | TableColumn):
        return _compare_column(sign, left, right)
    if isinstance(right, NumberColumn | TableColumn):
        turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
        return _compare_column(turned.get(sign, sign), right, left)
    return compared(sign, left, right)


def compared(sign: str, left: Any, right: Any) -> bool:
    """Compare two values; of two kinds they differ, and none is more than the other."""
    alike = (_is_number(left) and _is_number(right)) or type(left) is type(right)
    if not alike:
        return sign == "!="
    try:
        return bool(COMPARISONS[sign](left, right))
    except (TypeError, ValueError):  # two objects of JSON, two arrays
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float)


def _compare_column(sign: str, left: Column, right: "Column | Plain") -> NumberColumn:
    if isinstance(right, tuple):
        raise UsageError(f"{described(left)}: compare it with one value, or with several by `in`")
    if isinstance(left, NumberColumn) and isinstance(right, NumberColumn):
        return _compare_arrays(sign, single(left), single(right).values, right.there)
    if isinstance(left, NumberColumn) and not isinstance(right, TableColumn):
        if isinstance(right, str):
            return _compare_with_text(sign, left, right)
        return _compare_arrays(sign, single(left), right, None)
    if isinstance(left, TableColumn) and not isinstance(right, NumberColumn | TableColumn):
        _check_comparable(left, right)
        return left.flags(lambda value: compared(sign, value, right))
    for one in (left, right):
        if isinstance(one, NumberColumn):
            single(one)
    first, second = _as_text(left, right), _as_text(right, left)
    _check_comparable(first, second)
    found = [
        there and compared(sign, first.value(k), second.value(k))
        for k, there in enumerate((first.there & second.there).tolist())
    ]
    return flag(np.array(found, bool))


def _as_text(value: Any, other: Any) -> Any:
    """Return the names of classes where they meet text."""
    if isinstance(value, NumberColumn) and value.has_names and isinstance(other, TableColumn):
        return named(value)
    return value


def _check_comparable(left: Any, right: Any) -> None:
    """Refuse text beside a number; what JSON holds is not known beforehand."""
    texts = [
        isinstance(v, str) or (isinstance(v, TableColumn) and v.what == "text")
        for v in (left, right)
    ]
    loose = [isinstance(v, TableColumn) and v.what == "json" for v in (left, right)]
    arrays = [isinstance(v, TableColumn) and v.what == "array" for v in (left, right)]
    if any(arrays):
        raise UsageError(f"{described(left if arrays[0] else right)}: name one element, as x[0]")
    if texts[0] != texts[1] and not any(loose):
        raise UsageError(f"{described(left)}, and {described(right)}: these cannot be compared")


def _compare_arrays(sign: str, left: NumberColumn, right: Any, there: Mask | None) -> NumberColumn:
    try:
        with np.errstate(all="ignore"):
            found = COMPARISONS[sign](*_alike(left.values, right))
    except OverflowError:
        raise UsageError(f"{left.name} cannot be compared with so large a number") from None
    both = left.there if there is None else left.there & there
    return flag(np.asarray(found, bool) & both)


def _alike(left: NDArray[Any], right: Any) -> tuple[Any, Any]:
    """Return two things such that NumPy compares them without rounding one.

    A literal with a point is rounded to a column's own floats, so that 0.1 is what float32 holds
    for it.
    """
    if _is_float(left) != _is_float(right):
        dtype = object if _largest(right if _is_float(left) else left) > 1 << 53 else np.float64
        return np.asarray(left).astype(dtype), np.asarray(right).astype(dtype)
    if isinstance(right, float) and np.isinf(left.dtype.type(right)) and np.isfinite(right):
        return left.astype(np.float64), right
    return left, right


def _is_float(value: Any) -> bool:
    return value.dtype.kind == "f" if isinstance(value, np.ndarray) else isinstance(value, float)


def _largest(value: Any) -> int:
    """Return the largest magnitude of some integers."""
    if not isinstance(value, np.ndarray):
        return abs(int(value))
    return max(abs(int(value.min())), abs(int(value.max()))) if value.size else 0


def _compare_with_text(sign: str, left: NumberColumn, text: str) -> NumberColumn:
    if left.what == "time":
        return _compare_arrays(sign, single(left), nanoseconds(text), None)
    if left.has_names:
        if sign in ORDERED:
            return named(left).flags(lambda value: compared(sign, value, text))
        return _compare_arrays(sign, single(left), class_number(left, text), None)
    raise UsageError(
        f"{described(left)}, and {text!r} is text: these cannot be compared"
        + ("; this archive has no names of its classes" if left.what == "class" else "")
    )


def class_number(column: NumberColumn, name: str) -> int:
    """Return the number of a class.

    Raises
    ------
    UsageError
        When there is none of this name; the message lists some that there are.
    """
    if name in column.classes:
        return column.classes.index(name)
    near = get_close_matches(name, column.classes, LISTED) or column.classes[:LISTED]
    more = "" if len(near) == len(column.classes) else f", of {len(column.classes)} in all"
    raise UsageError(f"{column.name} has no class {name!r}; found: {', '.join(near)}{more}")


def nanoseconds(text: str) -> int:
    """Return a time, ISO 8601, as nanoseconds since 1970-01-01; without a zone it is UTC.

    Raises
    ------
    UsageError
        When it is none.
    """
    try:
        if not re.match(r"\d{4}", text):  # NumPy knows "now", and an empty text, too
            raise ValueError
        return int(native_time(text))
    except ValueError:
        raise UsageError(f"{text!r} is no time; write it as '2024-05-01T12:30:00'") from None


def single(column: NumberColumn) -> NumberColumn:
    """Return a column of one number a sample.

    Raises
    ------
    UsageError
        When it is none.
    """
    if column.what == "map":
        raise UsageError(f"{described(column)}: only `{column.name} is None` can be asked of it")
    if column.what == "bytes":
        raise UsageError(
            f"{described(column)}: only len({column.name}) and `{column.name} is None` can be asked"
        )
    if column.values.ndim > 1:
        raise UsageError(f"{described(column)}: name one element, as {column.name or 'x'}[0]")
    return column


# ---- in


def contained(left: "Column | Plain", right: "Column | Plain", samples: int) -> NumberColumn:
    """Return for which samples a value is among others, or a text in a text.

    Raises
    ------
    UsageError
        When the right side holds nothing.
    """
    if isinstance(right, tuple):
        return _among(left, right, samples)
    if isinstance(right, NumberColumn) and right.has_names:
        right = named(right)
    if isinstance(right, TableColumn) and right.what in ("text", "json"):
        if not isinstance(left, NumberColumn | TableColumn):
            if right.what == "text" and not isinstance(left, str):
                raise UsageError(f"{described(right)}, which holds no {left!r}")
            return right.flags(lambda value: _holds(value, left))
        pairs = zip((left.there & right.there).tolist(), range(samples), strict=True)
        found = [ok and _holds(right.value(k), left.value(k)) for ok, k in pairs]
        return flag(np.array(found, bool))
    raise UsageError(f"{described(right)}: `in` looks into lists and text")


def _among(left: "Column | Plain", values: tuple[Any, ...], samples: int) -> NumberColumn:
    if not isinstance(left, NumberColumn | TableColumn):
        return flag(np.full(samples, any(compared("==", left, value) for value in values)))
    if isinstance(left, TableColumn):
        for value in values:
            _check_comparable(left, value)
        known = set(values)
        return left.flags(lambda v: v.__hash__ is not None and v in known)
    wanted = []
    for value in values:
        if isinstance(value, str) and left.has_names:
            wanted.append(class_number(left, value))
        elif isinstance(value, str) and left.what == "time":
            wanted.append(nanoseconds(value))
        elif isinstance(value, str) or value is None:
            raise UsageError(f"{described(left)}, and {value!r} is none: these cannot be compared")
        else:
            wanted.append(value)
    found = np.zeros(samples, bool)
    column = single(left)
    if all(isinstance(v, int) and abs(v) < 1 << 63 for v in wanted) and _is_integer(column):
        found = np.isin(column.values, np.array(wanted, np.int64))
    else:
        for value in wanted:
            found |= _compare_arrays("==", column, value, None).values
    return flag(found & column.there)


def _is_integer(column: NumberColumn) -> bool:
    return column.values.dtype.kind in "ib" or column.values.dtype in (
        np.uint8,
        np.uint16,
        np.uint32,
    )


def _holds(whole: Any, part: Any) -> bool:
    if isinstance(whole, str):
        return isinstance(part, str) and part in whole
    if isinstance(whole, dict):
        return isinstance(part, str) and part in whole
    return isinstance(whole, list) and any(compared("==", one, part) for one in whole)


# ---- arithmetic


def calculate(sign: str, left: "Column | Plain", right: "Column | Plain") -> "Column | Plain":
    """Calculate with two things, of which either may be a column.

    Integers are calculated with exactly, floats as float64. What is divided by 0 has no value.

    Raises
    ------
    UsageError
        When one of them is no number.
    """
    numbers = [_operand(sign, one) for one in (left, right)]
    there = [one.there for one in numbers if isinstance(one, NumberColumn)]
    first, second = (_wide(one.values) if isinstance(one, NumberColumn) else one for one in numbers)
    if not there:
        return _calculate_plain(sign, first, second)
    known = np.logical_and.reduce(there)
    if sign in ("/", "//", "%"):
        known = known & (np.asarray(second) != 0)
    with np.errstate(all="ignore"):
        if _is_float(first) or _is_float(second) or sign == "/":
            found = ARITHMETIC[sign](_floats(first), _floats(second))
        elif _reach(sign, first, second) < 1 << 63:
            found = ARITHMETIC[sign](first, second)
        else:
            found = _calculate_long(sign, first, second)
    return NumberColumn(np.broadcast_to(found, known.shape), known)


def _operand(sign: str, value: Any) -> "NumberColumn | int | float":
    """Return what can be calculated with."""
    if isinstance(value, TableColumn) and value.what == "json":
        return numbers_of(value)
    if isinstance(value, NumberColumn) and value.what in ("number", "flag", "time"):
        return single(value)
    if isinstance(value, bool | int | float):
        return value
    raise UsageError(f"{described(value)}: `{sign}` calculates with numbers")


def _calculate_plain(sign: str, left: Any, right: Any) -> Plain:
    try:
        found: Plain = ARITHMETIC[sign](left, right)
    except (ZeroDivisionError, OverflowError) as error:
        raise UsageError(f"{left!r} {sign} {right!r}: {error}") from None
    return found


def _wide(values: NDArray[Any]) -> NDArray[Any]:
    """Return integers as int64 and floats as float64, so that small ones do not run over."""
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    return values.astype(np.int64) if values.dtype.kind in "iub" and _fits(values) else values


def _fits(values: NDArray[Any]) -> bool:
    return values.dtype != np.uint64 or _largest(values) < 1 << 63


def _reach(sign: str, left: Any, right: Any) -> int:
    """Return what no operand and no result is larger than."""
    sizes = _largest(left), _largest(right)
    own = {"+": sizes[0] + sizes[1], "-": sizes[0] + sizes[1], "*": sizes[0] * sizes[1]}
    return max(*sizes, own.get(sign, 0))


def _calculate_long(sign: str, left: Any, right: Any) -> Any:
    """Calculate with integers that int64 does not hold, or whose result it may not hold."""
    first, second = (np.asarray(one).astype(object) for one in (left, right))
    if sign in ("//", "%"):
        second = np.where(second == 0, 1, second)
    found = np.asarray(ARITHMETIC[sign](first, second), object)
    return _integers(found)


def _integers(values: NDArray[Any]) -> NDArray[Any]:
    """Return Python's integers as int64 or uint64 where one of them holds all."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return values.astype(dtype)
    return values


def _floats(value: Any) -> NDArray[np.float64]:
    """Return numbers as float64; an integer that has none is infinite."""
    array = np.asarray(value)
    if array.dtype != object:
        return array.astype(np.float64)
    return np.array([_float(one) for one in array.ravel()], np.float64).reshape(array.shape)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def numbers_of(column: TableColumn) -> NumberColumn:
    """Return what is a number in JSON, as integers or float64; the rest has no value."""
    values = [value if _is_number(value) else 0 for value in column.table]
    if any(isinstance(value, float) for value in values):
        values = [value if isinstance(value, float) else _float(value) for value in values]
        table = np.array(values, np.float64)
    else:
        table = _integers(np.array(values, object))
    known = np.array([_is_number(value) for value in column.table], bool)
    there = column.there & known[column.codes]
    return NumberColumn(table[column.codes], there, "number", column.name)


def negative(value: "Column | Plain") -> "Column | Plain":
    """Return minus a number."""
    return calculate("-", 0, value)


def absolute(value: "Column | Plain") -> "Column | Plain":
    """Return a number without its sign."""
    found = calculate("+", 0, value)
    if isinstance(found, NumberColumn):
        values = found.values
        if values.dtype.kind != "f" and _largest(values) >= 1 << 63:
            return replace(found, values=_integers(np.abs(values.astype(object))))
        return replace(found, values=np.abs(values))
    return abs(found) if isinstance(found, int | float) else found


# ---- text, lists and what lies in them


def length(value: "Column | Plain") -> "Column | Plain":
    """Return how many letters a text has, values a list, bytes a file, rows an array."""
    if isinstance(value, str | tuple):
        return len(value)
    if isinstance(value, NumberColumn) and value.has_names:
        value = named(value)
    if isinstance(value, NumberColumn) and value.what == "bytes":
        return NumberColumn(value.values, value.there)
    if isinstance(value, NumberColumn) and value.values.ndim > 1:
        return NumberColumn(np.full(len(value), value.values.shape[1]), value.there)
    if isinstance(value, TableColumn):
        return numbers_of(value.mapped(_length, "json"))
    raise UsageError(f"{described(value)}: len is of text, lists and files")


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, str | list | dict) or np.ndim(value) else None


def textual(value: "Column | Plain", doing: str) -> "TableColumn | str":
    """Return text, or names of classes.

    Raises
    ------
    UsageError
        When it is something else.
    """
    if isinstance(value, NumberColumn) and value.has_names:
        return named(value)
    if isinstance(value, str) or (
        isinstance(value, TableColumn) and value.what in ("text", "json")
    ):
        return value
    raise UsageError(f"{described(value)}: {doing} is of text")


def tested(
    value: "Column | Plain", doing: str, test: Callable[[str], bool]
) -> "NumberColumn | bool":
    """Return for which samples a test of a text holds; it does not hold for what is no text."""
    found = textual(value, doing)
    if isinstance(found, str):
        return test(found)
    return found.flags(lambda one: isinstance(one, str) and test(one))


def change_text(value: "Column | Plain", doing: str, change: Callable[[str], str]) -> Any:
    """Return text, changed; what is no text has no value."""
    found = textual(value, doing)
    if isinstance(found, str):
        return change(found)
    return found.mapped(lambda one: change(one) if isinstance(one, str) else None, "text")


def element(value: "Column | Plain", at: Sequence[Any]) -> Column:
    """Return what lies at some places in a value: ``[0]``, ``[1, 2]`` or ``["name"]``.

    Raises
    ------
    UsageError
        When nothing can lie there.
    """
    if isinstance(value, TableColumn) and value.what == "json":
        found: Column = value
        for one in at:
            found = _inside(found, one)
        return found
    if isinstance(value, NumberColumn) and value.classes and value.values.ndim == 2:
        at = [class_number(value, one) if isinstance(one, str) else one for one in at]
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in at):
        raise UsageError(f"{described(value)}: only JSON has fields by name")
    if isinstance(value, TableColumn) and value.what == "array":
        return numbers_of(value.mapped(lambda array: _at(array, at), "json"))
    if (
        not isinstance(value, NumberColumn)
        or value.values.ndim <= len(at) - 1
        or value.values.ndim == 1
    ):
        raise UsageError(f"{described(value)}, which has no element {list(at)}")
    shape = value.values.shape[1:]
    if len(at) > len(shape) or any(
        not -size <= one < size for one, size in zip(at, shape, strict=False)
    ):
        raise UsageError(f"{described(value)}, which has no element {list(at)}")
    name = f"{value.name}[{', '.join(map(str, at))}]"
    return replace(value, values=value.values[(slice(None), *at)], name=name)


def _inside(value: Column, at: Any) -> Column:
    def get(one: Any) -> Any:
        if isinstance(one, dict):
            return one.get(at) if isinstance(at, str) else None
        fits = isinstance(one, list) and isinstance(at, int) and not isinstance(at, bool)
        return one[at] if fits and -len(one) <= at < len(one) else None

    if not isinstance(value, TableColumn):
        raise UsageError(f"{described(value)}, which holds nothing by name")
    found = value.mapped(get, "json")
    step = f".{at}" if isinstance(at, str) else f"[{at}]"
    return replace(found, name=f"{value.name}{step}")


def _at(array: Any, at: Sequence[int]) -> Any:
    try:
        found = array[tuple(at)]
    except (IndexError, TypeError):
        return None
    return found.item() if np.ndim(found) == 0 else None
