"""Make docs/coarse_first.jpg and coarse_first_scales.jpg: levels of rendered views, with the bytes.

python -m benchmarks.coarse_first_picture
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import imagecodecs
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

import dsc
from benchmarks.readme_picture import picture
from dsc._sources.registry import open_source
from dsc._storage.read.archive import Archive

VIEW = 6
CODECS = {
    "rgb": "av1-layered",
    "depth_zbuffer": "av1-layered",
    "segment_semantic": "label-layered",
}
SCALES = {"rgb": "layered", "depth_zbuffer": "layered", "normal": "layered"}


def shown(name: str, array: np.ndarray) -> np.ndarray:
    if name != "segment_semantic":
        return picture(name, array)
    return (255 * mpl.colormaps["tab20"](array % 20)[..., :3]).astype(np.uint8)


def draw(codecs: Mapping[str, str], levels: int, size: tuple[float, float], out: Path) -> None:
    """Draw a row a task, with a column a level."""
    codec = ",".join(f"{task}={word}" for task, word in codecs.items())
    figure, axes = plt.subplots(len(codecs), levels, figsize=size, layout="constrained")
    with tempfile.TemporaryDirectory() as folder:
        dsc.compress(open_source("sample", n=VIEW + 1), folder, tasks=tuple(codecs), codec=codec)
        archive = Archive.open(folder)
        samples = [dsc.open(folder, native=True, levels=n + 1)[VIEW] for n in range(levels)]
        for row, name in zip(axes, codecs, strict=True):
            payloads = archive.payloads(VIEW, [f"{name}.{level}" for level in range(levels)])
            sizes = np.cumsum([len(one or b"") for one in payloads.values()])
            for level, (axis, sample, taken) in enumerate(zip(row, samples, sizes, strict=True), 1):
                height, width = sample[name].shape[:2]
                axis.imshow(shown(name, sample[name]), interpolation="nearest")
                axis.set_title(f"{name}, level {level}: {width}×{height}, {taken:,} bytes", size=8)
                axis.axis("off")
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    out.write_bytes(imagecodecs.jpeg_encode(np.ascontiguousarray(pixels), level=80))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="docs", help="folder of the pictures")
    args = parser.parse_args()
    draw(CODECS, 2, (6.4, 9.3), Path(args.out) / "coarse_first.jpg")
    draw(SCALES, 4, (11.2, 8.4), Path(args.out) / "coarse_first_scales.jpg")


if __name__ == "__main__":
    main()
