"""Computes replay runs as Ray tasks, on this machine or a cluster.

Tasks, not actors: a node that dies or joins is Ray's matter. Images are loaded by the workers, from
where the configuration says, and kept from one run to the next; a task that has a GPU gets a
process of its own, as Ray frees GPU memory only so, and loads them again. A task returns the run's
result, a few kilobytes.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from dsc._jobs.replay.task import Workplace, compute_on_worker, token_in
from dsc._jobs.workers.ray_session import IN_FLIGHT_PER_SLOT, SLOTS_EVERY_S, interrupt, session
from dsc._jobs.workers.verdict import RETRIES, is_full_disk
from dsc._pipeline.write.plan import created_by
from dsc._replay.experiment.checkpoint import CHECKPOINT
from dsc._replay.experiment.plan import RunConfig
from dsc._replay.experiment.result import ResultRow
from dsc._replay.experiment.run import Tell
from dsc._replay.experiment.sweep import work_path
from dsc.errors import IncompleteError, RunClaimedError, UsageError, WrongPlaceError

LOOK_EVERY_S = 1.0

Received = Callable[[RunConfig, ResultRow], None]


def compute_all(
    configs: Sequence[RunConfig],
    place: Workplace,
    workers: int,
    address: str | None,
    received: Received,
    notify: Tell,
) -> dict[str, BaseException]:
    """Compute runs on Ray.

    Parameters
    ----------
    workers, address
        As `dsc._jobs.workers.ray_session.session` takes them.
    received
        Called with each result as it comes.
    notify
        Is told what is waited for.

    Returns
    -------
    dict of str to exception
        For each run that failed, by id, why.

    Raises
    ------
    UsageError
        When Ray cannot be had, has no GPU where one is wanted, or a worker is at a wrong place.
    """
    unique = {config.id: config for config in configs}
    with token_in(place.out) as token, session(workers, address) as ray:
        place = replace(place, token=token, version=created_by())
        _check_resources(ray, place)
        return _Runs(ray, place, received, notify).compute(list(unique.values()))


def _check_resources(ray: Any, place: Workplace) -> None:
    """Refuse what Ray would wait for without end."""
    has, wants = ray.cluster_resources(), _resources(place)
    for name, unit in (("GPU", "GPUs"), ("CPU", "CPUs")):
        if has.get(name, 0) < wants[name]:
            hint = "use --device cpu" if name == "GPU" else "use fewer --threads"
            raise UsageError(
                f"a run wants {wants[name]:g} {unit} and Ray has {has.get(name, 0):g}; {hint}, or "
                "a cluster that has them"
            )


def _resources(place: Workplace) -> dict[str, float]:
    return {"CPU": float(place.threads), "GPU": place.gpus}


class _Runs:
    """The runs under way and what became of the others."""

    def __init__(self, ray: Any, place: Workplace, received: Received, notify: Tell) -> None:
        self._ray, self._place, self._received, self._notify = ray, place, received, notify
        wants = _resources(place)
        self._task = ray.remote(num_cpus=wants["CPU"], num_gpus=wants["GPU"], max_retries=0)(
            compute_on_worker
        )
        self._waiting: list[RunConfig] = []
        self._claimed: dict[str, float] = {}  # runs of another sweep, and when to look again
        self._flying: dict[Any, RunConfig] = {}
        self._deaths: Counter[str] = Counter()
        self._checkpoints: dict[str, int | None] = {}
        self._failures: dict[str, BaseException] = {}
        self._slots, self._slots_read = 1, -SLOTS_EVERY_S

    def compute(self, configs: Sequence[RunConfig]) -> dict[str, BaseException]:
        self._waiting = list(configs)
        try:
            while self._waiting or self._flying:
                self._submit()
                if not self._flying:
                    time.sleep(LOOK_EVERY_S)
                    continue
                ready, _ = self._ray.wait(list(self._flying), timeout=LOOK_EVERY_S)
                for ref in ready:
                    self._receive(ref)
        except BaseException:
            with contextlib.suppress(Exception):  # must not hide why it stops
                interrupt(self._ray, self._flying)
            raise
        return self._failures

    def _submit(self) -> None:
        now = time.monotonic()
        due = [one for one in self._waiting if self._claimed.get(one.id, now) <= now]
        for config in due[: IN_FLIGHT_PER_SLOT * self._count_slots() - len(self._flying)]:
            self._waiting.remove(config)
            self._flying[self._task.remote(self._place, config)] = config

    def _count_slots(self) -> int:
        """Count the runs that have room at a time, anew every few seconds: nodes come and go."""
        if time.monotonic() - self._slots_read >= SLOTS_EVERY_S:
            has = self._ray.cluster_resources()
            rooms = [
                has.get(name, 0) / want for name, want in _resources(self._place).items() if want
            ]
            self._slots, self._slots_read = max(int(min(rooms)), 1), time.monotonic()
        return self._slots

    def _receive(self, ref: Any) -> None:
        config = self._flying.pop(ref)
        try:
            self._received(config, self._ray.get(ref))
        except self._ray.exceptions.RayTaskError as error:
            self._failed(config, getattr(error, "cause", error))
        except self._ray.exceptions.RayError as error:  # the worker or its node died
            self._died(config, error)

    def _failed(self, config: RunConfig, why: BaseException) -> None:
        if isinstance(why, WrongPlaceError | KeyboardInterrupt) or is_full_disk(why):
            raise why
        if isinstance(why, RunClaimedError):
            if config.id not in self._claimed:
                self._notify(f"{why}; this sweep takes its result")
            self._claimed[config.id] = time.monotonic() + LOOK_EVERY_S
            self._waiting.append(config)
        else:
            self._failures[config.id] = why

    def _died(self, config: RunConfig, why: BaseException) -> None:
        """Let a run go on from its checkpoint, unless its worker dies at one place every time."""
        checkpoint = self._checkpoint(config)
        if checkpoint != self._checkpoints.get(config.id):
            self._deaths[config.id] = 0
        self._checkpoints[config.id] = checkpoint
        self._deaths[config.id] += 1
        if self._deaths[config.id] > RETRIES:
            reason = str(why).splitlines()[0]
            self._failures[config.id] = IncompleteError(
                f"its worker died {RETRIES + 1} times at the same place: {reason}"
            )
        else:
            self._waiting.append(config)

    def _checkpoint(self, config: RunConfig) -> int | None:
        """Tell one checkpoint of a run from another."""
        try:
            return (work_path(config, self._place.out) / CHECKPOINT).stat().st_mtime_ns
        except FileNotFoundError:
            return None
