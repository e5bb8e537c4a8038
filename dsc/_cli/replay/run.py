"""``dsc replay``: class-incremental learning with a memory of so many bytes."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsc._cli.options import JsonOption, formerly, takes_options
from dsc._cli.printing.output import emit, note, say, show_table
from dsc._cli.printing.progress import progress
from dsc._cli.printing.text import words
from dsc._cli.replay.options import (
    ConfigOption,
    DataOptions,
    LearningOptions,
    MemoryOptions,
    OutOption,
    PlaceOptions,
    given,
)

if TYPE_CHECKING:
    from dsc._replay.experiment.plan import Sweep
    from dsc._replay.experiment.result import ResultRow

DEFAULTS: dict[str, Any] = {
    "learners": ["er-ace"],
    "budgets": ["500kB"],
    "codecs": ["default"],
    "seeds": [0, 1, 2],
}
QUALITY = "50"


@formerly(image_size="--size")
@takes_options
def run(
    out: OutOption,
    data: DataOptions,
    memory: MemoryOptions,
    learning: LearningOptions,
    place: PlaceOptions,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Learn classes step by step, keeping exemplars of old ones within a budget of bytes.

    Every combination of learner, budget, codec and seed is one run. Runs of
    one seed see the same classes in the same order, so their differences are
    taken in pairs, to the first codec named. Writes results.csv, steps.csv,
    results.jsonl, each run's memory (runs/*.h5), and plots where matplotlib
    is installed. Stopped at any moment, the same command goes on exactly, in
    the middle of a run too; finished runs are not computed again. With
    --workers or --address, runs are computed side by side by Ray, and several
    commands may share one --out. Where TensorBoard is installed, DIR/tensorboard
    has losses and accuracies.

    [bold]Examples[/bold]

      # steps of ten classes; WebP at quality 50 beside raw pixels
      dsc replay run --data cifar100 --increment 10 --codec raw,webp:50 --out results
      # what a byte buys: GDumb judges the memory alone
      dsc replay run --data cifar100 --increment 20 --learner gdumb --evaluate last --budget 50kB,200kB,1MB --codec raw,jpeg,webp --quality 10,50 --out bytes
      # half of the classes first, in the literature's order, on a GPU
      dsc replay run --data cifar100 --initial 50 --increment 10 --order-seed 1993 --learner icarl,wa --network resnet32 --epochs 170 --batch 128 --lr 0.1 --budget 6.144MB --device cuda --out b50
      # on a pretrained network: ridge regression without exemplars, beside ER with them
      dsc replay run --data cifar100 --increment 10 --backbone efficientnet-lite0 --learner ridge,er --budget 50kB --out frozen
      # two runs on each GPU of this machine at a time
      dsc replay run --config sweep.json --workers 16 --device cuda --gpus-per-run 0.5 --out results
      # a sweep that stands in a file, with another budget
      dsc replay run --config sweep.json --budget 1MB --out results
    """  # noqa: E501 - an example is one line
    from dsc._jobs.replay.sweep import sweep
    from dsc._replay.experiment.sweep import write_tables

    _check_network(learning)
    plan = _plan(config, _asked(data, memory, learning))
    _check_device(place.device, here=place.address is None)
    with progress("replay", "runs") as report:
        results = sweep(plan, out, **asdict(place), report=report, notify=note)
    files = [*write_tables(results, out), *_drawn(results, out)]
    _report(results, files, plan, json_)


