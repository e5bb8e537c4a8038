"""Worker processes on this machine, which are given pieces of work and answer in parts.

A worker is an interpreter of its own, connected by a socket. It ends as soon as the other end is
closed, so it never outlives who started it, however that one ended. One that dies is replaced; of
the pieces that it had, the first is given back with a `WorkerDiedError`, the others are begun anew.
Nothing a worker does may need to be undone: it may be killed at any moment, and is, at the end.
"""

import contextlib
import importlib
import json
import os
import pickle
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from multiprocessing.connection import Connection, Pipe, wait
from queue import SimpleQueue
from typing import Any, Self

from dsc.errors import UsageError

IN_WORKER = "DSC_IN_WORKER"
TASK, PIECE = b"T", b"P"  # what the first byte of a message says
PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from dsc._jobs.workers.pool import serve; serve(int(sys.argv[1]))"
)
NO_GUARD = (
    "because the script begins to work when it is imported; put its calls under "
    '`if __name__ == "__main__":`'
)

Task = Callable[[Any], Iterator[Any]]


class WorkerDiedError(Exception):
    """A worker process ended while it worked."""


@dataclass(frozen=True)
class Answer:
    """What a worker says of a piece: a part of the result, or that it was the last, or an error."""

    piece: Any
    part: Any = None
    is_end: bool = False
    error: BaseException | None = None


@dataclass
class _Worker:
    process: "subprocess.Popen[bytes]"
    link: Connection
    pieces: deque[Any] = field(default_factory=deque)
    has_begun: bool = False


class Pool:
    """Worker processes that start at once, and end with the block.

    Parameters
    ----------
    workers
        How many.
    preload
        Modules that they import while they have no task.

    Attributes
    ----------
    workers
        How many.

    Raises
    ------
    UsageError
        When it is made by a worker.
    """

    def __init__(self, workers: int, preload: Sequence[str] = ()) -> None:
        if IN_WORKER in os.environ:
            raise UsageError(f"a worker process came here, {NO_GUARD}")
        self.workers = workers
        self._preload, self._task, self._ahead = list(preload), b"", 1
        self._staff: list[_Worker] = []
        try:
            for _ in range(workers):
                self._staff.append(self._start())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def load(self, task: Task, ahead: int = 2) -> None:
        """Give all workers the function that does a piece; it travels by pickle.

        Parameters
        ----------
        ahead
            Pieces that a worker has at a time; with 2 it never waits for the next one.
        """
        self._ahead = ahead
        data = TASK + pickle.dumps((_main_program(), pickle.dumps(task)))
        if data != self._task:  # a listing of a million files is not sent twice
            self._task = data
            for worker in self._staff:
                self._send(worker, data)

    @property
    def room(self) -> int:
        """How many pieces can be submitted now."""
        return sum(self._ahead - len(worker.pieces) for worker in self._staff)

    @property
    def is_busy(self) -> bool:
        """Whether pieces are under way."""
        return any(worker.pieces for worker in self._staff)

    def submit(self, piece: Any) -> None:
        """Give a piece to a worker that has the fewest."""
        worker = min(self._staff, key=lambda one: len(one.pieces))
        self._give(worker, piece)

    def answers(self) -> Iterator[Answer]:
        """Wait until a worker says something, and yield what was said."""
        links = {worker.link: worker for worker in self._staff if worker.pieces}
        for link in wait(list(links)):
            worker = links[link]  # type: ignore[index]
            try:
                kind, value = worker.link.recv()
            except (EOFError, OSError):
                yield from self._replace(worker)
                continue
            worker.has_begun = True
            piece = worker.pieces[0] if kind == "part" else worker.pieces.popleft()
            yield Answer(piece, *((value,) if kind == "part" else (None, kind == "end", value)))

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in self._staff:
            worker.link.close()
            worker.process.kill()
        for worker in self._staff:
            worker.process.wait()
        self._staff = []

    def _start(self) -> _Worker:
        ours, theirs = Pipe()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(theirs.fileno()), json.dumps(sys.path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1", IN_WORKER: "1"},
                start_new_session=True,  # Ctrl-C is for who started it
            )
        worker = _Worker(process, ours)
        self._send(worker, pickle.dumps(self._preload))
        return worker

    def _replace(self, worker: _Worker) -> Iterator[Answer]:
        """Start another worker in the place of one that died."""
        worker.link.close()
        status = worker.process.wait()
        if status > 0 and not worker.has_begun:
            raise RuntimeError(f"a worker process could not begin (exit status {status})")
        first, *others = worker.pieces
        fresh = self._start()
        self._staff[self._staff.index(worker)] = fresh
        self._send(fresh, self._task)
        for piece in others:
            self._give(fresh, piece)
        yield Answer(first, error=WorkerDiedError(f"the worker process {_ending(status)}"))

    def _give(self, worker: _Worker, piece: Any) -> None:
        worker.pieces.append(piece)
        self._send(worker, PIECE + pickle.dumps(piece))

    @staticmethod
    def _send(worker: _Worker, data: bytes) -> None:
        with contextlib.suppress(OSError):  # that it died is found when it is listened to
            worker.link.send_bytes(data)


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name}"
    return f"was ended by signal {-status}"


