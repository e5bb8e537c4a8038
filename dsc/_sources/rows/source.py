"""Sources whose samples are rows of columns, and the one of the `datasets` library's files.

A row is a sample, a column a task (`dsc._sources.rows.forms`), a missing value means that the
sample lacks it. Keys come from a column (``key_column``), or are split and number of the row.
"""

import hashlib
import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc._files.passed_over import printable
from dsc._files.tree import FileTree
from dsc._schemas import LeftOut, Origin, SourceReport, Task, TaskReport
from dsc._schemas.task import spelled
from dsc._sources.base import SourceSample, find_task
from dsc._sources.keys import join_key
from dsc._sources.meaning.decode import check_sizes, map_sizes
from dsc._sources.meaning.options import known_split, unwanted, wanted_tasks
from dsc._sources.report import UPRIGHT, fingerprint, task_report
from dsc._sources.rows.arrow import arrow, features_of, is_number, is_text, plain_type
from dsc._sources.rows.cells import Column, Form, path_of, read_cell
from dsc._sources.rows.find import FoundFiles, find_files, order_of_split
from dsc._sources.rows.forms import FormFinder, Given, task_names
from dsc._sources.rows.groups import GroupReader, MemoryRows, Rows
from dsc._sources.rows.look import look_at
from dsc._sources.rows.options import RowOptions
from dsc.errors import SampleError, UsageError

DIGITS = 6  # of a row's number in its key, at least


class RowSource:
    """Samples that are rows; see `dsc._sources.base.Source`.

    Parameters
    ----------
    root
        What was opened.
    tree
        What paths in columns are below.
    rows
        The rows.
    columns
        Those that are tasks.
    valid
        By column, which rows have a value; columns whose rows all have one are left out.
    order, splits, keys
        Which row each sample is, samples by split, and keys; see `Arrangement`.
    """

    name: ClassVar[str] = "rows"
    follows_paths: ClassVar[bool] = True  # out of the place, which people's own lists may say

    def __init__(
        self,
        root: str,
        tree: FileTree,
        rows: Rows,
        columns: Sequence[Column],
        valid: Mapping[str, NDArray[np.bool_]],
        arranged: "Arrangement",
        options: Mapping[str, Any],
        left_out: Sequence[LeftOut] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self._root, self._tree, self._rows = root, tree, rows
        self._columns = {column.task.name: column for column in columns}
        self._tasks = {name: column.task for name, column in self._columns.items()}
        self._valid, self._arranged = dict(valid), arranged
        self._options = {name: value for name, value in options.items() if value is not None}
        self._left_out, self._notes = tuple(left_out), tuple(notes)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task, in the order of the columns."""
        return tuple(self._tasks.values())

    @property
    def splits(self) -> dict[str, int]:
        """Number of samples by split; empty where there are none."""
        return dict(self._arranged.splits)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._arranged)

    def key(self, index: int) -> str:
        """Return the key of a sample without reading it."""
        return self._arranged.key(self._check(index))

    def _check(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return index

    def origin(self, index: int) -> Origin:
        """Say which row a sample is, and the paths that its cells name."""
        row = self._arranged.row(self._check(index))
        paths = {}
        files = {n: c for n, c in self._columns.items() if c.form in (Form.FILE, Form.PATH)}
        try:
            cells = self._rows.cells(row, [column.name for column in files.values()])
        except SampleError:
            cells = {}
        for name, column in files.items():
            path = path_of(*cells[column.name]) if column.name in cells else None
            if path:
                paths[name] = printable(path)
        return Origin(name=self._rows.where(row), files=paths)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read these tasks (full names) of one sample; one that it lacks is left out.

        Raises
        ------
        UnknownTaskError
            When the source has no such task.
        SampleError
            When a row group or file is damaged, a file is missing, or a value is not what its task
            holds; names file and row.
        OSError
            When the file system or network fails: the sample may be whole, so try again.
        """
        key, row = self.key(index), self._arranged.row(index)
        arrays, sizes = dict[str, Any](), dict[str, int]()
        columns = {name: self._columns[find_task(self._tasks, name).name] for name in tasks}
        try:
            cells = self._rows.cells(row, list(dict.fromkeys(c.name for c in columns.values())))
        except SampleError as error:
            raise SampleError(f"sample {key}: {error}") from None
        for name, column in columns.items():
            if column.name in cells:
                where = f"sample {key}: {self._rows.where(row)}, column {printable(column.name)}"
                found = read_cell(column, *cells[column.name], where, self._load(where))
                if found is not None:
                    arrays[name], sizes[name] = found
        self._check_sizes(key, arrays)
        return SourceSample(key, arrays, sizes)

    def _check_sizes(self, key: str, arrays: Mapping[str, Any]) -> None:
        maps = {name: value for name, value in arrays.items() if self._tasks[name].is_map}
        check_sizes(key, map_sizes(maps, self._tasks))

    def _load(self, where: str) -> Callable[[str], bytes]:
        return loader(self._tree, where, self.follows_paths)

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        """List which of these tasks a sample lacks, without reading it."""
        row = self._arranged.row(self._check(index))
        columns = {name: self._columns[find_task(self._tasks, name).name].name for name in tasks}
        return tuple(
            name
            for name, column in columns.items()
            if column in self._valid and not self._valid[column][row]
        )

    def report(self) -> SourceReport:
        """Say what was found, decided and left out."""
        count, rows = len(self), self._arranged.rows()
        whole = np.ones(count, bool)
        tasks: dict[str, TaskReport] = {}
        for name, column in self._columns.items():
            valid = self._valid.get(column.name)
            own = np.ones(count, bool) if valid is None else valid[rows]
            whole &= own
            report = task_report(column.meaning, int(own.sum()))
            tasks[name] = report.model_copy(update={"column": column.spelt})
        return SourceReport(
            samples=count,
            complete=int(whole.sum()),
            tasks=tasks,
            left_out=self._left_out,
            notes=self._notes,
            options=self._options,
        )

    def describe(self) -> dict[str, Any]:
        """Return the JSON from which `source_from_description` makes the same source again."""
        content = f"{self._rows.digest()} {self._arranged.digest()}"
        return {
            "name": self.name,
            "root": self._root,
            "options": self._options,
            "fingerprint": fingerprint(self.tasks, content),
        }


class HuggingfaceSource(RowSource):
    """Parquet files, or what `save_to_disk` of the `datasets` library leaves."""

    name: ClassVar[str] = "huggingface"
    follows_paths: ClassVar[bool] = False  # files of others: a cell may name any of this machine

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
    ) -> Self:
        """Open a file, a directory, or a repository of the Hub.

        Parameters
        ----------
        root
            A Parquet or Arrow file, a directory of them or one that `save_to_disk` made, or a URL
            of one: ``hf://datasets/USER/NAME``.
        depth_unit, kinds, file_unit, invalid, alpha, tasks, ignore
            As `folder` takes them; `kinds` also says text, json, bytes, scalar, time or matrix.
        split
            One of the splits; all by default.
        fields
            Columns by task, ``{"rgb": "image"}``: only these are tasks. ``key`` and ``split`` say
            which columns are key and split.
        key_column
            The column that makes keys; by default split and row.

        Raises
        ------
        SourceNotFoundError
            When there is no file of rows.
        UsageError
            When an option cannot be honoured, files differ in their columns, or two rows have one
            key.
        SampleError
            When a file is damaged.
        """
        options = RowOptions.parse(
            depth_unit, kinds, file_unit, invalid, alpha, tasks, ignore, split, fields, key_column
        )
        found = find_files(root, options.tasks, cls.name)
        rows = GroupReader(found.tree, found.files)
        if not len(rows):
            raise UsageError(f"{found.tree.url}: its files hold no row")
        source: Self = open_rows(cls, root, found, rows, options)
        return source


