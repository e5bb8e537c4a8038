"""The findings as pictures, PNG and SVG, 900 pixels wide: curves, subsets, latent channels.

dsc's own codecs are coloured (Okabe and Ito's palette, which colour-blind people can tell apart)
and solid; image formats are gray, told apart by dashes and markers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from dsc._bench import drawing
from dsc._bench.drawing import COLOURS, STYLE
from dsc._bench.rate_distortion.candidates import LOSSLESS
from dsc._bench.rate_distortion.curves import LEAD
from dsc._bench.rate_distortion.report import SINGLE_TASK, SetReport
from dsc._bench.rate_distortion.subsets import SubsetCost
from dsc._schemas import Task, TaskKind

GRAYS = {
    "jpeg": ("#a0a0a0", ":", "x"),
    "webp": ("#8c8c8c", "--", "^"),
    "jxl": ("#8c8c8c", "-.", "s"),
    "avif": ("#6b6b6b", "--", "o"),
    "avif-s4": ("#1a1a1a", "-", "o"),
}
AXES = {
    TaskKind.IMAGE: "PSNR, dB",
    TaskKind.DEPTH: "AbsRel, % (better above)",
    TaskKind.NORMAL: "mean angle, degrees (better above)",
}

IN_A_ROW = 4  # panels of tasks


def draw_all(report: SetReport, out: Path) -> list[Path]:
    """Draw what there is of one set: ``rd-``, ``subsets-`` and ``channels-<set>.png`` and ``.svg``.

    Returns
    -------
    list
        The files.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    with mpl.rc_context(cast(Any, STYLE)):
        drawn = {
            "rd": _draw_curves(report),
            "subsets": _draw_subsets(report),
            "channels": _draw_channels(report),
        }
        return [
            path
            for name, figure in drawn.items()
            if figure is not None
            for path in drawing.save(figure, out / f"{name}-{report.name}")
        ]


