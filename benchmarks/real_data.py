"""The main job on real data: bytes and distortion a task, beside classical codecs.

    python -m benchmarks.real_data --out out/real.json

Data sets (those that are there): Taskonomy-format views, NYUv2's test split, 7-Scenes, and rendered
views. For each: an archive by the default codecs; bytes of the source's files, payload and stored
bytes; distortion of what the archive gives back. Then every classical codec on the same samples, at
the quality (searched, 1 to 100) whose mean distortion comes closest to the archive's from above:
"at equal quality". A lossless codec is shown as it is. A codec's bytes include all it needs (for
`shared-latent` the stream `shared` too, when a task is read alone).
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import dsc
from dsc.codecs.registry import make_codec
from dsc.errors import CodecError
from dsc.pipeline.metrics import MeanMetrics, measure, peak_of, psnr_db
from dsc.pipeline.sources import open_source
from dsc.pipeline.sources.base import Source
from dsc.schemas import Quality, Task, TaskKind, required_streams
from dsc.storage.archive import Archive

LEAD = {TaskKind.IMAGE: "psnr_db", TaskKind.DEPTH: "absrel", TaskKind.NORMAL: "mean_angle_deg"}
METRICS = ("psnr_db", "ms_ssim", "absrel", "rmse_m", "delta_1.25", "mean_angle_deg",
           "identical", "invalid_exact")  # fmt: skip
CLASSICAL = ("png", "jpeg", "webp", "avif", "jxl")


@dataclass(frozen=True)
class Setup:
    """A data set: its source, its tasks, and how many samples classical codecs are tried on."""

    source: Source
    tasks: Sequence[str] | None
    tried: int


def data_sets(data: Path, views: int) -> dict[str, Setup]:
    found: dict[str, Setup] = {}
    if (data / "taskonomy_native").is_dir():
        found["Taskonomy format, 2 views, 512 px"] = Setup(
            open_source("taskonomy", str(data / "taskonomy_native")), None, 2
        )
    if (data / "nyuv2").is_dir():
        found["NYUv2 test, 640×480"] = Setup(
            open_source("nyuv2", str(data / "nyuv2"), split="test"), None, 6
        )
    if (data / "sevenscenes").is_dir():
        found["7-Scenes, 640×480, depth with holes"] = Setup(
            open_source("folder", str(data / "sevenscenes")), None, 6
        )
    if views:
        names = ("rgb", "depth_zbuffer", "normal", "segment_semantic")
        found["rendered views, 256 px"] = Setup(open_source("sample", n=views), names, 16)
    return found


def archive_figures(
    setup: Setup, quality: str, codec: str | None, tried: Sequence[int]
) -> dict[str, Any]:
    """Compress, read back, measure: figures by task, and the same of the `tried` samples alone."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = dsc.compress(
            setup.source, folder, tasks=setup.tasks, quality=quality, codec=codec
        )
        archive, stored = dsc.open(folder, native=True), Archive.open(folder)
        graph = {t.name: required_streams(manifest.streams, [t.name]) for t in manifest.tasks}
        part = {task.name: MeanMetrics() for task in manifest.tasks}
        part_bytes = {t.name: {"payload_bytes": 0, "alone_bytes": 0} for t in manifest.tasks}
        means = {task.name: MeanMetrics() for task in manifest.tasks}
        pixels = 0
        for index in range(len(archive)):
            given = setup.source.read(index, [task.name for task in manifest.tasks]).arrays
            decoded = archive[index]
            pixels += next(a.shape[0] * a.shape[1] for a in given.values() if a.ndim > 1)
            for task in manifest.tasks:
                if task.name not in given:
                    continue
                values = measure(task, given[task.name], decoded[task.name])
                means[task.name].add(values)
                if index in tried:
                    part[task.name].add(values)
                    found = stored.payloads(index, graph[task.name])
                    sizes = {name: len(data or b"") for name, data in found.items()}
                    part_bytes[task.name]["payload_bytes"] += sizes[task.name]
                    part_bytes[task.name]["alone_bytes"] += sum(sizes.values())
    figures: dict[str, Any] = {"samples": len(archive), "pixels": pixels, "tasks": {}}
    for task in manifest.tasks:
        needed = required_streams(manifest.streams, [task.name])
        own = manifest.totals[task.name]
        figures["tasks"][task.name] = {
            "source_bytes": manifest.source_bytes.get(task.name, 0),
            "payload_bytes": own.payload_bytes,
            "stored_bytes": own.stored_bytes,
            "alone_bytes": sum(manifest.totals[name].payload_bytes for name in needed),
            **means[task.name].means(),
            "tried": {**part_bytes[task.name], **part[task.name].means()},
        }
    figures["shared_bytes"] = (
        manifest.totals["shared"].payload_bytes if "shared" in manifest.totals else 0
    )
    figures["source_bytes"] = sum(manifest.source_bytes.values())
    figures["payload_bytes"] = sum(t.payload_bytes for t in manifest.totals.values())
    figures["stored_bytes"] = sum(t.stored_bytes for t in manifest.totals.values())
    return figures


