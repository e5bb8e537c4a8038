"""The codecs of conditional networks, untrained: streams, graphs, bits, damage."""

import json
import math

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import Tensor

from dsc._codecs.latents import StreamLatent
from dsc._codecs.learned.codec import ChainedCodec, ConditionalCodec, IndependentCodec
from dsc._codecs.learned.codec_file import load_codec_file, read_metadata, self_test_hash
from dsc._codecs.learned.network.differentiable import estimated_bits, predict_all
from dsc._codecs.learned.network.entropy import context_of, pad_hyper, quantise_hyper
from dsc._codecs.learned.network.model import ConditionalModel
from dsc._codecs.learned.network.spec import KINDS
from dsc._codecs.learned.sample_coder import real_bits
from dsc._codecs.learned.stream_coder import CodedStream, StreamCoder
from dsc._codecs.learned.synthesis import synthesise_planes
from dsc._schemas import Quality, required_streams
from dsc.errors import BitstreamError, CodecError, SelfTestError
from tests.codecs.conditional_cases import (
    CODECS,
    LIMIT,
    MODALITY,
    NAMES,
    NORMAL,
    TASKS,
    all_quality,
    as_planes,
    make_view,
    network_of,
)
from tests.codecs.conformance import CodecConformance

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=KINDS)
def codec(request: pytest.FixtureRequest, files: dict[str, bytes]) -> ConditionalCodec:
    return CODECS[request.param](TASKS, files[request.param])


@pytest.fixture(scope="module")
def sample() -> dict[str, np.ndarray]:
    view = make_view(8, 64)
    view["depth_zbuffer"][10:20, 5:30] = 65535
    view["normal"][10:20, 5:30] = 127
    return {name: view[name] for name in NAMES}


def test_streams_come_after_those_they_require(codec: ConditionalCodec) -> None:
    seen: set[str] = set()
    for stream in codec.streams():
        assert set(stream.requires) <= seen
        seen.add(stream.name)
    graph = {s.name: s.requires for s in codec.streams()}
    shared = ("shared",) if codec.id == "shared-latent" else ()
    assert graph["rgb"] == graph["depth_zbuffer"] == shared
    assert graph["normal"] == (("depth_zbuffer",) if codec.id == "chained" else shared)


@pytest.mark.parametrize("names", [NAMES, ("rgb",), ("normal", "rgb"), ("depth_zbuffer",)])
def test_any_subset_in_and_any_subset_out(
    codec: ConditionalCodec, sample: dict, names: tuple[str, ...]
) -> None:
    """A sample without depth is coded all the same, by a chain too."""
    (streams,) = codec.encode_batch([{name: sample[name] for name in names}], Quality())
    (together,) = codec.decode_batch([streams], names, LIMIT)
    for wanted in names:
        needed = required_streams(codec.streams(), [wanted])
        given = {name: streams[name] for name in needed if name in streams}
        (alone,) = codec.decode_batch([given], [wanted], LIMIT)
        assert alone[wanted].shape == sample[wanted].shape
        assert alone[wanted].dtype == sample[wanted].dtype
        difference = alone[wanted].astype(int) - together[wanted].astype(int)
        assert np.abs(difference).max() <= 1


def test_decoding_gives_what_the_network_codes(
    codec: ConditionalCodec, files: dict[str, bytes], planes: dict[str, Tensor]
) -> None:
    """The streams hold the same integers that evaluation computes, so planes agree."""
    network = network_of(codec.id, planes).eval()
    sample = make_view(9, 64)
    inputs = as_planes(sample)
    with torch.no_grad():
        coded = network.code(inputs, {}, list(inputs), all_quality(60, 1))
    rounding = CODECS[codec.id](TASKS, files[codec.id], kappa=math.inf)
    (streams,) = rounding.encode_batch([sample], Quality(default=60))
    latents = codec.unpack_latents(streams, NAMES, LIMIT)
    assert latents is not None
    modality = {task.name: name for name, task in MODALITY.items()} | {"shared": "shared"}
    given = {modality[name]: [latent] for name, latent in latents.streams.items()}
    with torch.no_grad():
        coder = StreamCoder(load_codec_file(files[codec.id]))
        planes = synthesise_planes(coder, given, list(MODALITY), "cpu")
    for name, expected in coded.planes.items():
        error = (planes[name] - expected).square().mean()
        assert error < 0.01 * expected.var()  # float16, and bfloat16 where the CPU has it


