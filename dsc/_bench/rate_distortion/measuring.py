"""Runs all parts of a benchmark, here or in processes, and keeps each result as it comes."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from dsc._bench.rate_distortion.points import Job, measure_job
from dsc._bench.store import Store
from dsc.errors import IncompleteError, SampleError

BenchProgress = Callable[[int, int], None]


def measure_all(
    jobs: Sequence[Job], store: Store, workers: int, progress: BenchProgress
) -> tuple[dict[Job, dict[str, Any]], list[str]]:
    """Measure what the store does not have.

    Parameters
    ----------
    jobs
        In an order in which neighbours read the same samples.
    workers
        Processes; 1 works in this one.
    progress
        Called with (done, total).

    Returns
    -------
    parts
        What `measure_job` gave, by job.
    failures
        A line for each job whose codec failed.

    Raises
    ------
    IncompleteError
        When a worker process died.
    """
    found = {job: value for job in jobs if (value := store.get(job.identity())) is not None}
    missing = [job for job in jobs if job not in found]
    failures: list[str] = []
    progress(len(found), len(jobs))
    for job, value, failure in _run(missing, workers):
        if value is None:
            failures.append(failure)
        else:
            store.put(job.identity(), value)
            found[job] = value
        progress(len(found) + len(failures), len(jobs))
    return found, failures


def _run(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, dict[str, Any] | None, str]]:
    """Measure jobs. Yield each as it is done, with the reason where it failed."""
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield job, *_attempt(job)
        return
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            pending = {pool.submit(_attempt, job): job for job in jobs}
            try:
                for future in as_completed(pending):
                    yield pending[future], *future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    except BrokenProcessPool:
        raise IncompleteError(
            "a worker process died, most likely for want of memory; run the same command again "
            "with fewer --workers: what is measured is kept"
        ) from None


def _attempt(job: Job) -> tuple[dict[str, Any] | None, str]:
    try:
        return measure_job(job), ""
    except SampleError as error:
        return None, str(error)
