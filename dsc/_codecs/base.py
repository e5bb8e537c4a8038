"""The codec interface: a sample's tasks in, named bitstreams out, and back.

A codec is made for certain tasks. It says which streams it writes and which of them require which
others; that is all that a reader, a fetcher or a cost model has to know about it. A codec is
stateless: the same sample at the same quality gives the same bytes, and a stream is decoded
without anything but the streams it requires.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Quality, Stream, Task

Array = NDArray[Any]
Sample = Mapping[str, Array]


@runtime_checkable
class Codec(Protocol):
    """What every codec does.

    Attributes
    ----------
    id
        Registry name.
    tasks
        The tasks that this instance codes, in order.
    """

    id: ClassVar[str]
    tasks: tuple[Task, ...]

    def streams(self) -> tuple[Stream, ...]:
        """Return the stream graph; a stream comes after those it requires."""
        ...

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples, each a mapping from task name to native array.

        A task that a sample lacks gives no stream of its own. The bytes of a sample do not depend
        on the batch it comes in.

        Raises
        ------
        CodecError
            When an array's dtype, shape or values do not fit its task.
        """
        ...

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks` of several samples to native arrays.

        Each mapping holds at least the streams that `tasks` require; a task whose stream is not
        there is left out of the result. `max_pixels` is the most pixels that an honest bitstream
        may declare; more is refused before anything is allocated.

        Raises
        ------
        BitstreamError
            When a bitstream is damaged.
        """
        ...

    def config(self) -> dict[str, Any]:
        """Return the JSON that `from_config` needs, weights left out."""
        ...

    def weights(self) -> bytes | None:
        """Return the safetensors file of the weights and tables; None when there are none."""
        ...

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Make a codec for these tasks.

        Raises
        ------
        CodecError
            When the codec cannot code one of them.
        """
        ...

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that `config` and `weights` describe."""
        ...


def check_array(task: Task, array: Array) -> Array:
    """Check that an array is what its task says; give it back C-contiguous.

    Raises
    ------
    CodecError
        When dtype or shape differ; the message names the task and both.
    """
    from dsc.errors import CodecError

    if array.dtype != np.dtype(task.dtype):
        raise CodecError(f"task {task.name}: dtype {array.dtype}, expected {task.dtype}")
    wanted = {0: "()", 1: "(H, W)"}.get(task.channels, f"(H, W, {task.channels})")
    if task.is_map:
        fits = array.ndim == (2 if task.channels == 1 else 3) and array.size > 0
        fits = fits and (array.ndim == 2 or array.shape[2] == task.channels)
    else:
        wanted = "()" if task.channels == 0 else f"({task.channels},)"
        fits = array.shape == (() if task.channels == 0 else (task.channels,))
    if not fits:
        raise CodecError(f"task {task.name}: shape {array.shape}, expected {wanted}")
    return np.ascontiguousarray(array) if array.ndim else array
