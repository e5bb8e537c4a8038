"""Rows of Parquet and Arrow files, read a row group (or record batch) at a time.

A row group is decoded column by column, and what was decoded last is kept, so that reading in order
decodes each once. Of a row group too large for that, a window of rows is decoded and slides on.
"""

import bisect
import hashlib
import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
from cachetools import LRUCache

from dsc._files.passed_over import printable
from dsc._files.remote import raise_failure
from dsc._files.tree import FileTree
from dsc._sources.rows.arrow import arrow, combined
from dsc._sources.rows.find import RowFile
from dsc.errors import SampleError, UsageError

KEPT_BYTES = 256 << 20  # of decoded columns
LARGEST_GROUP = 128 << 20  # bytes of one column's values in a row group that is decoded whole
WINDOW = 64  # rows of a larger one that are decoded at a time
OPEN_FILES = 16
MAGIC, ARROW_FILE = b"PAR1", b"ARROW1"
PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Group:
    """A row group of a file: its number there, its first row in all, how many rows it has."""

    file: int
    number: int
    first: int
    rows: int


@dataclass
class Counts:
    """How often columns of row groups were decoded; for tests and figures."""

    decoded: int = 0


class Opened(Protocol):
    """A file of rows, opened."""

    schema: Any
    rows: list[int]

    def read(self, number: int, columns: Sequence[str]) -> dict[str, Any]:
        """Decode columns of a row group: a plain array by name."""
        ...

    def windows(self, number: int, column: str, rows: int) -> Iterator[Any]:
        """Decode a column of a row group some rows at a time."""
        ...

    def size(self, number: int, column: str) -> int:
        """Return about how many bytes the values of a column take in a row group."""
        ...

    def nulls(self, number: int, column: str) -> int | None:
        """Return how many rows have no value, None where only reading tells."""
        ...

    def digest(self) -> str:
        """Return a text that differs where row groups do."""
        ...


@dataclass
class _Window:
    """The place in a large row group up to which a column was decoded."""

    rows: Iterator[Any]
    first: int = 0
    array: Any = None


