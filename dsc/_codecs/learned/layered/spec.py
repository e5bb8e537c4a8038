"""Sizes of a layered network, as JSON in every codec file.

A modality has a latent at 1/32, 1/16, 1/8 and 1/4 of the resolution, scales 0 to 3, each of which
is a stream of its own: ``rgb.0`` to ``rgb.3``. No modality requires another.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dsc.errors import UsageError

SCALES = 4
STRIDES = (32, 16, 8, 4)  # pixels from one latent to the next, by scale
UNIT = STRIDES[0]  # sides are padded to multiples of it


@dataclass(frozen=True)
class LayeredSizes:
    """Sizes of one modality's networks; tuples are by scale, coarse first.

    Attributes
    ----------
    channels
        Channels of the network's input and output.
    widths
        Channels of the transforms.
    blocks
        Residual blocks of the analysis, and of the synthesis.
    latents
        Channels of the latents, multiples of `LayeredSpec.context_steps`.
    lambda_range
        λ at quality 1 and at quality 100, of λ · 255² · MSE.
    """

    channels: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    latents: tuple[int, ...]
    lambda_range: tuple[float, float]


@dataclass(frozen=True)
class LayeredSpec:
    """Sizes of the whole network; JSON by `to_json` and `from_json`.

    Attributes
    ----------
    modalities
        Sizes by modality, in the order of the user's tasks.
    prior_width
        Channels of the integer networks.
    context_steps
        In how many steps the latent of each scale is coded (`dsc._coding.steps`).
    """

    modalities: Mapping[str, LayeredSizes]
    prior_width: int
    context_steps: int = 2

    @property
    def kind(self) -> str:
        """Name of the codec that writes its streams."""
        return "layered"

    def streams(self) -> tuple[str, ...]:
        """Name all streams in the order in which they are coded."""
        return self.required(self.modalities)

    def required(self, tasks: Iterable[str]) -> tuple[str, ...]:
        """Name the streams that decoding these modalities takes, coarse first."""
        return tuple(scale_stream(task, k) for task in tasks for k in range(SCALES))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "LayeredSpec":
        """Read what `to_json` gave.

        Raises
        ------
        ValueError, KeyError, TypeError
            When it describes no network of this version.
        """
        modalities = {name: LayeredSizes(**_tuples(m)) for name, m in value["modalities"].items()}
        spec = cls(**{**value, "modalities": modalities})
        for name, m in modalities.items():
            sizes = (m.widths, m.blocks, m.latents)
            if any(len(one) != SCALES for one in sizes):
                raise ValueError(f"{name}: {sizes} are not of {SCALES} scales")
            if any(count % spec.context_steps for count in m.latents):
                raise ValueError(f"{name}: {m.latents} latents in {spec.context_steps} steps")
        if spec.context_steps not in (1, 2, 4):
            raise ValueError(f"{spec.context_steps} steps: not known here")
        return spec


@dataclass(frozen=True)
class SequenceSpec(LayeredSpec):
    """Sizes of a layered network with branches that see the frame before, of every modality."""

    @property
    def kind(self) -> str:
        """Name of the codec that writes its streams."""
        return "layered-seq"


def _tuples(sizes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in sizes.items()}


def scale_stream(task: str, scale: int) -> str:
    """Name the stream of one scale of a task."""
    return f"{task}.{scale}"


def sized_layers(modalities: Sequence[str], size: str) -> LayeredSpec:
    """Return the sizes of an untrained network.

    Parameters
    ----------
    modalities
        Any of ``rgb``, ``depth``, ``normal``, in the order of the user's tasks.
    size
        ``tiny``, ``fast`` or ``base``.

    Raises
    ------
    UsageError
        When size or modality is unknown.
    """
    if size not in _SIZES:
        raise UsageError(f"unknown size {size!r}; known: {', '.join(_SIZES)}")
    sizes, prior_width = _SIZES[size]
    unknown = [name for name in modalities if name not in sizes]
    if unknown or not modalities:
        raise UsageError(f"no network codes {unknown or 'nothing'}; known: {', '.join(sizes)}")
    return LayeredSpec({name: sizes[name] for name in modalities}, prior_width)


_RGB, _DEPTH, _NORMAL = (0.0012, 0.12), (0.003, 3.0), (0.0005, 0.4)
_SIZES: dict[str, tuple[dict[str, LayeredSizes], int]] = {
    "tiny": (
        {
            "rgb": LayeredSizes(3, (24, 24, 24, 16), (1, 1, 1, 1), (8, 8, 8, 4), _RGB),
            "depth": LayeredSizes(1, (16, 16, 16, 16), (1, 1, 1, 1), (4, 4, 4, 2), _DEPTH),
            "normal": LayeredSizes(3, (16, 16, 16, 16), (1, 1, 1, 1), (4, 4, 4, 2), _NORMAL),
        },
        12,
    ),
    "fast": (
        {
            "rgb": LayeredSizes(3, (128, 128, 96, 48), (1, 2, 3, 1), (24, 48, 32, 12), _RGB),
            "depth": LayeredSizes(1, (64, 64, 48, 16), (1, 1, 2, 1), (12, 24, 16, 4), _DEPTH),
            "normal": LayeredSizes(3, (96, 96, 64, 48), (1, 1, 2, 1), (16, 32, 24, 8), _NORMAL),
        },
        48,
    ),
    "base": (
        {
            "rgb": LayeredSizes(3, (192, 192, 128, 48), (2, 4, 4, 2), (48, 96, 48, 12), _RGB),
            "depth": LayeredSizes(1, (96, 96, 64, 16), (1, 2, 3, 1), (24, 48, 24, 4), _DEPTH),
            "normal": LayeredSizes(3, (128, 128, 96, 48), (1, 3, 3, 1), (32, 64, 32, 8), _NORMAL),
        },
        64,
    ),
}
