"""Repeats what failed and may pass; the one place where it is decided how often and how soon.

A request is made up to `ATTEMPTS` times, with waits of 0.2, 0.6 and 1.8 s in between.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from dsc._storage.files.place import redact
from dsc.errors import DscError

T = TypeVar("T")
ATTEMPTS = 4
BACKOFF_S = 0.2


def call_again(
    call: Callable[[], T],
    may_pass: Callable[[BaseException], bool],
    attempts: int | None = None,
    on_retry: Callable[[], None] = lambda: None,
) -> T:
    """Call until it succeeds, or cannot succeed; raise what the last call raised.

    Parameters
    ----------
    may_pass
        Whether it may succeed after such an error.
    attempts
        How often it is called at most; None for 4.
    on_retry
        Called before every call but the first.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt

    return Retrying(
        stop=stop_after_attempt(ATTEMPTS if attempts is None else max(1, attempts)),
        wait=lambda state: wait_s(state.attempt_number - 1),
        retry=retry_if_exception(may_pass),
        before_sleep=lambda _: on_retry(),
        sleep=time.sleep,
        reraise=True,
    )(call)


def wait_s(failures: int) -> float:
    """Return how long to wait before the next call, in seconds, by how many have failed before."""
    return float(BACKOFF_S * 3**failures)


def repeat(
    request: Callable[[], T],
    where: str,
    attempts: int | None = None,
    on_retry: Callable[[], None] = lambda: None,
) -> T:
    """Make a request until it succeeds, or cannot succeed.

    Parameters
    ----------
    where
        What is asked for, for messages.
    attempts, on_retry
        See `call_again`.

    Raises
    ------
    FileNotFoundError
        When it is not there; that is final.
    PermissionError
        When the server refuses; that is final, too.
    OSError
        When the network fails again and again, or the server calls the request wrong.
    """
    try:
        return call_again(request, _may_pass, attempts, on_retry)
    except FileNotFoundError:
        raise FileNotFoundError(f"{where}: there is no such file") from None
    except DscError:
        raise
    except Exception as error:  # every filesystem has network errors of its own
        # the cause's own message may hold a signature, which a traceback would show
        secret = redact(str(error)) != str(error)
        raise final_error(where, error) from (None if secret else error)


def _may_pass(error: BaseException) -> bool:
    final = isinstance(error, FileNotFoundError | DscError) or not isinstance(error, Exception)
    return not final and not is_final(error)


def is_final(error: BaseException) -> bool:
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
