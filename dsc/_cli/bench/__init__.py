"""``dsc bench``: `rd` compares codecs, `stream` how archives and others stream."""

import typer

from dsc._cli.bench.rd import rd
from dsc._cli.bench.stream import stream

bench = typer.Typer(
    name="bench",
    help="Compare codecs (rate, distortion, speed) and streaming with others.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
for command in (stream, rd):
    bench.command()(command)
