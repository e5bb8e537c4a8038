"""The options of ``dsc train``."""

from typing import Annotated

import typer

DATA = "Data"
AIM = "What is trained for"
STEPS = "Steps"
RUN = "Running"

KindArgument = Annotated[
    str,
    typer.Argument(
        help="Network: chained, shared-latent or independent; for comparisons single-task, "
        "mixed-latent, disjoint-latent, shared-latent-2023.",
        metavar="KIND",
    ),
]
OutOption = Annotated[
    str, typer.Option(help="Directory of checkpoints, logs and the codec file.", metavar="DIR")
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        help="Data set, [LAYOUT:]PLACE[,option=value ...]; may be repeated: nyuv2:DIR,share=0.4, "
        "sample:1000, a directory of images, an archive.",
        metavar="DATA",
        rich_help_panel=DATA,
    ),
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        help="Layout of one more data set, which lies at --root.",
        metavar="SOURCE",
        rich_help_panel=DATA,
    ),
]
RootOption = Annotated[
    str | None,
    typer.Option(help="Where the data of --source lie.", metavar="DIR", rich_help_panel=DATA),
]
TasksOption = Annotated[
    str | None,
    typer.Option(
        help="Tasks, with commas; aliases such as depth and normals work. Default: all that "
        "networks code.",
        metavar="A,B",
        rich_help_panel=DATA,
    ),
]
CacheOption = Annotated[
    int,
    typer.Option(
        help="Memory for decoded samples, MB; data that need more are visited in a moving window.",
        min=1,
        metavar="MB",
        rich_help_panel=DATA,
    ),
]
OnErrorOption = Annotated[
    str,
    typer.Option(
        help="Samples that cannot be trained on (damaged, no valid depth): skip and count, or "
        "fail.",
        metavar="fail|skip",
        rich_help_panel=DATA,
    ),
]
SizeOption = Annotated[
    str,
    typer.Option(help="tiny, fast or base.", metavar="SIZE", rich_help_panel=AIM),
]
QualityOption = Annotated[
    int | None,
    typer.Option(
        help="Train for one quality, 1 to 100. Default: a new one for every sample, which makes "
        "one codec for all rates.",
        min=1,
        max=100,
        metavar="Q",
        rich_help_panel=AIM,
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        help="Factor of the distortion by task: rgb=1,depth=2.",
        metavar="TASK=W",
        rich_help_panel=AIM,
    ),
]
LambdaOption = Annotated[
    str | None,
    typer.Option(
        "--lambda",
        help="λ of the networks for comparison, which code at one rate: 0.01, or by task "
        "rgb=0.01,depth=0.1.",
        metavar="L",
        rich_help_panel=AIM,
    ),
]
BalanceOption = Annotated[
    str,
    typer.Option(
        help="fixed, uncertainty (Kendall), balanced-rd or balanced-rd-exact.",
        metavar="HOW",
        rich_help_panel=AIM,
    ),
]
DropoutOption = Annotated[
    bool | None,
    typer.Option(
        "--task-dropout/--no-task-dropout",
        help="Code random subsets of the tasks, so that each can be had alone. Default: yes, but "
        "for the networks for comparison.",
        rich_help_panel=AIM,
    ),
]
StepsOption = Annotated[
    int | None,
    typer.Option(help="Length of the run.", min=1, metavar="N", rich_help_panel=STEPS),
]
MinutesOption = Annotated[
    float | None,
    typer.Option(
        help="Length of the run; turned into steps by timing some.",
        metavar="M",
        rich_help_panel=STEPS,
    ),
]
BatchOption = Annotated[
    int, typer.Option(help="Crops a step.", min=1, metavar="B", rich_help_panel=STEPS)
]
CropOption = Annotated[
    int,
    typer.Option(
        help="Side of a crop, a multiple of 64.", min=64, metavar="PX", rich_help_panel=STEPS
    ),
]
LargeCropsOption = Annotated[
    bool,
    typer.Option(
        "--large-crops/--no-large-crops",
        help="Twice the side in some of the last steps.",
        rich_help_panel=STEPS,
    ),
]
RateOption = Annotated[
    float,
    typer.Option(
        "--lr",
        help="Peak learning rate (Adam); warm-up, then a cosine to 2 % of it.",
        metavar="LR",
        rich_help_panel=STEPS,
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, metavar="S", rich_help_panel=STEPS)]
AverageOption = Annotated[
    str,
    typer.Option(
        help="Average of the weights that is exported: ema, sma or none.",
        metavar="HOW",
        rich_help_panel=STEPS,
    ),
]
InitOption = Annotated[
    str,
    typer.Option(
        help="klt: start as the KLT (PCA) of training crops; random.",
        metavar="klt|random",
        rich_help_panel=STEPS,
    ),
]
StartOption = Annotated[
    str | None,
    typer.Option(
        help="Start from the averaged weights of another run: its directory or checkpoint. With "
        "--freeze-decoder, a codec file.",
        metavar="RUN",
        rich_help_panel=STEPS,
    ),
]
FreezeOption = Annotated[
    bool,
    typer.Option(
        "--freeze-decoder",
        help="Train only the encoder of a codec file: --start my.safetensors, or by default the "
        "one that comes with dsc. What was ever encoded decodes bit by bit as before.",
        rich_help_panel=STEPS,
    ),
]
PrecisionOption = Annotated[
    bool,
    typer.Option(
        "--bfloat16/--float32",
        help="Transforms in bfloat16: faster on CPUs and GPUs that have it.",
        rich_help_panel=STEPS,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        help="auto takes a GPU where there is one.",
        metavar="auto|cpu|cuda",
        rich_help_panel=RUN,
    ),
]
ThreadsOption = Annotated[
    int, typer.Option(help="Threads of the network.", min=1, metavar="N", rich_help_panel=RUN)
]
LoadersOption = Annotated[
    int,
    typer.Option(
        help="Threads that prepare batches; 0 for none.", min=0, metavar="N", rich_help_panel=RUN
    ),
]
LogOption = Annotated[
    int, typer.Option(help="Steps a row of the log.", min=1, metavar="N", rich_help_panel=RUN)
]
EvaluateOption = Annotated[
    int,
    typer.Option(
        help="Steps between evaluations on held-out samples; 0: at the end only.",
        min=0,
        metavar="N",
        rich_help_panel=RUN,
    ),
]
CheckpointOption = Annotated[
    float,
    typer.Option(help="Minutes between checkpoints.", min=0.01, metavar="M", rich_help_panel=RUN),
]
JobsOption = Annotated[
    str,
    typer.Option(help="Train in this process, or in a Ray actor.", metavar="here|ray",
                 rich_help_panel=RUN),
]  # fmt: skip
AddressOption = Annotated[
    str | None,
    typer.Option(help="Address of a Ray cluster to train on.", metavar="RAY", rich_help_panel=RUN),
]
ExportOnlyOption = Annotated[
    bool,
    typer.Option(
        "--export-only",
        help="Write the codec file of the newest checkpoint, and train no further.",
        rich_help_panel=RUN,
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Begin anew, whatever is at --out.", rich_help_panel=RUN),
]
