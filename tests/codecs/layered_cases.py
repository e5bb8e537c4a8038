"""A tiny layered network at its start, as a codec file, for tests."""

from collections.abc import Mapping

import torch
from torch import Tensor

from dsc._codecs.learned.codec_file import export_codec
from dsc._codecs.learned.layered.differentiable import LayeredNetwork, layered
from tests.codecs.conditional_cases import view_planes


def layered_network(planes: Mapping[str, Tensor] | None = None) -> LayeredNetwork:
    """A network with its start, whose silent layers have small weights."""
    torch.manual_seed(0)
    planes = planes or view_planes(4)
    network = layered(tuple(planes), "tiny")
    network.initialise(planes)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not parameter.any() and name.endswith("weight"):
                parameter.normal_(std=0.05 if ".steps." in name else 0.003)
    return network.eval()


def layered_file(planes: Mapping[str, Tensor] | None = None) -> bytes:
    """Its codec file."""
    return export_codec(layered_network(planes), {})
