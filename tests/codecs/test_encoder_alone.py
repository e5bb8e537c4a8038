"""An encoder learns alone: the frozen rest stays as it is, and rates are those of its tables."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from dsc._codecs.learned.codec_file import decoder_part, is_encoder_tensor, load_codec_file
from dsc._codecs.learned.encoder_alone import encoder_network, export_encoder
from dsc._codecs.learned.network.differentiable import estimated_bits
from dsc._codecs.learned.network.spec import KINDS
from dsc._codecs.learned.sample_coder import real_bits
from dsc.errors import CodecError
from tests.codecs.conditional_cases import all_quality


def step(network: torch.nn.Module, planes: Mapping[str, Tensor]) -> None:
    """Take one large step on everything that requires a gradient."""
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.01)
    coded = network.code(planes, {}, list(planes), all_quality(50, len(planes["rgb"])))  # type: ignore[operator]
    parts = [*coded.rate.values(), *coded.distortion.values()]
    torch.stack([part.mean() for part in parts]).sum().backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimiser.step()


@pytest.mark.parametrize("kind", KINDS)
def test_training_changes_the_encoder_and_nothing_else(
    files: dict[str, bytes], planes: dict[str, Tensor], kind: str
) -> None:
    network = encoder_network(files[kind])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    step(network, planes)
    after = network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(is_encoder_tensor(name) for name in moved)
    assert any(".analysis." in name and name.startswith("entropy.") for name in moved)
    made = export_encoder(files[kind], network, {})
    assert made != files[kind]
    assert decoder_part(made) == decoder_part(files[kind])
    again = encoder_network(made).state_dict()
    assert all(torch.equal(again[n], after[n].half().float()) for n in moved)


@pytest.mark.parametrize("part", ["synthesis.rgb.exit.bias", "gain.rgb.log_gain"])
def test_a_frozen_weight_that_moved_is_an_error_at_export(
    files: dict[str, bytes], part: str
) -> None:
    network = encoder_network(files["independent"])
    with torch.no_grad():
        network.state_dict()[part].add_(0.25)
    with pytest.raises(CodecError, match=f"frozen decoder have changed .{part}"):
        export_encoder(files["independent"], network, {})


@pytest.mark.parametrize("kind", KINDS)
def test_the_rate_that_is_minimised_is_what_the_coder_writes(
    files: dict[str, bytes], planes: dict[str, Tensor], kind: str
) -> None:
    quality = all_quality(40, len(planes["rgb"]))
    counted = estimated_bits(encoder_network(files[kind]), planes, quality)
    written = real_bits(load_codec_file(files[kind]), planes, quality)
    for name, bits in counted.items():
        real = written[name].float()
        assert torch.all((real - bits).abs() < 64 + 0.03 * bits), name  # the coder's last words


def test_the_rate_of_the_hyper_latent_is_its_tables_between_integers(
    files: dict[str, bytes],
) -> None:
    network = encoder_network(files["independent"])
    prior = network.entropy["rgb"].prior
    tables = load_codec_file(files["independent"]).hyper_tables["rgb"]
    channels = network.spec.hyper_latents
    z = torch.tensor([-31.0, 0.0, 0.25, 31.0, 99.0]).view(1, 1, 1, -1).expand(1, channels, 1, -1)
    z = z.clone().requires_grad_()
    found = prior(z, torch.tensor([2]))
    assert found.shape == z.shape
    for channel in (0, channels - 1):
        row = 2 * channels + channel
        start = int(tables.offsets[row])
        mass = torch.from_numpy(tables.frequencies[start : start + 63].astype("f4")) / 65536
        between = 0.75 * mass[31] + 0.25 * mass[32]
        expected = torch.stack([mass[0], mass[31], between, mass[62], mass[62]])
        assert torch.allclose(found[0, channel, 0], expected)
    found.log().sum().backward()
    assert torch.isfinite(z.grad).all()
