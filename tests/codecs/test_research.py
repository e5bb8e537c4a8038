"""The compared networks: equal sizes, who sees which stream, rates that a range coder reaches."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from dsc._schemas import required_streams
from dsc._training.networks import make_network
from dsc.errors import CodecError, UnknownTaskError, UsageError

pytest.importorskip("compressai", reason="compressai is not installed: pip install 'dsc[research]'")

from dsc._training.research.base import parameters

KINDS = ("single-task", "mixed-latent", "disjoint-latent", "shared-latent-2023")
TASKS = ("rgb", "depth", "normal")
CHANNELS = {"rgb": 3, "depth": 1, "normal": 3}
STREAMS = {
    "single-task": ("rgb", "depth", "normal"),
    "mixed-latent": ("mixed",),
    "disjoint-latent": ("hyper", "rgb", "depth", "normal"),
    "shared-latent-2023": ("hyper", "shared", "rgb", "depth", "normal"),
}
FOR_DEPTH = {
    "single-task": ("depth",),
    "mixed-latent": ("mixed",),
    "disjoint-latent": ("hyper", "depth"),
    "shared-latent-2023": ("hyper", "shared", "depth"),
}
QUALITY = {task: torch.tensor([50, 50]) for task in TASKS}


def planes(
    seed: int = 0, size: int = 64, batch: int = 2, coarse: int = 8
) -> dict[str, torch.Tensor]:
    """Smooth pictures in [-0.5, 0.5]."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, channels in CHANNELS.items():
        small = torch.rand(batch, channels, coarse, coarse, generator=generator) - 0.5
        found[name] = torch.nn.functional.interpolate(small, size=(size, size), mode="bilinear")
    return found


