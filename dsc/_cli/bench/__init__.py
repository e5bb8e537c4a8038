"""``dsc bench``: `rd` compares codecs, `speed` times them; the others: see there."""

import typer

from dsc._cli.bench.machine import machine
from dsc._cli.bench.rd import rd
from dsc._cli.bench.sequences import sequences
from dsc._cli.bench.speed import speed
from dsc._cli.bench.stream import stream

bench = typer.Typer(
    name="bench",
    help="Compare codecs (rate, distortion, speed), whole jobs, streaming, recordings, machines.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
for command in (stream, speed, rd, sequences, machine):
    bench.command()(command)
