"""Compares runs of `benchmarks.paper_experiment`: rates at equal distortion, ranking, tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np

ANCHOR = "mixed-latent"
TASKS = ("rgb", "depth", "normal")


def ranking(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare kinds that have a run at each of the anchor's λ with it; the fewest bits first."""
    curves = {kind: curve(runs, kind) for kind in dict.fromkeys(r["kind"] for r in runs)}
    anchor = {run["lambda"]: run["L"] for run in curves.get(ANCHOR, [])}
    rows = []
    for kind, points in curves.items():
        if not anchor or {run["lambda"] for run in points} != anchor.keys():
            continue
        ratios = {f"{r['lambda']:g}": r["L"] / anchor[r["lambda"]] for r in points}
        mean = float(np.exp(np.mean(np.log(list(ratios.values())))))
        rows.append({"kind": kind, "bd_rate_percent": bd_rate(curves[ANCHOR], points),
                     "L_ratio": ratios, "mean_L_ratio": mean})  # fmt: skip
    return sorted(rows, key=by_rate)


def by_rate(row: dict[str, Any]) -> tuple[bool, float, float]:
    rate = row["bd_rate_percent"]
    return rate is None, rate or 0.0, row["mean_L_ratio"]


def curve(runs: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return sorted((run for run in runs if run["kind"] == kind), key=lambda run: run["bpp"])


def rate_ratio(run: dict[str, Any], runs: Sequence[dict[str, Any]]) -> float | None:
    """Return bits over the anchor's at this run's mean PSNR (log-linear); None beyond its curve."""
    points = curve(runs, ANCHOR)
    psnrs = [point["mean_psnr_db"] for point in points]
    if not points or not psnrs[0] <= run["mean_psnr_db"] <= psnrs[-1]:
        return None
    logs = np.log([point["bpp"] for point in points])
    return float(run["bpp"] / np.exp(np.interp(run["mean_psnr_db"], psnrs, logs)))


def bd_rate(anchor: Sequence[dict[str, Any]], points: Sequence[dict[str, Any]]) -> float | None:
    """Return Bjøntegaard's delta rate by piecewise cubics; None where the curves do not overlap."""
    import bjontegaard

    lists = [[run[key] for run in curve] for curve in (anchor, points)
             for key in ("bpp", "mean_psnr_db")]  # fmt: skip
    increasing = all(np.all(np.diff(values) > 0) for values in lists)
    overlap = min(lists[1][-1], lists[3][-1]) > max(lists[1][0], lists[3][0])
    if not increasing or not overlap:
        return None
    return float(bjontegaard.bd_rate(*lists, method="pchip", require_matching_points=False,
                                     min_overlap=0))  # fmt: skip


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Write two Markdown tables: every run, and the ranking."""
    lines = [
        f"| λ | kind | params | bpp | of {ANCHOR}'s at equal mean PSNR | rgb dB | depth dB | "
        "normal dB | L | bpp by stream |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in sorted(runs, key=lambda r: (-r["lambda"], r["L"])):
        streams = ", ".join(f"{name} {value:.4f}" for name, value in r["stream_bpp"].items())
        quality = " | ".join(f"{r['psnr_db'][task]:.2f}" for task in TASKS)
        ratio = rate_ratio(r, runs)
        cells = (
            f"{r['lambda']:g}", r["kind"], f"{r['parameters'] / 1e3:.0f}k", f"{r['bpp']:.4f}",
            "–" if ratio is None else f"{ratio:.3f}", quality, f"{r['L']:.4f}", streams,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    ranks = ranking(runs)
    if ranks:
        lines += ["", f"| rank | kind | BD-rate against {ANCHOR} | L / L({ANCHOR}), mean over λ |",
                  "| --- | --- | --- | --- |"]  # fmt: skip
    for place, row in enumerate(ranks, 1):
        bd = "no overlap" if row["bd_rate_percent"] is None else f"{row['bd_rate_percent']:+.1f} %"
        lines.append(f"| {place} | {row['kind']} | {bd} | {row['mean_L_ratio']:.3f} |")
    return "\n".join(lines)
