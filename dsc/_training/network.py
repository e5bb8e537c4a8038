"""What training needs of a network, whatever it is made of, and which networks there are.

A network codes the modalities of a batch into streams and back, and says what that costs. How rate
and distortion are weighed against each other is not its business: objectives are
`dsc._training`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Protocol

from torch import Tensor

from dsc.errors import UnknownCodecError

# By name; "research" networks need compressai and write no archives.
NETWORKS: dict[str, str] = {
    "independent": "dsc._codecs.learned.independent:network",
    "shared-latent": "dsc._codecs.learned.shared_latent:network",
    "chained": "dsc._codecs.learned.chained:network",
    "single-task": "dsc._training.research.single_task:network",
    "mixed-latent": "dsc._training.research.mixed_latent:network",
    "disjoint-latent": "dsc._training.research.disjoint_latent:network",
    "shared-latent-2023": "dsc._training.research.shared_latent_2023:network",
}


@dataclass(frozen=True)
class Coded:
    """What one forward pass costs; differentiable.

    Attributes
    ----------
    rate
        Estimated bits a pixel of each sample, (B,), by stream; only streams that the wanted tasks
        require.
    distortion
        255² · mean squared error of the planes of each sample, (B,), by wanted task.
    planes
        Decoded planes (B, c, H, W) by wanted task.
    """

    rate: dict[str, Tensor]
    distortion: dict[str, Tensor]
    planes: dict[str, Tensor]


class Network(Protocol):
    """A trainable multi-task codec; a `torch.nn.Module` as well.

    Attributes
    ----------
    kind
        Its name in `NETWORKS`.
    channels
        Channels of the planes by modality (``rgb`` 3, ``depth`` 1, ``normal`` 3), in order.
    """

    kind: ClassVar[str]
    channels: Mapping[str, int]

    def required(self, tasks: Sequence[str]) -> tuple[str, ...]:
        """Name the streams that decoding these tasks takes, those required first."""
        ...

    def code(
        self,
        inputs: Mapping[str, Tensor],
        valid: Mapping[str, Tensor],
        wanted: Sequence[str],
        quality: Mapping[str, Tensor],
        bfloat16: bool = False,
    ) -> Coded:
        """Code a batch.

        Parameters
        ----------
        inputs
            Planes (B, c, H, W) by modality, H and W multiples of 64, in about [-0.5, 0.5]
            (`dsc._codecs.learned.modality`).
        valid
            Weights (B, 1, H, W) of the squared error, for modalities with holes.
        wanted
            The tasks that are decoded and charged, a subset of `inputs`.
        quality
            Integers 1 to 100, (B,), by task. Networks of one fixed rate ignore it.
        bfloat16
            Run the transforms under autocast.
        """
        ...

    def weight(self, task: str, quality: Tensor) -> Tensor:
        """Return λ (B,), the weight of `Coded.distortion`, for qualities (B,)."""
        ...

    def initialise(self, planes: Mapping[str, Tensor]) -> None:
        """Start from training crops (N, c, H, W) by modality (KLT), where the network has a way."""
        ...

    def spec_json(self) -> dict[str, Any]:
        """Return the sizes, as JSON, that `make_network(kind, spec=...)` takes back."""
        ...


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