def _main_program() -> tuple[str, str] | None:
    """Say from where the main program's classes can be imported, if they can."""
    main = sys.modules["__main__"]
    spec, path = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return "module", spec.name
    if path is None or not os.path.isfile(path):  # a session, or a script that came through a pipe
        return None
    return "path", os.path.abspath(path)


def serve(fd: int) -> None:
    """Work until the other end is closed: first comes a list of modules, then tasks and pieces."""
    link = Connection(fd)
    said: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(link, said), daemon=True).start()
    for name in pickle.loads(said.get()):
        importlib.import_module(name)
    data, task = b"", None
    while True:
        message = said.get()
        if message.startswith(TASK):
            data, task = message[1:], None
            continue
        try:
            task = _unpickled(data) if task is None else task
            for part in task(pickle.loads(message[1:])):
                link.send(("part", part))
            link.send(("end", None))
        except Exception as error:
            link.send(("error", _portable(error)))


def _listen(link: Connection, said: "SimpleQueue[bytes]") -> None:
    """Pass on what is said; end the process when nobody is there to say anything."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            said.put(link.recv_bytes())
    os._exit(0)


def _unpickled(data: bytes) -> Task:
    main, pickled = pickle.loads(data)
    task: Task = _Unpickler(pickled, main).load()
    return task


class _Unpickler(pickle.Unpickler):
    """Reads a pickle that may name classes of the program that started this process."""

    def __init__(self, data: bytes, main: tuple[str, str] | None) -> None:
        super().__init__(BytesIO(data))
        self._main = main

    def find_class(self, module: str, name: str, /) -> Any:
        if module != "__main__":
            return super().find_class(module, name)
        if self._main is None:
            raise UsageError(
                f"{name} was defined in an interactive session, where worker processes cannot find "
                "it; put it in a module, or work in this process, without workers"
            )
        if not hasattr(sys.modules["__main__"], name):
            sys.modules["__main__"].__dict__.update(_imported(*self._main, name))
        return super().find_class(module, name)


def _imported(kind: str, where: str, name: str) -> dict[str, Any]:
    """Run the main program as one that is imported, and return what it defines."""
    run = runpy.run_path if kind == "path" else runpy.run_module
    try:
        return run(where, run_name="__mp_main__")
    except (Exception, SystemExit) as error:  # often it met what it does itself, such as a lock
        if NO_GUARD in str(error):
            raise
        raise UsageError(
            f"{where}: a worker process that looked for {name} there met {type(error).__name__}: "
            f"{error}; most likely {NO_GUARD}"
        ) from error


def _portable(error: Exception) -> Exception:
    """Return an error that arrives as it is, with where it was raised as a note."""
    error.add_note(f"in a worker process:\n{''.join(traceback.format_exception(error))}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
