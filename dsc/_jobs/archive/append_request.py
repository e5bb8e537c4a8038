"""What a caller of `dsc.append` asks for: checked, and spelled as a command."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dsc._jobs.archive.request import Request
from dsc._schemas import Task
from dsc.errors import UsageError

MISSING = ("error", "none")
CODING = ("--codec", "--quality", "--target", "--max-error", "--auto-samples")


@dataclass(frozen=True)
class AppendRequest(Request):
    """The arguments of `dsc._jobs.archive.append.append`, which documents them.

    Attributes
    ----------
    out
        The archive.
    coding
        The options given that say how a new task is coded.
    """

    anew: ClassVar[str] = "without restart"

    missing: str = "error"
    restart: bool = False
    coding: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse what can be refused before anything is opened."""
        super().check()
        if self.missing not in MISSING:
            raise UsageError(f"--missing {self.missing}: {' or '.join(MISSING)}")

    def check_for_samples(self, tasks: Sequence[Task]) -> None:
        """Refuse what new samples cannot be given.

        Parameters
        ----------
        tasks
            Those asked for, which the archive has.

        Raises
        ------
        UsageError
            When an option says how they are to be coded.
        """
        if self.coding:
            raise UsageError(
                f"{', '.join(self.coding)}: the archive has {', '.join(t.name for t in tasks)} "
                "already, and new samples are coded as its own are; these options are for a task "
                "that it lacks, named with --tasks"
            )

    def check_for_tasks(self) -> None:
        """Refuse what a new task cannot be given.

        Raises
        ------
        UsageError
            When a split is named that chooses nothing.
        """
        if self.split is not None and self.source != "nyuv2":
            raise UsageError(
                f"--split {self.split}: a new task goes to the samples that are there, whatever "
                "their split; leave it out"
            )

    def command(self) -> list[str]:
        """Return the command's name and arguments."""
        place = f"./{self.out}" if self.out.startswith("-") else self.out
        return ["append", place, str(self.source)]

    def options(self) -> dict[str, Any]:
        """Return the command's options, None for what was not asked for."""
        given = super().options()
        del given["--out"]
        if "--quality" not in self.coding:
            given["--quality"] = None
        return given | {"--missing": self.missing if self.missing != "error" else None}
