"""The codec interface: a sample's tasks in, named bitstreams out, and back.

A codec is made for certain tasks. It says which streams it writes and which of them require which
others; that is all that a reader, a fetcher or a cost model has to know about it. A codec is
stateless: the same sample at the same quality gives the same bytes, and a stream is decoded
without anything but the streams it requires.

What only some codecs can do is a protocol each: `JointCodec`, `SplitCodec` (both of a codec's
class), `EffortCodec`, `AccessCodec`, `GroupCodec`, `KeepingCodec`, `DependentCodec`,
`PackedCodec`, `PrefixCodec`, `LatentCodec` and `AdaptableCodec`. Ask with `isinstance`; a codec
need not name them.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Access, Effort, Quality, Stream, Task
from dsc.errors import CodecError

if TYPE_CHECKING:  # they bring torch, which classical codecs do without
    from torch import Tensor

    from dsc._codecs.latents import LatentBatch, Latents

Array = NDArray[Any]
"""A native array: the integers or floats of the source's files, shaped as its `Task` says."""
Sample = Mapping[str, Array]
"""The native arrays of one sample by task name."""
INPUTS = "inputs"  # the entry of a `DependentCodec`'s configuration


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


class Decoder(Protocol):
    """The half of a codec that reads."""

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode as `Codec.decode_batch` does."""
        ...


@runtime_checkable
class JointCodec(Protocol):
    """A codec class that codes several tasks together; others are made for one task each."""

    @staticmethod
    def supported(tasks: Sequence[Task]) -> tuple[Task, ...]:
        """Choose the tasks that one codec of this class can take together."""
        ...


@runtime_checkable
class EffortCodec(Protocol):
    """A codec that can look longer, or less long, for fewer bytes.

    Its `config` says the effort, so that what joins an archive is encoded as what is there. What
    `for_tasks` makes has `Effort.DEFAULT`. A codec without this protocol is the same at any effort.
    """

    def at_effort(self, effort: Effort) -> Self:
        """Return this codec at an effort; it decodes what it did, and means what it did."""
        ...


@runtime_checkable
class AccessCodec(Protocol):
    """A codec of recordings that can write them for quick access, or for fewer bytes.

    Its `config` says which. What `for_tasks` makes has `Access.BALANCED`.
    """

    def at_access(self, access: Access) -> Self:
        """Return this codec with another access; it decodes what it did."""
        ...


@runtime_checkable
class LearningCodec(Protocol):
    """A codec whose `config`, or weights file, holds what samples of the data have in common.

    It is learnt before the first sample is coded. What `for_tasks` makes knows nothing.

    Attributes
    ----------
    tasks
        The tasks that it codes.
    learns_from
        Samples that it is given at most.
    """

    tasks: tuple[Task, ...]
    learns_from: ClassVar[int]

    def learning(self, samples: Sequence[Sample], count: int) -> Self:
        """Return this codec with what some of `count` samples have in common, where it pays.

        Equal samples give an equal codec.
        """
        ...

    def knowing(self, config: Mapping[str, Any]) -> Self:
        """Return this codec with what a configuration of its kind holds of samples, if anything.

        What a weights file holds is learnt again, from the same samples.

        Raises
        ------
        CodecError
            When it is no such configuration.
        """
        ...


@runtime_checkable
class GroupCodec(Protocol):
    """A codec that codes samples of a recording together, and decodes any of them.

    Its configuration has `dsc._schemas.group.GROUPED`, the streams whose payloads begin with a
    group header. `encode_batch` codes each sample alone, as a group of one; `decode_batch` takes
    payloads that are `dsc._schemas.group.Linked` and decodes what several need once; the arrays
    that it gives share no memory. One that is a `PrefixCodec` as well writes scales of every frame,
    each of which is a list of one stream in `GROUPED`.

    Attributes
    ----------
    group_size
        The most samples of a group; 1 where a codec around another one finds that it takes none.
    """

    group_size: int

    def encode_group(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples that follow one another in a recording.

        A task that a sample lacks gives no stream of its own; a sample may lack all. Bytes depend
        on this group alone.

        Raises
        ------
        CodecError
            When an array's dtype, shape or values do not fit its task.
        """
        ...


