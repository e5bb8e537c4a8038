"""Samples on their way into a shard: read and encoded, and from then on without their arrays.

The same function does it for the probe of sizes, in this process and in workers. What the probe has
read or encoded is kept (`Probed`), so that no sample is encoded twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from dsc._codecs.base import Array
from dsc._pipeline.choose.coding import Coding, Encoder
from dsc._pipeline.choose.rate_control import Coded, SearchState
from dsc._schemas import Origin, SequencePlace
from dsc._schemas.coded_frame import CodedFrame
from dsc._sources.base import (
    Source,
    SourceSample,
    coded_of,
    origin_of,
    place_of,
    read_sample,
)
from dsc.errors import CodecError, SampleError

BATCH_SAMPLES = 8
BATCH_BYTES = 64 << 20


@dataclass(frozen=True)
class CodedSample:
    """A sample as its shard needs it; without arrays, so that it travels between processes.

    Attributes
    ----------
    index
        In the source.
    source_bytes
        Of each task that was read.
    pixels
        Of its largest map.
    error
        Why it has no bitstreams; None when it has.
    group
        Indices of the samples that it was coded with, its own among them.
    """

    index: int
    key: str
    coded: Coded = field(default_factory=Coded)
    source_bytes: Mapping[str, int] = field(default_factory=dict)
    pixels: int = 0
    origin: Origin | None = None
    place: SequencePlace | None = None
    error: str | None = None
    group: range = range(0)


@dataclass
class Probed:
    """What was done to some samples before there was a plan.

    Where qualities are searched, the bytes of a sample depend on those before it: then the samples
    that are encoded are the first ones, and only their shard can take them.

    Attributes
    ----------
    read
        Samples that were read only, by index.
    coded
        Samples that were encoded, by index; those that could not be, too.
    found
        Where the search of the next sample begins; None where nothing is searched.
    """

    read: dict[int, SourceSample] = field(default_factory=dict)
    coded: dict[int, CodedSample] = field(default_factory=dict)
    found: SearchState | None = None

    def within(self, groups: Sequence[range]) -> "Probed":
        """Return what of it a shard of these groups can take."""
        own = set(groups)
        coded = {index: one for index, one in self.coded.items() if one.group in own}
        taken = {index for group in groups for index in group}
        read = {index: one for index, one in self.read.items() if index in taken}
        whole = len(coded) == len(self.coded) and bool(groups) and groups[0].start in coded
        if self.found is not None and not whole:
            return Probed(read)
        return replace(self, read=read, coded=coded)

    def keep(self, one: CodedSample) -> None:
        """Keep an encoded sample, and let go of its arrays."""
        self.read.pop(one.index, None)
        self.coded[one.index] = one


@dataclass
class _Item:
    """A sample between reading and encoding: its arrays, or why it has none."""

    index: int
    key: str
    group: range
    arrays: Mapping[str, Array] = field(default_factory=dict)
    source_bytes: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None
    coded: Coded = field(default_factory=Coded)
    kept: Mapping[str, CodedFrame] = field(default_factory=dict)


def code_samples(
    source: Source,
    coding: Coding,
    encoder: Encoder,
    on_error: str,
    groups: Sequence[range],
    read: Mapping[int, SourceSample],
    most: int = BATCH_SAMPLES,
) -> Iterator[list[CodedSample]]:
    """Read and encode samples in batches of bounded number and size, each gone with the next.

    A batch is whole groups, one at least. Of frames of 3840 × 2160 with colours and depth, a group
    of 16 is 0.66 GB.

    Parameters
    ----------
    encoder
        Of the shard that they go into.
    on_error
        ``fail``, or ``skip`` to give samples that cannot be read or encoded without bitstreams.
    groups
        Indices of the samples; see `dsc._pipeline.write.groups`.
    read
        Those that were read already, by index.
    most
        Samples a batch, where it is not one group.

    Raises
    ------
    SampleError
        When a sample cannot be read or encoded and `on_error` is ``fail``.
    """
    for batch in _batches(source, coding, on_error, groups, read, most):
        _encode(batch, encoder, on_error)
        yield [_coded(source, coding, item) for group in batch for item in group]


def _batches(
    source: Source,
    coding: Coding,
    on_error: str,
    groups: Sequence[range],
    read: Mapping[int, SourceSample],
    most: int,
) -> Iterator[list[list[_Item]]]:
    batch: list[list[_Item]] = []
    count = size = 0
    kept = coding.codec_set.kept
    names = [task.name for task in coding.tasks if task.name not in kept]
    for indices in groups:
        batch.append(
            [_read(source, n, indices, names, kept, on_error, read.get(n)) for n in indices]
        )
        size += sum(array.nbytes for item in batch[-1] for array in item.arrays.values())
        count += len(indices)
        if count >= most or size >= BATCH_BYTES:
            yield batch
            batch.clear()  # not a new list: the caller still holds this one while we read on
            count = size = 0
    if batch:
        yield batch


def _read(
    source: Source,
    index: int,
    group: range,
    names: list[str],
    kept: Sequence[str],
    on_error: str,
    sample: SourceSample | None,
) -> _Item:
    try:
        sample = read_sample(source, index, names) if sample is None else sample
        coded = {name: coded_of(source, index, name) for name in kept}
    except SampleError as error:
        key = source.key(index)
        if on_error == "skip":
            return _Item(index, key, group, error=str(error))
        raise SampleError(advice(key, index, error)) from error
    frames = {name: frame for name, frame in coded.items() if frame is not None}
    if not frames:
        return _Item(index, sample.key, group, sample.arrays, sample.source_bytes)
    bodies = {name: np.frombuffer(frame.pack(), np.uint8) for name, frame in frames.items()}
    sizes = {name: len(frame.own.data) for name, frame in frames.items()}
    return _Item(
        index,
        sample.key,
        group,
        {**sample.arrays, **bodies},
        {**sample.source_bytes, **sizes},
        kept=frames,
    )


def _encode(batch: list[list[_Item]], encoder: Encoder, on_error: str) -> None:
    """Fill in the payloads of a batch; a sample that cannot be encoded is found by trying."""
    if not encoder.is_searching:
        with suppress(CodecError):
            _encode_groups(batch, encoder)
            return
    for group in batch:
        _encode_group(group, encoder, on_error)


def _encode_groups(batch: Sequence[Sequence[_Item]], encoder: Encoder) -> None:
    coded = encoder.encode([[_arrays(item) for item in group] for group in batch])
    items = [item for group in batch for item in group]
    for item, one in zip(items, coded, strict=True):
        item.coded = one


def _arrays(item: _Item) -> Mapping[str, Array]:
    """Return what is coded of a sample: nothing where it is one that failed."""
    return {} if item.error is not None else item.arrays


def _encode_group(group: list[_Item], encoder: Encoder, on_error: str) -> None:
    """Encode one group; samples that it cannot be encoded with are left out of it, one by one."""
    while any(item.error is None for item in group):
        try:
            _encode_groups([group], encoder)
            return
        except CodecError as error:
            item, why = _at_fault(group, encoder, error)
        if on_error != "skip":
            raise SampleError(advice(item.key, None, why)) from why
        item.error = f"sample {item.key}: {why}"


def _at_fault(
    group: Sequence[_Item], encoder: Encoder, error: CodecError
) -> tuple[_Item, CodecError]:
    """Find the first sample up to which a group cannot be encoded, and why, by halving."""
    there = [at for at, item in enumerate(group) if item.error is None]
    good, bad = 0, len(there)  # how many of them can be encoded together, and cannot
    while bad - good > 1:
        middle = (good + bad) // 2
        part = [_arrays(item) if at <= there[middle - 1] else {} for at, item in enumerate(group)]
        try:
            encoder.trial().encode([part])
            good = middle
        except CodecError as found:
            bad, error = middle, found
    return group[there[bad - 1]], error


def _coded(source: Source, coding: Coding, item: _Item) -> CodedSample:
    coded = [t for t in coding.tasks if t.name in item.arrays and t.name not in item.kept]
    pixels = [task.pixels(item.arrays[task.name].shape) for task in coded]
    pixels += [frame.height * frame.width for frame in item.kept.values()]
    origin, place = _origin(source, coding, item.index), place_of(source, item.index)
    done = CodedSample(item.index, item.key, origin=origin, place=place, group=item.group)
    if item.error is not None:
        return replace(done, error=item.error)
    most = max(pixels, default=0)
    return replace(done, coded=item.coded, source_bytes=item.source_bytes, pixels=most)


def _origin(source: Source, coding: Coding, index: int) -> Origin | None:
    """Say where a sample came from, as far as these tasks go."""
    found = origin_of(source, index)
    if found is None:
        return None
    names = {task.name for task in coding.tasks}
    files = {task: path for task, path in found.files.items() if task in names}
    order = tuple(task for task in found.order if task in names)
    return found.model_copy(update={"files": files, "order": order})


def advice(key: str, index: int | None, error: Exception) -> str:
    """Say which sample an error is about, and what can be done."""
    text = str(error)
    if key not in text:
        text = f"sample {key}{'' if index is None else f' ({index})'}: {text}"
    return f"{text}; repair it, or leave it out with --on-error skip"
