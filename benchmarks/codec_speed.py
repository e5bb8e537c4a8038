"""Speed of the learned codec on one core: encoding all tasks, decoding each.

    python -m benchmarks.codec_speed

256-px rendered views, quality 60, batches of 8, everything from native arrays to bytes and back.
Megapixels are of the sample (256 × 256), whatever the number of tasks.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from dsc.codecs.learned.shared_latent import SharedLatentCodec
from dsc.pipeline.sources import open_source
from dsc.schemas import Quality


def speed(call: Callable[[], object], pixels: int, rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return pixels / statistics.median(times[1:]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    source = open_source("sample", n=args.views)
    tasks = SharedLatentCodec.supported(source.tasks)
    names = [task.name for task in tasks]
    samples = [source.read(i, names).arrays for i in range(args.views)]
    pixels = sum(sample["rgb"].shape[0] * sample["rgb"].shape[1] for sample in samples)
    codec, quality = SharedLatentCodec.for_tasks(tasks), Quality(default=60)
    streams = codec.encode_batch(samples, quality)

    def encode() -> object:
        return codec.encode_batch(samples, quality)

    print(f"encode {'+'.join(names):28} {speed(encode, pixels, args.rounds):6.2f} MPix/s")
    for name in names:

        def unpack(name: str = name) -> object:
            return [codec.unpack_latents(s, [name], 1 << 24) for s in streams]

        def decode(name: str = name) -> object:
            return codec.decode_batch(streams, [name], 1 << 24)

        print(
            f"decode {name:28} {speed(decode, pixels, args.rounds):6.2f} MPix/s "
            f"(latents alone {speed(unpack, pixels, args.rounds):6.2f})"
        )


if __name__ == "__main__":
    main()
