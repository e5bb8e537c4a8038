"""Tasks of rendered data that are made on request: those that follow from others.

They take part only where `tasks` names them. A source that is asked for nothing has the tasks that
it always had, so what was compressed of it can be gone on with.
"""

from collections.abc import Sequence

from dsc._renderer.further import FURTHER
from dsc._schemas import Task, resolve_task
from dsc._schemas.task import spelled
from dsc._sources.taskonomy import DOMAINS
from dsc.errors import UnknownTaskError

FURTHER_TASKS = tuple(name for name in DOMAINS if name in FURTHER)
"""Names of the tasks that are made on request, in Taskonomy's order."""


def further_tasks(
    asked: Sequence[str] | str | None, usual: Sequence[Task], depth: Task
) -> tuple[Task, ...]:
    """Find the tasks that are asked for beyond the usual ones.

    Parameters
    ----------
    asked
        Names, or text with commas; None for none.
    usual
        The tasks that are rendered anyway: they may be named too.
    depth
        The one of them whose unit further depth has.

    Returns
    -------
    tuple of Task
        All there are where a name means no task, so that its refusal lists them.
    """
    words = asked.split(",") if isinstance(asked, str) else asked or ()
    names = [task.name for task in usual]
    found = {_meant(word.strip(), names) for word in words if word.strip()}
    chosen = FURTHER_TASKS if None in found else [n for n in FURTHER_TASKS if n in found]
    return tuple(_task(name, depth) for name in chosen)


def is_further(task: Task) -> bool:
    """Tell whether a task is made on request."""
    return task.name in FURTHER


def _meant(word: str, usual: Sequence[str]) -> str | None:
    """Find what a word means, by its own name first; None where it means nothing."""
    for name in (word, spelled(word)):
        if name in FURTHER:
            return name
    try:
        return resolve_task(word, usual)
    except UnknownTaskError:
        return None


def _task(name: str, depth: Task) -> Task:
    return depth.model_copy(update={"name": name}) if name == "depth_euclidean" else DOMAINS[name]
