"""`chained`: depth first; normals see it in analysis, entropy model and synthesis.

Depth alone costs what its own codec would. It tells how surfaces are tilted and where their edges
are: its decoded planes and their gradients guide the transforms of normals, which are predicted
from them; the difference is coded. Rgb requires nothing: whoever wants it alone would pay more for
depth than that saves. Codec files of the first version have another graph, which they say.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dsc._codecs.learned.coding import ConditionalNetwork
from dsc._codecs.learned.conditional_codec import ConditionalCodec
from dsc._codecs.learned.spec import ModelSpec, sized


class ChainedNetwork(ConditionalNetwork):
    """The trainable network."""

    kind: ClassVar[str] = "chained"


class ChainedCodec(ConditionalCodec):
    """The codec; see `dsc._codecs.learned.conditional_codec` for its bitstreams."""

    id: ClassVar[str] = ChainedNetwork.kind


def network(
    modalities: Sequence[str], size: str, spec: Mapping[str, Any] | None = None
) -> ChainedNetwork:
    """Make an untrained network; see `dsc._training.network.make_network`."""
    chosen = sized(ChainedNetwork.kind, modalities, size) if spec is None else None
    return ChainedNetwork(chosen or ModelSpec.from_json(spec or {}))
