"""The findings as a picture, PNG and SVG: one panel a task and set, its measure over bits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from dsc._bench import drawing
from dsc._bench.drawing import COLOURS, STYLE
from dsc._bench.machine.carriers import UNCOMPRESSED
from dsc._bench.machine.tables import lead_of
from dsc._extras import is_installed

AXES = {
    "classification": "equal first answers, %",
    "probes": "accuracy of a probe, %",
    "segmentation": "mIoU, %",
    "detection": "AP at .5, %",
}
IN_A_ROW = 2
_GRAYS = {"jpeg": ("#a0a0a0", ":"), "webp": ("#8c8c8c", "--"), "avif": ("#6b6b6b", "-.")}


def draw(parts: Sequence[Mapping[str, Any]], out: Path) -> list[Path]:
    """Draw all parts into ``machine.png`` and ``machine.svg``; nothing without matplotlib.

    Returns
    -------
    list
        The files.
    """
    if not is_installed("matplotlib"):
        return []
    import matplotlib as mpl

    with mpl.rc_context(cast(Any, STYLE)):
        rows = -(-len(parts) // IN_A_ROW)
        columns = min(len(parts), IN_A_ROW)
        figure, panels = drawing.figure(rows, columns, 0.8 + 2.6 * rows)
        for panel in panels[len(parts) :]:
            panel.set_axis_off()
        for panel, part in zip(panels, parts, strict=False):
            _draw_part(panel, part)
        drawing.title(figure, "What machines lose, over bits")
        drawing.legend(figure, panels)
        return drawing.save(figure, out / "machine")


def _draw_part(panel: Any, part: Mapping[str, Any]) -> None:
    own = [row["name"] for row in part["rows"] if row["name"] not in (*_GRAYS, UNCOMPRESSED)]
    for row in part["rows"]:
        points = [(p["bpp"], lead_of(part, p)) for p in row["points"]]
        shown = sorted((rate, 100 * value) for rate, value in points if value is not None)
        if row["name"] == UNCOMPRESSED:
            panel.axhline(shown[0][1], color="#1a1a1a", linewidth=0.9, label=UNCOMPRESSED)
            continue
        gray, dash = _GRAYS.get(row["name"], ("", "-"))
        colour = gray or COLOURS[own.index(row["name"]) % len(COLOURS)]
        panel.plot(
            *zip(*shown, strict=True), label=row["name"], color=colour, linestyle=dash,
            marker="o", markersize=3,
        )  # fmt: skip
    if part["source_bpp"]:
        panel.axvline(part["source_bpp"], color="#a0a0a0", linewidth=0.7, linestyle=":")
    panel.set_xscale("log")
    panel.set_title(f"{part['title']}: {part['task']}", loc="left")
    panel.set_xlabel("bits a pixel")
    panel.set_ylabel(AXES[part["task"]])
