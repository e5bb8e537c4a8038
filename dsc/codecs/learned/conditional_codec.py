"""The codec of a conditional network: what `independent`, `shared-latent`, `chained` share.

Bitstreams, little-endian. With a shared stream:

- ``shared``: ``u8 quality | u16 height | u16 width``, then coder words.
- a task: ``u8 quality`` (top bit: a mask follows), for depth ``f16`` median log depth, for a mask
  ``u32 length`` and the mask, then coder words.

Without one, a task's stream starts with ``u8 used | u16 height | u16 width``: bit i of `used` says
that the i-th stream that the network requires was there and was used. A sample without depth is
coded all the same. Coder words hold ẑ, then the symbols of ŷ step by step.

Decoding has two halves. `unpack_latents` (entropy decoding: integers only, exact everywhere) suits
a loader's CPU workers; `synthesize` (the network) suits a GPU, one call a batch.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from dsc.codecs.base import Array, Sample, check_array
from dsc.codecs.learned.header import (
    SHARED_HEADER_BYTES,
    SIZE_HEADER_BYTES,
    read_shared_header,
    read_size_header,
    read_task_header,
    shared_header,
    size_header,
    task_header,
)
from dsc.codecs.learned.latents import Latents
from dsc.codecs.learned.modality import from_planes, modality_of, to_planes
from dsc.codecs.learned.plane_coder import encode_planes, synthesise_planes
from dsc.codecs.learned.spec import SHARED
from dsc.codecs.learned.stream_coder import StreamCoder
from dsc.codecs.learned.weights import LoadedCodec, load_codec_file
from dsc.errors import BitstreamError, CodecError, UnknownTaskError
from dsc.schemas import Quality, Stream, Task

MAX_SIDE = 65535
BATCH_PIXELS = 1 << 20  # most pixels of one synthesis call


class ConditionalCodec:
    """See the module.

    Parameters
    ----------
    tasks
        The tasks it codes; each must map to another modality of the network.
    weights
        A codec file (`dsc.codecs.learned.weights`).

    Raises
    ------
    CodecError
        When it cannot code a task, or the file is another codec's.
    """

    id: ClassVar[str]

    def __init__(self, tasks: Sequence[Task], weights: bytes) -> None:
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
        self._coder = StreamCoder(self._loaded)

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Make the codec for these tasks with the weights that come with dsc."""
        return cls(tasks, default_weights(cls.id))

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
        """Give the tasks; everything else is in the weights file."""
        return {"tasks": [task.model_dump(mode="json") for task in self.tasks]}

    def weights(self) -> bytes:
        """Give the codec file."""
        return self._weights

    def streams(self) -> tuple[Stream, ...]:
        """Give one stream a task, and ``shared`` where there is one; the required ones first."""
        found = []
        for stream in self._spec.streams():
            if stream == SHARED:
                found.append(Stream(name=SHARED))
            elif stream in self._name:
                name = self._name[stream]
                required = tuple(self._required(stream).values())
                found.append(Stream(name=name, carries=(name,), requires=required))
        return tuple(found)

    def _required(self, stream: str) -> dict[str, str]:
        """Name the streams that one requires here: of the network, as the archive calls them."""
        names = {SHARED: SHARED} | self._name
        return {n: names[n] for n in self._spec.requires(stream) if n in names}

    # ---- encoding

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples one by one: the bytes of a sample must not depend on its batch."""
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
        """Decode `tasks`: entropy decoding sample by sample, synthesis by batches of one size."""
        for task in tasks:
            if task not in self._task:
                raise UnknownTaskError(f"{self.id} does not code {task!r} here")
        latents = [
            self.unpack_latents(given, [t for t in tasks if given.get(t) is not None], max_pixels)
            for given in streams
        ]
        return self.synthesize(latents, tasks)

    @torch.inference_mode()
    def unpack_latents(
        self, streams: Mapping[str, bytes], tasks: Sequence[str], max_pixels: int
    ) -> Latents | None:
        """Decode the integers of one sample; None when `tasks` is empty.

        Raises
        ------
        BitstreamError
            When a stream is missing or damaged, or declares more than `max_pixels`.
        """
        if not tasks:
            return None
        found = Latents((0, 0), {}, {}, {})
        for name in tasks:
            found = self._unpack(self._modality[name], streams, max_pixels, found)
        return found

    def _unpack(
        self, stream: str, streams: Mapping[str, bytes], max_pixels: int, found: Latents
    ) -> Latents:
        """Decode a stream and, first, those that it requires; give `found` with them."""
        name = self._name_of(stream)
        if name in found.streams:
            return found
        data = streams.get(name)
        if data is None:
            raise BitstreamError(f"stream {name} is required and not here")
        required = self._spec.requires(stream)
        start, size = 0, found.size
        if stream == SHARED:
            quality, size = read_shared_header(data, max_pixels)
            start = SHARED_HEADER_BYTES
        elif not self._spec.is_joint:
            used, size = read_size_header(name, data, len(required), max_pixels)
            start = SIZE_HEADER_BYTES
            required = tuple(r for r, there in zip(required, used, strict=True) if there)
        if found.streams and size != found.size:
            raise BitstreamError(f"stream {name}: {size} pixels, the others have {found.size}")
        found = replace(found, size=size)
        for other in required:
            found = self._unpack(other, streams, max_pixels, found)
        offsets, masks = dict(found.offsets), dict(found.masks)
        if stream != SHARED:
            header = data[start:]
            quality, offsets[name], mask, length = read_task_header(
                self._task[name], header, found.size
            )
            start += length
            if mask is not None:
                masks[name] = mask
        given = {other: found.streams[self._name_of(other)] for other in required}
        latent = self._coder.decode(stream, data[start:], quality, found.size, given)
        return Latents(found.size, {**found.streams, name: latent}, offsets, masks)

    def _name_of(self, stream: str) -> str:
        """Give an archive's name of one of the network's streams."""
        if stream != SHARED and stream not in self._name:
            raise BitstreamError(f"a stream requires {stream}, which no task here is")
        return SHARED if stream == SHARED else self._name[stream]

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
            Where the network runs; the weights are moved there.
        """
        out: list[dict[str, Array]] = [{} for _ in latents]
        groups: dict[tuple[tuple[int, int], frozenset[str]], list[int]] = defaultdict(list)
        for at, latent in enumerate(latents):
            if latent is not None:
                groups[latent.size, frozenset(latent.streams)].append(at)
        for (size, there), members in groups.items():
            count = max(1, BATCH_PIXELS // (size[0] * size[1]))
            for start in range(0, len(members), count):
                part = members[start : start + count]
                chosen = [given for at in part if (given := latents[at]) is not None]
                arrays = self._synthesise(chosen, [t for t in tasks if t in there], device)
                for at, found in zip(part, arrays, strict=True):
                    out[at] = found
        return out

    def _synthesise(
        self, latents: Sequence[Latents], tasks: Sequence[str], device: str
    ) -> list[dict[str, Array]]:
        """Turn samples of one size with the same streams into native arrays."""
        streams = {
            stream: [x.streams[name] for x in latents]
            for stream, name in ({SHARED: SHARED} | self._name).items()
            if name in latents[0].streams
        }
        wanted = [self._modality[task] for task in tasks]
        planes = synthesise_planes(self._coder, streams, wanted, device)
        height, width = latents[0].size
        out: list[dict[str, Array]] = [{} for _ in latents]
        for task in tasks:
            decoded = planes[self._modality[task]].float().cpu().numpy()
            for at, latent in enumerate(latents):
                out[at][task] = from_planes(
                    self._task[task],
                    decoded[at, :, :height, :width],
                    latent.masks.get(task),
                    latent.offsets[task],
                )
        return out


def default_weights(codec_id: str = "shared-latent") -> bytes:
    """Give the codec file that comes with dsc.

    Raises
    ------
    CodecError
        When dsc comes with none for this codec.
    """
    file = files("dsc.codecs") / "weights" / f"{codec_id}.safetensors"
    if not file.is_file():
        raise CodecError(f"dsc comes with no weights for {codec_id}; train some with `dsc train`")
    return file.read_bytes()


@lru_cache(maxsize=4)
def _load(weights: bytes) -> LoadedCodec:
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
