"""A feature codec with a task's network behind it, of which some parts learn.

Nothing of `base` and `task` is changed; they are frozen by being given here, and students of
several tasks share their tensors.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from dsc._codecs.learned.encoder_alone import TablePrior
from dsc._codecs.learned.feature.network import FeatureNetwork
from dsc._codecs.learned.feature.weights import load_network
from dsc._codecs.learned.network.entropy import HyperPrior
from dsc._coding.integer import BIAS_UNIT, IntegerConv
from dsc._training.research.adapters.low_rank import low_rank
from dsc._training.research.adapters.parallel import M, branches_of, with_parts
from dsc._training.research.adapters.prompts import WIDTH, prompted


class TaskTail(nn.Module):
    """What answers to features: the rest of a backbone, and any head on both, frozen.

    Parameters
    ----------
    tail
        From features (B, C, h, w) to the backbone's deepest feature maps.
    head
        From both maps to answers (B, ...).
    """

    def __init__(self, tail: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.tail, self.head = tail, head
        frozen(self)

    def forward(self, features: Tensor) -> Tensor:
        """Answer to features."""
        answers: Tensor = self.head(features, self.tail(features))
        return answers


@dataclass(frozen=True)
class Student:
    """A codec, the task's network, and what of them learns.

    Attributes
    ----------
    codec, task
        What codes features, and what answers to the decoded ones.
    learning
        What may learn; empty for what is only measured.
    has_own_stream
        Whether its latents may differ from those that all tasks share.
    """

    codec: FeatureNetwork
    task: TaskTail
    learning: nn.ModuleList
    has_own_stream: bool

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All parameters that learn."""
        return [one for one in self.learning.parameters() if one.requires_grad]

    @property
    def parameter_count(self) -> int:
        """How many numbers are this task's own."""
        return sum(one.numel() for one in self.parameters)


def load_base(weights: bytes) -> FeatureNetwork:
    """Read a weights file of `feature-learned`; the rate of ẑ is that of its tables.

    Raises
    ------
    BitstreamError
        When the bytes are none.
    """
    loaded = load_network(weights)
    loaded.network.entropy.prior = cast(HyperPrior, TablePrior(loaded.hyper_tables))
    return frozen(loaded.network)


def unchanged(base: FeatureNetwork, task: TaskTail) -> Student:
    """Return the codec that all tasks share: no further step of anything."""
    return Student(frozen(base), task, nn.ModuleList(), has_own_stream=False)


def entropy_alone(base: FeatureNetwork, task: TaskTail) -> Student:
    """Return a student whose entropy model learns, a copy of the base's, and no adapter.

    It starts as the integers that the base's is made of, and ẑ keeps its tables.
    """
    entropy = copy.deepcopy(frozen(base).entropy).requires_grad_()
    for layer in entropy.modules():
        if isinstance(layer, IntegerConv):
            thaw(layer)
    codec = with_parts(base, {"entropy": entropy})
    return Student(codec, task, nn.ModuleList([entropy]), has_own_stream=True)


def with_prompts(
    base: FeatureNetwork, task: TaskTail, *, hyper: bool, width: int = WIDTH, seed: int = 0
) -> Student:
    """Return a student with prompts beside the transforms, and with `hyper` the hyper-networks."""
    with _seeded(seed):
        codec = prompted(frozen(base), width, hyper=hyper)
    return Student(codec, task, nn.ModuleList(branches_of(codec)), has_own_stream=True)


def low_rank_before(base: FeatureNetwork, task: TaskTail, rank: int, seed: int = 0) -> Student:
    """Return a student with low-rank branches before the bottleneck: analysis, hyper-analysis.

    Only its encoder differs; whoever decodes needs nothing of the task.
    """
    frozen(base)
    with _seeded(seed):
        parts: dict[str, nn.Module] = {
            "analysis": low_rank(base.analysis, rank),
            "entropy.analysis": low_rank(base.entropy.analysis, rank),
        }
    codec = with_parts(base, parts)
    return Student(codec, task, nn.ModuleList(branches_of(codec)), has_own_stream=True)


def low_rank_after(base: FeatureNetwork, task: TaskTail, rank: int, seed: int = 0) -> Student:
    """Return a student with low-rank branches behind the bottleneck, in the backbone's rest.

    It reads the stream that all tasks share.
    """
    with _seeded(seed):
        own = with_parts(task, {"tail": low_rank(task.tail, rank)})
    return Student(frozen(base), own, nn.ModuleList(branches_of(own)), has_own_stream=False)


def frozen(module: M) -> M:
    """Put a module into evaluation mode and stop its gradients."""
    module.eval().requires_grad_(requires_grad=False)
    return module


@torch.no_grad()
def thaw(layer: IntegerConv) -> None:
    """Make the integers of a frozen layer the real numbers that stand for them, so that it learns.

    It gives the same integers as before.
    """
    if layer.frozen:
        layer.weight.div_(2.0**layer.shift)
        layer.bias.div_(BIAS_UNIT * 2.0**layer.shift)
        layer.frozen = False


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw first weights from a seed, and keep torch's random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
