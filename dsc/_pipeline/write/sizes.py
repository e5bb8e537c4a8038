"""Chooses how many samples a pack and a shard have, where nobody says.

They follow from a few samples, encoded at fixed places of the source. A pack: the power of two at
which the packs of the largest stream hold 112 to 224 KiB, but 128 samples as long as that takes at
most 1 MiB of it: the other streams are often ten times smaller, and with fewer samples of 0.7 to 1
kB the headers cost them more than 2 %. A shard: at most 1024 samples, which at a tenth of a second
a sample is two minutes of work, what a killed worker can lose; at most 128 MiB of the largest
stream; and for small datasets a power of two that gives about four shards, so that there is work
for more than one worker.
"""

from dsc._pipeline.choose.coding import Coding, EncodedSamples
from dsc._sources.base import Source
from dsc.errors import CodecError, SampleError

PROBES = 4
PACK_BYTES = 224 << 10
WIDE_PACK, WIDE_PACK_BYTES = 128, 1 << 20
MAX_PACK = 1024
SHARD_BYTES = 128 << 20
MAX_SHARD = 1024
FEW_SHARDS = 4


def probe(
    source: Source, coding: Coding, on_error: str, encoded: EncodedSamples | None = None
) -> float:
    """Measure the largest stream: its mean bytes a sample, over a few samples; 0 if none can be."""
    names = [task.name for task in coding.tasks]
    sizes: dict[str, list[int]] = {}
    encoder = coding.encoder()
    for index in probe_indices(len(source)):
        try:
            sample = source.read(index, names)
            [coded] = encoder.encode([sample.arrays])
        except (SampleError, CodecError) as error:
            if on_error == "skip":
                continue
            raise SampleError(
                f"sample {source.key(index)} ({index}): {error}; repair it, or leave out what "
                "cannot be read with --on-error skip"
            ) from error
        if encoded is not None and not encoder.is_searching:
            encoded.keep(index, sample, coded)
        for stream, payload in coded.payloads.items():
            sizes.setdefault(stream, []).append(len(payload))
    return max((sum(found) / len(found) for found in sizes.values()), default=0.0)


def probe_indices(samples: int) -> list[int]:
    """Choose up to four indices, in the middles of as many equal parts."""
    count = min(PROBES, samples)
    return [(2 * part + 1) * samples // (2 * count) for part in range(count)]


def choose_pack_size(stream_bytes: float) -> int:
    """Choose samples a pack from the largest stream's bytes a sample."""
    usual = _power_of_two_below(PACK_BYTES / max(stream_bytes, 1.0))
    wide = min(_power_of_two_below(WIDE_PACK_BYTES / max(stream_bytes, 1.0)), WIDE_PACK)
    return min(max(usual, wide), MAX_PACK)


def choose_shard_size(samples: int, stream_bytes: float) -> int:
    """Choose samples a shard from the number of samples and the largest stream's bytes."""
    few = 1 << (-(-samples // FEW_SHARDS) - 1).bit_length()
    return min(few, _power_of_two_below(SHARD_BYTES / max(stream_bytes, 1.0)), MAX_SHARD)


def _power_of_two_below(limit: float) -> int:
    return 1 << max(int(limit).bit_length() - 1, 0)
