"""One sample as users get it: its arrays by task, and what the tasks mean."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

from dsc._schemas.task import Task, resolve_task

NO_TASKS: Mapping[str, Task] = MappingProxyType({})
NO_WINDOWS: Mapping[str, int] = MappingProxyType({})


class Sample(dict[str, Any]):
    """The arrays of one sample by task, None where it lacks the task; aliases are understood.

    ``sample["depth"]`` finds ``depth_zbuffer``. A task that was not asked for is a KeyError.

    Attributes
    ----------
    tasks
        What the names mean, for joint transforms; names that are no task are not in it.
    windows
        Of names that have the values of several frames, (n, ...): how many.
    """

    tasks: Mapping[str, Task] = NO_TASKS
    windows: Mapping[str, int] = NO_WINDOWS

    @classmethod
    def of(
        cls,
        values: Mapping[str, Any],
        tasks: Mapping[str, Task],
        windows: Mapping[str, int] = NO_WINDOWS,
    ) -> Self:
        """Make a sample whose names mean these tasks."""
        sample = cls(values)
        if tasks:  # what is empty stays the class's own, which does not pickle
            sample.tasks = tasks
        if windows:
            sample.windows = windows
        return sample

    @classmethod
    def like(cls, values: Mapping[str, Any], other: Mapping[str, Any]) -> Self:
        """Make a sample whose names mean what those of another one do, if that is a sample."""
        if isinstance(other, Sample):
            return cls.of(values, other.tasks, other.windows)
        return cls(values)

    def __missing__(self, name: str) -> Any:
        return self[resolve_task(name, list(self))]

    def __or__(self, other: Any) -> Any:
        """Return this sample with other values, its tasks kept."""
        return type(self).like({**self, **other}, self)

    def copy(self) -> Self:
        """Return a sample of the same arrays."""
        return type(self).like(self, self)
