"""``dsc replay select``: which codec and quality a memory should have, without a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from dsc._cli.options import JsonOption, OptionGroup, formerly, takes_options
from dsc._cli.printing.output import emit, say, show_table
from dsc._cli.printing.progress import progress
from dsc._cli.printing.text import seconds_text, words
from dsc._cli.replay.options import (
    DataOptions,
    DeviceOption,
    ThreadsOption,
    given,
)

if TYPE_CHECKING:
    from dsc._replay.buffer.kept import ExemplarCodec
    from dsc._replay.selection import CodecSelection, ScoredCandidate

MEMORY, JUDGING = "Memory", "Judging"


@dataclass(frozen=True)
class CandidateOptions(OptionGroup):
    """Which codecs and qualities are compared, and under which budget."""

    panel: ClassVar[str] = MEMORY
    budget: Annotated[
        str, typer.Option(help="Bytes for all that is kept of the past.", metavar="SIZE")
    ] = "500kB"
    codec: Annotated[
        str | None,
        typer.Option(
            help="Candidates, with commas: jpeg-bare:10, webp:50, png, my.safetensors:40; with "
            "--backbone also embedding:40 and embedding:40+10%av1-small:20. Default: a ladder.",
            metavar="NAME:QUALITY,...",
        ),
    ] = None
    count_decoder: Annotated[
        bool, typer.Option(help="Count the weights of learned codecs against the budget.")
    ] = False


@dataclass(frozen=True)
class JudgingOptions(OptionGroup):
    """By which proxies they are judged, and with how much work."""

    panel: ClassVar[str] = JUDGING
    proxy: Annotated[
        str,
        typer.Option(
            help="drift, probe, volume; with commas for several: the first one picks.",
            metavar="NAMES",
        ),
    ] = "drift"
    network: Annotated[
        str | None,
        typer.Option(help="As for replay run. Default: resnet8-early.", metavar="NAME"),
    ] = None
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Frozen network, instead of --network: its embeddings may be kept.",
            metavar="NAME",
        ),
    ] = None
    backbone_side: Annotated[
        int | None,
        typer.Option(
            help="Pixels of the square that it sees. Default: 128.", min=8, metavar="PIXELS"
        ),
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the backbone's features, as for replay run.", metavar="DIR"
        ),
    ] = None
    steps: Annotated[
        int | None,
        typer.Option(help="Optimiser steps of each network. Default: 150.", min=1, metavar="N"),
    ] = None
    rounds: Annotated[
        int,
        typer.Option(
            help="Rounds of the probe; each goes on with the best third.", min=1, metavar="N"
        ),
    ] = 3
    beta: Annotated[
        float | None,
        typer.Option(
            help="Of drift: log N that a drift of 1 is worth. Default: 20. With --backbone: 2.",
            min=0,
            metavar="X",
        ),
    ] = None
    epsilon: Annotated[
        float | None,
        typer.Option(
            help="Of volume: how far from 1 its ratio may be. Default: 0.5.", min=0, metavar="X"
        ),
    ] = None
    seed: Annotated[int, typer.Option(help="Of class order and judging.", min=0, metavar="N")] = 0


@formerly(image_size="--size")
@takes_options
def select(
    data: DataOptions,
    candidates: CandidateOptions,
    judging: JudgingOptions,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    json_: JsonOption = False,
) -> None:
    """Choose the codec and quality of a memory from the first step's classes, without a sweep.

    Each candidate's exemplars are packed under the first step's part of the
    budget, so that each class has as many as it will have at the end.
    [bold]drift[/bold] weighs how many fit against how far compression moves their
    features. [bold]probe[/bold] trains short networks on them and tests these on training
    images held out, in rounds, the best third going on; it takes about ten
    times as long. [bold]volume[/bold] takes the most that are as diverse as the originals
    (MRDC). Test images are never looked at. Without --increment, all classes
    are the first step's.

    [bold]Examples[/bold]

      dsc replay select --data cifar100 --increment 10 --budget 500kB
      # these candidates alone, by all proxies
      dsc replay select --data cifar100 --increment 10 --codec webp:10,webp:50,png --proxy drift,probe,volume
      # by training, with the network that will be used
      dsc replay select --data cifar100 --increment 10 --proxy probe --network resnet32 --steps 500
      # pictures, embeddings of a frozen network, or some of both
      dsc replay select --data cifar100 --increment 10 --backbone efficientnet-lite0 --budget 50kB
    """  # noqa: E501 - an example is one line
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    found = _selected(data, candidates, judging, device)
    commands = _next(
        found,
        given(
            **asdict(data),
            budget=candidates.budget,
            network=judging.network,
            backbone=judging.backbone,
            backbone_side=judging.backbone_side,
            cache=judging.cache,
        )
        | given(device=None if device == "cpu" else device, threads=threads),
    )
    value = {
        "pick": str(found.pick),
        "picks": {name: str(one) for name, one in found.picks.items()},
        "budget": found.budget,
        "classes": found.classes,
        "first_classes": found.first_classes,
        "first_budget": found.first_budget,
        "candidates": [asdict(row) | {"candidate": str(row.candidate)} for row in found.rows],
        "costs": {name: asdict(cost) for name, cost in found.costs.items()},
        "next": commands,
    }
    emit(json_, value, lambda: _show(found, commands))


def _selected(
    data: DataOptions, candidates: CandidateOptions, judging: JudgingOptions, device: str
) -> "CodecSelection":
    """Load the first step's images and select."""
    from dsc._replay.scenario.images import load_split
    from dsc._replay.scenario.scenario import ClassIncremental
    from dsc._replay.selection import select_codec
    from dsc._replay.selection.judge import DEFAULT_RECIPE
    from dsc.errors import UsageError

    if data.data is None:
        raise UsageError("which images? Give --data, a folder or zip of <class>/<file>")
    train, _ = load_split(
        data.data, data.test, classes=data.classes, per_class=data.per_class, size=data.image_size
    )
    order = judging.seed if data.order_seed is None else data.order_seed
    increment = data.increment or len(train.classes)
    first = ClassIncremental(train, increment, data.initial, seed=order)[0]
    if judging.network is not None and judging.backbone is not None:
        raise UsageError("--network and --backbone are two networks: give one of them")
    recipe = given(
        network=judging.network, steps=judging.steps, backbone=judging.backbone,
        backbone_side=judging.backbone_side,
    )  # fmt: skip
    options = given(beta=judging.beta, epsilon=judging.epsilon, candidates=words(candidates.codec))
    with progress("select", "networks") as report:
        return select_codec(
            first.images, first.labels, candidates.budget, proxy=words(judging.proxy) or (),
            classes=len(train.classes), count_decoder=candidates.count_decoder,
            recipe=DEFAULT_RECIPE.model_copy(update=recipe), rounds=judging.rounds,
            seed=judging.seed, device=device, features=judging.cache, report=report, **options,
        )  # fmt: skip


