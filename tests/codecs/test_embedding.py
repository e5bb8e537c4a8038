"""The codec `embedding`: what a step promises, what is learnt of vectors, and odd vectors."""

import json
from dataclasses import replace

import numpy as np
import pytest

from dsc import _kernels
from dsc._codecs.embedding import steps
from dsc._codecs.embedding.codec import EmbeddingCodec
from dsc._codecs.embedding.learn import prior_of
from dsc._codecs.embedding.prior import CUMULATIVE, TOTAL, Prior
from dsc._codecs.registry import codec_from_config, make_codec
from dsc._pipeline.metrics import cosine_distance
from dsc._schemas import Bound, BoundKind, Quality, Task, TaskKind
from dsc.errors import BitstreamError, CodecError
from tests.codecs.conformance import CodecConformance
from tests.golden import make_embedding
from tests.golden.make_label import sha256

GOLDEN = make_embedding.ROOT

N = 96


def task_of(name="clip", dtype="float32", channels=N):
    return Task(name=name, kind=TaskKind.EMBEDDING, dtype=dtype, channels=channels)


CLIP, LOOKS = task_of(), task_of("looks", channels=160)


def signed(count, components=N, seed=0):
    """Return unit vectors around a mean, whose components have scales of their own: like CLIP's."""
    shape = np.random.default_rng(99)
    mean, spread = shape.normal(size=components), shape.gamma(4, 0.25, components)
    found = np.random.default_rng(seed).normal(size=(count, components)) * spread + mean
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def rectified(count, components=N, seed=0):
    """Return sparse vectors, none below 0: like what a ReLU network pools."""
    size = np.random.default_rng(98).gamma(2, 0.2, components)
    rng = np.random.default_rng(seed)
    return np.maximum(rng.gamma(0.4, 1.0, (count, components)) - 0.2, 0) * size


FORMS = {"signed": signed, "rectified": rectified}


def learnt(vectors, task=CLIP, count=100_000):
    samples = [{task.name: one.astype(task.dtype)} for one in vectors]
    return EmbeddingCodec([task]).learning(samples, count)


def code(codec, vector, quality=60, task=CLIP, **asked):
    array = np.asarray(vector).astype(task.dtype)
    [streams] = codec.encode_batch([{task.name: array}], Quality(default=quality, **asked))
    [decoded] = codec.decode_batch([streams], [task.name], 1)
    return streams[task.name], decoded[task.name]


def within(value):
    return {"max_error": {"clip": Bound(kind=BoundKind.UNITS, value=value)}}


class TestUnlearnt(CodecConformance):
    sees_every_cut = False  # what is cut off at the end may be words that decode to others

    @pytest.fixture
    def codec(self):
        return make_codec("embedding", [CLIP, LOOKS])


class TestLearnt(CodecConformance):
    sees_every_cut = False

    @pytest.fixture
    def codec(self):
        samples = [
            {"clip": a, "looks": b}
            for a, b in zip(
                signed(64).astype(np.float32), rectified(64, 160).astype(np.float32), strict=True
            )
        ]
        return make_codec("embedding", [CLIP, LOOKS]).learning(samples, 10_000)


# ---- what a quality promises


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("is_learnt", [False, True])
def test_each_quality_takes_more_bytes_than_the_last_and_loses_less(form, is_learnt):
    codec = learnt(FORMS[form](256)) if is_learnt else EmbeddingCodec([CLIP])
    vectors = FORMS[form](60, seed=1)
    sizes, losses = [], []
    for quality in range(1, 101, 9):
        coded = [code(codec, one, quality) for one in vectors]
        sizes.append(np.mean([len(data) for data, _ in coded]))
        pairs = zip(vectors, coded, strict=True)
        losses.append(np.mean([cosine_distance(one, back) for one, (_, back) in pairs]))
    assert (np.diff(sizes) > 0).all()
    assert (np.diff(losses) < 0).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("quality", [1, 60, 100])
