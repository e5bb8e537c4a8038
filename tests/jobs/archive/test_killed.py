"""A run killed at any moment goes on where it was, and ends in the bytes of one never killed.

``DSC_KILLS`` says how many times the driver is killed (4 unless told).
"""

import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsc._jobs.archive.compress import compress
from dsc._storage.files.root import Root
from dsc._storage.read.verify import verify_archive
from tests.jobs.faults import KILLS, descendants, finished, kill, start, tree, wait_for
from tests.jobs.sources import PixelSource, reads

SAMPLES, PER_SHARD, SLOW_S = 48, 4, 0.01
SHARDS = SAMPLES // PER_SHARD


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("reference") / "out"
    compress(PixelSource(n=SAMPLES), out, codec="png", shard_size=PER_SHARD, pack=2)
    return tree(out)


def shards_read(log: Path) -> set[int]:
    return {index // PER_SHARD for index in reads(log)}


def test_a_driver_killed_at_random_moments_resumes_byte_for_byte(
    tmp_path: Path, reference: dict[str, bytes]
) -> None:
    rng = random.Random(7)
    killed = run = 0
    while killed < KILLS:
        out = tmp_path / f"out-{run}"
        while killed < KILLS and not (out / "dsc.json").exists():
            done, log = finished(out), tmp_path / f"log-{run}"
            run += 1
            process = start(out, log, SAMPLES, SLOW_S)
            wait_for(lambda log=log, process=process: log.exists() or process.poll() is not None)
            time.sleep(rng.uniform(0, 0.6))
            killed += process.poll() is None
            process.kill()
            process.communicate()
            assert not shards_read(log) & done  # what had been finished was not made again
        kept, log = finished(out), tmp_path / "log-last"
        log.unlink(missing_ok=True)
        compress(PixelSource(n=SAMPLES, log=log), out, codec="png", shard_size=PER_SHARD, pack=2)
        if kept:
            assert shards_read(log) == set(range(SHARDS)) - kept
        assert tree(out) == reference
    assert killed == KILLS


class Crash(BaseException):
    """The end of a process, as far as a test can play it."""


class Crashing:
    """Lets the first `steps` changes to an output happen, and none after them."""

    def __init__(self, patch: pytest.MonkeyPatch, steps: int) -> None:
        self.left = steps
        for name in ("write", "put", "remove"):
            patch.setattr(Root, name, self._limited(getattr(Root, name)))

    def _limited(self, change: Callable[..., None]) -> Callable[..., None]:
        def limited(*args: object, **options: object) -> None:
            if self.left == 0:
                raise Crash
            self.left -= 1
            change(*args, **options)

        return limited


@pytest.mark.parametrize("old", [False, True], ids=["new", "overwrite"])
def test_a_run_may_stop_before_any_change_it_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    given: dict[str, Any] = {"codec": "png", "shard_size": 3, "tasks": ["rgb"] if old else None}

    def run(out: Path) -> None:
        compress(PixelSource(n=6), out, pack=2, overwrite=old, **given)

    run(tmp_path / "whole")
    compress(PixelSource(n=4, seed=1), tmp_path / "old", split="old", **given)
    steps, whole = 0, tree(tmp_path / "whole")
    while True:
        out = tmp_path / f"out-{steps}"
        if old:
            shutil.copytree(tmp_path / "old", out)
        with monkeypatch.context() as patch:
            Crashing(patch, steps)
            try:
                run(out)
                break
            except Crash:
                pass
        if (out / "dsc.json").exists():  # of the old archive, or of the new one: whole, or none
            named = [p for p in verify_archive(out) if not p.path.startswith(".dsc/")]
            assert named == []
        run(out)
        assert tree(out) == whole
        steps += 1
    assert steps > 15
    assert tree(out) == whole


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(
    tmp_path: Path, reference: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    process = start(out, tmp_path / "log", SAMPLES, 0.05)
    wait_for(lambda: len(finished(out)) >= 2)
    process.send_signal(signal.SIGINT)
    said, complaints = process.communicate(timeout=30)
    assert process.returncode == 130, complaints
    assert re.search(rf"\d+ of {SHARDS} shards are done and kept\. To go on: ", said)
    done = finished(out)
    assert len(done) >= 2
    assert not (out / "dsc.json").exists()
    assert not [path for path in tree(out) if path.endswith(".part")]
    log = tmp_path / "log-2"
    compress(PixelSource(n=SAMPLES, log=log), out, codec="png", shard_size=PER_SHARD, pack=2)
    assert shards_read(log) == set(range(SHARDS)) - done
    assert tree(out) == reference


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
@pytest.mark.parametrize("of_ray", [False, pytest.param(True, marks=pytest.mark.ray)])
def test_a_driver_of_workers_stopped_in_the_middle_resumes_byte_for_byte(
    tmp_path: Path, reference: dict[str, bytes], how: signal.Signals, of_ray: bool
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    process = start(out, log, SAMPLES, 0.1, workers=2, of_ray=of_ray)
    wait_for(lambda: len(finished(out)) >= 2 or process.poll() is not None)
    below = descendants(process.pid)
    assert len(below) >= 2 + of_ray, process.communicate()
    process.send_signal(how)
    try:
        said, complaints = process.communicate(timeout=60)
    finally:
        kill(below)
    if how is signal.SIGINT:
        assert process.returncode == 130, complaints
        assert "shards are done and kept" in said
        assert not [path for path in tree(out) if path.endswith(".part")]
    done, log = finished(out), tmp_path / "log-2"
    assert 2 <= len(done) < SHARDS
    compress(PixelSource(n=SAMPLES, log=log), out, codec="png", shard_size=PER_SHARD, pack=2)
    assert shards_read(log) == set(range(SHARDS)) - done
    assert tree(out) == reference
    assert verify_archive(out) == []
