"""The codecs of a conditional network: `independent`, `shared-latent` and `chained`.

Bitstreams, little-endian. With a shared stream:

- ``shared``: ``u8 quality | u16 height | u16 width``, then coder words.
- a task: ``u8 quality`` (top bit: a mask follows), for depth ``f16`` median log depth, for a mask
  ``u32 length`` and the mask, then coder words.

Without one, a task's stream starts with ``u8 used | u16 height | u16 width``: bit i of `used` says
that the i-th stream that the network requires was there and was used. A sample without depth is
coded all the same. Coder words hold ẑ, then the symbols of ŷ step by step.

Decoding has two halves. `unpack_batch` (entropy decoding: integers only, exact everywhere) suits a
loader's CPU workers; `synthesize_tensors` (the network) suits a GPU, one call a batch.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from dsc._codecs.base import Array, Sample, check_array
from dsc._codecs.latents import LatentBatch, Latents
from dsc._codecs.learned.bitstream import Naming, shared_header, size_header, task_header
from dsc._codecs.learned.codec_file import LoadedCodec, decoder_part, load_codec_file
from dsc._codecs.learned.encoder_alone import encoder_network, export_encoder
from dsc._codecs.learned.network.differentiable import ConditionalNetwork
from dsc._codecs.learned.network.model import Gain
from dsc._codecs.learned.network.spec import SHARED
from dsc._codecs.learned.planes import modality_of, to_planes
from dsc._codecs.learned.sample_coder import encode_planes, unpack
from dsc._codecs.learned.stream_coder import StreamCoder
from dsc._codecs.learned.synthesis import to_arrays, to_tensors
from dsc._coding.weights_file import shipped_file
from dsc._schemas import Quality, Stream, Task
from dsc.errors import CodecError, UnknownTaskError

MAX_SIDE = 65535


class ConditionalCodec:
    """A learned codec: the streams of a conditional network, entropy-coded.

    Parameters
    ----------
    tasks
        The tasks it codes; each must map to another modality of the network.
    weights
        A codec file (`dsc._codecs.learned.codec_file`), or the decoder's part of one, which decodes
        only.
    kappa
        What the encoder weighs rate with, for all streams; infinite for plain rounding, None for
        each stream's own (`dsc._codecs.learned.network.rate`). Whoever decodes need not know.

    Raises
    ------
    CodecError
        When it cannot code a task, or the file is another codec's.
    """

    id: ClassVar[str]

    def __init__(self, tasks: Sequence[Task], weights: bytes, kappa: float | None = None) -> None:
        self.tasks = tuple(tasks)
        self._weights = weights
        self._modality = _assign(self.id, self.tasks)
        self._name = {modality: name for name, modality in self._modality.items()}
        self._task = {task.name: task for task in self.tasks}
        self._loaded = _load(weights)
        self._spec = self._loaded.model.spec
        if self._spec.kind != self.id:
            raise CodecError(f"these weights are of {self._spec.kind}, the codec is {self.id}")
        for task in self.tasks:
            if self._modality[task.name] not in self._spec.modalities:
                known = ", ".join(self._spec.modalities)
                raise CodecError(f"task {task.name}: these weights code {known} only")
        self._coder = StreamCoder(self._loaded, kappa)
        own = {SHARED: SHARED} if self._spec.is_joint else {}
        self._naming = Naming(own | self._name, self._task)

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

    @staticmethod
    def supported(tasks: Sequence[Task]) -> tuple[Task, ...]:
        """Choose the tasks that this codec can take: the first of each modality."""
        chosen: dict[str, Task] = {}
        for task in tasks:
            modality = modality_of(task)
            if modality is not None:
                chosen.setdefault(modality, task)
        return tuple(chosen.values())

    def config(self) -> dict[str, Any]:
        """Return the tasks; everything else is in the weights file."""
        return {"tasks": [task.model_dump(mode="json") for task in self.tasks]}

    def weights(self) -> bytes:
        """Return the codec file."""
        return self._weights

    def streams(self) -> tuple[Stream, ...]:
        """Return one stream a task, and ``shared`` where there is one; the required ones first."""
        found = []
        for stream in self._spec.streams():
            if stream == SHARED:
                found.append(Stream(name=SHARED))
            elif stream in self._name:
                name = self._name[stream]
                required = tuple(self._required(stream).values())
                found.append(Stream(name=name, carries=(name,), requires=required))
        return tuple(found)

    def gains(self, tasks: Sequence[str]) -> dict[str, Gain]:
        """Return copies of the gains of all streams that tasks require, those required first.

        Raises
        ------
        UnknownTaskError
            When this codec does not code a task.
        """
        self._check_tasks(tasks)
        needed = self._spec.required([self._modality[task] for task in tasks])
        gain, names = self._loaded.model.gain, self._naming.names
        return {names[stream]: deepcopy(gain[stream]) for stream in needed if stream in names}

    def _required(self, stream: str) -> dict[str, str]:
        """Name the streams that one requires here: of the network, as the archive calls them."""
        names = self._naming.names
        return {n: names[n] for n in self._spec.requires(stream) if n in names}

    # ---- encoding

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples one by one: the bytes of a sample must not depend on its batch."""
        self._check_encodes()
        return [self._encode(sample, quality) for sample in samples]

    @torch.inference_mode()
    def _encode(self, sample: Sample, quality: Quality) -> dict[str, bytes]:
        present = [task for task in self.tasks if task.name in sample]
        if not present:
            return {}
        arrays = {task.name: check_array(task, sample[task.name]) for task in present}
        size = _common_size(arrays)
        headers: dict[str, bytes] = {}
        masks: dict[bytes, bytes] = {}  # depth and normals mostly have the same holes
        inputs: dict[str, Tensor] = {}
        qualities = {self._modality[t.name]: quality.of(t.name) for t in present}
        for task in present:
            planes, invalid, offset = to_planes(task, arrays[task.name])
            modality = self._modality[task.name]
            headers[modality] = task_header(task, qualities[modality], invalid, offset, masks)
            inputs[modality] = _pad_to_16(torch.from_numpy(planes)[None])
        if self._spec.is_joint:
            qualities[SHARED] = quality.own(SHARED) or max(qualities.values())
            headers[SHARED] = shared_header(qualities[SHARED], size)
        words = encode_planes(self._coder, inputs, qualities)
        coded = {}
        for stream, data in words.items():
            header = headers[stream]
            if not self._spec.is_joint:
                used = [name in words for name in self._spec.requires(stream)]
                header = size_header(used, size) + header
            coded[SHARED if stream == SHARED else self._name[stream]] = header + data
        return coded

    # ---- decoding

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks`: entropy decoding and synthesis by batches of one size."""
        self._check_tasks(tasks)
        present = [[t for t in tasks if given.get(t) is not None] for given in streams]
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
        some = [at for at, names in enumerate(tasks) if names]
        wanted = [[self._modality[name] for name in tasks[at]] for at in some]
        found = unpack(self._coder, self._naming, [streams[at] for at in some], wanted, max_pixels)
        out: list[Latents | None] = [None] * len(streams)
        for at, latents in zip(some, found, strict=True):
            out[at] = latents
        return out

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
        return to_arrays(self._coder, self._naming, latents, tasks, device)

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
        self._check_tasks(tasks)
        wanted = [task for task in tasks if task in batch.streams]
        return to_tensors(self._coder, self._naming, batch, wanted, native)

    # ---- its encoder, apart from its decoder

    @staticmethod
    def decoder_part(weights: bytes) -> bytes:
        """Return the part of a codec file that decoding takes."""
        return decoder_part(weights)

    def encoder_network(self) -> ConditionalNetwork:
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

    def _check_encodes(self) -> None:
        if not self._loaded.has_encoder:
            raise CodecError(
                f"these weights of {self.id} are the decoder's part alone, which reads and cannot "
                'encode; give the whole codec file, for example codec="my.safetensors"'
            )

    def _check_tasks(self, tasks: Sequence[str]) -> None:
        for task in tasks:
            if task not in self._task:
                raise UnknownTaskError(f"{self.id} does not code {task!r} here")


class IndependentCodec(ConditionalCodec):
    """One stream a task, none requires another: what each task costs by itself."""

    id: ClassVar[str] = "independent"


class SharedLatentCodec(ConditionalCodec):
    """One stream ``shared`` and one a task, each requiring ``shared``.

    The shared latent comes from the features of all tasks together. Training must drop tasks and
    charge subsets, or nothing pushes what is common into it.
    """

    id: ClassVar[str] = "shared-latent"


class ChainedCodec(ConditionalCodec):
    """Depth first; normals see it in analysis, entropy model and synthesis.

    Depth alone costs what its own codec would. It tells how surfaces are tilted and where their
    edges are: its decoded planes and their gradients guide the transforms of normals, which are
    predicted from them; the difference is coded. Rgb requires nothing: whoever wants it alone would
    pay more for depth than that saves. Codec files of the first version have another graph, which
    they say.
    """

    id: ClassVar[str] = "chained"


def default_weights(codec_id: str = "shared-latent") -> bytes:
    """Return the codec file that comes with dsc.

    Raises
    ------
    CodecError
        When dsc comes with none for this codec.
    """
    try:
        return shipped_file(f"{codec_id}.safetensors")
    except FileNotFoundError:
        raise CodecError(
            f"dsc comes with no weights for {codec_id}; train some with `dsc train`"
        ) from None


@lru_cache(maxsize=4)
def _load(weights: bytes) -> LoadedCodec:
    """Read a codec file once a process: all its codecs share what is read and hand none of it out.

    So nobody can alter the network of another codec of the same file.
    """
    return load_codec_file(weights)


def _assign(codec_id: str, tasks: Sequence[Task]) -> dict[str, str]:
    found: dict[str, str] = {}
    for task in tasks:
        modality = modality_of(task)
        if modality is None:
            raise CodecError(
                f"task {task.name} ({task.kind}, {task.dtype}) is not one that {codec_id} "
                f"codes; choose another codec for it, e.g. --codec {codec_id},{task.name}=jxl"
            )
        if modality in found.values():
            other = next(name for name, used in found.items() if used == modality)
            raise CodecError(f"tasks {other} and {task.name} are both {modality}; code one apart")
        found[task.name] = modality
    return found


def _common_size(arrays: Mapping[str, Array]) -> tuple[int, int]:
    sizes = {name: (a.shape[0], a.shape[1]) for name, a in arrays.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {h}×{w}" for name, (h, w) in sizes.items())
        raise CodecError(f"the tasks of a sample differ in size: {listed}; resize the source")
    size = next(iter(sizes.values()))
    if max(size) > MAX_SIDE:
        raise CodecError(f"{size[0]}×{size[1]} pixels: a side is at most {MAX_SIDE}")
    return size


def _pad_to_16(x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    return torch.nn.functional.pad(x, (0, -width % 16, 0, -height % 16), mode="replicate")
