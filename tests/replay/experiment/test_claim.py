"""A run is computed by one process at a time, and the claim on it ends with its holder."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dsc._replay.experiment.claim import claim, claim_path
from dsc._replay.experiment.plan import Sweep
from dsc._replay.experiment.result import ResultRow
from dsc._replay.experiment.sweep import result_path, sweep, work_path
from dsc.errors import RunClaimedError
from tests.jobs.faults import ROOT, wait_for
from tests.replay.class_pictures import make_pictures, write_folder

HOLDER = """
import sys, time
from pathlib import Path
from dsc._replay.experiment.claim import claim

with claim(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_one_is_refused_or_waits(tmp_path: Path) -> None:
    work, entered = tmp_path / "work" / "1a2b", list[int]()

    def wait() -> None:
        with claim(work):
            entered.append(1)

    with claim(work):
        with pytest.raises(RunClaimedError, match=f"process {os.getpid()} on"), claim(work, False):
            pass
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(0.3)
        assert not entered
    waiting.join()
    assert entered
    assert not claim_path(work).exists()


def test_the_claim_of_a_killed_process_is_free(tmp_path: Path) -> None:
    work = tmp_path / "1a2b"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(work)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(RunClaimedError, match=f"process {holder.pid}"), claim(work, wait=False):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with claim(work, wait=False):
        assert claim_path(work).exists()


def test_a_lock_on_a_file_that_its_last_holder_removed_is_no_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, tried = tmp_path / "1a2b", list[int]()
    lock = fcntl.flock

    def late(held: int, how: int) -> None:
        if not tried:
            claim_path(work).unlink()
        tried.append(how)
        lock(held, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with claim(work):
        assert claim_path(work).exists()
        with pytest.raises(RunClaimedError), claim(work, wait=False):
            pass


def test_many_that_hurry_never_hold_it_together(tmp_path: Path) -> None:
    work, inside, most = tmp_path / "1a2b", list[int](), list[int]()

    def hurry() -> None:
        for _ in range(50):
            try:
                with claim(work, wait=False):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except RunClaimedError:
                continue

    threads = [threading.Thread(target=hurry) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: not any(thread.is_alive() for thread in threads))
    assert most
    assert max(most) == 1


def test_a_sweep_computes_other_runs_first_and_then_waits(tmp_path: Path) -> None:
    place = write_folder(tmp_path / "set", make_pictures(classes=4, per_class=6, side=12))
    plan = Sweep.make(
        data={"place": str(place)}, scenario={"increment": 2}, learners=["er"], budgets=["3kB"],
        codecs=["png", "webp"], seeds=[0], recipe={"epochs": 1, "batch": 8},
    )  # fmt: skip
    first, second = plan.runs()
    out, notes, rows = tmp_path / "out", list[str](), list[ResultRow]()
    with claim(work_path(first, out)):
        working = threading.Thread(
            target=lambda: rows.extend(sweep(plan, out, notify=notes.append))
        )
        working.start()
        wait_for(lambda: bool(notes))
        assert result_path(second, out).exists()
        assert not result_path(first, out).exists()
        assert first.id in notes[0]
    working.join()
    assert [row["id"] for row in rows] == [first.id, second.id]
