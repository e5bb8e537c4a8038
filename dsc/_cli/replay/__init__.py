"""``dsc replay``: `run` runs experiments, `select` chooses a codec, `inspect` shows a buffer.

`options` declares what several of these take.
"""

import typer

from dsc._cli.replay.inspect import inspect
from dsc._cli.replay.run import run
from dsc._cli.replay.select import select

replay = typer.Typer(
    name="replay",
    help="Learn classes step by step with a memory of so many bytes; choose its codec; inspect it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
for command in (inspect, select, run):
    replay.command()(command)
