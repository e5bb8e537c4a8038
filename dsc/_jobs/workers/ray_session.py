"""A connection to Ray, of this machine or of a cluster; and how all jobs feed it."""

import contextlib
import logging
import os
import socket
from collections.abc import Collection, Iterator
from typing import Any

from dsc.errors import UsageError

NEEDS_RAY = "{} needs Ray: pip install 'dsc[ray]'"
IN_FLIGHT_PER_SLOT = 2  # so that no worker waits for the next task
OBJECT_STORE_BYTES = 200 << 20
SLOTS_EVERY_S = 5.0  # nodes come and go: how often the cluster's size is read
STOP_WITHIN_S = 10.0
CONNECT_WITHIN_S = 10.0


@contextlib.contextmanager
def session(workers: int, address: str | None) -> Iterator[Any]:
    """Yield a connected Ray; stop it afterwards if it was started here."""
    try:
        import ray
    except ImportError:
        option = "--workers" if address is None else "--address"
        raise UsageError(NEEDS_RAY.format(option)) from None
    if ray.is_initialized():
        yield ray
        return
    if address is not None:
        _check_answers(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is not None:
            ray.init(address=address, **quiet)
        else:
            ray.init(
                address="local",  # not the cluster that RAY_ADDRESS may name
                num_cpus=workers,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                **quiet,
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"--address {address}" if address else f"--workers {workers}"
        raise UsageError(f"{where}: {_why(error)}") from error
    try:
        yield ray
    finally:
        with contextlib.suppress(Exception):  # must not hide how the work ended
            ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuse an address where nothing listens: Ray itself takes minutes to give up."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # "auto" and the like, which Ray looks up
    try:
        socket.create_connection((host, int(port)), CONNECT_WITHIN_S).close()
    except OSError as error:
        raise UsageError(
            f"--address {address}: no Ray answers there ({error}); "
            "start one with `ray start --head`, or use --workers N on this machine"
        ) from error


def _why(error: BaseException) -> str:
    """Say why Ray could not be had."""
    if "AuthToken" in f"{error} {error.__cause__}":
        return (
            "this Ray wants a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH (or "
            "RAY_AUTH_TOKEN) to the token that its head node was started with"
        )
    return f"Ray does not answer: {error}"


def interrupt(ray: Any, tasks: Collection[Any]) -> None:
    """Interrupt tasks, so that they end in order and remove their unfinished files; wait for it."""
    for ref in tasks:
        ray.cancel(ref, force=False)
    if tasks:
        ray.wait(list(tasks), num_returns=len(tasks), timeout=STOP_WITHIN_S)
