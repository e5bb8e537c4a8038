"""Lets one process at a time compute a run; a second one waits, or does other runs first.

The claim is the system's own lock on a small file beside the run's directory, and is gone with its
holder, however that ends; see `dsc._storage.files.lock.Lock`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dsc._storage.files.lock import Lock, holder
from dsc.errors import RunClaimedError

LOOK_EVERY_S = 0.5


@contextmanager
def claim(work: Path, wait: bool = True) -> Iterator[None]:
    """Hold the claim on a run.

    Parameters
    ----------
    work
        The run's directory, which need not be there yet.
    wait
        Whether to wait while another process has it.

    Raises
    ------
    RunClaimedError
        When another process has it and `wait` is false.
    """
    path = claim_path(work)
    path.parent.mkdir(parents=True, exist_ok=True)
    while (held := Lock.take(path)) is None:
        if not wait:
            raise RunClaimedError(f"{work}: computed by {holder(path) or 'another process'}")
        time.sleep(LOOK_EVERY_S)
    try:
        yield
    finally:
        held.release()


def claim_path(work: Path) -> Path:
    """Name the file that is locked while the run in `work` is computed."""
    return work.with_name(f"{work.name}.lock")
