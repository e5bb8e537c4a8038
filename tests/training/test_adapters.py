"""Adapters of a feature codec: what is equal at first, what may move, and what never does."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dsc._codecs.learned.feature.codec import FeatureLearnedCodec
from dsc._codecs.learned.feature.network import FeatureNetwork
from dsc._codecs.learned.feature.weights import load_network, save_network
from dsc._codecs.learned.latent_coder import LatentCoder
from dsc._codecs.learned.network.rate import SymbolChooser
from dsc._coding.integer import IntegerConv
from dsc._schemas import Quality
from dsc._training.models.feature import (
    ERROR_WEIGHT,
    FeatureExamples,
    price,
    untrained,
    with_answers,
)
from dsc._training.models.feature import train as train_base
from dsc._training.research.adapters.divergences import of_centres, of_classes
from dsc._training.research.adapters.low_rank import LowRank, low_rank
from dsc._training.research.adapters.parallel import base_digest, with_parts
from dsc._training.research.adapters.students import (
    Student,
    TaskTail,
    entropy_alone,
    load_base,
    low_rank_after,
    low_rank_before,
    unchanged,
    with_prompts,
)
from dsc._training.research.adapters.training import Costs, costs, measure, train
from dsc._training.research.mpa.batches import Schedule
from dsc.errors import UsageError
from tests.codecs.test_feature_learned import CHANNELS, FIXED, LAYER, SPEC, make_features

CLASSES = 3
MAKERS: dict[str, Callable[[FeatureNetwork, TaskTail], Student]] = {
    "prompts main": partial(with_prompts, hyper=False, width=4),
    "prompts": partial(with_prompts, hyper=True, width=4),
    "low rank before": partial(low_rank_before, rank=2),
    "low rank after": partial(low_rank_after, rank=2),
}
QUALITIES = torch.tensor([1, 30, 60, 100])
FEW = Schedule(steps=12, batch=4)


class Head(nn.Module):
    """Answers to fine and deep maps: label maps, classes where `pooled`."""

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        self.pooled = pooled
        self.scores = nn.Conv2d(CHANNELS + 6, CLASSES, 1)
        self.drops = nn.Dropout(0.5)  # which shows whether it stays in evaluation mode

    def forward(self, fine: Tensor, deep: Tensor) -> Tensor:
        larger = nn.functional.interpolate(deep, fine.shape[2:])
        scores: Tensor = self.drops(self.scores(torch.cat([fine, larger], dim=1)))
        return scores.mean(dim=(2, 3)) if self.pooled else scores


def make_task(pooled: bool = False) -> TaskTail:
    torch.manual_seed(5)
    convolution = nn.Conv2d(6, 6, 3, padding=1)
    tail = nn.Sequential(nn.Conv2d(CHANNELS, 6, 1), nn.ReLU(), convolution, nn.AvgPool2d(2))
    return TaskTail(tail, Head(pooled))


@pytest.fixture(scope="module")
def weights() -> bytes:
    tail = make_task(pooled=True)
    examples = with_answers(make_features(48), tail)
    network = train_base(untrained(SPEC, examples, tail), examples, tail, 40)
    return save_network(network, LAYER, {"data": "none"})


@pytest.fixture
def base(weights: bytes) -> FeatureNetwork:
    return load_base(weights)


def examples_for(task: TaskTail, count: int = 32) -> FeatureExamples:
    return with_answers(make_features(count), task)


@torch.no_grad()
def costs_of(student: Student) -> Costs:
    features = make_features(len(QUALITIES))
    answers = make_task()(features)
    return costs(student, of_classes, features, answers, QUALITIES)


def real_bytes(student: Student, weights: bytes, quality: int) -> list[bytes]:
    """Code features with the tables of a weights file."""
    loaded, codec = load_network(weights), student.codec
    chooser = SymbolChooser(loaded.scale_tables)
    tables = loaded.hyper_tables, loaded.scale_tables
    coder = LatentCoder("features", codec.entropy, *tables, chooser)
    words = []
    with torch.inference_mode():
        for one in make_features(3):
            scaled = codec.analyse(one[None], torch.tensor([float(quality)]))

            def predict(z: Tensor) -> object:
                return codec.entropy.synthesis(z, torch.tensor([quality]), (6, 7), None, None)

            coded, latent = coder.encode(scaled, quality, float("inf"), predict)
            (again,) = coder.decode([coded], [quality], SPEC.hyper_latents, (6, 7), predict)
            assert np.array_equal(again.symbols, latent.symbols)
            assert np.array_equal(again.mean, latent.mean)
            words.append(coded)
    return words


@pytest.mark.parametrize("name", MAKERS)
def test_a_new_adapter_changes_no_answer_and_no_bit(name, base, weights) -> None:
    without, student = unchanged(base, make_task()), MAKERS[name](base, make_task())
    for one, other in zip(
        vars(costs_of(without)).values(), vars(costs_of(student)).values(), strict=True
    ):
        assert torch.equal(one, other)
    for quality in (1, 60):
        assert real_bytes(without, weights, quality) == real_bytes(student, weights, quality)


@pytest.mark.parametrize("name", MAKERS)
def test_only_branches_get_gradients_and_all_of_them_learn(name, base, weights) -> None:
    task = make_task()
    other = with_prompts(base, task, hyper=True, width=4)
    student = MAKERS[name](base, task)
    shared = base_digest(student.codec), base_digest(student.task)
    assert shared == (base_digest(base), base_digest(task))
    before = [one.detach().clone() for one in student.parameters]
    known = costs_of(unchanged(base, task)), costs_of(other)

    train(student, examples_for(task), of_classes, FEW)

    own = {id(one) for one in student.parameters}
    for module in (student.codec, student.task):
        for path, parameter in module.named_parameters():
            assert (parameter.grad is not None) == (id(parameter) in own), path
            assert parameter.requires_grad == (id(parameter) in own), path
    moved = [not torch.equal(a, b) for a, b in zip(before, student.parameters, strict=True)]
    assert all(moved), "a part of an adapter learned nothing"
    assert not student.task.training
    assert (base_digest(base), base_digest(task)) == shared
    assert (base_digest(student.codec), base_digest(student.task)) == shared
    assert base_digest(base) == base_digest(load_base(weights))
    for one, again in zip(known, (costs_of(unchanged(base, task)), costs_of(other)), strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(vars(one).values(), vars(again).values(), strict=True)
        )
    assert not torch.equal(costs_of(student).divergence, known[0].divergence)


@pytest.mark.parametrize("name", MAKERS)
def test_a_stream_is_a_tasks_own_only_where_the_student_says_so(name, base, weights) -> None:
    task = make_task()
    without = real_bytes(unchanged(base, task), weights, 60)
    student = MAKERS[name](base, task)
    train(student, examples_for(task), of_classes, Schedule(steps=20, batch=4, lr=2e-2))
    trained = real_bytes(student, weights, 60)  # which also decodes them
    assert (trained != without) == student.has_own_stream


def test_bytes_of_the_codec_without_adapters_stay_and_decode_alike(base, weights) -> None:
    codec = FeatureLearnedCodec([FIXED], weights)
    name = FIXED.name
    samples = [{name: one} for one in make_features(3).numpy()]
    streams = codec.encode_batch(samples, Quality(default=40))
    decoded = codec.decode_batch(streams, [name], 1 << 16)
    task = make_task()
    network = codec._network
    train(with_prompts(network, task, hyper=True), examples_for(task), of_classes, FEW)
    assert codec.encode_batch(samples, Quality(default=40)) == streams
    for one, other in zip(codec.decode_batch(streams, [name], 1 << 16), decoded, strict=True):
        assert np.array_equal(one[name], other[name])


def test_low_rank_branches_before_the_bottleneck_leave_the_decoder_as_it_is(base) -> None:
    task = make_task()
    student = low_rank_before(base, task, rank=2)
    train(student, examples_for(task), of_classes, FEW)
    for part in ("synthesis", "inverse_gain", "mean", "deviation"):
        assert getattr(student.codec, part) is getattr(base, part)
    assert student.codec.entropy.synthesis is base.entropy.synthesis
    assert student.codec.entropy.steps is base.entropy.steps


def loss_of(student: Student, examples: FeatureExamples) -> float:
    """Return what training makes small, over a few qualities."""
    total = 0.0
    for quality in (1, 30, 60, 100):
        found = measure(student, examples, of_classes, quality)
        root = float(price(torch.tensor(quality))) ** 0.5
        lost = float(found.divergence) + ERROR_WEIGHT * float(found.error)
        total += lost / root + root * float(found.rate_bpp)
    return total


@pytest.mark.parametrize("name", MAKERS)
def test_a_student_gets_better_at_its_loss(name, base) -> None:
    task = make_task()
    examples = examples_for(task)
    student = MAKERS[name](base, task)

    before = loss_of(student, examples)
    train(student, examples, of_classes, Schedule(steps=60, batch=4, lr=1e-2))
    assert loss_of(student, examples) < before


def test_training_is_a_function_of_its_seed_and_keeps_torchs_state(base) -> None:
    task = make_task()

    def trained(seed: int) -> str:
        student = with_prompts(base, task, hyper=True, width=4, seed=seed)
        state = torch.get_rng_state()
        train(student, examples_for(task), of_classes, Schedule(steps=4, batch=4, seed=seed))
        assert torch.equal(torch.get_rng_state(), state)
        return base_digest(student.learning)

    assert trained(0) == trained(0) != trained(1)


def test_a_thawed_entropy_model_gives_the_same_integers_and_learns(base, weights) -> None:
    task = make_task()
    student = entropy_alone(base, task)
    without = unchanged(base, task)
    assert torch.equal(costs_of(student).rate_bpp, costs_of(without).rate_bpp)
    assert real_bytes(student, weights, 30) == real_bytes(without, weights, 30)
    shared = base_digest(base)
    train(student, examples_for(task), of_classes, FEW)
    assert base_digest(base) == shared
    assert not torch.equal(costs_of(student).rate_bpp, costs_of(without).rate_bpp)


def test_prompts_of_the_hyper_synthesis_are_integers(base) -> None:
    student = with_prompts(base, make_task(), hyper=True, width=4)
    train(student, examples_for(student.task), of_classes, Schedule(steps=12, batch=4, lr=2e-2))
    z = torch.randint(-31, 32, (2, SPEC.hyper_latents, 2, 2)).float()
    with torch.no_grad():
        found = student.codec.entropy.synthesis(z, torch.tensor([20, 90]), (6, 7), None, None)
        plain = base.entropy.synthesis(z, torch.tensor([20, 90]), (6, 7), None, None)
    for own, other in ((found.scale, plain.scale), (found.mean, plain.mean)):
        assert torch.equal(own, own.round())
        assert not torch.equal(own, other)
    assert found.scale.min() >= 0
    assert found.scale.max() <= 63


def test_any_head_teaches_dense_pooled_and_detecting(base) -> None:
    divergences = {True: of_classes, False: of_centres(CLASSES - 1)}
    for pooled, divergence in divergences.items():
        task = make_task(pooled)
        student = with_prompts(base, task, hyper=False, width=4)
        train(student, examples_for(task), divergence, Schedule(steps=2, batch=4))
        assert measure(student, examples_for(task), divergence, 50).divergence > 0


@pytest.mark.parametrize("divergence", [of_classes, of_centres(2)])
def test_a_divergence_is_zero_for_equal_answers_alone(divergence) -> None:
    answers = torch.randn(2, CLASSES, 4, 5, generator=torch.Generator().manual_seed(1))
    assert divergence(answers, answers).abs().max() < 1e-6
    for channel in range(CLASSES):
        other = answers.clone()
        other[1, channel, 2, 3] += 1
        first, second = divergence(answers, other)
        assert abs(first) < 1e-6 < second


def test_numbers_of_a_task_are_counted(base) -> None:
    task = make_task()
    counts = {rank: low_rank_after(base, task, rank).parameter_count for rank in (1, 2)}
    assert counts == {1: CHANNELS + 6, 2: 2 * (CHANNELS + 6)}
    entropy = base.entropy.analysis
    pairs = [
        (c.in_channels, c.out_channels)
        for c in (
            base.analysis,
            entropy.entry,
            entropy.block.expand,
            entropy.block.project,
            entropy.down_1,
            entropy.down_2,
        )
    ]
    assert low_rank_before(base, task, 2).parameter_count == 2 * sum(map(sum, pairs))
    assert unchanged(base, task).parameter_count == 0
    main, both = (with_prompts(base, task, hyper=h, width=4).parameter_count for h in (False, True))
    assert main == 2 * (4 * CHANNELS + 4 + 2 * (4 * 9 + 4) + 4 * CHANNELS + CHANNELS)
    assert both > main


def test_shared_parts_are_the_very_tensors(base) -> None:
    other = with_parts(base, {"entropy.prior": nn.Identity()})
    assert isinstance(other.entropy.prior, nn.Identity)
    assert not isinstance(base.entropy.prior, nn.Identity)
    assert other.analysis is base.analysis
    assert other.entropy.analysis is base.entropy.analysis


def test_ranks_that_a_layer_has_not_are_refused() -> None:
    for rank in (0, 4):
        with pytest.raises(UsageError, match=f"rank {rank}: a layer of 5 to 3 has 1 to 3"):
            LowRank(nn.Linear(5, 3), rank)
    with pytest.raises(UsageError, match="Sequential has no linear layer and no 1×1 convolution"):
        low_rank(nn.Sequential(nn.Conv2d(3, 3, 3), IntegerConv(3, 3, shift=8)), 1)
