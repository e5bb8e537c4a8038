"""What a user states of rows: the options of all sources, and which columns are what."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from dsc._schemas.task import spelled
from dsc._sources.meaning.options import TaskOptions
from dsc.errors import UsageError

KEY, SPLIT = "key", "split"  # of `fields`: no tasks
NONE = "none"  # of `key_column`: rows are numbered


@dataclass(frozen=True)
class RowOptions:
    """What is stated.

    Attributes
    ----------
    tasks
        What all sources take.
    split
        The split that is wanted, None for all.
    fields
        Columns by task, where they are stated: then no others are tasks.
    key_column, split_column
        Where keys and splits come from; None for files and rows.
    notes
        What was decided without being told.
    given
        What `open` was given, as JSON.
    """

    tasks: TaskOptions
    split: str | None = None
    fields: Mapping[str, str] | None = None
    key_column: str | None = None
    split_column: str | None = None
    notes: tuple[str, ...] = ()
    given: Mapping[str, Any] | None = None

    @classmethod
    def parse(
        cls,
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
        """Check what a command line or caller gave.

        Raises
        ------
        UsageError
            When an option cannot be understood.
        """
        own = TaskOptions.parse(depth_unit, file_unit, kinds, invalid, alpha, tasks, ignore)
        named = parse_fields(fields)
        key = key_column or (named or {}).get(KEY)
        columns = named and {
            task: column for task, column in named.items() if task not in (KEY, SPLIT)
        }
        given = {"split": split, "fields": named, "key_column": key_column}
        return cls(own, split, columns or None, key, (named or {}).get(SPLIT), (), given).numbered()

    def numbered(self) -> Self:
        """Return the same, where ``--key-column none`` asks for numbers."""
        if self.key_column != NONE:
            return self
        return type(self)(
            self.tasks, self.split, self.fields, None, self.split_column, self.notes, self.given
        )

    def task_names(
        self, columns: Sequence[str], spell: Callable[[Sequence[str]], dict[str, str]]
    ) -> dict[str, str]:
        """Return the task of each column that is one, in order.

        Raises
        ------
        UsageError
            When a field names no column.
        """
        if self.fields is None:
            return spell(columns)
        for task, column in self.fields.items():
            if column not in columns:
                raise UsageError(
                    f"--fields {task}={column}: no such column; found: {', '.join(columns)}"
                )
        return {column: task for task, column in self.fields.items()}

    def to_json(self) -> dict[str, Any]:
        """Return what `open` reads, as JSON."""
        found = {**self.tasks.to_json(), **(self.given or {})}
        return {name: value for name, value in found.items() if value is not None}


def parse_fields(given: object) -> dict[str, str] | None:
    """Read ``rgb=image_path,caption=text,key=id`` or a mapping of tasks to columns.

    Raises
    ------
    UsageError
        When a part names no task or no column, or a column is named twice.
    """
    if given is None:
        return None
    if isinstance(given, str):
        parts = [part.partition("=") for part in given.split(",") if part.strip()]
        given = {task.strip(): column.strip() for task, _, column in parts}
    if not isinstance(given, Mapping) or not given:
        raise UsageError(f"--fields {given}: write task=column with commas: rgb=image,caption=text")
    found: dict[str, str] = {}
    for task, column in given.items():
        name = str(task) if task in (KEY, SPLIT) else spelled(str(task))
        if not name or not column:
            raise UsageError(
                f"--fields {task}={column}: write task=column, for example rgb=image_path"
            )
        if name in found:
            raise UsageError(f"--fields {task}={column}: {name} is named twice")
        found[name] = str(column)
    own = [column for task, column in found.items() if task not in (KEY, SPLIT)]
    for column in own:
        if own.count(column) > 1:
            raise UsageError(f"--fields: column {column} is named twice")
    return found
