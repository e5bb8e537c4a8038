"""The codec `shared-latent`: one stream ``shared`` and one a task, each requiring ``shared``.

Bitstreams, little-endian:

- ``shared``: ``u8 quality | u16 height | u16 width``, then coder words: ẑ, then the symbols of ŷ.
- a task: ``u8 quality`` (top bit: a mask follows), for depth ``f16`` median log depth, for a mask
  ``u32 length`` and the mask, then coder words as above.

Decoding has two halves. `unpack_latents` (entropy decoding: integers only, exact everywhere) suits
a loader's CPU workers; `synthesize` (the network) suits a GPU, one call a batch.
"""

import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsc.codecs.base import Array, Sample, check_array
from dsc.codecs.entropy import SymbolDecoder, SymbolEncoder
from dsc.codecs.learned.header import read_task_header, task_header
from dsc.codecs.learned.latents import Latents, StreamLatent
from dsc.codecs.learned.modality import from_planes, modality_of, to_planes
from dsc.codecs.learned.model import (
    MEAN_STEPS,
    SHARED,
    context_of,
    pad_hyper,
    quality_bucket,
    quantise_hyper,
)
from dsc.codecs.learned.weights import LoadedCodec, load_codec_file
from dsc.errors import BitstreamError, CodecError, UnknownTaskError
from dsc.schemas import Quality, Stream, Task

MAX_SIDE = 65535
BATCH_PIXELS = 1 << 20  # most pixels of one synthesis call