def network(kind: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return make_network(kind, TASKS, **({"size": "tiny"} | options))


def louder(net: Any) -> Any:
    """Return latents a size at which they cost bits, as training does."""
    with torch.no_grad():
        for codec in net.codecs:
            codec.analysis[-1].weight.mul_(30)
            codec.hyper_analysis[-1].weight.mul_(10)
            codec.hyper_synthesis[-2].bias.uniform_(0.2, 4)
    return net


@pytest.mark.parametrize("size", ["tiny", "fast", "base"])
def test_kinds_of_one_size_have_equal_parameters_within_3_percent(size: str) -> None:
    counts = [parameters(network(kind, size=size)) for kind in KINDS]
    assert max(counts) <= 1.03 * min(counts), dict(zip(KINDS, counts, strict=True))


def test_sizes_grow() -> None:
    tiny, fast, base = (
        parameters(network("mixed-latent", size=s)) for s in ("tiny", "fast", "base")
    )
    assert 10 * tiny < fast < base / 4


@pytest.mark.parametrize("kind", KINDS)
def test_streams_are_charged_as_the_graph_says(kind: str) -> None:
    net = network(kind)
    assert net.kind == kind
    assert tuple(stream.name for stream in net.graph(TASKS)) == STREAMS[kind]
    assert net.required(TASKS) == STREAMS[kind]
    assert net.required(["depth"]) == FOR_DEPTH[kind]
    assert required_streams(net.graph(TASKS), ["depth"]) == FOR_DEPTH[kind]
    alone = net.code(planes(), {}, ["depth"], QUALITY)
    assert tuple(alone.rate) == FOR_DEPTH[kind]
    assert tuple(alone.planes) == tuple(alone.distortion) == ("depth",)
    everything = net.code(planes(), {}, TASKS, QUALITY)
    assert tuple(everything.rate) == STREAMS[kind]
    for values in (*everything.rate.values(), *everything.distortion.values()):
        assert values.shape == (2,)
        assert (values >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_sees_only_the_streams_it_requires(kind: str) -> None:
    net = louder(network(kind))
    coded = net.code(planes(), {}, TASKS, QUALITY)
    for task in TASKS:
        net.zero_grad()
        coded.planes[task].square().sum().backward(retain_graph=True)
        seen: set[str] = set()
        for layout, codec in zip(net._layouts, net.codecs, strict=True):
            gradient = codec.analysis[-1].weight.grad
            if gradient is None:
                continue
            bounds = np.cumsum([0, *layout.groups.values()])
            parts = zip(layout.groups, pairwise(bounds), strict=True)
            seen |= {name for name, (a, b) in parts if gradient[a:b].abs().sum() > 0}
        assert seen == set(FOR_DEPTH[kind]) - {"hyper", "depth"} | (
            {"mixed"} if kind == "mixed-latent" else {task}
        )


@pytest.mark.parametrize("kind", KINDS)
def test_estimated_bits_are_what_compressais_range_coder_writes(kind: str) -> None:
    from compressai.models.base import get_scale_table

    net = louder(network(kind)).eval()
    inputs = planes(size=256, batch=1)
    with torch.no_grad():
        bits = sum(net.code(inputs, {}, TASKS, QUALITY).rate.values()).item() * 256 * 256
        written = 0
        for layout, codec in zip(net._layouts, net.codecs, strict=True):
            codec.bottleneck.update(force=True, update_quantiles=True)
            codec.conditional.update_scale_table(get_scale_table(), force=True)
            y = codec.analysis(torch.cat([inputs[name] for name in layout.inputs], 1))
            z = codec.hyper_analysis(y.abs())
            indexes = codec.conditional.build_indexes(codec.hyper_synthesis(z.round()))
            for string in (*codec.bottleneck.compress(z), *codec.conditional.compress(y, indexes)):
                written += 8 * len(string)
    assert bits > 5000
    # the coder rounds scales to a table, and ends each stream at a whole word
    assert written == pytest.approx(bits, rel=0.04, abs=256)


@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_loss(kind: str) -> None:
    net = network(kind, spec={"lambda": dict.fromkeys(TASKS, 0.1)})
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 3e-3)
    losses = []
    for _ in range(12):
        coded = net.code(planes(), {}, TASKS, QUALITY)
        loss = sum(coded.rate.values()).mean() + sum(
            (net.weight(task, QUALITY[task]) * coded.distortion[task]).mean() for task in TASKS
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_initialised_networks_begin_as_transform_codecs(kind: str) -> None:
    before, after = network(kind).eval(), network(kind).eval()
    after.initialise(planes(seed=1, batch=32, coarse=2))
    found = []
    for net in (before, after):
        with torch.no_grad():
            coded = net.code(planes(coarse=2), {}, TASKS, QUALITY)
        rate, distortion = (sum(v.values()).mean().item() for v in (coded.rate, coded.distortion))
        found.append((rate + 0.01 * distortion, distortion))
    assert found[1][1] < 0.05 * found[0][1]
    assert found[1][0] < 0.1 * found[0][0]


def test_distortion_is_weighted_and_scaled_to_8_bits() -> None:
    net = network("disjoint-latent").eval()
    inputs = planes()
    valid = {"depth": torch.zeros(2, 1, 64, 64)}
    valid["depth"][..., :32, :] = 1
    coded = net.code(inputs, valid, TASKS, QUALITY)
    error = (coded.planes["depth"] - inputs["depth"]) ** 2
    torch.testing.assert_close(
        coded.distortion["depth"], 255.0**2 * (error * valid["depth"]).mean(dim=(1, 2, 3))
    )
    error = (coded.planes["rgb"] - inputs["rgb"]) ** 2
    torch.testing.assert_close(coded.distortion["rgb"], 255.0**2 * error.mean(dim=(1, 2, 3)))


@pytest.mark.parametrize("kind", KINDS)
def test_spec_makes_the_same_network_again(kind: str) -> None:
    net = network(kind, spec={"lambda": {"rgb": 0.1}})
    again = make_network(kind, spec=net.spec_json())
    assert again.spec_json() == net.spec_json()
    again.load_state_dict(net.state_dict())
    weights = [float(again.weight(task, torch.tensor([7]))) for task in TASKS]
    assert weights == pytest.approx([0.1, 0.01, 0.01])
    one, two = (n.eval().code(planes(), {}, TASKS, QUALITY) for n in (net, again))
    for name in one.rate:
        torch.testing.assert_close(one.rate[name], two.rate[name])


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_modalities_make_smaller_graphs(kind: str) -> None:
    net = make_network(kind, ("rgb",), "tiny")
    coded = net.code({"rgb": planes()["rgb"]}, {}, ["rgb"], QUALITY)
    assert coded.planes["rgb"].shape == (2, 3, 64, 64)
    assert set(coded.rate) == set(STREAMS[kind]) - {"depth", "normal"}


def test_calls_that_cannot_be_honoured_say_why() -> None:
    inputs = planes()
    del inputs["normal"]
    with pytest.raises(CodecError, match="was given no normal"):
        network("mixed-latent").code(inputs, {}, ["rgb"], QUALITY)
    with pytest.raises(UnknownTaskError, match="heat"):
        make_network("mixed-latent", ("heat",), "tiny")
    with pytest.raises(UsageError, match="'huge'"):
        make_network("mixed-latent", TASKS, "huge")
    with pytest.raises(UsageError, match="depth_of_network"):
        make_network("mixed-latent", TASKS, "tiny", {"depth_of_network": 3})
