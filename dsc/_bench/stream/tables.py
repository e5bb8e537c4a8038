"""The findings of the streaming benchmark as Markdown."""

from collections.abc import Mapping
from typing import Any

from dsc._bench.markdown import markdown_table
from dsc._bench.stream.traffic import BAR

METHOD = """\
All figures of a table are from one run on one machine; rates are medians of {rounds} rounds in
which all rows took turns, ratios are medians of the ratios within rounds. The images are {distinct}
rendered views of {pixels} × {pixels} pixels, which data sets repeat in turn.
"""
TITLES = {
    "raw": "Speed without decoding: RGB as bytes",
    "rgb": "Speed: RGB",
    "rgb+depth": "Speed: RGB and depth",
}


def markdown(
    parts: Mapping[str, Any], sizes: Mapping[str, Any], environment: Mapping[str, Any]
) -> str:
    """Write all tables.

    Parameters
    ----------
    parts
        Results by name of the part; those that are missing are left out.
    sizes
        As `sizes.Sizes.to_json` gives them.
    environment
        Machine and versions.
    """
    versions = ", ".join(f"{n} {v}" for n, v in environment["versions"].items() if v)
    text = [
        "# Streaming\n",
        METHOD.format(**sizes),
        f"Measured on {environment['cpu']} ({environment['cpus']} processors), Python "
        f"{environment['python']}; {versions}. Load when it began: {environment['load']:.1f}.\n",
    ]
    if "traffic" in parts:
        text.append(traffic_section(parts["traffic"]))
    text += [speed_section(name, parts[name]) for name in TITLES if name in parts]
    if "gpu" in parts:
        text.append(gpu_section(parts["gpu"]))
    scale = [part for name, part in parts.items() if name.startswith("scale-")]
    if scale:
        text.append(scale_section(scale))
    if "faults" in parts:
        text.append(faults_section(parts["faults"]))
    return "\n".join(text)


def traffic_section(part: Mapping[str, Any]) -> str:
    """Return the table of bytes."""
    required, rows = part["required"], []
    for row in part["rows"]:
        if "error" in row:
            rows.append([row["name"], row["error"], "", "", "", ""])
            continue
        rows.append(
            [
                row["name"],
                mega(row["sent"]),
                f"{row['sent'] / required['stored']:.3f}",
                f"{row['sent'] / required['payload']:.3f}",
                str(row["requests"]),
                mega(row["total"]),
            ]
        )
    head = ["reader", "MB sent", "÷ required streams", "÷ their payload", "requests", "MB in all"]
    worst = max((r["sent"] / required["stored"] for r in part["rows"] if _is_dsc(r)), default=None)
    bar = "" if worst is None else f" The bar for dsc is {BAR}: {_verdict(worst <= BAR)}."
    return (
        f"## Bytes: depth alone, of four tasks\n\n{part['samples']} samples, one epoch over HTTP "
        "from a counting server on loopback; the same bitstreams in every format. Required "
        f"streams: the tars and indexes that depth needs, {mega(required['stored'])} MB "
        f"({mega(required['payload'])} MB of bitstreams). MosaicML streaming and litdata have no "
        f"HTTP client and read from the same server by S3.{bar}\n\n" + markdown_table(head, rows)
    )


def speed_section(name: str, part: Mapping[str, Any]) -> str:
    """Return one table of rates, and say where another library is faster."""
    cores = sorted({c for row in part["rows"] for c in row if c.isdigit()})
    columns = [(count, kind) for count in cores for kind in ("rate", "cpu_rate")]
    head = ["reader"]
    for count, kind in columns:
        where = "1 core" if count == "1" else f"{count} workers"
        head += [f"{where}: samples/s" + (" of CPU" if kind == "cpu_rate" else ""), "ratio"]
    rows = []
    for row in part["rows"]:
        if "error" in row:
            rows.append([row["name"], row["error"], *[""] * (len(head) - 2)])
            continue
        cells = [row["name"]]
        for count, kind in columns:
            ratio = row[count][kind.replace("rate", "ratio")]
            cells += [rate_text(row[count][kind]), "" if ratio is None else f"{ratio:.2f}"]
        rows.append(cells)
    said = raw_verdict(part) if name == "raw" else jpeg_verdict(part)
    return (
        f"## {TITLES[name]}\n\nRatio: to {part['baseline']}. 1 core: the reader in one process, "
        "bound to one processor; workers: processes of the data loader. Samples a second of CPU "
        "count the processor time of all its processes, and so depend little on what else the "
        "machine does.\n\n" + markdown_table(head, rows) + (f"\n{said}\n" if said else "")
    )


def raw_verdict(part: Mapping[str, Any], bar: float = 5.0) -> str:
    """Say whether bytes are read at least five times as fast as by webdataset."""
    found = [r for r in part["rows"] if r["name"] == "dsc bytes" and "error" not in r]
    if not found or found[0]["1"]["ratio"] is None:
        return ""
    ratio, by_cpu = found[0]["1"]["ratio"], found[0]["1"]["cpu_ratio"]
    return (
        f"On one core dsc reads the same bitstreams {ratio:.1f} times as fast as webdataset "
        f"({by_cpu:.1f} by processor time); the bar is {bar:.0f}: {_verdict(ratio >= bar)}."
    )


