"""Ray workers leave the bytes that one process leaves, whatever happens to them.

Where this process is in a Ray, `workers` means that one's.

``DSC_KILLS`` says how many times a worker is killed (4 unless told).
"""

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dsc._jobs.archive import on_ray
from dsc._jobs.archive.compress import compress
from dsc._storage.read.verify import verify_archive
from dsc.errors import IncompleteError, PlanMismatchError, UsageError
from tests.jobs.faults import KILLS, tree
from tests.jobs.sources import PixelSource, reads

GIVEN: dict[str, Any] = {"codec": "png", "shard_size": 4, "pack": 2}

pytestmark = pytest.mark.ray


def reference(tmp_path: Path, n: int = 23) -> dict[str, bytes]:
    compress(PixelSource(n=n), tmp_path / "reference", **GIVEN)
    return tree(tmp_path / "reference")


def test_samples_that_were_probed_are_not_encoded_again(ray_session: Any, tmp_path: Path) -> None:
    for way, more in {"quality": {}, "target": {"target": "rgb=25dB"}}.items():
        log = tmp_path / f"log-{way}"
        given = {"codec": "rgb=jxl,depth=png", "tasks": "rgb,depth"} | more
        compress(PixelSource(log=log), tmp_path / way, workers=2, **given)
        assert sorted(reads(log)) == list(range(23))
        compress(PixelSource(), tmp_path / f"{way}-here", **given)
        assert tree(tmp_path / way) == tree(tmp_path / f"{way}-here")


def test_workers_write_what_one_process_writes(ray_session: Any, tmp_path: Path) -> None:
    told: list[tuple[int, int, dict[str, Any]]] = []
    log = tmp_path / "log"
    compress(
        PixelSource(log=log),
        tmp_path / "out",
        workers=2,
        progress=lambda *args: told.append(args),
        **GIVEN,
    )
    assert tree(tmp_path / "out") == reference(tmp_path)
    assert told[-1][:2] == (23, 23)
    assert {line.split()[0] for line in log.read_text().splitlines()} - {str(os.getpid())}


def test_a_run_begun_here_is_finished_by_workers(ray_session: Any, tmp_path: Path) -> None:
    def stop(done: int, total: int, info: dict[str, Any]) -> None:
        if info["shards_done"] == 3:
            raise KeyboardInterrupt

    out, log = tmp_path / "out", tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        compress(PixelSource(), out, progress=stop, **GIVEN)
    compress(PixelSource(log=log), out, workers=2, **GIVEN)
    assert sorted(reads(log)) == list(range(12, 23))
    assert tree(out) == reference(tmp_path)


def test_a_ray_that_was_there_before_is_left_running(ray_session: Any, tmp_path: Path) -> None:
    compress(PixelSource(), tmp_path / "out", workers=2, **GIVEN)
    assert ray_session.is_initialized()


def kill_workers(log: Path, times: int, seed: int, stop: threading.Event, hit: list[int]) -> None:
    """Kill the processes that have lately read samples, one after the other."""
    rng = random.Random(seed)
    while len(hit) < times and not stop.is_set():
        time.sleep(rng.uniform(0.15, 0.5))
        lines = log.read_text().splitlines() if log.exists() else []
        pids = {int(line.split()[0]) for line in lines[-6:]} - {os.getpid(), *hit}
        if pids:
            victim = rng.choice(sorted(pids))
            try:
                os.kill(victim, signal.SIGKILL)
                hit.append(victim)
            except ProcessLookupError:
                continue


@pytest.mark.slow
def test_workers_killed_at_random_moments_change_no_byte(ray_session: Any, tmp_path: Path) -> None:
    n = 16 * (KILLS + 2)
    out, log = tmp_path / "out", tmp_path / "log"
    stop, hit = threading.Event(), []  # type: ignore[var-annotated]
    killer = threading.Thread(target=kill_workers, args=(log, KILLS, 3, stop, hit))
    killer.start()
    try:
        compress(PixelSource(n=n, log=log, slow_s=0.04), out, workers=2, **GIVEN)
    finally:
        stop.set()
        killer.join()
    assert len(hit) == KILLS
    assert tree(out) == reference(tmp_path, n)
    assert verify_archive(out) == []
    read = reads(log)
    assert set(read) == set(range(n))
    assert len(read) <= n + 2 * 4 * KILLS  # a kill costs a shard, at worst two, not the run


