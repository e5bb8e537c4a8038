"""How the benchmarks' pictures look: PNG and SVG, 900 pixels wide.

Coloured is what is dsc's own (Okabe and Ito's palette, which colour-blind people can tell apart).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

WIDTH_PX, DPI = 900, 150
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#606060",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "dsc",  # equal figures give equal files
}


def figure(rows: int, columns: int, height_in: float) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_PX / DPI, height_in), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False)
    return figure, list(panels.flat)


def title(figure: Any, text: str) -> None:
    figure.suptitle(text, fontsize=10, x=0.01, ha="left")


def legend(figure: Any, panels: Sequence[Any]) -> None:
    """Put one legend of all panels below them."""
    found: dict[str, Any] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            found.setdefault(label, handle)
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=4)


def save(figure: Any, path: Path) -> list[Path]:
    files = [path.with_name(f"{path.name}{suffix}") for suffix in (".png", ".svg")]
    figure.savefig(files[0])
    figure.savefig(files[1], metadata={"Date": None})
    return files