@runtime_checkable
class KeepingCodec(Protocol):
    """A codec of groups that keeps frames as their source has coded them.

    It is given the bytes of a `dsc._schemas.coded_frame.CodedFrame` (uint8, one axis) in the place
    of an array, and decodes to what the source reads.
    """

    takes_coded: ClassVar[bool]


@runtime_checkable
class DependentCodec(Protocol):
    """A codec whose tasks follow from tasks that other codecs of the archive code.

    Its configuration has `INPUTS`: by name of each of those tasks, the streams that decoding it
    takes, which its own streams require. What it is given of them, writing and reading alike, is
    what the archive decodes. A sample may lack some of them; what is written then needs none.

    Attributes
    ----------
    inputs
        Names of the tasks that it is given.
    """

    inputs: tuple[str, ...]

    def encode_given(
        self, samples: Sequence[Sample], given: Sequence[Sample], quality: Quality
    ) -> list[dict[str, bytes]]:
        """Encode samples that have tasks of this codec.

        Parameters
        ----------
        samples
            Native arrays of the source: of this codec's tasks, and of its inputs where the source
            has them.
        given
            Of each sample the inputs as the archive decodes them.

        Raises
        ------
        CodecError
            When an array does not fit its task.
        """
        ...

    def decode_given(
        self,
        streams: Sequence[Mapping[str, bytes]],
        given: Sequence[Sample],
        tasks: Sequence[str],
        max_pixels: int,
    ) -> list[dict[str, Array]]:
        """Decode as `Codec.decode_batch` does, with the inputs of each sample.

        Raises
        ------
        BitstreamError
            When a bitstream is damaged, or an input that it needs is not given.
        """
        ...


@runtime_checkable
class PackedCodec(Protocol):
    """A codec whose payloads packs put together: they compress them, or are spared small headers.

    Its weights file may hold a dictionary that all packs of its streams refer to.
    """

    tasks: tuple[Task, ...]

    def packed_dtype(self, stream: str) -> str | None:
        """Return the dtype of the numbers that payloads of a stream are; None for other bytes."""
        ...

    def of_tasks(self, tasks: Sequence[str], dictionary: bytes | None) -> Self:
        """Return this codec for some of its tasks, with this weights file."""
        ...


@runtime_checkable
class PrefixCodec(Protocol):
    """A codec that decodes a task from the first of the streams that carry it, coarser.

    Its configuration has `dsc._schemas.levels.PREFIXES`, true. With all streams it decodes as any
    codec does, and one that is not there is damage.
    """

    def from_streams(self, names: Collection[str]) -> Decoder:
        """Return what decodes without the streams that are not named.

        Of each task it takes the longest run of its streams, from the first on, that are.
        """
        ...


@runtime_checkable
class LatentCodec(Protocol):
    """A codec that decodes in two halves: bitstreams to integers, and these to samples.

    Integers are the same on every machine; workers decode them, and a GPU does the rest for a
    whole batch.
    """

    def unpack_latents(
        self, streams: Mapping[str, bytes], tasks: Sequence[str], max_pixels: int
    ) -> "Latents | None":
        """Decode the integers of one sample; None when `tasks` is empty.

        Raises
        ------
        BitstreamError
            When a stream is missing or damaged, or declares more than `max_pixels`.
        """
        ...

    def unpack_batch(
        self,
        streams: Sequence[Mapping[str, bytes]],
        tasks: Sequence[Sequence[str]],
        max_pixels: int,
    ) -> "list[Latents | None]":
        """Decode the integers of several samples, each of its own tasks: the same as alone."""
        ...

    def synthesize(
        self, latents: "Sequence[Latents | None]", tasks: Sequence[str], device: str = "cpu"
    ) -> list[dict[str, Array]]:
        """Turn integers into what `Codec.decode_batch` gives, on a device."""
        ...

    def synthesize_tensors(
        self, batch: "LatentBatch", tasks: Sequence[str], native: bool = False
    ) -> "dict[str, Tensor]":
        """Turn a batch of integers into tensors (B, ...) by task, on the batch's device.

        Images are uint8 (B, 3, H, W), depth float32 (B, H, W) in metres, normals float32
        (B, 3, H, W) of unit length, NaN where nothing was measured; `native` leaves the integers of
        the source's files.
        """
        ...


