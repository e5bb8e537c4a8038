"""Help shows first what everybody needs; renamed options still work, unseen."""

import re
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from dsc._cli import app as whole
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
    return ran.exit_code, ran.stdout


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


def test_the_help_of_dsc_has_its_commands_in_panels_and_every_exit_code() -> None:
    text = CliRunner().invoke(whole, ["--help"]).output
    panels = [text.index(f"─ {name} ") for name in ("Make", "Look", "Take", "Compare")]
    assert panels == sorted(panels)
    for panel, command in zip(panels, ("compress", "info", "fetch", "bench"), strict=True):
        assert text.index(f"│ {command} ") > panel
    assert all(re.search(rf"\b{code} ", text) for code in (0, 1, 2, 130))


def test_what_everybody_needs_comes_first_in_the_help_of_compress() -> None:
    first, _, advanced = (
        CliRunner().invoke(whole, ["compress", "--help"]).output.partition("─ Advanced ")
    )
    assert all(name in first for name in ("--tasks", "--root", "--out", "--quality", "--workers"))
    assert all(name in advanced for name in ("--pack", "--kinds", "--on-error", "--address"))
    assert all(name in first for name in ("sample", "clevr"))  # data that needs no dataset


@pytest.mark.parametrize(
    ("command", "now", "before"),
    [
        (("compress",), "--views", "--sample"),
        (("append",), "--views", "--sample"),
        (("train",), "--model-size", "--size"),
        (("train",), "--run-on", "--jobs"),
        (("replay", "run"), "--image-size", "--size"),
    ],
)
def test_a_renamed_option_is_shown_by_its_name_and_taken_by_both(
    command: tuple[str, ...], now: str, before: str
) -> None:
    names = re.findall(r"(?<=│ )--[\w-]+", CliRunner().invoke(whole, [*command, "--help"]).output)
    assert now in names
    assert before not in names
    for name in (now, before):
        ran = CliRunner().invoke(whole, [*command, name])
        assert "requires an argument" in ran.output + ran.stderr, name


def test_a_former_spelling_is_answered_with_the_name_that_errors_speak_of(tmp_path: Path) -> None:
    (tmp_path / "rgb").mkdir()
    words = ["compress", "folder", "--root", str(tmp_path), "--sample", "2", "--out"]
    ran = CliRunner().invoke(whole, [*words, str(tmp_path / "a")])
    assert ran.exit_code == 2
    assert "--sample is called --views now" in ran.stderr
    assert "does not go with folder, of which all samples are taken" in ran.stderr


def test_both_spellings_of_an_option_with_two_values_are_refused(tmp_path: Path) -> None:
    words = ["compress", "taskonomy", "--sample", "2", "--views", "3", "--out", str(tmp_path / "a")]
    ran = CliRunner().invoke(whole, words)
    assert ran.exit_code == 2
    assert "--views alone" in ran.output


def test_a_data_set_that_is_no_layout_is_sent_to_folder(tmp_path: Path) -> None:
    ran = CliRunner().invoke(whole, ["compress", "scannet", "--out", str(tmp_path / "a")])
    assert ran.exit_code == 2
    assert "folder --root DIR" in ran.output