class SharedLatentCodec:
    """See the module.

    Parameters
    ----------
    tasks
        The tasks it codes; each must map to another modality of the network.
    weights
        A codec file (`dsc.codecs.learned.weights`).
    """

    id: ClassVar[str] = "shared-latent"

    def __init__(self, tasks: Sequence[Task], weights: bytes) -> None:
        self.tasks = tuple(tasks)
        self._weights = weights
        self._modality = _assign(self.tasks)
        self._task = {task.name: task for task in self.tasks}
        self._loaded = _load(weights)
        known = self._loaded.model.spec.modalities
        for task in self.tasks:
            if self._modality[task.name] not in known:
                raise CodecError(f"task {task.name}: these weights code {', '.join(known)} only")

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Make the codec for these tasks with the weights that come with dsc."""
        return cls(tasks, default_weights())

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes."""
        if weights is None:
            raise CodecError("shared-latent needs its weights file, the archive names none")
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
        """Give ``shared`` and one stream a task."""
        own = (Stream(name=t.name, carries=(t.name,), requires=(SHARED,)) for t in self.tasks)
        return (Stream(name=SHARED), *own)

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
        for task in present:
            planes, invalid, offset = to_planes(task, arrays[task.name])
            headers[task.name] = task_header(task, quality.of(task.name), invalid, offset, masks)
            inputs[self._modality[task.name]] = _pad_to_16(torch.from_numpy(planes)[None])
        latents = self._loaded.model.analyse(inputs)
        quality_shared = max(quality.of(task.name) for task in present)
        words, context = self._encode_stream(SHARED, latents[SHARED], quality_shared, None, 0)
        coded = {SHARED: struct.pack("<BHH", quality_shared, *size) + words}
        for task in present:
            modality, own = self._modality[task.name], quality.of(task.name)
            words, _ = self._encode_stream(
                modality, latents[modality], own, context, quality_shared
            )
            coded[task.name] = headers[task.name] + words
        return coded

    def _encode_stream(
        self, name: str, y: Tensor, quality: int, context: Tensor | None, context_quality: int
    ) -> tuple[bytes, Tensor]:
        """Code one latent; give the words and the context that other streams are coded under."""
        model = self._loaded.model
        q = torch.tensor([quality])
        scaled = y * model.gain[name](q.float())
        z = quantise_hyper(model.entropy[name].analysis(pad_hyper(scaled)))
        index, mean = self._entropy_parameters(name, z, q, y.shape, context, context_quality)
        symbols = torch.floor(scaled - mean / MEAN_STEPS + 0.5)
        coder = SymbolEncoder()
        coder.put(_int32(z), self._hyper_indexes(name, z, quality), self._loaded.hyper_tables[name])
        coder.put(_int32(symbols), _uint8(index), self._loaded.scale_tables)
        return coder.finish(), context_of(symbols, mean)

    # ---- decoding

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks`: entropy decoding sample by sample, synthesis by batches of one size."""
        for task in tasks:
            if task not in self._task:
                raise UnknownTaskError(f"shared-latent does not code {task!r} here")
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
        data = _required(streams, SHARED)
        if len(data) < 5:
            raise BitstreamError(f"stream shared: {len(data)} bytes are no header")
        quality_shared, height, width = struct.unpack_from("<BHH", data)
        if not 1 <= quality_shared <= 100 or not 0 < height * width <= max_pixels:
            raise BitstreamError(
                f"stream shared: quality {quality_shared}, {height}×{width} pixels; "
                f"at most {max_pixels} pixels are expected here"
            )
        shared, context = self._decode_stream(
            SHARED, data[5:], quality_shared, (height, width), None, 0
        )
        found, offsets, masks = {SHARED: shared}, {}, {}
        for name in tasks:
            task = self._task[name]
            data = _required(streams, name)
            own, offset, mask, start = read_task_header(task, data, (height, width))
            found[name], _ = self._decode_stream(
                self._modality[name], data[start:], own, (height, width), context, quality_shared
            )
            offsets[name] = offset
            if mask is not None:
                masks[name] = mask
        return Latents((height, width), found, offsets, masks)

    def _decode_stream(
        self,
        name: str,
        words: bytes,
        quality: int,
        size: tuple[int, int],
        context: Tensor | None,
        context_quality: int,
    ) -> tuple[StreamLatent, Tensor]:
        model = self._loaded.model
        height, width = -(-size[0] // 16), -(-size[1] // 16)
        z_shape = (1, model.spec.hyper_latents, -(-height // 4), -(-width // 4))
        coder = SymbolDecoder(words)
        blank = torch.empty(z_shape)
        z_symbols = coder.get(
            self._hyper_indexes(name, blank, quality), self._loaded.hyper_tables[name]
        )
        if np.abs(z_symbols).max() > 127:
            raise BitstreamError(f"stream {name}: a hyper-latent is out of range")
        z = torch.from_numpy(z_symbols.astype(np.float32))
        y_shape = (1, model.gain[name].log_gain.shape[1], height, width)
        q = torch.tensor([quality])
        index, mean = self._entropy_parameters(name, z, q, y_shape, context, context_quality)
        symbols = coder.get(_uint8(index), self._loaded.scale_tables)
        coder.check_end()
        latent = StreamLatent(symbols[0], mean[0].to(torch.int16).numpy(), quality)
        return latent, context_of(torch.from_numpy(symbols).float(), mean)

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
        groups: dict[tuple[str, tuple[int, int]], list[int]] = defaultdict(list)
        for at, latent in enumerate(latents):
            for task in tasks:
                if latent is not None and task in latent.streams:
                    groups[task, latent.size].append(at)
        for (task, size), members in groups.items():
            count = max(1, BATCH_PIXELS // (size[0] * size[1]))
            for start in range(0, len(members), count):
                part = members[start : start + count]
                chosen = [given for at in part if (given := latents[at]) is not None]
                for at, array in zip(part, self._synthesise(task, chosen, device), strict=True):
                    out[at][task] = array
        return out

    def _synthesise(self, task: str, latents: Sequence[Latents], device: str) -> list[Array]:
        model, modality = self._loaded.model, self._modality[task]
        if next(model.parameters()).device != torch.device(device):
            model.to(device)
        y_shared = self._dequantise(SHARED, [x.streams[SHARED] for x in latents], device)
        y_task = self._dequantise(modality, [x.streams[task] for x in latents], device)
        planes = model.synthesise(modality, y_shared, y_task).float().cpu().numpy()
        height, width = latents[0].size
        return [
            from_planes(
                self._task[task],
                planes[at, :, :height, :width],
                latent.masks.get(task),
                latent.offsets[task],
            )
            for at, latent in enumerate(latents)
        ]

    def _dequantise(self, name: str, latents: Sequence[StreamLatent], device: str) -> Tensor:
        symbols = torch.from_numpy(np.stack([x.symbols for x in latents])).to(device).float()
        mean = torch.from_numpy(np.stack([x.mean for x in latents])).to(device).float()
        quality = torch.tensor([float(x.quality) for x in latents], device=device)
        gain: Tensor = self._loaded.model.gain[name](quality)
        return (symbols + mean / MEAN_STEPS) / gain

    # ---- shared by both directions

    def _entropy_parameters(
        self,
        name: str,
        z: Tensor,
        quality: Tensor,
        y_shape: Sequence[int],
        context: Tensor | None,
        context_quality: int,
    ) -> tuple[Tensor, Tensor]:
        given = None if context is None else torch.tensor([context_quality])
        size = (y_shape[-2], y_shape[-1])
        network = self._loaded.model.entropy[name].synthesis
        with torch.autocast(z.device.type, enabled=False):
            index, mean = network(z, quality, size, context, given)
        return index, mean

    def _hyper_indexes(self, name: str, z: Tensor, quality: int) -> NDArray[np.uint8]:
        """Give the table of each element of ẑ: one a channel, in the quality's bucket."""
        channels = z.shape[1]
        bucket = int(quality_bucket(torch.tensor([quality]))[0])
        numbers = (bucket * channels + np.arange(channels)).astype(np.uint8)
        return np.broadcast_to(numbers[None, :, None, None], tuple(z.shape))


def default_weights() -> bytes:
    """Give the codec file that comes with dsc."""
    return (files("dsc.codecs") / "weights" / "shared-latent.safetensors").read_bytes()


@lru_cache(maxsize=4)
def _load(weights: bytes) -> LoadedCodec:
    return load_codec_file(weights)


def _assign(tasks: Sequence[Task]) -> dict[str, str]:
    found: dict[str, str] = {}
    for task in tasks:
        modality = modality_of(task)
        if modality is None:
            raise CodecError(
                f"task {task.name} ({task.kind}, {task.dtype}) is not one that shared-latent "
                f"codes; choose another codec for it, e.g. --codec shared-latent,{task.name}=jxl"
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


def _required(streams: Mapping[str, bytes], name: str) -> bytes:
    data = streams.get(name)
    if data is None:
        raise BitstreamError(f"stream {name} is required and not here")
    return data


def _int32(x: Tensor) -> NDArray[np.int32]:
    return x.to(torch.int32).numpy()


def _uint8(x: Tensor) -> NDArray[np.uint8]:
    return x.to(torch.uint8).numpy()
