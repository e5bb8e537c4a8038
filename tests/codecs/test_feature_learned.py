"""`feature-learned`: features of one layer at any quality, integers the same everywhere."""

import hashlib
import json
import math

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import Tensor, nn

from dsc._codecs.base import Array, SplitCodec
from dsc._codecs.learned.encoder_alone import TablePrior
from dsc._codecs.learned.feature.codec import FeatureLearnedCodec
from dsc._codecs.learned.feature.spec import FeatureSpec
from dsc._codecs.learned.feature.weights import (
    CodedLayer,
    decoder_part,
    load_network,
    save_network,
)
from dsc._pipeline.choose.codec_spec import codec_id_of
from dsc._schemas import Extractor, Preprocessing, Quality, Task
from dsc._training.models.feature import (
    FeatureExamples,
    code,
    measure,
    train,
    untrained,
    with_answers,
)
from dsc.errors import BitstreamError, CodecError, SelfTestError
from tests.codecs.conformance import CodecConformance
from tests.golden import make_feature_learned
from tests.places import ROOT

GOLDEN = ROOT / "tests" / "golden" / "feature_learned"
CHANNELS = 8
SPEC = FeatureSpec(CHANNELS, 16, hyper_width=8, hyper_latents=4)
LAYER = CodedLayer("toy", "ab" * 32, "block1")
EXTRACTOR = Extractor(
    backbone="toy",
    weights_sha256="ab" * 32,
    layer="block1",
    of="rgb",
    preprocessing=Preprocessing(side=64, mean=(127.0,) * 3, std=(128.0,) * 3),
)


def task_of(**changed: object) -> Task:
    facts: dict[str, object] = {
        "name": "features",
        "kind": "feature",
        "dtype": "float16",
        "channels": CHANNELS,
        "shape": (CHANNELS, -1, -1),
        "extractor": EXTRACTOR,
    }
    return Task.model_validate(facts | changed)


OPEN, FIXED = task_of(), task_of(shape=(CHANNELS, 6, 7), dtype="float32")


