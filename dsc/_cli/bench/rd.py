"""``dsc bench rd``: how codecs compare, measured on this machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsc._cli.options import JsonOption
from dsc._cli.printing.output import emit, note, say
from dsc._cli.printing.progress import progress

if TYPE_CHECKING:
    from dsc._bench.rate_distortion.datasets import BenchSet
    from dsc._bench.rate_distortion.run import RdResult
    from dsc._schemas import TaskKind

DATA = "Data"
CODECS = "Codecs"
RUN = "Running"
QUICK_SAMPLES = 1

OutOption = Annotated[
    Path, typer.Option(help="Directory for tables, plots and results.", metavar="DIR")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder with nyuv2, sevenscenes, taskonomy_native and kodak. Default: "
        "$DSC_TEST_DATA, else ../shared/data.",
        metavar="DIR",
        rich_help_panel=DATA,
    ),
]
SetsOption = Annotated[
    str,
    typer.Option(
        help="Which sets, with commas; one that is not there is left out. rooms are views "
        "with tasks that follow from others.",
        metavar="A,B",
        rich_help_panel=DATA,
    ),
]
SamplesOption = Annotated[
    int,
    typer.Option(
        help="Samples of each set, evenly spread; 0 takes all.",
        min=0,
        metavar="N",
        rich_help_panel=DATA,
    ),
]
ViewsOption = Annotated[
    int,
    typer.Option(help="Views to render; 0 for none.", min=0, metavar="N", rich_help_panel=DATA),
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        help="Your own data instead of the sets: a layout, as in dsc compress.",
        metavar="SOURCE",
        rich_help_panel=DATA,
    ),
]
RootOption = Annotated[
    str | None,
    typer.Option(help="Where that data lies.", metavar="DIR", rich_help_panel=DATA),
]
SplitOption = Annotated[
    str | None, typer.Option(help="Its split.", metavar="NAME", rich_help_panel=DATA)
]
TasksOption = Annotated[
    str | None,
    typer.Option(help="Its tasks, with commas. Default: all maps.", metavar="A,B",
                 rich_help_panel=DATA),
]  # fmt: skip
CodecsOption = Annotated[
    str | None,
    typer.Option(
        help="Codecs, with commas: ID, ID@FILE for a codec file of your own, LABEL=ID@FILE. "
        "derived stands for the tasks of a set that follow from others, with these. "
        "Default: all of dsc's own, jpeg, webp, avif, avif-s4 (speed 4), jxl, png.",
        metavar="A,B",
        rich_help_panel=CODECS,
    ),
]
QualitiesOption = Annotated[
    str | None,
    typer.Option(
        help="Qualities of all codecs, with commas. Default: six each, chosen so that curves "
        "overlap.",
        metavar="Q,Q",
        rich_help_panel=CODECS,
    ),
]
OperatingOption = Annotated[
    int,
    typer.Option(
        help="Quality of joint codecs in the tables of subsets and channels, and of times.",
        min=1,
        max=100,
        metavar="Q",
        rich_help_panel=CODECS,
    ),
]
AtOption = Annotated[
    str,
    typer.Option(
        help="Distortion of the table of equal distortion: PSNR, AbsRel, angle.",
        metavar="34dB,0.5%,1deg",
        rich_help_panel=CODECS,
    ),
]
SsimOption = Annotated[
    bool, typer.Option("--ms-ssim", help="Measure MS-SSIM too (slow).", rich_help_panel=CODECS)
]
QuickOption = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="One sample a set, four qualities: about two minutes, rough figures.",
        rich_help_panel=RUN,
    ),
]
SpeedOption = Annotated[
    bool, typer.Option("--speed/--no-speed", help="Measure times.", rich_help_panel=RUN)
]
WorkersOption = Annotated[
    int,
    typer.Option(help="Processes; times are taken in one alone.", min=1, metavar="N",
                 rich_help_panel=RUN),
]  # fmt: skip
FreshOption = Annotated[
    bool,
    typer.Option("--fresh", help="Throw earlier results in --out away.", rich_help_panel=RUN),
]


def rd(
    out: OutOption,
    data: DataOption = None,
    sets: SetsOption = "nyuv2,7scenes,taskonomy,kodak,views",
    samples: SamplesOption = 24,
    views: ViewsOption = 24,
    source: SourceOption = None,
    root: RootOption = None,
    split: SplitOption = None,
    tasks: TasksOption = None,
    codecs: CodecsOption = None,
    qualities: QualitiesOption = None,
    operating: OperatingOption = 60,
    at: AtOption = "34dB,0.5%,1deg",
    ms_ssim: SsimOption = False,
    quick: QuickOption = False,
    speed: SpeedOption = True,
    workers: WorkersOption = 1,
    fresh: FreshOption = False,
    json_: JsonOption = False,
) -> None:
    r"""Compare codecs by rate and distortion, and write tables (rd.md), plots and rd.json.

    Every task is coded at several qualities and read back: bits of real
    bitstreams, the field's own metrics, BD-rates against jpeg, webp, avif and
    jxl, bits at equal distortion, what every subset of tasks costs, what tasks
    that follow from others do, bits of every latent channel, and speed beside
    quality. Run again, it measures only what is not there yet.

    [bold]Examples[/bold]

      dsc bench rd --out bench --quick
      dsc bench rd --out bench --samples 0 --workers 8
      # a codec file of your own against AVIF, on your own data
      dsc bench rd --out mine --source taskonomy --root /data/taskonomy \
          --codecs mine=chained@run/codec.safetensors,avif-s4
    """
    from dsc._bench.rate_distortion.candidates import default_candidates, parse_candidates
    from dsc._bench.rate_distortion.run import RdOptions, run_rd

    count = min(samples or QUICK_SAMPLES, QUICK_SAMPLES) if quick else samples
    found = open_sets(sets, data, source, root, split, tasks, count or None,
                  min(views, QUICK_SAMPLES) if quick else views)  # fmt: skip
    candidates = parse_candidates(codecs) if codecs else default_candidates()
    options = RdOptions(
        sets=found,
        candidates=candidates,
        optional=not codecs,
        qualities=parse_qualities(qualities),
        fewer=quick and not qualities,
        operating=operating,
        at=_distortions(at),
        ms_ssim=ms_ssim,
        speed_rounds=(1 if quick else 3) if speed else 0,
        workers=workers,
        fresh=fresh,
    )
    with progress("bench rd", "parts") as report:
        result = run_rd(options, out, report, note)
    _report(result, json_)


def open_sets(
    names: str,
    data: Path | None,
    source: str | None,
    root: str | None,
    split: str | None,
    tasks: str | None,
    samples: int | None,
    views: int,
) -> "list[BenchSet]":
    """Open the named sets, noting those that are not there; or a source of the user's."""
    from dsc._bench.rate_distortion.datasets import named_sets, source_set
    from dsc.errors import UsageError

    if source is not None:
        options = {"n": views} if source == "sample" else {"split": split}
        return [source_set(source, root, tasks, samples, **options)]
    if root or split or tasks:
        raise UsageError("--root, --split and --tasks go with --source; --data holds the sets")
    folder = data or Path(os.environ.get("DSC_TEST_DATA") or "../shared/data")
    wanted = [part for part in (piece.strip() for piece in names.split(",")) if part]
    found, absent = named_sets(wanted, folder, samples, views)
    for line in absent:
        note(line)
    if not found:
        raise UsageError(
            f"none of {names} is in {folder}; say where with --data, or render --sets views"
        )
    return found


