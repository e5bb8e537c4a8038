"""Threads that decode for a feed, ahead of the training loop.

Decoders work without the interpreter's lock, so that threads of one process do what processes would
do, and hand a batch over without copying it.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from dsc._pipeline.choose.codec_set import Job

MOST = 8  # threads, where none are asked for: more than that hardly ever wait for one loop
SHARES = 4  # of the jobs of a batch, for each thread


class DecodePool:
    """Threads that run jobs; a batch's are submitted together and waited for together."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "dsc-decode")
        self._waiting: set[Future[None]] = set()

    def submit(self, jobs: Sequence[Job]) -> Callable[[], None]:
        """Run jobs, and return what waits for all of them and raises what the first one raised."""
        size = max(len(jobs) // (SHARES * self._threads), 1)
        futures = [
            self._pool.submit(_run, jobs[start : start + size])
            for start in range(0, len(jobs), size)
        ]
        self._waiting.update(futures)

        def wait() -> None:
            try:
                for future in futures:
                    future.result()
            finally:
                self._waiting.difference_update(futures)

        return wait

    def forget(self) -> None:
        """Call off what nobody will wait for; jobs that have begun end by themselves."""
        for future in self._waiting:
            future.cancel()
        self._waiting.clear()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)


def default_threads() -> int:
    """Return how many threads decode in a process that has processors to itself; 0 of one only."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        processors = os.cpu_count() or 1
    return 0 if processors == 1 else min(processors, MOST)


def _run(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job()
