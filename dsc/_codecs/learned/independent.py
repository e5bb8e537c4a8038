"""`independent`: one stream a task, none requires another: what each task costs by itself."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dsc._codecs.learned.coding import ConditionalNetwork
from dsc._codecs.learned.conditional_codec import ConditionalCodec
from dsc._codecs.learned.spec import ModelSpec, sized


class IndependentNetwork(ConditionalNetwork):
    """The trainable network."""

    kind: ClassVar[str] = "independent"


class IndependentCodec(ConditionalCodec):
    """The codec; see `dsc._codecs.learned.conditional_codec` for its bitstreams."""

    id: ClassVar[str] = IndependentNetwork.kind


def network(
    modalities: Sequence[str], size: str, spec: Mapping[str, Any] | None = None
) -> IndependentNetwork:
    """Make an untrained network; see `dsc._training.network.make_network`."""
    chosen = sized(IndependentNetwork.kind, modalities, size) if spec is None else None
    return IndependentNetwork(chosen or ModelSpec.from_json(spec or {}))
