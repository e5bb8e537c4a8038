"""The `dsc` command: parses, calls, prints; all work is done below.

Nothing heavy is imported before a command runs, so that help is quick.

- Commands: `compress`, `append`, `train` (its options: `train_options`), `view`, `fetch`, `export`;
  ``info``, ``ls`` and ``verify`` in `inspection`; `replay` and `bench` have commands of their own.
- `options`: how options become parameters, and those that several commands have. `source_data`:
  where a dataset lies that nobody gave the place of.
- `printing`: what is shown. `failure`: errors become a message and an exit code.
"""

from typing import Annotated

import typer

from dsc import _kernels
from dsc._cli.append import append
from dsc._cli.bench import bench
from dsc._cli.compress import compress
from dsc._cli.export import export
from dsc._cli.failure import FailureGroup
from dsc._cli.fetch import fetch
from dsc._cli.inspection import info, ls, verify
from dsc._cli.replay import replay
from dsc._cli.train import train
from dsc._cli.view import view
from dsc.version import __version__

app = typer.Typer(
    name="dsc",
    cls=FailureGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
PANELS = {
    "Make": (compress, append, train),
    "Look": (info, ls, verify, view),
    "Take": (fetch, export),
    "Compare": (bench, replay),
}
for panel, commands in PANELS.items():
    for command in commands:
        if isinstance(command, typer.Typer):
            app.add_typer(command, rich_help_panel=panel)
        else:
            app.command(rich_help_panel=panel)(command)


def main() -> None:
    """Run the command line and exit with its code."""
    app()


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"dsc {__version__}\n{_kernels.description()}")
        raise typer.Exit()


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Turn a multi-modal vision dataset into a small archive whose tasks can be used apart.

    [bold]Try it[/bold], without any data of your own:

      dsc compress taskonomy --views 24 --tasks rgb,depth --out demo
      dsc info demo
      dsc fetch demo --tasks depth --out demo-depth
      dsc view demo --out demo.html

    [bold]Exit codes[/bold]: 0 done; 1 the data is damaged or incomplete, or
    disk or network failed; 2 the call was wrong; 130 interrupted with Ctrl-C.
    Interrupted work goes on when the same command is run again.
    """
