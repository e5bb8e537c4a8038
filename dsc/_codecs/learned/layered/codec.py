"""The codec `layered`: each task alone, in four scales, each of which is a stream of its own.

Any number of scales, from the coarsest on, decodes to the whole size: what is missing is what the
integers of the coarser scales predict. It is the same whatever else was fetched. Bitstreams:
`dsc._codecs.learned.layered.bitstream`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from dsc._codecs.base import Array, Sample, check_array
from dsc._codecs.latents import Latents, StreamLatent, StreamLatentBatch
from dsc._codecs.learned.base import LearnedCodec, check_side, pad
from dsc._codecs.learned.bitstream import task_header
from dsc._codecs.learned.codec_file import DeviceCopies
from dsc._codecs.learned.layered.bitstream import SIZE, CodedTask, read_streams, write_streams
from dsc._codecs.learned.layered.coder import Alone, ScaleCoder, planes_of_scales
from dsc._codecs.learned.layered.model import LayeredModel
from dsc._codecs.learned.layered.spec import SCALES, UNIT, scale_stream
from dsc._codecs.learned.network.rate import kappa_of
from dsc._codecs.learned.planes import to_planes
from dsc._schemas import Quality, Stream, Task
from dsc._schemas.levels import PREFIXES
from dsc.errors import CodecError

TOGETHER_PIXELS = 1 << 18  # decoded in step: more leave the cache


class LayeredNetworkCodec(LearnedCodec[LayeredModel]):
    """Four streams a task, coarse first; see the module.

    Parameters
    ----------
    tasks
        The tasks it codes.
    weights
        As for `LearnedCodec`.
    kappa
        What the encoder weighs rate with, for all streams; infinite for plain rounding, None for
        each modality's own (`dsc._codecs.learned.network.rate`). Whoever decodes need not know.

    Raises
    ------
    CodecError
        When it cannot code a task, or the file is another codec's.
    """

    id: ClassVar[str] = "layered"

    def __init__(self, tasks: Sequence[Task], weights: bytes, kappa: float | None = None) -> None:
        super().__init__(tasks, weights)
        self._layers = self._loaded.model.modalities
        self._coder, self._kappa = ScaleCoder(self._loaded.scale_tables), kappa
        self._model_on = DeviceCopies(self._loaded).on
        self._scales = dict.fromkeys(self._task, SCALES)  # how many are decoded

    def config(self) -> dict[str, Any]:
        """Return the tasks, and that there are levels."""
        return {**super().config(), PREFIXES: True}

    def streams(self) -> tuple[Stream, ...]:
        """Return four streams a task; each requires the one before."""
        return graph_of(self._task)

    def from_streams(self, names: Collection[str]) -> Self:
        """Return what decodes the first scales of each task of which the streams are named."""
        other = copy(self)
        other._scales = {task: first_of(task, names) for task in self._task}
        return other

    # ---- encoding

    def encode_sample(self, sample: Sample, quality: Quality) -> dict[str, bytes]:
        """Encode the tasks that a sample has, each by itself."""
        masks: dict[bytes, bytes] = {}  # depth and normals mostly have the same holes
        coded: dict[str, bytes] = {}
        for task in self.tasks:
            if task.name in sample:
                array = check_array(task, sample[task.name])
                coded |= self._encode(task, array, quality.of(task.name), masks)
        return coded

    @torch.inference_mode()
    def _encode(
        self, task: Task, array: Array, quality: int, masks: dict[bytes, bytes]
    ) -> dict[str, bytes]:
        size = (array.shape[0], array.shape[1])
        check_side(size)
        planes, invalid, offset = to_planes(task, array)
        head = SIZE.pack(*size) + task_header(task, quality, invalid, offset, masks)
        modality = self._modality[task.name]
        kappa = kappa_of(modality, self._kappa)
        x = pad(torch.from_numpy(planes)[None], UNIT)
        words, _ = self._coder.encode(Alone(self._layers[modality]), x, quality, kappa)
        return write_streams(task.name, head, words)

    # ---- decoding

    def has(self, task: str, streams: Mapping[str, bytes]) -> bool:
        """Tell whether a sample has a task."""
        own = (scale_stream(task, scale) for scale in range(SCALES))
        return any(streams.get(name) is not None for name in own)

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks` one after the other, each by batches of one size.

        The tasks of a sample may differ in size.
        """
        self.check_tasks(tasks)
        decoded: list[dict[str, Array]] = [{} for _ in streams]
        for task in tasks:
            present = [[task] if self.has(task, given) else [] for given in streams]
            latents = self.unpack_batch(streams, present, max_pixels)
            for out, found in zip(decoded, self.synthesize(latents, [task]), strict=True):
                out.update(found)
        return decoded

    @torch.inference_mode()
    def unpack_batch(
        self,
        streams: Sequence[Mapping[str, bytes]],
        tasks: Sequence[Sequence[str]],
        max_pixels: int,
    ) -> list[Latents | None]:
        """Decode the integers of several samples; see `LearnedCodec`.

        Raises
        ------
        CodecError
            When tasks of a sample differ in size: decode them apart.
        """
        coded = [
            {name: self._read(name, given, max_pixels) for name in own}
            for given, own in zip(streams, tasks, strict=True)
        ]
        latents: list[dict[str, StreamLatent]] = [{} for _ in streams]
        with torch.autocast("cpu", enabled=False):
            for task in self._task:
                self._unpack_task(task, coded, latents)
        return [_finished(*one) if one[0] else None for one in zip(coded, latents, strict=True)]

    def _read(self, task: str, streams: Mapping[str, bytes], max_pixels: int) -> CodedTask:
        return read_streams(self._task[task], streams, self._scales[task], max_pixels)

    def _unpack_task(
        self,
        task: str,
        coded: Sequence[Mapping[str, CodedTask]],
        latents: Sequence[dict[str, StreamLatent]],
    ) -> None:
        """Add the integers of one task, those of samples of one size together."""
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for at, one in enumerate(coded):
            if task in one:
                by_size[one[task].size].append(at)
        given = Alone(self._layers[self._modality[task]])
        for size, members in by_size.items():
            count = max(1, TOGETHER_PIXELS // (size[0] * size[1]))
            for start in range(0, len(members), count):
                part = members[start : start + count]
                own = [coded[at][task] for at in part]
                words, qualities = [one.words for one in own], [one.quality for one in own]
                found = self._coder.decode(given, words, qualities, size)
                for at, scales in zip(part, found, strict=True):
                    latents[at].update(_named(task, scales))

    def planes(
        self, streams: Mapping[str, StreamLatentBatch], tasks: Sequence[str]
    ) -> dict[str, Tensor]:
        """Call the network; see `LearnedCodec`."""
        found = {}
        for task in tasks:
            scales = [streams[scale_stream(task, scale)] for scale in range(SCALES)]
            model = self._model_on(scales[0].symbols.device)
            found[task] = planes_of_scales(model.modalities[self._modality[task]], scales)
        return found


def graph_of(tasks: Iterable[str]) -> tuple[Stream, ...]:
    """Return the streams of tasks: four each, which require the one before."""
    return tuple(
        Stream(
            name=scale_stream(task, scale),
            carries=(task,),
            requires=(scale_stream(task, scale - 1),) if scale else (),
        )
        for task in tasks
        for scale in range(SCALES)
    )


def first_of(task: str, names: Collection[str]) -> int:
    """Count the first scales of a task whose streams are named; the coarsest is always one."""
    there = [scale_stream(task, scale) in names for scale in range(1, SCALES)]
    return 1 + (there.index(False) if False in there else len(there))


def _named(task: str, scales: Iterable[StreamLatent]) -> dict[str, StreamLatent]:
    return {scale_stream(task, scale): latent for scale, latent in enumerate(scales)}


def _finished(coded: Mapping[str, CodedTask], latents: Mapping[str, StreamLatent]) -> Latents:
    """Return the integers of one sample."""
    sizes = {task: one.size for task, one in coded.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{task} {h}×{w}" for task, (h, w) in sizes.items())
        raise CodecError(f"latents are of one size, and a sample has {listed}; read these apart")
    return Latents(
        next(iter(sizes.values())),
        latents,
        {task: one.offset for task, one in coded.items()},
        {task: one.mask for task, one in coded.items() if one.mask is not None},
    )
