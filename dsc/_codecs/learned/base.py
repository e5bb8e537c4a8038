"""What codecs of a network have in common, whatever it is made of: one file, tasks, two halves.

Decoding has two halves. `unpack_batch` (entropy decoding: integers only, exact everywhere) suits a
loader's CPU workers; `synthesize_tensors` (the network) suits a GPU, one call a batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Generic, Self

import torch
from torch import Tensor, nn

from dsc._codecs.base import Array, Sample
from dsc._codecs.latents import LatentBatch, Latents, StreamLatentBatch
from dsc._codecs.learned.codec_file import (
    LoadedCodec,
    M,
    decoder_part,
    default_weights,
    load_codec_file,
)
from dsc._codecs.learned.encoder_alone import encoder_network, export_encoder
from dsc._codecs.learned.planes import modality_of
from dsc._codecs.learned.synthesis import to_arrays, to_tensors
from dsc._schemas import Quality, Stream, Task
from dsc.errors import CodecError, UnknownTaskError

MAX_SIDE = 65535


class NetworkCodec(ABC, Generic[M]):
    """What codecs of a network make of its file: tasks, weights and their decoder's part.

    Parameters
    ----------
    tasks
        The tasks it codes; the network must know the modality of each.
    weights
        A codec file (`dsc._codecs.learned.codec_file`), or the decoder's part of one, which decodes
        only.

    Raises
    ------
    CodecError
        When it cannot code a task, or the file is another codec's.
    """

    id: ClassVar[str]

    def __init__(self, tasks: Sequence[Task], weights: bytes) -> None:
        self.tasks = tuple(tasks)
        self._task = {task.name: task for task in self.tasks}
        self._modality = {task.name: _modality(self.id, task) for task in self.tasks}
        self._weights = weights
        self._loaded: LoadedCodec[M] = _load(weights)
        spec = self._loaded.model.spec
        if spec.kind != self.id:
            raise CodecError(f"these weights are of {spec.kind}, the codec is {self.id}")
        for task in self.tasks:
            if self._modality[task.name] not in spec.modalities:
                known = ", ".join(spec.modalities)
                raise CodecError(f"task {task.name}: these weights code {known} only")

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Make the codec for these tasks with the weights that come with dsc."""
        return cls(tasks, default_weights(cls.id))

    @classmethod
    def shipped_weights(cls) -> bytes | None:
        """Return the codec file that comes with dsc; None when there is none."""
        try:
            return default_weights(cls.id)
        except CodecError:
            return None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes."""
        if weights is None:
            raise CodecError(f"{cls.id} needs its weights file, the archive names none")
        return cls([Task.model_validate(task) for task in config["tasks"]], weights)

    def config(self) -> dict[str, Any]:
        """Return the tasks; everything else is in the weights file."""
        return {"tasks": [task.model_dump(mode="json") for task in self.tasks]}

    def weights(self) -> bytes:
        """Return the codec file."""
        return self._weights

    @abstractmethod
    def streams(self) -> tuple[Stream, ...]:
        """Return the stream graph; a stream comes after those it requires."""

    @staticmethod
    def decoder_part(weights: bytes) -> bytes:
        """Return the part of a codec file that decoding takes."""
        return decoder_part(weights)

    def _check_encodes(self) -> None:
        if not self._loaded.has_encoder:
            raise CodecError(
                f"these weights of {self.id} are the decoder's part alone, which reads and cannot "
                'encode; give the whole codec file, for example codec="my.safetensors"'
            )

    def check_tasks(self, tasks: Sequence[str]) -> None:
        """Check that the codec codes tasks.

        Raises
        ------
        UnknownTaskError
            When it does not.
        """
        for task in tasks:
            if task not in self._task:
                raise UnknownTaskError(f"{self.id} does not code {task!r} here")


class LearnedCodec(NetworkCodec[M]):
    """A codec whose samples are coded one by one: subclasses say which streams it writes, and how.

    It decodes in two halves, see the module, and its encoder learns apart from its decoder.
    """

    # ---- encoding

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples one by one: the bytes of a sample must not depend on its batch."""
        self._check_encodes()
        return [self.encode_sample(sample, quality) for sample in samples]

    @abstractmethod
    def encode_sample(self, sample: Sample, quality: Quality) -> dict[str, bytes]:
        """Encode the tasks that a sample has."""

    # ---- decoding

    @abstractmethod
    def has(self, task: str, streams: Mapping[str, bytes]) -> bool:
        """Tell whether a sample has a task."""

    @abstractmethod
    def unpack_batch(
        self,
        streams: Sequence[Mapping[str, bytes]],
        tasks: Sequence[Sequence[str]],
        max_pixels: int,
    ) -> list[Latents | None]:
        """Decode the integers of several samples: what `unpack_latents` gives of each, faster.

        Parameters
        ----------
        streams
            The bitstreams of each sample.
        tasks
            The tasks of each sample to decode.
        max_pixels
            As in `decode_batch`.

        Raises
        ------
        BitstreamError
            When a stream of any sample is missing or damaged, or declares more than `max_pixels`.
        """

    @abstractmethod
    def planes(
        self, streams: Mapping[str, StreamLatentBatch], tasks: Sequence[str]
    ) -> dict[str, Tensor]:
        """Call the network: from integers to planes (B, c, H, W) by task, where the integers are.

        Parameters
        ----------
        streams
            By name, with all that the tasks require.
        """

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks`: entropy decoding and synthesis by batches of one size."""
        self.check_tasks(tasks)
        present = [[task for task in tasks if self.has(task, given)] for given in streams]
        latents = self.unpack_batch(streams, present, max_pixels)
        return self.synthesize(latents, tasks)

    def unpack_latents(
        self, streams: Mapping[str, bytes], tasks: Sequence[str], max_pixels: int
    ) -> Latents | None:
        """Decode the integers of one sample; None when `tasks` is empty.

        Raises
        ------
        BitstreamError
            When a stream is missing or damaged, or declares more than `max_pixels`.
        """
        return self.unpack_batch([streams], [tasks], max_pixels)[0]

    @torch.inference_mode()
    def synthesize(
        self, latents: Sequence[Latents | None], tasks: Sequence[str], device: str = "cpu"
    ) -> list[dict[str, Array]]:
        """Turn integers into native arrays, by batches of equal size.

        Parameters
        ----------
        latents
            What `unpack_latents` gave; None gives an empty result.
        tasks
            The tasks to synthesise, where a sample has them.
        device
            Where the network runs.
        """
        return to_arrays(self.planes, self._task, latents, tasks, device)

    @torch.no_grad()  # not inference_mode: what comes out may be trained on
    def synthesize_tensors(
        self, batch: LatentBatch, tasks: Sequence[str], native: bool = False
    ) -> dict[str, Tensor]:
        """Turn a batch of integers into tensors on the batch's device.

        The network is called once a batch on an accelerator, unless memory demands parts, and by
        parts of some megapixel on a CPU; nothing goes through the host.

        Parameters
        ----------
        tasks
            The tasks to synthesise; those that the batch has no stream of are left out.
        native
            Give the integers of the source's files, as `synthesize` does: (B, H, W) for depth.

        Returns
        -------
        dict
            By task: images uint8 (B, 3, H, W) in channels_last memory; depth float32 (B, H, W) in
            metres and normals float32 (B, 3, H, W) of unit length, NaN where nothing was measured.

        Raises
        ------
        UnknownTaskError
            When this codec does not code a task.
        """
        self.check_tasks(tasks)
        wanted = [task for task in tasks if task in batch.offsets]
        return to_tensors(self.planes, self._task, batch, wanted, native)

    # ---- its encoder, apart from its decoder

    def encoder_network(self) -> nn.Module:
        """Return a trainable copy of which the encoder alone learns.

        Raises
        ------
        CodecError
            When this codec was made from a decoder's part.
        """
        self._check_encodes()
        return encoder_network(self._weights)

    def with_encoder(self, network: nn.Module, card: Mapping[str, str]) -> Self:
        """Return this codec with the encoder that a network has learned."""
        return type(self)(self.tasks, export_encoder(self._weights, network, card))


@lru_cache(maxsize=4)
def _load(weights: bytes) -> LoadedCodec[Any]:
    """Read a codec file once a process: all its codecs share what is read and hand none of it out.

    So nobody can alter the network of another codec of the same file.
    """
    return load_codec_file(weights)


def _modality(codec_id: str, task: Task) -> str:
    found = modality_of(task)
    if found is None:
        raise CodecError(
            f"task {task.name} ({task.kind}, {task.dtype}, {task.channels} channels) is not one "
            f"that {codec_id} codes: the image named rgb and normals of 8 bits and 3 channels, "
            f"depth in whole numbers; choose another codec, e.g. --codec {codec_id},{task.name}=jxl"
        )
    return found


def check_side(size: tuple[int, int]) -> None:
    """Check that a header holds the sides of a map (H, W).

    Raises
    ------
    CodecError
        When it does not.
    """
    if max(size) > MAX_SIDE:
        raise CodecError(f"{size[0]}×{size[1]} pixels: a side is at most {MAX_SIDE}")


def pad(x: Tensor, unit: int) -> Tensor:
    """Repeat the last row and column of planes until sides are multiples of `unit`."""
    height, width = x.shape[-2:]
    return nn.functional.pad(x, (0, -width % unit, 0, -height % unit), mode="replicate")
