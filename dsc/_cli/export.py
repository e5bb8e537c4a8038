"""``dsc export``: some tasks of an archive, decoded into files."""

from typing import TYPE_CHECKING, Annotated

import typer

from dsc._cli.options import ArchiveArgument, JsonOption, TasksOption, takes_options
from dsc._cli.printing.output import emit, say
from dsc._cli.printing.progress import progress
from dsc._cli.printing.text import counted
from dsc._cli.selecting import SelectionArguments

if TYPE_CHECKING:
    from dsc._copies.export.target import ExportReport


@takes_options
def export(
    archive: ArchiveArgument,
    selection: SelectionArguments,
    out: Annotated[
        str,
        typer.Option(
            help="Directory or fsspec URL for the files.", metavar="DIR", show_default=False
        ),
    ],
    tasks: TasksOption = None,
    to: Annotated[
        str,
        typer.Option(
            help="What is written: files, one a task and sample; webdataset, tars with the keys "
            "and endings that the source had; parquet, as the Hugging Face Hub has it; coco, the "
            "annotation files and images that the source had; lerobot, episodes in Parquet and "
            "MP4.",
            metavar="TARGET",
        ),
    ] = "files",
    names: Annotated[
        str | None,
        typer.Option(
            help="What files are called: original, as in the source, or keys: TASK/KEY. "
            "Default: original.",
            metavar="original|keys",
            show_default=False,
        ),
    ] = None,
    file_size: Annotated[
        str | None,
        typer.Option(
            help="About how large files of parquet are to be, tars of webdataset at most; of "
            "lerobot, from when on a file gets no more episodes. Default: 500MB, 1GB, and 100MB "
            "(200MB of video).",
            metavar="SIZE",
            show_default=False,
        ),
    ] = None,
    shard_size: Annotated[
        int | None,
        typer.Option(
            help="Of webdataset: samples a tar at most. Default: no limit.",
            metavar="N",
            show_default=False,
        ),
    ] = None,
    image_format: Annotated[
        str | None,
        typer.Option(
            help="What decoded images become. Of webdataset: png; jpg or webp, with a quality if "
            "you like (jpg:90), which is a second loss; source, as they were. Default: png. Of "
            "lerobot: video, av1 or h264, with a crf if you like (av1:30), and depth in HEVC; or "
            "png, without loss. Default: av1.",
            metavar="FORMAT",
            show_default=False,
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            help="Of lerobot: frames a second. Default: what the times of frames say.",
            metavar="N",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write files again that are there.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Decode an archive to files as its source had them.

    The names and directories that the source had, and TASK/KEY where the archive
    does not know them. Text, JSON and other files come back to the byte, .npy as
    .npy, numbers in text as text. Other maps are written as PNG (16-bit where the
    source was), without loss, also where the source had JPEG; what PNG does not
    hold as .npy. Files that are there are kept, so an interrupted export goes on.

    [bold]Examples[/bold]

      dsc export demo --tasks depth --out demo-files
      dsc export demo --where "scene == 'kitchen'" --limit 100 --out kitchens
      dsc export data-dsc --to webdataset --out /data/tars --file-size 500MB
      dsc export coco-dsc --to coco --out /data/coco-again
      dsc export robot-dsc --to lerobot --image-format h264:18 --out robot-again
      dsc export demo --to parquet --out demo-parquet  # datasets.load_dataset("demo-parquet")
      dsc export https://example.org/taskonomy-dsc --tasks rgb --out /data/rgb
    """
    from dsc._copies.export.run import export as run

    with progress("export", "samples") as report:
        found = run(
            archive,
            tasks,
            out,
            to=to,
            selection=selection.given,
            overwrite=overwrite,
            progress=report,
            names=names,
            file_size=file_size,
            shard_size=shard_size,
            image_format=image_format,
            fps=fps,
        )
    value = {
        "out": out,
        "to": to,
        "tasks": [task.name for task in found.tasks],
        "written": found.written,
        "kept": found.kept,
        "missing": found.missing,
        "depth_unit_m": {task.name: task.unit_m for task in found.tasks if task.unit_m},
        "notes": list(found.notes),
    }
    emit(json_, value, lambda: _show_exported(out, to, found))


def _show_exported(out: str, to: str, found: "ExportReport") -> None:
    kept = f", {found.kept} were there already" if found.kept else ""
    say(f"{out}: {counted(found.written, 'file')} written{kept}")
    for task in found.tasks:
        if found.missing[task.name]:
            lacking = counted(found.missing[task.name], "sample")
            what = "null, where the archive lacks it" if to == "parquet" else "without a file of it"
            say(f"{task.name}: {lacking} {what}")
        if task.unit_m:
            say(f"{task.name}: metres = value × {task.unit_m:.9g}")
    for note in found.notes:
        say(note)
