"""Prints, before work starts, what a source was found to hold and what becomes of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dsc import _kernels
from dsc._cli.printing.choice import show_choice
from dsc._cli.printing.output import columns, note, note_table, table_width
from dsc._cli.printing.text import counted

if TYPE_CHECKING:
    from dsc._jobs.archive.tally import ShardProgress, Watch
    from dsc._pipeline.choose.codec_set import CodecSet
    from dsc._pipeline.choose.race import TrialProgress
    from dsc._schemas import SourceReport, Task

COLUMNS = ("task", "kind", "stored as", "unit", "nothing is", "samples", "codec", "loss", "why")
MOST_LETTERS = 26  # of what a task is stored as
WIDE = 120  # columns that the table may take, in a log as well; a narrower terminal gets lines
LISTED = 20  # entries of what is left out; --json and the manifest have all


def watch(progress: "ShardProgress", tried: "TrialProgress", as_json: bool) -> "Watch":
    """Return what tells people how far the work is and, as text, what was found and chosen."""
    from dsc._jobs.archive.tally import Watch

    told = (None, None) if as_json else (show_choice, show_start)
    return Watch(progress, told[0], tried, told[1])


def show_start(report: "SourceReport", tasks: "Sequence[Task]", codec_set: "CodecSet") -> None:
    """Print the table of tasks, the choices made for all files, what is left out, and warnings."""
    rows = [_row(report, task, codec_set) for task in tasks]
    if columns() >= WIDE:
        _note_table(rows)
    else:
        for row in rows:
            _note_lines(row)
    for task in tasks:
        if follows := codec_set.follows(task.name):
            note(f"{task.name} {follows}")
    for text in report.notes:
        note(text)
    if report.complete < report.samples:
        lacking = report.samples - report.complete
        note(f"{lacking} of {report.samples} samples lack a task")
    show_left_out(report)
    show_warnings(report, tasks)
    if not _kernels.in_use():  # works, but may take a hundred times as long
        note(_kernels.description())


def show_left_out(report: "SourceReport") -> None:
    """Print what is not read, and why."""
    if not report.left_out:
        return
    count = sum(one.files for one in report.left_out)
    what = "column" if all(one.what.startswith("column ") for one in report.left_out) else "file"
    note(f"not read: {counted(count, what)}")
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


def _note_table(rows: "Sequence[tuple[str, ...]]") -> None:
    """Print a table of tasks; where it is too wide, reasons stand under it."""
    if table_width(COLUMNS, rows) <= WIDE:
        note_table(COLUMNS, rows)
        return
    note_table(COLUMNS[:-1], [row[:-1] for row in rows])
    for reason in dict.fromkeys(row[-1] for row in rows if row[-1]):
        named = [row[0] for row in rows if row[-1] == reason]
        of = ", ".join(named) if len(named) < len(rows) else "all"
        note(f"why ({of}): {reason}")


def _note_lines(row: tuple[str, ...]) -> None:
    """Print a task on a narrow terminal: a line of what it is, and one of why."""
    name, kind, stored, unit, nothing, samples, codec, loss, why = row
    facts = [kind, stored, unit and f"{unit} a count", nothing and f"nothing is {nothing}"]
    facts += [counted(int(samples), "sample"), f"{codec}, {loss}"]
    note(f"{name}: {'; '.join(fact for fact in facts if fact)}")
    if why:
        note(f"    {why}")


def _short(stored: str) -> str:
    """Cut the type of a column that holds columns: `why` and --json have more of it."""
    return stored if len(stored) <= MOST_LETTERS else f"{stored[: MOST_LETTERS - 1]}…"


def _row(report: "SourceReport", task: "Task", codec_set: "CodecSet") -> tuple[str, ...]:
    found = report.tasks.get(task.name)
    return (
        task.name,
        task.kind.value,
        f"{_short(found.stored) if found else ''} as {task.dtype}".removeprefix(" as "),
        "" if task.unit_m is None else f"{task.unit_m:.6g} m",
        "/".join(map(str, task.invalid)),
        str(found.samples if found else report.samples),
        codec_set.codec_name(task.name),
        "exact" if codec_set.is_exact(task) else "lossy",
        found.why if found else "",
    )