def make_tail() -> nn.Module:
    """A rest of a network that sees the first half of the channels alone."""
    torch.manual_seed(5)
    mix = nn.Conv2d(CHANNELS, 16, 1)
    with torch.no_grad():
        mix.weight.mul_(6)
        mix.weight[:, CHANNELS // 2 :] = 0
    tail = nn.Sequential(mix, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    return tail.requires_grad_(False)


def make_features(count: int, size: tuple[int, int] = (6, 7)) -> Tensor:
    """Features that neighbours and channels have in common, of unlike deviations."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randn(count, CHANNELS, 3, 3, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    mixer = torch.randn(CHANNELS, CHANNELS, generator=generator)
    mixed = torch.einsum("dc,bchw->bdhw", mixer, smooth)
    return mixed * torch.linspace(0.2, 3, CHANNELS)[:, None, None] + 1


@pytest.fixture(scope="module")
def tail() -> nn.Module:
    return make_tail()


@pytest.fixture(scope="module")
def examples(tail: nn.Module) -> FeatureExamples:
    return with_answers(make_features(96), tail)


@pytest.fixture(scope="module")
def weights(examples: FeatureExamples, tail: nn.Module) -> bytes:
    network = train(untrained(SPEC, examples, tail), examples, tail, 300)
    return save_network(network, LAYER, {"data": "none"})


class TestFeatureLearned(CodecConformance):
    @pytest.fixture
    def codec(self, weights: bytes) -> FeatureLearnedCodec:
        return FeatureLearnedCodec([OPEN], weights)


def coded(codec: FeatureLearnedCodec, array: Array, quality: int) -> bytes:
    name = codec.tasks[0].name
    return codec.encode_batch([{name: array}], Quality(default=quality))[0][name]


def decoded(codec: FeatureLearnedCodec, *streams: bytes) -> list[Array]:
    name = codec.tasks[0].name
    found = codec.decode_batch([{name: data} for data in streams], [name], 1 << 16)
    return [one[name] for one in found]


# ---- what it does


def test_one_file_spans_all_qualities(weights) -> None:
    codec = FeatureLearnedCodec([FIXED], weights)
    arrays = list(make_features(8).numpy())
    sizes, errors = [], []
    for quality in (1, 25, 50, 75, 100):
        streams = [coded(codec, array, quality) for array in arrays]
        sizes.append(sum(map(len, streams)))
        found = decoded(codec, *streams)
        errors.append(float(np.mean([(a - b) ** 2 for a, b in zip(arrays, found, strict=True)])))
    assert sizes == sorted(set(sizes))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 10


def test_real_bits_are_those_that_training_estimates(weights) -> None:
    codec = FeatureLearnedCodec([FIXED], weights, kappa=math.inf)
    loaded = load_network(weights)
    loaded.network.entropy.prior = TablePrior(loaded.hyper_tables)
    features = make_features(32)
    for quality in (10, 30, 50):
        estimated = code(loaded.network, features, torch.full((32,), quality)).bits.sum().item()
        real = sum(8 * (len(coded(codec, one, quality)) - 1) for one in features.numpy())
        ends = 32 * 32  # the last word of each stream; what is unlikely costs tables less
        assert 0.95 * estimated < real < 1.01 * estimated + ends


def test_a_size_that_the_task_tells_is_not_stored(weights) -> None:
    (array,) = make_features(1).numpy()
    sized = coded(FeatureLearnedCodec([FIXED], weights), array, 60)
    opened = coded(FeatureLearnedCodec([OPEN], weights), array.astype(np.float16), 60)
    assert len(opened) - len(sized) in (0, 4, 8)  # four bytes, and what rounding costs words
    assert opened[1:5] == bytes([6, 0, 7, 0])


def test_samples_of_several_sizes_and_qualities_decode_together(weights) -> None:
    codec = FeatureLearnedCodec([OPEN], weights)
    sizes = [(6, 7), (3, 9), (6, 7), (1, 1)]
    arrays = [make_features(1, size)[0].half().numpy() for size in sizes]
    streams = [coded(codec, a, q) for a, q in zip(arrays, (90, 30, 60, 100), strict=True)]
    alone = [decoded(codec, data)[0] for data in streams]
    for one, other in zip(decoded(codec, *streams), alone, strict=True):
        assert one.shape == other.shape
        assert np.abs(one.astype(float) - other).max() < 0.01


def test_a_number_beyond_the_dtype_becomes_the_largest(weights) -> None:
    codec = FeatureLearnedCodec([OPEN], weights)
    array = np.full((CHANNELS, 2, 2), 65504, np.float16)
    assert np.isfinite(decoded(codec, coded(codec, array, 100))[0]).all()


# ---- what it refuses


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_with_how_many(weights, value) -> None:
    array = np.zeros((CHANNELS, 2, 3), np.float16)
    array[1, 0, 2] = value
    with pytest.raises(CodecError, match="features: 1 of 48 numbers are not finite"):
        coded(FeatureLearnedCodec([OPEN], weights), array, 50)


@pytest.mark.parametrize(
    "changed",
    [
        {"extractor": EXTRACTOR.model_copy(update={"layer": "block2"})},
        {"extractor": EXTRACTOR.model_copy(update={"weights_sha256": "cd" * 32})},
        {"extractor": EXTRACTOR.model_copy(update={"backbone": "other"})},
    ],
    ids=["layer", "weights", "backbone"],
)
def test_features_of_another_layer_are_refused_with_both_names(weights, changed) -> None:
    with pytest.raises(CodecError, match=r"is layer .* these weights code layer block1 of toy"):
        FeatureLearnedCodec([task_of(**changed)], weights)


def test_features_of_unknown_making_are_refused(weights) -> None:
    with pytest.raises(CodecError, match="does not say which backbone"):
        FeatureLearnedCodec([task_of(extractor=None)], weights)


def test_other_kinds_are_refused(weights) -> None:
    rgb = Task(name="rgb", kind="image", dtype="uint8", channels=3)
    with pytest.raises(CodecError, match="rgb is of kind image"):
        FeatureLearnedCodec([rgb], weights)


def test_a_layer_that_dsc_has_no_weights_for_is_refused_with_what_to_do() -> None:
    with pytest.raises(CodecError, match=r"features: .* give a weights file of its layer"):
        FeatureLearnedCodec.for_tasks([OPEN])


def test_a_weights_file_is_a_codec_that_an_option_can_name(weights, tmp_path) -> None:
    path = tmp_path / "my.safetensors"
    path.write_bytes(weights)
    assert codec_id_of(str(path)) == FeatureLearnedCodec.id


# ---- the weights that ship


@pytest.mark.parametrize("case", sorted(make_feature_learned.CASES))
def test_golden_stream_decodes_to_the_same_integers(case) -> None:
    codec = FeatureLearnedCodec.for_tasks([make_feature_learned.task()])
    facts = json.loads((GOLDEN / case).with_suffix(".json").read_text())
    assert hashlib.sha256(codec.weights()).hexdigest() == facts["weights_sha256"]
    data = (GOLDEN / case).with_suffix(".bin").read_bytes()
    assert make_feature_learned.integers_hash(codec, data) == facts["integers_sha256"]
    (features,) = decoded(codec, data)
    assert list(features.shape) == facts["shape"]


def test_every_golden_file_belongs_to_a_test() -> None:
    for suffix in ("json", "bin"):
        names = {path.stem for path in GOLDEN.glob(f"*.{suffix}")}
        assert names == set(make_feature_learned.CASES)


def test_the_weights_that_ship_are_small_and_their_decoder_smaller() -> None:
    data = FeatureLearnedCodec.shipped_weights()
    assert data is not None
    assert len(decoder_part(data)) < len(data) < 250_000


def test_each_layer_has_its_own_weights() -> None:
    codec = FeatureLearnedCodec.for_tasks([make_feature_learned.task(shape=(112, 14, 14))])
    assert codec.weights() == FeatureLearnedCodec.shipped_weights()
    other = make_feature_learned.task()
    assert other.extractor is not None
    changed = other.extractor.model_copy(update={"layer": "block15"})
    with pytest.raises(CodecError, match="comes with weights for feature maps of block10 of"):
        FeatureLearnedCodec.for_tasks([other.model_copy(update={"extractor": changed})])


# ---- the weights file


def test_the_decoders_part_decodes_the_same_and_does_not_encode(weights) -> None:
    assert isinstance(FeatureLearnedCodec, SplitCodec)
    part = decoder_part(weights)
    assert decoder_part(part) == part
    assert len(part) < len(weights)
    whole, reader = (FeatureLearnedCodec([FIXED], data) for data in (weights, part))
    (array,) = make_features(1).numpy()
    data = coded(whole, array, 70)
    assert np.array_equal(decoded(reader, data)[0], decoded(whole, data)[0])
    with pytest.raises(CodecError, match="decoder's part alone"):
        coded(reader, array, 70)


def test_decoders_of_other_encoders_are_the_same_bytes(weights) -> None:
    tensors = safetensors.numpy.load(weights)
    for name in tensors:
        if name.startswith(("analysis.", "gain.", "entropy.analysis.")):
            tensors[name] = tensors[name] + np.float16(0.125)
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])["__metadata__"]
    other = safetensors.numpy.save(dict(sorted(tensors.items())), header)
    assert other != weights
    assert decoder_part(other) == decoder_part(weights)


def test_a_changed_integer_fails_the_self_test(weights) -> None:
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])["__metadata__"]
    tensors = safetensors.numpy.load(weights)
    tensors["entropy.synthesis.scale.bias"][0] ^= 64
    with pytest.raises(SelfTestError, match="do not decode here"):
        load_network(safetensors.numpy.save(tensors, header))


def test_a_damaged_weights_file_is_refused(weights) -> None:
    for broken in (b"", weights[:7], weights[:200], weights[:-1], b"\xff" * 64):
        for read in (load_network, decoder_part):
            with pytest.raises(BitstreamError):
                read(broken)


def test_sizes_that_make_no_network_are_refused() -> None:
    facts = SPEC.to_json()
    assert FeatureSpec.from_json(facts) == SPEC
    for changed in ({"channels": 7}, {"channels": 0}, {"context_steps": 3}):
        with pytest.raises(ValueError, match="sizes"):
            FeatureSpec.from_json(facts | changed)


# ---- the start, and training


def test_the_start_spends_its_bits_where_the_tail_looks(examples, tail) -> None:
    network = untrained(SPEC, examples, tail).eval()
    quality = torch.full((len(examples),), 40.0)
    with torch.no_grad():
        rounded = network.analyse(examples.features, quality).round()
        found = network.synthesise(rounded, quality)
    error = ((found - examples.features) / network.deviation).square().mean(dim=(0, 2, 3))
    assert error[: CHANNELS // 2].mean() < error[CHANNELS // 2 :].mean()


def test_the_start_is_a_transform_and_its_inverse(examples, tail) -> None:
    network = untrained(SPEC, examples, tail)
    quality = torch.full((len(examples),), 70.0)
    with torch.no_grad():
        found = network.synthesise(network.analyse(examples.features, quality), quality)
    assert torch.allclose(found, examples.features, atol=1e-3)


def test_training_lowers_the_cost_at_every_quality(examples, tail) -> None:
    network = untrained(SPEC, examples, tail)
    before = [measure(network, examples, tail, quality) for quality in (10, 60)]
    trained = train(network, examples, tail, 150)
    after = [measure(trained, examples, tail, quality) for quality in (10, 60)]
    for old, new in zip(before, after, strict=True):
        assert new.bpp < old.bpp


def test_training_again_gives_the_same_file(examples, tail, one_thread) -> None:
    def file(seed: int) -> bytes:
        network = untrained(SPEC, examples, tail, seed)
        return save_network(train(network, examples, tail, 6, seed), LAYER, {})

    assert file(1) == file(1)
    assert file(1) != file(2)


def test_what_was_stopped_ends_as_what_was_not(
    examples, tail, tmp_path, monkeypatch, one_thread
) -> None:
    monkeypatch.setattr("dsc._training.models.feature.CHECKPOINT_EVERY", 4)
    whole = train(untrained(SPEC, examples, tail), examples, tail, 12)

    def stop(text: str) -> None:
        if text.startswith("step 8"):
            raise KeyboardInterrupt

    kept = tmp_path / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        train(untrained(SPEC, examples, tail), examples, tail, 12, checkpoint=kept, log=stop)
    again = train(untrained(SPEC, examples, tail), examples, tail, 12, checkpoint=kept)
    assert save_network(again, LAYER, {}) == save_network(whole, LAYER, {})
