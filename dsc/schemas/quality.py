"""Quality: one scale, 1 to 100, for every codec, and one value a task."""

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field, field_validator

from dsc.errors import UsageError
from dsc.schemas.base import Schema
from dsc.schemas.task import resolve_task

DEFAULT_QUALITY = 60


class Quality(Schema):
    """How good each task is to be.

    Attributes
    ----------
    default
        Quality of a task that `tasks` does not name, 1 (smallest) to 100 (best).
    tasks
        Quality by task name.
    """

    default: int = Field(default=DEFAULT_QUALITY, ge=1, le=100)
    tasks: Mapping[str, int] = Field(default_factory=dict)

    @field_validator("tasks")
    @classmethod
    def _check(cls, tasks: Mapping[str, int]) -> Mapping[str, int]:
        for name, value in tasks.items():
            if not 1 <= value <= 100:
                raise ValueError(f"quality of {name} must be 1 to 100, got {value}")
        return tasks

    def of(self, task: str) -> int:
        """Give the quality of one task."""
        return self.tasks.get(task, self.default)

    @classmethod
    def parse(cls, text: str, available: Sequence[str]) -> Self:
        """Read ``60`` or ``rgb=60,depth=80`` or ``50,depth=80``; task names may be aliases.

        Raises
        ------
        UsageError
            When a part is not a number from 1 to 100 or names no available task.
        """
        default, tasks = DEFAULT_QUALITY, {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            name, _, value = part.rpartition("=")
            if not value.strip().isdigit() or not 1 <= int(value) <= 100:
                raise UsageError(
                    f"--quality {text}: {part!r} is not a number from 1 to 100; "
                    "write for example 60 or rgb=60,depth=80"
                )
            if name:
                tasks[resolve_task(name.strip(), available)] = int(value)
            else:
                default = int(value)
        return cls(default=default, tasks=tasks)
