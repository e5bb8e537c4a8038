"""``dsc fetch``: some tasks of an archive, as an archive of their own."""

import json
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from dsc._cli.options import JsonOption, TasksOption
from dsc._cli.printing.output import emit, say
from dsc._cli.printing.progress import BYTES, progress
from dsc._cli.printing.text import bytes_text, counted

if TYPE_CHECKING:
    from dsc._copies.fetch import FetchReport


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
    rate: Annotated[
        str,
        typer.Option(
            help="The part of the frames of recordings that is copied, as 1/16 or 1/4.",
            metavar="RATE",
            show_default=True,
        ),
    ] = "1",
    levels: Annotated[
        str | None,
        typer.Option(
            help="How many levels of a task are copied, coarse first: rgb=1, or 1 for all tasks "
            "that have levels.",
            metavar="[TASK=]N",
            show_default="all",
        ),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Copy some tasks of an archive, and nothing of the others, into an archive of their own.

    Only the bitstreams of these tasks and of what they require cross the
    network, each file checked by its sha256. Codec weights that came with dsc
    are not downloaded. After Ctrl-C or a lost connection the same command
    goes on at the byte where it stopped. More tasks can be fetched into the
    same directory later, and more frames of recordings, and finer levels.

    [bold]Examples[/bold]

      dsc fetch https://example.org/taskonomy-dsc --tasks depth --out depth-only
      dsc fetch s3://bucket/taskonomy-dsc --tasks rgb,normals --out /data/copy
      dsc fetch https://example.org/robot-dsc --rate 1/16 --out every-16th-frame
      dsc fetch https://example.org/photos-dsc --levels rgb=1 --out small-pictures
      python -c 'import dsc; print(dsc.open("depth-only")[0]["depth"])'
    """
    from dsc._copies.fetch import fetch as run

    with progress("fetch", BYTES) as report:
        found = run(url, tasks, out, rate=rate, levels=levels, progress=report)
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
    emit(json_, value, lambda: _show_fetched(out, found, rate))


def _show_fetched(out: str, found: "FetchReport", rate: str) -> None:
    samples = sum(found.manifest.splits.values())
    say(f"{out}: {counted(samples, 'sample')} of {', '.join(found.tasks)}")
    say(f"streams: {', '.join(found.streams)}")
    if rate != "1":
        say(f"at rate {rate}, samples of other frames lack tasks that lie in layers: see dsc info")
    parts = [f"{bytes_text(found.fetched_bytes)} fetched"]
    if found.kept_bytes:
        parts.append(f"{bytes_text(found.kept_bytes)} were here already")
    if found.shipped_bytes:
        parts.append(f"{bytes_text(found.shipped_bytes)} of codec weights came with dsc")
    say(", ".join(parts))
    task = found.tasks[0]
    say("Next:")
    say(f"  dsc export {shlex.quote(out)} --out {shlex.quote(out + '-files')}")
    # texts as JSON are texts in Python, too, and their double quotes need no escape in the shell
    place, name = (json.dumps(text, ensure_ascii=False) for text in (out, task))
    call = f"import dsc; print(dsc.open({place})[0][{name}])"
    say(f"  python -c {shlex.quote(call)}")
