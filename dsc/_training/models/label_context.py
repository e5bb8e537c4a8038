"""Trains the model of `label-context` on label maps: networks by gradient, tables by counting.

The networks train on exactly the arithmetic that they run with, with straight-through gradients
(Ballé et al., "Integer networks for data compression with latent-variable models", ICLR 2019). Then
the maps are coded once more with every symbol counted under the table that it would use.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dsc._coding.context import escapes
from dsc._coding.context.coder import CALM_TABLES, walk
from dsc._coding.context.lattice import (
    LEVELS,
    PHASES,
    Grid,
    Ids,
    level_of,
    offsets_of,
    pixels_of,
    steps_of,
)
from dsc._coding.context.neighbours import CALM, FEATURES, calmness, contexts
from dsc._coding.context.network import (
    DECISIONS,
    HIGHEST,
    LOGIT_LEVELS,
    ONE,
    SHIFT,
    LabelModel,
    Layer,
)
from dsc._coding.entropy import Tables, build_tables
from dsc._coding.integer import round_half_up
from dsc._coding.weights_file import LIMIT

HIDDEN = (96, 32)
LOGIT_UNIT = 10.0  # integer logits in a natural unit
BIAS_UNIT = 16.0  # results in a unit of a real bias: one learning rate then fits both
BATCH = 2048
LEARNING_RATE = 5e-3
ESCAPE_SYMBOLS = 34


def train(
    maps: Sequence[Ids], steps: int, seed: int = 0, log: Callable[[str], None] = lambda _: None
) -> LabelModel:
    """Train a model.

    Parameters
    ----------
    maps
        (H, W) uint16, each numbered by `dsc._coding.context.lattice.meeting_order`.
    steps
        Updates of each phase's network.
    log
        Told what each network costs at the end.
    """
    torch.manual_seed(seed)
    networks = []
    for phase in range(len(PHASES)):
        network, nats = train_network(collect(maps, phase), steps)
        log(f"phase {phase}: {nats / np.log(2):.4f} bits a busy pixel")
        networks.append(network.layers())
    blank, counts = _blank_model(tuple(networks)), Counter()
    for labels in maps:
        walk(counts, blank, (labels.shape[0], labels.shape[1]), labels)
    calm, *decisions, escape = (counts.of(table) for table in _tables_of(blank))
    return LabelModel(
        tuple(networks),
        _calm_tables(calm),
        tuple(_decision_tables(count) for count in decisions),
        _escape_tables(escape),
    )


# ---- examples


@dataclass(frozen=True)
class Examples:
    """Pixels of one phase with a boundary near them.

    Attributes
    ----------
    features
        (n, FEATURES) uint8, 0 and 1
    level
        (n,) int64
    symbol
        (n,) int64: the candidate that the pixel is like; 3 for none.
    """

    features: Tensor
    level: Tensor
    symbol: Tensor


def collect(maps: Sequence[Ids], phase: int, limit: int = 3_000_000) -> Examples:
    """Gather the examples of a phase, of every map no more than its share of `limit`."""
    share = -(-limit // len(maps))
    parts: list[list[NDArray[np.uint8]]] = []
    for labels in maps:
        found = list(_examples(labels, phase))
        if found:
            joined = [np.concatenate([part[k] for part in found]) for k in range(3)]
            every = -(-max(1, len(joined[2])) // share)
            parts.append([array[::every] for array in joined])
    features, level, symbol = (
        torch.from_numpy(np.concatenate([part[k] for part in parts])) for k in range(3)
    )
    return Examples(features, level.long(), symbol.long())


def _examples(labels: Ids, wanted: int) -> Iterator[tuple[NDArray[np.uint8], ...]]:
    grid = Grid.start()
    for step in steps_of(*labels.shape):
        level = labels[::step, ::step]
        grid = grid.refined(*level.shape)
        for phase in range(len(PHASES)):
            places, truth = grid.places(phase), pixels_of(phase, level)
            if phase == wanted and len(places):
                busy = pixels_of(phase, calmness(grid, phase)) == 0
                around = contexts(grid, places[busy], offsets_of(phase))
                symbol = np.full(int(busy.sum()), DECISIONS, np.uint8)
                for decision in reversed(range(DECISIONS)):
                    symbol[truth[busy] == around.candidates[decision]] = decision
                number = np.full(len(symbol), level_of(step), np.uint8)
                yield around.features.T.astype(np.uint8), number, symbol
            grid.padded.ravel()[places] = truth
            grid.extend()


# ---- networks


class TrainedLayer(nn.Module):
    """A layer in training: real weights and biases that are scaled and rounded on every call."""

    def __init__(self, inputs: int, outputs: int, levels: int, *, rectified: bool) -> None:
        super().__init__()
        self.rectified = rectified
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.zeros(levels, outputs))

    def weight_int(self) -> Tensor:
        """Return the weights as integers in [-127, 127]."""
        return round_half_up(self.weight * 2.0**SHIFT).clamp(-LIMIT, LIMIT)

    def bias_int(self) -> Tensor:
        """Return the biases as integers."""
        return round_half_up(self.bias * (BIAS_UNIT * 2.0**SHIFT))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Map (n, inputs) to (n, outputs)."""
        bias = self.bias_int()
        sums = x @ self.weight_int().T + (bias[level] if len(bias) > 1 else bias)
        # a gradient that passes from outside the range where it points back inside costs 20 % here
        return round_half_up(sums * 2.0**-SHIFT).clamp(0 if self.rectified else -HIGHEST, HIGHEST)

    def layer(self, input_one: int) -> Layer:
        """Return the layer as it runs."""
        weight = self.weight_int().detach().numpy().astype(np.int8)
        bias = self.bias_int().detach().numpy().astype(np.int32)
        return Layer(weight, bias, input_one, self.rectified)


