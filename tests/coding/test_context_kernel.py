"""The compiled walk of label maps and its twin write the same bytes and read the same maps."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc import _kernels
from dsc._codecs.label.palette import index_labels, name_labels
from dsc._coding.context.coder import decode_labels, encode_labels
from dsc._coding.context.escapes import MAX_LABELS
from dsc._coding.context.lattice import LEVELS, PHASES
from dsc._coding.context.neighbours import FEATURES
from dsc._coding.context.network import ONE, LabelModel, Layer, compiled_model
from dsc._coding.context.weights import shipped_model
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder
from dsc.errors import BitstreamError
from tests.kernels import use_kernels

pytestmark = pytest.mark.skipif(not _kernels.built, reason="the compiled kernels were not built")


def encode(which: str, labels: np.ndarray, model: LabelModel | None = None) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        use_kernels(which, patch)
        encoder = SymbolEncoder()
        encode_labels(encoder, model or shipped_model(), labels)
        return encoder.finish()


def decode(
    which: str, data: bytes, size: tuple[int, int], model: LabelModel | None = None
) -> np.ndarray | str:
    """Return a map and whether its stream ends with it, or the error."""
    with pytest.MonkeyPatch.context() as patch:
        use_kernels(which, patch)
        try:
            decoder = SymbolDecoder(data)
            labels = decode_labels(decoder, model or shipped_model(), *size)
        except BitstreamError as error:
            return str(error)
        return np.append(labels.ravel(), decoder.state.any())


def some_map(seed: int, height: int, width: int, count: int, kind: str) -> np.ndarray:
    """Make a map of at most `count` labels, numbered in the order of coding."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    if kind == "regions":
        centres = rng.random((count, 2)) * [height, width]
        far = (y[..., None] - centres[:, 0]) ** 2 + (x[..., None] - centres[:, 1]) ** 2
        labels = far.argmin(axis=-1)
    elif kind == "ragged":
        field = rng.normal(size=(height, width)).cumsum(0).cumsum(1)
        labels = np.digitize(field, np.quantile(field, np.linspace(0, 1, count + 1)[1:-1]))
    elif kind == "stripes":
        labels = (x * int(rng.integers(1, 4)) + y * int(rng.integers(0, 4))) // 5 % count
    else:
        labels = rng.integers(0, count, (height, width))
    return index_labels(labels.astype(np.uint16))[0]


KINDS = st.sampled_from(["regions", "ragged", "stripes", "noise"])
SIDES = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 110, 119, 128, 135]))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), SIDES, SIDES, st.integers(1, 300), KINDS)
def test_both_write_the_same_bytes_and_read_the_same_map(
    seed: int, height: int, width: int, count: int, kind: str
) -> None:
    labels = some_map(seed, height, width, count, kind)
    data = encode("twin", labels)
    assert encode("compiled", labels) == data
    for which in ("compiled", "twin"):
        found = decode(which, data, labels.shape)
        assert np.array_equal(found, np.append(labels.ravel(), False))


@pytest.mark.parametrize("size", [(480, 640), (1, 5000), (3000, 2), (480, 641)])
def test_both_agree_on_maps_of_usual_sizes_and_long_ones(size: tuple[int, int]) -> None:
    labels = some_map(1, *size, 40, "ragged")
    data = encode("twin", labels)
    assert encode("compiled", labels) == data
    assert np.array_equal(decode("compiled", data, size), np.append(labels.ravel(), False))


def test_both_agree_on_more_labels_than_a_table_has_buckets() -> None:
    labels = index_labels(np.random.default_rng(0).permutation(90 * 95).reshape(90, 95))[0]
    data = encode("twin", labels)
    assert encode("compiled", labels) == data
    assert np.array_equal(decode("compiled", data, (90, 95)), np.append(labels.ravel(), False))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 40), KINDS)
