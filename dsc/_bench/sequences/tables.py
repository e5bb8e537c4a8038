"""The tables of ``dsc bench sequences``: bytes at equal distortion, speed, what one frame takes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dsc._bench.markdown import markdown_table
from dsc._bench.sequences.measuring import bytes_at
from dsc._bench.speed.tables import measured_on, number

Part = Mapping[str, Any]
Row = Mapping[str, Any]
AT = {"image": (36.0, 38.0, 40.0), "depth": (0.003, 0.005, 0.01)}
SPEED_AT = {"image": 38.0, "depth": 0.003}

METHOD = """\
Consecutive frames, coded as a recording (groups of 16, each frame still one request away), and by
what is used instead. *Bytes* are of a frame, on the line between the qualities that were measured,
at one distortion: PSNR of the mean squared error of all frames; mean AbsRel of valid pixels. Ratios
are to the first row. Bytes count bitstreams and 8 bytes a stream and frame in tables; files as tars
hold them; of videos the packets alone, without container. Speeds are of one thread's processor time
over all frames, at the quality nearest to the distortion that is named; *frames for one* counts how
many coded frames are decoded for one random frame.
"""


def markdown(parts: Sequence[Part], environment: Mapping[str, Any]) -> str:
    """Write all tables."""
    text = ["# Recordings\n", METHOD, measured_on(environment)]
    for part in parts:
        text.append(f"## {part['data']}: {part['task']}, {part['frames']} of {part['size']}\n")
        text += [equal_table(part), speed_table(part), guaranteed_text(part)]
        text += [f"{row['name']}: {row['error']}\n" for row in part["rows"] if "error" in row]
    return "\n".join(one for one in text if one)


def equal_table(part: Part) -> str:
    """Return bytes a frame at equal distortion, and ratios to the first row."""
    if part["kind"] not in AT:
        return _exact_table(part)
    is_db = part["kind"] == "image"
    wanted = AT[part["kind"]]
    base = part["rows"][0]
    rows = []
    for row in part["rows"]:
        cells = [_equal(row, base, at, is_db) for at in wanted]
        rows.append([row["name"], *cells, _range(row, is_db)])
    head = ["", *(_amount(at, is_db) for at in wanted), "measured, worst frame"]
    return markdown_table(head, rows)


def _exact_table(part: Part) -> str:
    base = part["rows"][0]["points"]
    rows = [
        [row["name"], number(point["bytes"]), _times(point["bytes"], base)]
        for row in part["rows"]
        for point in row["points"]
    ]
    return markdown_table(["", "bytes", "ratio"], rows)


def _times(value: float, base: Sequence[Row]) -> str:
    return f"{value / base[0]['bytes']:.2f}" if base else ""


def _equal(row: Row, base: Row, at: float, is_db: bool) -> str:
    found, beside = (bytes_at(one["points"], at, is_db) for one in (row, base))
    if found is None:
        return "–"
    return f"{number(found)}" + (f" ({found / beside:.2f})" if beside else "")


def _range(row: Row, is_db: bool) -> str:
    points = sorted(row["points"], key=lambda p: p["bytes"])
    if not points:
        return ""
    ends = points[:1] if len(points) == 1 else [points[0], points[-1]]
    return " to ".join(f"{_amount(p['mean'], is_db)}, {_amount(p['worst'], is_db)}" for p in ends)


def _amount(value: float, is_db: bool) -> str:
    return f"{value:.1f} dB" if is_db else f"{100 * value:.3g} %"


def speed_table(part: Part) -> str:
    """Return MPix/s of encoding and decoding in order, and what one random frame takes."""
    rows = []
    for row in part["rows"]:
        point = _nearest(row, part["kind"])
        if point is None:
            continue
        mpix = part["pixels"] / 1e6
        found = point.get("access")
        rows.append(
            [
                row["name"],
                number(mpix / point["encode_s"]),
                number(mpix / point["decode_s"]),
                f"{found['frames_mean']:.2f} ({found['frames_max']:.0f})" if found else "1",
                number((found["bytes"] if found else point["bytes"]) / 1000),
                number(1000 * (found or point)["decode_s"] / (1 if found else part["frames"])),
            ]
        )
    head = ["", "encode, MPix/s", "decode in order, MPix/s", "frames for one, mean (most)",
            "kB for one", "ms for one"]  # fmt: skip
    return markdown_table(head, rows)


def _nearest(row: Row, kind: str) -> Row | None:
    """Return the point of a row whose distortion is nearest to the one that speeds are given at."""
    points: Sequence[Row] = row["points"]
    if not points or kind not in SPEED_AT:
        return points[0] if points else None
    at = SPEED_AT[kind]
    if kind == "image":
        return min(points, key=lambda p: abs(p["mean"] - at))
    return min(points, key=lambda p: abs(math.log(max(p["mean"], 1e-9) / at)))


def guaranteed_text(part: Part) -> str:
    """Say what depth takes of which no pixel is off by more than the bound."""
    found = part["guaranteed"]
    if "bytes" not in found:
        return f"Under a bound: {found['error']}\n" if "error" in found else ""
    own = ", ".join(f"{name} {number(value)}" for name, value in found["bytes"].items())
    exact = next((r for r in part["rows"] if r["name"].endswith("lossless") and r["points"]), None)
    beside = ""
    if exact is not None:
        size = exact["points"][0]["bytes"]
        ratio = found["bytes"]["av1-seq"] / size
        beside = f"; {exact['name']} {number(size)} (av1-seq {ratio:.2f} of it)"
    return f"No pixel off by more than {100 * found['bound']:g} %, bytes a frame: {own}{beside}.\n"
