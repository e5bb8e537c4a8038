"""Checkpoints are whole or not there, hold no code, and diverged runs do not replace good ones."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from dsc._training import checkpoint
from dsc._training.checkpoint import CHECKPOINT, PREVIOUS, load, newest, pack, save
from dsc._training.divergence import BLOCK, TOO_HIGH, DivergenceWatch
from dsc.errors import CorruptCheckpointError, DivergedError, UsageError


def state(done: int) -> dict[str, object]:
    return {
        "config": "{}", "data": [], "spec": {}, "modalities": ["rgb"], "steps": 10, "done": done,
        "network": {"w": torch.ones(3)}, "seconds": 1.0,
    }  # fmt: skip


def test_the_one_before_is_kept(tmp_path: Path) -> None:
    for done in (1, 2, 3):
        save(tmp_path, pack(state(done)))
    assert load(tmp_path / CHECKPOINT)["done"] == 3
    assert load(tmp_path / PREVIOUS)["done"] == 2
    assert sorted(os.listdir(tmp_path)) == [PREVIOUS, CHECKPOINT]


def test_a_save_that_fails_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, pack(state(1)))

    def full(part: Path, target: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "publish", full)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, pack(state(2)))
    found = newest(tmp_path)
    assert found is not None
    assert load(found)["done"] == 1
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("cut", [0, 10, -200])
def test_a_cut_checkpoint_is_refused_and_the_one_before_named(tmp_path: Path, cut: int) -> None:
    save(tmp_path, pack(state(1)))
    save(tmp_path, pack(state(2)))
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CorruptCheckpointError, match=PREVIOUS):
        load(path)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "was here"),)

    torch.save({"config": Evil()}, tmp_path / CHECKPOINT)
    with pytest.raises(CorruptCheckpointError):
        load(tmp_path / CHECKPOINT)
    (tmp_path / CHECKPOINT).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CorruptCheckpointError):
        load(tmp_path / CHECKPOINT)
    assert not (tmp_path / "was here").exists()


def test_a_checkpoint_of_another_version_or_program_is_refused(tmp_path: Path) -> None:
    torch.save(state(1) | {"version": 99}, tmp_path / "a.pt")
    torch.save({"model": {}}, tmp_path / "b.pt")
    for name in ("a.pt", "b.pt"):
        with pytest.raises(CorruptCheckpointError, match=name):
            load(tmp_path / name)
    with pytest.raises(UsageError):
        load(tmp_path / "gone.pt")


def test_a_loss_that_stays_far_above_its_best_is_a_divergence() -> None:
    watch = DivergenceWatch()
    for step in range(BLOCK):
        watch.check(step, 1.0 + step % 7, 1.0)
    assert watch.good
    for step in range(BLOCK, 2 * BLOCK - 1):
        watch.check(step, 4.0 * TOO_HIGH * 1.1, 1.0)
    with pytest.raises(DivergedError, match=f"step {2 * BLOCK}"):
        watch.check(2 * BLOCK - 1, 4.0 * TOO_HIGH * 1.1, 1.0)


def test_a_loss_on_its_way_up_keeps_the_last_good_checkpoint() -> None:
    watch = DivergenceWatch()
    for step in range(BLOCK):
        watch.check(step, 1.0, 1.0)
    for step in range(BLOCK // 2):
        watch.check(step, TOO_HIGH / 2, 1.0)
    assert not watch.good


def test_single_high_losses_are_no_divergence() -> None:
    watch = DivergenceWatch()
    for step in range(5 * BLOCK):
        watch.check(step, 1e4 if step % 3 == 0 else 1.0, 1.0)
    assert watch.good


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_or_gradient_that_is_not_finite_is_a_divergence(bad: float) -> None:
    with pytest.raises(DivergedError, match="loss"):
        DivergenceWatch().check(0, bad, 1.0)
    with pytest.raises(DivergedError, match="gradient"):
        DivergenceWatch().check(0, 1.0, bad)
