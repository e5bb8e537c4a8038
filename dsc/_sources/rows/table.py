"""A table whose columns are paths of files and values: ``table``.

CSV, TSV, JSON lines or Parquet. A column of text is one of paths where files lie there; every other
column is a task of its values (`dsc._sources.rows.tables`, `dsc._sources.rows.forms`). A column
``split`` makes splits, ``key`` or ``id`` makes keys; so do names of several tables (train.csv,
test.csv).
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

from dsc._files.formats import can_read
from dsc._files.passed_over import printable
from dsc._files.tree import FileTree, nothing_found
from dsc._sources.keys import natural_order
from dsc._sources.meaning.decide import MAPS
from dsc._sources.rows.arrow import is_text
from dsc._sources.rows.cells import Form, path_of
from dsc._sources.rows.find import FoundFiles, RowFile, in_order, split_in
from dsc._sources.rows.groups import GroupReader, MemoryRows, Rows
from dsc._sources.rows.options import KEY, SPLIT, RowOptions
from dsc._sources.rows.source import RowSource, open_rows, schema_of
from dsc._sources.rows.tables import DELIMITERS, PARQUET, Cells, read_cells, strings, to_table
from dsc.errors import SampleError, UsageError

LOOKED_FOR = ("metadata.csv", "train.jsonl", "one .csv, .tsv, .jsonl or .parquet file")
USUAL_KEYS = (KEY, "id")
KEYED = "key_column"
FIRST_NAMES = ("metadata", "table", "index", "annotations", "data")
LOOKED_AT = 64  # cells of a column that tell whether it holds paths


class TableSource(RowSource):
    """The rows of a table, opened."""

    name: ClassVar[str] = "table"

    @classmethod
    def open(
        cls,
        root: str,
        depth_unit: object = None,
        kinds: object = None,
        file_unit: object = None,
        invalid: object = None,
        alpha: str | None = None,
        tasks: Sequence[str] | str | None = None,
        ignore: Sequence[str] | str = (),
        split: str | None = None,
        fields: object = None,
        key_column: str | None = None,
        files: str | None = None,
    ) -> Self:
        """Read the table; files that it names are not opened, but for a few.

        Parameters
        ----------
        root
            The table, or a directory that holds one, or one of each split.
        depth_unit, kinds, file_unit, invalid, alpha, tasks, ignore, split, fields, key_column
            As `HuggingfaceSource.open` takes them; a column of text whose stated kind is one of
            pictures holds paths.
        files
            Directory or URL that paths start from; by default the table's own.

        Raises
        ------
        SourceNotFoundError
            When there is no table.
        UsageError
            When it cannot be read (file and row are named), an option cannot be honoured, none of
            a column's files is there, or two rows have one key.
        """
        options = RowOptions.parse(
            depth_unit, kinds, file_unit, invalid, alpha, tasks, ignore, split, fields, key_column
        )
        found = _find(root, options)
        rows = _read(found)
        if not len(rows):
            raise UsageError(f"{found.tree.where(found.files[0].path)}: no row below the header")
        schema, _ = schema_of(rows, found.tree)
        options = _guessed(options, schema.names, key_column)
        tree = None if files is None else FileTree(files)
        options = replace(options, given={**(options.given or {}), "files": files})
        paths = _Paths(found.tree if tree is None else tree, rows, options)
        source: Self = open_rows(cls, root, found, rows, options, paths.holds, tree)
        return source

    def check(self, tasks: Sequence[str]) -> None:
        """Look whether every file that these tasks' rows name is there, where that is quick.

        Raises
        ------
        SampleError
            Naming the first row whose file is missing, and how many are.
        """
        if self._tree.local is None:
            return
        columns = [c for n, c in self._columns.items() if n in tasks and c.form is Form.PATH]
        for column in columns:
            missing = list[tuple[str, str]]()
            for group, array in self._rows.scan(column.name):
                for at in range(0 if array is None else len(array)):
                    path = _text_at(array, at)
                    if path and not os.path.isfile(self._tree.local / path):
                        missing.append((self._rows.where(group.first + at), path))
            if missing:
                where, path = missing[0]
                more = f", and {len(missing) - 1} more are missing" if len(missing) > 1 else ""
                raise SampleError(
                    f"{where}, column {column.name}: {printable(path)}: no such file under "
                    f"{self._tree.url}{more}; put it there, give --files DIR, or say --kinds "
                    f"{column.task.name}=text if these are no paths"
                )


def _text_at(array: Any, at: int) -> str | None:
    try:
        return path_of(array, at)
    except UnicodeDecodeError:
        return None  # reading the sample says so


def _find(root: str, options: RowOptions) -> FoundFiles:
    tree = FileTree(root)
    tree.require_root("table", root)
    if tree.is_file():
        directory, name = tree.parent()
        if not name.lower().endswith((*DELIMITERS, *PARQUET)):
            known = ", ".join((*DELIMITERS, *PARQUET))
            raise UsageError(f"{tree.url}: no table; its name ends with one of {known}")
        return FoundFiles(directory, (RowFile(name, split_in(name)),))
    at, names = next(tree.walk(), ("", list[str]()))
    names = [] if at else names
    tables = [
        name
        for name in sorted(names, key=natural_order)
        if name.lower().endswith((*DELIMITERS, *PARQUET)) and not options.tasks.ignores(name)
    ]
    first = [name for name in tables if name.rpartition(".")[0].lower() in FIRST_NAMES]
    if not tables:
        raise nothing_found("table", f"no table in {root}", LOOKED_FOR, tree)
    if len(tables) > 1 and len(first) == 1:
        tables = first
    if len(tables) > 1 and not all(map(split_in, tables)):
        raise UsageError(
            f"{tree.url}: several tables: {', '.join(tables[:8])}; give one of them as --root, or "
            "leave the others out with --ignore"
        )
    return FoundFiles(tree, tuple(in_order(RowFile(name, split_in(name)) for name in tables)))


def _read(found: FoundFiles) -> Rows:
    if all(one.path.lower().endswith(PARQUET) for one in found.files):
        return GroupReader(found.tree, found.files)
    cells = Cells()
    for one in found.files:
        if not one.path.lower().endswith(tuple(DELIMITERS)):
            raise UsageError(f"{found.tree.where(one.path)}: Parquet beside other tables")
        data = found.tree.read(one.path)
        read_cells(one.path, data, found.tree.where(one.path), cells)
    sizes = [(one.split, n) for one, n in zip(found.files, cells.rows, strict=True)]
    return MemoryRows(to_table(cells), cells.places, sizes)


def _guessed(options: RowOptions, columns: Sequence[str], key_column: str | None) -> RowOptions:
    """Take the columns split, key and id for what their names say, where nothing is stated."""
    lower = {name.lower(): name for name in reversed(columns)}
    stated = options.fields is not None
    if options.split_column is None and SPLIT in lower and not stated:
        options = replace(options, split_column=lower[SPLIT])
    if options.key_column is None and key_column is None:
        key = next((lower[name] for name in USUAL_KEYS if name in lower), None)
        options = replace(options, key_column=key, given={**(options.given or {}), KEYED: key})
    return options


class _Paths:
    """Tells which columns hold paths."""

    def __init__(self, tree: FileTree, rows: Rows, options: RowOptions) -> None:
        self._tree, self._rows, self._options = tree, rows, options

    def holds(self, column: str, task: str, kind: Any) -> bool:
        """Tell whether a column of text holds paths: files are there, or it is stated.

        Raises
        ------
        UsageError
            When they look like paths of pictures, and no file is there.
        """
        if not is_text(kind):
            return False
        stated = (self._options.tasks.kinds or {}).get(task)
        if stated is not None and stated in MAPS:
            return True
        some = [
            text
            for _, array in self._rows.scan(column)
            if array is not None
            for text in strings(array, LOOKED_AT)
        ][:LOOKED_AT]
        if stated == "text" or not some or any("\n" in text or len(text) > 1024 for text in some):
            return False
        if any(self._is_there(text) for text in some):
            return True
        if all(can_read(text) and "://" not in text for text in some):
            raise UsageError(
                f"column {column}: no file {printable(some[0])} under {self._tree.url}, nor any "
                f"other that was looked for; say where paths start with --files DIR, or --kinds "
                f"{task}=text if these are no paths"
            )
        return False

    def _is_there(self, path: str) -> bool:
        if self._tree.local is not None:
            try:
                return os.path.isfile(self._tree.local / path)
            except ValueError:  # a zero byte
                return False
        try:
            self._tree.open(path).close()
        except (OSError, SampleError, ValueError):
            return False
        return True
