"""A teacher guides and is not changed; its guidance is nothing where there is nothing to learn."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dsc._training.checkpoint import pack, unpack
from dsc._training.config import TrainConfig
from dsc._training.guidance import AFFINITY_SHARE, POSITIONS, Guidance, affinities, affinity_loss
from dsc._training.loop import Trainer
from dsc._training.schedule import guidance_share
from dsc.errors import UsageError
from tests.training.toy import toy_config, write_views

CPU = torch.device("cpu")
RGB = ("rgb",)
LONG = 1e9


def config_of(views: Path, kind: str = "layered", **values: Any) -> TrainConfig:
    return toy_config(views, **{"kind": kind, "size": "tiny", "tasks": RGB, "steps": 6, **values})


def trained(config: TrainConfig, stop_at: int = 10**9, **given: Any) -> tuple[Trainer, list[Any]]:
    trainer = Trainer(config, log_every=1, **given)
    rows = trainer.advance(LONG, lambda: trainer.done >= stop_at).rows
    trainer.close()
    return trainer, rows


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Checkpoints of short runs."""
    views = write_views(tmp_path_factory.mktemp("views"))
    return {
        kind: unpack(trained(config_of(views, kind, steps=4))[0].checkpoint(), kind)
        for kind in ("bound", "layered", "chained")
    }


def guided(views: Path, **values: Any) -> TrainConfig:
    return config_of(views, teacher=("teacher", "hash"), **values)


def step_of(trainer: Trainer, share: float = 1.0) -> Tensor:
    """What guidance adds to the first step of a run."""
    batch = trainer.data.batch(0, trainer.steps)
    losses, coded = trainer._code(batch, 0)
    assert trainer.guidance is not None
    return trainer.guidance(batch, coded, replace(losses, guidance=None), trainer.config, share)


def test_a_student_that_equals_its_teacher_is_not_guided(
    views: Path, states: dict[str, dict[str, Any]]
) -> None:
    trainer = Trainer(guided(views), start=states["layered"], teacher=states["layered"])
    assert float(step_of(trainer).detach()) == 0.0
    with torch.no_grad():
        trainer.network.modalities["rgb"].chain.exit.weight.mul_(1.1)
    assert float(step_of(trainer).detach()) > 0.0


def test_a_teacher_pulls_a_student_toward_itself_and_stays_as_it_is(
    views: Path, states: dict[str, dict[str, Any]]
) -> None:
    plain, _ = trained(config_of(views, prefix_share=0.0))
    with_teacher, _ = trained(guided(views), teacher=states["bound"])
    assert with_teacher.guidance is not None
    teacher = with_teacher.guidance.teacher
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, states["bound"]["average"][name]), name
    assert not [name for name, p in teacher.named_parameters() if p.requires_grad or p.grad]
    weights = plain.network.state_dict()
    assert any(not torch.equal(x, weights[n]) for n, x in with_teacher.network.state_dict().items())


