"""A run is decided by its configuration: resumed anywhere, it repeats itself bit by bit."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from dsc._training.checkpoint import unpack
from dsc._training.config import TrainConfig
from dsc._training.evaluate import evaluate
from dsc._training.loop import Trainer
from dsc.errors import DivergedError, UsageError
from tests.training.toy import toy_config, write_views

LONG = 1e9


def run(config: TrainConfig, stop_at: int = 10**9, **given: Any) -> tuple[Trainer, list[Any]]:
    trainer = Trainer(config, log_every=1, **given)
    rows = trainer.advance(LONG, lambda: trainer.done >= stop_at).rows
    trainer.close()
    return trainer, rows


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, b.state_dict()[name]) for name, x in a.state_dict().items())


@pytest.mark.parametrize(
    ("balance", "average"),
    [
        ("fixed", "ema"),
        ("fixed", "sma"),
        ("uncertainty", "none"),
        ("balanced-rd", "ema"),
        ("balanced-rd-exact", "ema"),
    ],
)
def test_a_resumed_run_repeats_an_uninterrupted_one_bit_by_bit(
    views: Path, balance: str, average: str
) -> None:
    config = toy_config(views, steps=24, balance=balance, average=average)
    whole, rows = run(config)
    half, first = run(config, stop_at=11)
    state = unpack(half.checkpoint(), "here")
    resumed, second = run(config, state=state)
    assert [repr(row) for row in first + second] == [repr(row) for row in rows]
    assert same_weights(whole.network, resumed.network)
    assert same_weights(whole.average.network, resumed.average.network)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_so_does_a_run_of_a_real_network(views: Path, bfloat16: bool) -> None:
    config = toy_config(views, kind="chained", size="tiny", steps=5, bfloat16=bfloat16)
    whole, rows = run(config)
    half, first = run(config, stop_at=2)
    resumed, second = run(config, state=unpack(half.checkpoint(), "here"))
    assert [repr(row) for row in first + second] == [repr(row) for row in rows]
    assert same_weights(whole.average.network, resumed.average.network)


def test_a_row_that_is_not_full_survives_a_checkpoint(views: Path) -> None:
    config = toy_config(views, steps=20)

    def rows(*stops: int) -> list[Any]:
        found, state = [], None
        for stop in stops:
            trainer = Trainer(config, state=state, log_every=10)
            found += trainer.advance(LONG, lambda t=trainer, s=stop: t.done >= s).rows
            state = unpack(trainer.checkpoint(), "here")
            trainer.close()
        return [row.loss for row in found]

    assert rows(7, 13, 20) == rows(20)


def test_the_loader_threads_change_nothing(views: Path) -> None:
    config = toy_config(views, steps=12)
    assert [r.loss for r in run(config, loaders=0)[1]] == [
        r.loss for r in run(config, loaders=3)[1]
    ]


def test_another_seed_is_another_run(views: Path) -> None:
    one, two = (run(toy_config(views, steps=3, seed=seed))[1] for seed in (0, 1))
    assert [row.loss for row in one] != [row.loss for row in two]


@pytest.mark.parametrize("balance", ["fixed", "uncertainty", "balanced-rd", "balanced-rd-exact"])
def test_every_balance_lowers_the_loss(views: Path, balance: str) -> None:
    config = toy_config(views, steps=80, balance=balance, init="random", quality=60, lr=1e-2)
    _, rows = run(config)
    early = sum(row.loss for row in rows[:10])
    assert sum(row.loss for row in rows[-10:]) < 0.4 * early


@pytest.mark.parametrize("average", ["ema", "sma", "none"])
def test_every_average_lowers_the_loss(views: Path, average: str) -> None:
    config = toy_config(views, steps=80, average=average, init="random", quality=60, lr=1e-2)
    trainer, _ = run(config)
    before, after = (
        evaluate(network, trainer.data, [60], trainer.device)[0].psnr_db["rgb"]
        for network in (Trainer(config).network, trainer.average.network)
    )
    assert after > before + 3


def test_the_klt_start_is_better_than_a_random_one(views: Path) -> None:
    klt, random = (
        run(toy_config(views, steps=4, init=init, quality=90))[1] for init in ("klt", "random")
    )
    assert klt[0].loss < 0.8 * random[0].loss


def test_minutes_become_steps_that_a_checkpoint_keeps(views: Path) -> None:
    config = toy_config(views, steps=None, minutes=0.02)
    trainer = Trainer(config)
    assert trainer.steps >= 1
    assert trainer.done == 0
    resumed = Trainer(config, state=unpack(trainer.checkpoint(), "here"))
    assert resumed.steps == trainer.steps


def test_timing_leaves_no_trace(views: Path) -> None:
    timed = Trainer(toy_config(views, steps=None, minutes=0.02, average="none"))
    plain = Trainer(toy_config(views, steps=timed.steps, average="none"))
    assert same_weights(timed.network, plain.network)
    for trainer in (timed, plain):
        trainer.advance(LONG, lambda t=trainer: t.done >= 3)
        trainer.close()
    assert same_weights(timed.network, plain.network)


def test_a_new_run_can_start_from_the_averaged_weights_of_another(views: Path) -> None:
    first, _ = run(toy_config(views, steps=10))
    start = unpack(first.checkpoint(), "here")
    second = Trainer(toy_config(views, steps=10, lr=1e-4), start=start)
    assert second.done == 0
    assert same_weights(second.network, first.average.network)


def test_a_start_that_does_not_code_the_data_is_refused(views: Path, tmp_path: Path) -> None:
    first, _ = run(toy_config(views, steps=2, tasks=("rgb",)))
    start = unpack(first.checkpoint(), "here")
    with pytest.raises(UsageError, match="depth"):
        Trainer(toy_config(views, steps=2), start=start)


def test_a_loss_that_is_not_a_number_stops_the_run_before_the_weights_are_touched(
    views: Path,
) -> None:
    trainer = Trainer(toy_config(views, kind="exploding", steps=60), log_every=1)
    with pytest.raises(DivergedError, match="step 30"):
        trainer.advance(LONG)
    trainer.close()
    assert trainer.done == 29
    assert all(torch.isfinite(p).all() for p in trainer.network.parameters())


def test_weights_of_another_version_are_refused(views: Path) -> None:
    config = toy_config(views, steps=4)
    state = unpack(run(config, stop_at=2)[0].checkpoint(), "here")
    state["network"]["down.rgb.weight"] = torch.zeros(4, 192, 3, 3)
    with pytest.raises(UsageError, match="another version of toy"):
        Trainer(config, state=state)


def test_changed_data_are_noticed(tmp_path: Path) -> None:
    root = write_views(tmp_path / "v", count=5)
    config = toy_config(root, steps=4)
    state = unpack(run(config, stop_at=2)[0].checkpoint(), "here")
    write_views(root, count=6)
    with pytest.raises(UsageError, match="not what they were"):
        Trainer(config, state=state)


def test_tasks_are_charged_only_for_the_streams_they_require(views: Path) -> None:
    trainer, rows = run(toy_config(views, steps=60))
    for row in rows:
        coded = {name for name, value in row.psnr_db.items() if not math.isnan(value)}
        charged = {name for name, value in row.rate_bpp.items() if not math.isnan(value)}
        assert charged <= set(trainer.network.required(sorted(coded)))
    subsets = {tuple(n for n, v in row.psnr_db.items() if not math.isnan(v)) for row in rows}
    assert subsets == {("rgb",), ("depth",), ("rgb", "depth")}
