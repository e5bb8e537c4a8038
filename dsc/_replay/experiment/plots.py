"""Pictures of results: accuracy over steps and over bytes; and a contact sheet of a buffer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from dsc._replay.experiment.plan import RunConfig
from dsc._replay.experiment.result import ResultRow
from dsc._replay.scenario.images import Images

WIDTH_IN, HEIGHT_IN, DPI = 6.0, 3.6, 150
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#606060", "#1a1a1a")
MARKERS = "osD^vxP*"
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "dsc",  # equal figures give equal files
}
Point = tuple[float, float, float]
Curves = dict[str, list[Point]]


def draw(results: Sequence[ResultRow], out: str | Path) -> list[Path]:
    """Draw ``accuracy-over-steps`` and ``accuracy-over-bytes``, PNG and SVG.

    Lines are means over seeds; bars are the standard error of the mean. What a sweep cannot show
    (increments where only the last was measured, bytes at a single budget) is not drawn.

    Returns
    -------
    list
        The files.

    Raises
    ------
    ModuleNotFoundError
        When matplotlib is not installed.
    """
    files = []
    stepwise, bytewise = over_steps(results), over_bytes(results)
    if any(len(points) > 1 for points in stepwise.values()):
        axes = ("classes seen", "accuracy over them, %")
        files += draw_curves(stepwise, axes, Path(out) / "accuracy-over-steps")
    if any(len(points) > 1 for points in bytewise.values()):
        axes = ("budget, bytes", "accuracy at the end, %")
        files += draw_curves(bytewise, axes, Path(out) / "accuracy-over-bytes", logarithmic=True)
    return files


def over_steps(results: Sequence[ResultRow]) -> Curves:
    """Return by learner, codec and budget: (classes seen, mean accuracy, its standard error)."""
    found: dict[str, dict[float, list[float]]] = {}
    for row in results:
        config = RunConfig.model_validate(row["config"])
        points = found.setdefault(f"{config.learner}, {config.arm}, {config.budget:,} bytes", {})
        for step in row["steps"]:
            if step["accuracy"] is not None:
                points.setdefault(step["seen"], []).append(step["accuracy"])
    return _averaged(found)


def over_bytes(results: Sequence[ResultRow]) -> Curves:
    """Return by learner and codec: (budget, mean last accuracy, its standard error)."""
    found: dict[str, dict[float, list[float]]] = {}
    for row in results:
        config = RunConfig.model_validate(row["config"])
        points = found.setdefault(f"{config.learner}, {config.arm}", {})
        points.setdefault(config.budget, []).append(row["last_accuracy"])
    return _averaged(found)


def contact_sheet(images: Images, columns: int = 16) -> Images:
    """Lay images (N, H, W, 3) out in rows on white, two pixels apart: (height, width, 3) uint8."""
    count, height, width = images.shape[:3]
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    sheet = np.full((rows * (height + 2) + 2, columns * (width + 2) + 2, 3), 255, np.uint8)
    for at, image in enumerate(images):
        top, left = 2 + at // columns * (height + 2), 2 + at % columns * (width + 2)
        sheet[top : top + height, left : left + width] = image
    return sheet


def _averaged(found: dict[str, dict[float, list[float]]]) -> Curves:
    return {
        name: [(x, float(np.mean(ys)), _error(ys)) for x, ys in sorted(points.items())]
        for name, points in found.items()
    }


def _error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def draw_curves(
    curves: Curves, axes: tuple[str, str], path: Path, logarithmic: bool = False
) -> list[Path]:
    """Draw curves with error bars, as PNG and SVG.

    Parameters
    ----------
    curves
        By name: (x, y, half the length of the bar).
    axes
        Labels of x and y.
    path
        The files, less their suffixes.
    logarithmic
        Whether x is.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(cast(Any, STYLE)):
        figure: Any = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        panel = figure.subplots()
        for at, (name, points) in enumerate(curves.items()):
            x, y, error = zip(*points, strict=True)
            panel.errorbar(
                x, y, error, label=name, color=COLOURS[at % len(COLOURS)],
                marker=MARKERS[at % len(MARKERS)], markersize=3, linewidth=1, capsize=2,
            )  # fmt: skip
        panel.set_xlabel(axes[0])
        panel.set_ylabel(axes[1])
        if logarithmic:
            panel.set_xscale("log")
        figure.legend(loc="outside lower center", ncols=2)
        files = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
        figure.savefig(files[0])
        figure.savefig(files[1], metadata={"Date": None})
    return files
