"""What geometry that depth, normals and labels share saves, beside the best codec of each task.

    python -m benchmarks surfaces
    python -m benchmarks.surfaces --sets rooms --quality 30 60 90 --views 24
    python -m benchmarks.surfaces --sets nyuv2 taskonomy+normals --quality 60

Rendered rooms and CLEVR-like scenes, 256×256, and frames of real sets, which lie where
DSC_TEST_DATA says. What these lack is made: ``+normals`` are normals that follow from the
differences of depth, in Taskonomy's encoding, and hold the noise that depth has.

Of `surfaces`: bytes beside `av1`, `normal-palette` and `label-context`, together and of each task
alone with what it requires; how many depths and normals fall back; by how many bytes a sample is
larger at most; the errors of depth and normals beside those of `av1`, which are never to be larger;
pixels a second of processor time, all tasks together.
"""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dsc._bench.rate_distortion.datasets import named_sets
from dsc._codecs.base import Array, Codec, Sample, at_effort
from dsc._codecs.label.directions import angles_between
from dsc._codecs.registry import make_codec
from dsc._kernels import description
from dsc._renderer.clevr import render_clevr
from dsc._renderer.render import render_view
from dsc._schemas import Effort, Quality, Task, TaskKind, required_streams
from dsc._sources.taskonomy import DOMAINS

RENDERED = ("rooms", "clevr")
REAL = ("nyuv2", "nyuv2+normals", "taskonomy+normals", "7scenes+normals")
NORMALS = "+normals"
KINDS = (TaskKind.DEPTH, TaskKind.NORMAL, TaskKind.LABEL)
BESIDE = {
    TaskKind.DEPTH: "av1", TaskKind.NORMAL: "normal-palette", TaskKind.LABEL: "label-context"
}  # fmt: skip
SLANT = 40.0  # how far depth's relative slope, by the pixel, turns a normal: some 60° in view


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sets = (*RENDERED, *REAL)
    parser.add_argument("--sets", nargs="+", default=list(sets), choices=sets)
    parser.add_argument("--views", type=int, default=24, help="frames of real sets, too")
    parser.add_argument("--size", type=int, default=256, help="of rendered views")
    parser.add_argument("--quality", type=int, nargs="+", default=[30, 60, 90])
    parser.add_argument("--effort", default="default", choices=[str(effort) for effort in Effort])
    args = parser.parse_args()
    print(f"{description()}; effort {args.effort}, {args.views} views of {args.size}×{args.size}\n")
    print(
        "| data | quality | bytes | beside each codec | depth, normals, labels alone | fell back | "
        "larger by at most | worst error | encode, decode MPix/s |\n" + "| --- " * 9 + "|"
    )
    for name in args.sets:
        tasks, samples = read(name, args.views, args.size)
        for quality in args.quality:
            cells = measured(tasks, samples, quality, args.effort)
            print(f"| {name} | {quality} | {cells} |", flush=True)


def read(name: str, views: int, size: int) -> tuple[list[Task], list[Sample]]:
    """Return the tasks of a set, and native arrays of some of its samples."""
    if name in RENDERED:
        tasks = [DOMAINS[one] for one in ("depth_zbuffer", "normal", "segment_semantic")]
        made = [
            render_view(index, size) if name == "rooms" else render_clevr(index, size, 0, ())
            for index in range(views)
        ]
        return tasks, [{task.name: view[task.name] for task in tasks} for view in made]
    data = Path(os.environ.get("DSC_TEST_DATA", "../shared/data"))
    (found,), _ = named_sets([name.removesuffix(NORMALS)], data, views, 0)
    tasks = [task for task in found.schemas() if task.kind in (TaskKind.DEPTH, TaskKind.LABEL)]
    samples = []
    for index in found.indices:
        native = found.read(index)
        samples.append({task.name: native[task.name] for task in tasks})
    if name.endswith(NORMALS):
        depth = next(task for task in tasks if task.kind is TaskKind.DEPTH)
        samples = [{**s, "normal": normals_of(depth, s[depth.name])} for s in samples]
        tasks.append(DOMAINS["normal"])
    return tasks, samples


def normals_of(task: Task, depth: Array) -> Array:
    """Return normals (H, W, 3) that follow from differences of depth (H, W)."""
    invalid = task.invalid_mask(depth)
    down, right = np.gradient(np.log(np.maximum(depth, 1).astype(np.float64)))
    vectors = np.stack([SLANT * right, -SLANT * down, np.ones(depth.shape)], axis=-1)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    normal = np.rint(127.5 + 127.5 * vectors).astype(np.uint8)
    normal[invalid] = 127
    return normal


def measured(tasks: Sequence[Task], samples: list[Sample], quality: int, effort: str) -> str:
    """Return the cells of a row."""
    asked = Quality(default=quality)
    codec = at_effort(make_codec("surfaces", tasks), Effort(effort))
    own = [at_effort(make_codec(BESIDE[task.kind], [task]), Effort(effort)) for task in tasks]
    pixels = sum(sample[tasks[0].name].size for sample in samples)
    start = time.process_time()
    coded = codec.encode_batch(samples, asked)
    encode = pixels / (time.process_time() - start) / 1e6
    names, most = [task.name for task in tasks], max(s[tasks[0].name].size for s in samples)
    start = time.process_time()
    decoded = codec.decode_batch(coded, names, most)
    decode = pixels / (time.process_time() - start) / 1e6
    theirs = {
        task.name: np.array([len(one.encode_batch([s], asked)[0][task.name]) for s in samples])
        for task, one in zip(tasks, own, strict=True)
    }
    ours = np.array([sum(map(len, streams.values())) for streams in coded])
    beside = np.sum(list(theirs.values()), axis=0)
    alone = []
    for kind in KINDS:
        for name in (task.name for task in tasks if task.kind is kind):
            needed = required_streams(codec.streams(), [name])
            fetched = sum(len(streams[one]) for streams in coded for one in needed)
            alone.append(f"{fetched / theirs[name].sum():.2f}")
    geometric = [task for task in tasks if task.kind is not TaskKind.LABEL]
    fell = sum(not streams[task.name][0] for streams in coded for task in geometric)
    worst = max(
        _worst(task, sample[task.name], found[task.name], _by_av1(task, sample, asked, effort))
        for sample, found in zip(samples, decoded, strict=True)
        for task in geometric
    )
    cells = [
        f"{ours.sum():,}", f"{ours.sum() / beside.sum():.3f}", ", ".join(alone),
        f"{fell} of {len(geometric) * len(samples)}", f"{(ours - beside).max():+d} bytes",
        f"{worst:.2f}", f"{encode:.2f}, {decode:.1f}",
    ]  # fmt: skip
    return " | ".join(cells)


def _by_av1(task: Task, sample: Sample, asked: Quality, effort: str) -> Array:
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
