"""Chooses how packs compress the streams whose codec leaves that to them.

It follows from some samples of these tasks alone, at fixed places of the source, so that equal data
gives equal bytes. Short payloads are compressed together, in packs of up to 256 KiB, or one a
shard: what a reader takes with one request anyway. Long ones are compressed each by itself, in
packs of the archive's size, so that one of them can be read alone. Text gets a dictionary, which
all packs of the stream refer to, where it saves more than its own bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dsc._codecs.base import PackedCodec
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.write.samples import CodedSample, advice
from dsc._schemas import Stream, resolve_tasks
from dsc._schemas.stream import Compressed
from dsc._sources.base import Source, read_sample
from dsc._storage.format.dictionary import write_dictionary
from dsc._storage.format.pack import Packing, encode_compressed
from dsc.errors import CodecError, SampleError, UnknownTaskError, UsageError

FEW, MANY = 512, 2048  # samples that are looked at; many where a dictionary may pay
RUN = 64  # of them in a row
WITH_DICTIONARY = 4096  # samples below which none is tried
SHORT = 64  # bytes of any payload, up to which those of what follows are packed together
LONG = 16 << 10  # bytes a payload on average, from which each is compressed by itself
MEMBER_BYTES = 256 << 10  # of a pack
MEMBER_RAW = 4 << 20  # of a pack before compression: what reading one sample may decompress
COLUMN_RAW = 32 << 20  # the same of a column, where somebody asks for it
LOOKED_AT = 4 << 20  # bytes of a stream that are looked at
DICTIONARY_BYTES = (8 << 10, 32 << 10, 112 << 10)  # that are tried
PAYS = 1.1  # times its own bytes that a dictionary must save
MAX_PACK = 1 << 20

Payloads = Sequence[bytes | None]


@dataclass(frozen=True)
class Sizes:
    """Samples a shard, samples a pack, samples in all."""

    shard: int
    pack: int
    samples: int

    @property
    def whole(self) -> int:
        """Samples of a pack that holds a shard: a multiple of the archive's pack."""
        return -(-self.shard // self.pack) * self.pack


def look_at_payloads(
    source: Source, coding: Coding, on_error: str, streams: Sequence[str]
) -> dict[str, list[bytes | None]]:
    """Read and encode some samples of the tasks of these streams, nothing else.

    Raises
    ------
    SampleError
        When one cannot be read or encoded, unless `on_error` is ``skip``.
    """
    names = [t for s in coding.codec_set.streams() if s.name in streams for t in s.carries]
    found: dict[str, list[bytes | None]] = {stream: [] for stream in streams}
    held = dict.fromkeys(streams, 0)
    for index in indices_to_look_at(len(source)):
        try:
            sample = read_sample(source, index, names)
            arrays = {name: sample.arrays[name] for name in names if name in sample.arrays}
            [coded] = coding.codec_set.encode_batch([arrays], coding.quality)
        except (SampleError, CodecError) as error:
            if on_error == "skip":
                continue
            raise SampleError(advice(source.key(index), index, error)) from error
        for stream in streams:
            found[stream].append(coded.get(stream))
            held[stream] += len(coded.get(stream) or b"")
        if min(held.values()) > LOOKED_AT or max(held.values()) > 4 * LOOKED_AT:
            break
    return found


def packed_sizes(payloads: Mapping[str, Payloads], coding: Coding) -> dict[str, float]:
    """Return the mean bytes a sample that each stream takes in a pack."""
    codecs = coding.codec_set.packed()
    return {
        name: _stored(found, Packing(dtype=codecs[name].packed_dtype(name))) / max(len(found), 1)
        for name, found in payloads.items()
    }


def indices_to_look_at(samples: int) -> list[int]:
    """Choose runs of samples, spread evenly over the source; all samples where they are few."""
    count = MANY if samples >= WITH_DICTIONARY else FEW
    if samples <= count:
        return list(range(samples))
    runs = count // RUN
    starts = [run * (samples - RUN) // (runs - 1) for run in range(runs)]
    order = sorted(starts, key=lambda start: (starts.index(start) % 2, start))
    return [start + k for start in order for k in range(RUN)]


def pack_streams(
    coding: Coding, payloads: Mapping[str, Payloads], sizes: Sizes, columns: Sequence[str] = ()
) -> tuple[Coding, tuple[Stream, ...]]:
    """Choose how each stream is packed.

    Parameters
    ----------
    payloads
        Of some samples, of the streams whose codec leaves compression to packs.
    columns
        Tasks whose shards are to be one pack each.

    Returns
    -------
    tuple
        The coding, with a codec of its own for each stream that got a dictionary; and the streams.
    """
    codecs = coding.codec_set.packed()
    chosen = {
        name: _choose(name, found, sizes, codecs[name], name in columns)
        for name, found in payloads.items()
    }
    files = {}
    for name, found in payloads.items():
        if chosen[name].compressed is Compressed.TOGETHER and not codecs[name].packed_dtype(name):
            file = _dictionary(found, sizes.samples, chosen[name].pack_size or sizes.pack)
            files.update({} if file is None else {name: file})
    codec_set = coding.codec_set.with_dictionaries(files)
    streams = tuple(_merged(stream, chosen.get(stream.name)) for stream in codec_set.streams())
    return replace(coding, codec_set=codec_set), streams


def pack_short(
    streams: Sequence[Stream], names: Sequence[str], coded: Sequence[CodedSample], sizes: Sizes
) -> tuple[Stream, ...]:
    """Choose how streams are packed whose payloads are often empty: what follows from other tasks.

    Where those of all samples that were looked at are a few bytes, or none, a shard's lie in one
    pack, so that a stream of nothing takes the 2 kB of a tar a shard and no bytes a sample.

    Parameters
    ----------
    names
        The streams that may be so.
    coded
        Some samples.
    """
    chosen = {}
    for name in names:
        payloads = [one.coded.payloads.get(name) for one in coded]
        lengths = [len(payload) for payload in payloads if payload is not None]
        if lengths and max(lengths) <= SHORT:
            raw = sum(lengths) / len(lengths)
            size = min(_samples_a_pack(raw, raw, sizes), MAX_PACK // sizes.pack * sizes.pack)
            own = None if size == sizes.pack else size
            chosen[name] = Stream(name=name, compressed=Compressed.TOGETHER, pack_size=own)
    return tuple(_merged(stream, chosen.get(stream.name)) for stream in streams)


def resolve_columns(asked: Sequence[str] | str | None, coding: Coding) -> tuple[str, ...]:
    """Return the tasks whose shards are to be one pack each.

    Raises
    ------
    UnknownTaskError
        When there is no such task.
    UsageError
        When one is a map, or its codec does not leave compression to packs.
    """
    packed = coding.codec_set.packed()
    tasks = {task.name: task for task in coding.tasks}
    could = [name for name in tasks if name in packed]
    try:
        columns = () if asked is None else resolve_tasks(asked, list(tasks))
    except UnknownTaskError as error:
        raise UnknownTaskError(f"--columns: {error}") from None
    for name in columns:
        if tasks[name].is_map:
            raise UsageError(
                f"--columns {name}: {name} holds {tasks[name].kind.value} maps, and a column holds "
                f"small values; it could be {', '.join(could) or 'none of these tasks'}"
            )
        if name not in packed:
            raise UsageError(
                f"--columns {name}: codec {coding.codec_set.codec_name(name)} does not leave "
                f"compression to packs; give {name} the codec plain"
            )
    return columns


def _merged(stream: Stream, chosen: Stream | None) -> Stream:
    if chosen is None:
        return stream
    update = {"compressed": chosen.compressed, "pack_size": chosen.pack_size}
    return stream.model_copy(update=update)


def _choose(
    name: str, payloads: Payloads, sizes: Sizes, codec: PackedCodec, is_column: bool
) -> Stream:
    present = [payload for payload in payloads if payload is not None]
    raw = sum(map(len, present)) / max(len(payloads), 1)
    if raw > LONG and not is_column:
        return Stream(name=name, compressed=Compressed.EACH)
    dtype = codec.packed_dtype(name)
    stored = _stored(payloads, Packing(dtype=dtype)) / max(len(payloads), 1)
    if is_column and raw * min(sizes.whole, sizes.samples) > COLUMN_RAW:
        raise UsageError(
            f"--columns {name}: its values are {raw:,.0f} bytes a sample, and all of a shard would "
            f"be decompressed to read one; leave it out of --columns, or give a --shard-size of at "
            f"most {int(COLUMN_RAW / raw)}"
        )
    size = sizes.whole if is_column else _samples_a_pack(raw, stored, sizes)
    size = min(size, MAX_PACK // sizes.pack * sizes.pack)
    own = None if size == sizes.pack else size
    return Stream(name=name, compressed=Compressed.TOGETHER, pack_size=own)


def _samples_a_pack(raw: float, stored: float, sizes: Sizes) -> int:
    """Return as many as fit: all of a shard, else the archive's pack times a power of two."""
    fit = min(MEMBER_BYTES / max(stored, 1e-3), MEMBER_RAW / max(raw, 1e-3))
    if min(sizes.whole, sizes.samples) <= fit:
        return sizes.whole
    ratio = 1 << max(int(fit / sizes.pack).bit_length() - 1, 0)
    return min(ratio * sizes.pack, sizes.whole)


def _dictionary(payloads: Payloads, samples: int, pack_size: int) -> bytes | None:
    """Return the file of a dictionary where it saves more than its own bytes.

    It is made of half the payloads that were looked at, and tried on the others. What a dictionary
    saves, it saves at the beginning of a pack, so it is counted once a pack.
    """
    packs = samples / pack_size
    present = [payload for payload in payloads if payload]
    if samples < WITH_DICTIONARY or packs < 2 or len(present) < RUN:
        return None
    half = len(present) // 2
    joined, others = b"\n".join(present[:half]), present[half:][:pack_size]
    without = _stored(others, Packing())
    best, most = None, 0.0
    for size in DICTIONARY_BYTES:
        dictionary = joined[-size:]
        file = write_dictionary(dictionary)
        saved = (without - _stored(others, Packing(dictionary=dictionary))) * packs
        if saved - PAYS * len(file) > most:
            best, most = file, saved - PAYS * len(file)
    return best


def _stored(payloads: Payloads, packing: Packing) -> int:
    """Return the bytes of payloads as one pack."""
    return encode_compressed(payloads, 0, 0, packing)[1] if payloads else 0
