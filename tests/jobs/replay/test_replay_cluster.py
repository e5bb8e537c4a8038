"""A sweep on a real cluster of two nodes, one of which is killed while it computes a run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dsc._replay.experiment.plan import Sweep
from dsc._replay.experiment.sweep import sweep
from tests.jobs.archive.test_cluster import Cluster, cluster, end
from tests.jobs.faults import ROOT, descendants, kill, wait_for
from tests.replay.class_pictures import make_pictures, write_folder

pytestmark = [pytest.mark.ray, pytest.mark.slow]

__all__ = ["cluster"]  # the fixture


def is_computing(node: subprocess.Popen[bytes], out: Path) -> bool:
    """Tell whether a worker of this node has a run and has written a checkpoint of it."""
    below = descendants(node.pid)
    for lock in (out / "work").glob("*.lock"):
        try:
            words = lock.read_text().split()
        except FileNotFoundError:  # that run has just ended
            continue
        if words and int(words[1]) in below and (lock.with_suffix("") / "checkpoint.pt").exists():
            return True
    return False


def test_a_cluster_that_loses_a_node_finds_what_one_process_finds(
    cluster: Cluster, tmp_path: Path
) -> None:
    place = write_folder(tmp_path / "set", make_pictures(classes=6, per_class=12, side=12))
    plan = Sweep.make(
        data={"place": str(place)}, scenario={"increment": 2}, learners=["er"], budgets=["3kB"],
        codecs=["png", "webp:30"], seeds=[0, 1], recipe={"epochs": 60, "batch": 4},
    )  # fmt: skip
    (tmp_path / "plan.json").write_text(plan.to_json())
    out = tmp_path / "out"
    words = ["replay", "run", "--config", str(tmp_path / "plan.json"), "--out", str(out)]
    job = subprocess.Popen(
        [sys.executable, "-m", "dsc", *words, "--address", cluster.address],
        cwd=ROOT, env=cluster.environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_for(lambda: is_computing(cluster.second, out) or job.poll() is not None, timeout_s=120)
        assert job.poll() is None, job.communicate()
        end(cluster.second)
        said, complaints = job.communicate(timeout=240)
    finally:
        kill([job.pid])
    assert job.returncode == 0, (said, complaints)
    torch.set_num_threads(1)
    assert timeless(out) == [strip(row) for row in sweep(plan, tmp_path / "alone")]


def timeless(out: Path) -> list[Any]:
    return [strip(json.loads(line)) for line in (out / "results.jsonl").read_text().splitlines()]


def strip(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seconds"}
