"""What codecs of single tasks with a model file share: where the file comes from and goes to."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

from dsc._codecs.maps.base import TaskCodec
from dsc._schemas import Task
from dsc.errors import CodecError


class ModelTaskCodec(TaskCodec):
    """A `TaskCodec` that needs a model file, to encode and to decode.

    Parameters
    ----------
    tasks
        The tasks it codes.
    weights
        The model file.
    """

    def __init__(self, tasks: Sequence[Task], weights: bytes) -> None:
        super().__init__(tasks)
        self._weights = weights

    @staticmethod
    @abstractmethod
    def shipped() -> bytes:
        """Return the model file that comes with dsc."""

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Make the codec for these tasks with the model that comes with dsc."""
        return cls(tasks, cls.shipped())

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes.

        Raises
        ------
        CodecError
            When there is no model file, or the configuration is not one of this codec.
        """
        if weights is None:
            raise CodecError(f"{cls.id} needs its weights file, the archive names none")
        return cls(cls.tasks_of(config), weights)

    def weights(self) -> bytes:
        """Return the model file; all of it is the decoder's."""
        return self._weights