def test_no_component_is_off_by_more_than_a_step(dtype, quality):
    task = task_of(dtype=dtype)
    codec = learnt(signed(64), task)
    centre = codec.learnt["clip"].centre()
    for vector in (*signed(20, seed=3), *(1000 * signed(20, seed=4) ** 3)):
        truth = vector.astype(dtype).astype(np.float64)
        data, decoded = code(codec, vector, quality, task)
        scale = steps.scale_of(steps.scale_number(steps.root_mean_square(truth - centre)))
        assert data[0]
        assert np.abs(decoded - truth).max() <= steps.step_of(data[0]) * scale


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("quality", [1, 20, 60, 80, 100])
def test_a_quality_says_how_much_of_a_vector_may_be_lost(form, quality):
    codec = learnt(FORMS[form](256))
    centre, shares = codec.learnt["clip"].centre(), []
    for vector in FORMS[form](50, seed=2).astype(np.float32):
        _, decoded = code(codec, vector, quality)
        error = np.sum((decoded.astype(float) - vector) ** 2)
        shares.append(error / np.sum((vector - centre) ** 2) / steps.lost_at(quality))
    assert max(shares) <= 1 + 1e-6
    assert np.mean(shares) > 0.7  # and hardly less is lost


def test_steps_fall_by_an_eighth_of_an_octave():
    for level in range(steps.COARSEST, steps.FINEST + 1):
        assert steps.step_of(level) == pytest.approx(2 ** (3 - level / 8), rel=1e-15)
        table = steps.table_step(level) / steps.ONE / 2.0 ** steps.low_bits(level)
        assert table == pytest.approx(steps.step_of(level), rel=0.005)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("bound", [1e-12, 1e-6, 1e-4, 0.003, 0.1, 100.0])
def test_a_bound_is_kept_by_every_component(dtype, bound):
    task = task_of(dtype=dtype)
    codec = learnt(rectified(64), task)
    for vector in rectified(20, seed=5):
        truth = vector.astype(dtype).astype(np.float64)
        _, decoded = code(codec, vector, task=task, **within(bound))
        assert np.abs(decoded.astype(np.float64) - truth).max() <= bound


def test_a_finer_bound_takes_more_bytes_and_is_hardly_finer_than_asked():
    codec, vector = learnt(signed(64)), signed(1, seed=6)[0]
    sizes = []
    for bound in (0.1, 0.01, 1e-3, 1e-4, 1e-5):
        data, decoded = code(codec, vector, **within(bound))
        sizes.append(len(data))
        assert np.abs(decoded - vector.astype(np.float32)).max() > 0.35 * bound
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == len(sizes)


def test_the_length_of_a_vector_changes_no_byte_but_that_of_its_scale():
    codec, vector = EmbeddingCodec([CLIP]), signed(1)[0]
    sizes = {len(code(codec, vector * 2.0**power)[0]) for power in range(-60, 61, 10)}
    assert max(sizes) - min(sizes) <= 1


# ---- what is learnt


@pytest.mark.parametrize("form", FORMS)
def test_what_is_learnt_saves_more_than_its_file(form):
    count, tested = 2000, FORMS[form](100, seed=7)
    codec = learnt(FORMS[form](256), count=count)
    sizes = [
        np.mean([len(code(one, vector)[0]) for vector in tested])
        for one in (codec, EmbeddingCodec([CLIP]))
    ]
    assert count * sizes[0] + len(codec.weights()) < count * sizes[1]


@pytest.mark.parametrize(("vectors", "count"), [(4, 100_000), (64, 30)])
def test_of_few_vectors_nothing_is_learnt(vectors, count):
    assert learnt(rectified(vectors), count=count).weights() is None


def kinds_of_vectors(count, seed=0):
    """Return vectors of four kinds, each of which has large components of its own."""
    large = np.random.default_rng(97).random((4, N)) < 0.2
    rng = np.random.default_rng(seed)
    sizes = np.where(large[rng.integers(0, 4, count)], 1.0, 0.1)
    return rng.gamma(1.5, 1.0, (count, N)) * sizes


