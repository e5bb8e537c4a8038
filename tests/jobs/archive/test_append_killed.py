"""An append killed at any moment leaves the old generation whole, and goes on to the same bytes.

``DSC_KILLS`` says how many times each kind is killed (4 unless told).
"""

import contextlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsc._pipeline.read.dataset import Dataset
from dsc._storage.files.root import Root
from dsc._storage.read.verify import verify_archive
from tests.jobs.archive.test_killed import Crash, Crashing
from tests.jobs.faults import KILLS, ROOT, descendants, finished, kill, tree, wait_for
from tests.jobs.growing import add_label, add_samples, begin
from tests.jobs.sources import PixelSource, reads

SLOW_S = 0.01
ADD: dict[str, Callable[..., Any]] = {"samples": add_samples, "task": add_label}
MOST = {"samples": 48, "task": 10}

SCRIPT = """
import sys
from pathlib import Path
from tests.jobs.sources import PixelSource
from tests.jobs.archive.test_append_killed import ADD

out, log, kind, n, slow_s, workers = sys.argv[1:7]
source = PixelSource(n=int(n), log=Path(log), slow_s=float(slow_s))
ADD[kind](out, source=source, workers=int(workers))
"""


def start(
    out: Path, log: Path, kind: str, slow_s: float = SLOW_S, workers: int = 0
) -> subprocess.Popen[str]:
    """Start an append of a `PixelSource` in a process, and a session, of its own."""
    words = [str(out), str(log), kind, str(MOST[kind]), str(slow_s), str(workers)]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def check_old_or_new(out: Path, old: Dataset) -> int:
    """Check that an archive is whole, in one generation or the other; give the generation."""
    assert verify_archive(out) == []
    found = Dataset.open(out)
    if found.manifest.generation == 1:
        assert found.manifest == old.manifest
    for dataset in (old, found):
        for index in (0, 4):
            assert (dataset[index]["rgb"] == PixelSource().arrays(index)["rgb"]).all()
    return found.manifest.generation


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("old") / "out"
    begin(out)
    return out


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory, old: Path) -> dict[str, dict[str, bytes]]:
    """What each kind of append ends in."""
    made = {}
    for kind, add in ADD.items():
        out = Path(shutil.copytree(old, tmp_path_factory.mktemp("new") / kind))
        add(out, n=MOST[kind])
        made[kind] = tree(out)
    return made


