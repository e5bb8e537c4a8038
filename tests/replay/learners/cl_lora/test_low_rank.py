"""Adapters change nothing until trained, and then what they say of a weight's rows."""

import pytest
import torch

from dsc._replay.learners.batches import generator
from dsc._replay.learners.cl_lora.low_rank import LowRankAdapters, orthonormal_rows, site

WEIGHT = torch.randn(12, 7, 1, 1, generator=generator(0))


def adapters(*, trains_down: bool = False) -> LowRankAdapters:
    sites = [site("a.weight", WEIGHT), site("b.weight", WEIGHT, first=4, outputs=5)]
    return LowRankAdapters(sites, 3, generator(1), trains_down=trains_down)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_down_projections_have_orthonormal_rows(rank: int) -> None:
    rows = orthonormal_rows(rank, 7, generator(2))
    assert torch.allclose(rows @ rows.T, torch.eye(rank), atol=1e-6)


def test_a_map_of_few_inputs_has_as_many_rows_as_inputs() -> None:
    rows = orthonormal_rows(5, 2, generator(2))
    assert torch.allclose(rows.T @ rows, torch.eye(2), atol=1e-6)
    assert not rows[2:].any()


def test_a_site_is_described_by_its_own_rows() -> None:
    some = site("b.weight", WEIGHT, first=4, outputs=5)
    assert (some.inputs, some.outputs, some.first) == (7, 5, 4)
    singular = torch.linalg.svdvals(WEIGHT[4:9, :, 0, 0])
    assert some.scale == pytest.approx(float(singular.square().mean().sqrt()), rel=1e-5)


def test_new_adapters_change_nothing() -> None:
    assert not any(change.any() for change in adapters().changes())


def test_changes_are_products_of_low_rank_times_block_weights() -> None:
    made = adapters()
    for up in made.up:
        torch.nn.init.normal_(up, generator=generator(3))
    plain, weighed = made.changes(), made.changes(torch.tensor([2.0, 0.5]))
    assert [tuple(one.shape) for one in plain] == [(12, 7), (5, 7)]
    assert all(torch.linalg.matrix_rank(one) == 3 for one in plain)
    assert torch.allclose(plain[0] * 2, weighed[0])
    assert torch.allclose(plain[1] / 2, weighed[1])
    assert torch.allclose(plain[0], made.sites[0].scale * made.up[0] @ made.down[0])


@pytest.mark.parametrize("trains_down", [True, False])
def test_down_projections_are_trained_only_where_asked_for(trains_down: bool) -> None:
    made = adapters(trains_down=trains_down)
    assert {one.requires_grad for one in made.down} == {trains_down}
    assert all(one.requires_grad for one in made.up)
