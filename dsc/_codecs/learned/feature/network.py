"""The network of a feature codec: a linear transform at full rank, and a learned entropy model.

The latent y has as many channels as the features and their resolution, ẑ a quarter of it. Rate is
variable by gains: y is multiplied by one that depends on quality before it is rounded, and by
another one after, which may shrink (Cui et al., "Asymmetric gained deep image compression", CVPR
2021, equation 3).
"""

import torch
from torch import Tensor, nn

from dsc._codecs.learned.feature.spec import FeatureSpec
from dsc._codecs.learned.network.entropy import StreamEntropy
from dsc._codecs.learned.network.layers import pointwise
from dsc._codecs.learned.network.model import ANCHORS, Gain
from dsc._coding.integer import IntegerConv


class FeatureNetwork(nn.Module):
    """Analysis, entropy model and synthesis of the features of one layer; see the module."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.zeros(1, spec.channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, spec.channels, 1, 1))
        self.analysis = pointwise(spec.channels, spec.channels)
        self.synthesis = pointwise(spec.channels, spec.channels)
        self.gain = Gain(spec.channels, torch.ones(ANCHORS))
        self.inverse_gain = Gain(spec.channels, torch.ones(ANCHORS))
        self.entropy = StreamEntropy(spec, spec.channels, ())

    def analyse(self, features: Tensor, quality: Tensor) -> Tensor:
        """Return the latent in quantiser steps, (B, C, h, w), for qualities (B,) in [1, 100]."""
        normal = (features.float() - self.mean) / self.deviation
        scaled: Tensor = self.analysis(normal) * self.gain(quality)
        return scaled

    def synthesise(self, scaled: Tensor, quality: Tensor) -> Tensor:
        """Return features (B, C, h, w) of a rounded latent in quantiser steps."""
        normal = self.synthesis(scaled * self.inverse_gain(quality))
        features: Tensor = normal * self.deviation + self.mean
        return features

    def integer_modules(self) -> list[IntegerConv]:
        """List the layers of all integer networks."""
        return [m for m in self.modules() if isinstance(m, IntegerConv)]
