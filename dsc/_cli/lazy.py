"""The commands by name: each is imported when it is called, and help lists them without it."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

from dsc._cli.failure import FailureGroup

LISTING = "dsc.listing"


@dataclass(frozen=True)
class Listed:
    """A command as the list of all commands shows it.

    Attributes
    ----------
    panel
        What it is for: the panel that it is shown in.
    module
        Where a function, or a `typer.Typer`, of its name is.
    summary
        The first line of its own help.
    """

    panel: str
    module: str
    summary: str


COMMANDS = {
    "compress": Listed(
        "Make",
        "dsc._cli.compress",
        "Compress a dataset into an archive, or go on with one that was interrupted.",
    ),
    "append": Listed(
        "Make",
        "dsc._cli.append",
        "Add new samples or a new task to an archive; nothing that is there is written again.",
    ),
    "train": Listed(
        "Make",
        "dsc._cli.train",
        "Train a learned codec on your own data, or go on with a run that was interrupted.",
    ),
    "info": Listed(
        "Look",
        "dsc._cli.inspection",
        "Show what an archive holds: tasks, streams, codecs, splits, sizes.",
    ),
    "ls": Listed(
        "Look",
        "dsc._cli.inspection",
        "List an archive's samples by index and key, its recordings, its shards, or its files.",
    ),
    "search": Listed(
        "Look",
        "dsc._cli.search",
        "Find the samples of an archive that are most like a picture, or like one of its samples.",
    ),
    "verify": Listed(
        "Look",
        "dsc._cli.inspection",
        "Check every byte of an archive and list all damage; exit code 1 when there is any.",
    ),
    "view": Listed(
        "Look",
        "dsc._cli.view",
        "Write one HTML page that shows what an archive kept, to be opened in any browser.",
    ),
    "serve": Listed(
        "Look",
        "dsc._cli.serve",
        "Browse an archive in a browser: all samples, every task, until Ctrl-C.",
    ),
    "fetch": Listed(
        "Take",
        "dsc._cli.fetch",
        "Copy some tasks of an archive, and nothing of the others, into an archive of their own.",
    ),
    "push": Listed(
        "Take",
        "dsc._cli.push",
        "Copy an archive to a store, from which anybody can read, stream, fetch or pull it.",
    ),
    "pull": Listed(
        "Take",
        "dsc._cli.push",
        "Copy a whole archive from a store to a directory, byte for byte.",
    ),
    "export": Listed(
        "Take", "dsc._cli.export", "Decode an archive to files as its source had them."
    ),
    "bench": Listed(
        "Compare",
        "dsc._cli.bench",
        "Compare codecs (rate, distortion, speed), whole jobs, streaming, recordings, machines.",
    ),
    "replay": Listed(
        "Compare",
        "dsc._cli.replay",
        "Learn classes step by step with a memory of so many bytes; choose its codec; inspect it.",
    ),
}


class Commands(dict[str, Any]):
    """The commands by name; one is imported when it is taken."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(COMMANDS))

    def __getitem__(self, name: str) -> Any:
        if super().__getitem__(name) is None:
            self[name] = load_command(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a command; `default` where there is none of that name."""
        return default if name not in self else self[name]  # noqa: SIM401 - that is this method


class LazyGroup(FailureGroup):
    """The group of all commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = Commands()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or while help lists it, only what is shown of it."""
        if ctx.meta.get(LISTING) and cmd_name in COMMANDS:
            listed = COMMANDS[cmd_name]
            return TyperCommand(cmd_name, help=listed.summary, rich_help_panel=listed.panel)
        return self.commands.get(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the group."""
        ctx.meta[LISTING] = True
        try:
            super().format_help(ctx, formatter)
        finally:
            ctx.meta[LISTING] = False


def load_command(name: str) -> Any:
    """Import a command and return it as Typer made it."""
    found = getattr(import_module(COMMANDS[name].module), name)
    if isinstance(found, typer.Typer):
        return get_command(found)
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    alone.command()(found)
    return get_command(alone)
