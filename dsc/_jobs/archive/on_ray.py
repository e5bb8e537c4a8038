"""Runs shard jobs as Ray tasks, on a cluster or in the Ray that this process is in.

Tasks, not actors: a node that dies or joins is Ray's matter then, and a worker process keeps the
opened job from one task to the next. A task returns its shard's small record only, so the object
store holds nothing but the job. At most twice as many tasks as there are slots are under way, so a
plan of a hundred thousand shards costs no more than a plan of ten.
"""

import contextlib
import os
import time
from collections import Counter, deque
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from dsc._jobs.archive.local import Job
from dsc._jobs.archive.tally import Tally
from dsc._jobs.workers.ray_session import IN_FLIGHT_PER_SLOT, SLOTS_EVERY_S, interrupt, session
from dsc._jobs.workers.verdict import RETRIES, Verdict, judge
from dsc._pipeline.write.plan import created_by
from dsc._pipeline.write.shard_job import JobRecord
from dsc.errors import UsageError


def run_on_ray(
    job: Job, shards: Iterable[int], tally: Tally, address: str | None = None
) -> dict[int, str]:
    """Make shards on Ray.

    Parameters
    ----------
    address
        Of a cluster; all its machines must see the source and the output. None for the Ray that
        this process has a connection to.

    Returns
    -------
    dict of int to str
        For each shard that could not be made, why.

    Raises
    ------
    UsageError
        When Ray is not installed or the cluster does not answer.
    """
    with session(0, address) as ray:
        return _Run(ray, job, tally).run(deque(shards))


class _Run:
    """The tasks under way and what became of the others."""

    def __init__(self, ray: Any, job: Job, tally: Tally) -> None:
        self._ray, self._tally = ray, tally
        self._job = ray.put(job)
        self._task = ray.remote(num_cpus=1, max_retries=0)(encode_on_worker)
        self._flying: dict[Any, int] = {}
        self._attempts: Counter[int] = Counter()
        self._failures: dict[int, str] = {}
        self._slots, self._slots_read = 1, -SLOTS_EVERY_S

    def run(self, waiting: deque[int]) -> dict[int, str]:
        try:
            while waiting or self._flying:
                self._submit(waiting)
                ready, _ = self._ray.wait(list(self._flying), num_returns=1, timeout=SLOTS_EVERY_S)
                for ref in ready:
                    self._receive(ref, waiting)
        except BaseException:
            with contextlib.suppress(Exception):  # must not hide why it stops
                interrupt(self._ray, self._flying)
            raise
        return self._failures

    def _submit(self, waiting: deque[int]) -> None:
        while waiting and len(self._flying) < IN_FLIGHT_PER_SLOT * self._count_slots():
            n = waiting.popleft()
            # in a list, so that Ray hands over the reference and a worker opens the job once
            self._flying[self._task.remote([self._job], n)] = n

    def _count_slots(self) -> int:
        """Count the cluster's CPUs, anew every few seconds: nodes come and go."""
        if time.monotonic() - self._slots_read >= SLOTS_EVERY_S:
            self._slots = max(int(self._ray.cluster_resources().get("CPU", 0)), 1)
            self._slots_read = time.monotonic()
        return self._slots

    def _receive(self, ref: Any, waiting: deque[int]) -> None:
        n = self._flying.pop(ref)
        try:
            self._tally.done(self._ray.get(ref))
            return
        except self._ray.exceptions.RayTaskError as error:
            cause: BaseException = getattr(error, "cause", error)
            verdict = judge(cause)
        except self._ray.exceptions.RayError as error:  # the worker or its node died
            cause, verdict = error, Verdict.RETRY
        if verdict is Verdict.FATAL:
            raise cause
        self._attempts[n] += 1
        if verdict is Verdict.RETRY and self._attempts[n] <= RETRIES:
            waiting.append(n)
        else:
            self._failures[n] = f"{type(cause).__name__}: {cause}".splitlines()[0]


def encode_on_worker(job: list[Any], n: int) -> JobRecord:
    """Make one shard in a Ray worker.

    Raises
    ------
    UsageError
        When this worker runs another dsc, which could write other bytes.
    """
    opened = _open_job(job[0])
    if created_by() != opened.plan.created_by:
        raise UsageError(
            f"a worker on {os.uname().nodename} runs {created_by()}, this job was planned by "
            f"{opened.plan.created_by}; install the same version on every node"
        )
    return opened.encode(n)


@lru_cache(maxsize=1)
def _open_job(reference: Any) -> Job:
    import ray

    job: Job = ray.get(reference)
    return job
