"""What codecs share that learn of each task what its samples have in common.

A weights file holds of each task that something was learnt of its tensors, as ``task.part``, and
the facts beside them, by task.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from dsc._codecs.base import Sample
from dsc._codecs.maps.base import TaskCodec
from dsc._coding.weights_file import facts_of, save_with_facts
from dsc._schemas import Task
from dsc.errors import CodecError


class Learnt(Protocol):
    """What was learnt of a task."""

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return what a weights file holds of this, by name."""
        ...

    def facts(self) -> dict[str, int]:
        """Return what a weights file says beside."""
        ...


L = TypeVar("L", bound=Learnt)


class LearntTaskCodec(TaskCodec, Generic[L]):
    """A `TaskCodec` that does with what was learnt of a task, or without.

    Parameters
    ----------
    tasks
        The tasks it codes.
    learnt
        By name of a task what is known of it.
    """

    file_kind: ClassVar[str]

    def __init__(self, tasks: Sequence[Task], learnt: Mapping[str, L] | None = None) -> None:
        super().__init__(tasks)
        self.learnt = dict(learnt or {})

    @staticmethod
    @abstractmethod
    def learnt_of(tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], task: Task) -> L:
        """Make what a weights file describes of a task.

        Raises
        ------
        ValueError, KeyError, TypeError
            When it does not fit together.
        """

    @abstractmethod
    def learn_task(self, task: Task, samples: Sequence[Sample], count: int) -> L | None:
        """Return what is worth knowing of a task of data of `count` samples; None for nothing."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes.

        Raises
        ------
        CodecError
            When the configuration or the weights file is none of this codec.
        """
        tasks = cls.tasks_of(config)
        return cls(tasks, None if weights is None else cls.read_learnt(tasks, weights))

    @classmethod
    def read_learnt(cls, tasks: Sequence[Task], weights: bytes) -> dict[str, L]:
        """Read of a weights file what it holds of these tasks.

        Raises
        ------
        CodecError
            When it is no file of this codec, or does not fit the tasks.
        """
        try:
            facts, tensors = facts_of(weights, cls.file_kind)["tasks"], load(weights)
            found = {}
            for task in tasks:
                if task.name in facts:
                    prefix = f"{task.name}."
                    parts = {
                        name.removeprefix(prefix): array
                        for name, array in tensors.items()
                        if name.startswith(prefix)
                    }
                    found[task.name] = cls.learnt_of(parts, facts[task.name], task)
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CodecError(f"{cls.id}: not a weights file of these tasks: {error}") from None
        return found

    def weights(self) -> bytes | None:
        """Return the file of what was learnt; None where nothing was."""
        if not self.learnt:
            return None
        tensors = {
            f"{name}.{part}": array
            for name, one in self.learnt.items()
            for part, array in one.tensors().items()
        }
        facts = {name: one.facts() for name, one in self.learnt.items()}
        return save_with_facts(tensors, {"kind": self.file_kind, "tasks": facts})

    def learning(self, samples: Sequence[Sample], count: int) -> Self:
        """Return this codec with what samples have in common, where knowing it saves bytes.

        Parameters
        ----------
        samples
            Some samples of the data, far apart.
        count
            How many samples the data has.
        """
        learnt = {task.name: self.learn_task(task, samples, count) for task in self.tasks}
        return type(self)(self.tasks, {name: one for name, one in learnt.items() if one})

    def knowing(self, config: Mapping[str, Any]) -> Self:
        """Return this codec as it is: what it knows is in its weights file."""
        return self
