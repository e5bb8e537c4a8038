"""What a caller of `dsc.compress` asks for: checked, resolved, and spelled as a command."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsc.errors import UsageError
from dsc.jobs.output import absolute
from dsc.pipeline.sources import Source, open_source
from dsc.schemas import Quality, Task, resolve_tasks

ON_ERROR = ("fail", "skip")


@dataclass(frozen=True)
class Request:
    """The arguments of `dsc.jobs.driver.compress`, which documents them."""

    source: str | Source
    out: str
    tasks: Sequence[str] | str | None
    root: str | os.PathLike[str] | None
    sample: int | None
    codec: str | None
    quality: str | int | Quality
    shard_size: int | None
    pack: int | None
    split: str | None
    workers: int
    address: str | None
    on_error: str
    overwrite: bool
    layout: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse what can be refused before anything is opened.

        Raises
        ------
        UsageError
            When an option is out of range or contradicts another one.
        """
        if self.on_error not in ON_ERROR:
            raise UsageError(f"--on-error {self.on_error}: {' or '.join(ON_ERROR)}")
        if self.workers < 0:
            raise UsageError(f"--workers {self.workers}: 0 (in this process) or more")
        if self.workers and self.address:
            raise UsageError("--workers starts a Ray here, --address uses one: give one of them")

    def open_source(self) -> Source:
        """Open the dataset.

        Raises
        ------
        UsageError
            When the layout is unknown, or an option does not fit it.
        """
        root = None if self.root is None else absolute(os.fspath(self.root))
        if not isinstance(self.source, str):
            given = {"root": root, "sample": self.sample, **self.layout}
            extra = [name for name, value in given.items() if value is not None]
            if extra:
                raise UsageError(f"an open source takes no {', '.join(extra)}")
            return self.source
        if self.sample is None:
            frames = {"split": self.split} if self.source == "nyuv2" and self.split else {}
            return open_source(self.source, root, **self.layout, **frames)
        if self.source not in ("taskonomy", "sample"):
            raise UsageError(
                f"--sample renders Taskonomy's layout; it does not go with {self.source}"
            )
        if root is not None:
            raise UsageError(f"--sample {self.sample} renders views, --root {root} reads them")
        return open_source("sample", None, **{"n": self.sample, **self.layout})

    def choose_tasks(self, source: Source) -> tuple[Task, ...]:
        """Give the tasks to compress, in the order asked for.

        Raises
        ------
        UnknownTaskError
            When the source lacks one; the message lists those it has.
        """
        found = {task.name: task for task in source.tasks}
        chosen = tuple(found[name] for name in resolve_tasks(self.tasks, list(found)))
        if not chosen:
            raise UsageError(f"no task to compress; found: {', '.join(found) or 'none'}")
        return chosen

    def choose_quality(self, tasks: Sequence[Task]) -> Quality:
        """Give the quality of each task."""
        if isinstance(self.quality, Quality):
            return self.quality
        return Quality.parse(str(self.quality), [task.name for task in tasks])

    def again(self) -> str:
        """Say how to go on: the command, without ``--overwrite``, which would begin anew."""
        if not isinstance(self.source, str):
            return "call dsc.compress again with the same arguments, without overwrite"
        options = {
            "--tasks": _word(self.tasks),
            "--out": self.out,
            "--root": self.root,
            "--sample": self.sample,
            "--codec": self.codec,
            "--quality": self.quality if isinstance(self.quality, str | int) else None,
            "--shard-size": self.shard_size,
            "--pack": self.pack,
            "--split": self.split,
            "--workers": self.workers or None,
            "--address": self.address,
            "--on-error": self.on_error if self.on_error != "fail" else None,
            **{f"--{name.replace('_', '-')}": _word(value) for name, value in self.layout.items()},
        }
        given = [[name, str(value)] for name, value in options.items() if value is not None]
        return "dsc compress " + shlex.join(
            [self.source, *(word for pair in given for word in pair)]
        )


def _word(value: Any) -> Any:
    """Spell a list or mapping as the command line does: with commas, as ``name=value``."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={part}" for name, part in value.items())
    return ",".join(value) if isinstance(value, list | tuple) else value
