"""A sweep on Ray gives what one process gives, whatever happens to its workers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dsc._jobs.replay import on_ray as replay_on_ray
from dsc._jobs.replay.sweep import sweep
from dsc._jobs.replay.task import Workplace, compute_on_worker
from dsc._replay.experiment import checkpoint
from dsc._replay.experiment import run as running
from dsc._replay.experiment import sweep as sweeping
from dsc._replay.experiment.checkpoint import RunProgress
from dsc._replay.experiment.claim import claim
from dsc._replay.experiment.plan import RunConfig, Sweep
from dsc._replay.experiment.result import ResultRow
from dsc._replay.experiment.sweep import sweep as sweep_here
from dsc._replay.experiment.sweep import work_path
from dsc.errors import IncompleteError, UsageError, WrongPlaceError
from tests.jobs.faults import ROOT, wait_for
from tests.replay.class_pictures import make_pictures, write_zip

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set")
    write_zip(root / "train.zip", make_pictures(classes=4, per_class=8, side=12))
    write_zip(root / "test.zip", make_pictures(classes=4, per_class=4, side=12, seed=1))
    return root


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute here with as many threads as workers do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def plan(place: Path, **changes: Any) -> Sweep:
    values: dict[str, Any] = {
        "data": {"place": str(place)},
        "scenario": {"increment": 2},
        "learners": ["er"],
        "budgets": ["3kB"],
        "codecs": ["png", "webp:30"],
        "recipe": {"epochs": 1, "batch": 8},
        "seeds": [0, 1],
    }
    return Sweep.make(**values | changes)


def timeless(rows: list[ResultRow]) -> list[ResultRow]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_workers_find_what_one_process_finds(ray_session: Any, place: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    rows = sweep(plan(place), tmp_path / "ray", workers=2, report=lambda *a: told.append(a))
    assert timeless(rows) == timeless(sweep_here(plan(place), tmp_path / "here"))
    assert told == [(done, 4) for done in range(5)]
    found = sweep_here(plan(place), tmp_path / "ray")
    assert found == rows
    assert not list((tmp_path / "ray" / "work").iterdir())
    assert not list((tmp_path / "ray").glob(".*"))
    lines = (tmp_path / "ray" / "results.jsonl").read_text().splitlines()
    assert len(lines) == 4
    assert len(list((tmp_path / "ray" / "runs").glob("*.h5"))) == 4


def test_a_sweep_begun_here_is_finished_by_workers(
    ray_session: Any, place: Path, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(plan(place), tmp_path, report=stop)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.json")}
    assert len(before) == 2
    assert len(sweep(plan(place), tmp_path, workers=2)) == 4
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_relative_paths_are_meant_from_the_callers_directory(
    ray_session: Any, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.parent)
    relative = plan(Path(place.name), seeds=[0], codecs=["png"])
    (row,) = sweep(relative, tmp_path / "out", workers=2)
    assert row["config"]["data"]["place"] == place.name


KILL_AFTER = [(0, 3), (0, 20), (1, 5)]  # (steps, epochs) of the checkpoint that is the last one
SAVED = "saved"


def killed_at_checkpoints(place: Workplace, config: RunConfig) -> ResultRow:
    """Compute a run in a process that dies as soon as one of certain checkpoints is written."""

    def save_and_die(
        work: Path,
        config: RunConfig,
        data: str,
        weights: str | None,
        done: RunProgress,
        state: Any,
    ) -> None:
        checkpoint.save(work, config, data, weights, done, state)
        with (place.out / f"{SAVED}-{config.id}").open("a") as log:
            log.write(f"{os.getpid()} {done.increment} {done.epoch}\n")
        if (done.increment, done.epoch) in KILL_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)

    running.save = save_and_die
    try:
        return compute_on_worker(place, config)
    finally:
        running.save = checkpoint.save


@pytest.mark.slow
def test_killed_workers_change_no_result_and_go_on_from_the_checkpoint(
    ray_session: Any, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_on_ray, "compute_on_worker", killed_at_checkpoints)
    long = plan(place, recipe={"epochs": 25, "batch": 4}, seeds=[0])
    rows = sweep(long, tmp_path / "out", workers=2, checkpoint_every_s=0.0)
    assert timeless(rows) == timeless(sweep_here(long, tmp_path / "undisturbed"))
    for config in long.runs():
        log = (tmp_path / "out" / f"{SAVED}-{config.id}").read_text().splitlines()
        saved = [tuple(map(int, line.split())) for line in log]
        assert len({pid for pid, _, _ in saved}) == len(KILL_AFTER) + 1
        assert [done for _, *done in saved] == [
            *([0, epoch] for epoch in range(1, 26)), [1, 0],
            *([1, epoch] for epoch in range(1, 26)), [2, 0],
        ]  # fmt: skip


def deadly(place: Workplace, config: RunConfig) -> ResultRow:
    if config.seed == 1 and config.codec == "png":
        os.kill(os.getpid(), signal.SIGKILL)
    return compute_on_worker(place, config)


@pytest.mark.slow
def test_a_run_that_kills_every_worker_is_given_up_and_named(
    ray_session: Any, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_on_ray, "compute_on_worker", deadly)
    message = r"1 of 4 runs failed:\n  er, png, 3,000 bytes, seed 1 .*died 4 times at the same"
    with pytest.raises(IncompleteError, match=message):
        sweep(plan(place), tmp_path, workers=2)
    monkeypatch.undo()
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 3
    assert len(sweep(plan(place), tmp_path, workers=2)) == 4


def buggy(place: Workplace, config: RunConfig) -> ResultRow:
    if config.seed == 0:
        raise TypeError("a bug\nwith details")
    return compute_on_worker(place, config)


def test_a_failing_run_costs_no_other_and_is_named_with_its_cause(
    ray_session: Any, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_on_ray, "compute_on_worker", buggy)
    with pytest.raises(IncompleteError) as caught:
        sweep(plan(place), tmp_path, workers=2)
    lines = str(caught.value).splitlines()
    assert "2 of 4 runs failed" in lines[0]
    assert {line.split(" (run")[0].strip() for line in lines[1:3]} == {
        "er, png, 3,000 bytes, seed 0", "er, webp-30, 3,000 bytes, seed 0"
    }  # fmt: skip
    assert all(line.endswith("TypeError: a bug") for line in lines[1:3])
    assert "2 of 4 runs are done and kept" in lines[3]
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2


def test_what_is_wrong_in_every_run_was_a_wrong_call(
    ray_session: Any, place: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"4 of 4 runs failed:\n.*budget"):
        sweep(plan(place, budgets=[40]), tmp_path, workers=2)


def test_a_run_of_another_sweep_is_left_to_it_and_its_result_is_taken(
    ray_session: Any, place: Path, tmp_path: Path
) -> None:
    taken = plan(place).runs()[1]
    told: list[tuple[int, int]] = []
    notes: list[str] = []
    rows: list[ResultRow] = []

    def work() -> None:
        rows.extend(
            sweep(
                plan(place), tmp_path, workers=2,
                report=lambda *a: told.append(a), notify=notes.append,
            )
        )  # fmt: skip

    with claim(work_path(taken, tmp_path)):
        working = threading.Thread(target=work)
        working.start()
        wait_for(lambda: bool(notes) and told[-1] == (3, 4))
        time.sleep(0.2)
        assert not (tmp_path / "runs" / f"{taken.id}.json").exists()
        assert working.is_alive()
    working.join()
    assert told[-1] == (4, 4)
    (note,) = notes
    assert f"process {os.getpid()}" in note
    assert taken.id in note
    assert timeless(rows) == timeless(sweep_here(plan(place), tmp_path / "other"))


TOGETHER = """
import sys
from dsc._replay.experiment import sweep as sweeping
from dsc._replay.experiment.plan import Sweep

