"""What ``dsc bench machine`` is asked for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dsc._bench.machine.datasets import TASKS
from dsc._bench.machine.heads import Schedule
from dsc._bench.rate_distortion.candidates import ComparedCodec, parse_candidates
from dsc._sources.base import Source
from dsc.errors import UsageError

QUICK_QUALITIES = (15, 60)
_CODEC = re.compile(r"(?P<codec>.+?)(?P<qualities>(?::\d+)*)")
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
    own_qualities
        Of some codecs, by their names, instead.
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
    own_qualities: Mapping[str, Sequence[int]] = field(default_factory=dict)
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


def parse_codecs(text: str) -> tuple[list[ComparedCodec], dict[str, Sequence[int]]]:
    """Read codecs with commas, each with qualities of its own behind colons where it has any.

    Returns
    -------
    codecs
        As `parse_candidates` reads them.
    qualities
        By the codecs' names.

    Raises
    ------
    UsageError, UnknownCodecError
        When one cannot be read or is unknown.
    """
    parts = [_CODEC.fullmatch(part.strip()) for part in text.split(",") if part.strip()]
    found = [(match["codec"], match["qualities"]) for match in parts if match]
    codecs = parse_candidates(",".join(codec for codec, _ in found))
    numbers = [tuple(int(one) for one in own.split(":") if one) for _, own in found]
    for codec, own in zip(codecs, numbers, strict=True):
        if not all(1 <= quality <= 100 for quality in own):
            raise UsageError(f"--codecs {codec.name}: qualities are whole numbers from 1 to 100")
    return codecs, {codec.name: own for codec, own in zip(codecs, numbers, strict=True) if own}


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
