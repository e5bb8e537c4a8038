"""Where the next loop over a stream begins, told to the workers of a data loader of the user's own.

A plain DataLoader never asks its dataset for an iterator in the training process: its workers do,
each by itself, and they may live for many loops. So the place lies on a *board*, a few bytes of
shared memory that forked and spawned workers have in common with the process that made the stream.
The worker of a loop that comes first takes the place off the board, for all of its loop, and puts
the next epoch in its stead; the others find what it took. Each loop that is begun is an epoch,
whether or not it is left early: no worker can know how much of it the training loop has had.

A loop is known by what all its workers share and no other loop has: the loader's seed, how often
the workers have begun (they live on with ``persistent_workers``), and the number of the first of
its processes.
"""

import fcntl
import json
import multiprocessing
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from typing import Any, NamedTuple, Self

from dsc._stream.order import OrderSpec
from dsc.errors import UsageError

BOARD_BYTES = 64 << 10
KEPT_LOOPS = 16  # of which a late worker still finds the place
KEPT_COURSES = 8


class LoopStart(NamedTuple):
    """A position of an epoch in an order."""

    spec: OrderSpec
    epoch: int
    position: int

    def next(self) -> Self:
        """Return the start of the next epoch."""
        return self._replace(epoch=self.epoch + 1, position=0)


class LoopWorker(NamedTuple):
    """One worker of a data loader in one of its loops.

    Attributes
    ----------
    seed
        Of the loader's iterator: the same in all its workers.
    loop
        How many loops this worker has begun before.
    process
        Number of this process among the children of the training process.
    """

    worker: int
    workers: int
    seed: int
    loop: int
    process: int

    @classmethod
    def here(cls, worker: int, workers: int, seed: int, loop: int) -> Self:
        """Describe this process, which is worker `worker` of `workers`; `seed` is its own."""
        process = multiprocessing.current_process()._identity
        return cls(worker, workers, seed - worker, loop, process[-1] if process else worker)

    def joins(self, loop: dict[str, Any]) -> bool:
        """Tell whether that loop, begun by another worker, is this one's.

        Raises
        ------
        UsageError
            When that cannot be told.
        """
        same = loop["seed"] == self.seed and loop["loop"] == self.loop
        if not same or loop["workers"] != self.workers or self.worker in loop["arrived"]:
            return False
        # workers start one after another; another thread may start processes in between
        if abs(self.process - self.worker - loop["first"]) < self.workers:
            return True
        if len(loop["arrived"]) == self.workers:
            return False
        raise UsageError(
            "two data loaders with the same seed were begun over one stream, the second before all "
            "workers of the first had started, so that their workers cannot be told apart: give "
            "each loader a stream of its own, or leave out the seed (torch.manual_seed, generator) "
            "before each loop; order and epoch are decided by dsc.stream(..., seed=) alone"
        )