plan, out, log = sys.argv[1:4]
run = sweeping.run

def logged(config, *rest):
    with open(log, "a") as file:
        file.write(config.id + "\\n")
    return run(config, *rest)

sweeping.run = logged
print(len(sweeping.sweep(Sweep.read(plan), out)))
"""


@pytest.mark.slow
def test_two_sweeps_of_one_directory_share_the_runs(place: Path, tmp_path: Path) -> None:
    both = plan(place, recipe={"epochs": 10, "batch": 4}, seeds=[0, 1, 2])
    (tmp_path / "plan.json").write_text(both.to_json())
    words = [str(tmp_path / name) for name in ("plan.json", "out", "log")]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in running] == ["6", "6"]
    computed = Counter((tmp_path / "log").read_text().split())
    assert computed == Counter({config.id: 1 for config in both.runs()})
    assert not list((tmp_path / "out" / "work").iterdir())


def counting(place: Workplace, config: RunConfig) -> ResultRow:
    row = compute_on_worker(place, config)
    return row | {"pid": os.getpid(), "loads": sweeping.load_data.cache_info().misses}


def test_a_worker_loads_the_images_once(
    ray_session: Any, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(place, tmp_path / "set")  # of no other test
    monkeypatch.setattr(replay_on_ray, "compute_on_worker", counting)
    rows = sweep(plan(tmp_path / "set", seeds=[0, 1, 2, 3]), tmp_path / "out", workers=2)
    loads = {row["pid"]: set() for row in rows}
    for row in rows:
        loads[row["pid"]].add(row["loads"])
    assert len(rows) == 8
    assert all(len(found) == 1 for found in loads.values())


def test_a_worker_that_does_not_share_the_directory_ends_the_sweep(
    ray_session: Any, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr(replay_on_ray, "token_in", lambda out: nullcontext(".shared-elsewhere"))
    with pytest.raises(UsageError, match=r"does not see .* file system that all machines share"):
        sweep(plan(place), tmp_path, workers=2)
    assert not (tmp_path / "runs").exists()


def test_a_worker_with_another_dsc_is_refused(place: Path, tmp_path: Path) -> None:
    there = Workplace(tmp_path, tmp_path, "cpu", 1, 1.0, 0.0, version="dsc 0.0")
    with pytest.raises(WrongPlaceError, match=r"the sweep dsc 0\.0"):
        compute_on_worker(there, plan(place).runs()[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 2, "address": "auto"}, "give one of them"),
        ({"gpus_per_run": 0.5, "device": "cuda"}, "--workers or --address"),
        ({"gpus_per_run": 0.5, "workers": 2}, "--device cuda"),
        ({"gpus_per_run": 1.5, "workers": 2, "device": "cuda"}, "0.5, or a whole number"),
        ({"workers": 2, "device": "cuda"}, "wants 1 GPUs and Ray has 0"),
        ({"workers": 2, "threads": 64}, "wants 64 CPUs and Ray has 2"),
    ],
)
def test_what_ray_cannot_give_is_refused(
    ray_session: Any, place: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        sweep(plan(place), tmp_path, **options)


def test_a_directory_on_an_object_store_is_refused(ray_session: Any, place: Path) -> None:
    with pytest.raises(UsageError, match="give one"):
        sweep(plan(place), "s3://bucket/out", workers=2)


SHARED = """
import json, sys, time
from pathlib import Path
import ray
from dsc._jobs.replay import on_ray as replay_on_ray
from dsc._jobs.replay.sweep import sweep
from dsc._replay.experiment.plan import Sweep