def test_vectors_of_several_kinds_have_modes_that_save_bytes():
    codec, tested = learnt(kinds_of_vectors(512)), kinds_of_vectors(100, seed=9)
    prior = codec.learnt["clip"]
    assert len(prior.modes) == len(prior.classes) >= 4
    alone = prior_of(kinds_of_vectors(512), 100_000, 16, 1)
    sizes = [
        np.mean([len(code(EmbeddingCodec([CLIP], {"clip": one}), v, 75)[0]) for v in tested])
        for one in (prior, alone)
    ]
    assert sizes[0] < 0.95 * sizes[1]
    for vector in tested[:10]:
        assert cosine_distance(vector, code(codec, vector, 100)[1]) < 1e-3


def test_equal_vectors_teach_equal_bytes():
    assert learnt(signed(64)).weights() == learnt(signed(64)).weights()


@pytest.mark.parametrize(
    "vectors",
    [
        np.zeros((64, N)),
        np.full((64, N), 3.0),
        np.full((64, N), np.nan),
        np.full((64, N), 1e300),
        np.eye(N)[:64] * 1e-320,
        np.where(np.arange(64)[:, None] < 8, np.inf, signed(64)),
    ],
    ids=["zero", "constant", "nan", "huge", "subnormal", "some infinite"],
)
def test_odd_vectors_teach_nothing_that_harms(vectors):
    task = task_of(dtype="float64")
    codec = learnt(vectors, task)
    for vector in (signed(1)[0], *vectors[np.isfinite(vectors).all(1)][-2:]):
        _, decoded = code(codec, vector, 100, task)
        assert np.allclose(decoded, vector, rtol=0, atol=0.2 * np.abs(vector).max())


@pytest.mark.parametrize("level", [1, 16, 24, 55, 56, 63, 183])
def test_tables_hold_all_chances(level):
    for prior in (Prior.unlearnt(), learnt(signed(64)).learnt["clip"]):
        tables = prior.tables(level)
        ends = np.add.reduceat(tables.frequencies.astype(np.int64), tables.offsets[:-1])
        assert (ends == TOTAL).all()
        assert tables.frequencies.min() > 0


def test_tables_give_the_chances_of_the_quantiles():
    row = np.arange(len(CUMULATIVE), dtype=np.int16)[None] * 100 - 2500
    for level, middle in ((14, 0.6), (24, 0.55), (40, 0.5)):
        tables = Prior(row).tables(level)
        symbols = np.arange(tables.lows[0], tables.lows[0] + len(tables.frequencies))
        edges = np.where(symbols == 0, -middle, np.where(symbols == 1, middle, symbols - 0.5))
        places = edges * steps.step_of(level)
        wanted = np.diff(np.interp(places, row[0] / 128, CUMULATIVE / CUMULATIVE[-1]))
        assert np.allclose(tables.frequencies[:-1] / TOTAL, wanted, atol=3e-3)


# ---- odd vectors


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_an_all_zero_vector_comes_back(dtype):
    task = task_of(dtype=dtype)
    for codec in (EmbeddingCodec([task]), learnt(signed(64), task)):
        data, decoded = code(codec, np.zeros(N), task=task)
        assert len(data) == 1
        assert not decoded.any()
        assert decoded.dtype == dtype


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_component_that_is_not_finite_is_refused_by_its_place(value):
    vector = signed(1)[0]
    vector[17] = value
    with pytest.raises(CodecError, match=rf"clip.*component 17 is {value}.*--kinds clip=vector"):
        code(EmbeddingCodec([CLIP]), vector)


@pytest.mark.parametrize("value", [1e30, -3e38, 1e-42, 5e-45])
@pytest.mark.parametrize("quality", [1, 60, 100])
def test_one_far_component_is_within_a_step_and_so_are_the_others(value, quality):
    for codec in (EmbeddingCodec([CLIP]), learnt(signed(64))):
        vector = signed(1)[0].astype(np.float32)
        vector[5] = value
        data, decoded = code(codec, vector, quality)
        rms = steps.root_mean_square(vector.astype(np.float64) - codec._prior(CLIP).centre())
        scale = steps.scale_of(steps.scale_number(rms))
        error = np.abs(decoded.astype(np.float64) - vector).max()
        assert error <= steps.step_of(data[0]) * scale


