"""``dsc train``: data in, a codec out."""

import dataclasses
import math
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dsc._cli.options import JsonOption, formerly, takes_options
from dsc._cli.printing.output import emit, note, say, show_table
from dsc._cli.printing.text import bytes_text, seconds_text, words
from dsc._cli.train_options import TrainOptions

if TYPE_CHECKING:
    from dsc._jobs.training.run import TrainProgress, TrainReport
    from dsc._training.config import TrainConfig

LINE_EVERY_S = 10.0
ONE_RATE = 50  # what networks of one rate are told, and ignore
LISTED = 5  # skipped samples that are spelled out


@formerly(model_size="--size", jobs="--jobs")
@takes_options
def train(asked: TrainOptions, json_: JsonOption = False) -> None:
    """Train a learned codec on your own data, or go on with a run that was interrupted.

    Ends in a codec file with its self-test, checked on held-out samples. A
    run that is stopped (Ctrl-C, a crash) goes on when the same command is
    given again, and gives the same losses as one that was never stopped.

    [bold]Examples[/bold]

      # a quick look at how it goes, on views rendered on the spot
      dsc train chained --data sample:64 --steps 200 --model-size tiny --out try
      # an hour on NYUv2, photographs and rendered views
      dsc train chained --data nyuv2:nyu,share=2 --data photos --data sample:1000 --minutes 60 --out run
      # an existing archive, on a GPU
      dsc train chained --data taskonomy-dsc --steps 200000 --batch 32 --crop 256 --bfloat16 --out run
      # an encoder that learns your pictures, for the decoder that comes with dsc
      dsc train independent --freeze-decoder --data photos --steps 1000 --lr 3e-4 --out run
    """  # noqa: E501 - an example is one line
    from dsc._jobs.training.run import Pace
    from dsc._jobs.training.train import train as run
    from dsc._training.session import Machine

    places = _data(asked)
    config = _config(asked, places) if places or not asked.export_only else None
    with _shown() as tell:
        report = run(
            config,
            asked.out,
            machine=Machine(asked.device, asked.threads, asked.loaders, asked.log_every),
            pace=Pace(asked.checkpoint_every * 60, asked.evaluate_every),
            jobs=asked.jobs,
            address=asked.address,
            overwrite=asked.overwrite,
            export_only=asked.export_only,
            tell=tell,
        )
    emit(json_, dataclasses.asdict(report), lambda: _show(asked.kind, report))
    _list_skipped(report.skipped)


def _data(asked: TrainOptions) -> list[str]:
    """List the data sets as ``--data`` names them."""
    from dsc.errors import UsageError

    source, root = asked.source, asked.root
    if root is not None and source is None:
        raise UsageError(f"--root {root} goes with --source; or write --data LAYOUT:{root}")
    extra = [f"{source}:{root}" if root is not None else source] if source is not None else []
    return [*(asked.data or []), *extra]


def _config(asked: TrainOptions, places: list[str]) -> "TrainConfig":
    from dsc._jobs.training.train import start_of, teacher_of
    from dsc._training.config import RESEARCH, TrainConfig
    from dsc._training.data.datasets import parse_data
    from dsc._training.networks import NETWORKS
    from dsc.errors import UnknownCodecError, UsageError

    if asked.kind not in NETWORKS:
        raise UnknownCodecError(f"unknown network {asked.kind!r}; known: {', '.join(NETWORKS)}")
    if not places:
        raise UsageError("what to train on? Give --data, for example --data sample:200")
    start, for_comparison = asked.start, asked.kind in RESEARCH
    given = {
        "size": asked.model_size,
        "data": [parse_data(place) for place in places],
        "tasks": words(asked.tasks),
        "weights": _by_task("weights", asked.weights),
        "lambdas": _by_task("lambda", asked.lambda_),
        "cache_mb": asked.cache,
        "task_dropout": not for_comparison if asked.task_dropout is None else asked.task_dropout,
        "quality": ONE_RATE if for_comparison and asked.quality is None else asked.quality,
        "start": start_of(start, asked.freeze_decoder) if start is not None else None,
        "teacher": teacher_of(asked.teacher) if asked.teacher is not None else None,
    }
    same = TrainConfig.model_fields.keys() & vars(asked).keys() - given.keys()
    return TrainConfig.make(**given, **{name: getattr(asked, name) for name in same})


