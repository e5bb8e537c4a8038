"""The codec `layered`: streams of scales, levels, integers that are the same, files, damage."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import safetensors.numpy
import torch

from dsc._codecs.base import AdaptableCodec, LatentCodec, PrefixCodec, SplitCodec, decoder_from
from dsc._codecs.latents import LatentBatch
from dsc._codecs.learned.codec import IndependentCodec
from dsc._codecs.learned.codec_file import decoder_part, load_codec_file, read_metadata
from dsc._codecs.learned.layered.bitstream import NO_WORDS
from dsc._codecs.learned.layered.codec import LayeredNetworkCodec
from dsc._codecs.learned.layered.spec import SCALES, scale_stream
from dsc._codecs.learned.network.differentiable import estimated_bits
from dsc._codecs.learned.sample_coder import real_bits
from dsc._codecs.residual.codec import ResidualCodec
from dsc._schemas import Bound, BoundKind, Quality, required_streams
from dsc._training.adapt import Adaptation, adapt
from dsc._training.adapt import as_planes as to_samples
from dsc.errors import BitstreamError, CodecError, SelfTestError
from tests.codecs.conditional_cases import (
    DEPTH,
    LIMIT,
    MODALITY,
    NAMES,
    RGB,
    TASKS,
    all_quality,
    as_planes,
    make_view,
)
from tests.codecs.conformance import CodecConformance
from tests.codecs.layered_cases import layered_file, layered_network
from tests.codecs.learned_golden import golden_sample
from tests.golden import make_layered_network

pytestmark = pytest.mark.usefixtures("one_thread")
Q = Quality(default=60)


@pytest.fixture(scope="module")
def file() -> bytes:
    return layered_file()


@pytest.fixture(scope="module")
def codec(file: bytes) -> LayeredNetworkCodec:
    return LayeredNetworkCodec(TASKS, file)


@pytest.fixture(scope="module")
def sample() -> dict[str, np.ndarray]:
    view = make_view(8, 72)
    view["depth_zbuffer"][10:20, 5:30] = 65535
    view["normal"][10:20, 5:30] = 127
    return {name: view[name][:56] for name in NAMES}


@pytest.fixture(scope="module")
def streams(codec: LayeredNetworkCodec, sample: dict) -> dict[str, bytes]:
    return codec.encode_batch([sample], Q)[0]


def first_scales(count: int, tasks: tuple[str, ...] = NAMES) -> list[str]:
    return [scale_stream(task, scale) for task in tasks for scale in range(count)]


class TestLayeredConformance(CodecConformance):
    sees_every_cut = False  # an empty coder decodes on, and may end empty; checksums see the cut
    max_cuts = n_flips = 12  # of each of twelve streams

    @pytest.fixture
    def codec(self, file: bytes) -> LayeredNetworkCodec:
        return LayeredNetworkCodec(TASKS, file)


def test_keeps_the_protocols_of_its_family(codec: LayeredNetworkCodec) -> None:
    for protocol in (PrefixCodec, LatentCodec, SplitCodec, AdaptableCodec):
        assert isinstance(codec, protocol)


def test_each_scale_requires_the_coarser_ones_and_no_other_task(codec: LayeredNetworkCodec) -> None:
    graph = codec.streams()
    assert [one.name for one in graph] == first_scales(SCALES)
    for name in NAMES:
        assert required_streams(graph, [name]) == tuple(first_scales(SCALES, (name,)))


@pytest.mark.parametrize("count", range(1, SCALES + 1))
def test_first_scales_decode_to_what_the_network_makes_of_them(
    count: int, codec: LayeredNetworkCodec, file: bytes
) -> None:
    network = layered_network()
    view = make_view(9, 64)
    planes = as_planes(view)
    rounding = LayeredNetworkCodec(TASKS, file, kappa=math.inf)
    coded = rounding.encode_batch([view], Q)
    latents = codec.from_streams(first_scales(count)).unpack_latents(coded[0], NAMES, LIMIT)
    with torch.no_grad():
        found = codec.planes(LatentBatch.stack([latents]).streams, NAMES)
        for modality, x in planes.items():
            kept = torch.tensor([count])
            expected = network.code_layers(modality, x, torch.tensor([60]), kept).planes
            error = (found[MODALITY[modality].name] - expected).square().mean()
            assert error < 0.01 * expected.var()  # float16, and bfloat16 where the CPU has it


def test_every_scale_brings_a_picture_nearer(
    codec: LayeredNetworkCodec, streams: dict, sample: dict
) -> None:
    errors = []
    for count in range(1, SCALES + 1):
        found = decoder_from(codec, first_scales(count)).decode_batch([streams], ["rgb"], LIMIT)[0]
        errors.append(float(np.square(found["rgb"].astype(float) - sample["rgb"]).mean()))
    assert all(finer < coarser for coarser, finer in pairwise(errors))


@pytest.mark.parametrize("count", range(1, SCALES + 1))
def test_a_prefix_decodes_alike_whatever_else_is_there(
    count: int, codec: LayeredNetworkCodec, streams: dict
) -> None:
    decoder = decoder_from(codec, first_scales(count))
    part = {name: streams[name] for name in first_scales(count)}
    (alone,) = decoder.decode_batch([part], NAMES, LIMIT)
    (beside,) = decoder.decode_batch([streams], NAMES, LIMIT)
    mixed = decoder_from(codec, [*first_scales(count, ("rgb",)), *first_scales(4, NAMES[1:])])
    (other,) = mixed.decode_batch([streams], NAMES, LIMIT)
    assert all(np.array_equal(alone[name], beside[name]) for name in NAMES)
    assert np.array_equal(alone["rgb"], other["rgb"])
    if count < SCALES:
        assert not np.array_equal(alone["normal"], other["normal"])


def test_a_scale_that_is_missing_is_damage_unless_it_was_left_out(
    codec: LayeredNetworkCodec, streams: dict
) -> None:
    for name in first_scales(SCALES, ("rgb",)):
        part = {k: v for k, v in streams.items() if k != name}
        with pytest.raises(BitstreamError, match=f"{name} is required and not here"):
            codec.decode_batch([part], ["rgb"], LIMIT)
    middle = [name for name in first_scales(SCALES) if name != "rgb.1"]
    (found,) = decoder_from(codec, middle).decode_batch([streams], ["rgb"], LIMIT)
    (coarsest,) = decoder_from(codec, ["rgb.0"]).decode_batch([streams], ["rgb"], LIMIT)
    assert np.array_equal(found["rgb"], coarsest["rgb"])


def test_tasks_of_a_sample_may_differ_in_size(codec: LayeredNetworkCodec) -> None:
    view = make_view(3, 64)
    apart = {"rgb": view["rgb"][:17, :9], "depth_zbuffer": view["depth_zbuffer"]}
    coded = codec.encode_batch([apart, view], Q)
    found = codec.decode_batch(coded, NAMES, LIMIT)
    assert {name: one.shape for name, one in found[0].items()} == {
        name: one.shape for name, one in apart.items()
    }
    assert list(found[1]) == list(NAMES)
    with pytest.raises(CodecError, match=r"rgb 17×9, depth_zbuffer 64×64; read these apart"):
        codec.unpack_latents(coded[0], ["rgb", "depth_zbuffer"], LIMIT)
    assert codec.unpack_latents(coded[0], ["rgb"], LIMIT) is not None


def test_holes_of_tasks_that_differ_in_size_are_told_apart(codec: LayeredNetworkCodec) -> None:
    holes = np.arange(16 * 64) % 7 == 0  # the same bits in both masks, and not the same rows
    depth = np.where(holes.reshape(16, 64), 65535, 900).astype(np.uint16)
    normal = np.full((64, 16, 3), 90, np.uint8)
    normal[holes.reshape(64, 16)] = 127
    view = {"depth_zbuffer": depth, "normal": normal}
    streams = codec.encode_batch([view], Q)
    found = codec.decode_batch(streams, list(view), LIMIT)[0]
    assert np.array_equal(found["depth_zbuffer"] == 65535, holes.reshape(16, 64))
    assert np.array_equal((found["normal"] == 127).all(axis=2), holes.reshape(64, 16))


def test_what_it_does_not_code_is_named_with_what_it_does() -> None:
    gray = RGB.model_copy(update={"channels": 1})
    with pytest.raises(CodecError, match=r"uint8, 1 channels\) is not one that layered codes: the"):
        LayeredNetworkCodec.for_tasks([gray])


def test_several_tasks_of_one_modality_are_coded(file: bytes) -> None:
    far = DEPTH.model_copy(update={"name": "far"})
    codec = LayeredNetworkCodec((DEPTH, far), file)
    depth = make_view(1, 40)["depth_zbuffer"]
    (coded,) = codec.encode_batch([{"depth_zbuffer": depth, "far": depth}], Q)
    assert [coded[f"far.{scale}"] for scale in range(SCALES)] == [
        coded[f"depth_zbuffer.{scale}"] for scale in range(SCALES)
    ]


def test_scales_without_words_are_no_empty_payload(
    codec: LayeredNetworkCodec, streams: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dsc._codecs.learned.layered import bitstream

    made = bitstream.write_streams("rgb", b"head", [b"", b"1234", b"", b""])
    assert list(made.values()) == [b"head" + NO_WORDS, b"1234", NO_WORDS, NO_WORDS]
    head = streams["rgb.0"][:5]
    read = bitstream.read_streams(RGB, bitstream.write_streams("rgb", head, [b""] * 4), 4, LIMIT)
    assert read.words == (b"",) * 4
    with pytest.raises(BitstreamError, match=r"rgb.0: it ends after its header"):
        codec.decode_batch([streams | {"rgb.0": head}], ["rgb"], LIMIT)


def test_what_a_header_declares_is_checked_before_anything_is_decoded(
    codec: LayeredNetworkCodec, streams: dict
) -> None:
    with pytest.raises(BitstreamError, match=r"rgb.0: 56×72 pixels; at most 4031"):
        codec.decode_batch([streams], ["rgb"], 56 * 72 - 1)
    huge = b"\xff\xff\xff\xff" + streams["rgb.0"][4:]
    with pytest.raises(BitstreamError, match="65535×65535"):
        codec.decode_batch([streams | {"rgb.0": huge}], ["rgb"], LIMIT)
    side = np.zeros((1, 65536, 3), np.uint8)
    with pytest.raises(CodecError, match="a side is at most"):
        codec.encode_batch([{"rgb": side}], Q)


# ---- integers


def test_samples_in_step_and_threads_give_the_integers_that_each_gives_alone(
    codec: LayeredNetworkCodec,
) -> None:
    views = [make_view(seed, 64 if seed % 2 else 40) for seed in range(6)]
    del views[2]["rgb"]
    coded = [
        codec.encode_batch([view], Quality(default=10 + 17 * at))[0]
        for at, view in enumerate(views)
    ]
    tasks = [[name for name in NAMES if name in view] for view in views]
    tasks[4] = []
    together = codec.unpack_batch(coded, tasks, LIMIT)
    torch.set_num_threads(3)
    threads = codec.unpack_batch(coded, tasks, LIMIT)
    torch.set_num_threads(1)
    assert together[4] is None
    for at, (one, other) in enumerate(zip(together, threads, strict=True)):
        alone = codec.unpack_latents(coded[at], tasks[at], LIMIT)
        assert (one is None) == (alone is None)
        if one is not None and other is not None and alone is not None:
            assert list(one.streams) == first_scales(SCALES, tuple(tasks[at]))
            for name, latent in one.streams.items():
                for found in (other.streams[name], alone.streams[name]):
                    assert np.array_equal(found.symbols, latent.symbols)
                    assert np.array_equal(found.mean, latent.mean)
                    assert found.quality == latent.quality


def test_pixels_stay_out_of_the_integers(file: bytes, streams: dict) -> None:
    """Transforms may differ in their last bits between machines; what is decoded must not."""
    tensors = safetensors.numpy.load(file)
    for name, tensor in tensors.items():
        if ".chain." in name or ".gain." in name:
            tensors[name] = (tensor + 0.01).astype(tensor.dtype)
    altered = safetensors.numpy.save(tensors, read_metadata(file))
    codecs = [LayeredNetworkCodec(TASKS, data) for data in (file, altered)]
    one, other = (codec.unpack_latents(streams, NAMES, LIMIT) for codec in codecs)
    assert one is not None
    assert other is not None
    for name, latent in one.streams.items():
        assert np.array_equal(latent.symbols, other.streams[name].symbols)
        assert np.array_equal(latent.mean, other.streams[name].mean)
    found = [codec.synthesize([one], ["rgb"])[0]["rgb"] for codec in codecs]
    assert not np.array_equal(*found)


def test_real_bits_are_within_one_percent_of_the_estimate(file: bytes) -> None:
    inputs, quality = as_planes(make_view(5, 256)), all_quality(60, 1)
    estimated = estimated_bits(layered_network(), inputs, quality)
    real = real_bits(load_codec_file(file), inputs, quality)
    assert list(real) == list(estimated)
    total, expected = (
        sum(float(bits.sum()) for bits in found.values()) for found in (real, estimated)
    )
    assert total > 8 * 5000
    assert abs(total / expected - 1) < 0.01


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("scales", range(1, SCALES + 1))
def test_golden_streams_decode_to_the_integers_that_they_always_did(scales: int) -> None:
    root = make_layered_network.ROOT
    codec = LayeredNetworkCodec(
        make_layered_network.TASKS, (root / "network.safetensors").read_bytes()
    )
    streams = {path.stem: path.read_bytes() for path in sorted(root.glob("*.bin"))}
    assert list(streams) == [one.name for one in sorted(codec.streams(), key=lambda one: one.name)]
    known = json.loads((root / "latents.json").read_text())
    assert make_layered_network.integers_of(codec, streams, scales) == known[scales - 1]
    (found,) = codec.decode_batch([streams], make_layered_network.NAMES, LIMIT)
    original = golden_sample()
    for name, array in found.items():
        error = np.abs(array.astype(float) - original[name])[original[name] != 65535].mean()
        assert error < 0.5 * original[name][original[name] != 65535].std()


# ---- files


def test_a_file_of_another_network_is_a_clear_error(file: bytes, files: dict[str, bytes]) -> None:
    with pytest.raises(CodecError, match="weights are of chained, the codec is layered"):
        LayeredNetworkCodec(TASKS, files["chained"])
    with pytest.raises(CodecError, match="weights are of layered, the codec is independent"):
        IndependentCodec(TASKS, file)
    newer = safetensors.numpy.save(
        safetensors.numpy.load(file), read_metadata(file) | {"kind": "dsc layered 99"}
    )
    with pytest.raises(BitstreamError, match="newer dsc"):
        LayeredNetworkCodec(TASKS, newer)


@pytest.mark.parametrize(
    "part", ["entry", "scales.3.steps.0.mean", "scales.0.mix", "updates.2.smooth"]
)
def test_self_test_covers_every_scale(file: bytes, part: str) -> None:
    tensors = safetensors.numpy.load(file)
    name = f"modalities.rgb.prior.{part}.bias"
    tensors[name] = tensors[name] + np.int32(40_000)
    broken = safetensors.numpy.save(tensors, read_metadata(file))
    with pytest.raises(SelfTestError, match="do not decode"):
        load_codec_file(broken)


def test_the_decoders_part_decodes_all_and_encodes_nothing(
    file: bytes, codec: LayeredNetworkCodec, streams: dict
) -> None:
    data = decoder_part(file)
    assert decoder_part(data) == data
    left_out = safetensors.numpy.load(file).keys() - safetensors.numpy.load(data).keys()
    assert {name.split(".")[2] for name in left_out} == {"analysis", "posterior"}
    part = LayeredNetworkCodec(TASKS, data)
    (expected,) = codec.decode_batch([streams], NAMES, LIMIT)
    (found,) = part.decode_batch([streams], NAMES, LIMIT)
    assert all(np.array_equal(expected[name], found[name]) for name in NAMES)
    with pytest.raises(CodecError, match="cannot encode; give the whole codec file"):
        part.encode_batch([{}], Q)
    with pytest.raises(CodecError, match="whole codec file"):
        part.encoder_network()


def test_an_encoder_learns_alone_and_its_decoder_stays(
    codec: LayeredNetworkCodec, file: bytes, streams: dict
) -> None:
    views = [make_view(seed, 48) for seed in range(3)]
    samples = [to_samples(TASKS, view) for view in views]
    adapted = adapt(codec, samples, Adaptation(steps=3, batch=4, crop=40, lr=1e-3))
    assert adapted.weights() != file
    assert decoder_part(adapted.weights()) == decoder_part(file)
    (before,) = codec.decode_batch([streams], NAMES, LIMIT)
    (after,) = adapted.decode_batch([streams], NAMES, LIMIT)
    assert all(np.array_equal(before[name], after[name]) for name in NAMES)
    assert adapted.encode_batch([views[0]], Q) != codec.encode_batch([views[0]], Q)


def test_bounds_hold_above_all_scales(codec: LayeredNetworkCodec, sample: dict) -> None:
    bounded = ResidualCodec(codec, ["depth_zbuffer"])
    one_percent = Bound(kind=BoundKind.RELATIVE, value=0.01)
    quality = Quality(default=60, max_error={"depth_zbuffer": one_percent})
    (streams,) = bounded.encode_batch([sample], quality)
    (found,) = bounded.decode_batch([streams], NAMES, LIMIT)
    valid = sample["depth_zbuffer"] != 65535
    ratio = found["depth_zbuffer"][valid] / sample["depth_zbuffer"][valid].astype(float)
    assert np.abs(ratio - 1).max() <= 0.01
    levels = decoder_from(bounded, ["depth_zbuffer.0"])
    (coarse,) = levels.decode_batch([streams], ["depth_zbuffer"], LIMIT)
    (plain,) = decoder_from(codec, ["depth_zbuffer.0"]).decode_batch(
        [streams], ["depth_zbuffer"], LIMIT
    )
    assert np.array_equal(coarse["depth_zbuffer"], plain["depth_zbuffer"])