def open_rows(
    kind: Any,
    root: str,
    found: FoundFiles,
    rows: Rows,
    options: RowOptions,
    is_path: Callable[[str, str, Any], bool] = lambda column, task, kind: False,
    files: FileTree | None = None,
) -> Any:
    """Make a source of rows: choose the columns, decide what they are, arrange the samples.

    Parameters
    ----------
    kind
        The class of the source.
    is_path
        Tells whether a column of text holds paths.
    files
        What paths are below; by default the directory of the rows' first file.
    """
    schema, features = schema_of(rows, found.tree)
    names = options.task_names(schema.names, task_names)
    arranged = arrange(rows, schema, found, options)
    used = (arranged.split_column, options.key_column)
    left = [name for name in schema.names if name not in names and name not in used]
    names = {column: task for column, task in names.items() if column != arranged.split_column}
    wanted = wanted_tasks(options.tasks, list(names.values()))
    _check_named(options, names)
    chosen = [column for column, task in names.items() if task in wanted]
    tree = files or _beside(found)
    given, valid = [], {}
    for column in chosen:
        field = schema.field(column)
        facts = look_at(rows, column, plain_type(field.type))
        path = is_path(column, names[column], plain_type(field.type))
        given.append(Given(column, names[column], field, features.get(column), facts, path))
        if facts.valid is not None:
            valid[column] = facts.valid
    columns = FormFinder(rows, options.tasks, loader(tree, follows=kind.follows_paths)).columns(
        given
    )
    twice = {
        one.task.name for one in columns if [c.task.name for c in columns].count(one.task.name) > 1
    }
    if twice:
        raise UsageError(f"two columns make task {min(twice)}; --fields gives them names")
    if not columns:
        raise UsageError(f"{found.tree.url}: no column is a task; found: {', '.join(schema.names)}")
    counts = dict.fromkeys(names.values(), len(rows))
    notes = [*found.notes, *arranged.notes, f"keys: {arranged.keyed}"]
    if any(column.task.is_map for column in columns):
        notes.append(UPRIGHT)
    return kind(
        root if "://" in root else found_root(root),
        tree,
        rows,
        columns,
        valid,
        arranged,
        options.to_json(),
        [
            *found.left_out,
            *(LeftOut(what=f"column {name}", reason="not in --fields") for name in left),
            *unwanted(counts, wanted, options.tasks),
        ],
        notes,
    )


