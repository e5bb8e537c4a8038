"""What codecs of groups share: payloads are found in their streams and decoded group by group."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dsc._codecs.base import Array, Sample
from dsc._codecs.canvas import Place
from dsc._codecs.maps.base import TaskCodec, check_known
from dsc._schemas import Quality, Task
from dsc._schemas.group import GROUPED, Lane, Linked, whole


class GroupedTaskCodec(TaskCodec):
    """A `TaskCodec` that codes the samples of a recording in groups.

    A subclass names the streams of a task, encodes groups, and decodes payloads of one task.
    """

    decodes_alone: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def lane(task: Task) -> Lane:
        """Name the streams of a task: a sample's payload is in one of them."""

    @abstractmethod
    def encode_group(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples that follow one another in a recording; see `GroupCodec`."""

    @abstractmethod
    def decode_together(
        self, name: str, payloads: Sequence[Linked], max_pixels: int, places: Sequence[Place]
    ) -> list[Array]:
        """Decode a task of samples to where they are wanted, each frame of a group once.

        Raises
        ------
        BitstreamError
            When one cannot be decoded.
        """

    def config(self) -> dict[str, Any]:
        """Return the tasks, and which streams are of groups."""
        return {**super().config(), GROUPED: [list(self.lane(task)) for task in self.tasks]}

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples one by one, each as a group of one."""
        return [coded for sample in samples for coded in self.encode_group([sample], quality)]

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks` of samples; what several of a group need is decoded once.

        Raises
        ------
        UnknownTaskError
            When the codec does not code one of the tasks.
        BitstreamError
            When a bitstream is damaged, or one that it needs is not there.
        """
        check_known(self.id, self._task, tasks)
        out: list[dict[str, Array]] = [{} for _ in streams]
        for name in tasks:
            payloads = {
                number: whole(given[stream])
                for number, given in enumerate(streams)
                for stream in self.lane(self._task[name])
                if given.get(stream) is not None
            }
            places = [Place()] * len(payloads)
            arrays = self.decode_together(name, list(payloads.values()), max_pixels, places)
            for number, array in zip(payloads, arrays, strict=True):
                out[number][name] = array
        return out

    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        """Decode one frame, with all that it needs."""
        return self.decode_task_to(task, data, max_pixels, Place())

    def decode_task_to(self, task: Task, data: bytes, max_pixels: int, place: Place) -> Array:
        """Decode one frame to where it is wanted."""
        [array] = self.decode_together(task.name, [whole(data)], max_pixels, [place])
        return array