def test_both_read_damage_alike(seed: int, height: int, width: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(encode("compiled", some_map(seed, height, width, 9, kind)))
    if rng.random() < 0.3 or not data:
        data = bytearray(rng.bytes(4 * int(rng.integers(1, 30))))
    for _ in range(int(rng.integers(1, 4))):
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    if rng.random() < 0.2:
        data = data[4 * int(rng.integers(len(data) // 4)) :]
    compiled, twin = (decode(which, bytes(data), (height, width)) for which in ("compiled", "twin"))
    assert np.array_equal(compiled, twin)


def scarce(tables, entries: int):
    """Return tables of another number of entries, each with the same frequency."""
    count = len(tables)
    parts = np.full(count * entries, (1 << 16) // entries, np.uint32)
    parts[::entries] += np.uint32((1 << 16) % entries)
    offsets = np.arange(count + 1, dtype=np.int64) * entries
    return replace(tables, frequencies=parts, offsets=offsets)


@pytest.mark.parametrize("entries", [2, 3, 5])
def test_both_agree_where_decisions_escape_their_tables(entries: int) -> None:
    """No model that is trained has such tables; a file may."""
    shipped = shipped_model()
    model = LabelModel(
        shipped.networks,
        scarce(shipped.calm, entries),
        tuple(scarce(tables, entries) for tables in shipped.decisions),
        scarce(shipped.escapes, entries),
    )
    labels = some_map(5, 37, 51, 12, "regions")
    data = encode("twin", labels, model)
    assert encode("compiled", labels, model) == data
    found = decode("compiled", data, labels.shape, model)
    assert np.array_equal(found, np.append(labels.ravel(), False))
    rng = np.random.default_rng(entries)
    for _ in range(60):
        damaged = rng.bytes(4 * int(rng.integers(1, 300)))
        assert np.array_equal(
            decode("compiled", damaged, (21, 22), model), decode("twin", damaged, (21, 22), model)
        )


@pytest.mark.parametrize("sizes", [(3,), (7, 3), (96, 32, 3), (41, 970, 13, 3)])
def test_any_network_gives_the_same_tables(
    sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(len(sizes))
    networks = []
    for _ in PHASES:
        inputs, layers = FEATURES, []
        for k, outputs in enumerate(sizes):
            weight = rng.integers(-127, 128, (outputs, inputs)).astype(np.int8)
            weight[:, ::3] = np.where(rng.random() < 0.3, 127, -127)  # extremes, too
            reach = int(rng.choice([100, 20_000, 1 << 20]))
            bias = rng.integers(-reach, reach, (LEVELS if k == 0 else 1, outputs), np.int32)
            layers.append(Layer(weight, bias, ONE if k == 0 else 1, k < len(sizes) - 1))
            inputs = outputs
        networks.append(tuple(layers))
    model = replace(shipped_model(), networks=tuple(networks))
    features = (rng.random((FEATURES, 200)) < rng.random(200)).astype(np.float32)
    for phase in range(len(PHASES)):
        for level in range(LEVELS):
            use_kernels("twin", monkeypatch)
            wanted = model.logits(phase, level, features)
            use_kernels("compiled", monkeypatch)
            assert np.array_equal(model.logits(phase, level, features), wanted)


# ---- what a kernel is not given


def test_arrays_of_another_kind_are_refused() -> None:
    model, words = compiled_model(shipped_model()), np.ones(2, np.uint32)
    state, labels = np.array([1, 1], np.uint64), np.zeros((4, 4), np.uint16)
    decode = _kernels.compiled.label_decode
    wrong = [
        (words.astype(np.int32), state, labels),
        (words[:, None], state, labels),
        (words, state[:1], labels),
        (words, np.array([1, 3], np.uint64), labels),  # more words left than there are
        (words, state, labels.astype(np.uint8)),
        (words, state, labels.T[::2]),
        (words, state, labels[:0]),
        (words, state.astype(np.float64), labels),
    ]
    for arrays in wrong:
        with pytest.raises((TypeError, BufferError, ValueError)):
            decode(model, *arrays)
    labels.flags.writeable = False
    with pytest.raises((BufferError, ValueError)):
        decode(model, words, state, labels)
    with pytest.raises(ValueError, match="Capsule"):
        decode(object(), words, state, np.zeros((4, 4), np.uint16))  # type: ignore[arg-type]


def test_labels_in_another_order_are_refused() -> None:
    labels = np.zeros((8, 8), np.uint16)
    labels[5, 5] = 2
    for wrong in (labels, labels + 1):
        with pytest.raises(ValueError, match="not numbered in the order"):
            _kernels.compiled.label_encode(compiled_model(shipped_model()), wrong)


def test_models_that_do_not_fit_together_are_refused() -> None:
    shipped = shipped_model()
    first = shipped.networks[0][0]
    short = replace(first, weight=first.weight[:, :-1].copy())
    flat = replace(shipped.calm, frequencies=shipped.calm.frequencies[:-3])
    for model in (
        replace(shipped, networks=shipped.networks[:-1]),
        replace(shipped, networks=((short,), *shipped.networks[1:])),
        replace(shipped, networks=((first,), *shipped.networks[1:])),
        replace(shipped, calm=shipped.escapes),
        replace(shipped, decisions=shipped.decisions[:2]),
        replace(shipped, calm=replace(flat, offsets=shipped.calm.offsets[:-1])),
    ):
        with pytest.raises(TypeError, match=r"do not fit|expected"):
            compiled_model(model)


# ---- numbers and names of labels


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    SIDES,
    SIDES,
    st.sampled_from(["uint8", "int16", "int32", "uint64", "int64"]),
    st.sampled_from([1, 3, 8]),
)
def test_both_number_labels_alike_and_name_them_again(
    seed: int, height: int, width: int, dtype: str, channels: int
) -> None:
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    names = rng.integers(limits.min, limits.max, (40, channels), dtype=dtype, endpoint=True)
    array = names[np.sort(rng.integers(0, 40, (height, width)), axis=1)]
    array = array if channels > 1 else array[..., 0]
    found = []
    for which in ("compiled", "twin"):
        with pytest.MonkeyPatch.context() as patch:
            use_kernels(which, patch)
            ids, palette = index_labels(array)
            assert np.array_equal(name_labels(ids, palette, array.dtype, channels), array)
            found.append((ids, palette))
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_both_say_when_there_are_too_many_labels(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = np.arange(MAX_LABELS + 1).astype(dtype)
    for which in ("compiled", "twin"):
        use_kernels(which, monkeypatch)
        assert index_labels(most[None, :-1])[1].shape == (1, MAX_LABELS)
        with pytest.raises(ValueError, match="different labels"):
            index_labels(most[None])


def test_a_number_without_a_name_is_an_error() -> None:
    names, named = np.zeros((3, 2), np.uint8), np.zeros((4, 2), np.uint8)
    with pytest.raises(IndexError, match="no name"):
        _kernels.compiled.label_name(np.array([0, 1, 2, 3], np.uint16), names, named)
    with pytest.raises(TypeError, match="expected"):
        _kernels.compiled.label_name(np.array([0, 1, 2], np.uint16), names, named)
