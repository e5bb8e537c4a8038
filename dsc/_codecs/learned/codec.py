"""The codecs of a conditional network: `independent`, `shared-latent` and `chained`.

Bitstreams, little-endian. With a shared stream:

- ``shared``: ``u8 quality | u16 height | u16 width``, then coder words.
- a task: ``u8 quality`` (top bit: a mask follows), for depth ``f16`` median log depth, for a mask
  ``u32 length`` and the mask, then coder words.

Without one, a task's stream starts with ``u8 used | u16 height | u16 width``: bit i of `used` says
that the i-th stream that the network requires was there and was used. A sample without depth is
coded all the same. Coder words hold ẑ, then the symbols of ŷ step by step.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import ClassVar

import torch
from torch import Tensor

from dsc._codecs.base import Array, Sample, check_array
from dsc._codecs.latents import Latents, StreamLatentBatch
from dsc._codecs.learned.base import LearnedCodec, check_side, pad
from dsc._codecs.learned.bitstream import Naming, shared_header, size_header, task_header
from dsc._codecs.learned.network.model import ConditionalModel, Gain
from dsc._codecs.learned.network.spec import SHARED
from dsc._codecs.learned.planes import modality_of, to_planes
from dsc._codecs.learned.sample_coder import encode_planes, unpack
from dsc._codecs.learned.stream_coder import StreamCoder
from dsc._codecs.learned.synthesis import planes_of_batch
from dsc._schemas import Quality, Stream, Task
from dsc.errors import CodecError


class ConditionalCodec(LearnedCodec[ConditionalModel]):
    """A learned codec: the streams of a conditional network, entropy-coded.

    Parameters
    ----------
    tasks
        The tasks it codes; each must map to another modality of the network.
    weights
        As for `LearnedCodec`.
    kappa
        What the encoder weighs rate with, for all streams; infinite for plain rounding, None for
        each stream's own (`dsc._codecs.learned.network.rate`). Whoever decodes need not know.

    Raises
    ------
    CodecError
        When it cannot code a task, or the file is another codec's.
    """

    def __init__(self, tasks: Sequence[Task], weights: bytes, kappa: float | None = None) -> None:
        super().__init__(tasks, weights)
        self._name: dict[str, str] = {}
        for task in self.tasks:
            other = self._name.setdefault(self._modality[task.name], task.name)
            if other != task.name:
                modality = self._modality[task.name]
                raise CodecError(
                    f"tasks {other} and {task.name} are both {modality}; code one apart"
                )
        self._spec = self._loaded.model.spec
        self._coder = StreamCoder(self._loaded, kappa)
        own = {SHARED: SHARED} if self._spec.is_joint else {}
        self._naming = Naming(own | self._name, self._task)

    @staticmethod
    def supported(tasks: Sequence[Task]) -> tuple[Task, ...]:
        """Choose the tasks that this codec can take: the first of each modality."""
        chosen: dict[str, Task] = {}
        for task in tasks:
            modality = modality_of(task)
            if modality is not None:
                chosen.setdefault(modality, task)
        return tuple(chosen.values())

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
        self.check_tasks(tasks)
        needed = self._spec.required([self._modality[task] for task in tasks])
        gain, names = self._loaded.model.gain, self._naming.names
        return {names[stream]: deepcopy(gain[stream]) for stream in needed if stream in names}

    def _required(self, stream: str) -> dict[str, str]:
        """Name the streams that one requires here: of the network, as the archive calls them."""
        names = self._naming.names
        return {n: names[n] for n in self._spec.requires(stream) if n in names}

    # ---- encoding

    @torch.inference_mode()
    def encode_sample(self, sample: Sample, quality: Quality) -> dict[str, bytes]:
        """Encode the tasks that a sample has; they are of one size."""
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
            inputs[modality] = pad(torch.from_numpy(planes)[None], self._loaded.model.unit)
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

    def has(self, task: str, streams: Mapping[str, bytes]) -> bool:
        """Tell whether a sample has a task."""
        return streams.get(task) is not None

    @torch.inference_mode()
    def unpack_batch(
        self,
        streams: Sequence[Mapping[str, bytes]],
        tasks: Sequence[Sequence[str]],
        max_pixels: int,
    ) -> list[Latents | None]:
        """Decode the integers of several samples; see `LearnedCodec`."""
        some = [at for at, names in enumerate(tasks) if names]
        wanted = [[self._modality[name] for name in tasks[at]] for at in some]
        found = unpack(self._coder, self._naming, [streams[at] for at in some], wanted, max_pixels)
        out: list[Latents | None] = [None] * len(streams)
        for at, latents in zip(some, found, strict=True):
            out[at] = latents
        return out

    def planes(
        self, streams: Mapping[str, StreamLatentBatch], tasks: Sequence[str]
    ) -> dict[str, Tensor]:
        """Call the network; see `LearnedCodec`."""
        names = self._naming.names.items()
        own = {stream: streams[name] for stream, name in names if name in streams}
        carrying = {task: self._naming.stream_of(task) for task in tasks}
        device = next(iter(own.values())).symbols.device
        found = planes_of_batch(self._coder.model_on(device), own, list(carrying.values()))
        return {task: found[stream] for task, stream in carrying.items()}


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


def _common_size(arrays: Mapping[str, Array]) -> tuple[int, int]:
    sizes = {name: (a.shape[0], a.shape[1]) for name, a in arrays.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {h}×{w}" for name, (h, w) in sizes.items())
        raise CodecError(f"the tasks of a sample differ in size: {listed}; resize the source")
    size = next(iter(sizes.values()))
    check_side(size)
    return size
