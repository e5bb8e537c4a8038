"""Which machine paths are asked for among tasks, and which an archive has."""

from collections.abc import Sequence

from dsc._schemas import Task, TaskKind, resolve_task, resolve_tasks
from dsc._schemas.machine_path import CODECS, PATHS, SEPARATOR, MachinePath, words_of
from dsc._storage.files.place import redact
from dsc._storage.read.archive import Archive
from dsc.errors import UnknownTaskError, UsageError


def find_tasks(
    archive: Archive, tasks: Sequence[str] | str | None
) -> tuple[Archive, tuple[str, ...]]:
    """Find the tasks that are asked for.

    Parameters
    ----------
    tasks
        Names and aliases, and machine paths (``rgb:cls``) among them, as a sequence or text with
        commas; None for all tasks that are stored.

    Returns
    -------
    Archive
        It has a task for each machine path.
    names
        Of the tasks, in order.

    Raises
    ------
    UnknownTaskError
        When there is no such task or path; the message lists what there is.
    UsageError
        When a path cannot be read, or its task is none that it corrects.
    """
    words = words_of(tasks)
    paths = {word: _path(archive, word) for word in words or () if SEPARATOR in word}
    if paths:
        _check_names(archive, list(paths.values()))
        archive = archive.with_paths(list(dict.fromkeys(paths.values())))
    names = words and [paths[word].name if word in paths else word for word in words]
    try:
        return archive, resolve_tasks(names, [task.name for task in archive.manifest.tasks])
    except UnknownTaskError as error:
        raise UnknownTaskError(f"{redact(archive.root.url)}: {error}") from None


def paths_of(archive: Archive) -> tuple[MachinePath, ...]:
    """List the machine paths that can be asked for, at their full strength."""
    tasks = [task for task in archive.manifest.tasks if not _refusal(archive, task)]
    return tuple(MachinePath(task.name, path) for task in tasks for path in PATHS)


def _path(archive: Archive, word: str) -> MachinePath:
    asked, where = MachinePath.parse(word), redact(archive.root.url)
    tasks = {task.name: task for task in archive.manifest.tasks}
    try:
        task = tasks[resolve_task(asked.task, list(tasks))]
    except UnknownTaskError as error:
        raise UnknownTaskError(f"{where}: machine path {word}: {error}") from None
    if asked.path not in PATHS:
        known = ", ".join(PATHS)
        raise UnknownTaskError(f"{where}: no machine path {word}; {task.name} has {known}")
    refusal = _refusal(archive, task)
    if refusal:
        raise UsageError(f"{where}: machine path {word}: {refusal}")
    return MachinePath(task.name, asked.path, asked.strength)


def _refusal(archive: Archive, task: Task) -> str | None:
    """Say why no path corrects a task; None where one does."""
    if task.kind is not TaskKind.IMAGE or (task.dtype, task.channels) != ("uint8", 3):
        return f"{task.name} is no image of three 8-bit channels"
    if task.is_exact:
        return f"{task.name} is exact, so there is nothing to correct; read {task.name} itself"
    if task.invalid:
        return f"{task.name} has values that mean something else than colour"
    codecs = [c.id for c in archive.manifest.codecs if task.name in c.streams]
    if codecs and codecs[0] in CODECS:
        return None
    found = ", ".join(c.label for c in archive.manifest.codecs if task.name in c.streams)
    return (
        f"{task.name} is coded by {found or 'another codec'}, and paths correct what "
        f"{', '.join(CODECS)} write; read {task.name} itself"
    )


def _check_names(archive: Archive, paths: Sequence[MachinePath]) -> None:
    """Check that paths stand for one task each, and for none that is there."""
    there, where = {task.name for task in archive.manifest.tasks}, redact(archive.root.url)
    for path in paths:
        others = [str(other) for other in paths if other.name == path.name and other != path]
        if others:
            raise UsageError(
                f"{path} and {others[0]} would both be {path.name}; open the archive once for each"
            )
        if path.name in there:
            raise UsageError(f"{where}: {path} would be {path.name}, which is a task there")
