"""What interrupted work leaves in an output: told from a user's files by its name, and removed."""

from collections.abc import Iterable
from contextlib import suppress

from dsc._storage.files.root import Root
from dsc._storage.format.names import LOCK, OLD, OWN, PART, PLAN, WORK


def remove_leftovers(root: Root, keep: Iterable[str] = (), only_parts: bool = False) -> None:
    """Remove files that dsc wrote and nothing needs: by its own names, never a user's file.

    Parameters
    ----------
    keep
        Files, and directories, that stay.
    only_parts
        Remove nothing but what a killed writer left unfinished.
    """
    if only_parts and root.local is None:
        return  # a remote file appears whole or not at all, so there are none
    kept = set(keep)
    for path in root.list():
        if path in kept or (path.partition("/")[0] in kept and not PART.fullmatch(path)):
            continue
        if PART.fullmatch(path) or (not only_parts and OWN.fullmatch(path)):
            root.remove(path)


def strangers(root: Root) -> list[str]:
    """List the files in an output that dsc did not write; hidden files do not count."""
    return [
        path
        for path in root.list()
        if not (OWN.fullmatch(path) or PART.fullmatch(path) or path.startswith("."))
    ]


def clear_work(root: Root) -> None:
    """Remove the plan and the job records: a finished archive does not need them."""
    for path in root.list(WORK):
        if path not in (LOCK, PLAN):  # the lock is its holder's
            root.remove(path)
    root.remove(PLAN)  # last: while it is there, a later run knows that there may be more
    if root.local is not None:
        work = root.local / WORK
        for folder in (work / "records", root.local / OLD, work):
            with suppress(OSError):  # an empty directory, or one that is in use, does no harm
                folder.rmdir()