@runtime_checkable
class SplitCodec(Protocol):
    """A codec class that can tell the decoder's part of its weights.

    Decoding is a fixed function of that part. So exemplars name the decoder by its hash, and an
    encoder may go on learning: whatever it becomes, what older ones wrote decodes as it did. A
    codec without this protocol is its own decoder.
    """

    @staticmethod
    def decoder_part(weights: bytes) -> bytes:
        """Return the part of a weights file that decoding takes.

        It is a weights file that `from_config` takes, makes a codec that decodes everything and
        refuses to encode with a `CodecError`, and is the same bytes for all encoders of one
        decoder, on every machine. Of itself it gives itself.
        """
        ...

    @classmethod
    def shipped_weights(cls) -> bytes | None:
        """Return the weights file that comes with the codec's package; None without one."""
        ...


@runtime_checkable
class AdaptableCodec(Protocol):
    """A codec whose encoder can be trained while its decoder is frozen."""

    tasks: tuple[Task, ...]

    def encoder_network(self) -> Any:
        """Return the network as a `torch.nn.Module`, as training knows it.

        Only the encoder's parameters require a gradient.

        Raises
        ------
        CodecError
            When there is no encoder at hand.
        """
        ...

    def with_encoder(self, network: Any, card: Mapping[str, str]) -> Self:
        """Return this codec with what that network's encoder has learned.

        Everything else is this codec's own, bit by bit: `decoder_part` of the weights is the same.
        """
        ...


def decoder_from(codec: Codec, names: Collection[str]) -> Decoder:
    """Return what decodes the streams that are named, of those of a codec.

    Of a codec without levels that is the codec: it lacks those of tasks that are not wanted.
    """
    is_whole = all(stream.name in names for stream in codec.streams())
    return codec.from_streams(names) if isinstance(codec, PrefixCodec) and not is_whole else codec


def at_effort(codec: Codec, effort: Effort) -> Codec:
    """Return a codec at an effort, or as it is where it knows of none."""
    return codec.at_effort(effort) if isinstance(codec, EffortCodec) else codec


def at_access(codec: Codec, access: Access) -> Codec:
    """Return a codec with an access, or as it is where it knows of none."""
    return codec.at_access(access) if isinstance(codec, AccessCodec) else codec


def group_size_of(codec: Codec) -> int:
    """Return how many samples a codec takes together; 1 where it codes each by itself."""
    return codec.group_size if isinstance(codec, GroupCodec) else 1


def check_array(task: Task, array: Array) -> Array:
    """Check that an array is what its task says; give it back C-contiguous.

    Raises
    ------
    CodecError
        When dtype or shape differ; the message names the task and both.
    """
    if array.dtype != np.dtype(task.dtype):
        raise CodecError(f"task {task.name}: dtype {array.dtype}, expected {task.dtype}")
    if task.is_map:
        wanted = "(H, W)" if task.channels == 1 else f"(H, W, {task.channels})"
        fits = array.ndim == (2 if task.channels == 1 else 3) and array.size > 0
        fits = fits and (array.ndim == 2 or array.shape[2] == task.channels)
    else:
        wanted = str(task.value_shape)
        fits = array.ndim == len(task.value_shape) and all(
            expected in (-1, length)
            for expected, length in zip(task.value_shape, array.shape, strict=True)
        )
    if not fits:
        raise CodecError(f"task {task.name}: shape {array.shape}, expected {wanted}")
    return np.ascontiguousarray(array) if array.ndim else array
