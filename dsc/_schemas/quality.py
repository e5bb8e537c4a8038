"""Quality: one scale, 1 to 100, for every codec; one value a task, and targets and bounds."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from dsc._schemas.base import Schema
from dsc._schemas.target import Bound, Target
from dsc._schemas.task import resolve_task
from dsc.errors import UsageError

DEFAULT_QUALITY = 60


class Quality(Schema):
    """How good each task is to be.

    Attributes
    ----------
    default
        Quality of a task that `tasks` does not name, 1 (smallest) to 100 (best).
    tasks
        Quality by task name, or by the name of a stream that is no task's own (``shared``).
    targets
        Distortion to reach in each sample, by task name; the quality is then searched.
    max_error
        Largest error of a valid pixel, by task name.
    """

    default: int = Field(default=DEFAULT_QUALITY, ge=1, le=100)
    tasks: Mapping[str, int] = Field(default_factory=dict)
    targets: Mapping[str, Target] = Field(default_factory=dict)
    max_error: Mapping[str, Bound] = Field(default_factory=dict)

    @field_validator("tasks")
    @classmethod
    def _check(cls, tasks: Mapping[str, int]) -> Mapping[str, int]:
        for name, value in tasks.items():
            if not 1 <= value <= 100:
                raise ValueError(f"quality of {name} must be 1 to 100, got {value}")
        return tasks

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not asked for: archives without it keep their hashes."""
        whole: dict[str, Any] = handler(self)
        return {k: v for k, v in whole.items() if k in ("default", "tasks") or v}

    def of(self, task: str) -> int:
        """Return the quality of one task."""
        return self.tasks.get(task, self.default)

    def own(self, name: str) -> int | None:
        """Return the quality that was given for a task or stream by name; None when none was."""
        return self.tasks.get(name)

    def having(self, qualities: Mapping[str, int]) -> Self:
        """Return the same with other qualities for some tasks."""
        return self.model_copy(update={"tasks": {**self.tasks, **qualities}})

    @property
    def is_checked(self) -> bool:
        """Whether something is promised of each sample: a target or a bound."""
        return bool(self.targets or self.max_error)

    @classmethod
    def parse(cls, text: str, available: Sequence[str]) -> Self:
        """Read ``60`` or ``rgb=60,depth=80`` or ``50,depth=80``; task names may be aliases.

        Parameters
        ----------
        available
            Names of the tasks, and of streams that several tasks share.

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
