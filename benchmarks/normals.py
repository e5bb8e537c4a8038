"""Normals: bytes and speed of `normal-palette` beside `av1`, on planes and on what is none.

    python -m benchmarks.normals

Rendered rooms and CLEVR-like scenes, a ball, and with DSC_TEST_DATA normals that are computed from
the depth of Taskonomy-format views. Codecs take turns on each map, on one core; speed is pixels
over CPU time of this process, the quickest of several runs. Decoding is to the source's integers
and, behind it, to the unit vectors of a batch.
"""

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from dsc._codecs.canvas import Place
from dsc._codecs.maps.base import TaskCodec
from dsc._codecs.registry import make_codec
from dsc._pipeline import metrics
from dsc._renderer.clevr import render_clevr
from dsc._renderer.render import render_view
from dsc._schemas import Quality, Task, TaskKind

NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
CODECS = ("av1", "normal-palette")
MOST_PIXELS = 1 << 24


def from_vectors(vectors: np.ndarray) -> np.ndarray:
    """Return normals (H, W, 3) uint8 of vectors of any length."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-9)
    return np.clip(np.rint(unit * 127.5 + 127.5), 0, 255).astype(np.uint8)


def ball(size: int) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    return from_vectors(np.stack([x, y, np.sqrt(np.clip(1.5 - x**2 - y**2, 0.05, None))], -1))


def of_depth(depth_m: np.ndarray, view_rad: float = 1.0) -> np.ndarray:
    """Return the normals of a depth map, by its gradients."""
    height, width = depth_m.shape
    focal = width / 2 / np.tan(view_rad / 2)
    y, x = np.mgrid[:height, :width]
    points = np.stack([(x - width / 2) / focal, (y - height / 2) / focal, x * 0 + 1.0], -1)
    points = points * depth_m[..., None]
    return from_vectors(np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0)))


def data(views: int) -> Iterator[tuple[str, list[np.ndarray]]]:
    for size in (256, 512):
        rooms = [render_view(index, size)["normal"] for index in range(20, 20 + views)]
        yield f"rendered rooms, {size}×{size}", rooms
    for size in (256, 512):
        scenes = [render_clevr(index, size)["normal"] for index in range(20, 20 + views // 2)]
        yield f"CLEVR-like, {size}×{size}", scenes
    yield "balls", [ball(size) for size in (256, 512)]
    folder = Path(os.environ.get("DSC_TEST_DATA", "")) / "taskonomy_native" / "3dcc"
    files = sorted((folder / "depth_euclidean").glob("*.png"))
    depths = [imagecodecs.imread(file) / 512 for file in files]
    if depths:
        yield "of Taskonomy's depth, 512×512", [of_depth(depth.clip(0, 100)) for depth in depths]


def quickest(run: Callable[[], Any], times: int) -> tuple[float, Any]:
    found = np.inf
    for _ in range(times):
        begun_s = time.process_time()
        result = run()
        found = min(found, time.process_time() - begun_s)
    return found, result


def measure(codec: TaskCodec, array: np.ndarray, quality: int) -> dict[str, float]:
    """Return bytes, seconds, the sum of angles in degrees, and whether it is labels."""
    asked = Quality(default=quality)
    encode_s, (streams,) = quickest(lambda: codec.encode_batch([{"normal": array}], asked), 2)
    payload = streams["normal"]

    def decode(is_native: bool) -> tuple[float, np.ndarray]:
        out = np.empty(array.shape, np.uint8 if is_native else np.float32)
        place = Place(is_native, lambda shape, dtype: out)
        return quickest(lambda: codec.decode_to("normal", payload, MOST_PIXELS, place), 9)

    native_s, native = decode(is_native=True)
    physical_s, unit = decode(is_native=False)
    assert np.array_equal(unit, NORMAL.to_physical(native), equal_nan=True)
    angles = metrics.angles_deg(NORMAL.to_physical(array), unit)
    return {
        "bytes": len(payload), "encode": encode_s, "native": native_s, "physical": physical_s,
        "degrees": float(np.nansum(angles)), "pixels": array.shape[0] * array.shape[1],
        "labels": codec.id == "normal-palette" and payload[0] == 1, "maps": 1,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=16, help="rooms; half as many scenes")
    parser.add_argument("--quality", type=int, default=60)
    args = parser.parse_args()
    codecs = {name: make_codec(name, [NORMAL]) for name in CODECS}
    print(
        "| normals | labels | bytes a map, ratio | mean error, ratio | encoding, MPix/s, ratio "
        "| decoding, MPix/s | to unit vectors |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    for title, arrays in data(args.views):
        sums: dict[str, dict[str, float]] = {name: defaultdict(float) for name in CODECS}
        for array in arrays:
            for name, codec in codecs.items():
                for key, value in measure(codec, array, args.quality).items():
                    sums[name][key] += value
        own, other = sums["normal-palette"], sums["av1"]
        speed = {
            key: [sums[name]["pixels"] / sums[name][key] / 1e6 for name in CODECS]
            for key in ("encode", "native", "physical")
        }
        print(
            f"| {title} | {own['labels']:.0f} of {own['maps']:.0f} "
            f"| {other['bytes'] / other['maps']:,.0f} → {own['bytes'] / own['maps']:,.0f}, "
            f"{own['bytes'] / other['bytes']:.3f} "
            f"| {own['degrees'] / max(other['degrees'], 1e-9):.2f} "
            f"| {speed['encode'][0]:.3f} → {speed['encode'][1]:.3f}, "
            f"{speed['encode'][1] / speed['encode'][0]:.2f} "
            f"| {speed['native'][0]:.0f} → {speed['native'][1]:.0f} "
            f"| {speed['physical'][0]:.0f} → {speed['physical'][1]:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
