"""Holds what was asked for against the dataset: opens it, chooses tasks, refuses what is amiss."""

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dsc._pipeline.choose.decide import coded_tasks
from dsc._pipeline.options import CodingOptions, SourceOptions, WorkOptions
from dsc._pipeline.write.plan import check_split
from dsc._schemas import Task, resolve_task, resolve_tasks
from dsc._sources.base import left_out_of
from dsc._sources.registry import Source, open_source, options_of
from dsc._storage.files.place import absolute
from dsc.errors import UnknownTaskError, UsageError

LISTED = 8
RENDERED = ("taskonomy", "sample", "clevr")


def check_asked(data: SourceOptions, coding: CodingOptions, work: WorkOptions) -> None:
    """Refuse what can be refused before anything is opened.

    Raises
    ------
    UsageError
        When an option is out of range or contradicts another one.
    """
    work.check()
    if data.split is not None:
        check_split(data.split)
    if coding.tried < 1:
        raise UsageError(f"--auto-samples {coding.tried}: at least 1")


def open_data(data: SourceOptions) -> Source:
    """Open the dataset.

    Raises
    ------
    UsageError
        When the layout is unknown, or an option does not fit it.
    """
    root = None if data.root is None else absolute(os.fspath(data.root))
    told = data.layout.told()
    if not isinstance(data.source, str):
        given = {"root": root, "sample": data.sample, **told}
        extra = [name for name, value in given.items() if value is not None]
        if extra:
            raise UsageError(f"an open source takes no {', '.join(extra)}")
        return data.source
    if data.sample is None:
        return open_source(data.source, root, **told, **_chosen(data))
    if data.source not in RENDERED:
        raise UsageError(f"--views renders Taskonomy's layout; it does not go with {data.source}")
    if root is not None:
        raise UsageError(f"--views {data.sample} renders views, --root {root} reads them")
    name = "clevr" if data.source == "clevr" else "sample"
    return open_source(name, None, **{"n": data.sample, **told})


def _chosen(data: SourceOptions) -> dict[str, Any]:
    """Return what a layout is asked for, as far as it can choose: tasks, and a split."""
    wanted = {"tasks": data.tasks, "split": data.split}
    known = options_of(str(data.source))
    return {name: value for name, value in wanted.items() if value and name in known}


def check_left_out(data: SourceOptions, source: Source) -> None:
    """Refuse to leave out in silence what looks like a task.

    Raises
    ------
    UsageError
        When files look like a task that was asked for, or all were, and cannot be read.
    """
    names = [task.name for task in source.tasks]
    asked = None if data.tasks is None else _known(data.tasks, names)
    like = [one for one in left_out_of(source) if one.task and (asked is None or one.task in asked)]
    if not like:
        return
    lines = [
        f"  {one.what}: {one.files} file{'s' * (one.files != 1)}, {one.reason}"
        for one in like[:LISTED]
    ]
    lines += [f"  and {len(like) - LISTED} more"] * (len(like) > LISTED)
    listed = "\n".join(lines)
    paths = shlex.quote(",".join(dict.fromkeys(one.what for one in like)))
    advice = f"leave them out with --ignore {paths}"
    whole = [name for name in names if name not in {one.task for one in like}]
    if asked is None and whole:
        advice = f"name the tasks you want with --tasks {','.join(whole)}, or {advice}"
    raise UsageError(f"these look like tasks, and cannot be read:\n{listed}\n{advice}")


def choose_tasks(data: SourceOptions, coding: CodingOptions, source: Source) -> tuple[Task, ...]:
    """Return the tasks to compress, in the order asked for, as they are to be coded.

    Raises
    ------
    UnknownTaskError
        When the source lacks one; the message lists those it has.
    """
    found = {task.name: task for task in source.tasks}
    chosen = [found[name] for name in resolve_tasks(data.tasks, list(found))]
    if not chosen:
        raise UsageError(f"no task to compress; found: {', '.join(found) or 'none'}")
    return coded_tasks(coding, chosen, list(found))


def _known(names: Sequence[str] | str, found: Sequence[str]) -> set[str]:
    """Resolve those names that are there; what is not is told where it is asked for."""
    known = set()
    for name in names.split(",") if isinstance(names, str) else names:
        with suppress(UnknownTaskError):
            known.add(resolve_task(name.strip(), found))
    return known