class Board:
    """The place of the next loop, shared by a process and the workers of its data loaders.

    Only the process that made the board, its `owner`, goes to places; each time begins another
    *course*. A loop keeps to the course on which it was begun, although its workers may come late.

    It pickles for a process that is being spawned, and for nothing else.
    """

    def __init__(self, place: LoopStart) -> None:
        self.owner = os.getpid()
        self._hold(_shared_file())
        self._write({"course": 0, "next": {"0": _plain(place)}, "begun": None, "loops": []})

    def __getstate__(self) -> dict[str, Any]:
        return {"owner": self.owner, "file": reduction.DupFd(self._file)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.owner = state["owner"]
        self._hold(state["file"].detach())

    def _hold(self, file: int) -> None:
        self._file = file
        weakref.finalize(self, os.close, file).atexit = False

    @property
    def is_here(self) -> bool:
        """Whether this process owns the board."""
        return self.owner == os.getpid()

    @property
    def is_parents(self) -> bool:
        """Whether the process that started this one owns the board."""
        parent = multiprocessing.parent_process()
        return parent is not None and parent.pid == self.owner

    def next(self) -> LoopStart:
        """Return the place of the next loop."""
        with self._locked() as state:
            return _place(state["next"][str(state["course"])])

    def begun(self) -> LoopStart | None:
        """Return where the workers of a loader have begun last.

        None when none has since `go_to`.
        """
        with self._locked() as state:
            return None if state["begun"] is None else _place(state["begun"])

    def go_to(self, place: LoopStart) -> int:
        """Let the next loop begin at a place, and return the number of the course."""
        with self._locked() as state:
            state["course"] += 1
            state["begun"] = None
            state["next"][str(state["course"])] = _plain(place)
            state["next"].pop(str(state["course"] - KEPT_COURSES), None)
            self._write(state)
            return int(state["course"])

    def begin(self, worker: LoopWorker, course: int | None, loaded: LoopStart | None) -> LoopStart:
        """Return the place at which a worker's loop begins, the same for all workers of the loop.

        Parameters
        ----------
        course
            The one on which the loop was begun; None for the present one.
        loaded
            Where this worker was told to begin, whatever the board says.

        Raises
        ------
        UsageError
            When workers of one loop would begin at different places.
        """
        with self._locked() as state:
            course = state["course"] if course is None else course
            loop = next((loop for loop in reversed(state["loops"]) if worker.joins(loop)), None)
            if loop is None:
                loop = _new_loop(worker, loaded or _on_course(state, course))
                if str(course) in state["next"]:
                    state["next"][str(course)] = _plain(_place(loop["place"]).next())
                if course == state["course"]:
                    state["begun"] = loop["place"]
                state["loops"] = [*state["loops"][1 - KEPT_LOOPS :], loop]
            loop["arrived"].append(worker.worker)
            self._write(state)
        place = _place(loop["place"])
        if loaded is not None and loaded != place:
            raise UsageError(
                f"worker {worker.worker} of {worker.workers} was sent to epoch {loaded.epoch}, "
                f"another one of the same data loader to epoch {place.epoch}; load a state or set "
                "an epoch in the training process, on the stream itself"
            )
        return place

    @contextmanager
    def _locked(self) -> Iterator[dict[str, Any]]:
        """Read what the board says and keep the others away; the kernel frees a dead one's lock."""
        # a lock of the process: `dsc._storage.files.lock` has those of an open file, which forked
        # workers share, and of a name, which this file has not
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            text, _, _ = os.pread(self._file, BOARD_BYTES, 0).partition(b"\0")
            yield json.loads(text)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _write(self, state: dict[str, Any]) -> None:
        text = json.dumps(state, separators=(",", ":")).encode()
        os.pwrite(self._file, text + b"\0", 0)  # at once: a killed writer leaves all of it


def spawning() -> bool:
    """Tell whether what is being pickled goes to a process that is being started."""
    return get_spawning_popen() is not None


def _shared_file() -> int:
    """Open a file that has no name and is gone with the last process that holds it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("dsc-stream")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _new_loop(worker: LoopWorker, place: LoopStart) -> dict[str, Any]:
    return {
        "seed": worker.seed,
        "loop": worker.loop,
        "workers": worker.workers,
        "first": worker.process - worker.worker,
        "arrived": [],
        "place": _plain(place),
    }


def _on_course(state: dict[str, Any], course: int) -> LoopStart:
    found = state["next"].get(str(course))
    if found is None:
        raise UsageError(
            f"a worker of a data loader came when set_epoch or load_state_dict had been called "
            f"{state['course'] - course} times since its loop was begun; call them before the "
            "loop, once"
        )
    return _place(found)


def _plain(place: LoopStart) -> dict[str, Any]:
    return {"spec": place.spec.model_dump(), "epoch": place.epoch, "position": place.position}


def _place(plain: dict[str, Any]) -> LoopStart:
    return LoopStart(OrderSpec(**plain["spec"]), plain["epoch"], plain["position"])
