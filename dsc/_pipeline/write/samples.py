"""Samples on their way into a shard: read and encoded, and from then on without their arrays.

The same function does it for the probe of sizes, in this process and in workers. What the probe has
read or encoded is kept (`Probed`), so that no sample is encoded twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dsc._codecs.base import Array
from dsc._pipeline.choose.coding import Coding, Encoder
from dsc._pipeline.choose.rate_control import Coded, SearchState
from dsc._schemas import Origin, SequencePlace
from dsc._sources.base import Source, SourceSample, origin_of, place_of, read_sample
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
    """

    index: int
    key: str
    coded: Coded = field(default_factory=Coded)
    source_bytes: Mapping[str, int] = field(default_factory=dict)
    pixels: int = 0
    origin: Origin | None = None
    place: SequencePlace | None = None
    error: str | None = None


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

    def within(self, indices: range) -> "Probed":
        """Return what of it a shard of these samples can take."""
        coded = {index: one for index, one in self.coded.items() if index in indices}
        read = {index: one for index, one in self.read.items() if index in indices}
        whole = len(coded) == len(self.coded) and indices.start in coded
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
    arrays: Mapping[str, Array] = field(default_factory=dict)
    source_bytes: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None
    coded: Coded = field(default_factory=Coded)


def code_samples(
    source: Source,
    coding: Coding,
    encoder: Encoder,
    on_error: str,
    indices: Sequence[int],
    read: Mapping[int, SourceSample],
    most: int = BATCH_SAMPLES,
) -> Iterator[list[CodedSample]]:
    """Read and encode samples in batches of bounded number and size, each gone with the next.

    Parameters
    ----------
    encoder
        Of the shard that they go into.
    on_error
        ``fail``, or ``skip`` to give samples that cannot be read or encoded without bitstreams.
    read
        Those that were read already, by index.
    most
        Samples a batch.

    Raises
    ------
    SampleError
        When a sample cannot be read or encoded and `on_error` is ``fail``.
    """
    for batch in _batches(source, coding, on_error, indices, read, most):
        _encode(batch, encoder, on_error)
        yield [_coded(source, coding, item) for item in batch]


def _batches(
    source: Source,
    coding: Coding,
    on_error: str,
    indices: Sequence[int],
    read: Mapping[int, SourceSample],
    most: int,
) -> Iterator[list[_Item]]:
    batch: list[_Item] = []
    size = 0
    names = [task.name for task in coding.tasks]
    for index in indices:
        item = _read(source, index, names, on_error, read.get(index))
        batch.append(item)
        size += sum(array.nbytes for array in item.arrays.values())
        if len(batch) == most or size >= BATCH_BYTES:
            yield batch
            batch.clear()  # not a new list: the caller still holds this one while we read on
            size = 0
    if batch:
        yield batch


def _read(
    source: Source, index: int, names: list[str], on_error: str, sample: SourceSample | None
) -> _Item:
    try:
        sample = read_sample(source, index, names) if sample is None else sample
    except SampleError as error:
        key = source.key(index)
        if on_error == "skip":
            return _Item(index, key, error=str(error))
        raise SampleError(advice(key, index, error)) from error
    return _Item(index, sample.key, sample.arrays, sample.source_bytes)


def _encode(batch: list[_Item], encoder: Encoder, on_error: str) -> None:
    """Fill in the payloads of a batch; a sample that cannot be encoded is found one by one."""
    whole = [item for item in batch if item.error is None]
    if not encoder.is_searching:
        try:
            coded = encoder.encode([item.arrays for item in whole])
        except CodecError:
            pass
        else:
            for item, one in zip(whole, coded, strict=True):
                item.coded = one
            return
    for item in whole:
        _encode_alone(item, encoder, on_error)


def _encode_alone(item: _Item, encoder: Encoder, on_error: str) -> None:
    try:
        [item.coded] = encoder.encode([item.arrays])
    except CodecError as error:
        if on_error != "skip":
            raise SampleError(advice(item.key, None, error)) from error
        item.error = f"sample {item.key}: {error}"


def _coded(source: Source, coding: Coding, item: _Item) -> CodedSample:
    shapes = [item.arrays[t.name].shape for t in coding.tasks if t.is_map and t.name in item.arrays]
    origin, place = _origin(source, coding, item.index), place_of(source, item.index)
    done = CodedSample(item.index, item.key, origin=origin, place=place)
    if item.error is not None:
        return replace(done, error=item.error)
    pixels = max((height * width for height, width, *_ in shapes), default=0)
    return replace(done, coded=item.coded, source_bytes=item.source_bytes, pixels=pixels)


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
