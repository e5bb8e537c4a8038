"""``dsc view``: a page to look at."""

from typing import TYPE_CHECKING, Annotated

import typer

from dsc._cli.options import ArchiveArgument, JsonOption, TasksOption
from dsc._cli.printing.output import emit, say
from dsc._cli.printing.progress import progress
from dsc._cli.printing.text import archive_name, bytes_text, counted

if TYPE_CHECKING:
    from dsc._pipeline.view.view import ViewReport


PageOption = Annotated[
    str | None, typer.Option("--out", help="The HTML file. Default: ./NAME.html.", metavar="FILE")
]
SourceRootOption = Annotated[
    str | None,
    typer.Option(
        "--source-root",
        "--root",
        help="Where the archive's source lies, to set originals beside. Not needed where it is "
        "as when this machine made the archive, nor for rendered views.",
        metavar="DIR",
    ),
]
SamplesOption = Annotated[
    int, typer.Option("-n", "--samples", help="How many samples to show.", min=1)
]
MeasureOption = Annotated[
    int,
    typer.Option(
        help="How many samples to compare with their originals, for means and worst samples.", min=1
    ),
]


SequenceOption = Annotated[
    str | None,
    typer.Option("--sequence", help="Show frames of this recording only.", metavar="NAME"),
]


def view(
    archive: ArchiveArgument,
    out: PageOption = None,
    source_root: SourceRootOption = None,
    tasks: TasksOption = None,
    sequence: SequenceOption = None,
    samples: SamplesOption = 12,
    measure: MeasureOption = 48,
    json_: JsonOption = False,
) -> None:
    """Write one HTML page that shows what an archive kept, to be opened in any browser.

    Bytes a task, a sheet of samples with original, decoded and error map of
    every task, means of the metrics, and the worst samples. The page holds
    everything itself and asks no server for anything.

    [bold]Examples[/bold]

      dsc view demo --out demo.html
      dsc view taskonomy-dsc --source-root /data/taskonomy -n 24
      dsc view walks --sequence seq-01 -n 32
    """
    from dsc._pipeline.view.view import write_view

    place = f"{archive_name(archive)}.html" if out is None else out
    with progress("view", "samples") as report:
        found = write_view(
            archive,
            place,
            samples=samples,
            measured=measure,
            source_root=source_root,
            tasks=tasks,
            sequence=sequence,
            progress=report,
        )
    value = {
        "out": place,
        "bytes": found.page_bytes,
        "samples": found.shown,
        "measured": found.measured,
        "originals": found.note,
        "means": found.means,
        "worst": found.worst,
    }
    emit(json_, value, lambda: _show(place, found, source_root))


def _show(place: str, found: "ViewReport", source_root: str | None) -> None:
    from dsc._pipeline.metrics import metric_text

    say(f"{place}: shows {counted(found.shown, 'sample')}, {bytes_text(found.page_bytes)}")
    for task, values in found.means.items():
        say(f"{task}: " + ", ".join(metric_text(name, value) for name, value in values.items()))
    if found.measured:
        say(found.note)
    elif source_root is None:
        say(f"decoded only ({found.note}); --source-root DIR sets the originals beside them")
    else:
        say(f"decoded only: no original of these samples lies under {source_root}")
    say(f"Open {place} in a browser.")
