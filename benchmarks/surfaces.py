"""What geometry that depth, normals and labels share saves, beside the best codec of each task.

    python -m benchmarks surfaces
    python -m benchmarks.surfaces --quality 30 60 90 --views 24

Rendered rooms and CLEVR-like scenes, 256×256. Of `surfaces`: bytes beside `av1`, `normal-palette`
and `label-context`, together and of each task alone with what it requires; the errors of depth and
normals beside those of `av1`, which are never to be larger; how many samples fall back; pixels a
second of processor time, all tasks together.
"""

import argparse
import time
from collections.abc import Callable, Mapping

import numpy as np

from dsc._codecs.base import Array, Codec, at_effort
from dsc._codecs.label.directions import angles_between
from dsc._codecs.registry import make_codec
from dsc._kernels import description
from dsc._renderer.clevr import render_clevr
from dsc._renderer.render import render_view
from dsc._schemas import Effort, Quality, Task, TaskKind, required_streams
from dsc._sources.taskonomy import DOMAINS

TASKS = tuple(DOMAINS[name] for name in ("depth_zbuffer", "normal", "segment_semantic"))
BESIDE = ("av1", "normal-palette", "label-context")
SETS: Mapping[str, Callable[[int, int], Mapping[str, Array]]] = {
    "rooms": render_view, "CLEVR-like": lambda index, size: render_clevr(index, size, 0, ()),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=24)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--quality", type=int, nargs="+", default=[30, 60, 90])
    parser.add_argument("--effort", default="default", choices=[str(effort) for effort in Effort])
    args = parser.parse_args()
    print(f"{description()}; effort {args.effort}, {args.views} views of {args.size}×{args.size}\n")
    alone = " | ".join(f"{task.name} alone" for task in TASKS)
    print(
        f"| data | quality | bytes | beside each codec | {alone} | fell back | worst error |",
        end="",
    )
    print(" encode, decode MPix/s |\n" + "| --- " * 9 + "|")
    for name, render in SETS.items():
        samples = [
            {task.name: view[task.name] for task in TASKS}
            for view in (render(index, args.size) for index in range(args.views))
        ]
        for quality in args.quality:
            print(f"| {name} | {quality} | {measured(samples, quality, args.effort)} |", flush=True)


def measured(samples: list[dict[str, Array]], quality: int, effort: str) -> str:
    """Return the cells of a row."""
    asked = Quality(default=quality)
    codec = at_effort(make_codec("surfaces", TASKS), Effort(effort))
    own = [
        at_effort(make_codec(name, [task]), Effort(effort))
        for name, task in zip(BESIDE, TASKS, strict=True)
    ]
    pixels = sum(sample[TASKS[0].name].size for sample in samples)
    start = time.process_time()
    coded = codec.encode_batch(samples, asked)
    encode = pixels / (time.process_time() - start) / 1e6
    names, most = [task.name for task in TASKS], max(s[TASKS[0].name].size for s in samples)
    start = time.process_time()
    decoded = codec.decode_batch(coded, names, most)
    decode = pixels / (time.process_time() - start) / 1e6
    beside = {
        task.name: [one.encode_batch([s], asked)[0][task.name] for s in samples]
        for task, one in zip(TASKS, own, strict=True)
    }
    total = sum(len(data) for streams in coded for data in streams.values())
    theirs = {name: sum(map(len, data)) for name, data in beside.items()}
    alone = []
    for name in names:
        needed = required_streams(codec.streams(), [name])
        alone.append(sum(len(streams[one]) for streams in coded for one in needed) / theirs[name])
    fell = sum(not streams[task.name][0] for streams in coded for task in TASKS[:2])
    worst = max(
        _worst(task, sample[task.name], found[task.name], _by_av1(task, sample, asked, effort))
        for sample, found in zip(samples, decoded, strict=True)
        for task in TASKS[:2]
    )
    cells = [
        f"{total:,}", f"{total / sum(theirs.values()):.3f}", *(f"{one:.2f}" for one in alone),
        f"{fell} of {2 * len(samples)}", f"{worst:.2f}", f"{encode:.2f}, {decode:.1f}",
    ]  # fmt: skip
    return " | ".join(cells)


def _by_av1(task: Task, sample: Mapping[str, Array], asked: Quality, effort: str) -> Array:
    codec: Codec = at_effort(make_codec("av1", [task]), Effort(effort))
    streams = codec.encode_batch([sample], asked)
    return codec.decode_batch(streams, [task.name], sample[task.name].size)[0][task.name]


def _worst(task: Task, original: Array, found: Array, picture: Array) -> float:
    """Return the larger of mean and root mean square of the error, beside that of a picture."""
    valid = ~task.invalid_mask(original)
    ours, theirs = (_errors(task, original[valid], one[valid]) for one in (found, picture))
    return max(a / max(b, 1e-12) for a, b in zip(ours, theirs, strict=True))


def _errors(task: Task, original: Array, found: Array) -> tuple[float, float]:
    if task.kind is TaskKind.NORMAL:
        error = angles_between(original, found).astype(np.float64)
    else:
        error = np.abs(found / np.maximum(original, 1).astype(np.float64) - 1)
    return float(error.mean()), float(np.sqrt((error**2).mean()))


if __name__ == "__main__":
    main()
