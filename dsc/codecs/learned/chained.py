"""`chained`: depth first; normals and rgb see it in analysis, entropy model and synthesis.

Depth alone costs what its own codec would. Geometry is cheap, and tells where the edges are and how
surfaces are tilted: the decoded planes of depth and their gradients guide the transforms of the
others. Rgb does not require normals, which cost more than they would save it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dsc.codecs.learned.coding import ConditionalNetwork
from dsc.codecs.learned.conditional_codec import ConditionalCodec
from dsc.codecs.learned.spec import ModelSpec, sized


class ChainedNetwork(ConditionalNetwork):
    """The trainable network."""

    kind: ClassVar[str] = "chained"


class ChainedCodec(ConditionalCodec):
    """The codec; see `dsc.codecs.learned.conditional_codec` for its bitstreams."""

    id: ClassVar[str] = ChainedNetwork.kind


def network(
    modalities: Sequence[str], size: str, spec: Mapping[str, Any] | None = None
) -> ChainedNetwork:
    """Make an untrained network; see `dsc.codecs.learned.network.make_network`."""
    chosen = sized(ChainedNetwork.kind, modalities, size) if spec is None else None
    return ChainedNetwork(chosen or ModelSpec.from_json(spec or {}))
