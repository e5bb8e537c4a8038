"""Views of many tasks: one archive of all of them beside the best codec for each task by itself.

    python -m benchmarks.whole_views [--views 24] [--size 256] [--exact] [--codec SPEC]
    python -m benchmarks.whole_views --source taskonomy --root DIR [--tasks rgb,depth_euclidean]

"Alone" is, of the codecs that each take one task (av1, normal-palette, label-context, and those
without loss), the one that takes the fewest bytes at no more distortion than av1 leaves at the same
quality; with ``--exact`` it is JPEG XL without loss. "Together" is what ``dsc compress`` makes of
all tasks at that quality: tasks that follow from others, and geometry that tasks share, among them.
Bytes are payloads a view; "by itself" is what fetching that task only takes, beside alone.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import dsc
from dsc import metrics
from dsc._bench.markdown import markdown_table
from dsc._codecs.base import Array, Sample
from dsc._pipeline.choose.codec_set import CodecSet, most_pixels
from dsc._pipeline.choose.codec_spec import can_code
from dsc._schemas import Quality, Task, TaskKind, required_streams, resolve_tasks
from dsc._sources.base import Source, read_sample
from dsc._sources.registry import open_source
from dsc._storage.read.archive import Archive

ROOM = "rgb,depth_zbuffer,normal,edge_texture,edge_occlusion,keypoints2d,depth_euclidean,reshading"
WORDS = ("av1", "normal-palette", "label-context", "jxl-lossless", "exact")
LOSSLESS = ("jxl-lossless",)


def main() -> None:
    """Code the views both ways, and print a line a task."""
    options = parsed()
    named = options.tasks or (ROOM if options.root is None else None)
    given = {"n": options.views, "size": options.size, "tasks": named} if not options.root else {}
    source = open_source(options.source, options.root, **given)
    tasks = [
        task
        for task in source.tasks
        if task.name in resolve_tasks(named, [one.name for one in source.tasks])
    ]
    count = min(len(source), options.views)
    names = [task.name for task in tasks]
    samples = [read_sample(source, n, names).arrays for n in range(count)]
    alone = {task.name: best_alone(task, samples, options) for task in tasks}
    with tempfile.TemporaryDirectory() as work:
        together = compressed(source, names, count, options, f"{work}/archive")
        print(table(tasks, samples, alone, together))


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--source", default="sample")
    parser.add_argument("--root", default=None)
    parser.add_argument("--tasks", default=None)
    parser.add_argument("--views", type=int, default=24)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--quality", type=int, default=60)
    parser.add_argument("--codec", default=None, help="as of dsc compress")
    parser.add_argument("--exact", action="store_true")
    return parser.parse_args()


def best_alone(
    task: Task, samples: Sequence[Sample], options: argparse.Namespace
) -> tuple[str, float, float]:
    """Return the best codec of one task, its bytes a sample, and the error that it leaves."""
    own = [{task.name: one[task.name]} for one in samples if task.name in one]
    found: dict[str, tuple[float, float]] = {}
    for word in LOSSLESS if options.exact else WORDS:
        if not can_code(word, [task]):
            continue
        codecs = CodecSet.assigned({task.name: word}, [task])
        coded = codecs.encode_batch(own, Quality(default=options.quality))
        decoded = codecs.decode_batch(coded, [task.name], most_pixels(own))
        size = sum(len(data) for one in coded for data in one.values()) / len(own)
        pairs = zip(own, decoded, strict=True)
        found[word] = size, error([(a[task.name], b[task.name]) for a, b in pairs], task)
    most = found["av1"][1] if "av1" in found else 0.0
    fair = {word: size for word, (size, own_error) in found.items() if own_error <= most * 1.001}
    best = min(fair or {"exact": 0.0}, key=lambda word: fair.get(word, 0.0))
    return best, *found.get(best, (0.0, 0.0))


def error(pairs: Sequence[tuple[Array, Array]], task: Task) -> float:
    """Return the mean over samples of what is off: degrees, relative depth, or counts."""
    return float(np.mean([one_error(task, *pair) for pair in pairs]))


def one_error(task: Task, original: Array, decoded: Array) -> float:
    """Return what is off in one sample."""
    if task.kind is TaskKind.NORMAL:
        return float(metrics.measure(task, original, decoded)["mean_angle_deg"])
    valid = ~task.invalid_mask(original)
    truth, found = original[valid].astype(float), decoded[valid].astype(float)
    if task.kind is TaskKind.DEPTH:
        return float(np.mean(np.abs(truth - found) / np.maximum(truth, 1))) if truth.size else 0.0
    return float(np.sqrt(np.mean((truth - found) ** 2))) if truth.size else 0.0


def compressed(
    source: Source, names: Sequence[str], count: int, options: argparse.Namespace, out: str
) -> Path:
    """Compress the views as a user would."""
    asked: dict[str, Any] = {"tasks": list(names), "root": options.root, "codec": options.codec}
    if options.exact:
        asked |= {"exact": True}
    else:
        asked |= {"quality": options.quality}
    if options.root is None:
        asked |= {"sample": count, "size": options.size}
    dsc.compress("taskonomy" if options.source == "sample" else options.source, out, **asked)
    return Path(out)


def table(
    tasks: Sequence[Task],
    samples: Sequence[Sample],
    alone: Mapping[str, tuple[str, float, float]],
    root: Path,
) -> str:
    """Return the table of both, a line a task and one of all."""
    archive, count = Archive.open(root), len(samples)
    manifest, codecs = archive.manifest, CodecSet.from_archive(archive)
    bytes_of = {name: total.payload_bytes / count for name, total in manifest.totals.items()}
    rows = list(dsc.open(root, native=True))[:count]
    lines, done = [], set()
    for task in tasks:
        word, size, theirs = alone[task.name]
        own = sum(bytes_of[s.name] for s in manifest.streams if task.name in s.carries)
        needed = required_streams(manifest.streams, [task.name])
        done |= set(needed)
        pairs = [
            (one[task.name], row[task.name])
            for one, row in zip(samples, rows, strict=True)
            if one.get(task.name) is not None
        ]
        lines.append(
            [task.name, word, f"{size:,.0f}", f"{theirs:.4g}", codecs.codec_name(task.name),
             f"{own:,.0f}", f"{error(pairs, task):.4g}", f"{own / max(size, 1):.2f}",
             f"{sum(bytes_of[name] for name in needed) / max(size, 1):.2f}"]
        )  # fmt: skip
    whole, parts = sum(size for _, size, _ in alone.values()), sum(bytes_of[name] for name in done)
    lines.append(
        ["all", "", f"{whole:,.0f}", "", "", f"{parts:,.0f}", "", f"{parts / whole:.2f}", ""]
    )
    head = ["task", "alone", "bytes", "error", "together", "bytes", "error", "ratio", "by itself"]
    return markdown_table(head, lines)


if __name__ == "__main__":
    main()
