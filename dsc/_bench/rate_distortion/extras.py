"""What is measured beside the points: speed of every codec, bits of every latent channel."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from dsc._bench.environment import cpu_model
from dsc._bench.rate_distortion.candidates import ComparedCodec
from dsc._bench.rate_distortion.channels import channel_bits
from dsc._bench.rate_distortion.datasets import BenchSet
from dsc._bench.rate_distortion.speed import measure_speed
from dsc._bench.store import Store
from dsc._codecs.base import LatentCodec
from dsc._schemas import Quality, Task
from dsc._threads import single_thread

CHANNEL_SAMPLES = 4
Channels = dict[str, dict[str, list[float]]]  # bits a pixel by stream and part, a list by channel


def speeds(
    data: BenchSet, candidates: Sequence[ComparedCodec], quality: int, rounds: int, store: Store
) -> dict[str, dict[str, Any]]:
    """Measure every codec on the tasks with loss and on the labels; one at a time, here.

    Returns
    -------
    dict
        By codec, then ``lossy`` or ``label``: what `measure_speed` gives.
    """
    found: dict[str, dict[str, Any]] = {}
    for candidate in candidates if rounds else ():
        for key, chosen in candidate.timed(data.schemas()).items():
            if not chosen:
                continue
            identity = {
                "what": "speed",
                "cpu": cpu_model(),
                "data": data.identity(data.indices[:2]),
                "codec": candidate.identity(chosen),
                "quality": quality,
                "rounds": rounds,
            }
            measure = partial(measure_speed, data, candidate, chosen, quality, rounds)
            found.setdefault(candidate.name, {})[key] = store.get_or_make(identity, measure)
    return found


def channels(
    data: BenchSet, candidates: Sequence[ComparedCodec], quality: int, store: Store
) -> dict[str, Channels]:
    """Return the bits of latent channels, by codec, for codecs that have latents."""
    found: dict[str, Channels] = {}
    for candidate in candidates:
        for group in () if candidate.is_classical else candidate.groups(data.schemas()):
            if not isinstance(candidate.make(group), LatentCodec):
                continue
            identity = {
                "what": "channels",
                "data": data.identity(data.indices[:CHANNEL_SAMPLES]),
                "codec": candidate.identity(group),
                "quality": quality,
            }
            make = partial(_channel_bpp, data, candidate, group, quality)
            found[candidate.name] = store.get_or_make(identity, make)
    return found


def _channel_bpp(
    data: BenchSet, candidate: ComparedCodec, group: Sequence[Task], quality: int
) -> Channels:
    codec, names = candidate.make(group), [task.name for task in group]
    read = [data.read(index) for index in data.indices[:CHANNEL_SAMPLES]]
    samples = [{name: sample[name] for name in names if name in sample} for sample in read]
    pixels = sum(max(a.shape[0] * a.shape[1] for a in sample.values()) for sample in samples)
    with single_thread():
        coded = codec.encode_batch(samples, Quality(default=quality))
    return {
        stream: {"hyper": (bits.hyper / pixels).tolist(), "latent": (bits.latent / pixels).tolist()}
        for stream, bits in channel_bits(codec, coded, names, pixels).items()
    }