def _asked(data: DataOptions, memory: MemoryOptions, learning: LearningOptions) -> dict[str, Any]:
    """Return what of a sweep was asked for, by the names of its fields."""
    recipe = given(
        network=learning.network, epochs=learning.epochs, steps=learning.steps,
        batch=learning.batch, lr=learning.lr, cutmix=learning.cutmix, backbone=learning.backbone,
        backbone_side=learning.backbone_side, tune=learning.tune, rank=learning.rank,
        adapter_lr=learning.adapter_lr, without=words(learning.without),
    )  # fmt: skip
    asked = {
        "data": given(
            place=data.data, test=data.test, classes=data.classes, per_class=data.per_class,
            size=data.image_size,
        ),
        "scenario": given(
            increment=data.increment, initial_increment=data.initial, order_seed=data.order_seed
        ),
        "learners": words(learning.learner),
        "budgets": words(memory.budget),
        "codecs": _codecs(memory.codec, memory.quality),
        "policy": memory.policy,
        "preprocess": memory.preprocess,
        "herd_decoded": memory.herd_decoded,
        "recipe": recipe | ({} if learning.epochs is None else {"first_epochs": None}),
        "evaluate": learning.evaluate,
        "seeds": _numbers("seeds", learning.seeds),
    }  # fmt: skip
    return {name: value for name, value in asked.items() if value not in (None, {}, [])}


def _numbers(option: str, text: str | None) -> list[int] | None:
    from dsc.errors import UsageError

    try:
        return None if text is None else [int(word) for word in words(text) or []]
    except ValueError:
        raise UsageError(f"--{option} {text}: write whole numbers with commas: 0,1,2") from None


def _codecs(codec: str | None, quality: str | None) -> list[str] | None:
    """Return each codec that has no quality of its own, and needs one, all those of --quality."""
    from dsc._codecs.registry import LOSSLESS
    from dsc._replay.buffer.kept import split_quality

    if codec is None and quality is None:
        return None
    qualities = _numbers("quality", quality) or [int(QUALITY)]
    found: list[str] = []
    for name in words(codec) or DEFAULTS["codecs"]:
        fixed = bool(split_quality(name)[1]) or name in LOSSLESS
        found += [name] if fixed else [f"{name}:{value}" for value in qualities]
    return found


def _plan(config: Path | None, asked: dict[str, Any]) -> "Sweep":
    from dsc._replay.experiment.plan import Sweep
    from dsc.errors import UsageError

    if config is not None:
        return Sweep.read(config, asked)
    if "place" not in asked.get("data", {}):
        raise UsageError("which images? Give --data, a folder or zip of <class>/<file>")
    if "increment" not in asked.get("scenario", {}):
        raise UsageError("how many new classes a step? Give --increment, for example 10")
    return Sweep.make(**(DEFAULTS | asked))


def _check_network(learning: LearningOptions) -> None:
    """Refuse two networks."""
    from dsc.errors import UsageError

    if learning.network is not None and learning.backbone is not None:
        raise UsageError(
            f"--network {learning.network} and --backbone {learning.backbone} are two networks: "
            "give one of them"
        )


def _check_device(device: str, here: bool) -> None:
    """Refuse a device that is none, or that the runs of this machine cannot have."""
    import torch

    from dsc.errors import UsageError

    missing = device == "cuda" and here and not torch.cuda.is_available()
    if device not in ("cpu", "cuda") or missing:
        raise UsageError(f"--device {device}: there is no such device here; use cpu")


def _drawn(results: "list[ResultRow]", out: Path) -> list[Path]:
    from dsc._replay.experiment.plots import draw

    try:
        return draw(results, out)
    except ModuleNotFoundError:
        note("no plots: matplotlib is not installed (pip install 'dsc[bench]')")
        return []


def _report(results: "list[ResultRow]", files: list[Path], plan: "Sweep", as_json: bool) -> None:
    from dsc._replay.experiment.summary import first_arm, summarise, table

    rows = summarise(results)
    baseline = first_arm(row.arm for row in rows)
    value = {
        "sweep": plan.model_dump(mode="json"),
        "baseline": baseline,
        "rows": [row.to_json() for row in rows],
        "files": [str(path) for path in files],
    }

    def show() -> None:
        show_table(*table(rows, baseline))
        say("\n".join(str(path) for path in files))

    emit(as_json, value, show)
