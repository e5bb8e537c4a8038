"""What keeps the past: distillation, reassignment, orthogonality, each by its formula."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dsc._replay.learners.batches import generator
from dsc._replay.learners.cl_lora.distillation import early_exit_teacher
from dsc._replay.learners.cl_lora.losses import (
    block_orthogonality,
    class_means,
    cosine_logits,
    early_exit_distillation,
    reassignment,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


def test_cosines_do_not_depend_on_lengths() -> None:
    features, directions = random(5, 4), random(3, 4, seed=1)
    logits = cosine_logits(features, directions, 10.0)
    assert torch.allclose(logits, cosine_logits(7 * features, directions / 3, 10.0), atol=1e-5)
    assert float(cosine_logits(features[:1], features[:1], 10.0)) == pytest.approx(10, abs=1e-4)


def test_distillation_is_least_at_the_teachers_own_logits() -> None:
    teacher = random(6, 4)
    at = teacher.clone().requires_grad_()
    early_exit_distillation(at, teacher, 2.0).backward()
    assert at.grad is not None
    assert float(at.grad.abs().max()) < 1e-6
    least = early_exit_distillation(teacher, teacher, 2.0)
    assert early_exit_distillation(teacher + random(6, 4, seed=1), teacher, 2.0) > least
    entropy = -(F.softmax(teacher / 2, 1) * F.log_softmax(teacher / 2, 1)).sum(1).mean()
    assert torch.allclose(least, entropy)


def test_reassignment_is_a_rows_share_of_what_was_learnt() -> None:
    up = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]])
    assert reassignment(up).flatten().tolist() == pytest.approx([2.5, 0.0, 0.5])
    assert reassignment(torch.zeros(3, 2)).flatten().tolist() == [1, 1, 1]


def test_block_weights_of_tasks_are_compared_by_their_angle() -> None:
    weights = torch.tensor([1.0, 0.0, 0.0])
    assert float(block_orthogonality(weights, [])) == 0
    earlier = [torch.tensor([0.0, 2.0, 0.0]), torch.tensor([-3.0, 0.0, 0.0])]
    assert float(block_orthogonality(weights, earlier)) == pytest.approx(0.5)


def test_class_means_are_of_unit_vectors() -> None:
    features = torch.tensor([[10.0, 0.0], [0.0, 1.0], [0.0, 5.0]])
    means = class_means(features, torch.tensor([0, 0, 1]))
    assert means.tolist() == [[0.5, 0.5], [0.0, 1.0]]


@pytest.mark.parametrize("reassigns", [True, False])
def test_the_teachers_gradient_is_added_by_row(reassigns: bool) -> None:
    up = nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 0.0], [2.0, 0.0]]))
    features, labels = random(4, 2), torch.tensor([0, 1, 0, 1])
    exits = features @ up.T
    teacher = early_exit_teacher(exits.detach(), labels, [up], reassigns=reassigns)
    moved = exits + features.roll(1, 0) @ up.T
    rows = torch.arange(4)
    (expected,) = torch.autograd.grad(teacher.loss(moved, rows), up, retain_graph=True)
    up.grad = torch.ones_like(up)
    teacher.add_gradient(moved, rows, [up])
    factors = torch.tensor([[1.0], [0.0], [2.0]]) if reassigns else 1
    assert expected.abs().max() > 0
    assert torch.allclose(up.grad, 1 + factors * expected)
