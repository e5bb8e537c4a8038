"""Speed and size of codecs on one core: MPix/s, multiply-accumulates a pixel, parameters, bytes.

Times are of the whole way, native arrays to bytes and bytes to native arrays, medians over a few
rounds after one that does not count: processor time of one thread, so that a busy machine counts
as little as can be. Megapixels are those of the sample, however
many tasks it has. Multiply-accumulates are counted while the codec decodes, by torch's own counter
(convolutions and matrix products; integer entropy networks included).
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._bench.rate_distortion.candidates import Coder, ComparedCodec
from dsc._bench.rate_distortion.datasets import BenchSet
from dsc._codecs.base import LatentCodec
from dsc._schemas import Quality, Task
from dsc._threads import single_thread

Samples = Sequence[Mapping[str, NDArray[Any]]]


def measure_speed(
    data: BenchSet, candidate: ComparedCodec, group: Sequence[Task], quality: int, rounds: int = 3
) -> dict[str, Any]:
    """Measure one codec on the first samples of a set.

    Parameters
    ----------
    group
        Tasks that are coded together.
    quality
        1 to 100.
    rounds
        Measured rounds; the samples are few, so that a round takes a second or so.

    Returns
    -------
    dict
        JSON: ``encode_mpix_s`` of all tasks of the group, ``decode_mpix_s`` by task (each alone,
        with what it requires) and of ``all``, ``decode_kmac_px`` likewise and ``gpu_mpix_s``
        (synthesis on a GPU; None without one), ``parameters`` and ``file_bytes`` (None without
        weights).
    """
    names = [task.name for task in group]
    count = 2 if len(data.indices) > 1 else 1
    read = [data.read(index) for index in data.indices[:count]]
    samples = [{name: sample[name] for name in names if name in sample} for sample in read]
    pixels = sum(max(a.shape[0] * a.shape[1] for a in sample.values()) for sample in samples)
    codec, asked = candidate.make(group), Quality(default=quality)
    weights = codec.weights()
    wanted = {name: [name] for name in names} | ({"all": names} if len(names) > 1 else {})
    with single_thread():
        streams = codec.encode_batch(samples, asked)
        encode = _mpix_s(partial(codec.encode_batch, samples, asked), pixels, rounds)
        decode = {
            key: _mpix_s(partial(codec.decode_batch, streams, tasks, pixels), pixels, rounds)
            for key, tasks in wanted.items()
        }
        kmac = {
            key: None if weights is None else _kmac_px(codec, streams, tasks, pixels)
            for key, tasks in wanted.items()
        }
    return {
        "encode_mpix_s": encode,
        "decode_mpix_s": decode,
        "decode_kmac_px": kmac,
        "gpu_mpix_s": {key: gpu_mpix_s(codec, streams, tasks, pixels, rounds)
                       for key, tasks in wanted.items()},
        "parameters": None if weights is None else count_parameters(weights),
        "file_bytes": None if weights is None else len(weights),
    }  # fmt: skip


def count_parameters(weights: bytes) -> int:
    """Count the numbers of a codec file, probability tables left out."""
    import safetensors.numpy

    tensors = safetensors.numpy.load(weights)
    return sum(int(np.size(t)) for name, t in tensors.items() if not name.startswith("tables."))


def _mpix_s(
    call: Callable[[], object],
    pixels: int,
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> float:
    times = []
    for _ in range(rounds + 1):
        start = clock()
        call()
        times.append(clock() - start)
    return pixels / max(statistics.median(times[1:]), 1e-6) / 1e6


def _kmac_px(
    codec: Coder, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], pixels: int
) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        codec.decode_batch(streams, tasks, pixels)
    return float(counter.get_total_flops()) / 2 / pixels / 1000


def gpu_mpix_s(
    codec: Coder,
    streams: Sequence[Mapping[str, bytes]],
    tasks: Sequence[str],
    pixels: int,
    rounds: int,
) -> float | None:
    """Time the half of decoding that a GPU does, for a batch of 16; entropy decoding left out.

    None without a GPU, and for codecs that do not decode in two halves.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not isinstance(codec, LatentCodec):
        return None
    batch = [codec.unpack_latents(s, tasks, pixels) for s in streams] * (16 // len(streams))
    found = _mpix_s(
        lambda: codec.synthesize(batch, tasks, device="cuda"),
        pixels * (16 // len(streams)), rounds, time.perf_counter,
    )  # fmt: skip
    codec.synthesize(batch[:1], tasks, device="cpu")  # codecs share their loaded network
    return found
