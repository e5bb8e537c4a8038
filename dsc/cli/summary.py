"""Prints what an archive costs, task by task."""

from typing import TYPE_CHECKING

from dsc.cli.output import say, show_table
from dsc.cli.text import bytes_text, ratio_text

if TYPE_CHECKING:
    from dsc.pipeline.summary import Row, Summary

COLUMNS = (
    "task", "kind", "codec", "missing", "source", "payload", "stored", "ratio", "fetch alone",
    "payload a sample",
)  # fmt: skip


def show_summary(where: str, summary: "Summary") -> None:
    """Print the table of an archive on stdout."""
    tasks = sum(row.source_bytes is not None for row in summary.rows)
    say(f"{where}: {summary.samples} samples, {tasks} tasks")
    rows = [_cells(row, summary.samples) for row in summary.rows]
    rows.append(
        [
            "all",
            "",
            "",
            "",
            bytes_text(summary.source_bytes),
            bytes_text(summary.payload_bytes),
            bytes_text(summary.stored_bytes),
            ratio_text(summary.ratio),
            bytes_text(summary.stored_bytes),
            bytes_text(summary.payload_bytes / max(summary.samples, 1)),
        ]
    )
    show_table(COLUMNS, rows, total=True)
    codec = f"codec weights {bytes_text(summary.codec_bytes)} (once), " * bool(summary.codec_bytes)
    say(f"Beside the streams: {codec}keys and manifest {bytes_text(summary.other_bytes)}.")


def _cells(row: "Row", samples: int) -> list[str]:
    return [
        row.name,
        row.kind,
        row.codec,
        str(row.missing) if row.missing else "",
        "" if row.source_bytes is None else bytes_text(row.source_bytes),
        bytes_text(row.payload_bytes),
        bytes_text(row.stored_bytes),
        "" if row.source_bytes is None else ratio_text(row.ratio),
        bytes_text(row.alone_bytes),
        bytes_text(row.payload_bytes / max(samples - row.missing, 1)),
    ]
