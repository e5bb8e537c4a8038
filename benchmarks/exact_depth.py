"""Depth without loss: rows under chances that learn, beside JPEG XL at the efforts of `exact`.

    python -m benchmarks.exact_depth [--maps 12] [--views 8]

Recorded depth as it lies in the files (7-Scenes, NYUv2, the Taskonomy format), that of rendered
rooms, and noise, where there is nothing to learn. Bytes are the medians of a map; a ratio is that
of the sums, and in brackets the worst map's. Rates are medians of processor time on one core; what
is decoded is held against what went in.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import imagecodecs
import numpy as np

from dsc._bench.markdown import markdown_table
from dsc._codecs.base import Array
from dsc._codecs.classical import exact
from dsc._codecs.registry import make_codec
from dsc._kernels import description
from dsc._schemas import Effort, Quality, Task
from dsc._sources.registry import open_source

FILES = {
    "7-Scenes": "sevenscenes/*.depth.png",
    "7-Scenes, a clip": "sevenscenes_clip/*.depth.png",
    "NYUv2, 8 bits": "nyuv2/nyu_depths/*.png",
    "Taskonomy format": "taskonomy_native/*/depth_euclidean/*.png",
}
SIDES = (256, 512)
EFFORTS = {f"JPEG XL {efforts[-1]}": efforts for efforts in exact.JPEG_XL_EFFORTS.values()}
USUAL = f"JPEG XL {exact.JPEG_XL_EFFORTS[Effort.DEFAULT][-1]}"
ROWS = "rows"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--maps", type=int, default=12, help="of each data set, evenly spread")
    parser.add_argument("--views", type=int, default=8, help="of rendered rooms, of each size")
    options = parser.parse_args()
    print(description(), "\n")
    found = [
        (name, measure(maps))
        for name, maps in (
            *recorded(Path(options.data), options.maps),
            *rooms(options.views),
            noise(options.views),
        )
    ]
    head = ["depth", "maps", *EFFORTS, ROWS, f"of {USUAL}", "`exact` keeps rows", "all together"]
    print(markdown_table(head, [bytes_row(name, one) for name, one in found]), "\n")
    ways = [*EFFORTS, ROWS]
    head = ["MPix/s", *(f"{way}, coded" for way in ways), *(f"{way}, decoded" for way in ways)]
    print(markdown_table(head, [rates_row(name, one) for name, one in found]))


def recorded(data: Path, count: int) -> Iterator[tuple[str, list[Array]]]:
    """Yield the maps (H, W) of each data set that is there."""
    for name, pattern in FILES.items():
        paths = sorted(data.glob(pattern))
        places = np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)
        if paths:
            maps = [imagecodecs.imread(str(paths[k])) for k in places]
            yield f"{name}, {maps[0].shape[1]}×{maps[0].shape[0]}", maps


def rooms(views: int) -> Iterator[tuple[str, list[Array]]]:
    """Yield the depth of rendered rooms, for each size."""
    for side in SIDES:
        source = open_source("sample", n=views, size=side)
        maps = [source.read(k, ["depth_zbuffer"]).arrays["depth_zbuffer"] for k in range(views)]
        yield f"rendered rooms, {side} px", maps


def noise(count: int) -> tuple[str, list[Array]]:
    """Return slopes on which every pixel lies 0 to 11 counts higher: as much as is tried."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:512, :512]
    made = [(9000 + y + x + rng.integers(0, 12, x.shape)).astype(np.uint16) for _ in range(count)]
    return "noise of 12 counts, 512 px", made


def measure(maps: list[Array]) -> dict[str, list[tuple[float, ...]]]:
    """Return (bytes, coded MPix/s, decoded MPix/s) of each map by each way, and by `exact`."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for array in maps:
        task = Task(
            name="depth", kind="depth", dtype=str(array.dtype), unit_m=0.001,
            invalid=(0, int(np.iinfo(array.dtype).max)),
        )  # fmt: skip
        words, read = exact.to_words(array), (array.shape, array.dtype)
        for name, efforts in EFFORTS.items():
            write = partial(exact._write_image, words, efforts)
            found.setdefault(name, []).append(timed(write, exact._read_image, read, words))
        write = partial(exact._write_values, words, exact._hole_of(task, array, words))
        found.setdefault(ROWS, []).append(timed(write, exact._read_values, read, words))
        (streams,) = make_codec("exact", [task]).encode_batch([{"depth": array}], Quality())
        kept = streams["depth"]
        found.setdefault("exact", []).append((len(kept), kept[0] == exact.ExactMethod.VALUES))
    return found


def timed(
    write: Callable[[], bytes], read: Callable[..., Array], given: tuple[object, ...], words: Array
) -> tuple[float, ...]:
    """Return bytes, and MPix/s of coding and decoding."""
    start = time.process_time()
    data = write()
    written = time.process_time()
    back = read(data, *given)
    done = time.process_time()
    if not np.array_equal(back, words):
        raise SystemExit("what was decoded is something else")
    mpix = words.size / 1e6
    return len(data), mpix / (written - start), mpix / (done - written)


def bytes_row(name: str, found: dict[str, list[tuple[float, ...]]]) -> list[str]:
    """Return a row of the first table."""
    sizes = {way: [one[0] for one in some] for way, some in found.items()}
    beside = [a / b for a, b in zip(sizes[ROWS], sizes[USUAL], strict=True)]
    share = sum(sizes[ROWS]) / sum(sizes[USUAL])
    kept = sum(bool(one[1]) for one in found["exact"])
    together = sum(sizes["exact"]) / sum(sizes[USUAL])
    return [
        name,
        str(len(beside)),
        *(f"{median(sizes[way]):,.0f}" for way in (*EFFORTS, ROWS)),
        f"{share:.3f} ({max(beside):.3f})",
        f"{kept} of {len(beside)}",
        f"{together:.3f}",
    ]


def rates_row(name: str, found: dict[str, list[tuple[float, ...]]]) -> list[str]:
    """Return a row of the second table."""
    ways = (*EFFORTS, ROWS)
    rates = [median(one[k] for one in found[way]) for k in (1, 2) for way in ways]
    return [name, *(f"{rate:.1f}" for rate in rates)]


if __name__ == "__main__":
    main()
