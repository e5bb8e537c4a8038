"""``dsc bench stream``: how archives stream into a training loop, beside other libraries."""

from pathlib import Path
from typing import Annotated

import typer

from dsc._cli.options import JsonOption
from dsc._cli.printing.output import emit, note, say
from dsc._cli.printing.progress import progress

OutOption = Annotated[
    Path, typer.Option(help="Directory for tables, plots and results.", metavar="DIR")
]
QuickOption = Annotated[
    bool, typer.Option("--quick", help="Few samples and rounds: a minute or two, rough figures.")
]
PartsOption = Annotated[
    str,
    typer.Option(help="Which tables, with commas.", metavar="A,B"),
]
RoundsOption = Annotated[
    int | None,
    typer.Option(help="Rounds in which all rows take turns.", min=1, metavar="N"),
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Throw earlier results in --out away.")]


def stream(
    out: OutOption,
    quick: QuickOption = False,
    parts: PartsOption = "traffic,speed,gpu,scale,faults",
    rounds: RoundsOption = None,
    fresh: FreshOption = False,
    json_: JsonOption = False,
) -> None:
    r"""Measure streaming beside webdataset, MosaicML streaming and litdata.

    Writes tables (stream.md), plots and stream.json: bytes read for one task
    of four; samples a second on one core and two; start-up and memory up to
    ten million samples; what faults cost. Libraries that are not installed
    are left out and named. Run again, it measures only what is not there yet.

    [bold]Examples[/bold]

      dsc bench stream --out bench --quick
      pip install webdataset mosaicml-streaming litdata
      dsc bench stream --out bench
      dsc bench stream --out bench --parts speed --rounds 7
    """
    from dataclasses import replace

    from dsc._bench.stream.run import run_stream
    from dsc._bench.stream.sizes import QUICK, Sizes

    sizes = QUICK if quick else Sizes()
    if rounds is not None:
        sizes = replace(sizes, rounds=rounds)
    only = [part.strip() for part in parts.split(",") if part.strip()]
    with progress("bench stream", "parts") as report:
        result = run_stream(sizes, out, only, fresh, report, note)
    value = {"files": [str(path) for path in result.files], **result.to_json()}
    emit(json_, value, lambda: say(result.files[0].read_text(encoding="utf-8")))
    if not json_:
        say("\n".join(str(path) for path in result.files))
