"""The options of ``dsc train``, as one value: each field is an option, its help and its default."""

from dataclasses import dataclass
from typing import Annotated

import typer

from dsc._cli.options import OptionGroup

DATA = "Data"
AIM = "What is trained for"
STEPS = "Steps"
RUN = "Running"


@dataclass(frozen=True)
class TrainOptions(OptionGroup):
    """What a user asked of ``dsc train``; defaults are those of `dsc._training.config`."""

    kind: Annotated[
        str,
        typer.Argument(
            help="Network: chained, shared-latent, independent or layered; a teacher of layered: "
            "bound; for comparisons single-task, mixed-latent, disjoint-latent, "
            "shared-latent-2023.",
            metavar="KIND",
        ),
    ]
    out: Annotated[
        str, typer.Option(help="Directory of checkpoints, logs and the codec file.", metavar="DIR")
    ]
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="Data set, [LAYOUT:]PLACE[,option=value ...]; may be repeated: "
            "nyuv2:DIR,share=0.4, sample:1000, a directory of images, an archive.",
            metavar="DATA",
            rich_help_panel=DATA,
        ),
    ] = None
    source: Annotated[
        str | None,
        typer.Option(
            help="Layout of one more data set, which lies at --root.",
            metavar="SOURCE",
            rich_help_panel=DATA,
        ),
    ] = None
    root: Annotated[
        str | None,
        typer.Option(help="Where the data of --source lie.", metavar="DIR", rich_help_panel=DATA),
    ] = None
    tasks: Annotated[
        str | None,
        typer.Option(
            help="Tasks, with commas; aliases such as depth and normals work. Default: all that "
            "networks code.",
            metavar="A,B",
            rich_help_panel=DATA,
        ),
    ] = None
    cache: Annotated[
        int,
        typer.Option(
            help="Memory for decoded samples, MB; data that need more are visited in a moving "
            "window.",
            min=1,
            metavar="MB",
            rich_help_panel=DATA,
        ),
    ] = 2000
    on_error: Annotated[
        str,
        typer.Option(
            help="Samples that cannot be trained on (damaged, no valid depth): skip and count, or "
            "fail.",
            metavar="fail|skip",
            rich_help_panel=DATA,
        ),
    ] = "skip"
    model_size: Annotated[
        str,
        typer.Option(
            help="How large the network is: tiny, fast or base.",
            metavar="SIZE",
            rich_help_panel=AIM,
        ),
    ] = "base"
    quality: Annotated[
        int | None,
        typer.Option(
            help="Train for one quality, 1 to 100. Default: a new one for every sample, which "
            "makes one codec for all rates.",
            min=1,
            max=100,
            metavar="Q",
            rich_help_panel=AIM,
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option(
            help="Factor of the distortion by task: rgb=1,depth=2.",
            metavar="TASK=W",
            rich_help_panel=AIM,
        ),
    ] = None
    lambda_: Annotated[
        str | None,
        typer.Option(
            "--lambda",
            help="λ of the networks for comparison, which code at one rate: 0.01, or by task "
            "rgb=0.01,depth=0.1.",
            metavar="L",
            rich_help_panel=AIM,
        ),
    ] = None
    balance: Annotated[
        str,
        typer.Option(
            help="fixed, uncertainty (Kendall), balanced-rd or balanced-rd-exact.",
            metavar="HOW",
            rich_help_panel=AIM,
        ),
    ] = "fixed"
    task_dropout: Annotated[
        bool | None,
        typer.Option(
            "--task-dropout/--no-task-dropout",
            help="Code random subsets of the tasks, so that each can be had alone. Default: yes, "
            "but for the networks for comparison.",
            rich_help_panel=AIM,
        ),
    ] = None
    prefix_share: Annotated[
        float | None,
        typer.Option(
            help="Of layered: part of the samples that are cut after a random scale, for better "
            "coarse versions, 0 to 1. Default: 0.2.",
            metavar="P",
            rich_help_panel=AIM,
        ),
    ] = None
    steps: Annotated[
        int | None,
        typer.Option(help="Length of the run.", min=1, metavar="N", rich_help_panel=STEPS),
    ] = None
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Length of the run; turned into steps by timing some.",
            metavar="M",
            rich_help_panel=STEPS,
        ),
    ] = None
    batch: Annotated[
        int, typer.Option(help="Crops a step.", min=1, metavar="B", rich_help_panel=STEPS)
    ] = 8
    crop: Annotated[
        int,
        typer.Option(
            help="Side of a crop, a multiple of 64.", min=64, metavar="PX", rich_help_panel=STEPS
        ),
    ] = 128
    large_crops: Annotated[
        bool,
        typer.Option(
            "--large-crops/--no-large-crops",
            help="Twice the side in some of the last steps.",
            rich_help_panel=STEPS,
        ),
    ] = True
    lr: Annotated[
        float,
        typer.Option(
            "--lr",
            help="Peak learning rate (Adam); warm-up, then a cosine to 2 % of it.",
            metavar="LR",
            rich_help_panel=STEPS,
        ),
    ] = 0.001
    seed: Annotated[int, typer.Option(min=0, metavar="S", rich_help_panel=STEPS)] = 0
    average: Annotated[
        str,
        typer.Option(
            help="Average of the weights that is exported: ema, sma or none.",
            metavar="HOW",
            rich_help_panel=STEPS,
        ),
    ] = "ema"
    init: Annotated[
        str,
        typer.Option(
            help="klt: start as the KLT (PCA) of training crops; random.",
            metavar="klt|random",
            rich_help_panel=STEPS,
        ),
    ] = "klt"
    start: Annotated[
        str | None,
        typer.Option(
            help="Start from the averaged weights of another run: its directory or checkpoint. "
            "With --freeze-decoder, a codec file.",
            metavar="RUN",
            rich_help_panel=STEPS,
        ),
    ] = None
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Of layered: a run of bound (or layered), its directory or checkpoint, whose "
            "pictures and features are imitated until the last third of the steps.",
            metavar="RUN",
            rich_help_panel=STEPS,
        ),
    ] = None
    freeze_decoder: Annotated[
        bool,
        typer.Option(
            "--freeze-decoder",
            help="Train only the encoder of a codec file: --start my.safetensors, or by default "
            "the one that comes with dsc. What was ever encoded decodes bit by bit as before.",
            rich_help_panel=STEPS,
        ),
    ] = False
    bfloat16: Annotated[
        bool,
        typer.Option(
            "--bfloat16/--float32",
            help="Transforms in bfloat16: faster on CPUs and GPUs that have it.",
            rich_help_panel=STEPS,
        ),
    ] = False
    device: Annotated[
        str,
        typer.Option(
            help="auto takes a GPU where there is one.",
            metavar="auto|cpu|cuda",
            rich_help_panel=RUN,
        ),
    ] = "auto"
    threads: Annotated[
        int, typer.Option(help="Threads of the network.", min=1, metavar="N", rich_help_panel=RUN)
    ] = 1
    loaders: Annotated[
        int,
        typer.Option(
            help="Threads that prepare batches; 0 for none.",
            min=0,
            metavar="N",
            rich_help_panel=RUN,
        ),
    ] = 1
    log_every: Annotated[
        int, typer.Option(help="Steps a row of the log.", min=1, metavar="N", rich_help_panel=RUN)
    ] = 50
    evaluate_every: Annotated[
        int,
        typer.Option(
            help="Steps between evaluations on held-out samples; 0: at the end only.",
            min=0,
            metavar="N",
            rich_help_panel=RUN,
        ),
    ] = 0
    checkpoint_every: Annotated[
        float,
        typer.Option(
            help="Minutes between checkpoints.", min=0.01, metavar="M", rich_help_panel=RUN
        ),
    ] = 5.0
    jobs: Annotated[
        str,
        typer.Option(
            "--run-on",
            help="Train in this process, or in a Ray actor.",
            metavar="here|ray",
            rich_help_panel=RUN,
        ),
    ] = "here"
    address: Annotated[
        str | None,
        typer.Option(
            help="Address of a Ray cluster to train on.", metavar="RAY", rich_help_panel=RUN
        ),
    ] = None
    export_only: Annotated[
        bool,
        typer.Option(
            "--export-only",
            help="Write the codec file of the newest checkpoint, and train no further.",
            rich_help_panel=RUN,
        ),
    ] = False
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Begin anew, whatever is at --out.", rich_help_panel=RUN),
    ] = False
