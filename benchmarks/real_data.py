"""The main job on real data: bytes on disk and distortion of every task.

    python -m benchmarks.real_data --out out/real.json

For each of the sets of `dsc bench rd` that is there, whole: an archive by the default codecs; bytes
of the source's files, payload and stored bytes; distortion of what the archive gives back. How
codecs compare at equal distortion is `dsc bench rd`'s business.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import dsc
from dsc._bench.rate_distortion.datasets import SETS, BenchSet, named_sets
from dsc._pipeline.metrics import MeanMetrics, measure
from dsc._schemas import required_streams
from dsc._sources.registry import open_source

METRICS = ("psnr_db", "ms_ssim", "absrel", "rmse_m", "delta_1.25", "mean_angle_deg",
           "identical", "invalid_exact")  # fmt: skip
SIZES = ("source_bytes", "payload_bytes", "stored_bytes")


def archive_figures(data: BenchSet, quality: str, codec: str | None) -> dict[str, Any]:
    """Compress, read back, measure: figures by task, and their sums."""
    source = open_source(data.source, data.root, **dict(data.options))
    with tempfile.TemporaryDirectory() as folder:
        manifest = dsc.compress(source, folder, tasks=data.tasks, quality=quality, codec=codec)
        archive = dsc.open(folder, native=True)
        means = {task.name: MeanMetrics() for task in manifest.tasks}
        for index in range(len(archive)):
            given, decoded = source.read(index, data.tasks).arrays, archive[index]
            for task in manifest.tasks:
                if task.name in given:
                    means[task.name].add(measure(task, given[task.name], decoded[task.name]))
    tasks = {}
    for task in manifest.tasks:
        needed = required_streams(manifest.streams, [task.name])
        own = manifest.totals[task.name]
        tasks[task.name] = {
            "source_bytes": manifest.source_bytes.get(task.name, 0),
            "payload_bytes": own.payload_bytes,
            "stored_bytes": own.stored_bytes,
            "alone_bytes": sum(manifest.totals[name].payload_bytes for name in needed),
            **means[task.name].means(),
        }
    return {
        "samples": len(source),
        "tasks": tasks,
        "source_bytes": sum(manifest.source_bytes.values()),
        "payload_bytes": sum(t.payload_bytes for t in manifest.totals.values()),
        "stored_bytes": sum(t.stored_bytes for t in manifest.totals.values()),
    }


def table(everything: dict[str, Any]) -> str:
    """Return all figures as one Markdown table."""
    head = ("data", "task", "source kB", "payload kB", "stored kB", "distortion")
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for title, figures in everything.items():
        count = figures["samples"]
        for task, mine in figures["tasks"].items():
            shown = ", ".join(f"{key} {mine[key]:.4g}" for key in METRICS if key in mine)
            sizes = " | ".join(f"{mine[key] / count / 1000:.2f}" for key in SIZES)
            lines.append(f"| {title}, {count} | {task} | {sizes} | {shown} |")
        total = " | ".join(f"{figures[key] / count / 1000:.2f}" for key in SIZES)
        times = figures["source_bytes"] / figures["stored_bytes"]
        lines.append(f"| {title}, {count} | **all** | {total} | {times:.1f} times smaller |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--views", type=int, default=200)
    parser.add_argument("--quality", default="60")
    parser.add_argument("--codec", help="as in `dsc compress`; the default codecs unless told")
    parser.add_argument("--only", default="", help="sets whose title holds this")
    parser.add_argument("--out", help="write all figures here as JSON")
    args = parser.parse_args()
    sets, absent = named_sets(SETS, Path(args.data), None, args.views)
    for line in absent:
        print(line)
    everything = {
        data.title: archive_figures(data, args.quality, args.codec)
        for data in sets
        if args.only.lower() in data.title.lower()
    }
    print(table(everything))
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
