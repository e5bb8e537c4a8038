"""Worker processes do pieces of work, are replaced when they die, and never outlive their owner."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from dsc._jobs.workers.pool import IN_WORKER, Answer, Pool, WorkerDiedError
from dsc.errors import SampleError, UsageError
from tests.jobs.faults import descendants, kill, wait_for
from tests.places import ROOT


@dataclass(frozen=True)
class Count:
    """Counts up to the piece, and does what a word says instead."""

    start: int = 0

    def __call__(self, piece: int | str) -> Iterator[int]:
        if isinstance(piece, int):
            yield from range(self.start, self.start + piece)
        elif piece == "pid":
            yield os.getpid()
        elif piece == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif piece == "sleep":
            time.sleep(600)
        elif piece == "lambda":
            yield lambda: 0
        else:
            raise SampleError(piece)


def answers(pool: Pool, *pieces: int | str) -> list[Answer]:
    found: list[Answer] = []
    for piece in pieces:
        pool.submit(piece)
    while pool.is_busy:
        found += pool.answers()
    return found


def parts(found: list[Answer], piece: int | str) -> list[int]:
    return [one.part for one in found if one.piece == piece and not one.is_end]


def is_alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_pieces_are_answered_part_by_part() -> None:
    with Pool(2) as pool:
        pool.load(Count())
        assert pool.room == 4
        found = answers(pool, 3, 0, 2)
        assert [parts(found, piece) for piece in (3, 0, 2)] == [[0, 1, 2], [], [0, 1]]
        assert sum(one.is_end for one in found) == 3
        pool.load(Count(5))
        assert parts(answers(pool, 2), 2) == [5, 6]


def test_work_is_given_to_the_worker_with_least_of_it() -> None:
    with Pool(2) as pool:
        pool.load(Count())
        pids = {one.part for one in answers(pool, "pid", "pid") if not one.is_end}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_an_error_arrives_as_it_was_raised_and_says_where() -> None:
    with Pool(1) as pool:
        pool.load(Count())
        [answer] = answers(pool, "a bad sample")
        assert type(answer.error) is SampleError
        assert str(answer.error) == "a bad sample"
        assert "tests/jobs/workers/test_pool.py" in "".join(answer.error.__notes__)
        assert parts(answers(pool, 2), 2) == [0, 1]


def test_a_worker_that_dies_gives_back_what_it_was_at_and_no_more() -> None:
    with Pool(1) as pool:
        pool.load(Count())
        found = answers(pool, "die", 3)
        assert [type(one.error) for one in found if one.piece == "die"] == [WorkerDiedError]
        assert "SIGKILL" in str(found[0].error)
        assert parts(found, 3) == [0, 1, 2]


def test_workers_end_with_the_block_whatever_they_do() -> None:
    with Pool(2) as pool:
        pool.load(Count())
        pids = [one.part for one in answers(pool, "pid", "pid") if not one.is_end]
        pool.submit("sleep")
        assert all(map(is_alive, pids))
    assert not any(map(is_alive, pids))


def test_what_cannot_begin_is_an_error_and_not_tried_for_ever() -> None:
    with Pool(1, preload=["no_such_module"]) as pool:
        pool.load(Count())
        with pytest.raises(RuntimeError, match="exit status 1"):
            answers(pool, 1)


def test_a_worker_hires_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IN_WORKER, "1")
    with pytest.raises(UsageError, match='if __name__ == "__main__"'):
        Pool(1)


SCRIPT = """
import os, sys, time
from dsc._jobs.workers.pool import Pool

class Here:
    def __call__(self, piece):
        yield piece + 1

def main():
    with Pool(2) as pool:
        pool.load(Here())
        pool.submit(41)
        for answer in pool.answers():
            print("answer", answer.part, answer.error, flush=True)
        if "wait" in sys.argv:
            time.sleep(600)

if __name__ == "__main__":
    main()
"""


def script(*words: str, stdin: IO[str] | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_script_may_define_what_its_workers_do(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SCRIPT)
    with script(str(tmp_path / "main.py")) as process:
        assert process.communicate(timeout=60)[0] == "answer 42 None\n"


def test_what_an_interactive_session_defines_is_refused() -> None:
    with script("-c", SCRIPT) as process:
        assert "Here was defined in an interactive session" in process.communicate(timeout=60)[0]


def test_what_comes_through_a_pipe_is_refused_as_a_session_is(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SCRIPT)
    with (tmp_path / "main.py").open() as piped, script("-", stdin=piped) as process:
        assert "Here was defined in an interactive session" in process.communicate(timeout=60)[0]


@pytest.mark.parametrize("before", ["", "os.mkdir(__file__ + '.made')\n", "sys.exit('mkdir')\n"])
def test_a_script_without_a_guard_is_told_to_have_one(before: str, tmp_path: Path) -> None:
    started = 'if __name__ == "__main__":\n    main()'
    assert started in SCRIPT
    if "exit" in before:
        before = f"if __name__ != '__main__': {before}"
    (tmp_path / "main.py").write_text(SCRIPT.replace(started, f"{before}main()"))
    with script(str(tmp_path / "main.py")) as process:
        said = process.communicate(timeout=60)[0]
    assert 'put its calls under `if __name__ == "__main__":`' in said
    assert ("most likely" in said) is bool(before)


def test_workers_end_when_who_hired_them_is_killed(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SCRIPT)
    with script(str(tmp_path / "main.py"), "wait") as process:
        assert process.stdout is not None
        process.stdout.readline()
        below = descendants(process.pid)
        try:
            assert len(below) == 2
            process.kill()
            wait_for(lambda: not any(map(is_alive, below)), timeout_s=60)
        finally:
            kill(below)