def _by_task(option: str, text: str | None) -> dict[str, float]:
    """Read ``rgb=1,depth=2``, or one number for all tasks."""
    from dsc._schemas import resolve_task
    from dsc._training.data.datasets import MODALITIES
    from dsc.errors import UsageError

    found: dict[str, float] = {}
    for part in filter(None, (text or "").split(",")):
        name, equals, value = part.rpartition("=")
        names = [resolve_task(name.strip(), MODALITIES)] if equals else list(MODALITIES)
        try:
            found |= dict.fromkeys(names, float(value))
        except ValueError:
            raise UsageError(
                f"--{option} {text}: write a number, or task=number: rgb=1,depth=2"
            ) from None
    return found


@contextmanager
def _shown() -> Iterator[Callable[["TrainProgress"], None]]:
    """Show how far a run is: a line that is rewritten on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        yield lambda made: live.update(Text(progress_line(made)), refresh=True)


class _Lines:
    """A line each `LINE_EVERY_S` seconds, and the last one."""

    def __init__(self) -> None:
        self._shown_s = time.monotonic()

    def __call__(self, made: "TrainProgress") -> None:
        now = time.monotonic()
        if now - self._shown_s >= LINE_EVERY_S or made.done >= made.steps:
            self._shown_s = now
            note(progress_line(made))


def progress_line(made: "TrainProgress") -> str:
    """Spell progress: ``step 1200 of 5000, loss 0.512, rgb 0.31 bpp 31.2 dB, ...``."""
    parts = [f"step {made.done} of {made.steps}"]
    if made.row is not None:
        row = made.row
        parts.append(f"loss {row.loss:.4g}")
        for name in dict.fromkeys([*row.rate_bpp, *row.psnr_db]):
            rate, decibels = row.rate_bpp.get(name), row.psnr_db.get(name)
            said = [name]
            said += [f"{rate:.4f} bpp"] if rate is not None and math.isfinite(rate) else []
            known = decibels is not None and math.isfinite(decibels)
            said += [f"{decibels:.2f} dB"] if known else []
            parts.append(" ".join(said))
    parts.append(f"{made.samples_per_s:.1f} samples/s")
    if made.eta_s is not None and made.done < made.steps:
        parts.append(f"ETA {seconds_text(made.eta_s)}")
    return ", ".join(parts)


def _show(kind: str, report: "TrainReport") -> None:
    about = report.about
    say(
        f"{report.out}: {kind}, {about.parameters / 1e6:.2f} M parameters, {about.steps} steps in "
        f"{seconds_text(report.seconds)} on {about.device}"
    )
    columns = ["held out", "quality", *(f"{s} bpp" for s in about.streams), "all bpp"]
    columns += [f"{task} dB" for task in about.tasks]
    rows = []
    for one in report.figures:
        rates = [one.rate_bpp.get(name) for name in about.streams]
        total = sum(rate for rate in rates if rate is not None)
        values = [*rates, total, *(one.psnr_db.get(task) for task in about.tasks)]
        digits = [4] * (len(rates) + 1) + [2] * len(about.tasks)
        cells = [
            "" if value is None else f"{value:.{places}f}"
            for value, places in zip(values, digits, strict=True)
        ]
        rows.append([f"{one.data} ({one.samples})", str(one.quality), *cells])
    show_table(columns, rows)
    if report.check is None:
        say(f"{kind} is for comparisons and writes no archives, so there is no codec file")
        return
    check = report.check
    if not check.ok:
        note(
            f"the codec's real bits exceed the estimated ones by {check.excess:.1%}, more than 1 %:"
            " its tables do not fit the data yet; train longer"
        )
    say(
        f"codec file: {report.codec}; {check.samples} held-out encodings take "
        f"{bytes_text(check.real_bytes)}, {check.excess:+.2%} of the estimate"
    )
    say(f"Next: dsc compress SOURCE --codec {shlex.quote(str(report.codec))}")


def _list_skipped(skipped: dict[str, str]) -> None:
    if not skipped:
        return
    note(f"{len(skipped)} samples could not be trained on and were skipped:")
    for why in list(skipped.values())[:LISTED]:
        note(f"  {why}")
    if len(skipped) > LISTED:
        note(f"  and {len(skipped) - LISTED} more; --json lists all")