def parse_qualities(text: str | None) -> tuple[int, ...] | None:
    from dsc.errors import UsageError

    if text is None:
        return None
    parts = [piece.strip() for piece in text.split(",") if piece.strip()]
    if not parts or not all(part.isdigit() and 1 <= int(part) <= 100 for part in parts):
        raise UsageError(f"--qualities {text}: whole numbers from 1 to 100 with commas")
    return tuple(sorted({int(part) for part in parts}))


def _distortions(text: str) -> "dict[TaskKind, float]":
    from dsc._bench.rate_distortion.report import AT
    from dsc._schemas import TaskKind
    from dsc.errors import UsageError

    found = dict(AT)
    units = (
        ("db", TaskKind.IMAGE, 1.0),
        ("%", TaskKind.DEPTH, 0.01),
        ("deg", TaskKind.NORMAL, 1.0),
    )
    for part in filter(None, (piece.strip().lower() for piece in text.split(","))):
        try:
            unit, kind, factor = next(entry for entry in units if part.endswith(entry[0]))
            value = float(part.removesuffix(unit)) * factor
        except (StopIteration, ValueError):
            value = 0.0
        if not 0 < value < 1000:
            raise UsageError(f"--at {text}: write for example 34dB,0.5%,1deg")
        found[kind] = value
    return found


def _report(result: "RdResult", as_json: bool) -> None:
    value = {"files": [str(path) for path in result.files], **result.to_json()}
    emit(as_json, value, lambda: _show(result))
    if result.failures:
        raise typer.Exit(1)


def _show(result: "RdResult") -> None:
    from dsc._bench.rate_distortion.tables import glance_table, label_table

    for table in (glance_table(result.reports), label_table(result.reports)):
        if table:
            say(table)
    say("\n".join(str(path) for path in result.files))
