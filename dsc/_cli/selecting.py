"""The options by which commands take some samples of an archive only."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from dsc._cli.options import OptionGroup
from dsc.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SelectionArguments(OptionGroup):
    """Which samples a command takes; all that is given must hold."""

    panel: ClassVar[str | None] = "Samples"

    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            help="Only samples for which a condition on columns holds: "
            "\"scene == 'kitchen' and score > 0.5\".",
            metavar="EXPRESSION",
        ),
    ] = None
    split: Annotated[
        str | None,
        typer.Option("--split", help="Only samples of these splits, with commas.", metavar="A,B"),
    ] = None
    keys: Annotated[
        str | None,
        typer.Option(
            "--keys", help="Only these samples: keys with commas, or @FILE with one a line.",
            metavar="A,B|@FILE",
        ),
    ] = None  # fmt: skip
    subset: Annotated[
        float | None,
        typer.Option(
            "--subset",
            help="Only this fraction, 0 to 1, by a hash of each key: always the same samples.",
            metavar="FRACTION",
        ),
    ] = None
    sequence: Annotated[
        str | None,
        typer.Option(
            "--sequence", help="Only frames of these recordings, with commas.", metavar="A,B"
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option("--limit", help="Only the first N of what is left.", metavar="N"),
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """What was asked for, as `dsc.open` takes it; empty where nothing was."""
        asked = {
            "where": _where(self.where, self.sequence),
            "split": self.split,
            "keys": None if self.keys is None else _keys(self.keys),
            "subset": self.subset,
            "limit": self.limit,
        }
        return {name: value for name, value in asked.items() if value is not None}


def _where(where: str | None, sequence: str | None) -> str | None:
    """Return the condition on columns that stands for both."""
    if sequence is None:
        return where
    names = [name.strip() for name in sequence.split(",") if name.strip()]
    if not names:
        raise UsageError("--sequence: name a recording; dsc ls --sequences lists them")
    one_of = f"__sequence__ in {names!r}"
    return one_of if where is None else f"{one_of} and ({where})"


def _keys(text: str) -> list[str] | str:
    if not text.startswith("@"):
        return text
    try:
        lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--keys {text}: {error}") from None
    return [line.strip() for line in lines if line.strip()]
