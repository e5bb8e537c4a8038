"""Sizes of a feature codec's network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

MOST_CHANNELS = 480  # the entropy model's widest layer then still is exact in float32


@dataclass(frozen=True)
class FeatureSpec:
    """Sizes of a `FeatureNetwork`.

    Attributes
    ----------
    channels
        Channels of the features, a multiple of `context_steps`; as many has the latent.
    stride
        Pixels of the picture from one feature to the next: what bits a pixel are counted by.
    hyper_width, hyper_latents
        Channels of the entropy networks and of ẑ.
    context_steps
        In how many steps the latent is coded (`dsc._coding.steps`).
    """

    channels: int
    stride: int
    hyper_width: int = 32
    hyper_latents: int = 24
    context_steps: int = 2

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "FeatureSpec":
        """Read what `to_json` gave.

        Raises
        ------
        ValueError, TypeError
            When it describes no network of this version.
        """
        spec = cls(**value)
        sizes = (spec.channels, spec.stride, spec.hyper_width, spec.hyper_latents)
        steps = spec.context_steps
        known = steps in (1, 2, 4) and all(0 < size <= MOST_CHANNELS for size in sizes)
        if not known or spec.channels % steps:
            raise ValueError(f"sizes {dict(value)}")
        return spec
