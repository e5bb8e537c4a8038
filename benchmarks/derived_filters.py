"""Edges and keypoints from decoded images, for no bytes, beside av1's own pictures of them.

    python -m benchmarks.derived_filters [--every 4] [--qualities 30,60,90]

The maps are made of the originals; then of what av1 decodes to at each quality; and coded by av1 at
the same quality. A line for each data set, quality and rule: in how many views the derived map is
the closer one (root mean square of counts), both errors, and what av1's picture costs.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from dsc._bench.markdown import markdown_table
from dsc._codecs.base import Array, Codec
from dsc._codecs.derived.edge_texture import EdgeTexture
from dsc._codecs.derived.keypoints2d import Keypoints2d
from dsc._codecs.derived.rule import Rule
from dsc._codecs.registry import make_codec
from dsc._files.formats import read_pixels
from dsc._schemas import Quality, Task, TaskKind
from dsc._sources.base import read_sample
from dsc._sources.registry import open_source

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
MAP = Task(name="map", kind=TaskKind.IMAGE, dtype="uint16")
FILES = {"taskonomy": "taskonomy_native/*/rgb/*.png", "kodak": "kodak/*", "natural": "natural/*"}
RENDERED = {"rooms, 256": 256, "rooms, 512": 512}  # pixels
RULES: dict[str, Rule] = {
    **{
        f"edges, sigma {sigma / 1000}": EdgeTexture(RGB, sigma) for sigma in (500, 1000, 2000, 3000)
    },
    "keypoints": Keypoints2d(RGB),
}


def main() -> None:
    """Code all images and maps, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--every", type=int, default=1, help="take one of so many files")
    parser.add_argument("--views", type=int, default=12, help="that are rendered")
    parser.add_argument("--qualities", default="30,60,90")
    options = parser.parse_args()
    qualities = [int(word) for word in options.qualities.split(",")]
    rows = [
        [name, str(quality), *row]
        for name, images in image_sets(Path(options.data), options.every, options.views)
        for quality in qualities
        for row in lines(images, Quality(default=quality))
    ]
    head = [
        "images",
        "quality",
        "map",
        "derived is closer",
        "derived RMSE",
        "av1 RMSE",
        "av1 bytes",
    ]
    print(markdown_table(head, rows))


def image_sets(data: Path, every: int, views: int) -> Iterator[tuple[str, list[NDArray[np.uint8]]]]:
    """Yield the images (H, W, 3) of each data set that is there."""
    for name, pattern in FILES.items():
        paths = sorted(data.glob(pattern))
        images = [read_pixels(path.read_bytes(), path.name) for path in paths[::every]]
        if images:
            yield name, [image for image in images if image.ndim == 3]
    for name, size in RENDERED.items():
        source = open_source("sample", n=views, size=size)
        yield name, [read_sample(source, n, ["rgb"]).arrays["rgb"] for n in range(views)]


def lines(images: list[NDArray[np.uint8]], quality: Quality) -> Iterator[list[str]]:
    """Yield a line a rule."""
    coder = make_codec("av1", [RGB])
    decoded = [coded(coder, image, quality)[0] for image in images]
    picture = make_codec("av1", [MAP])
    for name, rule in RULES.items():
        found: list[tuple[float, float, int]] = []
        for image, seen in zip(images, decoded, strict=True):
            child = rule.derive({"rgb": image}, ())
            own, size = coded(picture, child, quality)
            found.append((rmse(child, rule.derive({"rgb": seen}, ())), rmse(child, own), size))
        derived, alone, sizes = zip(*found, strict=True)
        closer = sum(first < second for first, second, _ in found)
        yield [
            name, f"{closer} of {len(found)}", f"{fmean(derived):.1f}", f"{fmean(alone):.1f}",
            f"{fmean(sizes):,.0f}",
        ]  # fmt: skip


def coded(codec: Codec, array: Array, quality: Quality) -> tuple[Array, int]:
    """Return what an array of a codec's only task decodes to, and its bytes."""
    name = codec.tasks[0].name
    streams = codec.encode_batch([{name: array}], quality)
    (decoded,) = codec.decode_batch(streams, [name], array.shape[0] * array.shape[1])
    return decoded[name], sum(map(len, streams[0].values()))


def rmse(first: Array, second: Array) -> float:
    """Return the root of the mean squared difference, in counts."""
    return float(np.sqrt(np.mean((first.astype(float) - second) ** 2)))


if __name__ == "__main__":
    main()