def test_guidance_that_has_faded_changes_nothing(
    views: Path, states: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, rows = trained(config_of(views, prefix_share=0.0))
    monkeypatch.setattr("dsc._training.loop.guidance_share", lambda step, steps: 0.0)
    other, others = trained(guided(views), teacher=states["bound"])
    assert [row.loss for row in rows] == [row.loss for row in others]
    weights = plain.network.state_dict()
    assert all(torch.equal(x, weights[n]) for n, x in other.network.state_dict().items())


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_guided_run_that_is_resumed_repeats_an_uninterrupted_one_bit_by_bit(
    views: Path, states: dict[str, dict[str, Any]], bfloat16: bool
) -> None:
    config = guided(views, steps=9, bfloat16=bfloat16)
    whole, rows = trained(config, teacher=states["bound"])
    half, first = trained(config, 4, teacher=states["bound"])
    state = unpack(half.checkpoint(), "here")
    resumed, second = trained(config, state=state, teacher=states["bound"])
    assert [repr(row) for row in first + second] == [repr(row) for row in rows]
    weights = whole.network.state_dict()
    assert all(torch.equal(x, weights[n]) for n, x in resumed.network.state_dict().items())
    assert whole.guidance is not None
    assert resumed.guidance is not None
    assert whole.guidance.state() == resumed.guidance.state()


def test_affinities_are_a_twentieth_of_the_loss_at_first(
    views: Path, states: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsc._training.guidance.BETA", 0.0)
    trainer = Trainer(guided(views), teacher=states["bound"])
    batch = trainer.data.batch(0, trainer.steps)
    losses, _ = trainer._code(batch, 0)
    assert losses.guidance is not None
    share = float(losses.guidance.detach()) / float(losses.total.detach())
    assert share == pytest.approx(AFFINITY_SHARE, rel=1e-4)


def test_the_loss_that_is_reported_has_no_guidance(
    views: Path, states: dict[str, dict[str, Any]]
) -> None:
    first = trained(config_of(views, prefix_share=0.0), 1)[1][0]
    same = trained(guided(views), 1, teacher=states["bound"])[1][0]
    assert repr(first) == repr(same)


def test_guidance_fades_over_the_last_third() -> None:
    shares = [guidance_share(step, 300) for step in range(301)]
    assert shares[:201] == [1.0] * 201
    assert shares[201:] == sorted(shares[201:], reverse=True)
    assert shares[250] == pytest.approx(0.5)
    assert shares[300] == pytest.approx(0.0, abs=1e-12)


def test_affinities_know_neither_widths_nor_lengths_nor_directions() -> None:
    random = torch.Generator().manual_seed(1)
    x = torch.randn(2, 6, 4, 4, generator=random)
    turned, _ = torch.linalg.qr(torch.randn(9, 6, generator=random))
    wider = 3 * torch.einsum("oc,bchw->bohw", turned, x)
    assert float(affinity_loss([wider], [x])) == pytest.approx(0.0, abs=1e-12)
    assert float(affinity_loss([wider.flip(3)], [x])) > 0.01


def test_affinities_of_large_pictures_are_pooled() -> None:
    assert affinities(torch.rand(1, 3, 64, 50)).shape == (1, 32 * 25, 32 * 25)
    assert affinities(torch.rand(1, 3, 32, 32)).shape == (1, POSITIONS, POSITIONS)


def test_teachers_that_do_not_fit_are_refused(
    views: Path, states: dict[str, dict[str, Any]]
) -> None:
    with pytest.raises(UsageError, match=r"a chained has no scales.*dsc train bound"):
        Trainer(guided(views), teacher=states["chained"])
    with pytest.raises(UsageError, match=r"codes rgb, and the run trains depth too.*--tasks"):
        Trainer(guided(views, tasks=("rgb", "depth")), teacher=states["bound"])
    state = unpack(pack(states["bound"]), "copy")
    state["spec"]["modalities"]["rgb"]["lambda_range"] = (0.001, 0.2)
    with pytest.raises(UsageError, match=r"λ of rgb is 0\.001 and 0\.2, here 0\.0012 and 0\.12"):
        Trainer(guided(views), teacher=state)
    state = unpack(pack(states["bound"]), "copy")
    state["spec"]["prior_width"] = 16
    with pytest.raises(UsageError, match="another version of bound"):
        Guidance(state, Trainer(config_of(views)).network, RGB, CPU)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"kind": "chained"}, "--teacher goes with layered; chained"),
        ({"prefix_share": 0.2}, "--prefix-share 0.2: a teacher guides whole samples"),
        ({"balance": "uncertainty"}, "--balance fixed"),
        ({"freeze_decoder": True}, "--freeze-decoder"),
    ],
)
def test_what_does_not_go_with_a_teacher_is_refused(
    views: Path, values: dict[str, Any], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        guided(views, **values)
