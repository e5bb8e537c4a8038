"""The list of all commands is told without importing them, and tells what they say themselves."""

from typing import Any

import pytest
import typer
from typer.main import get_command

from dsc._cli import app
from dsc._cli.lazy import COMMANDS
from tests.cli.conftest import Command


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_by_the_first_line_of_its_own_help(name: str) -> None:
    whole: Any = get_command(app)
    command = whole.commands[name]
    assert command.name == name
    assert command.help.splitlines()[0] == COMMANDS[name].summary


def test_all_commands_are_listed_in_their_panels(dsc: Command) -> None:
    whole: Any = get_command(app)
    context = typer.Context(whole)
    assert whole.list_commands(context) == list(COMMANDS)
    text = dsc("--help").out
    for panel in dict.fromkeys(listed.panel for listed in COMMANDS.values()):
        assert f"─ {panel} ─" in text
    for name, listed in COMMANDS.items():
        assert f"│ {name} " in text
        assert listed.summary.split()[0] in text


def test_a_misspelt_command_is_answered_with_the_one_that_is_like_it(dsc: Command) -> None:
    result = dsc("comprss")
    assert result.code == 2
    assert "Did you mean 'compress'" in result.err