@pytest.mark.parametrize("kind", ADD)
def test_an_append_killed_at_random_moments_resumes_byte_for_byte(
    tmp_path: Path, old: Path, new: dict[str, dict[str, bytes]], kind: str
) -> None:
    rng = random.Random(7)
    killed = run = 0
    while killed < KILLS:
        out = Path(shutil.copytree(old, tmp_path / f"out-{run}"))
        before = Dataset.open(out)
        while killed < KILLS and Dataset.open(out).manifest.generation == 1:
            done, log = finished(out), tmp_path / f"log-{run}"
            run += 1
            process = start(out, log, kind)
            wait_for(lambda log=log, process=process: log.exists() or process.poll() is not None)
            time.sleep(rng.uniform(0, 0.5 if kind == "samples" else 0.15))
            killed += process.poll() is None
            process.kill()
            process.communicate()
            check_old_or_new(out, before)
            again = {index // 4 for index in reads(log)[kind == "task" :]}
            if kind == "task":  # what had been finished was not made again
                assert not again & done
        log = tmp_path / "log-last"
        log.unlink(missing_ok=True)
        ADD[kind](out, source=PixelSource(n=MOST[kind], log=log))
        assert check_old_or_new(out, before) == 2
        assert tree(out) == new[kind]
    assert killed == KILLS


def test_finished_shards_of_a_killed_append_are_kept(
    tmp_path: Path, old: Path, new: dict[str, dict[str, bytes]]
) -> None:
    out, log = Path(shutil.copytree(old, tmp_path / "out")), tmp_path / "log"
    process = start(out, log, "samples", slow_s=0.02)
    wait_for(lambda: len(finished(out)) >= 3)
    process.kill()
    process.communicate()
    done = finished(out)  # 3 is the first of the new ones
    log.unlink()
    add_samples(out, source=PixelSource(n=MOST["samples"], log=log))
    assert {3 + (index - 10) // 4 for index in reads(log)} == set(range(3, 13)) - done
    assert tree(out) == new["samples"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One full shard and one sample more."""
    out = tmp_path_factory.mktemp("small") / "out"
    begin(out, 5, "rgb")
    return out


def grown(small: Path, out: Path, kind: str) -> dict[str, bytes]:
    shutil.copytree(small, out)
    ADD[kind](out, n=8)
    return tree(out)


@pytest.mark.parametrize("kind", ADD)
def test_an_append_may_stop_before_any_change_it_makes(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    whole = grown(small, tmp_path / "whole", kind)
    before = Dataset.open(small)
    generations, steps = [], 0
    while True:
        out = Path(shutil.copytree(small, tmp_path / f"out-{steps}"))
        with monkeypatch.context() as patch:
            Crashing(patch, steps)
            try:
                ADD[kind](out, n=8)
                break
            except Crash:
                pass
        generations.append(check_old_or_new(out, before))
        ADD[kind](out, n=8)
        assert tree(out) == whole
        assert not (out / ".dsc").exists()
        steps += 1
    assert tree(out) == whole
    assert generations == sorted(generations)
    assert set(generations) == {1, 2}
    assert steps > 12


@pytest.mark.parametrize("kind", ADD)
def test_an_append_that_stopped_anywhere_can_be_thrown_away(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    other = {"samples": "task", "task": "samples"}[kind]
    whole = grown(small, tmp_path / "whole", other)
    before = Dataset.open(small)
    for steps in range(100):
        out = Path(shutil.copytree(small, tmp_path / f"out-{steps}"))
        with monkeypatch.context() as patch:
            Crashing(patch, steps)
            with contextlib.suppress(Crash):
                ADD[kind](out, n=8)
        if check_old_or_new(out, before) == 2:
            break
        ADD[other](out, n=8, restart=True)
        assert tree(out) == whole
    assert steps > 10


def test_throwing_an_append_away_may_stop_before_any_change_it_makes(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, before = Path(shutil.copytree(small, tmp_path / "begun")), Dataset.open(small)
    write = Root.write

    def stop_at_the_end(self: Root, path: str, data: bytes) -> None:
        if path == "dsc.json":
            raise Crash
        write(self, path, data)

    with monkeypatch.context() as patch:  # the new card is there, the new manifest is not
        patch.setattr(Root, "write", stop_at_the_end)
        with pytest.raises(Crash):
            add_samples(begun, 8)
    assert (begun / "README.md").read_bytes() != (small / "README.md").read_bytes()
    whole = grown(small, tmp_path / "whole", "task")
    removed = len([path for path in tree(begun) if path not in tree(small)])
    for steps in range(removed + 1):
        out = Path(shutil.copytree(begun, tmp_path / f"out-{steps}"))
        with monkeypatch.context() as patch:
            Crashing(patch, steps)
            with pytest.raises(Crash):
                add_label(out, restart=True)
        check_old_or_new(out, before)
        add_label(out, restart=True)
        assert tree(out) == whole


@pytest.mark.slow
@pytest.mark.parametrize("kind", ADD)
def test_an_append_of_workers_killed_in_the_middle_resumes_byte_for_byte(
    tmp_path: Path, old: Path, new: dict[str, dict[str, bytes]], kind: str
) -> None:
    out, log = Path(shutil.copytree(old, tmp_path / "out")), tmp_path / "log"
    before = Dataset.open(out)
    process = start(out, log, kind, slow_s=0.3, workers=2)
    wait_for(lambda: len(finished(out)) >= 1 or process.poll() is not None)
    below = descendants(process.pid)
    assert len(below) >= 2, process.communicate()
    process.kill()
    try:
        process.communicate(timeout=60)
    finally:
        kill(below)
    assert check_old_or_new(out, before) == 1
    ADD[kind](out, n=MOST[kind])
    assert tree(out) == new[kind]