def test_training_predicts_what_the_coder_codes_under(
    codec: ConditionalCodec, files: dict[str, bytes]
) -> None:
    """Were a step to see other things in training than in decoding, nothing would be learned."""
    loaded = load_codec_file(files[codec.id])
    model = loaded.model
    y = torch.randn(1, model.spec.latents("depth"), 5, 7)
    required, context, qualities = {}, None, None
    if codec.id == "shared-latent":
        latent = torch.randn(1, model.spec.shared_latents, 5, 7)
        _, shared = StreamCoder(loaded).encode("shared", latent, 60, {})
        required = {"shared": shared}
        integers = (torch.from_numpy(x)[None].float() for x in (shared.symbols, shared.mean))
        context, qualities = context_of(*integers), torch.tensor([[60]])
    coder = StreamCoder(loaded, math.inf)
    with torch.inference_mode():
        _, coded = coder.encode("depth", y, 60, required)
        scaled = y * model.gain["depth"](torch.tensor([60.0]))
        entropy = model.entropy["depth"]
        z = quantise_hyper(entropy.analysis(pad_hyper(scaled)))
        start = entropy.synthesis(z, torch.tensor([60]), (5, 7), context, qualities)
        _, mean = predict_all(entropy, start, scaled)
    assert not torch.equal(mean, start.mean)
    assert np.array_equal(mean[0].numpy(), coded.mean)


@pytest.mark.parametrize("kind", KINDS)
def test_real_bits_are_within_one_percent_of_the_estimate(
    kind: str, files: dict[str, bytes], planes: dict[str, Tensor]
) -> None:
    inputs = as_planes(make_view(5, 256))  # large: a stream is a whole number of 32-bit words
    quality = {
        name: torch.tensor([value]) for name, value in zip(MODALITY, (60, 40, 50), strict=True)
    }
    estimated = estimated_bits(network_of(kind, planes), inputs, quality)
    real = real_bits(load_codec_file(files[kind]), inputs, quality)
    assert set(real) == set(estimated)
    total = sum(float(bits.sum()) for bits in real.values())
    expected = sum(float(bits.sum()) for bits in estimated.values())
    assert total > 8 * 5000
    assert abs(total / expected - 1) < 0.01


def test_a_decoder_reads_symbols_however_they_were_chosen(
    codec: ConditionalCodec, files: dict[str, bytes]
) -> None:
    loaded = load_codec_file(files[codec.id])
    spec = loaded.model.spec
    decoder = StreamCoder(loaded)
    bits: dict[float, int] = {}
    for kappa in (math.inf, 0.01):
        encoder = StreamCoder(loaded, kappa)
        torch.manual_seed(3)
        coded: dict[str, StreamLatent] = {}
        for name in spec.streams():
            required = {other: coded[other] for other in spec.requires(name)}
            with torch.inference_mode():
                y = torch.randn(1, spec.latents(name), 5, 7)
                words, coded[name] = encoder.encode(name, y, 50, required)
                (got,) = decoder.decode_batch(name, [CodedStream(words, 50, required)], (80, 112))
            assert np.array_equal(got.symbols, coded[name].symbols)
            assert np.array_equal(got.mean, coded[name].mean)
            bits[kappa] = bits.get(kappa, 0) + 8 * len(words)
    assert bits[0.01] < bits[math.inf]


def test_what_a_codec_hands_out_may_be_altered(
    codec: ConditionalCodec, files: dict[str, bytes], sample: dict
) -> None:
    (before,) = codec.encode_batch([sample], Quality())
    other = CODECS[codec.id](TASKS, files[codec.id])
    for gain in other.gains(NAMES).values():
        gain.log_gain.data.add_(1.0)
    for parameter in other.encoder_network().parameters():
        parameter.data.add_(1.0)
    assert codec.encode_batch([sample], Quality()) == [before]
    assert other.encode_batch([sample], Quality()) == [before]


def test_guidance_stays_out_of_the_entropy_path(files: dict[str, bytes], sample: dict) -> None:
    """Pixels may differ between machines; the integers of a stream must not depend on them."""
    codec = ChainedCodec(TASKS, files["chained"])
    (streams,) = codec.encode_batch([sample], Quality())
    expected = codec.unpack_latents(streams, NAMES, LIMIT)
    tensors = safetensors.numpy.load(files["chained"])
    for name, tensor in tensors.items():
        if name.startswith("synthesis.depth."):
            tensors[name] = (tensor + 0.01).astype(tensor.dtype)
    other = safetensors.numpy.save(tensors, read_metadata(files["chained"]))
    altered = ChainedCodec(TASKS, other)
    got = altered.unpack_latents(streams, NAMES, LIMIT)
    assert expected is not None
    assert got is not None
    depths = (c.synthesize([expected], ["depth_zbuffer"])[0] for c in (codec, altered))
    assert not np.array_equal(*(depth["depth_zbuffer"] for depth in depths))
    for name in NAMES:
        assert np.array_equal(expected.streams[name].symbols, got.streams[name].symbols)
        assert np.array_equal(expected.streams[name].mean, got.streams[name].mean)


