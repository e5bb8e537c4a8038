"""The findings of the streaming benchmark as pictures, PNG and SVG: bytes, speed, scale."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from dsc._bench import drawing
from dsc._bench.drawing import COLOURS, STYLE
from dsc._bench.stream.tables import TITLES, rate_text

OWN, RIVAL, OWN_PALE, RIVAL_PALE = COLOURS[0], "#8c8c8c", COLOURS[5], "#c4c4c4"


def draw_all(parts: Mapping[str, Any], out: Path) -> list[Path]:
    """Draw what there is: ``stream-bytes``, ``stream-speed`` and ``stream-scale``.

    Returns
    -------
    list
        The files.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    scale = [part for name, part in parts.items() if name.startswith("scale-")]
    with mpl.rc_context(cast(Any, STYLE)):
        drawn = {
            "bytes": _draw_traffic(parts["traffic"]) if "traffic" in parts else None,
            "speed": _draw_speed({name: parts[name] for name in TITLES if name in parts}),
            "scale": _draw_scale([part for part in scale if "error" not in part]),
        }
        return [
            path
            for name, figure in drawn.items()
            if figure is not None
            for path in drawing.save(figure, out / f"stream-{name}")
        ]


def _draw_traffic(part: Mapping[str, Any]) -> Any:
    """Draw bytes sent over bytes required, one bar a reader."""
    rows = [row for row in part["rows"] if "error" not in row]
    if not rows:
        return None
    figure, (panel,) = drawing.figure(1, 1, 0.9 + 0.28 * len(rows))
    values = [row["sent"] / part["required"]["stored"] for row in rows]
    colours = [_colour(row["name"], True) for row in rows]
    bars = panel.barh([row["name"] for row in rows], values, color=colours)
    panel.bar_label(bars, [f"{value:.3f} ×" for value in values], padding=3, fontsize=7)
    _dress(panel, "bytes sent ÷ bytes of the streams that depth requires")
    drawing.title(figure, "Reading depth alone, of four tasks")
    return figure


def _draw_speed(parts: Mapping[str, Any]) -> Any:
    """Draw one panel a table: rates of every reader, on one core and with two workers."""
    shown = {
        name: [row for row in part["rows"] if "error" not in row] for name, part in parts.items()
    }
    shown = {name: rows for name, rows in shown.items() if rows}
    if not shown:
        return None
    heights = [len(rows) for rows in shown.values()]
    figure, panels = drawing.figure(len(shown), 1, 1.0 + sum(0.33 * n + 0.55 for n in heights))
    panels[0].get_gridspec().set_height_ratios(heights)
    for panel, (name, rows) in zip(panels, shown.items(), strict=True):
        _draw_rates(panel, rows)
        panel.set_title(TITLES[name], loc="left")
        panel.set_xscale("log")
        panel.set_xlim(left=10)
        _dress(panel, "samples a second")
        panel.margins(x=0.12)
    drawing.title(figure, "Samples a second, each library on the same images")
    drawing.legend(figure, panels)
    return figure


def _draw_rates(panel: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    cores = sorted({count for row in rows for count in row if count.isdigit()})
    height = 0.8 / len(cores)
    for at, count in enumerate(cores):
        places = [y + (at - (len(cores) - 1) / 2) * height for y in range(len(rows))]
        values = [row[count]["rate"] for row in rows]
        colours = [_colour(row["name"], at == 0) for row in rows]
        bars = panel.barh(places, values, 0.92 * height, color=colours)
        panel.bar_label(bars, [rate_text(value) for value in values], padding=2, fontsize=6)
        label = "1 core" if count == "1" else f"{count} worker processes (paler)"
        panel.barh([0], [0], color=_colour("dsc", at == 0), label=label)
    panel.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=7)


def _draw_scale(parts: Sequence[Mapping[str, Any]]) -> Any:
    """Draw times and memory over the number of samples."""
    if not parts:
        return None
    ordered = sorted(parts, key=lambda part: float(part["samples"]))
    samples = [part["samples"] for part in ordered]
    figure, (times, memory) = drawing.figure(1, 2, 2.6)
    for panel, scale, entries in (
        (times, 1.0, [("open_s", "manifest and records"), ("first_s", "first batch after that")]),
        (memory, 1e6, [("peak_bytes", "in the loop"), ("opened_bytes", "archive open"),
                       ("imported_bytes", "before: Python, torch")]),
    ):  # fmt: skip
        for at, (name, label) in enumerate(entries):
            values = [part[name] / scale for part in ordered]
            panel.plot(samples, values, marker="o", markersize=4, color=COLOURS[at], label=label)
        panel.set_xscale("log")
        panel.set_ylim(bottom=0)
        panel.set_xlabel("samples")
        panel.legend(fontsize=7)
    times.set_ylabel("seconds")
    memory.set_ylabel("peak memory, MB")
    drawing.title(figure, "Cost of scale: start-up and memory")
    return figure


def _colour(name: str, strong: bool) -> str:
    if name.startswith("dsc"):
        return OWN if strong else OWN_PALE
    return RIVAL if strong else RIVAL_PALE


def _dress(panel: Any, label: str) -> None:
    panel.invert_yaxis()
    panel.set_xlabel(label)
    panel.grid(axis="y", visible=False)
    panel.margins(x=0.1)