def _next(found: "CodecSelection", options: Mapping[str, Any]) -> dict[str, str]:
    """Spell what uses the pick: a command, and a line of Python."""
    from shlex import quote

    spelled = [f"--{name.replace('_', '-')} {quote(str(to))}" for name, to in options.items()]
    if "increment" not in options:
        spelled.append("--increment N")
    pick = found.pick
    run = f"dsc replay run {' '.join(spelled)} --codec {quote(str(pick))} --out results"
    return {"run": run, "python": f"ReplayBuffer('memory.h5', {_arguments(pick, options)})"}


def _arguments(pick: "ExemplarCodec", options: Mapping[str, Any]) -> str:
    """Spell the arguments of a buffer that keeps the pick."""
    values: dict[str, Any] = {"budget": options["budget"], "codec": pick.codec}
    if ":" in str(pick):
        values["quality"] = pick.quality
    if pick.has_embeddings:
        values |= {"backbone": options["backbone"], "side": options.get("backbone_side", 128)}
    if pick.pictures is not None:
        values["codec"] = f"rgb={pick.pictures.codec}"
        values["quality"] = f"rgb={pick.pictures.quality},embedding={pick.quality}"
        values["pictures"] = pick.pictures.share
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _show(found: "CodecSelection", commands: Mapping[str, str]) -> None:
    proxies = list(found.picks)
    say(
        f"{found.first_classes} of {found.classes} classes, {found.first_budget:,} of "
        f"{found.budget:,} bytes"
    )
    columns = ["candidate", "bytes an image", "exemplars"]
    columns += ["held out, %"] if "probe" in proxies else []
    columns += [f"{name}{of}" for name in proxies for of in ("", " rank")]
    show_table(columns, [_line(row, proxies) for row in found.rows])
    show_table(
        ["proxy", "pick", "time", "CPU", "images encoded", "looked at", "trained on"],
        [
            [name, str(found.picks[name]), seconds_text(cost.wall_s), seconds_text(cost.cpu_s),
             f"{cost.encoded:,}", f"{cost.forward:,}", f"{cost.trained:,}"]
            for name, cost in found.costs.items()
        ],
    )  # fmt: skip
    say(f"pick: {found.pick}\n  {commands['run']}\n  {commands['python']}")


def _line(row: "ScoredCandidate", proxies: Sequence[str]) -> list[str]:
    size = f"{row.nbytes / row.exemplars:,.1f}" if row.exemplars else "too many"
    cells = [str(row.candidate), size, f"{row.exemplars:,}"]
    if "probe" in proxies:
        cells.append("" if row.accuracy is None else f"{row.accuracy:.1f}")
    for name in proxies:
        if row.fits:
            cells += [f"{row.scores[name]:.3f}", str(row.ranks[name])]
        else:
            cells += ["not one a class", ""]
    return cells
