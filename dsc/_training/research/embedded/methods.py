"""What takes weights out of a training, step by step: embedding them, and its controls.

All go by one `Timetable`, so that at any step equally many weights do not train: `Embedded` chooses
them, `Frozen` leaves the very same ones as they are, `FrozenLayers` freezes whole layers, which is
the only way to save their part of the backward pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dsc._training.research.embedded.affine import AffineForms
from dsc._training.research.embedded.choice import Sensitivity, change, choose
from dsc._training.research.embedded.embedding import Embedding
from dsc._training.research.embedded.modes import Modes, find_modes
from dsc._training.research.embedded.vector import TrainedWeights, WeightVector


@dataclass(frozen=True)
class Timetable:
    """When weights are looked at and taken.

    Attributes
    ----------
    warm_up
        Steps before modes are sought.
    every
        Steps a snapshot.
    period
        Steps from the end of the warm-up to the first choice, and between choices.
    choices
        How many choices there are.
    share
        Part of all weights that each takes.
    watched
        Steps before a choice whose sensitivity counts.
    modes, samples
        How many modes, found from how many weights.
    """

    warm_up: int
    every: int
    period: int
    choices: int
    share: float = 0.1
    watched: int = 10
    modes: int = 10
    samples: int = 1000

    def choice(self, done: int) -> int:
        """Return the number of the choice that is due after `done` steps, from 1; 0 for none."""
        number, rest = divmod(done - self.warm_up, self.period)
        return number if not rest and 0 < number <= self.choices else 0

    def is_watched(self, done: int) -> bool:
        """Whether the step after `done` steps counts for the sensitivity of the next choice."""
        return any(self.choice(done + ahead) for ahead in range(1, self.watched + 1))


class Reduction(Protocol):
    """What a `dsc._training.research.embedded.run.SteppedTraining` calls."""

    def before_update(self, done: int) -> None:
        """See the gradient, clipped, of the step after `done` steps, and change it."""
        ...

    def after_update(self, done: int) -> None:
        """See the weights after `done` steps, this one included, and change them."""
        ...


class Embedded:
    """Embeds what is stable and insensitive.

    Parameters
    ----------
    vector, trained
        The network's weights.
    when
        When, and how many.
    dummy
        Whether, at each choice, as many weights that are stable but sensitive are placed on their
        forms once, and train on.
    seed
        Of the sample of weights.

    Attributes
    ----------
    vector
        As given.
    embedding
        What is embedded so far.
    chosen
        Places of the weights that each choice embedded.
    modes
        None during the warm-up.
    """

    def __init__(
        self,
        vector: WeightVector,
        trained: TrainedWeights,
        when: Timetable,
        *,
        dummy: bool,
        seed: int = 0,
    ) -> None:
        self.vector, self._trained, self._when = vector, trained, when
        self._dummy, self._seed = dummy, seed
        self._snapshots: list[Tensor] = []
        self._sensitivity = Sensitivity(vector.values)
        self._forms: AffineForms | None = None
        self._before: Tensor | None = None
        self.embedding = Embedding(vector.values)
        self.modes: Modes | None = None
        self.chosen: list[Tensor] = []

    def before_update(self, done: int) -> None:
        """Note sensitivities, and give references the gradients of what follows them."""
        if self._when.is_watched(done):
            self._sensitivity.add(self.vector.values, self.vector.gradient)
        self.embedding.pass_on(self.vector.gradient)

    def after_update(self, done: int) -> None:
        """Hold embedded weights at their forms; take snapshots; choose when it is time."""
        self.embedding.hold(self.vector.values)
        if len(self.chosen) == self._when.choices:
            return
        if done % self._when.every == 0:
            self._take_snapshot()
        if done == self._when.warm_up:
            self._find_forms()
        if self._when.choice(done):
            self._take(done)

    def _take_snapshot(self) -> None:
        if self._forms is None:
            self._snapshots.append(self.vector.values.clone())
        else:
            self._forms.update(self.vector.values)

    def _find_forms(self) -> None:
        trajectories = torch.stack(self._snapshots)
        self._snapshots.clear()
        when = self._when
        self.modes = find_modes(
            trajectories, self.vector.spans, when.samples, when.modes, self._seed
        )
        self._forms = AffineForms(trajectories, self.modes)
        self._before = self._forms.coefficients.clone()

    def _take(self, done: int) -> None:
        if self._forms is None or self._before is None or self.modes is None:
            raise ValueError(f"step {done}: weights are to be chosen, but no modes were found")
        forms, values = self._forms, self.vector.values
        free = self._trained.indices
        free = free[~torch.isin(free, self.modes.references)]
        delta = change(forms.coefficients, self._before)
        self._before = forms.coefficients.clone()
        count = round(self._when.share * len(values))
        true, dummy = choose(delta, self._sensitivity.take(), free, count)
        self._trained.drop(true)
        self.embedding.add(true, forms.references(true), forms.coefficients[true])
        self.chosen.append(true)
        placed = torch.cat([true, dummy]) if self._dummy else true
        values[placed] = forms.values(values)[placed].to(values.dtype)


class Frozen:
    """Freezes what another run embeds, where it is at that step.

    Parameters
    ----------
    trained
        The network's weights.
    chosen
        `Embedded.chosen` of the other run, which is to be at the same step or ahead by one.
    """

    def __init__(self, trained: TrainedWeights, chosen: Sequence[Tensor]) -> None:
        self._trained, self._chosen, self._taken = trained, chosen, 0

    def before_update(self, done: int) -> None:
        """Leave the gradient as it is."""

    def after_update(self, done: int) -> None:
        """Drop what the other run embedded after as many steps."""
        for indices in self._chosen[self._taken :]:
            self._trained.drop(indices)
        self._taken = len(self._chosen)


class FrozenLayers:
    """Freezes the least sensitive whole layers, as many weights as the timetable says.

    Parameters
    ----------
    vector, trained
        The network's weights.
    when
        When, and how many.
    """

    def __init__(self, vector: WeightVector, trained: TrainedWeights, when: Timetable) -> None:
        self._vector, self._trained, self._when = vector, trained, when
        self._sensitivity = Sensitivity(vector.values)

    def before_update(self, done: int) -> None:
        """Note sensitivities."""
        if self._when.is_watched(done):
            self._sensitivity.add(self._vector.values, self._vector.gradient)

    def after_update(self, done: int) -> None:
        """Freeze layers when it is time."""
        if number := self._when.choice(done):
            allowed = round(number * self._when.share * len(self._vector))
            self._freeze(allowed - (len(self._vector) - len(self._trained.indices)))

    def _freeze(self, allowed: int) -> None:
        """Freeze at most so many more weights, the layers of the lowest mean sensitivity first."""
        sensitivity = self._sensitivity.take()
        layers = zip(self._vector.parameters, self._vector.spans, strict=True)
        free = [(p, span) for p, span in layers if p.requires_grad]
        free.sort(key=lambda layer: float(sensitivity[slice(*layer[1])].mean()))
        for parameter, (start, stop) in free:
            if stop - start <= allowed:
                allowed -= stop - start
                parameter.requires_grad = False
                self._trained.drop(torch.arange(start, stop, device=sensitivity.device))