def classical_figures(
    codec_id: str, task: Task, arrays: Sequence[np.ndarray], target: float
) -> dict[str, Any] | None:
    """Give the figures of a classical codec at the cheapest quality that reaches `target`."""
    try:
        codec = make_codec(codec_id, [task])
    except CodecError:
        return None
    lead = LEAD.get(task.kind)

    def at(quality: int, full: bool) -> dict[str, Any]:
        samples = [{task.name: array} for array in arrays]
        streams = codec.encode_batch(samples, Quality(default=quality))
        means, size = MeanMetrics(), 0
        for array, stream in zip(arrays, streams, strict=True):
            (decoded,) = codec.decode_batch([stream], [task.name], 1 << 28)
            if full or task.kind is not TaskKind.IMAGE:
                means.add(measure(task, array, decoded[task.name]))
            else:  # MS-SSIM takes half a second an image and the search does not need it
                means.add({"psnr_db": psnr_db(array, decoded[task.name], peak_of(task))})
            size += sum(len(data) for data in stream.values())
        return {"quality": quality, "payload_bytes": size, **means.means()}

    if lead is None:
        return at(100, full=True)
    sign = 1 if lead == "psnr_db" else -1
    low, high = 1, 100
    while low < high:
        middle = (low + high) // 2
        if sign * at(middle, full=False)[lead] >= sign * target:
            high = middle
        else:
            low = middle + 1
    return at(low, full=True)


def row(name: str, values: dict[str, Any], bytes_key: str, count: int, pixels: float) -> str:
    shown = [f"{key} {values[key]:.4g}" for key in METRICS if key in values]
    size = values[bytes_key]
    mark = f" q{values['quality']}" if "quality" in values else ""
    return (
        f"  {name + mark:22} {size / count / 1000:9.2f} kB {8 * size / pixels:7.4f} bpp   "
        + "  ".join(shown)
    )


def summary(everything: dict[str, Any]) -> str:
    """Give two Markdown tables: bytes and distortion; bytes of others at equal distortion."""
    lines = [
        "| data | task | source kB | payload kB | stored kB | distortion |",
        "|" + " --- |" * 6,
    ]
    beside = [
        "| data | task | dsc bpp (read alone) | " + " | ".join(CLASSICAL) + " |",
        "|" + " --- |" * (3 + len(CLASSICAL)),
    ]
    for title, figures in everything.items():
        count, short = figures["samples"], title.split(",")[0]
        for task, mine in figures["tasks"].items():
            shown = ", ".join(f"{key} {mine[key]:.4g}" for key in METRICS if key in mine)
            sizes = (
                mine[k] / count / 1000 for k in ("source_bytes", "payload_bytes", "stored_bytes")
            )
            row_sizes = " | ".join(f"{size:.2f}" for size in sizes)
            lines.append(f"| {short} | {task} | {row_sizes} | {shown} |")
            if mine.get("classical"):
                same = mine["tried"]
                bpp, alone = (
                    8 * same[k] / same["pixels"] for k in ("payload_bytes", "alone_bytes")
                )
                others = (mine["classical"].get(name) for name in CLASSICAL)
                cells = " | ".join(f"{o['bpp']:.3f}" if o else "" for o in others)
                both = f"{bpp:.3f}" + (f" ({alone:.3f})" if alone > bpp else "")
                beside.append(f"| {short} | {task} | {both} | {cells} |")
        total = " | ".join(
            f"{figures[k] / count / 1000:.2f}"
            for k in ("source_bytes", "payload_bytes", "stored_bytes")
        )
        times = figures["source_bytes"] / figures["stored_bytes"]
        lines.append(f"| {short} | **all** | {total} | {times:.1f} times smaller |")
    return "\n".join([*lines, "", *beside])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--views", type=int, default=200)
    parser.add_argument("--quality", default="60")
    parser.add_argument("--codec", help="as in `dsc compress`; the default codecs unless told")
    parser.add_argument("--only", default="", help="data sets whose title holds this")
    parser.add_argument("--out", help="write all figures here as JSON")
    args = parser.parse_args()
    everything = {}
    for title, setup in data_sets(Path(args.data), args.views).items():
        if args.only not in title:
            continue
        samples = len(setup.source)
        tried = range(0, samples, max(1, samples // setup.tried))[: setup.tried]
        figures = archive_figures(setup, args.quality, args.codec, tried)
        everything[title] = figures
        count, pixels = figures["samples"], figures["pixels"]
        print(f"\n## {title}: {count} samples, quality {args.quality}")
        print(
            f"source {figures['source_bytes'] / 1e6:.2f} MB, payload "
            f"{figures['payload_bytes'] / 1e6:.3f} MB, "
            f"stored {figures['stored_bytes'] / 1e6:.3f} MB"
            f" ({figures['source_bytes'] / figures['stored_bytes']:.1f} times smaller), "
            f"of which shared {figures['shared_bytes'] / 1e6:.3f} MB"
        )
        for task in setup.source.tasks:
            if task.name not in figures["tasks"] or not task.is_map:
                continue
            mine = figures["tasks"][task.name]
            print(f" {task.name} (source {mine['source_bytes'] / count / 1000:.2f} kB a sample)")
            print(row("dsc", mine, "payload_bytes", count, pixels))
            if mine["alone_bytes"] != mine["payload_bytes"]:
                print(row("dsc, read alone", mine, "alone_bytes", count, pixels))
            arrays = [
                given
                for index in tried
                if (given := setup.source.read(index, [task.name]).arrays.get(task.name))
                is not None
            ]
            part = sum(array.shape[0] * array.shape[1] for array in arrays)
            mine["classical"] = {}
            same = mine["tried"]
            print(row("dsc, same samples", same, "payload_bytes", len(arrays), part))
            if same["alone_bytes"] != same["payload_bytes"]:
                print(row("  read alone", same, "alone_bytes", len(arrays), part))
            same["pixels"] = part
            target = same.get(LEAD.get(task.kind, ""), 0.0)
            for codec_id in CLASSICAL:
                other = classical_figures(codec_id, task, arrays, target)
                if other is not None:
                    mine["classical"][codec_id] = other
                    other["bpp"] = 8 * other["payload_bytes"] / part
                    print(row(codec_id, other, "payload_bytes", len(arrays), part))
    print()
    print(summary(everything))
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
