"""What the compared kinds have in common: sizes at equal parameter counts, rates, distortions.

The kinds differ in their layouts alone: which inputs are analysed together, how the latent is split
and who sees what. Their sizes are searched so that all kinds have nearly the same number of
parameters.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

from torch import Tensor, float32, full_like, nn

from dsc._codecs.learned.network.trainable import Coded
from dsc._schemas import Stream, required_streams
from dsc._training.research.hyperprior import HyperpriorCodec, HyperpriorLayout
from dsc._training.research.klt import initialise
from dsc.errors import CodecError, UnknownTaskError, UsageError

CHANNELS = {"rgb": 3, "depth": 1, "normal": 3}
LAMBDA = 0.01
PEAK_SQUARED = 255.0**2


@dataclass(frozen=True)
class Size:
    """How large the networks of a size are.

    Attributes
    ----------
    latents
        Channels of all latents of a network together, M.
    parameters
        What the widths of every kind are searched for.
    """

    latents: int
    parameters: int


# `base` is the paper's: M = 300 and about five million parameters
SIZES = {"tiny": Size(24, 58_500), "fast": Size(192, 1_000_000), "base": Size(300, 5_000_000)}


@dataclass(frozen=True)
class Spec:
    """Sizes of a network; see `Network.spec_json`.

    Attributes
    ----------
    channels
        Channels of the planes by modality, in order.
    latents
        Channels of all latents together.
    width, hyper_width
        See `HyperpriorCodec`.
    lambdas
        Weight of 255² · MSE by task.
    """

    channels: dict[str, int]
    latents: int
    width: int
    hyper_width: int
    lambdas: dict[str, float]


class ResearchNetwork(nn.Module, ABC):
    """A network of one fixed rate, made of scale hyperpriors."""

    kind: ClassVar[str]

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.channels: Mapping[str, int] = spec.channels
        self._layouts = self.layouts(tuple(spec.channels), spec.latents)
        self.codecs = nn.ModuleList(
            HyperpriorCodec(layout, spec.channels, spec.width, spec.hyper_width)
            for layout in self._layouts
        )

    @classmethod
    @abstractmethod
    def layouts(cls, modalities: tuple[str, ...], latents: int) -> tuple[HyperpriorLayout, ...]:
        """Return the layouts of the scale hyperpriors that make up this kind."""

    @classmethod
    @abstractmethod
    def graph(cls, modalities: tuple[str, ...]) -> tuple[Stream, ...]:
        """Return the stream graph, those required first."""

    @classmethod
    def make(
        cls, modalities: Sequence[str], size: str = "base", spec: Mapping[str, Any] | None = None
    ) -> Self:
        """Make an untrained network: `network` of each kind's module.

        Parameters
        ----------
        spec
            What `spec_json` gave, or a part of it: what is missing follows from `modalities` and
            `size`.

        Raises
        ------
        UnknownTaskError
            When a modality is none of rgb, depth and normal.
        UsageError
            When there is no such size, or `spec` has a key that is not known.
        """
        given = dict(spec or {})
        channels = given.pop("channels", None) or _channels(modalities)
        lambdas = {task: LAMBDA for task in channels} | dict(given.pop("lambda", None) or {})
        known = given.keys() <= {"latents", "width", "hyper_width"}
        if not known or lambdas.keys() != set(channels):
            raise UsageError(
                f"spec {dict(spec or {})}: its keys are channels, latents, width, hyper_width, and "
                "lambda by task"
            )
        if len(given) < 3:
            given = _sizes(cls, channels, size) | given
        return cls(Spec(channels=dict(channels), lambdas=lambdas, **given))

    def required(self, tasks: Sequence[str]) -> tuple[str, ...]:
        """Name the streams that decoding these tasks takes, those required first."""
        return required_streams(self.graph(tuple(self.channels)), tasks)

    def code(
        self,
        inputs: Mapping[str, Tensor],
        valid: Mapping[str, Tensor],
        wanted: Sequence[str],
        quality: Mapping[str, Tensor],
        bfloat16: bool = False,
    ) -> Coded:
        """Code a batch; see `Network.code`. `quality` is ignored.

        Raises
        ------
        CodecError
            When a modality that the encoder needs is missing.
        """
        del quality
        charged = self.required(wanted)
        bits: dict[str, Tensor] = {}
        planes: dict[str, Tensor] = {}
        for layout, codec in zip(self._layouts, self.codecs, strict=True):
            tasks = [task for task in wanted if task in layout.sees]
            if not tasks:
                continue
            missing = [name for name in layout.inputs if name not in inputs]
            if missing:
                raise CodecError(
                    f"{self.kind} codes {', '.join(layout.inputs)} together and was given no "
                    f"{', '.join(missing)}"
                )
            found, decoded = codec(inputs, tasks, bfloat16)
            bits |= found
            planes |= decoded
        pixels = next(iter(inputs.values()))[0, 0].numel()
        return Coded(
            rate={name: bits[name] / pixels for name in charged},
            distortion={task: _distortion(planes[task], inputs[task], valid.get(task))
                        for task in wanted},
            planes={task: planes[task] for task in wanted},
        )  # fmt: skip

    def weight(self, task: str, quality: Tensor) -> Tensor:
        """Return λ (B,), the same at every quality."""
        return full_like(quality, self.spec.lambdas[task], dtype=float32)

    def initialise(self, planes: Mapping[str, Tensor]) -> None:
        """Start as a linear transform codec; see `dsc._training.research.klt`."""
        for codec in self.codecs:
            initialise(cast(HyperpriorCodec, codec), planes, self.spec.lambdas)

    def spec_json(self) -> dict[str, Any]:
        """Return the sizes, as JSON, that `make_network(kind, spec=...)` takes back."""
        spec = self.spec
        return {
            "channels": dict(spec.channels), "latents": spec.latents, "width": spec.width,
            "hyper_width": spec.hyper_width, "lambda": dict(spec.lambdas),
        }  # fmt: skip


def parameters(network: nn.Module) -> int:
    """Count the trained parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _channels(modalities: Sequence[str]) -> dict[str, int]:
    unknown = [name for name in modalities if name not in CHANNELS]
    if unknown or not modalities:
        raise UnknownTaskError(f"modalities {list(modalities)}: known are {', '.join(CHANNELS)}")
    return {name: CHANNELS[name] for name in modalities}


def _sizes(cls: type[ResearchNetwork], channels: dict[str, int], size: str) -> dict[str, int]:
    """Search the widths: the largest of the transforms that fits, then the hyperprior's."""
    if size not in SIZES:
        raise UsageError(f"size {size!r}: one of {', '.join(SIZES)}")
    target = SIZES[size]
    groups = len(channels) * (len(channels) + 1)
    latents = max(target.latents // groups, 1) * groups  # every kind splits them evenly
    lambdas = dict.fromkeys(channels, LAMBDA)

    def count(width: int, hyper_width: int) -> int:
        return parameters(cls(Spec(channels, latents, width, hyper_width, lambdas)))

    width = bisect_right(range(513), target.parameters, lo=1, key=lambda n: count(n, n)) - 1
    hyper_width = (
        bisect_right(range(513), target.parameters, lo=width, key=lambda n: count(width, n)) - 1
    )
    return {"latents": latents, "width": width, "hyper_width": hyper_width}


def _distortion(planes: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    error = (planes - target) ** 2
    if valid is not None:
        error = error * valid
    return PEAK_SQUARED * error.mean(dim=(1, 2, 3))
