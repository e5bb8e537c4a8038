"""The tables of ``dsc bench machine``: what machines lose over bits, also beside the anchor."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from dsc._bench.machine.carriers import ANCHOR, UNCOMPRESSED
from dsc._bench.markdown import markdown_table
from dsc._bench.speed.tables import number
from dsc._schemas.extractor import EMBEDDING

Part = Mapping[str, Any]
Row = Mapping[str, Any]
Point = Mapping[str, Any]
MEASURES = {"miou": "mIoU", "pixel_accuracy": "pixel accuracy", "ap50": "AP at .5"}
LEAD = {
    "classification": "agreement",
    "probes": "retrained",
    "segmentation": "miou",
    "detection": "ap50",
}
AT_KL = (1.0, 0.5, 0.1, 0.02)  # nats

METHOD = """\
What a frozen network and heads on it lose by compression, over real bits: payloads as an archive
holds them. All see the same pictures, sized as the network takes them; a rate is of their pixels.
*KL* is of the classifier's answers to those to uncompressed pictures, mean in nats; *agreement* the
share of equal first answers. Heads *as they are* were trained with uncompressed pictures,
*retrained* ones with what was stored; *tuned*: the network learned from decoded pictures, too.
*Read* is processor time of one thread from bytes to where heads begin.

