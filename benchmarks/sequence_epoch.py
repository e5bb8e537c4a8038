"""A shuffled epoch over a recording: frames decoded a sample, and speed beside an MP4.

    python -m benchmarks.sequence_epoch [--rounds 5] [--data DIR]

The archive is what ``dsc compress`` makes of the 7-Scenes clip (DSC_TEST_DATA, or a recording that
is rendered where it is not there), RGB alone. The MP4 has LeRobot's settings (SVT-AV1, preset 12,
4:2:0, a key frame every second frame, crf 30) and is read as its loader does: one open container,
a seek to the key frame before each frame, in a random order. One thread; processor time; rows take
turns, a figure is the median of its rounds.
"""

import argparse
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import av
import numpy as np

import dsc
from dsc._bench.markdown import markdown_table
from dsc._bench.speed.clock import processor_s
from dsc._codecs.classical import dav1d
from tests.places import DATA

CLIP = DATA / "sevenscenes_clip"
BATCHES = (16, 64)
FPS = 30


def main() -> None:
    """Make both, and take turns."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        url, video = f"{work}/archive", Path(work, "video.mp4")
        if CLIP.is_dir():
            dsc.compress("folder", url, root=str(CLIP), tasks="rgb")
        else:
            dsc.compress("rendered", url, tasks="rgb", frames=64, camera="walk", size=640)
        frames = [one["rgb"] for one in dsc.open(url, "rgb")]
        write_video(video, frames)
        height, width = frames[0].shape[:2]
        archive = sum(path.stat().st_size for path in Path(url).glob("rgb*/*.tar"))
        print(
            f"{len(frames)} frames of {width}×{height}; archive {archive / len(frames):,.0f} bytes "
            f"a frame, MP4 {video.stat().st_size / len(frames):,.0f}\n"
        )
        print(table(rows(url, video, len(frames)), len(frames), options.rounds))


def rows(url: str, video: Path, count: int) -> dict[str, Callable[[], None]]:
    """List what takes turns: an epoch each."""
    epochs: dict[str, Callable[[], None]] = {}
    for batch in BATCHES:
        for name, order in (("exact shuffle", True), ("group shuffle", "group")):
            epochs[f"dsc, {name}, batches of {batch}"] = epoch_of(url, batch, order)
    data, order = dsc.open(url, "rgb"), shuffled(count)
    epochs["dsc.open, one random frame after another"] = lambda: [data[at] for at in order] and None
    epochs["PyAV on the MP4, random frames"] = lambda: read_video(video, order)
    return epochs


def epoch_of(url: str, batch: int, order: Any) -> Callable[[], None]:
    """Return a call that streams an epoch, decoded."""
    stream = dsc.stream(
        url, "rgb", batch_size=batch, shuffle=order, output="numpy", drop_last=False
    )

    def epoch() -> None:
        for _ in stream:
            pass

    return epoch


def table(epochs: dict[str, Callable[[], None]], count: int, rounds: int) -> str:
    """Run all, round after round, and return the table."""
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    decoded: dict[str, float] = {}
    for number in range(rounds + 1):
        for name, epoch in epochs.items():
            with counting() as frames:
                start = processor_s()
                epoch()
                if number:  # the first is to warm up
                    seconds[name].append(processor_s() - start)
            decoded[name] = len(frames) / count
    base = seconds["PyAV on the MP4, random frames"]
    lines = [
        [
            name,
            f"{count / statistics.median(own):,.0f}",
            f"{statistics.median(b / a for a, b in zip(own, base, strict=True)):.2f}",
            f"{decoded[name]:.2f}" if decoded[name] else "",
        ]
        for name, own in seconds.items()
    ]
    return markdown_table(["", "frames/s", "beside PyAV", "decoded a sample"], lines)


@contextmanager
def counting() -> Iterator[list[None]]:
    """Count the pictures that are decoded for groups."""
    seen: list[None] = []
    plain = dav1d.Following.decoded

    def counted(self: dav1d.Following, obus: bytes) -> Any:
        seen.append(None)
        return plain(self, obus)

    with mock.patch.object(dav1d.Following, "decoded", counted):
        yield seen


def shuffled(count: int) -> list[int]:
    """Return all numbers in a fixed random order."""
    order = list(range(count))
    random.Random(0).shuffle(order)
    return order


def write_video(path: Path, frames: Sequence[Any]) -> None:
    """Write an MP4 with LeRobot's settings."""
    with av.open(str(path), "w") as container:
        options = {"preset": "12", "crf": "30", "g": "2", "svtav1-params": "lp=1"}
        stream = container.add_stream("libsvtav1", rate=FPS, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for frame in frames:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24"))
            )
        container.mux(stream.encode(None))


def read_video(path: Path, order: Sequence[int]) -> None:
    """Read frames by their times, each after a seek to the key frame before it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for number in order:
            wanted = int(Fraction(number, FPS) / stream.time_base)
            container.seek(wanted, stream=stream)
            for frame in container.decode(stream):
                if frame.pts is not None and frame.pts >= wanted:
                    frame.to_ndarray(format="rgb24")
                    break


if __name__ == "__main__":
    main()
