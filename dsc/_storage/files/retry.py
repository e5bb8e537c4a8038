"""Repeats a request that failed, a bounded number of times; the one place where that is decided."""

import time
from collections.abc import Callable
from typing import TypeVar

from dsc._storage.files.place import redact
from dsc.errors import DscError

T = TypeVar("T")
RETRIES = 4
BACKOFF_S = 0.2


def repeat(
    call: Callable[[], T],
    where: str,
    attempts: int | None = None,
    on_retry: Callable[[], None] = lambda: None,
) -> T:
    """Call until it succeeds, or cannot succeed.

    Parameters
    ----------
    where
        What is asked for, for messages.
    attempts
        How often it is called at most; None for 4.
    on_retry
        Called before every call but the first.

    Raises
    ------
    FileNotFoundError
        When it is not there; that is final.
    PermissionError
        When the server refuses; that is final, too.
    OSError
        When the network fails again and again, or the server calls the request wrong.
    """
    most = RETRIES if attempts is None else max(1, attempts)
    for attempt in range(most):
        try:
            return call()
        except FileNotFoundError:
            raise FileNotFoundError(f"{where}: there is no such file") from None
        except DscError:
            raise
        except Exception as error:  # every filesystem has network errors of its own
            if attempt == most - 1 or is_final(error):
                # the cause's own message may hold a signature, which a traceback would show
                secret = redact(str(error)) != str(error)
                raise final_error(where, error) from (None if secret else error)
            on_retry()
            time.sleep(BACKOFF_S * 3**attempt)
    raise OSError(f"{where}: not reached")


def is_final(error: Exception) -> bool:
    """Tell whether asking again is useless: refused, or a request that the server calls wrong."""
    status = getattr(error, "status", None)
    wrong = isinstance(status, int) and 400 <= status < 500 and status not in (408, 429)
    return wrong or isinstance(error, PermissionError)


def final_error(where: str, error: Exception) -> OSError:
    """Make the error for a request that is not made again: what was asked, and what to do."""
    shown, status = redact(str(error)), getattr(error, "status", None)
    if isinstance(error, PermissionError) or status in (401, 403):
        return PermissionError(
            f"{where}: {shown or 'refused'}; check the URL, its signature (it may have expired) "
            "and your right to read there"
        )
    return OSError(
        f"{where}: {type(error).__name__}: {shown}; check the network and run the same command "
        "again"
    )
