"""The `dsc` command: parses, calls, prints; all work is done below.

Nothing heavy is imported before a command runs, and of the commands only the one that was called
(`lazy`), so that help is quick.

- Commands: `compress`, `append`, `train` (its options: `train_options`), `search`, `view`, `serve`,
  `fetch`, `export`; `push` and ``pull`` in `push`; ``info``, ``ls`` and ``verify`` in `inspection`;
  `replay` and `bench` have commands of their own.
- `options`: how options become parameters, and those that several commands have. `source_data`:
  where a dataset lies that nobody gave the place of.
- `printing`: what is shown. `failure`: errors become a message and an exit code.
"""

import os
from typing import Annotated

import typer

from dsc._cli.lazy import LazyGroup
from dsc.version import __version__

app = typer.Typer(
    name="dsc",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line and exit with its code."""
    # what could change how pydantic reads is no part of a format, and the search for it reads the
    # metadata of every installed package
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    app()


def _print_version(value: bool) -> None:
    if value:
        from dsc import _kernels

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
