"""Rate and distortion of one codec at one quality: real bitstreams, written and read back.

Bits are those of the bitstreams themselves, headers, masks and containers included. A task has two
rates: *alone*, with every stream that decoding it requires, and *own*, the streams that only it
needs once all of the codec's tasks are stored together.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from dsc._bench.rate_distortion.candidates import Coder, ComparedCodec
from dsc._bench.rate_distortion.datasets import BenchSet
from dsc._pipeline.metrics import measure, peak_of, psnr_db
from dsc._schemas import Quality, Task, TaskKind, carrying_streams, required_streams
from dsc._threads import single_thread
from dsc.errors import DscError, SampleError

Array = NDArray[Any]


@dataclass(frozen=True)
class Job:
    """A few samples of one point; everything that a worker process needs.

    Attributes
    ----------
    data
        The set.
    candidate
        The codec.
    tasks
        Names of the tasks that are coded together.
    quality
        Of all tasks, 1 to 100.
    indices
        The samples.
    ms_ssim
        Whether images are measured by MS-SSIM as well, half a second a photograph.
    """

    data: BenchSet
    candidate: ComparedCodec
    tasks: tuple[str, ...]
    quality: int
    indices: tuple[int, ...]
    ms_ssim: bool = False

    def schemas(self) -> tuple[Task, ...]:
        """Return the tasks that are coded."""
        return tuple(task for task in self.data.schemas() if task.name in self.tasks)

    def identity(self) -> dict[str, Any]:
        """Say in JSON what decides the result."""
        return {
            "what": "point",
            "data": self.data.identity(self.indices),
            "codec": _identity(self.candidate, self.schemas()),
            "quality": self.quality,
            "ms_ssim": self.ms_ssim,
        }


@dataclass(frozen=True)
class Point:
    """Means over a set.

    Attributes
    ----------
    data, codec
        Names of the set and of the candidate.
    quality
        1 to 100.
    samples
        How many.
    pixels
        Of all samples that have the task, by task.
    stream_bytes
        Bytes by stream, all samples.
    needs
        Streams that each task requires.
    alone_bpp, own_bpp
        Bits a pixel by task; see the module.
    metrics
        Means by task and metric; see `dsc._pipeline.metrics`.
    """

    data: str
    codec: str
    quality: int
    samples: int
    pixels: Mapping[str, int]
    stream_bytes: Mapping[str, int]
    needs: Mapping[str, Sequence[str]]
    alone_bpp: Mapping[str, float]
    own_bpp: Mapping[str, float]
    metrics: Mapping[str, Mapping[str, float]]

    def together_bpp(self, tasks: Iterable[str]) -> float:
        """Return the bits a pixel of a subset of tasks, each required stream counted once."""
        names = list(tasks)
        streams = {stream for task in names for stream in self.needs[task]}
        total = sum(self.stream_bytes[stream] for stream in streams)
        return 8 * total / max(self.pixels[task] for task in names)


def measure_job(job: Job) -> dict[str, Any]:
    """Code the samples of a job, read them back and measure; one thread.

    Returns
    -------
    dict
        Sums in JSON, which `make_point` adds up.

    Raises
    ------
    SampleError
        When the codec fails on a sample; the message names codec, set and sample.
    """
    schemas = job.schemas()
    codec = _made(job.candidate, schemas)
    needs = {task.name: required_streams(codec.streams(), [task.name]) for task in schemas}
    carriers = {t.name: carrying_streams(codec.streams(), t.name) for t in schemas}
    pixels: Counter[str] = Counter()
    sizes: Counter[str] = Counter({stream.name: 0 for stream in codec.streams()})
    alone: Counter[str] = Counter({task.name: 0 for task in schemas})
    own: Counter[str] = Counter({task.name: 0 for task in schemas})
    sums: dict[str, dict[str, tuple[float, int]]] = {task.name: {} for task in schemas}
    for index in job.indices:
        read = job.data.read(index)
        sample = {name: read[name] for name in needs if name in read}
        if not sample:
            continue
        streams, decoded = _code(job, codec, index, sample)
        sizes.update({name: len(data) for name, data in streams.items()})
        for task in schemas:
            if task.name not in sample:
                continue
            original = sample[task.name]
            pixels[task.name] += original.shape[0] * original.shape[1]
            alone[task.name] += sum(len(streams.get(s, b"")) for s in needs[task.name])
            own[task.name] += sum(len(streams.get(s, b"")) for s in carriers[task.name])
            values = _distortion(task, original, decoded[task.name], job.ms_ssim)
            _add(sums[task.name], {name: (v, 1) for name, v in values.items() if not math.isnan(v)})
    return {
        "samples": len(job.indices),
        "pixels": dict(pixels),
        "stream_bytes": dict(sizes),
        "needs": {name: list(streams) for name, streams in needs.items()},
        "alone_bytes": dict(alone),
        "own_bytes": dict(own),
        "sums": sums,
    }


def make_point(job: Job, parts: Sequence[Mapping[str, Any]]) -> Point:
    """Add up the parts of one point, `job` being any of theirs."""
    total: dict[str, Counter[str]] = {
        key: Counter() for key in ("pixels", "stream_bytes", "alone_bytes", "own_bytes")
    }
    for part in parts:
        for key, counter in total.items():
            counter.update(part[key])
    pixels = {name: count for name, count in total["pixels"].items() if count}
    return Point(
        data=job.data.name,
        codec=job.candidate.name,
        quality=job.quality,
        samples=sum(part["samples"] for part in parts),
        pixels=pixels,
        stream_bytes=dict(total["stream_bytes"]),
        needs=parts[0]["needs"],
        alone_bpp={name: 8 * total["alone_bytes"][name] / pixels[name] for name in pixels},
        own_bpp={name: 8 * total["own_bytes"][name] / pixels[name] for name in pixels},
        metrics={name: _mean(name, parts) for name in pixels},
    )


def _mean(task: str, parts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    sums: dict[str, tuple[float, int]] = {}
    for part in parts:
        _add(sums, part["sums"][task])
    return {name: total / count for name, (total, count) in sums.items()}


def _add(sums: dict[str, tuple[float, int]], more: Mapping[str, Sequence[Any]]) -> None:
    for name, (value, count) in more.items():
        before, counted = sums.get(name, (0.0, 0))
        sums[name] = (before + value, counted + count)


def _code(
    job: Job, codec: Coder, index: int, sample: Mapping[str, Array]
) -> tuple[Mapping[str, bytes], Mapping[str, Array]]:
    limit = max(array.shape[0] * array.shape[1] for array in sample.values())
    try:
        with single_thread():
            (streams,) = codec.encode_batch([sample], Quality(default=job.quality))
            (decoded,) = codec.decode_batch([streams], list(sample), limit)
    except DscError as error:
        raise SampleError(
            f"{job.candidate.name} on {job.data.name}, sample {index}, quality {job.quality}: "
            f"{error}"
        ) from error
    return streams, decoded


def _distortion(task: Task, original: Array, decoded: Array, ms_ssim: bool) -> dict[str, float]:
    if task.kind is TaskKind.IMAGE and not ms_ssim:
        return {"psnr_db": psnr_db(original, decoded, peak_of(task))}
    return measure(task, original, decoded)


@lru_cache(maxsize=64)
def _made(candidate: ComparedCodec, tasks: tuple[Task, ...]) -> Coder:
    return candidate.make(tasks)


@lru_cache(maxsize=256)
def _identity(candidate: ComparedCodec, tasks: tuple[Task, ...]) -> dict[str, Any]:
    return candidate.identity(tasks)
