"""The options of ``dsc compress``."""

from typing import Annotated

import typer

DATA = "Data"
BITS = "Compression"
RUN = "Running"

SourceArgument = Annotated[
    str,
    typer.Argument(
        help="Layout of the dataset: taskonomy (Omnidata too), nyuv2, folder, hdf5.",
        metavar="SOURCE",
    ),
]
OutOption = Annotated[
    str | None,
    typer.Option(
        help="Directory or fsspec URL of the archive. Default: ./SOURCE-dsc.", metavar="ARCHIVE"
    ),
]
TasksOption = Annotated[
    str | None,
    typer.Option(
        help="Tasks, with commas; aliases such as depth and normals work. Default: all.",
        metavar="A,B",
        rich_help_panel=DATA,
    ),
]
RootOption = Annotated[
    str | None,
    typer.Option(
        help="Directory or fsspec URL of the data. Default: ./SOURCE or ./data/SOURCE.",
        metavar="DIR",
        rich_help_panel=DATA,
    ),
]
SampleOption = Annotated[
    int | None,
    typer.Option(
        help="Render this many indoor views instead of reading data.",
        min=1,
        metavar="N",
        rich_help_panel=DATA,
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        help="Pixels a side of rendered views. Default: 256.",
        metavar="PX",
        rich_help_panel=DATA,
    ),
]
DepthUnitOption = Annotated[
    str | None,
    typer.Option(
        help="Metres a stored count of depth, where the layout's own does not hold: 0.001, 1/4096; "
        "by task, or by component of taskonomy: hm3d=1/4096. Whole numbers are stored as they are, "
        "so it is their file's unit, too.",
        metavar="M",
        rich_help_panel=DATA,
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        help="Where directories are splits (or of nyuv2): the one to take; else the split's name. "
        "Default: all of them, or train.",
        metavar="NAME",
        rich_help_panel=DATA,
    ),
]
LayoutOption = Annotated[
    str | None,
    typer.Option(
        help="Of folder: directories, suffixes, classes, or a published one; of hdf5: rows, frames "
        "or groups. Where it cannot be told.",
        metavar="NAME",
        rich_help_panel=DATA,
    ),
]
KindsOption = Annotated[
    str | None,
    typer.Option(
        help="Of folder and hdf5: what tasks are, where names and values do not tell: "
        "left=image,height=depth. Kinds: image, depth, normal, label, class, vector, disparity, "
        "flow, array (exact numbers).",
        metavar="TASK=KIND",
        rich_help_panel=DATA,
    ),
]
FileUnitOption = Annotated[
    str | None,
    typer.Option(
        help="What the values of depth files are, where they are no metres and no counts of "
        "--depth-unit: mm; depth=1/5000; disp=disparity:BASELINE_M:FOCAL_PX; inverse.",
        metavar="U",
        rich_help_panel=DATA,
    ),
]
InvalidOption = Annotated[
    str | None,
    typer.Option(
        help="Values that mean that nothing is there: depth=0+65535,normal=128.",
        metavar="TASK=V+V",
        rich_help_panel=DATA,
    ),
]
AlphaOption = Annotated[
    str | None,
    typer.Option(
        help="Of pictures with alpha: drop it, or keep it as a task of its own. Default: refuse.",
        metavar="drop|mask",
        rich_help_panel=DATA,
    ),
]
IgnoreOption = Annotated[
    str | None,
    typer.Option(
        help="Paths (previews/*) or tasks that are left out, with commas.",
        metavar="A,B",
        rich_help_panel=DATA,
    ),
]
CodecOption = Annotated[
    str | None,
    typer.Option(
        help="One codec, or one a task: avif; rgb=avif,depth=jxl; shared-latent,label=png; or a "
        "codec file: my.safetensors. auto tries all on samples of the data and takes the cheapest "
        "at equal distortion. Default: av1 for images, normals and depth, label-context for label "
        "maps, exact for what no image format holds.",
        metavar="SPEC",
        rich_help_panel=BITS,
    ),
]
QualityOption = Annotated[
    str,
    typer.Option(
        help="1 (smallest) to 100 (best), for all or by task: 60 or rgb=60,depth=80. What tasks "
        "share has one too: shared=70. Label maps are always lossless.",
        metavar="Q",
        rich_help_panel=BITS,
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        help="Instead of a quality, what each sample is to reach in the fewest bytes: rgb=38dB or "
        "0.98msssim; depth=0.5% (AbsRel) or 2cm (RMSE); normal=1deg.",
        metavar="T",
        rich_help_panel=BITS,
    ),
]
MaxErrorOption = Annotated[
    str | None,
    typer.Option(
        help="Largest error of any valid pixel, guaranteed by a second stream: depth=1%, "
        "depth=5mm; images in counts: gray=2. Without a codec for the task, the cheapest one "
        "below it is found by trying.",
        metavar="E",
        rich_help_panel=BITS,
    ),
]
AutoSamplesOption = Annotated[
    int,
    typer.Option(
        help="Samples that codecs are tried on, where dsc chooses.",
        min=1,
        metavar="N",
        rich_help_panel=BITS,
    ),
]
ShardSizeOption = Annotated[
    int | None,
    typer.Option(
        help="Samples a shard, the unit of work and of resuming. Default: from the data.",
        metavar="N",
        rich_help_panel=BITS,
    ),
]
PackOption = Annotated[
    int | None,
    typer.Option(
        help="Samples a pack (a tar member). Default: packs of 64 to 256 KiB. 1 gives one "
        "member a sample.",
        metavar="P",
        rich_help_panel=BITS,
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        help="Worker processes on this machine, by Ray; 0 works in this process.",
        min=0,
        metavar="N",
        rich_help_panel=RUN,
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Address of a Ray cluster to work on.", metavar="RAY", rich_help_panel=RUN),
]
OnErrorOption = Annotated[
    str,
    typer.Option(
        help="fail: a sample that cannot be read stops its shard. skip: it is left out and "
        "listed, and the exit code is 1.",
        metavar="fail|skip",
        rich_help_panel=RUN,
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace what is at --out.", rich_help_panel=RUN),
]
