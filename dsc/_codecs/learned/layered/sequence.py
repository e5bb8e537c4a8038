"""The codec `layered-seq`: frames of a recording in four scales, each after the frame before.

The first frame of a group is a key, coded as `layered` codes it in float32. Each other one is coded
after the frame before it, scale by scale: scale k of a frame takes scales 0 to k of the frames back
to the key, and nothing finer. So any first scales of a recording decode by themselves, and a scale
that is lost makes its frame and those after it coarser, up to the next key.
A frame whose size differs, or before which one lacks the task, is a key as well.

Scales that are not read are predicted, in every frame of the chain, and each frame sees those of
the one before all the same: it takes detail along that several frames' coarser scales have told.

Payloads begin with their group's header (`dsc._schemas.group`), then they are those of `layered`,
with the motion in ``TASK.0`` of what is no key (`dsc._codecs.learned.layered.bitstream`). Integers
come from integers alone and are the same everywhere; the network, which runs in floating point,
sees its own pictures of the frames before, so pixels may differ in their last bits.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from dsc._codecs.base import Array, Sample, check_array
from dsc._codecs.learned.base import NetworkCodec, check_side, pad
from dsc._codecs.learned.bitstream import task_header
from dsc._codecs.learned.layered.bitstream import SIZE, CodedTask, read_streams, write_streams
from dsc._codecs.learned.layered.codec import first_of, graph_of
from dsc._codecs.learned.layered.coder import After, Alone, ScaleCoder, scales_left
from dsc._codecs.learned.layered.motion import find_motion
from dsc._codecs.learned.layered.motion_coder import write_motion
from dsc._codecs.learned.layered.spec import SCALES, UNIT, scale_stream
from dsc._codecs.learned.layered.temporal import Past, ScaleState, SequenceModel
from dsc._codecs.learned.network.rate import kappa_of
from dsc._codecs.learned.planes import from_planes, to_planes
from dsc._schemas import Quality, Stream, Task
from dsc._schemas.group import GROUPED, GroupHeader, Linked, whole
from dsc._schemas.levels import PREFIXES
from dsc.errors import LIST_DAMAGE, BitstreamError, CodecError

GROUP = 16

Scales = tuple[bytes, ...]
"""A frame's payloads of its first scales."""


@dataclass
class FrameGroup:
    """Payloads of a group's frames, each with all that it needs, and who wants which of them.

    Attributes
    ----------
    frames
        Payloads by place.
    wanted
        Places by number of the sample that wants them.
    """

    frames: dict[int, Scales]
    wanted: dict[int, int] = field(default_factory=dict)

    def goes_with(self, frames: Mapping[int, Scales]) -> bool:
        """Tell whether other payloads say the same of the frames that both have."""
        return all(self.frames.get(at, own) == own for at, own in frames.items())


