"""Chooses how many samples a pack and a shard have, where nobody says.

They follow from a few samples, encoded at fixed places of the source and kept for their shards: in
the middles of four equal parts; where qualities are searched, and the bytes of a sample depend on
those before it, the first ones. A pack: the power of two at
which the packs of the largest stream hold 112 to 224 KiB, but 128 samples as long as that takes at
most 1 MiB of it: the other streams are often ten times smaller, and with fewer samples of 0.7 to 1
kB the headers cost them more than 2 %. A shard: at most 1024 samples, which at a tenth of a second
a sample is two minutes of work, what a killed worker can lose; at most 128 MiB of the largest
stream; and for small datasets a power of two that gives about four shards, so that there is work
for more than one worker, or fewer, so that the tars' own bytes stay below 1 %. Where no task is
a map, a sample takes microseconds, and a shard has up to 65536 of them.

Where samples of a recording are coded together, the groups at those places are encoded, both sizes
are whole numbers of groups, and the streams of a task count as one: a reader takes them together.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.write.groups import groups_of
from dsc._pipeline.write.samples import CodedSample, Probed, code_samples
from dsc._schemas.group import Lane
from dsc._sources.base import Source

PROBES = 4
PACK_BYTES = 224 << 10
WIDE_PACK, WIDE_PACK_BYTES = 128, 1 << 20
MAX_PACK = 1024
SHARD_BYTES = 128 << 20
MAX_SHARD, MAX_COLUMN_SHARD = 1024, 1 << 16
FEW_SHARDS = 4
PROBED_PACK = 64  # samples a pack, as long as none is chosen: where groups are thought to begin
TAR_BYTES, OWN_SHARE = 2600, 0.01  # what a tar costs beside bitstreams, and what that may come to

Advance = Callable[[int], None]
Coder = Callable[[Source, Coding, str, Sequence[range], Probed, Advance], None]


def code_here(
    source: Source,
    coding: Coding,
    on_error: str,
    groups: Sequence[range],
    probed: Probed,
    advance: Advance,
) -> None:
    """Encode samples in this process, as the first ones of a shard, and keep them.

    Parameters
    ----------
    groups
        Indices of the samples.
    probed
        Has those that were read already, and gets those that were encoded.
    advance
        Called with the number of samples encoded since the last call.

    Raises
    ------
    SampleError
        When one cannot be read or encoded, unless `on_error` is ``skip``.
    """
    encoder = coding.encoder()
    for batch in code_samples(source, coding, encoder, on_error, groups, probed.read, most=1):
        for one in batch:
            probed.keep(one)
        advance(len(batch))
    probed.found = encoder.found


def stream_sizes(samples: Sequence[CodedSample], lanes: Iterable[Lane] = ()) -> dict[str, float]:
    """Return the mean bytes of each stream's bitstreams; those of a lane count as one stream."""
    first = {stream: lane[0] for lane in lanes for stream in lane}
    sizes: dict[str, list[int]] = {}
    for one in samples:
        for stream, payload in one.coded.payloads.items():
            sizes.setdefault(first.get(stream, stream), []).append(len(payload))
    return {stream: sum(found) / len(found) for stream, found in sizes.items()}


def probe_indices(samples: int) -> list[int]:
    """Choose up to four indices, in the middles of as many equal parts."""
    count = min(PROBES, samples)
    return [(2 * part + 1) * samples // (2 * count) for part in range(count)]


def first_indices(samples: int, first_split: int, shard_size: int | None) -> list[int]:
    """Choose up to four indices of the first shard, of which there is no size yet but one given.

    Parameters
    ----------
    samples, first_split
        Samples in all, and of the split that the first shard is of.
    """
    return list(range(min(PROBES, first_split, shard_size or _few(samples))))


def groups_to_probe(
    source: Source,
    coding: Coding,
    indices: Sequence[int],
    splits: Mapping[str, int],
    shard_size: int | None,
    pack_size: int | None,
) -> list[range]:
    """Return the groups that samples are in, as far as sizes that are not chosen yet let know.

    A shard takes those that it cuts in the same way; where a pack holds whole groups, that is all
    but those near the beginning of a sequence.

    Parameters
    ----------
    splits
        Samples of each split, in the source's order.
    shard_size, pack_size
        Those that were asked for.
    """
    if coding.codec_set.group_size == 1:
        return [range(index, index + 1) for index in indices]
    pack = pack_size or PROBED_PACK
    found: dict[range, None] = {}
    for index in indices:
        first, stop = _split_around(index, splits)
        first += (index - first) // shard_size * shard_size if shard_size else 0
        stop = min(stop, first + shard_size) if shard_size else stop
        first += (index - first) // pack * pack
        near = range(first, min(stop, first + pack))
        found |= {g: None for g in groups_of(source, coding, near, pack) if index in g}
    return list(found)


def _split_around(index: int, splits: Mapping[str, int]) -> tuple[int, int]:
    """Return where the split that a sample is of begins and ends."""
    first = 0
    for size in splits.values():
        if index < first + size:
            return first, first + size
        first += size
    raise IndexError(f"sample {index} is of no split")


def choose_pack_size(stream_bytes: float, group_size: int = 1) -> int:
    """Choose samples a pack, whole groups, from the largest stream's bytes a sample."""
    usual = _power_of_two_below(PACK_BYTES / max(stream_bytes, 1.0))
    wide = min(_power_of_two_below(WIDE_PACK_BYTES / max(stream_bytes, 1.0)), WIDE_PACK)
    return _whole_groups(min(max(usual, wide), MAX_PACK), group_size)


def choose_shard_size(
    samples: int, sizes: Mapping[str, float], most: int = MAX_SHARD, group_size: int = 1
) -> int:
    """Choose samples a shard from the number of samples and each stream's bytes a sample."""
    largest = max(sizes.values(), default=0.0)
    own = TAR_BYTES * max(len(sizes), 1)
    few = min(int(OWN_SHARE * samples * sum(sizes.values()) / own), FEW_SHARDS)
    limit = _power_of_two_below(SHARD_BYTES / max(largest, 1.0))
    return _whole_groups(min(_few(samples, max(few, 1)), limit, most), group_size)


def _whole_groups(size: int, group_size: int) -> int:
    return -(-size // group_size) * group_size


def _few(samples: int, shards: int = FEW_SHARDS) -> int:
    return 1 << (-(-samples // shards) - 1).bit_length()


def _power_of_two_below(limit: float) -> int:
    return 1 << max(int(limit).bit_length() - 1, 0)