def _draw_curves(report: SetReport) -> Any:
    """Draw one panel a task: bits a pixel (logarithmic) against the lead metric."""
    curves = report.curves()
    tasks = [task for task in report.lossy_tasks if any(key[1] == task.name for key in curves)]
    if not tasks:
        return None
    rows = -(-len(tasks) // IN_A_ROW)
    columns = -(-len(tasks) // rows)
    figure, panels = drawing.figure(rows, columns, 3.6 * rows if len(tasks) > 1 else 4.2)
    styles = _styles(report)
    for panel in panels[len(tasks) :]:
        panel.set_axis_off()
    for panel, task in zip(panels, tasks, strict=False):
        for candidate in report.candidates:
            if (candidate.name, task.name) in curves:
                _draw_curve(panel, report, candidate.name, task, styles[candidate.name])
        _dress_curve_panel(panel, task)
    drawing.title(figure, f"{report.title}: rate and distortion")
    drawing.legend(figure, panels)
    return figure


def _draw_curve(
    panel: Any, report: SetReport, codec: str, task: Task, style: dict[str, Any]
) -> None:
    lead = LEAD[task.kind]
    points = [
        (p.alone_bpp[task.name], p.metrics[task.name].get(lead, float("nan")))
        for p in report.of(codec, task.name)
    ]
    scale = 100 if task.kind is TaskKind.DEPTH else 1
    shown = [(rate, scale * value) for rate, value in points if 0 < value < float("inf")]
    panel.plot(*zip(*shown, strict=True), label=codec, **style)


def _dress_curve_panel(panel: Any, task: Task) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    panel.set_xscale("log")
    panel.set_title(task.name, loc="left")
    panel.set_xlabel("bits a pixel, read alone")
    panel.set_ylabel(AXES[task.kind])
    axes = [panel.xaxis]
    if task.kind is not TaskKind.IMAGE:
        panel.set_yscale("log")
        panel.invert_yaxis()
        axes.append(panel.yaxis)
    for axis in axes:
        axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _draw_subsets(report: SetReport) -> Any:
    """Draw one panel a joint codec: bits of every subset, together and beside others."""
    subsets = report.subsets()
    if not subsets:
        return None
    most = max(len(cost.tasks) for costs in subsets.values() for cost in costs)
    each = 1.9 + 0.12 * max(most - 3, 0)  # their names stand below one another
    figure, panels = drawing.figure(len(subsets), 1, 0.8 + each * len(subsets))
    styles = _styles(report)
    for panel, (codec, costs) in zip(panels, subsets.items(), strict=True):
        _draw_subset_bars(panel, costs, codec, styles[codec]["color"])
        panel.set_title(f"{codec}, quality {report.operating}", loc="left")
        panel.set_ylabel("bits a pixel")
        panel.grid(axis="x", visible=False)
    drawing.title(figure, f"{report.title}: every subset of tasks at equal distortion")
    drawing.legend(figure, panels)
    return figure


def _draw_subset_bars(panel: Any, costs: Sequence[SubsetCost], codec: str, colour: str) -> None:
    series: list[tuple[str, list[float | None], str]] = [
        (f"{codec}, together", [cost.together_bpp for cost in costs], colour),
        (f"{SINGLE_TASK} codecs, sum", [cost.single_bpp for cost in costs], "#E69F00"),
        ("best classical a task, sum", [cost.classical_bpp for cost in costs], "#a0a0a0"),
    ]
    series = [entry for entry in series if any(value is not None for value in entry[1])]
    width = 0.8 / len(series)
    for at, (label, values, shade) in enumerate(series):
        places = [x + (at - (len(series) - 1) / 2) * width for x in range(len(costs))]
        heights = [value or 0.0 for value in values]
        bars = panel.bar(places, heights, 0.92 * width, label=label, color=shade)
        texts = ["n/a" if value is None else f"{value:.3f}" for value in values]
        panel.bar_label(bars, texts, padding=1, fontsize=6, color="#404040")
    panel.set_xticks(range(len(costs)), ["\n+ ".join(cost.tasks) for cost in costs], fontsize=6.5)
    panel.margins(y=0.12)


def _draw_channels(report: SetReport) -> Any:
    """Draw one panel a codec: bits of every latent channel, by stream, largest first."""
    found = {name: streams for name, streams in report.channels.items() if streams}
    if not found:
        return None
    figure, panels = drawing.figure(len(found), 1, 0.8 + 1.7 * len(found))
    for panel, (codec, streams) in zip(panels, found.items(), strict=True):
        start = 0
        for at, (stream, parts) in enumerate(streams.items()):
            values = sorted((1000 * value for value in parts["latent"]), reverse=True)
            colour, stop = COLOURS[at % len(COLOURS)], start + len(values)
            total = sum(parts["latent"]) + sum(parts["hyper"])
            panel.bar(range(start, stop), values, 1.0, color=colour)
            _name_block(panel, (start + stop) / 2, f"{stream}\n{total:.3f} bpp", colour)
            mean = sum(values) / max(len(values), 1)
            panel.hlines(mean, start - 0.5, stop - 0.5, color="#1a1a1a", linewidth=0.9)
            start = stop
        panel.set_title(f"{codec}, quality {report.operating}", loc="left")
        panel.set_ylabel("bits a 1,000 pixels")
        panel.set_xlabel("latent channels by stream, largest first; line: mean of the stream")
        panel.grid(axis="x", visible=False)
        panel.margins(x=0.01, y=0.05)
    drawing.title(figure, f"{report.title}: where the bits are")
    return figure


def _name_block(panel: Any, x: float, text: str, colour: str) -> None:
    place = panel.get_xaxis_transform()  # x in channels, y in heights of the panel
    font = {"fontsize": 7, "fontweight": "bold", "color": colour}
    panel.text(x, 0.99, text, transform=place, ha="center", va="top", **font)


def _styles(report: SetReport) -> dict[str, dict[str, Any]]:
    own = [c.name for c in report.candidates if not c.is_classical]
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(own)}
    found: dict[str, dict[str, Any]] = {}
    for candidate in report.candidates:
        gray, dash, marker = GRAYS.get(candidate.codec, ("#8c8c8c", ":", "v"))
        coloured = candidate.name in colours
        found[candidate.name] = {
            "color": colours.get(candidate.name, gray),
            "linestyle": "-" if coloured else dash,
            "marker": "o" if coloured else marker,
            "markersize": 4 if coloured else 3,
            "linewidth": 2.0 if coloured else 1.1,
            "zorder": 3 if coloured else 2,
        }
    return {name: style for name, style in found.items() if name not in LOSSLESS}
