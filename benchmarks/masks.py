"""What masks of invalid pixels cost: bytes and milliseconds to decode, by method.

    python -m benchmarks masks

On holes of a Kinect (7-Scenes) and on made ones, 640×480: each method's bytes, its time on one core
(processor time, the median), and which one is kept.
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
from numpy.typing import NDArray

from dsc._coding.context import mask as masks
from dsc._coding.context.raster import encode_rows
from dsc._kernels import description
from dsc._schemas import Effort

Mask = NDArray[np.bool_]
SHAPE = (480, 640)
NAMES = {
    masks.BROTLI: "bits, brotli",
    masks.ROWS: "rows",
    masks.JPEG_XL: "JPEG XL",
    masks.CONTEXT_UNSET: "context",
    masks.CONTEXT_SET: "context",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--frames", type=int, default=5, help="of 7-Scenes, evenly spread")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    print(f"{description()}; bytes (ms to decode)\n")
    head = ["mask", "set", *dict.fromkeys(NAMES.values()), "WebP, lossless"]
    print(f"| {' | '.join(head)} | kept at {', '.join(Effort)} |")
    print("| --- " * (len(head) + 1) + "|")
    made = [*kinect_masks(Path(args.data), args.frames), *made_masks()]
    for name, mask in made:
        cells = [f"{name} | {mask.mean():.1%}"]
        for data in (
            masks._pack_bits(mask),
            bytes([masks.ROWS]) + encode_rows(mask),
            _jpeg_xl(mask),
            masks._encode_context(mask),
        ):
            ms = decode_ms(partial(masks.decode_mask, data, *SHAPE), args.repeats)
            cells.append(f"{len(data):,} ({ms:.2f})")
        webp = _webp(mask)
        ms = decode_ms(partial(imagecodecs.webp_decode, webp), args.repeats)
        cells.append(f"{len(webp):,} ({ms:.2f})")
        kept = [NAMES[masks.encode_mask(mask, effort)[0]] for effort in Effort]
        cells.append(", ".join(kept))
        print(f"| {' | '.join(cells)} |", flush=True)


def kinect_masks(root: Path, count: int) -> Iterator[tuple[str, Mask]]:
    frames = sorted((root / "sevenscenes").glob("*.depth.png"))
    for k in np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int):
        depth = imagecodecs.imread(str(frames[k]))
        yield f"Kinect {k}", (depth == 0) | (depth == 65535)


def made_masks() -> Iterator[tuple[str, Mask]]:
    rng = np.random.default_rng(0)
    frame = np.zeros(SHAPE, bool)
    frame[:8] = frame[-8:] = frame[:, :10] = frame[:, -10:] = True
    yield "a frame", frame
    for width in (8, 3, 1.5):
        yield f"blobs {width} px", blobs(rng, width, 0.1)
    for share in (0.001, 0.01, 0.1, 0.5):
        yield f"noise {share:.1%}", rng.random(SHAPE) < share
    lines = np.arange(SHAPE[0])[:, None] % 8 > 0
    yield "all but lines", lines | (rng.random(SHAPE) < 0.4)


def blobs(rng: np.random.Generator, width: float, share: float) -> Mask:
    """Return where smooth noise is low."""
    y, x = (np.fft.fftfreq(size)[:, None] for size in SHAPE)
    window = np.exp(-2 * (np.pi * width) ** 2 * (y**2 + x.T**2))
    smooth = np.fft.ifft2(np.fft.fft2(rng.normal(size=SHAPE)) * window).real
    found: Mask = smooth < np.quantile(smooth, share)
    return found


def decode_ms(decode: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        decode()
        times.append(1000 * (time.process_time() - start))
    return median(times[1:])


def _jpeg_xl(mask: Mask) -> bytes:
    image = mask.astype(np.uint8)
    coded = imagecodecs.jpegxl_encode(image, lossless=True, effort=4, numthreads=1)
    return bytes([masks.JPEG_XL]) + bytes(coded)


def _webp(mask: Mask) -> bytes:
    image = np.zeros((*mask.shape, 3), np.uint8)
    image[..., 1] = mask
    return bytes(imagecodecs.webp_encode(image, lossless=True, method=2, numthreads=1))


if __name__ == "__main__":
    main()
