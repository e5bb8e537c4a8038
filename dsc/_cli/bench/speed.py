"""``dsc bench speed``: how fast codecs and whole jobs are on one core of this machine."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsc._cli.bench.rd import (
    CODECS,
    DATA,
    RUN,
    DataOption,
    FreshOption,
    RootOption,
    SetsOption,
    SourceOption,
    SplitOption,
    TasksOption,
)
from dsc._cli.options import JsonOption
from dsc._cli.printing.output import emit, note, say
from dsc._cli.printing.progress import progress

if TYPE_CHECKING:
    from dsc._bench.rate_distortion.datasets import BenchSet

VIEW_PX = 512  # about as many pixels as a camera's 640×480
QUICK_SAMPLES, QUICK_FRAMES = 1, 3

OutOption = Annotated[Path, typer.Option(help="Directory for tables and results.", metavar="DIR")]
PartsOption = Annotated[
    str,
    typer.Option(
        help="Which tables, with commas: codecs (every codec, frame by frame); compress, stream, "
        "max-error, target, auto, workers (whole jobs on images with depth).",
        metavar="A,B",
    ),
]
SamplesOption = Annotated[
    int,
    typer.Option(
        help="Frames of each set that codecs are timed on.",
        min=1,
        metavar="N",
        rich_help_panel=DATA,
    ),
]
FramesOption = Annotated[
    int,
    typer.Option(
        help="Frames of each set that whole jobs take.", min=1, metavar="N", rich_help_panel=DATA
    ),
]
HolesOption = Annotated[
    float,
    typer.Option(
        help="Share of depth that is punched out, as a depth camera would miss it, beside depth "
        "without; 0 for none.",
        min=0.0,
        max=0.9,
        metavar="SHARE",
        rich_help_panel=DATA,
    ),
]
CodecsOption = Annotated[
    str | None,
    typer.Option(
        help="Codecs that are timed frame by frame, with commas: ID, ID@FILE, LABEL=ID@FILE. "
        "Default: all of dsc's. Formats' own libraries always stand beside them.",
        metavar="A,B",
        rich_help_panel=CODECS,
    ),
]
QualityOption = Annotated[
    int,
    typer.Option(
        help="Quality of dsc's codecs.", min=1, max=100, metavar="Q", rich_help_panel=CODECS
    ),
]
EffortOption = Annotated[
    str,
    typer.Option(
        "--effort",
        help="Efforts of dsc's codecs and of compressing, with commas.",
        metavar="A,B",
        rich_help_panel=CODECS,
    ),
]
RoundsOption = Annotated[
    int,
    typer.Option(
        help="Rounds in which everything takes turns.", min=1, metavar="N", rich_help_panel=RUN
    ),
]
QuickOption = Annotated[
    bool,
    typer.Option(
        "--quick", help="A frame, three for jobs, one round: rough figures.", rich_help_panel=RUN
    ),
]


def speed(
    out: OutOption,
    data: DataOption = None,
    sets: SetsOption = "views",
    source: SourceOption = None,
    root: RootOption = None,
    split: SplitOption = None,
    tasks: TasksOption = None,
    samples: SamplesOption = 4,
    frames: FramesOption = 12,
    holes: HolesOption = 0.1,
    parts: PartsOption = "codecs,compress,stream",
    codecs: CodecsOption = None,
    quality: QualityOption = 60,
    effort: EffortOption = "fast,default,best",
    rounds: RoundsOption = 3,
    quick: QuickOption = False,
    fresh: FreshOption = False,
    json_: JsonOption = False,
) -> None:
    r"""Measure codecs and whole jobs beside libraries and webdataset, in processor time.

    Writes tables (speed.md) and speed.json: every codec and the usual image
    libraries, encoding and decoding, beside their bytes and distortion; and
    what a whole job takes, beside tars of AVIF or JPEG with PNG. Depth is
    measured with and without holes. Without data, on rendered views. Run
    again, it measures only what is not there yet.

    [bold]Examples[/bold]

      dsc bench speed --out bench --quick
      dsc bench speed --out bench --sets nyuv2,7scenes,views
      # searches and two workers, on your own data
      dsc bench speed --out mine --source folder --root /data/scans \
          --parts compress,max-error,target,auto,workers
    """
    from dsc._bench.rate_distortion.candidates import parse_candidates
    from dsc._bench.speed.run import SpeedOptions, check_parts, run_speed
    from dsc._bench.speed.tables import report
    from dsc._schemas import Effort

    wanted = [part.strip() for part in parts.split(",") if part.strip()]
    check_parts(wanted)
    if quick:
        samples, frames, rounds = min(samples, QUICK_SAMPLES), min(frames, QUICK_FRAMES), 1
    count = samples if wanted == ["codecs"] else max(samples, frames)
    options = SpeedOptions(
        sets=_sets(sets, data, source, root, split, tasks, count),
        parts=wanted,
        codecs=parse_candidates(codecs) if codecs else None,
        samples=samples,
        quality=quality,
        efforts=[Effort.parse(one.strip()) for one in effort.split(",") if one.strip()],
        holes=holes,
        rounds=rounds,
        fresh=fresh,
    )
    with progress("bench speed", "turns") as done:
        result = run_speed(options, out, done, note)
    value = {"files": [str(path) for path in result.files], **result.to_json()}
    emit(json_, value, lambda: say(report(result.parts, result.environment)))
    if not json_:
        say("\n".join(str(path) for path in result.files))


def _sets(
    names: str,
    data: Path | None,
    source: str | None,
    root: str | None,
    split: str | None,
    tasks: str | None,
    count: int,
) -> "list[BenchSet]":
    """Open the sets; rendered views are as large as a camera's pictures."""
    from dsc._bench.rate_distortion.datasets import VIEWS
    from dsc._cli.bench.rd import open_sets

    if source == "sample":
        return [_views(tasks, count)]
    found = open_sets(names, data, source, root, split, tasks, count, count)
    return [_views(None, count) if one.name == VIEWS else one for one in found]


def _views(tasks: str | None, count: int) -> "BenchSet":
    from dsc._bench.rate_distortion.datasets import VIEWS, source_set

    views = source_set("sample", None, tasks, n=count, size=VIEW_PX)
    return replace(views, name=VIEWS, title="Rendered views")
