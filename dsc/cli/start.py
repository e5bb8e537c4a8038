"""Prints, before work starts, what a source was found to hold and what becomes of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dsc.cli.output import note, note_table

if TYPE_CHECKING:
    from dsc.pipeline.codec_set import CodecSet
    from dsc.schemas import SourceReport, Task

COLUMNS = ("task", "kind", "stored as", "unit", "nothing is", "samples", "codec", "loss", "why")
LISTED = 20  # entries of what is left out; --json and the manifest have all


def show_start(report: "SourceReport", tasks: "Sequence[Task]", codec_set: "CodecSet") -> None:
    """Print the table of tasks, the choices made for all files, what is left out, and warnings."""
    note_table(COLUMNS, [_row(report, task, codec_set) for task in tasks])
    for text in report.notes:
        note(text)
    if report.complete < report.samples:
        lacking = report.samples - report.complete
        note(f"{lacking} of {report.samples} samples lack a task")
    show_left_out(report)
    show_warnings(report, tasks)


def show_left_out(report: "SourceReport") -> None:
    """Print what is not read, and why."""
    if not report.left_out:
        return
    note(f"not read: {sum(one.files for one in report.left_out)} files")
    for one in report.left_out[:LISTED]:
        files = f" ({one.files} files)" if one.files > 1 else ""
        note(f"  {one.what}{files}: {one.reason}")
    if len(report.left_out) > LISTED:
        note(f"  and {len(report.left_out) - LISTED} more entries; --json lists all")


def show_warnings(report: "SourceReport", tasks: "Sequence[Task]") -> None:
    """Print what people should look at."""
    for task in tasks:
        found = report.tasks.get(task.name)
        for text in found.warnings if found else ():
            note(f"warning: {text}")


def _row(report: "SourceReport", task: "Task", codec_set: "CodecSet") -> tuple[str, ...]:
    found = report.tasks.get(task.name)
    return (
        task.name,
        task.kind.value,
        f"{found.stored if found else ''} as {task.dtype}".removeprefix(" as "),
        "" if task.unit_m is None else f"{task.unit_m:.6g} m",
        "/".join(map(str, task.invalid)),
        str(found.samples if found else report.samples),
        codec_set.codec_name(task.name),
        "exact" if codec_set.is_exact(task) else "lossy",
        found.why if found else "",
    )