def test_a_half_float_near_its_limit_does_not_overflow():
    task = task_of(dtype="float16")
    vector = np.full(N, 65504.0)
    vector[::2] = -65504.0
    _, decoded = code(EmbeddingCodec([task]), vector, 1, task)
    assert np.isfinite(decoded).all()


@pytest.mark.parametrize("components", [1, 2, 65536])
def test_short_and_long_vectors_come_back(components):
    task = task_of(channels=components)
    vectors = signed(40 if components < 9 else 18, components)
    for codec in (EmbeddingCodec([task]), learnt(vectors, task)):
        _, decoded = code(codec, vectors[0], 100, task)
        assert np.abs(decoded - vectors[0]).max() < 0.1 * np.abs(vectors[0]).max()


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(CodecError, match=r"clip: shape \(95,\), expected \(96,\)"):
        code(EmbeddingCodec([CLIP]), signed(1, 95)[0])


@pytest.mark.parametrize("kind", ["vector", "scalar", "image"])
def test_what_is_no_embedding_is_refused(kind):
    channels = {"vector": 8, "scalar": 0, "image": 3}[kind]
    dtype = "uint8" if kind == "image" else "float32"
    with pytest.raises(CodecError, match="embedding"):
        make_codec("embedding", [Task(name="x", kind=kind, dtype=dtype, channels=channels)])


# ---- bitstreams


def test_the_twin_in_python_reads_and_writes_the_same(monkeypatch):
    codec = learnt(rectified(64))
    vectors = rectified(5, seed=8)
    found = [code(codec, one, quality) for one in vectors for quality in (1, 60, 100)]
    monkeypatch.setattr(_kernels, "in_use", lambda: False)
    again = [code(codec, one, quality) for one in vectors for quality in (1, 60, 100)]
    for (data, decoded), (other, back) in zip(found, again, strict=True):
        assert data == other
        assert decoded.tobytes() == back.tobytes()


@pytest.mark.parametrize(
    "data", [b"\x00ab", b"\x3c\x00", b"\x3c" + b"\xff" * 400, b"\xff" + b"\x07" * 99]
)
def test_damage_is_a_bitstream_error(data):
    with pytest.raises(BitstreamError):
        EmbeddingCodec([CLIP]).decode_batch([{"clip": data}], ["clip"], 1)


def test_a_damaged_weights_file_is_refused():
    codec = learnt(signed(64))
    data, config = codec.weights(), codec.config()
    prior = codec.learnt["clip"]
    turned = EmbeddingCodec([CLIP], {"clip": replace(prior, knots=prior.knots[:, ::-1])})
    for broken in (b"", data[:100], data.replace(b"knots", b"knotz"), turned.weights()):
        with pytest.raises(CodecError, match="weights file"):
            codec_from_config("embedding", config, broken)
    other = [task_of(channels=N + 1).model_dump(mode="json")]
    with pytest.raises(CodecError, match="weights file"):
        codec_from_config("embedding", {"tasks": other}, data)


# ---- what is written decodes for ever


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.json")))
def test_golden_bitstreams_decode_to_the_same_floats(name):
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    file = expected["weights"]
    weights = None if file is None else (GOLDEN / f"{file}.safetensors").read_bytes()
    codec = codec_from_config("embedding", expected["config"], weights)
    payload = (GOLDEN / f"{name}.bin").read_bytes()
    [decoded] = codec.decode_batch([{"clip": payload}], ["clip"], 1)
    assert sha256(decoded["clip"]) == expected["sha256"]
    _, vector, quality = make_embedding.cases()[name]
    [streams] = codec.encode_batch([{"clip": vector.astype(np.float32)}], quality)
    assert streams["clip"] == payload


def test_each_golden_case_is_there():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(make_embedding.cases())