def jpeg_verdict(part: Mapping[str, Any]) -> str:
    """Say plainly how each of dsc's ways to pixels compares with the fastest JPEG reader."""
    rows = [row for row in part["rows"] if "error" not in row]
    own = [row for row in rows if row["name"].startswith("dsc pixels")]
    jpegs = [row for row in rows if "JPEG" in row["name"]]
    lines = []
    for count in sorted({c for row in rows for c in row if c.isdigit()}) if jpegs else []:
        best = max(jpegs, key=lambda row: row[count]["rate"])
        where = "one core" if count == "1" else f"{count} workers"
        for row in own:
            ratio = best[count]["rate"] / row[count]["rate"]
            faster, slower = (best, row) if ratio > 1 else (row, best)
            lines.append(
                f"- On {where}, {faster['name']} is {max(ratio, 1 / ratio):.1f} times as fast as "
                f"{slower['name']}."
            )
    return "\n".join(lines)


def gpu_section(part: Mapping[str, Any]) -> str:
    """Return the table of the GPU, or say that there is none."""
    title = "## Speed with a GPU\n\n"
    if part["device"] is None:
        return f"{title}Not measured: torch finds no CUDA device on this machine.\n"
    head = ["reader", "samples/s", "synthesis alone, samples/s"]
    rows = [
        [row["name"], row["error"], ""]
        if "error" in row
        else [row["name"], rate_text(row["rate"]), rate_text(row["synthesis"])]
        for row in part["rows"]
    ]
    return f"{title}{part['device']}, {part['workers']} worker processes.\n\n" + markdown_table(
        head, rows
    )


def scale_section(parts: list[Mapping[str, Any]]) -> str:
    """Return the table of scale."""
    head = ["samples", "manifest and records, MB", "to read them, s", "first batch after that, s",
            "peak memory before, MB", "with the archive open, MB", "in the loop, MB",
            "worker process, MB"]  # fmt: skip
    rows = []
    for part in sorted(parts, key=lambda part: int(part["samples"])):
        if "error" in part:
            rows.append([f"{part['samples']:,.0f}", part["error"], *[""] * 6])
            continue
        rows.append(
            [
                f"{part['samples']:,.0f}",
                mega(part["manifest_bytes"]),
                f"{part['open_s']:.2f}",
                f"{part['first_s']:.2f}",
                *(
                    f"{part[name] / 1e6:.0f}"
                    for name in (
                        "imported_bytes",
                        "opened_bytes",
                        "peak_bytes",
                        "worker_peak_bytes",
                    )
                ),
            ]
        )
    return (
        "## Cost of scale\n\nRGB, shuffled, decoded, batches of 64, over HTTP from a server on "
        "loopback that makes packs when they are asked for; each length in processes of its own. "
        "Memory before: Python with torch and dsc imported.\n\n" + markdown_table(head, rows)
    )


def faults_section(part: Mapping[str, Any]) -> str:
    """Return the table of faults."""
    head = ["fault", "delivered", "twice", "wrong", "skipped", "lost", "retries",
            "fetched again", "faults made", "seconds"]  # fmt: skip
    rows = []
    for row in part["rows"]:
        if "error" in row:
            rows.append([row["name"], row["error"], *[""] * 8])
            continue
        report, reads = row["report"], row["report"]["reads"]
        lost = part["samples"] - row["delivered"] - report["n_skipped"]
        rows.append(
            [
                row["name"],
                *(str(row[name]) for name in ("delivered", "twice", "wrong")),
                str(report["n_skipped"]),
                str(lost),
                str(reads.get("retries", 0)),
                str(reads.get("refetched_damaged", 0)),
                str(row["dropped"] + row["failed"]),
                f"{row['seconds']:.1f}",
            ]
        )
    return (
        f"## Faults\n\n{part['samples']} samples of RGB bitstreams, one shuffled epoch over HTTP; "
        "every payload is held against its checksum. Lost: neither delivered nor counted as "
        "skipped.\n\n" + markdown_table(head, rows)
    )


def mega(n_bytes: float) -> str:
    """Spell bytes in MB."""
    return f"{n_bytes / 1e6:.2f}"


def rate_text(rate: float) -> str:
    """Spell samples a second with three digits."""
    digits = max(0, 3 - len(str(int(rate))))
    step = 10 ** max(0, len(str(int(rate))) - 3)
    return f"{round(rate / step) * step:,.{digits}f}" if rate >= 100 else f"{rate:.{digits}f}"


def _is_dsc(row: Mapping[str, Any]) -> bool:
    return str(row["name"]).startswith("dsc") and "error" not in row


def _verdict(kept: bool) -> str:
    return "kept" if kept else "missed"
