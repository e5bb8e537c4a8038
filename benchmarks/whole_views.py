"""Views of many tasks: one archive of all of them beside the best codec for each task by itself.

    python -m benchmarks.whole_views [--views 24] [--size 256] [--quality 60] [--exact]
    python -m benchmarks.whole_views --source taskonomy --root DIR --tasks rgb,depth_euclidean
    python -m benchmarks.whole_views --quality 30,60,90 --tasks rgb,edge_texture,keypoints2d

"Alone" is, of the codecs that each take one task (av1, normal-palette, label-context, and those
without loss), the one that takes the fewest bytes at no more distortion than av1 leaves at the same
quality; with ``--exact`` it is JPEG XL without loss. "Together" is what ``dsc compress`` makes of
all tasks at that quality: tasks that follow from others, and geometry that tasks share, among them.

Bytes are payloads a view. Entries in packs and the files of codecs, which an archive holds once,
are left out on both sides, and codecs are chosen as for more views than such a file matters to.
"Shared" is a stream that carries no task. "By itself" is what fetching a task only takes, beside
alone. "No larger" counts the views in which together takes no more bytes than alone, "free, closer"
those in which a task takes no bytes at all and is no farther from the source than av1 leaves it.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dsc
from dsc import metrics
from dsc._bench.markdown import markdown_table
from dsc._bench.rate_distortion.datasets import ROOM_TASKS
from dsc._codecs.base import Array, Sample
from dsc._pipeline.choose import light
from dsc._pipeline.choose.codec_set import CodecSet, most_pixels
from dsc._pipeline.choose.codec_spec import can_code
from dsc._schemas import Quality, Task, TaskKind, required_streams, resolve_tasks
from dsc._sources.base import Source, read_sample
from dsc._sources.registry import open_source
from dsc._storage.read.archive import Archive

AV1 = "av1"
WORDS = (AV1, "normal-palette", "label-context", "jxl-lossless", "exact")
LOSSLESS = "jxl-lossless"
SLACK = 1.001  # that errors may differ by and still be called equal
Float = NDArray[np.float64]


@dataclass(frozen=True)
class Coded:
    """A task of all views: by which codec, the bytes of each view and what is off in it.

    A view that lacks the task has no bytes, and NaN is off.
    """

    word: str
    sizes: Float
    errors: Float

    @property
    def size(self) -> float:
        """Bytes a view."""
        return float(self.sizes.mean())

    @property
    def error(self) -> float:
        """What is off in the mean view that has the task."""
        return float(np.nanmean(self.errors)) if np.isfinite(self.errors).any() else 0.0


@dataclass(frozen=True)
class Together:
    """Tasks in one archive, the bytes of each stream by view, and the streams of each task."""

    tasks: Mapping[str, Coded]
    streams: Mapping[str, Float]
    needs: Mapping[str, Sequence[str]]

    def by_itself(self, task: str) -> float:
        """Return the bytes a view that fetching one task takes."""
        return float(sum(self.streams[name].mean() for name in self.needs[task]))

    @property
    def shared(self) -> Float:
        """Bytes by view of streams that carry no task."""
        own = sum(coded.sizes for coded in self.tasks.values())
        return np.asarray(sum(self.streams.values()) - own)


def main() -> None:
    """Code the views both ways, and print a line a task, quality by quality."""
    options = parsed()
    tasks, samples, source = read_views(options)
    found = []
    for quality in [100] if options.exact else options.quality:
        beside = [alone(task, samples, quality, options.exact) for task in tasks]
        with tempfile.TemporaryDirectory() as work:
            root = compressed(source, tasks, quality, options, f"{work}/archive")
            both = together(root, tasks, samples)
        if len(options.quality) > 1:
            print(f"quality {quality}\n")
        rows = [line(task, *one, both) for task, one in zip(tasks, beside, strict=True)]
        rows.append(whole([best for best, _ in beside], both))
        print(table(rows))
        found.append({"quality": quality, "tasks": rows})
    if options.json:
        head = {"source": options.source, "views": len(samples), "exact": options.exact}
        options.json.write_text(json.dumps({**head, "found": found}, indent=1))


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--source", default="sample", help="sample, clevr or a layout")
    parser.add_argument("--root", default=None, help="where data of a layout lie")
    parser.add_argument("--split", default=None, help="its split")
    parser.add_argument("--tasks", default=None, help="with commas; eight of rendered rooms")
    parser.add_argument("--views", type=int, default=24, help="how many; of a root at most")
    parser.add_argument("--size", type=int, default=256, help="of rendered views, in pixels")
    parser.add_argument("--seed", type=int, default=0, help="of rendered views")
    parser.add_argument("--quality", default="60", help="one, or several with commas")
    parser.add_argument("--codec", default=None, help="as of dsc compress")
    parser.add_argument("--exact", action="store_true", help="as of dsc compress")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="keep figures")
    options = parser.parse_args()
    options.quality = [int(part) for part in str(options.quality).split(",")]
    return options


def read_views(options: argparse.Namespace) -> tuple[list[Task], list[Sample], Source]:
    """Open the source; return the tasks, and the native arrays of each view."""
    if options.root is None:
        options.tasks = options.tasks or ROOM_TASKS
        given = {"n": options.views, "size": options.size, "seed": options.seed}
        source = open_source(options.source, None, tasks=options.tasks, **given)
    else:
        source = open_source(options.source, options.root, split=options.split)
    maps = [task.name for task in source.tasks if task.is_map]
    names = resolve_tasks(options.tasks, maps)
    tasks = [task for task in source.tasks if task.name in names]
    count = min(len(source), options.views)
    return tasks, [read_sample(source, n, list(names)).arrays for n in range(count)], source


def alone(
    task: Task, samples: Sequence[Sample], quality: int, exact: bool
) -> tuple[Coded, Coded | None]:
    """Return a task as its best codec codes it, and as av1 does; None where that cannot."""
    words = [LOSSLESS if can_code(LOSSLESS, [task]) else "exact"] if exact else WORDS
    found = {
        word: coded_alone(word, task, samples, quality) for word in words if can_code(word, [task])
    }
    usual = found.get(AV1)
    most = 0.0 if usual is None else SLACK * usual.error
    fair = [coded for coded in found.values() if coded.error <= most]
    return min(fair, key=lambda coded: coded.size), usual


def coded_alone(word: str, task: Task, samples: Sequence[Sample], quality: int) -> Coded:
    """Code a task of all views by one codec."""
    codecs = CodecSet.assigned({task.name: word}, [task])
    sizes, errors = np.zeros(len(samples)), np.full(len(samples), np.nan)
    for view, sample in enumerate(samples):
        own = {task.name: sample[task.name]} if task.name in sample else {}
        for name, array in own.items():
            (coded,) = codecs.encode_batch([own], Quality(default=quality))
            (decoded,) = codecs.decode_batch([coded], [name], most_pixels([own]))
            sizes[view] = sum(map(len, coded.values()))
            errors[view] = error(task, array, decoded[name])
    return Coded(word, sizes, errors)


def error(task: Task, original: Array, decoded: Array) -> float:
    """Return what is off in one view: degrees, relative depth, or the RMSE in counts."""
    if task.kind is TaskKind.NORMAL:
        return float(metrics.measure(task, original, decoded)["mean_angle_deg"])
    valid = ~task.invalid_mask(original)
    truth, found = original[valid].astype(float), decoded[valid].astype(float)
    if not truth.size:
        return 0.0
    if task.kind is TaskKind.DEPTH:
        return float(np.mean(np.abs(truth - found) / np.maximum(truth, 1)))
    return float(np.sqrt(np.mean((truth - found) ** 2)))


def compressed(
    source: Source, tasks: Sequence[Task], quality: int, options: argparse.Namespace, out: str
) -> str:
    """Compress the views as a user would."""
    asked: dict[str, Any] = {"tasks": [task.name for task in tasks], "codec": options.codec}
    asked |= {"exact": True} if options.exact else {"quality": quality}
    light.MOST = 0  # no codec is left out for the weight of its file
    dsc.compress(source, out, **asked)
    return out


def together(root: str, tasks: Sequence[Task], samples: Sequence[Sample]) -> Together:
    """Return what is in an archive: the bytes of each view, and what is off in it."""
    archive = Archive.open(root)
    graph, codecs = archive.manifest.streams, CodecSet.from_archive(archive)
    names = [task.name for task in tasks]
    wanted = [stream.name for stream in graph if stream.name in required_streams(graph, names)]
    streams = {name: np.zeros(len(samples)) for name in wanted}
    errors = {name: np.full(len(samples), np.nan) for name in names}
    decoded = dsc.open(root, native=True, tasks=names)
    for view, sample in enumerate(samples):
        for name, payload in archive.payloads(view, wanted).items():
            streams[name][view] = 0 if payload is None else len(payload)
        row = decoded[view]
        for task in tasks:
            if task.name in sample:
                errors[task.name][view] = error(task, sample[task.name], row[task.name])
    own = {n: [s.name for s in graph if n in s.carries and s.name in streams] for n in names}
    return Together(
        {
            name: Coded(
                codecs.codec_name(name),
                np.sum([streams[one] for one in own[name]], axis=0),
                errors[name],
            )
            for name in names
        },
        streams,
        {name: required_streams(graph, [name]) for name in names},
    )


def line(task: Task, best: Coded, usual: Coded | None, both: Together) -> dict[str, Any]:
    """Return what is told of one task."""
    own = both.tasks[task.name]
    there = np.isfinite(own.errors)
    limit = best.errors if usual is None else usual.errors
    free = (own.sizes == 0) & (own.errors <= limit) & there
    return {
        "task": task.name,
        "alone": best.word,
        "alone_bytes": best.size,
        "alone_error": best.error,
        "together": own.word,
        "bytes": own.size,
        "error": own.error,
        "ratio": own.size / max(best.size, 1e-9),
        "by_itself": both.by_itself(task.name) / max(best.size, 1e-9),
        "no_larger": int(((own.sizes <= best.sizes) & there).sum()),
        "free_closer": int(free.sum()),
        "views": int(there.sum()),
    }


def whole(best: Sequence[Coded], both: Together) -> dict[str, Any]:
    """Return what is told of all tasks."""
    theirs = np.sum([one.sizes for one in best], axis=0)
    ours = np.asarray(sum(both.streams.values()))
    return {
        "task": "all",
        "alone_bytes": float(theirs.mean()),
        "bytes": float(ours.mean()),
        "shared_bytes": float(both.shared.mean()),
        "ratio": float(ours.sum() / theirs.sum()),
        "no_larger": int((ours <= theirs).sum()),
        "views": len(ours),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of both, a line a task and one of all."""
    head = ["task", "alone", "bytes", "error", "together", "bytes", "error", "ratio", "by itself",
            "no larger", "free, closer"]  # fmt: skip
    lines = [[cell(row, key) for key in
              ("task", "alone", "alone_bytes", "alone_error", "together", "bytes", "error", "ratio",
               "by_itself", "no_larger", "free_closer")] for row in rows]  # fmt: skip
    shared = rows[-1]["shared_bytes"]
    if shared:
        lines.insert(-1, ["shared", "", "", "", "", f"{shared:,.0f}", *[""] * 5])
    return markdown_table(head, lines)


def cell(row: Mapping[str, Any], key: str) -> str:
    """Spell one figure; nothing where there is none."""
    value = row.get(key, "")
    if isinstance(value, str):
        return value
    if key in ("no_larger", "free_closer"):
        return f"{value} of {row['views']}" if value or key == "no_larger" else ""
    if "bytes" in key:
        return f"{value:,.0f}"
    return f"{value:.4g}" if "error" in key else f"{value:.2f}"


if __name__ == "__main__":
    main()
