"""The encoder of a learned codec apart from its decoder: told apart, trained alone, put back.

Decoder and entropy model are frozen, so whatever an encoder learns, what older encoders wrote
decodes to the same samples for ever. The gains are the decoder's too: it divides by them.

The prior of ẑ that training used is not in a codec file; its tables are. `TablePrior` makes the
rate of ẑ differentiable from these, so the rate that is minimised is that of the tables in use.
"""

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from dsc._codecs.learned.codec_file import (
    DECODER_MARK,
    decoder_part,
    fill_model,
    is_encoder_tensor,
    read_metadata,
    read_spec,
    with_encoder,
)
from dsc._codecs.learned.layered.differentiable import LayeredNetwork
from dsc._codecs.learned.layered.spec import LayeredSpec
from dsc._codecs.learned.network.differentiable import ConditionalNetwork
from dsc._codecs.learned.network.entropy import Z_BUCKETS, Z_LIMIT, HyperPrior
from dsc._coding.entropy import Tables
from dsc._coding.integer import clamp_through
from dsc.errors import CodecError

SMALLEST = 1e-9


def encoder_network(weights: bytes) -> ConditionalNetwork | LayeredNetwork:
    """Make the trainable network of a codec file, of which only the encoder's weights learn.

    Raises
    ------
    BitstreamError
        When the file is damaged.
    CodecError
        When it holds no encoder.
    """
    metadata = read_metadata(weights)
    if metadata["kind"].endswith(DECODER_MARK):
        raise CodecError("a decoder's part has no encoder to train; give the whole codec file")
    spec = read_spec(metadata)
    with torch.random.fork_rng(devices=[]):
        network = (
            LayeredNetwork(spec) if isinstance(spec, LayeredSpec) else ConditionalNetwork(spec)
        )
    _, hyper = fill_model(network, weights)
    if isinstance(network, ConditionalNetwork):
        for name, entropy in network.entropy.items():
            entropy.prior = cast(HyperPrior, TablePrior(hyper[name]))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(is_encoder_tensor(name))
    return network


def export_encoder(weights: bytes, network: nn.Module, card: Mapping[str, str]) -> bytes:
    """Return a codec file with the encoder that a network has learned and the decoder of `weights`.

    Parameters
    ----------
    weights
        What `encoder_network` made the network of.
    card
        Facts about the training, for people.

    Raises
    ------
    CodecError
        When anything but the encoder has changed in the network: what it learned then fits another
        decoder than this one.
    """
    trained = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    began = encoder_network(weights).state_dict()
    moved = [
        name
        for name, value in began.items()
        if not is_encoder_tensor(name) and not torch.equal(trained[name].float(), value)
    ]
    if moved:
        raise CodecError(
            f"{len(moved)} weights of the frozen decoder have changed ({moved[0]}, ...), so no "
            "codec file is written: what was encoded for it could not be decoded any more"
        )
    encoder = {
        name: value.numpy().astype(np.float16)
        for name, value in trained.items()
        if is_encoder_tensor(name)
    }
    made = with_encoder(weights, encoder, card)
    if decoder_part(made) != decoder_part(weights):
        raise CodecError("the new codec file has another decoder; no codec file is written")
    return made


class TablePrior(nn.Module):
    """The prior of ẑ as its coder's tables have it.

    Between integers the mass is interpolated linearly: that is the density of an integer from the
    table plus uniform noise, taken over a unit interval.

    Parameters
    ----------
    tables
        One for each (quality bucket, channel of ẑ), over -`Z_LIMIT` to `Z_LIMIT`.

    Raises
    ------
    CodecError
        When they are of another range.
    """

    mass: Tensor

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        counts = np.diff(tables.offsets)
        if (counts != 2 * Z_LIMIT + 2).any() or (tables.lows != -Z_LIMIT).any():
            raise CodecError("the tables of a hyper-latent are of another range than this dsc's")
        rows = tables.frequencies.reshape(len(counts), -1)[:, :-1]  # the last one is the escape
        mass = torch.from_numpy(rows.astype(np.float32) / 65536)
        self.register_buffer("mass", mass.reshape(Z_BUCKETS, -1, 2 * Z_LIMIT + 1))

    def forward(self, z: Tensor, bucket: Tensor) -> Tensor:
        """Return the likelihood of z (B, Cz, h, w); `bucket` (B,) indexes the quality."""
        batch, channels = z.shape[:2]
        place = clamp_through(z.float().flatten(2) + Z_LIMIT, 0, 2 * Z_LIMIT)
        low = place.detach().floor().clamp_max(2 * Z_LIMIT - 1)
        mass = self.mass[bucket].expand(batch, channels, -1)
        below, above = (mass.gather(2, low.long() + step) for step in (0, 1))
        found = below + (above - below) * (place - low)
        return found.clamp_min(SMALLEST).view(z.shape)