An accuracy over bits says nothing by itself: who knows the question stores the answer, ten bits for
one of a thousand classes. It matters where heads are not known when pictures are encoded: so
probes, labels and boxes stand beside classification here. Rates above those of the files that
pictures come from say nothing.
"""


def markdown(parts: Sequence[Part], environment: Mapping[str, Any]) -> str:
    """Write all tables."""
    versions = ", ".join(f"{n} {v}" for n, v in environment["versions"].items() if v)
    where = (
        f"Network: {environment['backbone']} ({environment['weights_sha256'][:12]}), features of "
        f"{environment['layer']}. Measured on {environment['cpu']}; {versions}.\n"
    )
    text = ["# What machines see\n", METHOD, where]
    for part in parts:
        text += [_title(part), loss_table(part), equal_table(part), operations_table(part)]
    return "\n".join(one for one in text if one)


def _title(part: Part) -> str:
    source = part["source_bpp"]
    beside = f" Their files have {source:.2f} bpp." if source else ""
    count = f"{part['seeds']} seed" + ("s" if part["seeds"] > 1 else "")
    seeds = f", {count}" if part["task"] in ("segmentation", "detection") else ""
    return (
        f"## {part['title']}: {part['task']}\n\n{part['pictures']} pictures of {part['size']} "
        f"pixels, {part['train']} others to train{seeds}.{beside}\n"
    )


def loss_table(part: Part) -> str:
    """Return a row a carrier and quality: bits, and what the task is measured by."""
    columns = _columns(part)
    rows = []
    for row in part["rows"]:
        for point in row["points"]:
            plain = row["name"] == UNCOMPRESSED
            rate = ["", "–", "–"] if plain else _rate(point)
            values = [spell(point["metrics"]) for _, spell in columns]
            times = ["" if plain else number(point["encode_ms"]), number(point["read_ms"])]
            rows.append([row["name"], *rate, *values, *times])
    head = ["", "quality", "bytes", "bpp", *(name for name, _ in columns), "encode, ms", "read, ms"]
    return markdown_table(head, rows)


def _rate(point: Point) -> list[str]:
    return [str(point["quality"]), number(point["bytes"]), number(point["bpp"])]


def _columns(part: Part) -> list[tuple[str, Callable[[Mapping[str, Any]], str]]]:
    if part["task"] == "classification":
        shares = [("top-1", "top1"), ("agreement", "agreement")]
        found = [(title, lambda m, k=key: _percent(m.get(k))) for title, key in shares]
        return [*found, ("KL", lambda m: number(m["kl"]))]
    if part["task"] == "probes":
        shares = [("as they are", "as_is"), ("retrained", "retrained")]
        return [(title, lambda m, k=key: _percent(m.get(k))) for title, key in shares]  # type: ignore[misc]
    lead = LEAD[part["task"]]
    return [
        (f"{MEASURES[lead]}, heads as they are", lambda m: _over_seeds(m.get("as_is"), lead)),
        ("retrained", lambda m: _over_seeds(m.get("retrained"), lead)),
        ("network tuned, too", lambda m: _over_seeds(m.get("tuned"), lead)),
    ]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _over_seeds(found: Sequence[Mapping[str, float]] | None, key: str) -> str:
    if not found:
        return ""
    values = [100 * one[key] for one in found]
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def lead_of(part: Part, point: Point) -> float | None:
    """Return what a point is drawn and compared by, higher is better; None where it lacks."""
    metrics, lead = point["metrics"], LEAD[part["task"]]
    if part["task"] not in ("segmentation", "detection"):
        found = metrics.get(lead)
        return None if found is None else float(found)
    heads = metrics.get("retrained") or metrics["as_is"]
    return float(statistics.mean(one[lead] for one in heads))


def equal_table(part: Part) -> str:
    """Return what every carrier is beside the anchor: bits at equal KL, or gains at equal bits."""
    anchor = next((row for row in part["rows"] if row["name"] == ANCHOR), None)
    if anchor is None or len(anchor["points"]) < 2:
        return ""
    others = [row for row in part["rows"] if row["name"] not in (ANCHOR, UNCOMPRESSED)]
    if part["task"] == "classification":
        return _equal_kl(anchor, others)
    return _equal_bits(part, anchor, others)


def _equal_kl(anchor: Row, others: Sequence[Row]) -> str:
    rows = []
    for row in (anchor, *others):
        cells = []
        for at in AT_KL:
            base, found = (bpp_at_kl(one["points"], at) for one in (anchor, row))
            share = f" ({found / base:.2f})" if found and base and row is not anchor else ""
            cells.append(f"{number(found)}{share}" if found else "–")
        rows.append([row["name"], *cells])
    head = [f"bpp at equal KL (share of {ANCHOR}'s)", *(f"{at:g}" for at in AT_KL)]
    return markdown_table(head, rows)


def bpp_at_kl(points: Sequence[Point], kl: float) -> float | None:
    """Return the rate at a KL, between points, both by their logarithms; None beyond them."""
    known = sorted((math.log(max(p["metrics"]["kl"], 1e-9)), math.log(p["bpp"])) for p in points)
    return _between(known, math.log(kl), math.exp)


def _equal_bits(part: Part, anchor: Row, others: Sequence[Row]) -> str:
    known = sorted(
        (math.log(p["bpp"]), lead)
        for p in anchor["points"]
        if (lead := lead_of(part, p)) is not None
    )
    rows = []
    for row in others:
        for point in row["points"]:
            beside = _between(known, math.log(point["bpp"]), float)
            lead = lead_of(part, point)
            if beside is not None and lead is not None:
                cells = [f"{100 * value:.1f}" for value in (lead, beside)]
                gain = f"{100 * (lead - beside):+.1f}"
                rows.append([row["name"], number(point["bpp"]), *cells, gain])
    return markdown_table(["", "bpp", "there", f"{ANCHOR} at equal bits", "gain"], rows)


def _between(
    known: Sequence[tuple[float, float]], at: float, back: Callable[[float], float]
) -> float | None:
    for (x0, y0), (x1, y1) in pairwise(known):
        if x0 <= at <= x1 and x1 > x0:
            return back(y0 + (y1 - y0) * (at - x0) / (x1 - x0))
    return None


def operations_table(part: Part) -> str:
    """Return the network's operations: before what is stored, and for a reader behind it."""
    network, readers = (part["operations"][key] for key in ("network", "reader"))
    whole = sum(network.values())
    rows = []
    for row in part["rows"]:
        enters = row["enters"]
        before = whole - readers[enters] if enters != "pixels" else 0.0
        counts = [before, row["codec_mmac"], readers[enters]]
        shared = f"{row['shared_bytes']:,}" if row["shared_bytes"] else ""
        rows.append([row["name"], _place(enters), *map(number, counts), shared])
    head = ["", "what is stored", "encoder's network, MMAC", "codec's networks",
            "reader's network", "shared by all pictures, bytes"]  # fmt: skip
    return markdown_table(head, rows)


def _place(enters: str) -> str:
    return enters if enters in ("pixels", EMBEDDING) else f"features of {enters}"
