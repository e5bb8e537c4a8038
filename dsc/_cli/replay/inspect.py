"""``dsc replay inspect``: what a replay buffer holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsc._cli.options import JsonOption
from dsc._cli.printing.output import emit, say, show_table
from dsc._cli.printing.text import bytes_text

if TYPE_CHECKING:
    from dsc._replay.buffer.buffer import ReplayBuffer

SHEET_IMAGES = 256

BufferArgument = Annotated[
    Path, typer.Argument(help="File of a replay buffer.", metavar="BUFFER", show_default=False)
]
SheetOption = Annotated[
    Path | None,
    typer.Option(help="Write a PNG of up to 256 decoded exemplars, class by class.", metavar="PNG"),
]


def inspect(buffer: BufferArgument, sheet: SheetOption = None, json_: JsonOption = False) -> None:
    """Show what a replay buffer holds: exemplars by class and codec, bytes by part.

    Only reads, also while a run writes to it.

    [bold]Examples[/bold]

      dsc replay inspect memory.h5
      dsc replay inspect memory.h5 --sheet memory.png
      dsc replay inspect memory.h5 --json
    """
    from dataclasses import asdict

    from dsc._replay.buffer.buffer import ReplayBuffer
    from dsc._storage.files.writable import OutputFile

    place = None if sheet is None else OutputFile.find(sheet, "--sheet")
    opened = ReplayBuffer.open(buffer)
    found = opened.report()
    value = {"buffer": str(buffer), **asdict(found)}
    value |= {"nbytes": opened.nbytes, "nbytes_with_decoder": opened.nbytes_with_decoder}
    if place is not None:
        place.write(_sheet_of(opened))
        value["sheet"] = str(sheet)
    emit(json_, value, lambda: _show_buffer(value))


def _show_buffer(value: dict[str, Any]) -> None:
    used = value["nbytes"] / value["budget_bytes"]
    say(
        f"{value['buffer']}: {value['exemplars']:,} exemplars of {value['offered']:,} offered, "
        f"{bytes_text(value['nbytes'])} of {bytes_text(value['budget_bytes'])} ({used:.1%})"
    )
    count = max(value["exemplars"], 1)
    parts = [(part, value[f"{part}_bytes"]) for part in ("payload", "index", "state", "decoder")]
    rows = [[part, f"{size:,}", f"{size / count:.1f}"] for part, size in parts]
    show_table(["part", "bytes", "an exemplar"], rows)
    say(f"the file: {value['file_bytes']:,} bytes; only decoder does not count in the budget")
    say(f"new exemplars: {value['codec']}")
    show_table(["codec", "exemplars"], [[name, f"{n:,}"] for name, n in value["slots"].items()])
    classes = value["classes"].items()
    show_table(["class", "exemplars"], [[str(label), f"{n:,}"] for label, n in classes])
    if value.get("sheet"):
        say(value["sheet"])


def _sheet_of(opened: "ReplayBuffer") -> bytes:
    """Draw the contact sheet, as the bytes of a PNG."""
    import imagecodecs
    import numpy as np

    from dsc._replay.experiment.plots import contact_sheet
    from dsc.errors import UsageError

    order = np.argsort(opened.targets, kind="stable")
    some = np.unique(np.linspace(0, len(order) - 1, SHEET_IMAGES).astype(np.int64))
    rows = order[some].tolist() if len(order) else []
    images = [image for image, _ in opened.__getitems__(rows)]
    shapes = {getattr(image, "shape", None) for image in images}
    if len(shapes) != 1 or None in shapes:
        raise UsageError("--sheet needs exemplars that are rgb images of one size; there are none")
    return bytes(imagecodecs.png_encode(contact_sheet(np.stack(images))))
