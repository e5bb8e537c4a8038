"""What commands print: one JSON object on stdout, or text for people; all else goes to stderr.

With ``--json``, stdout holds that one object and nothing else, also when the command fails. Neither
shows what follows the ``?`` of a URL: it is a signature, as a rule, and logs are read by others.
"""

import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from dsc._storage.files.place import redact

if TYPE_CHECKING:
    from rich.table import Table

JSON_WANTED = "dsc.json"
LOG_COLUMNS = 400


def emit(as_json: bool, value: Mapping[str, Any], show: Callable[[], None]) -> None:
    """Print `value` as JSON, or call `show`, which prints it for people."""
    if as_json:
        print_json(value)
    else:
        show()


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout; a number that JSON does not know becomes null."""
    print(json.dumps(_plain(value), indent=1), flush=True)


def say(text: str) -> None:
    """Print a line for people on stdout."""
    print(redact(text), flush=True)


def note(text: str) -> None:
    """Print a line for people on stderr."""
    print(redact(text), file=sys.stderr, flush=True)


def show_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, total: bool = False
) -> None:
    """Print a table on stdout: the first column to the left, numbers to the right.

    Parameters
    ----------
    total
        Whether the last row is a sum, set apart by a line.
    """
    _print_table(_table(columns, rows, total), to_stderr=False)


def columns() -> int:
    """Return the width of the terminal on stderr; a log or a pipe has none, and gets wide lines."""
    return shutil.get_terminal_size().columns if sys.stderr.isatty() else LOG_COLUMNS


def table_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how many columns of a terminal a table takes."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    return sum(widths) + 3 * len(widths) + 1


def note_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of texts on stderr."""
    _print_table(_table(columns, rows, total=False, numbers=False), to_stderr=True)


def _print_table(table: "Table", to_stderr: bool) -> None:
    from rich.console import Console

    plain = partial(Console, highlight=False, markup=False, emoji=False, stderr=to_stderr)
    console = plain()
    if not console.is_terminal:  # a log or a pipe has no width: nothing must be folded for it
        console = plain(width=LOG_COLUMNS)
    console.print(table)


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], total: bool, numbers: bool = True
) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at and numbers else "left", overflow="fold")
    for at, row in enumerate(rows):
        if total and at == len(rows) - 1:
            table.add_section()
        table.add_row(*(Text(cell) for cell in row))
    return table


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return redact(value)
    return value
