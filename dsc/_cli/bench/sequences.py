"""``dsc bench sequences``: recordings coded as recordings, beside stills, files and videos."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsc._cli.bench.rd import (
    DATA,
    RUN,
    DataOption,
    FreshOption,
    OutOption,
    RootOption,
    SourceOption,
)
from dsc._cli.options import JsonOption
from dsc._cli.printing.output import emit, note, say
from dsc._cli.printing.progress import progress

if TYPE_CHECKING:
    from dsc._bench.sequences.recording import Clip

SetsOption = Annotated[
    str,
    typer.Option(
        help="Which recordings, with commas: clip (7-Scenes, from the data folder), and walk, "
        "fixed, orbit, which are rendered.",
        metavar="A,B",
        rich_help_panel=DATA,
    ),
]
FramesOption = Annotated[
    int,
    typer.Option(help="Frames of each recording.", min=1, metavar="N", rich_help_panel=DATA),
]
KindsOption = Annotated[
    str,
    typer.Option(
        help="Which kinds of tasks, with commas: image, depth, label.",
        metavar="A,B",
        rich_help_panel=DATA,
    ),
]
EffortOption = Annotated[
    str,
    typer.Option(help="Of dsc's codecs: fast, default or best.", metavar="EFFORT",
                 rich_help_panel=RUN),
]  # fmt: skip


def sequences(
    out: OutOption,
    data: DataOption = None,
    sets: SetsOption = "clip,walk,fixed",
    source: SourceOption = None,
    root: RootOption = None,
    kinds: KindsOption = "image,depth,label",
    frames: FramesOption = 64,
    effort: EffortOption = "default",
    fresh: FreshOption = False,
    json_: JsonOption = False,
) -> None:
    r"""Measure recordings coded as recordings beside stills, files and videos.

    Writes tables (sequences.md) and sequences.json: bytes at equal distortion,
    speeds of one core, and how many frames are decoded for one random frame.
    Videos, with the settings that LeRobot records with, need PyAV (the extra
    video). Run again, it measures only what is not there yet.

    [bold]Examples[/bold]

      dsc bench sequences --out bench --sets walk --frames 32
      dsc bench sequences --out mine --source folder --root /data/scans/seq-01
    """
    from dsc._bench.sequences.run import run_sequences
    from dsc._bench.sequences.tables import markdown
    from dsc._schemas import Effort

    wanted = {kind.strip() for kind in kinds.split(",")}
    recordings = [
        one
        for one in _recordings(sets, data, source, root, frames)
        if one.task.kind.value in wanted
    ]
    with progress("bench sequences", "points") as done:
        result = run_sequences(recordings, out, Effort.parse(effort), fresh, done)
    value = {"files": [str(path) for path in result.files], **result.to_json()}
    emit(json_, value, lambda: say(markdown(result.parts, result.environment)))
    if not json_:
        say("\n".join(str(path) for path in result.files))


def _recordings(
    sets: str, data: Path | None, source: str | None, root: str | None, frames: int
) -> "list[Clip]":
    from dsc._bench.sequences.recording import named_recordings, recordings_of
    from dsc._sources.registry import open_source
    from dsc._sources.sequences.source import in_sequences

    if source is not None:
        return recordings_of(in_sequences(open_source(source, root)), f"source {source}", frames)
    folder = data or Path(os.environ.get("DSC_TEST_DATA", "../shared/data"))
    names = [name.strip() for name in sets.split(",") if name.strip()]
    found, absent = named_recordings(names, folder, frames)
    for line in absent:
        note(line)
    return found
