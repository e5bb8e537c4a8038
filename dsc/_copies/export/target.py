"""What a target of exports is: a function that writes an archive's samples as others want them.

It takes an `ExportJob`, and what it lets people choose as keywords of its own, each with a default;
`dsc._copies.export.run` refuses those that it does not take. It checks their values, claims
the output (`ExportJob.claim`), and only then writes. What it writes appears whole or not at all,
and what is there already is kept, unless the job says `overwrite`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dsc._pipeline.read.dataset import Dataset
from dsc._schemas import Manifest, Task
from dsc._storage.files.atomic import atomic_write
from dsc._storage.files.root import Root
from dsc._storage.read.archive import Archive
from dsc.errors import PlanMismatchError

FILES = "files"  # the target that is taken by default
MARK = ".dsc-export.json"  # says at an output whose files lie there
ExportProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class ExportReport:
    """What an export did.

    Attributes
    ----------
    written, kept
        Files written now, and files that an earlier run had left.
    missing
        By task, how many samples lack it and so have no file.
    notes
        What people should know of what was written.
    """

    tasks: tuple[Task, ...]
    written: int
    kept: int
    missing: dict[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExportJob:
    """What a target is given.

    Attributes
    ----------
    dataset
        The archive, with the tasks that were asked for, as native arrays.
    archive
        The whole of it, undecoded.
    root
        Where the files go.
    to
        Name of the target.
    overwrite
        Whether files are written again that are there.
    progress
        Called with (samples done, samples in all).
    """

    dataset: Dataset
    archive: Archive
    root: Root
    to: str = FILES
    overwrite: bool = False
    progress: ExportProgress = lambda done, total: None

    @property
    def manifest(self) -> Manifest:
        """The archive's manifest."""
        return self.dataset.manifest

    def claim(self, own: re.Pattern[str] | None = None, samples: str = "", **chosen: Any) -> None:
        """Note whose files lie at the output, before any is written.

        Parameters
        ----------
        own
            Paths of a target's files where the number of these depends on what is chosen: those of
            an export that is overwritten go, or they would be taken for part of this one.
        samples
            A hash of which samples are written, where files do not tell that by themselves.
        chosen
            What determines the bytes of the files beside archive and target, as JSON: what a run
            that goes on must choose alike.

        Raises
        ------
        PlanMismatchError
            When files of another archive, target or choice lie there, and are not to be replaced.
        """
        mark: dict[str, Any] = {
            "plan_sha256": self.manifest.plan_sha256,
            "source": self.manifest.source,
            "depth_unit_m": {task.name: task.unit_m for task in self.manifest.tasks if task.unit_m},
        }
        if self.to != FILES:
            mark["to"] = {"target": self.to, "options": chosen}
        if samples:
            mark["samples"] = samples
        found = self._found()
        if not self.overwrite and found.get("plan_sha256"):
            _check_same(self.root.url, found, mark)
        if self.overwrite and found and own is not None:
            for path in filter(own.fullmatch, list(self.root.list())):
                self.root.remove(path)
        self.root.write(MARK, json.dumps(mark, sort_keys=True).encode() + b"\n")

    @property
    def task_names(self) -> str:
        """The tasks that are written, as the command line names them."""
        return ",".join(task.name for task in self.dataset.tasks)

    def _found(self) -> dict[str, Any]:
        try:
            found = json.loads(self.root.read(MARK))
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


Target = Callable[..., ExportReport]


def spelled_option(name: str) -> str:
    """Spell the keyword of a target as the command line does."""
    return f"--{name.replace('_', '-')}"


def _check_same(url: str, found: Mapping[str, Any], mark: Mapping[str, Any]) -> None:
    """Refuse an output that another archive, or this one in another way, was decoded to."""
    old, new = str(found["plan_sha256"]), mark["plan_sha256"]
    advice = "give another directory, or --overwrite"
    if old != new:
        raise PlanMismatchError(
            f"--out {url}: it holds files decoded from another archive (plan {old[:12]}, this one "
            f"{new[:12]}); {advice}"
        )
    if found.get("to") != mark.get("to"):
        raise PlanMismatchError(
            f"--out {url}: it holds this archive as {_way(found)}, not as {_way(mark)}; {advice}"
        )
    if found.get("samples") != mark.get("samples"):
        raise PlanMismatchError(
            f"--out {url}: it holds other samples of this archive (another selection, or fewer "
            f"than there are now); {advice}"
        )


def _way(mark: Mapping[str, Any]) -> str:
    """Spell how an output was asked for."""
    to = mark.get("to") or {"target": FILES, "options": {}}
    chosen = sorted(to["options"].items())
    words = [f"{spelled_option(name)} {value}" for name, value in chosen if value is not None]
    return " ".join(["--to", to["target"], *words])


def write_named(root: Root, path: str, data: bytes) -> None:
    """Write a file whole or not at all, under a name of the source's, which may be any."""
    if root.local is not None:
        atomic_write(root.local / path, data)
    else:
        root.write(path, data)


def named_exists(root: Root, path: str) -> bool:
    """Tell whether a file of such a name is there."""
    return (root.local / path).is_file() if root.local is not None else root.exists(path)
