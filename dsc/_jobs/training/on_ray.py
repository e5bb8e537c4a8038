"""Trains in a Ray actor: the same loop on another machine, on its GPU where it has one.

The caller keeps the reins: it lets the actor run for a few seconds, receives rows and, when one is
due, a checkpoint. Nothing is written there, so a worker that dies costs what was done since the
last checkpoint.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dsc._jobs.workers.ray_session import session as ray_connection
from dsc._training.config import TrainConfig
from dsc._training.evaluate import Figures
from dsc._training.export import Export
from dsc._training.loop import Advance
from dsc._training.session import About, Machine, Session
from dsc.errors import IncompleteError

SLICE_S = 4.0  # a call costs some milliseconds; a Ctrl-C waits for it


class RaySession:
    """What `dsc._training.session.Session` does, done by an actor."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor

    def about(self) -> About:
        """See `Session.about`."""
        found: About = self._call("about")
        return found

    def advance(self, seconds: float, stop: Callable[[], bool] = bool) -> Advance:
        """See `Session.advance`; `stop` is only asked between calls."""
        made: Advance = self._call("advance", max(seconds, SLICE_S))
        return made

    def checkpoint(self) -> bytes:
        """See `Session.checkpoint`."""
        data: bytes = self._call("checkpoint")
        return data

    def skipped(self) -> dict[str, str]:
        """See `Session.skipped`."""
        found: dict[str, str] = self._call("skipped")
        return found

    def evaluate(self, qualities: Sequence[int]) -> list[Figures]:
        """See `Session.evaluate`."""
        found: list[Figures] = self._call("evaluate", list(qualities))
        return found

    def card(self, figures: list[Figures]) -> dict[str, Any]:
        """See `Session.card`."""
        found: dict[str, Any] = self._call("card", figures)
        return found

    def export(self, card: dict[str, Any]) -> Export:
        """See `Session.export`."""
        made: Export = self._call("export", card)
        return made

    def _call(self, method: str, *given: Any) -> Any:
        try:
            return self._ray.get(self._actor.call.remote(method, *given))
        except self._ray.exceptions.RayTaskError as error:
            raise getattr(error, "cause", error) from None
        except self._ray.exceptions.RayError as error:
            reason = str(error).splitlines()[0]
            raise IncompleteError(
                f"the worker that trained died ({reason}); the same command goes on from the "
                "last checkpoint"
            ) from error


class Worker:
    """The actor: a session that is opened by a call, so that its errors arrive as they are."""

    def __init__(self, *given: Any) -> None:
        self._given: tuple[Any, ...] = given
        self._session: Session | None = None

    def call(self, method: str, *given: Any) -> Any:
        """Call a method of the session."""
        if self._session is None:
            self._session, self._given = Session(*self._given), ()
        return getattr(self._session, method)(*given)


AnySession = Session | RaySession


@contextmanager
def ray_session(
    config: TrainConfig,
    state: bytes | None,
    start: bytes | None,
    machine: Machine,
    where: str,
    teacher: bytes | None,
    address: str | None,
) -> Iterator[RaySession]:
    """Start an actor that trains; it takes a GPU where there is one and `machine` lets it.

    Parameters
    ----------
    config, state, start, machine, where, teacher
        As `Session` takes them.
    address
        Address of a cluster; None starts a Ray here.

    Raises
    ------
    UsageError
        When Ray is not installed, the cluster does not answer, or the run cannot be made.
    """
    workers = 0 if address is not None else machine.threads
    with ray_connection(workers, address) as ray:
        gpus = int(machine.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1)
        made = ray.remote(num_cpus=machine.threads, num_gpus=gpus, max_restarts=0)(Worker)
        actor = made.remote(config, state, start, machine, where, teacher)
        try:
            session = RaySession(ray, actor)
            session.about()  # what is wrong with the run is known now
            yield session
        finally:
            ray.kill(actor)