@dataclass
class GroupReader:
    """Reads cells of rows; picklable, with files of its own in every process.

    Parameters
    ----------
    tree
        What the paths are below.
    files
        In order.
    """

    tree: FileTree
    files: Sequence[RowFile]
    groups: list[Group] = field(default_factory=list)
    schemas: list[Any] = field(default_factory=list)
    unsure: set[str] = field(default_factory=set)  # columns that may lack values
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._begin()
        if not self.groups:
            self._list()
        self._starts = [group.first for group in self.groups]
        self._first = {group.file: group.first for group in reversed(self.groups)}

    def _begin(self) -> None:
        self._open: OrderedDict[int, Opened] = OrderedDict()
        self._kept: LRUCache[tuple[int, str], Any] = LRUCache(KEPT_BYTES, _bytes_of)
        self._large: dict[tuple[int, str], bool] = {}
        self._windows: dict[str, tuple[int, _Window]] = {}
        self._failed: dict[tuple[int, str], str] = {}

    def __getstate__(self) -> dict[str, Any]:
        own = ("_open", "_kept", "_large", "_windows", "_failed")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.groups[-1].first + self.groups[-1].rows if self.groups else 0

    def _list(self) -> None:
        first, digests = 0, hashlib.sha256()
        for file, known in enumerate(self.files):
            opened = self.opened(file)
            self.schemas.append(opened.schema)
            digests.update(repr((known.path, known.split, opened.digest())).encode())
            for number, rows in enumerate(opened.rows):
                if rows:
                    self.groups.append(Group(file, number, first, rows))
                first += rows
            for name in opened.schema.names:
                if any(opened.nulls(number, name) != 0 for number in range(len(opened.rows))):
                    self.unsure.add(name)
        names = {name for schema in self.schemas for name in schema.names}
        self.unsure |= {n for n in names if any(n not in one.names for one in self.schemas)}
        self._digest = digests.hexdigest()

    def rows_of_files(self) -> list[int]:
        """Return how many rows each file has."""
        counts = [0] * len(self.files)
        for group in self.groups:
            counts[group.file] += group.rows
        return counts

    def opened(self, file: int) -> Opened:
        """Return a file, opened; the ones used last stay open.

        Raises
        ------
        SampleError
            When it is damaged or no file of rows.
        """
        if file in self._open:
            self._open.move_to_end(file)
            return self._open[file]
        if len(self._open) >= OPEN_FILES:
            self._open.popitem(last=False)
        found = self._open[file] = _opened(self.tree, self.files[file].path)
        return found

    def group_of(self, row: int) -> int:
        """Return the number, in all, of the row group that holds a row."""
        return bisect.bisect_right(self._starts, row) - 1

    def where(self, row: int) -> str:
        """Name a row for people: its file, and its number there from 0."""
        group = self.groups[self.group_of(row)]
        return f"{printable(self.files[group.file].path)}: row {row - self._first[group.file]}"

    def cells(self, row: int, columns: Sequence[str]) -> dict[str, tuple[Any, int]]:
        """Read cells of a row: by column, a plain array and the place in it.

        A column that the row's file lacks is left out.

        Raises
        ------
        SampleError
            When the row group is damaged; names file, row group, rows and column.
        OSError
            When the file system or network fails.
        """
        at = self.group_of(row)
        group = self.groups[at]
        file = self.opened(group.file)
        known = [name for name in columns if name in file.schema.names]
        large = [name for name in known if self._is_large(at, name)]
        whole = self.arrays(at, [name for name in known if name not in large])
        found = {name: (array, row - group.first) for name, array in whole.items()}
        for name in large:
            found[name] = self._in_window(at, name, row - group.first)
        return found

    def arrays(self, at: int, columns: Sequence[str]) -> dict[str, Any]:
        """Return whole columns of a row group; see `cells`."""
        group = self.groups[at]
        found = {name: self._kept[at, name] for name in columns if (at, name) in self._kept}
        missing = [name for name in columns if name not in found]
        if not missing:
            return found
        for name in missing:
            if (at, name) in self._failed:
                raise SampleError(self._failed[at, name])
        file = self.opened(group.file)
        try:
            read = self._guarded(at, missing, lambda: file.read(group.number, missing))
        except SampleError:
            if len(missing) == 1:
                raise
            for name in missing:  # those that are whole are kept, the damaged one is named
                self.arrays(at, [name])
            raise
        self.counts.decoded += len(missing)
        for name, array in read.items():
            if array.nbytes < KEPT_BYTES:
                self._kept[at, name] = array
        return {**found, **read}

    def scan(self, column: str) -> Iterator[tuple[Group, Any]]:
        """Yield a column of every row group, or parts of large ones; nothing is kept of it."""
        for at, group in enumerate(self.groups):
            if column not in self.schemas[group.file].names:
                yield group, None
                continue
            if not self._is_large(at, column):
                yield group, self.arrays(at, [column])[column]
                continue
            first = group.first
            steps = self.opened(group.file).windows(group.number, column, WINDOW)
            while (part := self._next(at, column, steps)) is not None:
                yield Group(group.file, group.number, first, len(part)), part
                first += len(part)

    def _is_large(self, at: int, column: str) -> bool:
        if (at, column) not in self._large:
            group = self.groups[at]
            size = self.opened(group.file).size(group.number, column)
            self._large[at, column] = size > LARGEST_GROUP
        return self._large[at, column]

    def _in_window(self, at: int, column: str, row: int) -> tuple[Any, int]:
        own, window = self._windows.get(column, (-1, None))
        if own != at or window is None or row < window.first:
            group = self.groups[at]
            steps = self.opened(group.file).windows(group.number, column, WINDOW)
            window = _Window(steps)
            self._windows[column] = at, window
        while window.array is None or row >= window.first + len(window.array):
            window.first += 0 if window.array is None else len(window.array)
            window.array = self._next(at, column, window.rows)
            self.counts.decoded += 1
            if window.array is None:
                del self._windows[column]
                raise SampleError(f"{self._name(at, [column])}: fewer rows than it says")
        return window.array, row - window.first

    def _next(self, at: int, column: str, steps: Iterator[Any]) -> Any:
        try:
            return self._guarded(at, [column], lambda: next(steps, None))
        except SampleError:
            self._windows.pop(column, None)
            raise

    def _guarded(self, at: int, columns: Sequence[str], do: Callable[[], Any]) -> Any:
        try:
            return do()
        except (arrow().ArrowException, OSError, ValueError, MemoryError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            file = self.opened(self.groups[at].file)
            raise_failure(getattr(file, "source", None))
            text = f"{self._name(at, columns)}: {_short(error)}; the file is damaged: copy it again"
            if len(columns) == 1:
                self._failed[at, columns[0]] = text
            raise SampleError(text) from None

    def _name(self, at: int, columns: Sequence[str]) -> str:
        group = self.groups[at]
        first = self._first[group.file]
        rows = f"rows {group.first - first} to {group.first - first + group.rows - 1}"
        named = ", ".join(map(printable, columns))
        where = self.tree.where(self.files[group.file].path)
        return f"{where}: row group {group.number} ({rows}), column {named}"

    def digest(self) -> str:
        """Return a hash of the files' names, splits and row groups."""
        return self._digest


def _bytes_of(array: Any) -> int:
    return int(array.nbytes) + 1


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _opened(tree: FileTree, path: str) -> Opened:
    where = tree.where(path)
    try:
        source: Any = tree.open(path)
    except FileNotFoundError:
        raise SampleError(f"{where}: gone since the directory was listed; put it back") from None
    head = MAGIC  # of a remote file, looking would be a request
    if not path.lower().endswith(PARQUET):
        head = source.read(len(ARROW_FILE))
        source.seek(0)
    try:
        if head.startswith(MAGIC):
            return ParquetRows(tree, path, source)
        return ArrowRows(tree, path, head == ARROW_FILE)
    except (arrow().ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise_failure(source)
        raise SampleError(
            f"{where}: not a whole Parquet or Arrow file ({_short(error)}); copy it again"
        ) from None


class ParquetRows:
    """A Parquet file."""

    def __init__(self, tree: FileTree, path: str, source: Any) -> None:
        from pyarrow import parquet

        self.source = source if tree.local is None else None
        if tree.local is not None:
            source.close()
            source = str(tree.local / path)
        # checksums of pages are looked at, where a file has them
        self._file = parquet.ParquetFile(source, page_checksum_verification=True)
        self._metadata = self._file.metadata
        self.schema = self._file.schema_arrow
        check_names(self.schema, tree.where(path))
        self.rows: list[int] = [
            self._metadata.row_group(n).num_rows for n in range(self._metadata.num_row_groups)
        ]
        self._paths: list[str] | None = None
        ends = [*accumulate(_leaves(column.type) for column in self.schema)]
        self._leaves = {
            name: range(start, end)
            for name, start, end in zip(self.schema.names, [0, *ends], ends, strict=False)
        }

    def read(self, number: int, columns: Sequence[str]) -> dict[str, Any]:
        """Decode columns of a row group."""
        found = self._file.read_row_group(number, columns=self._dotted(columns), use_threads=False)
        return {name: combined(found.column(name)) for name in columns}

    def windows(self, number: int, column: str, rows: int) -> Iterator[Any]:
        """Decode a column of a row group some rows at a time."""
        for batch in self._file.iter_batches(
            rows, row_groups=[number], columns=self._dotted([column]), use_threads=False
        ):
            yield combined(batch.column(column))

    def _dotted(self, columns: Sequence[str]) -> list[str] | None:
        # Parquet is asked by paths of leaves, in which a dot also parts a struct from its field: a
        # name with dots may be taken for those of a struct beside it, and then all is read
        return list(columns) if all(map(self._is_alone, columns)) else None

    def _is_alone(self, column: str) -> bool:
        """Tell whether no other column has a leaf whose path begins with this column's name."""
        if "." not in column:
            return True
        if self._paths is None:
            schema = self._metadata.schema
            self._paths = [schema.column(n).path for n in range(len(schema))]
        own = self._leaves[column]
        return all(
            n in own
            for n, path in enumerate(self._paths)
            if path == column or path.startswith(f"{column}.")
        )

    def size(self, number: int, column: str) -> int:
        """Return about how many bytes the values of a column take in a row group."""
        return sum(one.total_uncompressed_size for one in self._chunks(number, column))

    def nulls(self, number: int, column: str) -> int | None:
        """Return 0 or all where the statistics say so, else None."""
        if column not in self._leaves:
            return self.rows[number]
        counted = [
            one.statistics.null_count
            if one.is_stats_set and one.statistics and one.statistics.has_null_count
            else None
            for one in self._chunks(number, column)
        ]
        if any(count == 0 for count in counted):
            return 0  # some leaf of every row has a value
        return None

    def _chunks(self, number: int, column: str) -> list[Any]:
        group = self._metadata.row_group(number)
        return [group.column(leaf) for leaf in self._leaves[column]]

    def digest(self) -> str:
        """Return the row groups, their places and sizes."""
        found = []
        for n in range(self._metadata.num_row_groups):
            group = self._metadata.row_group(n)
            found.append((group.num_rows, group.total_byte_size))
        return repr((str(self.schema), found))


class ArrowRows:
    """An Arrow file or stream; local ones are mapped, and cost no memory."""

    source = None

    def __init__(self, tree: FileTree, path: str, is_file: bool) -> None:
        pa = arrow()
        local = tree.local is not None
        mapped = pa.memory_map(str(tree.local / path)) if local and tree.local else None
        data = mapped or pa.py_buffer(tree.read(path))
        opened = pa.ipc.open_file(data) if is_file else pa.ipc.open_stream(data)
        self.schema = opened.schema
        check_names(self.schema, tree.where(path))
        if is_file:
            self._batches = [opened.get_batch(n) for n in range(opened.num_record_batches)]
        else:
            self._batches = list(opened)
        self.rows: list[int] = [batch.num_rows for batch in self._batches]

    def read(self, number: int, columns: Sequence[str]) -> dict[str, Any]:
        """Return columns of a record batch."""
        return {name: combined(self._batches[number].column(name)) for name in columns}

    def windows(self, number: int, column: str, rows: int) -> Iterator[Any]:
        """Return a column of a record batch, whole: it is mapped."""
        yield combined(self._batches[number].column(column))

    def size(self, number: int, column: str) -> int:
        """Return nothing: what is mapped takes no memory."""
        return 0

    def nulls(self, number: int, column: str) -> int | None:
        """Return how many rows have no value."""
        if column not in self.schema.names:
            return self.rows[number]
        return int(self._batches[number].column(column).null_count)

    def digest(self) -> str:
        """Return the record batches and their sizes."""
        sizes = [(batch.num_rows, batch.nbytes) for batch in self._batches]
        return repr((str(self.schema), sizes))


def check_names(schema: Any, where: str) -> None:
    """Refuse a schema with two columns of one name."""
    twice = {name for name in schema.names if schema.names.count(name) > 1}
    if twice:
        raise UsageError(f"{where}: two columns are called {min(twice)!r}; rename one")


def _leaves(kind: Any) -> int:
    """Count the columns of Parquet that a type is stored in."""
    pa = arrow()
    if isinstance(kind, pa.BaseExtensionType):
        return _leaves(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _leaves(kind.value_type)
    return max(1, sum(_leaves(kind.field(i).type) for i in range(kind.num_fields)))


class MemoryRows:
    """Rows that are in memory: those of a table; the same as `GroupReader` for its users.

    Parameters
    ----------
    table
        All rows.
    places
        File and number of each, for messages.
    sizes
        Split and rows of each file.
    """

    def __init__(
        self, table: Any, places: Sequence[tuple[str, int]], sizes: Sequence[tuple[str, int]]
    ) -> None:
        self._arrays = {name: combined(table.column(name)) for name in table.column_names}
        self.schema = table.schema
        self.sizes = tuple(sizes)
        self._files = list(dict.fromkeys(path for path, _ in places))
        numbers = {path: n for n, path in enumerate(self._files)}
        self._file = np.array([numbers[path] for path, _ in places], np.int32)
        self._place = np.array([place for _, place in places], np.int64)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._place)

    def where(self, row: int) -> str:
        """Name a row for people: its file, and its number there, the header being row 1."""
        return f"{printable(self._files[self._file[row]])}: row {self._place[row]}"

    def cells(self, row: int, columns: Sequence[str]) -> dict[str, tuple[Any, int]]:
        """Return cells of a row."""
        return {name: (self._arrays[name], row) for name in columns if name in self._arrays}

    def scan(self, column: str) -> Iterator[tuple[Group, Any]]:
        """Yield a column, whole."""
        yield Group(0, 0, 0, len(self)), self._arrays[column]

    def digest(self) -> str:
        """Return a hash of all values."""
        pa, sha = arrow(), hashlib.sha256()
        for name, array in self._arrays.items():
            sink = io.BytesIO()
            table = pa.table({name: array})
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            sha.update(sink.getvalue())
        return sha.hexdigest()


Rows = GroupReader | MemoryRows


def known_valid(rows: Rows, column: str) -> bool:
    """Tell whether it is known, without reading, that every row has a value in a column."""
    return isinstance(rows, GroupReader) and column not in rows.unsure
