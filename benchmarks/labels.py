"""Label maps, losslessly: bytes and speed of `label-context` beside other lossless coders.

    python -m benchmarks.labels

`twin` is `label-context` without the compiled kernels; it is tried on every tenth map only. NYUv2's
test split (training saw its train split only) at its own size, at 304×224 and at 180×102 (nearest),
and procedural views of seed 0 (training saw others). Coders take turns on each map, on one core,
and speed is pixels over CPU time of this process, so that a busy machine matters little; files are
read beforehand. Every map is decoded and compared.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np

from benchmarks.label_weights import SMALL, nearest
from dsc import _kernels
from dsc._codecs.registry import make_codec
from dsc._schemas import Quality, Task
from dsc._sources.registry import open_source

BASELINE = "jxl e7"
TWIN, EVERY = "twin", 10
TINY = (102, 180)


@dataclass(frozen=True)
class Coder:
    """Encodes a (H, W) uint8 map and decodes it again, given its shape."""

    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[bytes, tuple[int, ...]], np.ndarray]


def coders() -> dict[str, Coder]:
    codec = make_codec("label-context", [Task(name="label", kind="label", dtype="uint8")])

    def encode(labels: np.ndarray) -> bytes:
        return codec.encode_batch([{"label": labels}], Quality(default=100))[0]["label"]

    def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        return codec.decode_batch([{"label": data}], ["label"], 1 << 28)[0]["label"]

    def twin_encode(labels: np.ndarray) -> bytes:
        with _kernels.twins():
            return encode(labels)

    def twin_decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        with _kernels.twins():
            return decode(data, shape)

    return {
        "label-context": Coder(encode, decode),
        TWIN: Coder(twin_encode, twin_decode),
        BASELINE: Coder(
            lambda x: imagecodecs.jpegxl_encode(x, lossless=True, effort=7, numthreads=1),
            lambda data, _: imagecodecs.jpegxl_decode(data, numthreads=1),
        ),
        "jxl e9": Coder(
            lambda x: imagecodecs.jpegxl_encode(x, lossless=True, effort=9, numthreads=1),
            lambda data, _: imagecodecs.jpegxl_decode(data, numthreads=1),
        ),
        "webp": Coder(
            lambda x: imagecodecs.webp_encode(np.repeat(x[..., None], 3, axis=2), lossless=True),
            lambda data, _: imagecodecs.webp_decode(data)[..., 0],
        ),
        "png": Coder(
            lambda x: imagecodecs.png_encode(x, level=9),
            lambda data, _: imagecodecs.png_decode(data),
        ),
        "zstd 19": Coder(
            lambda x: imagecodecs.zstd_encode(x.tobytes(), level=19),
            lambda data, shape: np.frombuffer(imagecodecs.zstd_decode(data), np.uint8).reshape(
                shape
            ),
        ),
    }


def data_sets(data: Path, share: int, views: int) -> dict[str, list[np.ndarray]]:
    found: dict[str, list[np.ndarray]] = {}
    if (data / "nyuv2").is_dir():
        source = open_source("nyuv2", str(data / "nyuv2"), split="test")
        maps = [source.read(k, ["label"]).arrays["label"] for k in range(0, len(source), share)]
        found["NYUv2 test, 640×480"] = maps
        found["NYUv2 test, 304×224"] = [nearest(labels, SMALL) for labels in maps]
        found["NYUv2 test, 180×102"] = [nearest(labels, TINY) for labels in maps]
    for size, count in ((256, views), (512, views // 4)):
        if count:
            source = open_source("sample", n=count, size=size, seed=0)
            found[f"procedural views, {size}×{size}"] = [
                source.read(k, ["segment_semantic"]).arrays["segment_semantic"]
                for k in range(count)
            ]
    return found


def measure(title: str, maps: Sequence[np.ndarray]) -> None:
    named = coders()
    pixels, sizes = dict.fromkeys(named, 0), dict.fromkeys(named, 0)
    spent = {name: [0.0, 0.0] for name in sizes}
    for k, labels in enumerate(maps):
        for name, coder in named.items():
            if name == TWIN and k % EVERY:
                continue
            start = time.process_time()
            data = coder.encode(labels)
            middle = time.process_time()
            decoded = coder.decode(data, labels.shape)
            spent[name][0] += middle - start
            spent[name][1] += time.process_time() - middle
            sizes[name] += len(data)
            pixels[name] += labels.size
            if not np.array_equal(decoded, labels):
                raise SystemExit(f"{title}: {name} did not give a map back")
    print(f"\n{title}: {len(maps)} maps")
    print(f"{'':14} {'bpp':>8} {'to jxl e7':>9} {'encode':>8} {'decode':>8} MPix/s")
    for name, size in sizes.items():
        bpp = 8 * size / pixels[name]
        speeds = " ".join(f"{pixels[name] / seconds / 1e6:8.2f}" for seconds in spent[name])
        ratio = bpp / (8 * sizes[BASELINE] / pixels[BASELINE])
        print(f"{name:14} {bpp:8.4f} {'' if name == TWIN else f'{ratio:.3f}':>9} {speeds}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--share", type=int, default=1, help="every n-th NYUv2 map")
    parser.add_argument("--views", type=int, default=100)
    args = parser.parse_args()
    for title, maps in data_sets(Path(args.data), args.share, args.views).items():
        measure(title, maps)


if __name__ == "__main__":
    main()