def test_a_codec_file_is_read_and_tested_once_a_process(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = safetensors.numpy.load(files["independent"])
    metadata = read_metadata(files["independent"]) | {"card": "a file that nobody has read yet"}
    file = safetensors.numpy.save(tensors, metadata)
    tested: list[str] = []

    def test(model: ConditionalModel) -> str:
        tested.append(model.spec.kind)
        return self_test_hash(model)

    monkeypatch.setattr("dsc._codecs.learned.codec_file.self_test_hash", test)
    for tasks in (TASKS, TASKS[:1], TASKS):
        IndependentCodec(tasks, bytes(bytearray(file)))
    assert tested == ["independent"]


@pytest.mark.parametrize("kind", ["independent", "chained"])
def test_depth_costs_the_same_alone_as_with_others(
    kind: str, files: dict[str, bytes], sample: dict
) -> None:
    codec = CODECS[kind](TASKS, files[kind])
    (all_streams,) = codec.encode_batch([sample], Quality())
    (alone,) = codec.encode_batch([{"depth_zbuffer": sample["depth_zbuffer"]}], Quality())
    assert alone["depth_zbuffer"] == all_streams["depth_zbuffer"]


def test_a_file_of_another_kind_or_version_is_a_clear_error(files: dict[str, bytes]) -> None:
    with pytest.raises(CodecError, match="weights are of chained, the codec is independent"):
        IndependentCodec(TASKS, files["chained"])
    tensors = safetensors.numpy.load(files["chained"])
    metadata = read_metadata(files["chained"])
    newer = safetensors.numpy.save(tensors, metadata | {"kind": "dsc conditional 99"})
    with pytest.raises(BitstreamError, match="newer dsc"):
        load_codec_file(newer)
    spec = json.loads(metadata["model"]) | {"kind": "woven"}
    woven = safetensors.numpy.save(tensors, metadata | {"model": json.dumps(spec)})
    with pytest.raises(BitstreamError, match="woven"):
        load_codec_file(woven)


def test_self_test_covers_the_later_steps(files: dict[str, bytes]) -> None:
    tensors = safetensors.numpy.load(files["chained"])
    weight = tensors["entropy.rgb.steps.2.mean.weight"]
    weight[0, :, 0, 0] = np.where(weight[0, :, 0, 0] > 0, -100, 100)
    broken = safetensors.numpy.save(tensors, read_metadata(files["chained"]))
    with pytest.raises(SelfTestError, match="do not decode"):
        load_codec_file(broken)


def test_a_stream_without_what_it_used_is_an_error(files: dict[str, bytes], sample: dict) -> None:
    codec = ChainedCodec(TASKS, files["chained"])
    (streams,) = codec.encode_batch([sample], Quality())
    with pytest.raises(BitstreamError, match="depth_zbuffer is required"):
        codec.decode_batch([{"normal": streams["normal"]}], ["normal"], LIMIT)
    without = ChainedCodec((NORMAL,), files["chained"])
    with pytest.raises(BitstreamError, match="requires depth"):
        without.decode_batch([{"normal": streams["normal"]}], ["normal"], LIMIT)
    lying = bytes([2]) + streams["normal"][1:]
    with pytest.raises(BitstreamError, match="there are not"):
        codec.decode_batch([streams | {"normal": lying}], ["normal"], LIMIT)
    (streams,) = codec.encode_batch([make_view(8, 64)], Quality())  # no mask to fail first
    resized = streams["normal"][:1] + b"\x50\x00\x40\x00" + streams["normal"][5:]
    with pytest.raises(BitstreamError, match="the others have"):
        codec.decode_batch([streams | {"normal": resized}], NAMES[::-1], LIMIT)


class TestChainedConformance(CodecConformance):
    sees_every_cut = False  # an empty coder decodes on, and may end empty; checksums see the cut

    @pytest.fixture
    def codec(self, files: dict[str, bytes]) -> ChainedCodec:
        return ChainedCodec(TASKS, files["chained"])


class TestIndependentConformance(CodecConformance):
    sees_every_cut = False  # as above

    @pytest.fixture
    def codec(self, files: dict[str, bytes]) -> IndependentCodec:
        return IndependentCodec(TASKS, files["independent"])
