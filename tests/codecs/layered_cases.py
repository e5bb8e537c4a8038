"""A tiny layered network at its start, with branches or without, as codec files, for tests."""

from collections.abc import Mapping

import torch
from torch import Tensor

from dsc._codecs.learned.codec_file import export_codec, export_sequence_codec
from dsc._codecs.learned.layered.differentiable import LayeredNetwork, layered
from dsc._codecs.learned.layered.temporal import TemporalModel
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


def branches(network: LayeredNetwork, scale: float = 0.05) -> TemporalModel:
    """Branches beside a network that add something."""
    torch.manual_seed(1)
    made = TemporalModel(network.spec)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=scale)
    return made.eval()


def sequence_file(planes: Mapping[str, Tensor] | None = None, scale: float = 0.05) -> bytes:
    """The codec file of `layered_network` with branches of every modality."""
    network = layered_network(planes)
    return export_sequence_codec(network, branches(network, scale).modalities, {})
