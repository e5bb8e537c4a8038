"""What ``dsc bench machine`` is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsc._bench.machine.datasets import TASKS
from dsc._bench.machine.heads import Schedule
from dsc._bench.rate_distortion.candidates import ComparedCodec
from dsc._sources.base import Source
from dsc.errors import UsageError

QUICK_QUALITIES = (15, 60)
QUICK_SCHEDULE = Schedule(epochs=12, batch=4)


@dataclass(frozen=True)
class MachineOptions:
    """What is measured.

    Attributes
    ----------
    tasks
        Of `TASKS`.
    codecs
        What pictures are stored by.
    data
        Folder of the staged sets.
    source
        A user's own data instead.
    qualities
        Of all codecs; None for each one's usual ones.
    samples
        Pictures of each part of a set at most; None for all.
    seeds
        How many heads are trained for each figure of a dense task.
    retrain
        Whether dense heads are trained again with what was stored.
    tune
        Whether the network learns from decoded pictures as well, for dense tasks.
    quick
        64 small rendered pictures, two qualities, short training.
    backbone, layer
        The network, and where in it features are stored; None for the last layer of stride 16.
    fresh
        Whether earlier results are thrown away.
    """

    tasks: Sequence[str]
    codecs: Sequence[ComparedCodec]
    data: Path
    source: Source | None = None
    qualities: Sequence[int] | None = None
    samples: int | None = None
    seeds: int = 1
    retrain: bool = True
    tune: bool = False
    quick: bool = False
    backbone: str = "efficientnet-lite0"
    layer: str | None = None
    fresh: bool = False

    @property
    def schedule(self) -> Schedule:
        """How heads are trained."""
        return QUICK_SCHEDULE if self.quick else Schedule()

    @property
    def asked(self) -> Sequence[int] | None:
        """The qualities of all codecs."""
        return QUICK_QUALITIES if self.quick and not self.qualities else self.qualities


def check_tasks(names: Sequence[str]) -> None:
    """Refuse tasks that there are none of.

    Raises
    ------
    UsageError
        When one is unknown, or there is none.
    """
    unknown = [name for name in names if name not in TASKS]
    if unknown or not names:
        raise UsageError(f"--tasks: no {', '.join(unknown) or 'task'}; known: {', '.join(TASKS)}")
