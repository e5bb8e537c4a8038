"""Make docs/coarse_first.jpg: the levels of rendered views, each at its size, with the bytes.

python -m benchmarks.coarse_first_picture
"""

import argparse
import tempfile
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


def shown(name: str, array: np.ndarray) -> np.ndarray:
    if name != "segment_semantic":
        return picture(name, array)
    return (255 * mpl.colormaps["tab20"](array % 20)[..., :3]).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="docs/coarse_first.jpg")
    args = parser.parse_args()
    codec = ",".join(f"{task}={word}" for task, word in CODECS.items())
    figure, axes = plt.subplots(len(CODECS), 2, figsize=(6.4, 9.3), layout="constrained")
    with tempfile.TemporaryDirectory() as folder:
        dsc.compress(open_source("sample", n=VIEW + 1), folder, tasks=tuple(CODECS), codec=codec)
        archive = Archive.open(folder)
        levels = [dsc.open(folder, native=True, levels=level)[VIEW] for level in (1, 2)]
        for row, name in zip(axes, CODECS, strict=True):
            payloads = archive.payloads(VIEW, [f"{name}.0", f"{name}.1"])
            sizes = np.cumsum([len(one or b"") for one in payloads.values()])
            for level, (axis, sample, size) in enumerate(zip(row, levels, sizes, strict=True), 1):
                height, width = sample[name].shape[:2]
                axis.imshow(shown(name, sample[name]), interpolation="nearest")
                axis.set_title(f"{name}, level {level}: {width}×{height}, {size:,} bytes", size=8)
                axis.axis("off")
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    Path(args.out).write_bytes(imagecodecs.jpeg_encode(np.ascontiguousarray(pixels), level=80))


if __name__ == "__main__":
    main()
