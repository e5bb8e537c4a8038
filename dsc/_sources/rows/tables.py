"""CSV, TSV and JSON lines as columns of Arrow: what a column holds is told from all of its cells.

Of CSV, empty cells are missing values. A column is whole numbers, numbers, true and false, moments
(ISO 8601, date and time) or JSON where every cell is that, and text else: a number whose digits
would change (``007``, ``1e400``, or more than 64 bits) is text. Of JSON lines, values are what they
are; a column of several kinds is JSON.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsc._schemas.values import json_bytes, native_time
from dsc._sources.rows.arrow import HUGGINGFACE, arrow, is_list, is_number
from dsc._sources.rows.look import leaf_of
from dsc.errors import UsageError

DELIMITERS = {".csv": ",", ".tsv": "\t", ".jsonl": "", ".ndjson": ""}
OTHER_DELIMITERS = {
    ",": "call the table .csv",
    "\t": "call the table .tsv",
    ";": "save the table with commas",
    "|": "save the table with commas",
}
PARQUET = (".parquet", ".pq", ".arrow", ".feather")
MOST_DIGITS = 18
_WHOLE = re.compile(r"0|-?[1-9]\d*")
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|nan)", re.IGNORECASE)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?")
_BOOL = {"true": True, "false": False}
_NO_NUMBER = re.compile(r"[+-]?0\d")


@dataclass
class Cells:
    """The cells of tables, column by column, before anything is made of them.

    Attributes
    ----------
    columns
        By name, in order of first appearance; None where a row has nothing.
    places
        What each row is called in messages: its number in the file, the header being row 1; of
        JSON lines its line.
    rows
        How many each file has.
    is_json
        Whether values are JSON's and not text.
    """

    columns: dict[str, list[Any]] = field(default_factory=dict)
    places: list[tuple[str, int]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    is_json: bool = False

    def add(self, path: str, place: int, row: dict[str, Any]) -> None:
        """Add a row."""
        for name in row:
            if name not in self.columns:
                self.columns[name] = [None] * len(self.places)
        for name, column in self.columns.items():
            column.append(row.get(name))
        self.places.append((path, place))


def read_cells(path: str, data: bytes, where: str, cells: Cells) -> None:
    """Add the rows of a CSV, TSV or JSON lines file.

    Raises
    ------
    UsageError
        When the file is none; names file and row.
    """
    before = len(cells.places)
    ending = f".{path.lower().rpartition('.')[2]}"
    if DELIMITERS[ending]:
        _read_csv(path, data, where, DELIMITERS[ending], cells)
    else:
        _read_lines(path, data, where, cells)
    cells.rows.append(len(cells.places) - before)


def _read_csv(path: str, data: bytes, where: str, delimiter: str, cells: Cells) -> None:
    # bytes that are no UTF-8 stay in their cells: reading such a sample names row and column
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    csv.field_size_limit(max(csv.field_size_limit(), len(data) + 1))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    number = 0
    try:
        for number, row in enumerate(reader, 1):
            if not header:
                _check_delimiter(row, where, delimiter)
                header = _checked_header(row, where)
            elif row:
                if len(row) != len(header):
                    raise UsageError(
                        f"{where}: row {number} has {len(row)} cells, the header {len(header)}; "
                        "put cells with commas or line breaks into quotes"
                    )
                values = [value if value != "" else None for value in row]
                cells.add(path, number, dict(zip(header, values, strict=True)))
    except csv.Error as error:
        raise UsageError(f"{where}: row {number + 1}: {error}; check its quotes") from None
    if not header:
        raise UsageError(f"{where}: empty; the first row names the columns")


def _checked_header(row: Sequence[str], where: str) -> list[str]:
    names = [name.strip() for name in row]
    for name in names:
        if not name or names.count(name) > 1:
            what = "a column without a name" if not name else f"two columns called {name!r}"
            raise UsageError(f"{where}: row 1 has {what}; the first row names the columns")
        if not _is_utf8(name):
            raise UsageError(f"{where}: row 1: {name!r} is no UTF-8; save the table as UTF-8")
    return names


def _check_delimiter(row: Sequence[str], where: str, delimiter: str) -> None:
    """Refuse a header that is one name only because other signs part its columns."""
    for other, says in OTHER_DELIMITERS.items():
        if len(row) == 1 and other != delimiter and other in row[0]:
            raise UsageError(
                f"{where}: row 1, {row[0]!r}, has one column by {delimiter!r} and several by "
                f"{other!r}; {says}"
            )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_lines(path: str, data: bytes, where: str, cells: Cells) -> None:
    cells.is_json = True
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(
                line.decode("utf-8", "surrogateescape"),
                parse_float=_json_float,
                object_pairs_hook=_json_object,
            )
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{where}: line {number}: no JSON ({error})") from None
        if not isinstance(row, dict):
            raise UsageError(f"{where}: line {number}: an object expected, one a line")
        if not all(map(_is_utf8, row)):
            raise UsageError(f"{where}: line {number}: a name that is no UTF-8")
        cells.add(path, number, row)


def _json_float(text: str) -> float:
    """Return a number of JSON.

    Raises
    ------
    ValueError
        When no float is near it.
    """
    number = float(text)
    if not _is_near(text, number):
        raise ValueError(f"{text} is beyond what a float holds; put it into quotes")
    return number


def _is_near(text: str, number: float) -> bool:
    """Tell whether a float is the number of a text rounded, and not what became of it far off."""
    if math.isinf(number):
        return "inf" in text.lower()
    digits = text.lower().partition("e")[0]
    return number != 0 or not digits.strip("+-.0")


def _json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON.

    Raises
    ------
    ValueError
        When it has a name twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the name {twice!r} twice")
    return found


def to_table(cells: Cells) -> Any:
    """Make a table of Arrow of cells; columns of JSON text are noted as such."""
    pa = arrow()
    fields, arrays, noted = [], [], {}
    for name, values in cells.columns.items():
        array, is_json = _typed(values) if cells.is_json else _told(values)
        fields.append(pa.field(name, array.type))
        arrays.append(array)
        if is_json:
            noted[name] = {"_type": "Json"}
    metadata = {HUGGINGFACE: json.dumps({"info": {"features": noted}}).encode()}
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata))


def _told(values: Sequence[str | None]) -> tuple[Any, bool]:
    """Return a column of CSV as what all of its cells are, and whether it is text of JSON."""
    pa = arrow()
    known = [value for value in values if value is not None]
    makers: tuple[tuple[Callable[[str], bool], Any, Callable[[str], Any]], ...] = (
        (_is_whole, pa.int64(), int),
        (_is_number, pa.float64(), float),
        (lambda value: value.lower() in _BOOL, pa.bool_(), lambda value: _BOOL[value.lower()]),
    )
    if known:
        for fits, kind, make in makers:
            if all(map(fits, known)):
                made = [None if value is None else make(value) for value in values]
                return pa.array(made, kind), False
        moments = _moments(values, known)
        if moments is not None:
            return moments, False
        parsed = _parsed(values, known)
        if parsed is not None:
            return _typed(parsed, values)
    return _text(values), False


def _is_whole(value: str) -> bool:
    return bool(_WHOLE.fullmatch(value)) and len(value) <= MOST_DIGITS


def _is_number(value: str) -> bool:
    """Tell whether a cell is a number that a float holds, as far as its digits go."""
    if not _NUMBER.fullmatch(value) or _NO_NUMBER.match(value):
        return False
    if sum(map(str.isdigit, value)) >= MOST_DIGITS:
        return False
    number = float(value)
    is_whole = value.lstrip("+-").isdigit()  # such as ids, which are no others when rounded
    return _is_near(value, number) and (not is_whole or int(value) == number)


def _moments(values: Sequence[str | None], known: Sequence[str]) -> Any:
    pa = arrow()
    if not all(map(_MOMENT.fullmatch, known)):
        return None
    zones = {bool(match and match[3]) for match in map(_MOMENT.fullmatch, known)}
    if len(zones) > 1:
        return None  # with and without a zone: as they stand
    try:
        made = [None if value is None else int(native_time(value)) for value in values]
    except ValueError:
        return None
    return pa.array(made, pa.timestamp("ns", "UTC" if zones == {True} else None))


def _parsed(values: Sequence[str | None], known: Sequence[str]) -> list[Any] | None:
    """Return cells as JSON, where all of them are lists or objects."""
    if not all(value.lstrip()[:1] in ("[", "{") for value in known):
        return None
    try:
        return [
            None if value is None else json.loads(value, parse_float=_json_float)
            for value in values
        ]
    except (ValueError, RecursionError):
        return None


def _typed(values: Sequence[Any], texts: Sequence[str | None] | None = None) -> tuple[Any, bool]:
    """Return a column of JSON's values, and whether it is text of JSON.

    Parameters
    ----------
    texts
        How the values are spelt, where they come from text.
    """
    pa = arrow()
    known = [value for value in values if value is not None]
    kinds = {type(value) for value in known}
    if kinds == {str}:
        moments = _moments(values, known)
        return (_text(values) if moments is None else moments), False
    if kinds and kinds <= {int, float} and _fits_double(known, kinds):
        return pa.array(values, pa.float64() if float in kinds else None), False
    if kinds in ({bool}, set()):
        return pa.array(values, pa.bool_() if kinds else pa.null()), False
    if kinds == {list}:
        try:
            found = pa.array(values)
        except (pa.ArrowException, OverflowError):
            found = None
        if found is not None and is_list(found.type) and is_number(leaf_of(found.type)):
            return found, False
    if texts is not None:
        return _text(texts), True
    return _text([None if value is None else json_bytes(value) for value in values]), True


def _fits_double(values: Sequence[Any], kinds: set[type]) -> bool:
    if float not in kinds:
        return all(-(2**63) <= value < 2**63 for value in values)
    return all(abs(value) <= 2**53 for value in values if isinstance(value, int))


def _text(values: Sequence[str | bytes | None]) -> Any:
    """Return a column of text; what is no UTF-8 stays in it as it is, and is found when read."""
    pa = arrow()
    data = [value if value is None else _bytes(value) for value in values]
    sizes = sum(len(value) for value in data if value)
    large = sizes > np.iinfo(np.int32).max
    kinds = (pa.large_binary(), pa.large_string()) if large else (pa.binary(), pa.string())
    return pa.array(data, kinds[0]).view(kinds[1])


def _bytes(value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")  # an escape of JSON: a lone surrogate


def strings(array: Any, most: int) -> Iterator[str]:
    """Yield some text of a column, spread over all of it; what is no UTF-8 is left out."""
    rows = np.unique(np.linspace(0, len(array) - 1, min(len(array), most)).astype(np.int64))
    for row in rows.tolist():
        try:
            value = array[row].as_py()
        except UnicodeDecodeError:
            continue
        if value is not None:
            yield value
