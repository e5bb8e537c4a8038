"""Training with fewer weights: forms that fit, gradients that are right, weights that stay."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from dsc._training.networks import make_network
from dsc._training.research.embedded.affine import AffineForms
from dsc._training.research.embedded.choice import Sensitivity, change, choose
from dsc._training.research.embedded.embedding import Embedding
from dsc._training.research.embedded.methods import Embedded, Frozen, FrozenLayers, Timetable
from dsc._training.research.embedded.modes import (
    Modes,
    central,
    complete_linkage,
    correlation,
    find_modes,
    sample_weights,
)
from dsc._training.research.embedded.run import SteppedTraining
from dsc._training.research.embedded.vector import TrainedWeights, WeightVector
from dsc.errors import UsageError

WHEN = Timetable(warm_up=8, every=2, period=4, choices=3, share=0.2, watched=2, modes=4, samples=60)
LAST_CHOICE = 20
PER_MODE = 50


def planted(modes: int = 3, snapshots: int = 40, noise: float = 0.05, seed: int = 0) -> Tensor:
    """Trajectories (T, modes * PER_MODE): random walks, each scaled, moved and a little noisy."""
    random = torch.Generator().manual_seed(seed)
    walks = torch.randn(snapshots, modes, generator=random).cumsum(0)
    walks = walks.repeat_interleave(PER_MODE, dim=1)
    a, b = torch.randn(2, walks.shape[1], generator=random)
    a = a.sign() * (0.5 + a.abs())
    return a * walks + b + noise * torch.randn(walks.shape, generator=random)


def one_mode(count: int, reference: int = 0) -> Modes:
    return Modes(torch.tensor([reference]), torch.zeros(count, dtype=torch.long), torch.ones(count))


def small_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))


class TestModes:
    def test_clustering_finds_planted_modes(self) -> None:
        trajectories = planted()
        labels = complete_linkage(1 - correlation(trajectories, trajectories), 3)
        by_mode = labels.view(3, PER_MODE)
        assert (by_mode == by_mode[:, :1]).all()
        assert sorted(by_mode[:, 0].tolist()) == [0, 1, 2]

    def test_it_is_complete_linkage(self) -> None:
        hierarchy = pytest.importorskip("scipy.cluster.hierarchy", reason="to compare with")
        distance = 1 - correlation(planted(4, noise=2.0), planted(4, noise=2.0))
        rows, columns = torch.triu_indices(len(distance), len(distance), 1)
        tree = hierarchy.linkage(distance[rows, columns].double().numpy(), "complete")
        theirs = torch.from_numpy(hierarchy.fcluster(tree, 7, "maxclust"))
        ours = complete_linkage(distance.double(), 7)
        assert torch.equal(ours[:, None] == ours, theirs[:, None] == theirs)

    def test_every_weight_joins_the_reference_of_its_mode(self) -> None:
        modes = find_modes(planted(), [(0, 100), (100, 150)], samples=40, count=3, seed=0)
        by_mode = modes.members.view(3, PER_MODE)
        assert (by_mode == by_mode[:, :1]).all()
        assert torch.equal(modes.members[modes.references], torch.arange(3))
        assert modes.correlation.min() > 0.9

    def test_the_central_weight_is_the_one_that_its_cluster_is_most_like(self) -> None:
        between = torch.tensor([[1.0, 0.9, 0.2], [0.9, 1.0, 0.8], [0.2, 0.8, 1.0]])
        assert central(between, torch.tensor([0, 0, 0]), 1).tolist() == [1]
        assert central(between, torch.tensor([0, 1, 1]), 2).tolist() == [0, 1]

    def test_correlation_is_that_of_its_definition_and_none_with_what_stands_still(self) -> None:
        trajectories = planted(2, noise=1.0)
        expected = torch.corrcoef(trajectories.T).abs()
        torch.testing.assert_close(correlation(trajectories, trajectories), expected)
        trajectories[:, 3] = 0.1  # its mean rounds to another value
        assert not correlation(trajectories, trajectories)[3].any()

    def test_half_of_the_sample_is_drawn_evenly_from_the_layers(self) -> None:
        trajectories = torch.rand(3, 1000)
        trajectories[1:, 20:40] = trajectories[0, 20:40]
        drawn = sample_weights(trajectories, [(0, 10), (10, 50), (50, 1000)], 60, seed=1)
        assert len(drawn) == len(drawn.unique()) == 60
        assert (drawn < 10).sum() == 10
        assert not ((drawn >= 20) & (drawn < 40)).any(), "they never moved"

    def test_weights_that_do_not_move_make_no_modes(self) -> None:
        with pytest.raises(UsageError, match="0 of the sampled weights moved in 5 snapshots"):
            find_modes(torch.ones(5, 20), [(0, 20)], samples=10, count=2, seed=0)


class TestForms:
    def test_the_fit_recovers_weights_that_were_made_affine(self) -> None:
        reference = torch.linspace(0.5, 0.6, 12)
        a, b = torch.tensor([1.0, -3.0, 0.0, 40.0]), torch.tensor([0.0, 1.5, 0.2, -7.0])
        trajectories = reference[:, None].double() * a + b
        forms = AffineForms(trajectories, one_mode(4))
        torch.testing.assert_close(forms.coefficients, torch.stack([a, b], 1).double())
        torch.testing.assert_close(forms.values(trajectories[-1]), trajectories[-1])

    def test_recursion_gives_what_a_fit_to_all_snapshots_gives(self) -> None:
        trajectories = planted(noise=1.0)
        modes = find_modes(trajectories, [(0, 150)], samples=30, count=3, seed=0)
        forms = AffineForms(trajectories[:10], modes)
        early = forms.coefficients.clone()
        for snapshot in trajectories[10:]:
            forms.update(snapshot)
        whole = AffineForms(trajectories, modes)
        torch.testing.assert_close(forms.coefficients, whole.coefficients)
        assert change(forms.coefficients, early).max() > 0.01

    def test_a_references_form_is_itself(self) -> None:
        trajectories = planted(1)
        forms = AffineForms(trajectories, one_mode(PER_MODE, reference=7))
        forms.update(trajectories[3])
        assert forms.coefficients[7].tolist() == [1.0, 0.0]
        assert forms.references(torch.tensor([0, 49])).tolist() == [7, 7]


class TestChoice:
    def test_stable_weights_are_chosen_and_the_insensitive_half_is_embedded(self) -> None:
        delta = torch.tensor([0.0, 9.0, 0.1, 0.2, 0.3, 0.0])
        sensitivity = torch.tensor([5.0, 0.0, 1.0, 2.0, 9.0, 0.0])
        true, dummy = choose(delta, sensitivity, torch.arange(5), 2)
        assert sorted(true.tolist()) == [2, 3]
        assert sorted(dummy.tolist()) == [0, 4]
        true, dummy = choose(delta, sensitivity, torch.tensor([3]), 2)
        assert true.tolist() == [3]
        assert not len(dummy)

    def test_sensitivity_is_the_mean_of_weight_times_gradient(self) -> None:
        sensitivity = Sensitivity(torch.zeros(2))
        sensitivity.add(torch.tensor([1.0, -2.0]), torch.tensor([-3.0, 1.0]))
        sensitivity.add(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]))
        assert sensitivity.take().tolist() == [2.0, 3.0]
        assert sensitivity.take().tolist() == [0.0, 0.0]


class TestEmbedding:
    def test_the_gradient_is_that_of_the_network_with_fewer_parameters(self) -> None:
        network = small_network()
        vector = WeightVector(network)
        x, y = torch.randn(8, 5), torch.randn(8, 3)
        embedding = Embedding(vector.values)
        indices, references = torch.tensor([3, 10, 40, 41]), torch.tensor([0, 0, 20, 20])
        forms = torch.randn(4, 2)
        embedding.add(indices, references, forms)
        embedding.hold(vector.values)
        loss(network, x, y).backward()
        embedding.pass_on(vector.gradient)

        free = vector.values.clone().requires_grad_()
        whole = free.index_put((indices,), forms[:, 0] * free[references] + forms[:, 1])
        torch.testing.assert_close(whole, vector.values)
        named = {
            name: whole[start:stop].view(parameter.shape)
            for (name, parameter), (start, stop) in zip(
                network.named_parameters(), vector.spans, strict=True
            )
        }
        ((functional_call(network, named, x) - y) ** 2).mean().backward()
        trained = torch.ones(len(vector), dtype=torch.bool)
        trained[indices] = False
        assert free.grad is not None
        torch.testing.assert_close(vector.gradient[trained], free.grad[trained])

    def test_references_are_never_embedded(self) -> None:
        embedding = Embedding(torch.zeros(9))
        embedding.add(torch.tensor([1]), torch.tensor([2]), torch.ones(1, 2))
        with pytest.raises(ValueError, match="weight 2 is a reference"):
            embedding.add(torch.tensor([2]), torch.tensor([3]), torch.ones(1, 2))
        with pytest.raises(ValueError, match="weight 1 is a reference"):
            embedding.add(torch.tensor([4]), torch.tensor([1]), torch.ones(1, 2))


def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return ((network(x) - y) ** 2).mean()


class TestVector:
    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_a_network_computes_and_learns_as_before(self, layout: torch.memory_format) -> None:
        torch.manual_seed(0)
        x = torch.randn(2, 3, 8, 8)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
        network.to(memory_format=layout)
        plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
        plain.load_state_dict(network.state_dict())
        vector = WeightVector(network)
        trained, adam = TrainedWeights(vector), torch.optim.Adam(plain.parameters(), lr=0.01)
        for _ in range(5):
            vector.gradient.zero_()
            adam.zero_grad()
            for one in (network, plain):
                (one(x) ** 2).mean().backward()
            trained.step(0.01)
            adam.step()
        for own, other in zip(network.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(own, other)

    def test_clipping_is_torchs(self) -> None:
        network, other = small_network(), small_network()
        vector = WeightVector(network)
        x, y = torch.randn(8, 5), torch.randn(8, 3) + 50
        loss(network, x, y).backward()
        loss(other, x, y).backward()
        norm = torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        assert vector.clip(1.0) == pytest.approx(float(norm))
        expected = torch.cat([p.grad.flatten() for p in other.parameters() if p.grad is not None])
        torch.testing.assert_close(vector.gradient, expected)

    def test_a_dropped_weight_does_not_move_and_others_move_as_if_it_were_there(self) -> None:
        vectors = [WeightVector(small_network()) for _ in range(2)]
        part, whole = (TrainedWeights(vector) for vector in vectors)
        random = torch.Generator().manual_seed(1)
        dropped = torch.tensor([0, 17, 30])
        for step in range(6):
            if step == 3:
                part.drop(dropped)
                held = vectors[0].values[dropped].clone()
            gradient = torch.randn(len(vectors[0]), generator=random)
            for vector, trained in zip(vectors, (part, whole), strict=True):
                vector.gradient.copy_(gradient)
                trained.step(0.01)
        assert torch.equal(vectors[0].values[dropped], held)
        kept = part.indices
        assert len(kept) == len(vectors[0]) - 3
        torch.testing.assert_close(vectors[0].values[kept], vectors[1].values[kept])

    def test_a_references_step_stays_bounded_when_its_gradient_grows_at_once(self) -> None:
        vector = WeightVector(nn.Linear(4, 1, bias=False))
        trained = TrainedWeights(vector)
        for step in range(300):
            before = vector.values.clone()
            vector.gradient.fill_(0.01 if step < 250 else 1e4)
            trained.step(1e-3)
            assert (vector.values - before).abs().max() < 3.2e-3


Method = Callable[[WeightVector, TrainedWeights], Any]
STEPS = 24


def tiny_run(method: Method | None = None, average: Any = "none") -> SteppedTraining:
    torch.manual_seed(0)
    return SteppedTraining(
        make_network("independent", ("rgb",), "tiny").train(), STEPS, 1e-3, method, average
    )


def train(*runs: SteppedTraining, steps: int = STEPS) -> None:
    """Train on noise, all runs side by side."""
    random = torch.Generator().manual_seed(5)
    for seed in range(steps):
        inputs = {"rgb": torch.rand(2, 3, 64, 64, generator=random) - 0.5}
        for run in runs:
            run.step(inputs, {"rgb": torch.full((2,), 50)}, seed)


def weights(run: SteppedTraining) -> Tensor:
    return torch.cat([p.detach().flatten() for p in run.network.parameters()])


def embedding_run(
    *, dummy: bool = False, average: Any = "none"
) -> tuple[SteppedTraining, Embedded]:
    run = tiny_run(lambda vector, trained: Embedded(vector, trained, WHEN, dummy=dummy), average)
    assert isinstance(run.method, Embedded)
    return run, run.method


class TestRuns:
    def test_choices_are_made_at_their_steps(self) -> None:
        due = {done: number for done in range(40) if (number := WHEN.choice(done))}
        assert due == {12: 1, 16: 2, LAST_CHOICE: 3}
        assert [done for done in range(16) if WHEN.is_watched(done)] == [10, 11, 14, 15]

    @pytest.mark.parametrize("dummy", [False, True])
    @pytest.mark.parametrize("average", ["none", "sma"])
    def test_embedded_weights_are_on_their_forms_and_references_train(
        self, dummy: bool, average: str
    ) -> None:
        run, method = embedding_run(dummy=dummy, average=average)
        train(run)
        embedding, values = method.embedding, weights(run)
        assert len(embedding.indices.unique()) == pytest.approx(0.6 * len(values), abs=3)
        assert run.share_trained == pytest.approx(0.4, abs=0.001)
        assert method.modes is not None
        assert torch.isin(method.modes.references, run.trained.indices).all()
        held = values.clone()
        embedding.hold(held)
        assert torch.equal(held, values)

    def test_references_learn_from_what_follows_them(self) -> None:
        run, method = embedding_run()
        train(run, steps=LAST_CHOICE)
        vector = method.vector
        vector.gradient.fill_(1.0)
        owed = vector.gradient.clone()
        method.embedding.pass_on(owed)
        method.before_update(run.done)
        assert torch.equal(vector.gradient, owed)
        assert (owed[method.embedding.references] != 1).all()

    def test_a_dummy_weight_is_placed_and_trains_on(self) -> None:
        (true, _), (both, _) = embedding_run(), embedding_run(dummy=True)
        train(true, both, steps=12)
        assert torch.equal(true.trained.indices, both.trained.indices)
        placed = (weights(true) != weights(both)).nonzero().flatten()
        count = round(WHEN.share * len(weights(true)))
        assert 0.5 * count < len(placed) <= count
        assert torch.isin(placed, both.trained.indices).all()

    def test_frozen_weights_are_those_embedded_beside_and_do_not_move(self) -> None:
        leader, method = embedding_run()
        control = tiny_run(lambda _, trained: Frozen(trained, method.chosen))
        train(leader, control, steps=LAST_CHOICE)
        before, frozen = weights(control), torch.cat(method.chosen)
        assert torch.equal(control.trained.indices, leader.trained.indices)
        train(leader, control, steps=3)
        moved = weights(control) != before
        assert not moved[frozen].any()
        assert moved.sum() > 0.5 * len(control.trained.indices)

    def test_frozen_layers_are_whole_and_do_not_move(self) -> None:
        run = tiny_run(lambda vector, trained: FrozenLayers(vector, trained, WHEN))
        train(run, steps=LAST_CHOICE)
        frozen = [p for p in run.network.parameters() if not p.requires_grad]
        share = sum(p.numel() for p in frozen) / len(weights(run))
        assert 0.5 < share <= 0.6
        assert run.share_trained == pytest.approx(1 - share)
        before = [p.clone() for p in frozen]
        train(run, steps=2)
        for parameter, old in zip(frozen, before, strict=True):
            assert parameter.grad is not None
            assert not parameter.grad.any()
            assert torch.equal(parameter, old)

    def test_runs_repeat_themselves_bit_by_bit(self) -> None:
        (one, _), (other, _) = embedding_run(), embedding_run()
        train(one)
        train(other)
        assert torch.equal(weights(one), weights(other))
