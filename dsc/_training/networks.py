"""The networks that can be trained, by name."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from dsc.errors import UnknownCodecError, UsageError

# What makes each, of (modalities, size, spec). Those in `research` write no archives, and all but
# `bound` need compressai: a name is all that leads to them.
NETWORKS: dict[str, str] = {
    "independent": "dsc._codecs.learned.network.differentiable:independent",
    "shared-latent": "dsc._codecs.learned.network.differentiable:shared_latent",
    "chained": "dsc._codecs.learned.network.differentiable:chained",
    "layered": "dsc._codecs.learned.layered.differentiable:layered",
    "bound": "dsc._training.research.bound:bound",
    "single-task": "dsc._training.research.single_task:network",
    "mixed-latent": "dsc._training.research.mixed_latent:network",
    "disjoint-latent": "dsc._training.research.disjoint_latent:network",
    "shared-latent-2023": "dsc._training.research.shared_latent_2023:network",
}


def make_network(
    kind: str,
    modalities: Sequence[str] = ("rgb", "depth", "normal"),
    size: str = "base",
    spec: Mapping[str, Any] | None = None,
) -> Any:
    """Make an untrained network.

    Parameters
    ----------
    kind
        A name in `NETWORKS`.
    modalities
        What it codes, in order.
    size
        ``tiny`` (tests; thousands of parameters), ``fast`` or ``base``.
    spec
        What `Network.spec_json` gave; then `modalities` and `size` do not count.

    Raises
    ------
    UnknownCodecError
        When there is no such network.
    """
    if kind not in NETWORKS:
        raise UnknownCodecError(f"unknown network {kind!r}; known: {', '.join(NETWORKS)}")
    module, _, name = NETWORKS[kind].partition(":")
    return getattr(import_module(module), name)(modalities, size, spec)


def load_weights(network: Any, weights: Mapping[str, Any]) -> None:
    """Give a network the weights that a checkpoint holds.

    Raises
    ------
    UsageError
        When they are of another version of the network.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2]
        raise UsageError(
            f"the checkpoint's weights are of another version of {network.kind} "
            f"({' '.join(first).strip()[:120]}); go on with the dsc that wrote it, or begin anew "
            "with --overwrite"
        ) from None
