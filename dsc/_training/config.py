"""What determines a training run: equal configurations on equal data give equal loss curves.

Where it runs (device, threads, loader threads) and where it writes is not part of it. A checkpoint
holds the configuration, so that a run is only ever resumed as what it was begun as.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from dsc._schemas.base import Schema
from dsc.errors import UsageError

UNIT = 64  # networks take sides that are multiples of this
LAYERED, BOUND = "layered", "bound"
RESEARCH = ("single-task", "mixed-latent", "disjoint-latent", "shared-latent-2023")
Balance = Literal["fixed", "uncertainty", "balanced-rd", "balanced-rd-exact"]


class DataSpec(Schema):
    """One data set to train on.

    Attributes
    ----------
    layout
        A name in `dsc.sources.source_names`, or ``archive``.
    place
        Its directory, file or URL; None for rendered views.
    options
        What the layout takes beside the place, as text.
    share
        Part of the batches that come from it, relative to the other data sets.
    border
        Pixels to leave out on every side (NYUv2's frames have a white border of 8).
    """

    layout: str
    place: str | None = None
    options: Mapping[str, str] = Field(default_factory=dict)
    share: float = Field(default=1.0, gt=0)
    border: int = Field(default=0, ge=0)

    def __str__(self) -> str:
        return f"{self.layout}:{self.place or self.options.get('n', '')}"


class TrainConfig(Schema):
    """All that determines a training run.

    Attributes
    ----------
    kind, size
        The network, as for ``dsc train KIND``, and how large: ``tiny``, ``fast``, ``base``.
    data
        The data sets.
    tasks
        Task names or aliases to train on; None for all that the network can code.
    steps, minutes
        Length of the run; one of them. Minutes are turned into steps before the first one.
    batch, crop
        Crops a step, and their side in pixels (a multiple of 64).
    large_crops
        Whether some steps of the last two fifths see crops of twice the side.
    lr
        Peak learning rate of Adam; warmed up, then a cosine to 2 % of it.
    weights
        Factor of λ by task, where it is not 1.
    lambdas
        λ by task, of networks of one fixed rate; those of variable rate have it from the quality.
    balance
        How the tasks' losses are weighed: ``fixed``, ``uncertainty``, ``balanced-rd`` or
        ``balanced-rd-exact``.
    average
        Of the weights, which is evaluated and exported: ``ema``, ``sma`` or ``none``.
    quality
        1 to 100, or None: drawn anew for every sample.
    task_dropout
        Whether a step sees and codes random subsets of the tasks.
    prefix_share
        Of ``layered``: part of the samples that are cut after a random scale, so that coarse
        versions become better; None for the network's own.
    init
        ``klt``: the network's own start from training crops; ``random``.
    start
        Checkpoint whose averaged weights are started from, and its hash; instead of `init`. With
        `freeze_decoder` a codec file, and its hash; None for the one that comes with dsc.
    teacher
        Of ``layered``: checkpoint of a ``bound`` or ``layered`` network that guides the run, and
        its hash; no sample is cut then.
    freeze_decoder
        Whether only the encoder of a codec file is trained, so that its decoder, and with it
        all that was ever encoded for it, stays as it is, bit by bit.
    cache_mb
        Memory for decoded samples, MB. What does not fit is visited in a moving window.
    on_error
        What becomes of samples that cannot be used: ``skip`` or ``fail``.
    """

    kind: str
    size: str = "base"
    data: tuple[DataSpec, ...] = Field(min_length=1)
    tasks: tuple[str, ...] | None = None
    steps: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    batch: int = Field(default=8, ge=1, le=4096)
    crop: int = Field(default=128, ge=UNIT, le=4096, multiple_of=UNIT)
    large_crops: bool = True
    lr: float = Field(default=1e-3, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**31)
    weights: Mapping[str, float] = Field(default_factory=dict)
    lambdas: Mapping[str, float] = Field(default_factory=dict)
    balance: Balance = "fixed"
    average: Literal["ema", "sma", "none"] = "ema"
    quality: int | None = Field(default=None, ge=1, le=100)
    task_dropout: bool = True
    prefix_share: float | None = Field(default=None, ge=0, le=1)
    init: Literal["klt", "random"] = "klt"
    start: tuple[str, str] | None = None
    teacher: tuple[str, str] | None = None
    freeze_decoder: bool = False
    bfloat16: bool = False
    cache_mb: int = Field(default=2000, ge=1)
    on_error: Literal["skip", "fail"] = "skip"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give --steps or --minutes, one of them")
        for option, values in (("weights", self.weights), ("lambda", self.lambdas)):
            for task, value in values.items():
                if not value > 0:
                    raise ValueError(f"--{option} {task}={value:g}: it must be above 0")
        if self.lambdas and self.kind not in RESEARCH:
            raise ValueError(
                f"--lambda goes with networks of one rate ({', '.join(RESEARCH)}); {self.kind} has "
                "λ from the quality: give --quality, and --weights to weigh tasks"
            )
        if self.prefix_share is not None and self.kind != LAYERED:
            raise ValueError(f"--prefix-share goes with {LAYERED}; {self.kind} has no scales")
        if self.teacher is not None:
            self._check_guided()
        if self.freeze_decoder and self.kind in (BOUND, *RESEARCH):
            raise ValueError(
                f"--freeze-decoder trains the encoder of a codec file; {self.kind} has none"
            )
        return self

    def _check_guided(self) -> None:
        if self.kind != LAYERED:
            raise ValueError(f"--teacher goes with {LAYERED}; {self.kind} is not guided")
        if self.prefix_share:
            raise ValueError(
                f"--prefix-share {self.prefix_share:g}: a teacher guides whole samples; cut them "
                "in a run of their own, with --start"
            )
        if self.balance != "fixed" or self.freeze_decoder:
            raise ValueError("--teacher goes with --balance fixed, and not with --freeze-decoder")

    @classmethod
    def make(cls, **values: Any) -> Self:
        """Make a configuration from what a user gave.

        Raises
        ------
        UsageError
            When a value is out of range.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            if not first["loc"]:
                raise UsageError(first["msg"].removeprefix("Value error, ")) from None
            option = str(first["loc"][0]).replace("_mb", "").replace("_", "-")
            raise UsageError(f"--{option} {first['input']}: {first['msg']}") from None


def differences(stored: TrainConfig, asked: TrainConfig) -> list[str]:
    """Name what differs between two configurations, one line each: ``lr: 0.001, now 0.01``."""
    old, new = dict(_flat(stored.model_dump())), dict(_flat(asked.model_dump()))
    return [
        f"{name}: {old.get(name)}, now {new.get(name)}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for at, part in enumerate(value):
            yield from _flat(part, f"{name}[{at}]")
    else:
        yield name, value
