"""Prints what an archive costs, task by task."""

from typing import TYPE_CHECKING

from dsc._cli.printing.output import say, show_table
from dsc._cli.printing.text import bytes_text, counted, ratio_text

if TYPE_CHECKING:
    from dsc._pipeline.read.summary import Summary, SummaryRow

COLUMNS = ("task", "codec", "source", "payload", "stored", "ratio", "alone")


def show_summary(where: str, summary: "Summary") -> None:
    """Print the table of an archive on stdout."""
    tasks = sum(row.source_bytes is not None for row in summary.rows)
    say(f"{where}: {counted(summary.samples, 'sample')}, {counted(tasks, 'task')}")
    total = [
        "all",
        "",
        bytes_text(summary.source_bytes),
        bytes_text(summary.payload_bytes),
        bytes_text(summary.stored_bytes),
        ratio_text(summary.ratio),
        "",
    ]
    show_table(COLUMNS, [*(_cells(row) for row in summary.rows), total], total=True)
    codec = f"codec files {bytes_text(summary.codec_bytes)} (once), " * bool(summary.codec_bytes)
    say(f"beside the streams: {codec}keys and manifest {bytes_text(summary.other_bytes)}")
    for line in _heavy_files(summary) if summary.has_heavy_files else ():
        say(line)
    takes_more = any(row.alone_bytes > row.stored_bytes for row in summary.rows)
    say(
        f"alone: what fetching this task only costs{', with all that it is read with' * takes_more}"
    )
    for row in summary.rows:
        if row.follows:
            say(f"{row.name} follows from {row.follows}")
        elif row.needed_by:
            say(f"{row.name}: no task here, but read for {', '.join(row.needed_by)}")
    missing = [f"{row.name} {row.missing}" for row in summary.rows if row.missing]
    if missing:
        say(f"samples that lack a task: {', '.join(missing)}")


def _heavy_files(summary: "Summary") -> tuple[str, str]:
    """Say what codec files that are much beside the streams mean, and what to do."""
    share = 100 * summary.codec_bytes / summary.stored_bytes
    return (
        f"warning: the codec files are {share:.0f} % of the streams, and the ratios leave them "
        f"out: with them, all are {ratio_text(summary.whole_ratio)}",
        f"    from {summary.fewest_samples:,} samples like these on they are a tenth or less; "
        "without --codec, dsc takes codecs without a file where that is fewer bytes",
    )


def _cells(row: "SummaryRow") -> list[str]:
    has_source = row.source_bytes is not None
    return [
        row.name,
        row.codec,
        bytes_text(row.source_bytes or 0) if has_source else "",
        bytes_text(row.payload_bytes),
        bytes_text(row.stored_bytes),
        ratio_text(row.ratio) if has_source else "",
        bytes_text(row.alone_bytes),
    ]
