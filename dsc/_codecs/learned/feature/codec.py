"""The codec `feature-learned`: feature maps of one layer of a backbone, by a network.

A task's stream, little-endian: ``u8 quality``, then, where the task leaves h or w open, ``u16 h |
u16 w``, then coder words: ẑ, and the symbols of ŷ step by step. Weights belong to one layer of one
backbone; another layer's tasks are refused. Integers are decoded the same everywhere; the features
that the network makes of them are floats, whose last bits may differ between machines.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from dsc._codecs.base import Array, Sample, check_array
from dsc._codecs.latents import StreamLatent
from dsc._codecs.learned.feature.weights import (
    CodedLayer,
    LoadedFeatures,
    decoder_part,
    load_network,
)
from dsc._codecs.learned.latent_coder import LatentCoder
from dsc._codecs.learned.network.entropy import MEAN_STEPS, Prediction
from dsc._codecs.learned.network.rate import SymbolChooser
from dsc._coding.weights_file import shipped_file
from dsc._schemas import Quality, Stream, Task, TaskKind
from dsc.errors import BitstreamError, CodecError, UnknownTaskError

MAX_SIDE = 65535
SIZE = struct.Struct("<HH")
# The encoder weighs no rate (`SymbolChooser`): rounded toward zero, errors of neighbours are
# alike, and add up in an answer: at 30 bits a squared step, KL 0.96 took a fifth more bits.
KAPPA = math.inf


class FeatureLearnedCodec:
    """Feature maps of one layer; quality trades the tail's answer against bits.

    Parameters
    ----------
    tasks
        Feature maps of the layer that the weights are for.
    weights
        A weights file (`dsc._codecs.learned.feature.weights`), or the decoder's part of one, which
        decodes only.
    kappa
        What the encoder weighs rate with; infinite for plain rounding. Whoever decodes need not
        know.

    Raises
    ------
    CodecError
        When a task is none of that layer.
    """

    id: ClassVar[str] = "feature-learned"

    def __init__(self, tasks: Sequence[Task], weights: bytes, kappa: float = KAPPA) -> None:
        self.tasks = tuple(tasks)
        self._task = {task.name: task for task in self.tasks}
        self._weights, self._kappa = weights, kappa
        self._loaded = _load(weights)
        self._network, self._spec = self._loaded.network, self._loaded.network.spec
        for task in self.tasks:
            _check_layer(task, self._loaded)
        scale, hyper = self._loaded.scale_tables, self._loaded.hyper_tables
        self._coder = LatentCoder(
            self.id, self._network.entropy, hyper, scale, SymbolChooser(scale)
        )

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        """Make the codec for these tasks with the weights that come with dsc for their layer."""
        return cls(tasks, weights_for(tasks))

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
        """Return the weights file."""
        return self._weights

    @staticmethod
    def decoder_part(weights: bytes) -> bytes:
        """Return the part of a weights file that decoding takes."""
        return decoder_part(weights)

    @classmethod
    def shipped_weights(cls) -> bytes | None:
        """Return the weights file that comes with dsc, the first one."""
        return shipped_file(next(iter(SHIPPED.values())))

    def streams(self) -> tuple[Stream, ...]:
        """Return one stream a task; none requires another."""
        return tuple(Stream(name=task.name, carries=(task.name,)) for task in self.tasks)

    # ---- encoding

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples one by one: the bytes of a sample must not depend on its batch."""
        if not self._loaded.has_encoder:
            raise CodecError(
                f"these weights of {self.id} are the decoder's part alone, which reads and cannot "
                'encode; give the whole file, for example codec="my.safetensors"'
            )
        return [
            {
                task.name: self._encode(task, sample[task.name], quality.of(task.name))
                for task in self.tasks
                if task.name in sample
            }
            for sample in samples
        ]

    @torch.inference_mode()
    def _encode(self, task: Task, array: Array, quality: int) -> bytes:
        features = check_array(task, array)
        _check_values(task, features)
        size = (features.shape[1], features.shape[2])
        given = torch.from_numpy(features.astype(np.float32))[None]
        scaled = self._network.analyse(given, torch.tensor([float(quality)]))
        words, _ = self._coder.encode(
            scaled, quality, self._kappa, lambda z: self._predict(z, [quality], size)
        )
        return bytes([quality]) + (SIZE.pack(*size) if _is_open(task) else b"") + words

    # ---- decoding

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks`, all feature maps of one size together."""
        for task in tasks:
            if task not in self._task:
                raise UnknownTaskError(f"{self.id} does not code {task!r} here")
        coded = [
            (read_header(self._task[name], given[name], max_pixels), at, name)
            for at, given in enumerate(streams)
            for name in tasks
            if given.get(name) is not None
        ]
        found: dict[tuple[int, str], Array] = {}
        for size, group in groupby(sorted(coded, key=lambda one: one[0][1]), lambda one: one[0][1]):
            together = list(group)
            features = self._decode([(q, words) for (q, _, words), _, _ in together], size)
            for own, (_, at, name) in zip(features, together, strict=True):
                found[at, name] = _native(self._task[name], own)
        return [
            {name: found[at, name] for name in tasks if (at, name) in found}
            for at in range(len(streams))
        ]

    @torch.inference_mode()
    def _decode(self, coded: Sequence[tuple[int, bytes]], size: tuple[int, int]) -> Tensor:
        """Decode words with their qualities to features (B, C, h, w), float32."""
        latents = self.unpack(coded, size)
        symbols, mean = (
            torch.from_numpy(np.stack(parts)).float()
            for parts in zip(*((one.symbols, one.mean) for one in latents), strict=True)
        )
        quality = torch.tensor([float(quality) for quality, _ in coded])
        return self._network.synthesise(symbols + mean / MEAN_STEPS, quality)

    def unpack(
        self, coded: Sequence[tuple[int, bytes]], size: tuple[int, int]
    ) -> list[StreamLatent]:
        """Decode the integers of qualities and coder words: the same on every machine.

        Parameters
        ----------
        size
            (h, w) of all feature maps.

        Raises
        ------
        BitstreamError
            When words are damaged.
        """
        qualities = [quality for quality, _ in coded]
        return self._coder.decode(
            [words for _, words in coded],
            qualities,
            self._spec.hyper_latents,
            size,
            lambda z: self._predict(z, qualities, size),
        )

    def _predict(self, z: Tensor, qualities: Sequence[int], size: tuple[int, int]) -> Prediction:
        with torch.autocast(z.device.type, enabled=False):
            found: Prediction = self._network.entropy.synthesis(
                z, torch.tensor(qualities), size, None, None
            )
        return found


# ---- weights

SHIPPED = {
    ("efficientnet-lite0", "block10"): "feature-learned-efficientnet-lite0-block10.safetensors",
}
"""By backbone and layer, the weights file that comes with dsc."""


def weights_for(tasks: Sequence[Task]) -> bytes:
    """Return the weights file that comes with dsc for the layer of these tasks.

    Raises
    ------
    CodecError
        When there is none; the message says for which layers there is.
    """
    for task in tasks:
        made = task.extractor
        if task.kind is TaskKind.FEATURE and made and (made.backbone, made.layer) in SHIPPED:
            return shipped_file(SHIPPED[made.backbone, made.layer])
    known = ", ".join(f"{layer} of {backbone}" for backbone, layer in SHIPPED)
    names = ", ".join(task.name for task in tasks)
    raise CodecError(
        f"task {names}: {FeatureLearnedCodec.id} comes with weights for feature maps of {known}; "
        "give a weights file of its layer (--codec my.safetensors), or another codec"
    )


@lru_cache(maxsize=4)
def _load(weights: bytes) -> LoadedFeatures:
    """Read a weights file once a process."""
    return load_network(weights)


def _check_layer(task: Task, loaded: LoadedFeatures) -> None:
    of = loaded.of
    known = _named(of)
    if task.kind is not TaskKind.FEATURE:
        raise CodecError(f"task {task.name} is of kind {task.kind}: these weights code {known}")
    if task.is_exact:
        raise CodecError(f"task {task.name} is exact, and this codec changes values; use plain")
    made = task.extractor
    if made is None:
        raise CodecError(
            f"task {task.name} does not say which backbone computed it, and these weights code "
            f"{known} alone; take another codec"
        )
    found = CodedLayer(made.backbone, made.weights_sha256, made.layer)
    if found != of:
        raise CodecError(
            f"task {task.name} is {_named(found)}, and these weights code {known} alone; give a "
            "weights file of that layer, or another codec"
        )
    if task.channels != loaded.network.spec.channels:
        raise CodecError(
            f"task {task.name} has {task.channels} channels, {known} has "
            f"{loaded.network.spec.channels}"
        )


def _named(of: CodedLayer) -> str:
    return f"layer {of.layer} of {of.backbone} (weights {of.weights_sha256[:12]})"


# ---- arrays and headers


def _check_values(task: Task, features: Array) -> None:
    if not np.isfinite(features).all():
        raise CodecError(
            f"task {task.name}: {np.count_nonzero(~np.isfinite(features))} of {features.size} "
            "numbers are not finite; mend the source, or leave the sample out"
        )
    if not features.size or max(features.shape[1:]) > MAX_SIDE:
        raise CodecError(f"task {task.name}: shape {features.shape}; sides are 1 to {MAX_SIDE}")


def _is_open(task: Task) -> bool:
    """Tell whether feature maps of a task may differ in size."""
    return -1 in task.shape[1:]


def read_header(task: Task, data: bytes, max_pixels: int) -> tuple[int, tuple[int, int], bytes]:
    """Return quality, (h, w) and the coder's words.

    Raises
    ------
    BitstreamError
        When the bytes are no stream of the task, or declare more than `max_pixels`.
    """
    start = 1 + (SIZE.size if _is_open(task) else 0)
    if len(data) < start or not 1 <= data[0] <= 100:
        raise BitstreamError(f"stream {task.name}: {len(data)} bytes are no feature map")
    height, width = SIZE.unpack_from(data, 1) if _is_open(task) else task.shape[1:]
    if not 0 < height * width <= max_pixels:
        raise BitstreamError(
            f"stream {task.name}: {height}×{width} positions; at most {max_pixels} are expected"
        )
    return data[0], (height, width), bytes(data[start:])


def _native(task: Task, features: Tensor) -> Array:
    """Return a feature map as its task stores it; beyond its range, the largest there is."""
    limits = np.finfo(task.dtype)
    return features.numpy().clip(limits.min, limits.max).astype(task.dtype, order="C")
