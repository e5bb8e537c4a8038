"""The Ray Train example: a killed worker, and other workers, change neither samples nor losses.

One run on two workers, of which one is killed after step 7, stops at step 10 in the middle of the
second epoch; one worker ends that epoch. The same training without Ray is what both must equal.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import dsc

SAMPLES, BATCH = 22, 4
STEPS_AN_EPOCH = -(-SAMPLES // BATCH)
CHECKPOINT_EVERY, KILL_AFTER, STOP = 4, 7, 10
SEED, LEARNING_RATE = 3, 1e-2

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass
class Run:
    """What each rank saw in every step that counts, and where the workers began.

    A worker that begins at a step takes back what was done after that step before.
    """

    began: list[int] = field(default_factory=list)
    samples: dict[int, list[list[int]]] = field(default_factory=dict)
    losses: dict[int, list[float]] = field(default_factory=dict)

    @classmethod
    def read(cls, log: Path) -> "Run":
        run = cls()
        run.began = sorted({int(path.name.split("-")[1]) for path in log.iterdir()})
        for begin in run.began:
            found: dict[int, list[dict[str, Any]]] = {}
            for path in sorted(log.glob(f"from-{begin:06d}-rank-*.jsonl")):
                for line in path.read_text().splitlines():
                    entry = json.loads(line)
                    found.setdefault(entry["step"], []).append(entry)
            for step in [step for step in run.samples if step > begin]:
                del run.samples[step], run.losses[step]
            for step, entries in found.items():
                run.samples[step] = [entry["samples"] for entry in entries]
                run.losses[step] = [entry["loss"] for entry in entries]
        return run

    def epoch(self, number: int) -> list[int]:
        """Return all samples of an epoch."""
        steps = range(number * STEPS_AN_EPOCH + 1, (number + 1) * STEPS_AN_EPOCH + 1)
        return [index for step in steps for part in self.samples[step] for index in part]


@dataclass
class Runs:
    """Until step `STOP` on two workers; then to the end on one; and the same without Ray."""

    killed: Run
    whole: Run
    plain: Run
    metrics: list[dict[str, Any]]


def train_without_ray(url: Path, steps: int) -> Run:
    """Train as the example's two workers do, in this process: gradients are averaged by hand."""
    import torch

    from examples.ray_train import loss_of, make_network

    torch.manual_seed(SEED)
    network = make_network()
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    how: dict[str, Any] = {"batch_size": BATCH // 2, "shuffle": True, "seed": SEED, "world": 2}
    streams = [dsc.stream(url, ["rgb", "depth"], rank=rank, **how) for rank in range(2)]
    run = Run()
    batches = (pair for _ in range(2) for pair in zip(*streams, strict=True))
    for step, pair in zip(range(1, steps + 1), batches, strict=False):
        optimiser.zero_grad()
        losses = [loss_of(network(batch["rgb"]), batch["depth"]) for batch in pair]
        (sum(losses) / 2).backward()  # type: ignore[union-attr]
        optimiser.step()
        run.samples[step] = [batch["__index__"].tolist() for batch in pair]
        run.losses[step] = [loss.item() for loss in losses]
    return run


@pytest.fixture(scope="module")
def runs(ray_session: Any, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    from examples.ray_train import fit

    root = tmp_path_factory.mktemp("ray_train")
    dsc.compress(
        "taskonomy", root / "archive", sample=SAMPLES, size=32, tasks="rgb,depth",
        codec="png", shard_size=8, pack=4,
    )  # fmt: skip
    how: dict[str, Any] = {
        "name": "run", "batch_size": BATCH, "checkpoint_every": CHECKPOINT_EVERY,
        "learning_rate": LEARNING_RATE, "seed": SEED, "log": root / "log",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
        patch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        first = fit(root / "archive", root / "runs", kill_after=KILL_AFTER, steps=STOP, **how)
        killed = Run.read(root / "log")
        second = fit(root / "archive", root / "runs", workers=1, **how)
    plain = train_without_ray(root / "archive", STOP)
    return Runs(killed, Run.read(root / "log"), plain, [first.metrics, second.metrics])


def test_a_killed_worker_costs_the_steps_since_the_checkpoint_and_no_sample(runs: Runs) -> None:
    assert runs.killed.began == [0, CHECKPOINT_EVERY]
    assert runs.killed.samples == runs.plain.samples


def test_the_losses_are_those_of_an_undisturbed_training(runs: Runs) -> None:
    assert sorted(runs.killed.losses) == sorted(runs.plain.losses)
    for step, losses in runs.killed.losses.items():
        assert losses == pytest.approx(runs.plain.losses[step], rel=1e-5)
    last = runs.plain.losses[STOP][0]
    assert runs.metrics[0]["loss"] == pytest.approx(last, rel=1e-5)


def test_another_number_of_workers_ends_the_epoch_with_what_is_left_of_it(runs: Runs) -> None:
    assert runs.whole.began == [0, CHECKPOINT_EVERY, STOP]
    assert [len(runs.whole.samples[step]) for step in (STOP, STOP + 1)] == [2, 1]
    for epoch in range(2):
        assert sorted(runs.whole.epoch(epoch)) == list(range(SAMPLES))
    assert max(runs.whole.samples) == 2 * STEPS_AN_EPOCH
    assert runs.metrics[1]["step"] == 2 * STEPS_AN_EPOCH
