"""``dsc fetch`` and ``dsc export``: some tasks of an archive, as bitstreams or as files."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from dsc._cli.options import ArchiveArgument, JsonOption, TasksOption
from dsc._cli.output import emit, say
from dsc._cli.progress import BYTES, progress
from dsc._cli.text import bytes_text

if TYPE_CHECKING:
    from dsc._pipeline.copy.export import ExportReport
    from dsc._pipeline.copy.fetch import FetchReport


def fetch(
    url: Annotated[
        str,
        typer.Argument(
            help="Path, http(s):// or other fsspec URL of an archive.",
            metavar="URL",
        ),
    ],
    out: Annotated[
        str, typer.Option(help="Directory for the copy.", metavar="DIR", show_default=False)
    ],
    tasks: TasksOption = None,
    json_: JsonOption = False,
) -> None:
    """Copy some tasks of an archive, and nothing of the others, into an archive of their own.

    Only the bitstreams of these tasks and of what they require cross the
    network, each file checked by its sha256. Codec weights that came with dsc
    are not downloaded. After Ctrl-C or a lost connection the same command
    goes on at the byte where it stopped. More tasks can be fetched into the
    same directory later.

    [bold]Examples[/bold]

      dsc fetch https://example.org/taskonomy-dsc --tasks depth --out depth-only
      dsc fetch s3://bucket/taskonomy-dsc --tasks rgb,normals --out /data/copy
      python -c 'import dsc; print(dsc.open("depth-only")[0]["depth"])'
    """
    from dsc._pipeline.copy.fetch import fetch as run

    with progress("fetch", BYTES) as report:
        found = run(url, tasks, out, progress=report)
    value = {
        "archive": out,
        "url": url,
        "tasks": list(found.tasks),
        "streams": list(found.streams),
        "samples": sum(found.manifest.splits.values()),
        "fetched_bytes": found.fetched_bytes,
        "kept_bytes": found.kept_bytes,
        "shipped_bytes": found.shipped_bytes,
    }
    emit(json_, value, lambda: _show_fetched(out, found))


def _show_fetched(out: str, found: "FetchReport") -> None:
    samples = sum(found.manifest.splits.values())
    say(f"{out}: {samples} samples of {', '.join(found.tasks)}")
    say(f"streams: {', '.join(found.streams)}")
    parts = [f"{bytes_text(found.fetched_bytes)} fetched"]
    if found.kept_bytes:
        parts.append(f"{bytes_text(found.kept_bytes)} were here already")
    if found.shipped_bytes:
        parts.append(f"{bytes_text(found.shipped_bytes)} of codec weights came with dsc")
    say(", ".join(parts))
    task = found.tasks[0]
    say("Next:")
    say(f"  dsc export {shlex.quote(out)} --out {shlex.quote(out + '-files')}")
    call = f"import dsc; print(dsc.open({out!r})[0][{task!r}])"
    say(f"  python -c {shlex.quote(call)}")


def export(
    archive: ArchiveArgument,
    out: Annotated[
        str,
        typer.Option(
            help="Directory or fsspec URL for the files.", metavar="DIR", show_default=False
        ),
    ],
    tasks: TasksOption = None,
    names: Annotated[
        str,
        typer.Option(
            help="What files are called: original, as in the source, or keys: TASK/KEY.",
            metavar="original|keys",
        ),
    ] = "original",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write files again that are there.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Decode an archive to files as its source had them.

    Taskonomy's names and encodings for taskonomy and rendered views, NYUv2's
    folders for nyuv2, the source's own paths for everything else, and TASK/KEY
    where the archive does not know them. Maps are
    written as PNG (16-bit where the source was), without loss, also where the
    source had JPEG; vectors as .npy. Files that are there are kept, so an
    interrupted export goes on.

    [bold]Examples[/bold]

      dsc export demo --tasks depth --out demo-files
      dsc export https://example.org/taskonomy-dsc --tasks rgb --out /data/rgb
    """
    from dsc._pipeline.copy.export import export as run

    with progress("export", "samples") as report:
        found = run(archive, tasks, out, names=names, overwrite=overwrite, progress=report)
    value = {
        "out": out,
        "tasks": [task.name for task in found.tasks],
        "written": found.written,
        "kept": found.kept,
        "missing": found.missing,
        "depth_unit_m": {task.name: task.unit_m for task in found.tasks if task.unit_m},
    }
    emit(json_, value, lambda: _show_exported(out, found))


def _show_exported(out: str, found: "ExportReport") -> None:
    kept = f", {found.kept} were there already" if found.kept else ""
    say(f"{out}: {found.written} files written{kept}")
    for task in found.tasks:
        if found.missing[task.name]:
            say(f"{task.name}: {found.missing[task.name]} samples lack it and have no file")
        if task.unit_m:
            say(f"{task.name}: metres = value × {task.unit_m:.9g}")
