"""What training needs of a network, whatever it is made of.

A network codes the modalities of a batch into streams and back, and says what that costs. How rate
and distortion are weighed against each other is the trainer's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor


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
    features
        Features (B, C, h, w) of the decoder's scales, coarse first, by wanted task; empty where a
        network has no scales.
    """

    rate: dict[str, Tensor]
    distortion: dict[str, Tensor]
    planes: dict[str, Tensor]
    features: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)


class Network(Protocol):
    """A trainable multi-task codec; a `torch.nn.Module` as well.

    Attributes
    ----------
    kind
        Its name in `dsc._training.networks.NETWORKS`.
    channels
        Channels of the planes by modality (``rgb`` 3, ``depth`` 1, ``normal`` 3), in order.
    """

    @property
    def kind(self) -> str: ...

    @property
    def channels(self) -> Mapping[str, int]: ...

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
            (`dsc._codecs.learned.planes`).
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
        """Return the sizes, as JSON, that a network of this kind is made of again."""
        ...
