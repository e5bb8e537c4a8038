"""One training of a network, step by step, so that several can be run side by side.

A step does what one of ``dsc train`` does (`dsc._training.loop`): R + D as the loss, a gradient of
norm 1 at most, Adam by the same schedule. What is clipped is the network's own gradient, before
any of it is given to references, so that the limit means the same whatever is embedded.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from dsc._training.average import WeightAverage
from dsc._training.divergence import DivergenceWatch
from dsc._training.loop import GRADIENT_NORM
from dsc._training.objective import weigh
from dsc._training.research.embedded.methods import Reduction
from dsc._training.research.embedded.vector import TrainedWeights, WeightVector
from dsc._training.schedule import lr_share


class SteppedTraining:
    """A training.

    Parameters
    ----------
    network
        See `dsc._codecs.learned.network.trainable.Network`.
    steps, lr
        Its length and peak learning rate.
    method
        Makes what takes weights out of it; None for plain training.
    average
        ``sma`` goes on from the average every few steps (`dsc._training.average`).

    Attributes
    ----------
    done
        Steps done.
    method
        What was made.
    average
        Whose ``network`` is the one to evaluate.
    """

    def __init__(
        self,
        network: Any,
        steps: int,
        lr: float,
        method: Callable[[WeightVector, TrainedWeights], Reduction] | None = None,
        average: Literal["sma", "none"] = "none",
    ) -> None:
        self.network, self.steps, self.done = network, steps, 0
        self._lr = lr
        self._vector = WeightVector(network)
        self.trained = TrainedWeights(self._vector)
        self.method = None if method is None else method(self._vector, self.trained)
        self.average = WeightAverage(average, network)
        self._watch = DivergenceWatch()

    @property
    def share_trained(self) -> float:
        """Part of the weights that still train."""
        return len(self.trained.indices) / len(self._vector)

    def step(self, inputs: Mapping[str, Tensor], quality: Mapping[str, Tensor], seed: int) -> None:
        """Do a step on a batch, all of whose tasks are wanted.

        Parameters
        ----------
        inputs, quality
            See `dsc._codecs.learned.network.trainable.Network.code`.
        seed
            Of the noise that stands for quantisation.

        Raises
        ------
        DivergedError
            When the loss has left all bounds.
        """
        torch.manual_seed(seed)
        coded = self.network.code(inputs, {}, tuple(inputs), quality)
        loss = weigh(coded, self.network, quality, {}).total
        self._vector.gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = self._vector.clip(GRADIENT_NORM)
        self._watch.check(self.done, float(loss.detach()), norm)
        with torch.no_grad():
            self._update()

    def _update(self) -> None:
        if self.method is not None:
            self.method.before_update(self.done)
        self.trained.step(self._lr * lr_share(self.done, self.steps))
        self.done += 1
        self.average.update(self.done)
        if self.method is not None:
            self.method.after_update(self.done)
