"""What a bound on every pixel of depth costs: `--max-error` on 7-Scenes.

    python -m benchmarks.bounds

For each bound: AVIF with a residual stream at the best of three qualities (and the residual alone),
JPEG XL of levels with the same relative error, JPEG XL lossless; bytes a frame. Every decoded frame
is compared with its original, and a valid pixel beyond the bound ends the run with an error.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsc._codecs.base import Codec
from dsc._codecs.maps.levels import relative_error
from dsc._codecs.registry import make_codec
from dsc._codecs.residual.codec import ResidualCodec
from dsc._schemas import Quality, Task
from dsc._schemas.target import Bound
from dsc._sources.registry import open_source

BOUNDS = ("5%", "2%", "1%", "0.5%", "0.2%", "20mm", "10mm", "5mm")
QUALITIES = (55, 75, 90)
LIMIT = 1 << 22


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--frames", type=int, default=25, help="evenly spread")
    args = parser.parse_args()
    source = open_source("folder", str(Path(args.data) / "sevenscenes"))
    (task,) = (task for task in source.tasks if task.name == "depth")
    chosen = np.linspace(0, len(source) - 1, min(args.frames, len(source))).astype(int)
    frames = [source.read(int(index), ["depth"]).arrays["depth"] for index in chosen]
    lossless, _ = measure(make_codec("jxl-lossless", [task]), task, frames, Quality())
    print(f"{len(frames)} frames, bytes a frame\n")
    print("| bound | AVIF + residual (residual alone) | JPEG XL levels | JPEG XL lossless |")
    print("| --- | --- | --- | --- |")
    for bound in BOUNDS:
        codec = ResidualCodec(make_codec("avif", [task]), ["depth"])
        tried = []
        for quality in QUALITIES:
            bounds = Bound.parse(f"depth={bound}", [task])
            asked = Quality(default=quality, max_error=bounds)
            tried.append((*measure(codec, task, frames, asked, bound), quality))
        total, alone, quality = min(tried)
        levels = ""
        if bound.endswith("%"):
            error = float(bound[:-1]) / 100
            level = next(q for q in range(1, 101) if relative_error(q) <= error)
            jxl = make_codec("jxl", [task])
            levels = f"{measure(jxl, task, frames, Quality(default=level), bound)[0]:,.0f}"
        print(f"| {bound} | {total:,.0f} ({alone:,.0f}), q{quality} | {levels} | {lossless:,.0f} |")


def measure(
    codec: Codec, task: Task, frames: Sequence[np.ndarray], quality: Quality, bound: str = "0%"
) -> tuple[float, float]:
    """Return bytes a frame, of all streams and of the residual; check every pixel."""
    total = alone = 0
    for frame in frames:
        (streams,) = codec.encode_batch([{"depth": frame}], quality)
        (decoded,) = codec.decode_batch([streams], ["depth"], LIMIT)
        check(task, frame, decoded["depth"], bound)
        total += sum(len(data) for data in streams.values())
        alone += len(streams.get("depth.residual", b""))
    return total / len(frames), alone / len(frames)


def check(task: Task, frame: np.ndarray, decoded: np.ndarray, bound: str) -> None:
    valid = ~task.invalid_mask(frame)
    original, found = (x[valid].astype(np.float64) for x in (frame, decoded))
    error: Any = np.abs(found - original)
    allowed: Any = original * float(bound[:-1]) / 100 if bound.endswith("%") else None
    if allowed is None:
        allowed = float(bound[:-2]) / 1000 / (task.unit_m or 1.0)
    if (error > allowed + 1e-9).any():
        raise SystemExit(f"{bound}: an error of {error.max():g} counts is beyond the bound")


if __name__ == "__main__":
    main()