def found_root(root: str) -> str:
    """Spell a local root so that it is found from any directory."""
    return FileTree(root).url


def _beside(found: FoundFiles) -> FileTree:
    directory = found.files[0].path.rpartition("/")[0]
    return found.tree.below(directory) if directory else found.tree


def loader(tree: FileTree, where: str = "", follows: bool = True) -> Callable[[str], bytes]:
    """Return what reads a file that a cell names.

    Parameters
    ----------
    follows
        Whether also one that does not lie below the tree.
    """

    def load(path: str) -> bytes:
        head = f"{where}: " if where else ""
        inner = posixpath.normpath(path.replace("\\", "/"))
        if not follows and (inner.startswith("/") or inner.partition("/")[0] == ".."):
            raise SampleError(
                f"{head}{printable(path)}: it does not lie under {tree.url}, and such paths are "
                "not followed in data of others; if these rows are yours, read them as a table"
            )
        try:
            if tree.local is None:
                return tree.read(path)
            return (tree.local / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise SampleError(
                f"{head}{printable(path)}: no such file under {tree.url}; put it there, say where "
                "the files are, or, if the column holds no paths, --kinds TASK=text"
            ) from None

    return load


def schema_of(rows: Rows, tree: FileTree) -> tuple[Any, dict[str, Any]]:
    """Return the columns of all files, and what `datasets` noted of them.

    A column that a file lacks is one without values there.

    Raises
    ------
    UsageError
        When a column has two types.
    """
    if isinstance(rows, MemoryRows):
        return rows.schema, features_of(rows.schema)
    pa, fields, features, first = arrow(), dict[str, Any](), dict[str, Any](), dict[str, str]()
    for n, file in enumerate(rows.files):
        schema = rows.schemas[n]
        noted = features_of(schema)
        for field in schema:
            known = fields.get(field.name, pa.field(field.name, pa.null()))
            empty = pa.types.is_null(known.type)  # not seen yet, or only without values
            if not empty and not pa.types.is_null(field.type) and known.type != field.type:
                raise UsageError(
                    f"column {field.name} is {known.type} in {tree.where(first[field.name])} and "
                    f"{field.type} in {tree.where(file.path)}; make them alike, or leave one of "
                    "the files out with --ignore"
                )
            if empty:
                fields[field.name], first[field.name] = field, file.path
                if noted.get(field.name) is not None:
                    features[field.name] = noted[field.name]
    return pa.schema(list(fields.values())), features


def _check_named(options: RowOptions, names: Mapping[str, str]) -> None:
    unknown = options.tasks.named() - set(names.values())
    if unknown:
        raise UsageError(
            f"no task {', '.join(sorted(unknown))} here; found: {', '.join(names.values())}"
        )


class Arrangement:
    """Which row each sample is, of which split, and its key.

    Attributes
    ----------
    splits
        Samples by split, in order; empty where there are none.
    keyed
        What keys are made of, for people.
    split_column
        The column that says the split, if one does.
    """

    def __init__(
        self,
        order: NDArray[np.int64] | None,
        count: int,
        splits: Mapping[str, int],
        keys: Any | None = None,
        numbers: bool = False,
        keyed: str = "split and row",
        split_column: str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self._order, self._count, self._keys, self._numbers = order, count, keys, numbers
        self.splits, self.keyed, self.split_column = dict(splits), keyed, split_column
        self.notes = tuple(notes)
        self._digits = max(DIGITS, len(str(count)))

    def __len__(self) -> int:
        return self._count

    def row(self, index: int) -> int:
        """Return the row of a sample."""
        return index if self._order is None else int(self._order[index])

    def rows(self) -> NDArray[np.int64]:
        """Return the row of every sample."""
        return np.arange(self._count) if self._order is None else self._order

    def key(self, index: int) -> str:
        """Return the key of a sample."""
        if self._keys is not None:
            return join_key("", str(self._keys[self.row(index)].as_py()))
        first, place = "row", index
        for split, count in self.splits.items():
            if place < count:
                first = split or "row"
                break
            place -= count
        number = self.row(index) if self._numbers else place
        return f"{first}_{number:0{self._digits}d}"

    def of_split(self, split: str) -> "Arrangement":
        """Return the samples of one split; keys stay what they are."""
        start = 0
        for name, count in self.splits.items():
            if name == split:
                break
            start += count
        rows = self.rows()[start : start + self.splits[split]]
        sizes = {split: len(rows)} if split else {}
        return Arrangement(
            rows, len(rows), sizes, self._keys, self._numbers, self.keyed, self.split_column,
            self.notes,
        )  # fmt: skip

    def digest(self) -> str:
        """Return a text that differs where samples, splits or keys do."""
        order = (
            ""
            if self._order is None
            else hashlib.sha256(self._order.astype("<i8").tobytes()).hexdigest()
        )
        return f"{order} {self.splits} {self.keyed}"


def arrange(rows: Rows, schema: Any, found: FoundFiles, options: RowOptions) -> Arrangement:
    """Arrange the rows as samples: split by split, with keys.

    Raises
    ------
    UsageError
        When a key is missing or not alone, or there is no such split or column.
    """
    count = len(rows)
    order, splits, numbers = None, dict[str, int](), False
    if options.split_column is not None:
        order, splits = _by_column(rows, schema, options.split_column)
        numbers = True
    else:
        for split, n in _sizes(rows, found):
            splits[split] = splits.get(split, 0) + n
        splits = {split: n for split, n in splits.items() if n}
        splits = {} if not any(splits) else splits
    keys, keyed = None, "split and row"
    if options.key_column is not None:
        keys = _keys(rows, schema, options.key_column)
        keyed = f"column {options.key_column}"
    arranged = Arrangement(
        order, count, splits, keys, numbers, keyed, options.split_column, options.notes
    )
    if options.split is not None and splits:
        return arranged.of_split(known_split(options.split, splits))
    return arranged


def _sizes(rows: Rows, found: FoundFiles) -> Sequence[tuple[str, int]]:
    if isinstance(rows, MemoryRows):
        return rows.sizes
    counts = rows.rows_of_files()
    return [(file.split, n) for file, n in zip(found.files, counts, strict=True)]


def _column_of(rows: Rows, schema: Any, name: str, what: str) -> Any:
    if name not in schema.names:
        raise UsageError(f"no column {name!r} for the {what}; found: {', '.join(schema.names)}")
    kind = plain_type(schema.field(name).type)
    if not (is_text(kind) or is_number(kind)) or arrow().types.is_floating(kind):
        raise UsageError(f"column {name} holds {kind}, which is no {what}: text or whole numbers")
    pa = arrow()
    parts = [pa.nulls(g.rows, kind) if a is None else a for g, a in rows.scan(name)]
    column = pa.concat_arrays(parts)
    try:
        column.validate(full=True)
    except pa.ArrowException as error:
        raise UsageError(f"column {name} is no {what}: {error}") from None
    return column


def _keys(rows: Rows, schema: Any, name: str) -> Any:
    column = _column_of(rows, schema, name, "key")
    pc = arrow().compute
    if column.null_count:
        row = int(pc.index(pc.is_null(column), True).as_py())
        raise UsageError(f"{rows.where(row)}: column {name} has no key; give each row one")
    counted = pc.value_counts(column)
    if len(counted) < len(column):
        twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))[0]
        same = np.flatnonzero(pc.equal(column, twice).to_numpy(zero_copy_only=False))
        first, second = (rows.where(int(row)) for row in same[:2])
        raise UsageError(
            f"two rows have the key {twice.as_py()!r} in column {name}: {first} and {second}; "
            "--key-column names another column, or none to number the rows"
        )
    return column


def _by_column(
    rows: Rows, schema: Any, name: str
) -> tuple[NDArray[np.int64] | None, dict[str, int]]:
    column = _column_of(rows, schema, name, "split")
    values = [spelled("" if value is None else str(value)) for value in column.to_pylist()]
    own = sorted(dict.fromkeys(values), key=order_of_split)
    numbers = {split: n for n, split in enumerate(own)}
    place = np.array([numbers[value] for value in values], np.int64)
    counts = np.bincount(place, minlength=len(own))
    order = np.argsort(place, kind="stable")
    in_order = bool(np.all(order == np.arange(len(order))))
    return (None if in_order else order), {
        split: int(n) for split, n in zip(own, counts, strict=True)
    }
