"""Options that were renamed still work under their former spelling, which help does not show."""

from typing import Annotated

import typer
from typer.testing import CliRunner

from dsc._cli.options import formerly

app = typer.Typer()


@app.command()
@formerly(pixels="--size", sharp="--crisp/--soft")
def resize(
    pixels: Annotated[int, typer.Option(help="A side.", min=8)] = 64,
    sharp: Annotated[bool, typer.Option("--sharp/--blurred")] = False,
) -> None:
    """Resize a picture."""
    typer.echo(f"{pixels} {sharp}")


def printed(*words: str) -> tuple[int, str]:
    ran = CliRunner().invoke(app, list(words))
    return ran.exit_code, ran.output


def test_a_former_spelling_means_what_it_meant() -> None:
    assert printed("--size", "32") == printed("--pixels", "32") == (0, "32 False\n")
    assert printed("--size=32", "--crisp") == (0, "32 True\n")
    assert printed("--soft", "--sharp") == (0, "64 False\n")
    assert printed() == (0, "64 False\n")
    assert printed("--size", "4")[0] == 2  # what an option refuses, it refuses by any name


def test_help_shows_the_name_of_today_alone() -> None:
    code, text = printed("--help")
    assert code == 0
    assert "--pixels" in text
    assert "--size" not in text
    assert "--crisp" not in text
