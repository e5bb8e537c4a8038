"""The options of ``dsc replay``, in groups: which images, which memory, which learner, where.

A group is a dataclass whose fields are options, shown in one panel (`takes_options`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from dsc._cli.options import OptionGroup

DATA, MEMORY, LEARNING, RUN = "Data", "Memory", "Learning", "Where it runs"


def given(**values: Any) -> dict[str, Any]:
    """Return what was given, by name."""
    return {name: value for name, value in values.items() if value is not None}


OutOption = Annotated[
    Path, typer.Option(help="Directory for results; what is there is kept.", metavar="DIR")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(help="JSON file of a sweep; other options replace what it says.", metavar="FILE"),
]
DeviceOption = Annotated[
    str, typer.Option(help="cpu or cuda.", metavar="NAME", rich_help_panel=RUN)
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        help="CPU threads of a run. Default: all; with --workers or --address, 1.",
        min=1,
        metavar="N",
        rich_help_panel=RUN,
    ),
]


@dataclass(frozen=True)
class DataOptions(OptionGroup):
    """Which images, and in which increments they come."""

    panel: ClassVar[str] = DATA
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder or zip of <class>/<file>, a folder with train and test (or val) of these, "
            "or an archive with rgb and a class.",
            metavar="PATH",
        ),
    ] = None
    test: Annotated[
        str | None,
        typer.Option(
            help="Test images. Default: beside --data, else every sixth image of a class.",
            metavar="PATH",
        ),
    ] = None
    classes: Annotated[
        int | None, typer.Option(help="Only the first N classes, by name.", min=1, metavar="N")
    ] = None
    per_class: Annotated[
        int | None, typer.Option(help="At most N training images a class.", min=1, metavar="N")
    ] = None
    image_size: Annotated[
        int | None, typer.Option(help="Resize all images to this side.", min=8, metavar="PIXELS")
    ] = None
    increment: Annotated[
        int | None, typer.Option(help="New classes a step.", min=1, metavar="N")
    ] = None
    initial: Annotated[
        int | None,
        typer.Option(help="Classes of the first step. Default: --increment.", min=1, metavar="N"),
    ] = None
    order_seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the class order; 1993 is the literature's. Default: the run's seed.",
            min=0,
            metavar="N",
        ),
    ] = None


@dataclass(frozen=True)
class MemoryOptions(OptionGroup):
    """How much of the past is kept, and how."""

    panel: ClassVar[str] = MEMORY
    budget: Annotated[
        str | None,
        typer.Option(
            help="Bytes for all that is kept of the past, with commas for several. Default: 500kB.",
            metavar="SIZES",
        ),
    ] = None
    codec: Annotated[
        str | None,
        typer.Option(
            help="How exemplars are kept, with commas: raw, png, jpeg, webp, jpeg-bare, webp-bare, "
            "av1-small, ...; NAME:QUALITY for one quality; with a frozen --backbone also "
            "embedding:40, or embedding:40+10%av1-small:20 for one in ten as a picture. Default: "
            "av1-small up to 256 pixels, else webp.",
            metavar="NAMES",
        ),
    ] = None
    quality: Annotated[
        str | None,
        typer.Option(
            help="1 to 100, with commas for several; for codecs named without one. Default: 50.",
            metavar="N,N",
        ),
    ] = None
    policy: Annotated[
        str | None,
        typer.Option(
            help="Which exemplars stay: class-balanced, reservoir, herding. "
            "Default: the learner's.",
            metavar="NAME",
        ),
    ] = None
    preprocess: Annotated[
        bool | None,
        typer.Option(
            "--preprocess/--no-preprocess",
            help="Pass new and test images through the codec too, so that all are compressed "
            "alike.",
        ),
    ] = None
    herd_decoded: Annotated[
        bool | None,
        typer.Option(
            "--herd-decoded/--herd-originals",
            help="Herd by the features of decoded images (MRDC). Default: of the originals "
            "(iCaRL).",
        ),
    ] = None


@dataclass(frozen=True)
class LearningOptions(OptionGroup):
    """Who learns, and for how long."""

    panel: ClassVar[str] = LEARNING
    learner: Annotated[
        str | None,
        typer.Option(
            help="er, er-ace, derpp, icarl, gdumb, wa; without exemplars, on a backbone: "
            "simple-cil, ridge, ranpac, cl-lora, adapted-ridge, sequential-lora. With commas for "
            "several. Default: er-ace.",
            metavar="NAMES",
        ),
    ] = None
    seeds: Annotated[
        str | None, typer.Option(help="With commas. Default: 0,1,2.", metavar="N,N")
    ] = None
    network: Annotated[
        str | None,
        typer.Option(
            help="resnet8, resnet8-early, resnet8-wide, resnet20, resnet32, resnet18. "
            "Default: resnet8.",
            metavar="NAME",
        ),
    ] = None
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Pretrained network, instead of --network: efficientnet-lite0, timm:NAME, or one "
            "of an installed package.",
            metavar="NAME",
        ),
    ] = None
    backbone_side: Annotated[
        int | None,
        typer.Option(
            help="Pixels of the square that the backbone sees. Default: 128.",
            min=8,
            metavar="PIXELS",
        ),
    ] = None
    tune: Annotated[
        str | None,
        typer.Option(
            help="Train a head on the backbone's features, or the backbone too. Default: frozen.",
            metavar="frozen|full",
        ),
    ] = None
    rank: Annotated[
        int | None,
        typer.Option(help="Of CL-LoRA's adapters. Default: 8.", min=1, metavar="N"),
    ] = None
    adapter_lr: Annotated[
        float | None,
        typer.Option(help="Learning rate of adapters. Default: 0.001.", min=0, metavar="X"),
    ] = None
    without: Annotated[
        str | None,
        typer.Option(
            help="Parts that CL-LoRA is to do without: shared, specific, distillation, "
            "reassignment, block-weights, orthogonality; with commas for several.",
            metavar="NAMES",
        ),
    ] = None
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over a step's images. Default: 10.", min=1, metavar="N"),
    ] = None
    steps: Annotated[
        int | None, typer.Option(help="Optimiser steps of gdumb. Default: 400.", min=1, metavar="N")
    ] = None
    batch: Annotated[
        int | None, typer.Option(help="Images an optimiser step. Default: 32.", min=2, metavar="N")
    ] = None
    lr: Annotated[
        float | None, typer.Option(help="Learning rate of SGD. Default: 0.05.", min=0, metavar="X")
    ] = None
    cutmix: Annotated[
        float | None,
        typer.Option(
            help="Share of GDumb's batches whose images are mixed. Default: 0.",
            min=0,
            max=1,
            metavar="SHARE",
        ),
    ] = None
    evaluate: Annotated[
        str | None,
        typer.Option(
            help="Measure after every step, or after the last one. Default: every.",
            metavar="every|last",
        ),
    ] = None


@dataclass(frozen=True)
class PlaceOptions(OptionGroup):
    """Where runs are computed; none of it changes their results."""

    panel: ClassVar[str] = RUN
    device: DeviceOption = "cpu"
    threads: ThreadsOption = None
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Directory for the backbone's features, computed once; other sweeps may share it. "
            "Default: features in --out.",
            metavar="DIR",
        ),
    ] = None
    workers: Annotated[
        int,
        typer.Option(
            help="Runs at a time on this machine, by Ray; 0 computes one after the other in this "
            "process.",
            min=0,
            metavar="N",
        ),
    ] = 0
    address: Annotated[
        str | None,
        typer.Option(
            help="Address of a Ray cluster to compute on; its machines must share data and --out.",
            metavar="RAY",
        ),
    ] = None
    gpus_per_run: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-run",
            help="Share of a GPU for each run on Ray: 0.5 puts two on one. Default: 1.",
            metavar="X",
        ),
    ] = None