class TrainedNetwork(nn.Module):
    """The network of one phase in training."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (FEATURES, *HIDDEN, DECISIONS)
        self.stack = nn.ModuleList(
            TrainedLayer(a, b, LEVELS if k == 0 else 1, rectified=k < len(HIDDEN))
            for k, (a, b) in enumerate(pairwise(sizes))
        )

    def forward(self, features: Tensor, level: Tensor) -> Tensor:
        """Return the (n, 3) logits in natural units."""
        x = features * float(ONE)
        for layer in self.stack:
            x = layer(x, level)
        return x / LOGIT_UNIT

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers as they run."""
        return tuple(
            layer.layer(ONE if k == 0 else 1)
            for k, layer in enumerate(self.stack)
            if isinstance(layer, TrainedLayer)
        )


def train_network(examples: Examples, steps: int) -> tuple[TrainedNetwork, float]:
    """Train the network of a phase for `steps` updates; give it and its last mean cost in nats."""
    network, mean = TrainedNetwork(), 0.0
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, LEARNING_RATE / 100)
    for _ in range(steps):
        chosen = torch.randint(0, len(examples.symbol), (BATCH,))
        logits = network(examples.features[chosen].float(), examples.level[chosen])
        loss = coded_nats(logits, examples.symbol[chosen]).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        mean += 0.01 * (float(loss.detach()) - mean)
    return network, mean


def coded_nats(logits: Tensor, symbol: Tensor) -> Tensor:
    """Return the cost (n,) of symbols: one yes or no for each candidate up to the right one."""
    decision = torch.arange(DECISIONS)
    asked = symbol[:, None] >= decision
    yes = (symbol[:, None] == decision).float()
    cost = nn.functional.binary_cross_entropy_with_logits(logits, yes, reduction="none")
    return (cost * asked).sum(dim=1)


# ---- tables


class Counter:
    """A port that counts symbols under the tables that they would be coded with."""

    def __init__(self) -> None:
        self._counts: dict[int, NDArray[np.int64]] = {}

    def code(
        self, symbols: NDArray[np.int32] | None, index: NDArray[np.uint8], tables: Tables
    ) -> NDArray[np.int32]:
        """Count the symbols."""
        if symbols is None:
            raise ValueError("there is nothing to count")
        inside = np.minimum(symbols, ESCAPE_SYMBOLS - 1)
        np.add.at(self.of(tables), (index, inside), 1)
        return symbols

    def of(self, tables: Tables) -> NDArray[np.int64]:
        """Return what was counted, (tables, symbols)."""
        blank = np.zeros((len(tables), ESCAPE_SYMBOLS), np.int64)
        return self._counts.setdefault(id(tables), blank)


def _blank_model(networks: tuple[tuple[Layer, ...], ...]) -> LabelModel:
    """Return a model whose tables are of the right number and say nothing."""

    def blank(count: int) -> Tables:
        return build_tables([np.full(2, 0.5)] * count, [0] * count)

    decisions = tuple(blank(LOGIT_LEVELS) for _ in range(DECISIONS))
    return LabelModel(networks, blank(CALM_TABLES), decisions, blank(escapes.TABLES))


def _tables_of(model: LabelModel) -> tuple[Tables, ...]:
    return (model.calm, *model.decisions, model.escapes)


def _calm_tables(counts: NDArray[np.int64]) -> Tables:
    """Smooth towards what all phases of the same calmness have."""
    by_class = counts[:, :2].reshape(-1, CALM, 2).astype(float)
    pooled = by_class.sum(axis=0) + 0.5
    prior = 20 * pooled / pooled.sum(axis=1, keepdims=True)
    mass = (by_class + prior).reshape(-1, 2)
    return _binary_tables(mass)


def _decision_tables(counts: NDArray[np.int64]) -> Tables:
    """Smooth towards what the logits claim."""
    logit = (np.arange(LOGIT_LEVELS) * 4 - HIGHEST + 0.5) / LOGIT_UNIT
    yes = 1 / (1 + np.exp(-logit))
    return _binary_tables(counts[:, :2] + 10 * np.stack([1 - yes, yes], axis=1))


def _binary_tables(mass: NDArray[np.float64]) -> Tables:
    # a third symbol is never coded, yet the coder's tables have one: its escape, at 1 of 65,536
    return build_tables(list(mass / mass.sum(axis=1, keepdims=True)), [0] * len(mass))


def _escape_tables(counts: NDArray[np.int64]) -> Tables:
    """Smooth towards what the same number of labels has at any level, and that towards all."""
    split = counts.reshape(escapes.LEVEL_CLASSES, escapes.BUCKETS, -1).astype(float)
    floor = 0.7 ** np.arange(ESCAPE_SYMBOLS)
    everything = split.sum(axis=(0, 1)) + floor
    bucket = split.sum(axis=0) + 4 * everything / everything.sum()
    mass = split + 8 * bucket / bucket.sum(axis=1, keepdims=True)
    mass = mass.reshape(escapes.TABLES, -1)
    mass *= (1 - 2.0**-10) / mass.sum(axis=1, keepdims=True)
    return build_tables(list(mass), [0] * len(mass))
