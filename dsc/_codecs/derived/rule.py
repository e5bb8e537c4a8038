"""The interface of rules: a task (the child) as a function of other tasks of the same sample.

A rule is found on samples at plan time, and its parameters go into the archive. Encoder and
decoders compute the child from what the parents decode to, so a rule is a function of integers:
the same map on every machine, with compiled kernels and without.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, Self, runtime_checkable

from dsc._codecs.base import Array, Sample
from dsc._schemas import Task

Own = tuple[int, ...]
"""The parameters that one sample has of its own, 0 to 65535 each (a field of view, for one)."""


@runtime_checkable
class Rule(Protocol):
    """What every rule does.

    Attributes
    ----------
    id
        Registry name with a number, ``edge_texture@1``; the number is another one if ever the
        integers are.
    inputs
        Names of the tasks that it computes from, in the order that it wants. They are never
        derived themselves.
    own_count
        How many parameters a sample has of its own; 0 for most rules.
    """

    id: ClassVar[str]
    inputs: tuple[str, ...]
    own_count: int

    @classmethod
    def find(cls, child: Task, parents: Sequence[Task], samples: Sequence[Sample]) -> Self | None:
        """Find whether a task follows from some of others, and with which parameters.

        Names of tasks are no evidence, values are. A sample that lacks the child or an input is
        passed over, and one that would fit any parameters is evidence of none.

        Parameters
        ----------
        child
            The task that may follow.
        parents
            The tasks that it may follow from.
        samples
            Native originals of the child and the parents, by task name.

        Returns
        -------
        Self | None
            The rule with its parameters; None where it does not hold on every sample, or no sample
            is evidence.
        """
        ...

    @classmethod
    def from_params(cls, child: Task, inputs: Sequence[Task], params: Mapping[str, int]) -> Self:
        """Make the rule that `params` and the names of `inputs` describe.

        Raises
        ------
        CodecError
            When there is no such rule for these tasks and parameters.
        """
        ...

    def params(self) -> dict[str, int]:
        """Return the parameters that all samples share, for the archive's JSON."""
        ...

    def fit(self, child: Array, inputs: Mapping[str, Array]) -> Own:
        """Find the parameters of one sample from originals: `own_count` integers, u16 each.

        They are the same on every machine.
        """
        ...

    def derive(self, inputs: Mapping[str, Array], own: Own) -> Array:
        """Compute the child, a native array, from decoded inputs.

        A function of integers alone; one correctly rounded square root, and rounding, of what is
        exact below 2^53 are allowed.

        Raises
        ------
        BitstreamError
            When inputs or `own` make no sense: a shape, a dtype, a length or a range.
        """
        ...
