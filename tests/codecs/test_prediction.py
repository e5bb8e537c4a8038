"""Planes predicted from required streams: what is coded is the difference."""

import pytest
import torch
from torch import Tensor

from dsc._codecs.learned.codec import ChainedCodec
from dsc._codecs.learned.codec_file import export_codec, is_encoder_tensor
from dsc._codecs.learned.network.differentiable import ConditionalNetwork
from dsc._codecs.learned.network.model import Given
from dsc._codecs.learned.network.spec import sized
from dsc._schemas import Quality
from dsc._training.networks import make_network
from tests.codecs.conditional_cases import (
    LIMIT,
    MODALITY,
    NAMES,
    TASKS,
    all_quality,
    make_view,
    network_of,
    speak,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def untrained(planes: dict[str, Tensor], predict: list[int]) -> ConditionalNetwork:
    spec = sized("chained", list(MODALITY), "tiny").to_json()
    spec["modalities"]["normal"]["predict"] = predict
    torch.manual_seed(0)
    network: ConditionalNetwork = make_network("chained", spec=spec)
    torch.manual_seed(1)
    network.initialise(planes)
    return network.eval()


def given_depth(planes: dict[str, Tensor]) -> dict[str, Given]:
    return {"depth": Given(torch.zeros(len(planes["depth"]), 8, 4, 4), planes["depth"])}


def test_a_prediction_starts_silent(planes: dict[str, Tensor]) -> None:
    with_one = untrained(planes, [8, 1])
    guide = with_one.guide("normal", given_depth(planes))
    assert guide is not None
    assert guide.predicted is not None
    assert not guide.predicted.any()
    assert guide.predicted.shape == planes["normal"].shape


def test_nothing_is_predicted_without_what_it_is_predicted_from(planes: dict[str, Tensor]) -> None:
    network = network_of("chained", planes)
    assert network.guide("normal", {}) is None
    assert network.guide("rgb", given_depth(planes)) is None
    none = untrained(planes, [0, 0]).guide("normal", given_depth(planes))
    assert none is not None
    assert none.predicted is None


def test_what_a_prediction_gets_right_is_not_coded(planes: dict[str, Tensor]) -> None:
    """A right prediction leaves the latent of nothing; what is decoded is the prediction."""
    network = network_of("chained", planes).eval()

    class Oracle(torch.nn.Module):
        def forward(self, guides: Tensor) -> Tensor:
            return planes["normal"]

    inputs, quality = planes, all_quality(60, 4)
    with torch.no_grad():
        before = network.code(inputs, {}, ["normal"], quality)
        for part in (network.analysis, network.synthesis):  # as linear as at the KLT start
            part["normal"].guide.weight.zero_()
            if hasattr(part["normal"], "given"):
                part["normal"].given.weight.zero_()
        network.prediction["normal"] = Oracle()
        guide = network.guide("normal", given_depth(planes))
        y = network.analyse("normal", inputs, {}, {}, guide)
        nothing = network.analyse("normal", {"normal": torch.zeros_like(planes["normal"])}, {}, {})
        after = network.code(inputs, {}, ["normal"], quality)
    assert torch.allclose(y, nothing, atol=1e-6)
    assert after.distortion["normal"].mean() < 0.2 * before.distortion["normal"].mean()


def test_a_prediction_learns_from_its_own_error_at_no_cost(planes: dict[str, Tensor]) -> None:
    """The loss is what it is without the lesson; the gradient alone says what was missed."""
    network = network_of("chained", planes).eval()
    coded = network.code(planes, {}, ["normal"], all_quality(60, 4))
    error = 255.0**2 * (coded.planes["normal"] - planes["normal"]).square().mean(dim=(1, 2, 3))
    assert torch.allclose(coded.distortion["normal"], error, rtol=1e-5)

    optimiser = torch.optim.Adam(network.prediction.parameters(), 1e-2)
    missed = []
    for _ in range(40):
        coded = network.code(planes, {}, ["normal"], all_quality(60, 4))
        weight = network.weight("normal", torch.full((4,), 60))
        optimiser.zero_grad()
        (weight * coded.distortion["normal"] + coded.rate["normal"]).mean().backward()
        optimiser.step()
        guide = network.guide("normal", given_depth(planes))
        assert guide is not None
        assert guide.predicted is not None
        missed.append(float((guide.predicted - planes["normal"]).square().mean().detach()))
    assert missed[-1] < 0.5 * missed[0]


def test_a_prediction_is_the_decoders(planes: dict[str, Tensor]) -> None:
    names = [n for n in network_of("chained", planes).state_dict() if n.startswith("prediction.")]
    assert names
    assert not any(is_encoder_tensor(name) for name in names)


def test_the_last_of_a_long_chain_decodes_alone_as_with_the_others(
    planes: dict[str, Tensor],
) -> None:
    """Rgb guided by normals guided by depth: depth's planes are needed though nobody asks."""
    spec = sized("chained", list(MODALITY), "tiny").to_json()
    spec["chain"]["rgb"] = ["normal"]
    torch.manual_seed(0)
    network = make_network("chained", spec=spec)
    network.initialise(planes)
    speak(network)
    codec = ChainedCodec(TASKS, export_codec(network.eval(), {}))
    view = make_view(3, 64)
    (streams,) = codec.encode_batch([view], Quality())
    assert {s.name: s.requires for s in codec.streams()}["rgb"] == ("normal",)
    (every,) = codec.decode_batch([streams], list(NAMES), LIMIT)
    (alone,) = codec.decode_batch([streams], ["rgb"], LIMIT)
    assert (every["rgb"] == alone["rgb"]).all()
