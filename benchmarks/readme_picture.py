"""Make docs/views.jpg: rendered views, original beside decoded, with the bytes of each.

python -m benchmarks.readme_picture
"""

import argparse
import tempfile
from pathlib import Path

import imagecodecs
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

import dsc
from dsc._sources.registry import open_source
from dsc._storage.read.archive import Archive

INDEXES = (4, 6, 10, 14)
SHOWN = ("rgb", "depth_zbuffer", "normal")


def picture(name: str, array: np.ndarray) -> np.ndarray:
    if name != "depth_zbuffer":
        return array
    depth_m = np.where(array == 65535, np.nan, array / 512)
    near, far = np.nanpercentile(depth_m, [1, 99])
    colours = mpl.colormaps["turbo"]((depth_m - near) / (far - near))[..., :3]
    colours[np.isnan(depth_m)] = 0
    return (255 * colours).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="docs/views.jpg")
    args = parser.parse_args()
    source = open_source("sample", n=max(INDEXES) + 1)
    with tempfile.TemporaryDirectory() as folder:
        dsc.compress(source, folder, tasks=SHOWN)
        decoded, archive = dsc.open(folder, native=True), Archive.open(folder)
        figure, axes = plt.subplots(
            len(INDEXES), 2 * len(SHOWN), figsize=(14.4, 2.55 * len(INDEXES)), layout="constrained"
        )
        joint = {s.name for s in archive.manifest.streams if s.requires}
        for row, index in zip(axes, INDEXES, strict=True):
            given, found = source.read(index, SHOWN), decoded[index]
            payloads = archive.payloads(index, [stream.name for stream in archive.manifest.streams])
            shared = len(payloads.get("shared") or b"")
            for column, name in enumerate(SHOWN):
                size = len(payloads[name] or b"")
                pair = row[2 * column : 2 * column + 2]
                pair[0].imshow(picture(name, given.arrays[name]))
                pair[0].set_title(f"{name}: {given.source_bytes[name] / 1000:.1f} kB PNG", size=9)
                pair[1].imshow(picture(name, found[name]))
                more = f" + shared {shared / 1000:.2f}" if name in joint else ""
                pair[1].set_title(f"dsc: {size / 1000:.2f}{more} kB", size=9)
            for axis in row:
                axis.axis("off")
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    Path(args.out).write_bytes(imagecodecs.jpeg_encode(np.ascontiguousarray(pixels), level=85))


if __name__ == "__main__":
    main()
