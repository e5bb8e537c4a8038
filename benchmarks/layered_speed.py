"""How fast `layered` encodes and decodes on one core, by size of the pictures and scales read.

    python -m benchmarks.layered_speed --size fast

The network is as its start leaves it: speed does not depend on weights, but bits do a little, which
entropy decoding is a small part of. Pictures are rendered; figures are medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from dsc._codecs.learned.codec_file import export_codec
from dsc._codecs.learned.layered.codec import LayeredNetworkCodec
from dsc._codecs.learned.layered.differentiable import layered
from dsc._codecs.learned.layered.spec import SCALES, scale_stream
from dsc._codecs.learned.planes import to_planes
from dsc._renderer.render import render_view
from dsc._schemas import Quality, Task, TaskKind

TASK = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
SETS = ((64, 64), (256, 4), (512, 4))  # side, pictures
NAMES = [TASK.name]


def main() -> None:
    """Print a table of megapixels a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="fast", help="tiny, fast or base")
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    codec = started(args.size)
    print(f"{'side':>5} {'pictures':>9} {'encode':>7} {'decode':>7} {'integers':>9} {'1 scale':>8}")
    for side, count in SETS:
        samples = [{TASK.name: render_view(number, side)["rgb"]} for number in range(count)]
        coded = codec.encode_batch(samples, Quality(default=60))
        limit, coarse = side * side, codec.from_streams([scale_stream(TASK.name, 0)])
        seconds = [
            timed(call, args.times)
            for call in (
                lambda samples=samples: codec.encode_batch(samples, Quality(default=60)),
                lambda coded=coded, limit=limit: codec.decode_batch(coded, NAMES, limit),
                lambda coded=coded, limit=limit: codec.unpack_batch(
                    coded, [NAMES] * len(coded), limit
                ),
                lambda coded=coded, limit=limit, coarse=coarse: coarse.decode_batch(
                    coded, NAMES, limit
                ),
            )
        ]
        encode, decode, integers, first = (count * limit / 1e6 / one for one in seconds)
        print(f"{side:5} {count:9} {encode:7.2f} {decode:7.2f} {integers:9.2f} {first:8.2f}")
    print(f"megapixels a second; all {SCALES} scales unless it says 1")


def started(size: str) -> LayeredNetworkCodec:
    """Return the codec of a network that has its start and no step."""
    planes = [
        torch.from_numpy(to_planes(TASK, render_view(900 + number, 64)["rgb"])[0])
        for number in range(64)
    ]
    torch.manual_seed(0)
    network = layered([TASK.name], size)
    network.initialise({TASK.name: torch.stack(planes)})
    return LayeredNetworkCodec([TASK], export_codec(network.eval(), {}))


def timed(call: Callable[[], object], times: int) -> float:
    """Return the median of some runs, in seconds, after one that warms up."""
    call()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


if __name__ == "__main__":
    main()
