"""``dsc bench machine``: what machines lose by compression, over real bits."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsc._cli.bench.rd import CODECS, DATA, RUN, FreshOption, OutOption, RootOption
from dsc._cli.options import JsonOption
from dsc._cli.printing.output import emit, note, say
from dsc._cli.printing.progress import progress

if TYPE_CHECKING:
    from dsc._sources.base import Source

DataOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder with natural (photographs named by ImageNet's classes), tiny_imagenet40 and "
        "nyuv2. Default: $DSC_TEST_DATA, else ../shared/data.",
        metavar="DIR",
        rich_help_panel=DATA,
    ),
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        help="Layout of your own data at --root, as in dsc compress. Default: folder.",
        metavar="SOURCE",
        rich_help_panel=DATA,
    ),
]
TasksOption = Annotated[
    str,
    typer.Option(
        help="With commas: classification (the network's own answers), probes (classes that it "
        "was not made for), segmentation, detection (rendered scenes).",
        metavar="A,B",
        rich_help_panel=DATA,
    ),
]
SamplesOption = Annotated[
    int,
    typer.Option(
        help="Pictures that train, and pictures that are measured, at most; 0 takes all.",
        min=0,
        metavar="N",
        rich_help_panel=DATA,
    ),
]
CodecsOption = Annotated[
    str,
    typer.Option(
        help="What is stored of pictures, with commas: ID, ID@FILE, LABEL=ID@FILE, each "
        "with qualities of its own behind it (av1:30:60); codecs of pictures, of feature maps, of "
        "embeddings (for tasks that need no places).",
        metavar="A,B",
        rich_help_panel=CODECS,
    ),
]
QualitiesOption = Annotated[
    str | None,
    typer.Option(
        help="Qualities of all codecs, with commas. Default: each codec's own, from where machines "
        "see little to where they miss nothing.",
        metavar="Q,Q",
        rich_help_panel=CODECS,
    ),
]
BackboneOption = Annotated[
    str, typer.Option(help="The frozen network.", metavar="NAME", rich_help_panel=CODECS)
]
LayerOption = Annotated[
    str | None,
    typer.Option(
        help="Where in it features are taken. Default: the last layer of stride 16.",
        metavar="NAME",
        rich_help_panel=CODECS,
    ),
]
SeedsOption = Annotated[
    int,
    typer.Option(
        help="Heads that are trained for each figure of segmentation and detection.",
        min=1,
        metavar="N",
        rich_help_panel=RUN,
    ),
]
RetrainOption = Annotated[
    bool,
    typer.Option(
        "--retrain/--no-retrain",
        help="Train those heads again with what was stored, a minute each.",
        rich_help_panel=RUN,
    ),
]
TuneOption = Annotated[
    bool,
    typer.Option(
        "--tune",
        help="Also let a copy of the network learn from decoded pictures, for segmentation and "
        "detection: minutes for each figure.",
        rich_help_panel=RUN,
    ),
]
QuickOption = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="64 small rendered pictures, two qualities: a minute, rough figures.",
        rich_help_panel=RUN,
    ),
]


def machine(
    out: OutOption,
    data: DataOption = None,
    root: RootOption = None,
    source: SourceOption = None,
    tasks: TasksOption = "classification,probes,segmentation,detection",
    samples: SamplesOption = 0,
    codecs: CodecsOption = "jpeg,webp,avif,av1,feature-klt,embedding",
    qualities: QualitiesOption = None,
    backbone: BackboneOption = "efficientnet-lite0",
    layer: LayerOption = None,
    seeds: SeedsOption = 1,
    retrain: RetrainOption = True,
    tune: TuneOption = False,
    quick: QuickOption = False,
    fresh: FreshOption = False,
    json_: JsonOption = False,
) -> None:
    r"""Measure what machines lose by compression: a frozen network and heads on it.

    Writes tables (machine.md), a plot and machine.json: KL and agreement with
    the answers to uncompressed pictures, probes, segmentation, detection, over
    real bits, with the network's operations. Any accuracy over bits is beaten
    by storing the answer: these figures are for heads that are not known when
    pictures are encoded. Needs the extra backbones. Run again, it measures only
    what is not there yet.

    [bold]Examples[/bold]

      dsc bench machine --out bench --quick
      dsc bench machine --out bench --tasks segmentation --seeds 3 \
          --codecs av1:30,feature-klt:41
      # your own pictures; in a folder a class, probes too
      dsc bench machine --out mine --root /data/pictures --samples 500
    """
    from dsc._bench.machine.options import MachineOptions, parse_codecs
    from dsc._bench.machine.run import run_machine
    from dsc._bench.machine.tables import markdown
    from dsc._cli.bench.rd import parse_qualities

    chosen, own = parse_codecs(codecs)
    options = MachineOptions(
        tasks=[task.strip() for task in tasks.split(",") if task.strip()],
        codecs=chosen,
        data=data or Path(os.environ.get("DSC_TEST_DATA") or "../shared/data"),
        source=_own(source, root),
        qualities=parse_qualities(qualities),
        own_qualities=own,
        samples=samples or None,
        seeds=seeds,
        retrain=retrain,
        tune=tune,
        quick=quick,
        backbone=backbone,
        layer=layer,
        fresh=fresh,
    )
    with progress("bench machine", "points") as done:
        result = run_machine(options, out, done, note)
    value = {"files": [str(path) for path in result.files], **result.to_json()}
    emit(json_, value, lambda: say(markdown(result.parts, result.environment)))
    if not json_:
        say("\n".join(str(path) for path in result.files))


def _own(source: str | None, root: str | None) -> "Source | None":
    """Open the user's own data, where there are any."""
    from dsc._sources.registry import open_source

    return None if source is None and root is None else open_source(source or "folder", root)