class LayeredSequenceCodec(NetworkCodec[SequenceModel]):
    """Four streams a task, coarse first, each of which has all frames; see the module.

    Parameters
    ----------
    tasks
        The tasks it codes.
    weights
        A codec file of this codec, or the decoder's part of one, which decodes only.
    kappa
        As for `LayeredNetworkCodec`.

    Raises
    ------
    CodecError
        When it cannot code a task, or the file is another codec's.
    """

    id: ClassVar[str] = "layered-seq"
    group_size: int = GROUP

    def __init__(self, tasks: Sequence[Task], weights: bytes, kappa: float | None = None) -> None:
        super().__init__(tasks, weights)
        self._model, self._tables = self._loaded.model, self._loaded.scale_tables
        self._coder, self._kappa = ScaleCoder(self._tables), kappa
        self._scales = dict.fromkeys(self._task, SCALES)  # how many are decoded

    def config(self) -> dict[str, Any]:
        """Return the tasks, that streams have groups, and that there are levels."""
        lanes = [[stream.name] for stream in self.streams()]
        return {**super().config(), GROUPED: lanes, PREFIXES: True}

    def streams(self) -> tuple[Stream, ...]:
        """Return four streams a task; each requires the one before."""
        return graph_of(self._task)

    def from_streams(self, names: Collection[str]) -> Self:
        """Return what decodes the first scales of each task of which the streams are named."""
        other = copy(self)
        other._scales = {task: first_of(task, names) for task in self._task}
        return other

    # ---- encoding

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples one by one, each as a group of one."""
        return [coded for sample in samples for coded in self.encode_group([sample], quality)]

    @torch.inference_mode()
    def encode_group(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples that follow one another in a recording; see `GroupCodec`.

        Raises
        ------
        CodecError
            When an array does not fit its task, or the codec was made from a decoder's part.
        """
        self._check_encodes()
        if len(samples) > self.group_size:
            raise CodecError(f"{self.id}: a group of {len(samples)}, at most {self.group_size}")
        out: list[dict[str, bytes]] = [{} for _ in samples]
        masks: dict[bytes, bytes] = {}
        for task in self.tasks:
            for run in _runs(task, samples):
                coded = self._encode_run(task, list(run.values()), quality.of(task.name), masks)
                for at, payloads in zip(run, coded, strict=True):
                    needs = tuple(place for place in run if place < at)
                    head = GroupHeader(len(samples), at, at, needs).pack()
                    out[at] |= {name: head + data for name, data in payloads.items()}
        return out

    def _encode_run(
        self, task: Task, arrays: Sequence[Array], quality: int, masks: dict[bytes, bytes]
    ) -> Iterator[dict[str, bytes]]:
        """Encode frames of one size, the first as a key, and each after what was decoded before."""
        modality = self._modality[task.name]
        layers, branch = self._model.modalities[modality], self._model.branches[modality]
        kappa = kappa_of(modality, self._kappa)
        before: Tensor | None = None
        left: tuple[ScaleState, ...] = ()
        given = Alone(layers)
        for number, array in enumerate(arrays):
            size = (array.shape[0], array.shape[1])
            planes, invalid, offset = to_planes(task, array)
            head = SIZE.pack(*size) + task_header(task, quality, invalid, offset, masks)
            x = pad(torch.from_numpy(planes)[None], UNIT)
            if before is not None:
                motion = find_motion(before, x)
                given = After(layers, branch, Past(left, motion))
                head += write_motion(motion[0].numpy(), self._tables)
            words, latents = self._coder.encode(given, x, quality, kappa)
            yield write_streams(task.name, head, words)
            if number + 1 < len(arrays):
                before, left = x, scales_left(given, latents)

    # ---- decoding

    @torch.inference_mode()
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
        self.check_tasks(tasks)
        decoded: list[dict[str, Array]] = [{} for _ in streams]
        with torch.autocast("cpu", enabled=False):
            for task in tasks:
                for group in self._groups(task, streams):
                    for number, array in self._decode_group(task, group, max_pixels):
                        decoded[number][task] = array
        return decoded

    def _groups(self, task: str, streams: Sequence[Mapping[str, bytes]]) -> list[FrameGroup]:
        """Put payloads together that are of one group."""
        names = [scale_stream(task, scale) for scale in range(SCALES)]
        found: dict[Any, list[FrameGroup]] = {}
        for number, given in enumerate(streams):
            if all(given.get(name) is None for name in names):
                continue
            payloads = [_payload(name, given) for name in names[: self._scales[task]]]
            frames = _by_frame(payloads)
            of_group = found.setdefault(payloads[0].group, [])
            group = next((one for one in of_group if one.goes_with(frames)), None)
            if group is None:
                of_group.append(group := FrameGroup({}))
            group.frames |= frames
            group.wanted[number] = payloads[0].at
        return [group for groups in found.values() for group in groups]

    def _decode_group(
        self, task: str, group: FrameGroup, max_pixels: int
    ) -> Iterator[tuple[int, Array]]:
        """Decode the frames of a group one after the other; give those that are wanted."""
        before: tuple[int, CodedTask, tuple[ScaleState, ...]] | None = None
        for at in sorted(group.frames):
            try:
                coded, given = self._follow(task, at, group.frames[at], before, max_pixels)
                size, own = coded.size, [coded.words]
                [latents] = self._coder.decode(given, own, [coded.quality], size)
            except BitstreamError as error:
                raise BitstreamError(f"frame {at} of its group: {error}") from None
            left = scales_left(given, latents)
            before = (at, coded, left)
            numbers = [number for number, place in group.wanted.items() if place == at]
            if numbers:
                planes = given.layers.chain.rise(SCALES - 1, left[-1].features)
                own_planes = planes[0, :, : size[0], : size[1]].numpy()
                for number in numbers:
                    arrays = from_planes(self._task[task], own_planes, coded.mask, coded.offset)
                    yield number, arrays

    def _follow(
        self,
        task: str,
        at: int,
        payloads: Scales,
        before: tuple[int, CodedTask, tuple[ScaleState, ...]] | None,
        max_pixels: int,
    ) -> tuple[CodedTask, Alone]:
        """Read a frame's payloads, and find what is known of it from the frame before."""
        heads = [GroupHeader.unpack(data) for data in payloads]
        bodies = {
            scale_stream(task, scale): data[head.size :]
            for scale, (head, data) in enumerate(zip(heads, payloads, strict=True))
        }
        needs, modality = heads[0].needs, self._modality[task]
        tables = self._tables if needs else None
        coded = read_streams(self._task[task], bodies, len(payloads), max_pixels, tables)
        layers = self._model.modalities[modality]
        if coded.motion is None:
            return coded, Alone(layers)
        if before is None or before[0] != needs[-1] or before[1].size != coded.size:
            raise BitstreamError(f"it needs frames {needs}, and does not follow the last of them")
        past = Past(before[2], torch.from_numpy(coded.motion)[None])
        return coded, After(layers, self._model.branches[modality], past)


def _runs(task: Task, samples: Sequence[Sample]) -> list[dict[int, Array]]:
    """Return the frames of a task by place: those that follow one another and are of one size.

    Raises
    ------
    CodecError
        When an array does not fit the task.
    """
    runs: list[dict[int, Array]] = []
    for at, sample in enumerate(samples):
        if task.name not in sample:
            continue
        array = check_array(task, sample[task.name])
        check_side((array.shape[0], array.shape[1]))
        last = runs[-1].get(at - 1) if runs else None
        if last is None or last.shape != array.shape:
            runs.append({})
        runs[-1][at] = array
    return runs


def _payload(name: str, streams: Mapping[str, bytes]) -> Linked:
    """Return a payload with those that it needs.

    Raises
    ------
    BitstreamError
        When it, or what it needs, is not there.
    """
    data = streams.get(name)
    if not data:
        raise BitstreamError(f"stream {name} is required and not here; {LIST_DAMAGE}")
    try:
        return whole(data)
    except BitstreamError as error:
        raise BitstreamError(f"stream {name}: {error}") from None


def _by_frame(payloads: Sequence[Linked]) -> dict[int, Scales]:
    """Return what a frame and those before it have in all scales, by place.

    Raises
    ------
    BitstreamError
        When the scales are not of the same frames.
    """
    chains = [dict(payload.chain) for payload in payloads]
    if any(chain.keys() != chains[0].keys() for chain in chains):
        listed = " and ".join(str(sorted(chain)) for chain in chains)
        raise BitstreamError(f"scales of one frame need different frames: {listed}")
    return {at: tuple(bytes(chain[at]) for chain in chains) for at in chains[0]}