def on_gpu(place, config):
    import ray
    began = time.monotonic()
    time.sleep(1.5)
    return {"gpus": ray.get_gpu_ids(), "began": began, "ended": time.monotonic(),
            "config": config.model_dump(mode="json"), "id": config.id, "steps": []}

ray.init(address="local", num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False,
         object_store_memory=100 << 20)
replay_on_ray.compute_on_worker = on_gpu
plan = Sweep.read(sys.argv[1])
rows = sweep(plan, sys.argv[2], workers=4, device="cuda", gpus_per_run=0.5)
print(json.dumps([{name: row[name] for name in ("gpus", "began", "ended")} for row in rows]))
ray.shutdown()
"""


@pytest.mark.slow
def test_runs_share_a_gpu_as_they_are_told(place: Path, tmp_path: Path) -> None:
    import json

    (tmp_path / "plan.json").write_text(plan(place).to_json())
    words = [str(tmp_path / "plan.json"), str(tmp_path / "out")]
    ran = subprocess.run(
        [sys.executable, "-c", SHARED, *words],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout.splitlines()[-1])
    assert [row["gpus"] for row in rows] == [[0]] * 4
    at_once = [
        sum(other["began"] <= row["began"] < other["ended"] for other in rows) for row in rows
    ]
    assert max(at_once) == 2
