"""`shared-latent`: one stream ``shared`` and one a task, each requiring ``shared``.

The shared latent comes from the features of all tasks together. Training must drop tasks and charge
subsets, or nothing pushes what is common into it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dsc._codecs.learned.coding import ConditionalNetwork
from dsc._codecs.learned.conditional_codec import ConditionalCodec, default_weights
from dsc._codecs.learned.spec import ModelSpec, sized

__all__ = ["SharedLatentCodec", "SharedLatentNetwork", "default_weights", "network"]


class SharedLatentNetwork(ConditionalNetwork):
    """The trainable network."""

    kind: ClassVar[str] = "shared-latent"


class SharedLatentCodec(ConditionalCodec):
    """The codec; see `dsc._codecs.learned.conditional_codec` for its bitstreams."""

    id: ClassVar[str] = SharedLatentNetwork.kind


def network(
    modalities: Sequence[str], size: str, spec: Mapping[str, Any] | None = None
) -> SharedLatentNetwork:
    """Make an untrained network; see `dsc._training.network.make_network`."""
    chosen = sized(SharedLatentNetwork.kind, modalities, size) if spec is None else None
    return SharedLatentNetwork(chosen or ModelSpec.from_json(spec or {}))