class Deadly(PixelSource):
    """A source that kills the process which reads its sample 9."""

    def read(self, index: int, tasks: Any) -> Any:
        if index == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(index, tasks)


def test_a_shard_that_kills_every_worker_is_given_up_and_named(
    ray_session: Any, tmp_path: Path
) -> None:
    with pytest.raises(IncompleteError, match=r"1 of 6 shards.*\n.*train 2: .*[Ww]orker"):
        compress(Deadly(), tmp_path / "out", workers=2, **GIVEN)
    compress(PixelSource(), tmp_path / "out", **GIVEN)
    assert tree(tmp_path / "out") == reference(tmp_path)


def test_a_passing_network_error_is_tried_again(ray_session: Any, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    source = PixelSource(flaky=tmp_path / "marks")
    compress(source, tmp_path / "out", workers=2, **(GIVEN | {"shard_size": 2}))
    assert verify_archive(tmp_path / "out") == []


def test_a_damaged_sample_costs_its_shard_only(ray_session: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(IncompleteError, match=r"1 of 6.*\n.*train 1: .*view_00005.*\n5 of 6"):
        compress(PixelSource(damaged=(5,)), out, workers=2, **GIVEN)
    manifest = compress(PixelSource(damaged=(5,)), out, workers=2, on_error="skip", **GIVEN)
    assert manifest.n_failed == 1


class Taken(PixelSource):
    """A source during whose reading another run takes the output over."""

    def read(self, index: int, tasks: Any) -> Any:
        if index == 9 and self.log is not None:
            self.log.write_text("{}")
        return super().read(index, tasks)


class Buggy(PixelSource):
    """A source with a bug."""

    def read(self, index: int, tasks: Any) -> Any:
        if index == 0:  # which is looked at before
            return super().read(index, tasks)
        raise TypeError(f"a bug at {index}")


def test_a_bug_stops_the_run_and_keeps_its_name(ray_session: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a bug at"):
        compress(Buggy(), tmp_path / "out", workers=2, **GIVEN)
    assert not [path for path in tree(tmp_path / "out") if path.endswith(".part")]


def test_few_tasks_are_under_way_at_a_time(ray_session: Any, tmp_path: Path) -> None:
    most = 0
    submit = on_ray._Run._submit

    def watch(self: Any, waiting: Any) -> None:
        nonlocal most
        submit(self, waiting)
        most = max(most, len(self._flying))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_ray._Run, "_submit", watch)
        compress(PixelSource(n=120), tmp_path / "out", workers=2, **GIVEN)
    assert most == 2 * 2


def test_without_ray_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"--address needs Ray: pip install 'dsc\[ray\]'"):
        compress(PixelSource(), tmp_path, address="auto", **GIVEN)
    assert not list(tmp_path.iterdir())  # nothing is begun that cannot go on


def test_a_cluster_that_wants_a_token_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")

    def refuse(**options: Any) -> None:
        # what Ray 2.60 raises, shortened
        reason = RuntimeError("Failed to connect to GCS. RPC error: InvalidAuthToken: ...")
        raise ConnectionError("Failed to connect to Ray cluster at head:6379") from reason

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(UsageError, match=r"--address auto: .*RAY_AUTH_TOKEN"):
        compress(PixelSource(), tmp_path, address="auto", **GIVEN)


def test_a_worker_with_another_dsc_is_refused(
    ray_session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsc._pipeline.write.plan.__version__", "9.9.9")
    with pytest.raises(UsageError, match=r"dsc 0\.\S+, this job was planned by dsc 9\.9\.9"):
        compress(PixelSource(), tmp_path, workers=2, **GIVEN)


def test_an_output_taken_over_meanwhile_stops_the_run(ray_session: Any, tmp_path: Path) -> None:
    source = Taken(log=tmp_path / ".dsc" / "plan.json")
    with pytest.raises(PlanMismatchError, match="another run"):
        compress(source, tmp_path, workers=2, **GIVEN)
    assert not (tmp_path / "dsc.json").exists()
