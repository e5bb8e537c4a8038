"""Worker processes leave the bytes that one process leaves, whatever happens to them.

``DSC_KILLS`` says how many times a worker is killed (4 unless told).
"""

import errno
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dsc._jobs.archive.compress import compress
from dsc._jobs.archive.processes import BATCH_SAMPLES, Pieces
from dsc._pipeline.write.shard_job import ShardBuilder
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import IncompleteError, PlanMismatchError, SampleError
from tests.jobs.archive.test_compress import WAYS
from tests.jobs.archive.test_on_ray import Taken, kill_workers
from tests.jobs.faults import KILLS, descendants, tree
from tests.jobs.growing import add_label, add_samples, begin
from tests.jobs.sources import PixelSource, reads

GIVEN: dict[str, Any] = {"codec": "png", "shard_size": 4, "pack": 2}


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is not needed for workers of this machine."""
    monkeypatch.setitem(sys.modules, "ray", None)


def reference(tmp_path: Path, n: int = 23, **given: Any) -> dict[str, bytes]:
    compress(PixelSource(n=n), tmp_path / "reference", **(given or GIVEN))
    return tree(tmp_path / "reference")


@pytest.mark.parametrize("way", WAYS)
def test_workers_write_what_one_process_writes_and_code_nothing_twice(
    tmp_path: Path, way: str
) -> None:
    given, log = {"codec": "png"} | WAYS[way], tmp_path / "log"
    told: list[int] = []
    compress(
        PixelSource(log=log),
        tmp_path / "out",
        workers=2,
        progress=lambda done, *_: told.append(done),
        **given,
    )
    assert tree(tmp_path / "out") == reference(tmp_path, **given)
    assert sorted(reads(log)) == list(range(23))
    pids = [int(line.split()[0]) for line in log.read_text().splitlines()]
    looked_at = 12 if "label" in given.get("tasks", "label") else 4  # by 8 whether labels follow
    assert pids.count(os.getpid()) == looked_at  # before anything was coded
    assert told == sorted(told)
    assert told[-1] == 23


def test_sizes_that_are_given_leave_all_samples_but_one_to_workers(tmp_path: Path) -> None:
    log = tmp_path / "log"
    compress(PixelSource(log=log), tmp_path / "out", workers=3, **GIVEN)
    assert tree(tmp_path / "out") == reference(tmp_path)
    assert sorted(reads(log)) == list(range(23))


def test_pieces_get_smaller_towards_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    add = Pieces.add
    monkeypatch.setattr(
        Pieces, "add", lambda self, piece: (sizes.append(len(piece.groups)), add(self, piece))
    )
    compress(PixelSource(n=99), tmp_path, workers=2, codec="png", shard_size=32, pack=8)
    assert sum(sizes) == 99
    assert sizes[0] == BATCH_SAMPLES
    assert sizes[-8:] == [1] * 8  # with as much for each of two workers, nobody waits for long


def test_a_run_begun_here_is_finished_by_workers(tmp_path: Path) -> None:
    def stop(done: int, total: int, info: dict[str, Any]) -> None:
        if info["shards_done"] == 3:
            raise KeyboardInterrupt

    out, log = tmp_path / "out", tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        compress(PixelSource(), out, progress=stop, **GIVEN)
    compress(PixelSource(log=log), out, workers=2, **GIVEN)
    assert sorted(reads(log)) == list(range(12, 23))
    assert tree(out) == reference(tmp_path)


def test_a_run_that_is_stopped_keeps_shards_and_leaves_no_process(tmp_path: Path) -> None:
    def stop(done: int, total: int, info: dict[str, Any]) -> None:
        if info["shards_done"] == 2:
            raise KeyboardInterrupt

    out, before = tmp_path / "out", set(descendants(os.getpid()))
    with pytest.raises(KeyboardInterrupt, match="2 of 6 shards are done and kept"):
        compress(PixelSource(), out, workers=2, progress=stop, **GIVEN)
    assert set(descendants(os.getpid())) <= before
    assert not [path for path in tree(out) if path.endswith(".part")]
    compress(PixelSource(), out, workers=2, **GIVEN)
    assert tree(out) == reference(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["quality", "target"])
def test_workers_killed_at_random_moments_change_no_byte(tmp_path: Path, way: str) -> None:
    n = 16 * (KILLS + 2)
    out, log = tmp_path / "out", tmp_path / "log"
    given = GIVEN | WAYS[way]
    stop, hit = threading.Event(), []  # type: ignore[var-annotated]
    killer = threading.Thread(target=kill_workers, args=(log, KILLS, 3, stop, hit))
    killer.start()
    try:
        compress(PixelSource(n=n, log=log, slow_s=0.04), out, workers=2, **given)
    finally:
        stop.set()
        killer.join()
    assert len(hit) == KILLS
    assert tree(out) == reference(tmp_path, n, **given)
    assert verify_archive(out) == []
    read = reads(log)
    assert set(read) == set(range(n))
    assert len(read) <= n + 2 * BATCH_SAMPLES * KILLS  # a kill costs what a worker had, no shard


class Deadly(PixelSource):
    """A source that kills the process which reads its sample 9."""

    def read(self, index: int, tasks: Any) -> Any:
        if index == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(index, tasks)


class DeadlyOnce(PixelSource):
    """A source that kills the process which reads its sample 9 first."""

    def read(self, index: int, tasks: Any) -> Any:
        assert self.log is not None
        mark = self.log.with_name("mark")
        if index == 9 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(index, tasks)


def test_what_a_dead_worker_had_is_tried_again_when_all_else_is_done(tmp_path: Path) -> None:
    log = tmp_path / "log"
    compress(DeadlyOnce(log=log), tmp_path / "out", workers=1, derive="never", **GIVEN)
    assert tree(tmp_path / "out") == reference(tmp_path)
    assert reads(log) == [*range(9), *range(11, 23), 8, 9, 10]  # three were given at once


@pytest.mark.parametrize("way", ["quality", "target"])
def test_a_sample_that_kills_every_worker_is_named_and_costs_its_shard(
    tmp_path: Path, way: str
) -> None:
    out, given = tmp_path / "out", GIVEN | WAYS[way]
    with pytest.raises(
        IncompleteError, match=r"1 of 6 shards.*\n.*train 2: sample view_00009.*SIGKILL.*4 times"
    ):
        compress(Deadly(), out, workers=2, **given)
    compress(PixelSource(), out, workers=2, **given)
    assert tree(out) == reference(tmp_path, **given)


def test_a_passing_network_error_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    source = PixelSource(n=12, flaky=tmp_path / "marks")
    compress(source, tmp_path / "out", workers=2, **GIVEN)
    assert tree(tmp_path / "out") == reference(tmp_path, 12)


def test_a_damaged_sample_costs_its_shard_only(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(IncompleteError, match=r"1 of 6.*\n.*train 1: .*view_00005.*\n5 of 6"):
        compress(PixelSource(damaged=(5,)), out, workers=2, **GIVEN)
    manifest = compress(PixelSource(damaged=(5,)), out, workers=2, on_error="skip", **GIVEN)
    assert manifest.n_failed == 1


def test_a_damaged_sample_among_the_first_is_told_before_workers_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsc._jobs.archive.processes.Pool", lambda *_: pytest.fail("started"))
    with pytest.raises(SampleError, match=r"view_00002.*--on-error skip"):
        compress(PixelSource(damaged=(2,)), tmp_path, codec="png", workers=2)


class Buggy(PixelSource):
    """A source with a bug."""

    def read(self, index: int, tasks: Any) -> Any:
        if index == 13:
            raise TypeError(f"a bug at {index}")
        return super().read(index, tasks)


def test_a_bug_stops_the_run_and_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a bug at"):
        compress(Buggy(), tmp_path / "out", workers=2, **GIVEN)
    assert not [path for path in tree(tmp_path / "out") if path.endswith(".part")]


def failing_once(monkeypatch: pytest.MonkeyPatch, error: OSError) -> list[int]:
    """Let the first shard that is finished fail; return a list that gets an entry a shard."""
    finish, calls = ShardBuilder.finish, []  # type: ignore[var-annotated]

    def failing(self: ShardBuilder) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return finish(self)

    monkeypatch.setattr(ShardBuilder, "finish", failing)
    return calls


def test_a_shard_that_could_not_be_written_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reference(tmp_path)
    calls = failing_once(monkeypatch, OSError(errno.EIO, "Input/output error"))
    compress(PixelSource(), tmp_path / "out", workers=2, **GIVEN)
    assert len(calls) == 7
    assert tree(tmp_path / "out") == expected


def test_a_full_disk_is_named_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = failing_once(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(IncompleteError, match=r"the disk is full.*0 of 6 shards"):
        compress(PixelSource(), tmp_path, workers=2, **GIVEN)
    assert len(calls) == 1
    assert not [path for path in tree(tmp_path) if path.endswith(".part")]


def test_an_output_taken_over_meanwhile_stops_the_run(tmp_path: Path) -> None:
    source = Taken(log=tmp_path / ".dsc" / "plan.json")
    with pytest.raises(PlanMismatchError, match="another run"):
        compress(source, tmp_path, workers=2, **GIVEN)
    assert not (tmp_path / "dsc.json").exists()


@pytest.mark.parametrize("add", [add_samples, add_label])
def test_workers_append_what_one_process_appends(tmp_path: Path, add: Any) -> None:
    for name, workers in (("a", 0), ("b", 2)):
        begin(tmp_path / name)
        add(tmp_path / name, workers=workers)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert Archive.open(tmp_path / "a").manifest.generation == 2
