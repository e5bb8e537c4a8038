"""The parts of `label-context`: order, contexts, escapes, palette, networks, model file."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._codecs.label.palette import get_palette, index_labels, name_labels, put_palette
from dsc._coding.context import escapes
from dsc._coding.context.coder import CALM_TABLES, Reader, calm_index, walk
from dsc._coding.context.lattice import (
    CELL,
    KNOWN,
    LEVELS,
    MARGIN,
    NEIGHBOURS,
    PHASES,
    Grid,
    meeting_order,
    offsets_of,
    pixels_of,
    steps_of,
)
from dsc._coding.context.neighbours import CALM, FEATURES, NO_LABEL, RADII, calmness, contexts
from dsc._coding.context.network import HIGHEST, LOGIT_LEVELS, Layer, logit_index
from dsc._coding.context.weights import load_model, save_model, shipped_file
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder
from dsc._training.models.label_context import train
from dsc.errors import BitstreamError, SelfTestError
from tests.codecs.test_label_codec import INTEGERS

# ---- order


def test_the_phases_and_what_is_known_make_up_a_cell():
    places = [*KNOWN, *(place for phase in PHASES for place in phase)]
    assert sorted(places) == [(y, x) for y in range(CELL) for x in range(CELL)]


def test_a_context_uses_nothing_that_is_coded_later():
    known = set(KNOWN)
    for number, phase in enumerate(PHASES):
        offsets = offsets_of(number)
        assert len(set(offsets)) == NEIGHBOURS
        assert max(abs(part) for place in offsets for part in place) < MARGIN
        for y, x in phase:
            assert all(((y + down) % CELL, (x + right) % CELL) in known for down, right in offsets)
        known |= set(phase)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (16, 16), (17, 5), (40, 33)])
def test_every_pixel_is_coded_once(size):
    coded = np.zeros(size, int)
    coded[0, 0] = 1
    for step in steps_of(*size):
        level = coded[::step, ::step]
        for phase in PHASES:
            for y, x in phase:
                level[y::CELL, x::CELL] += 1
    assert (coded == 1).all()


def test_places_and_values_of_a_phase_are_in_one_order():
    values = np.arange(13 * 21, dtype=np.uint16).reshape(13, 21)
    grid = Grid(13, 21, np.pad(values, MARGIN))
    for phase in range(len(PHASES)):
        assert np.array_equal(grid.padded.ravel()[grid.places(phase)], pixels_of(phase, values))


def test_labels_are_numbered_as_they_are_met():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 30, (20, 27))
    values, dense = np.unique(labels, return_inverse=True)
    order = meeting_order(dense.reshape(labels.shape), len(values))
    assert sorted(order.tolist()) == list(range(len(values)))
    ids, palette = index_labels(labels.astype(np.uint8))
    assert np.array_equal(palette, values[order][None])
    assert np.array_equal(palette[0][ids], labels)
    assert ids[0, 0] == 0


# ---- contexts


def test_calmness_is_the_distance_to_the_nearest_boundary():
    labels = np.zeros((40, 60), np.uint16)
    labels[:, 30:] = 1
    grid = Grid(40, 60, np.pad(labels, MARGIN, mode="edge"))
    for phase, (first, second, third) in enumerate(RADII):
        row = calmness(grid, phase)[20].tolist()
        wanted = [CALM] * (30 - third) + [2] * (third - second) + [1] * (second - first)
        assert row[:30] == wanted + [0] * first
        assert row[30:] == row[:30][::-1]


def test_contexts_do_not_change_when_labels_are_renamed():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, (24, 24)).astype(np.uint16)
    names = np.array([900, 3, 77, 12], np.uint16)
    found = []
    for array in (labels, names[labels]):
        grid = Grid(24, 24, np.pad(array, MARGIN, mode="edge"))
        found.append(contexts(grid, grid.places(5), offsets_of(5)))
    a, b = found
    assert a.features.shape[0] == FEATURES
    assert np.array_equal(a.features, b.features)
    there = a.candidates != NO_LABEL
    assert np.array_equal(there, b.candidates != NO_LABEL)
    assert np.array_equal(names[a.candidates[there]], b.candidates[there])


def test_candidates_are_the_first_three_labels_nearest_first():
    labels = np.random.default_rng(2).integers(0, 5, (24, 24)).astype(np.uint16)
    labels[:12] = 1
    grid = Grid(24, 24, np.pad(labels, MARGIN, mode="edge"))
    for phase in range(len(PHASES)):
        places = grid.places(phase)
        found = contexts(grid, places, offsets_of(phase))
        stride = grid.padded.shape[1]
        for k, place in enumerate(places.tolist()):
            around = [grid.padded.ravel()[place + y * stride + x] for y, x in offsets_of(phase)]
            distinct = list(dict.fromkeys(int(label) for label in around))[:3]
            wanted = distinct + [NO_LABEL] * (3 - len(distinct))
            assert found.candidates[:, k].tolist() == wanted


# ---- escapes


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 40))
def test_any_escapes_come_back(seed, n_known, count):
    rng = np.random.default_rng(seed)
    inner = rng.integers(0, n_known, (9, 11)).astype(np.uint16)
    candidates = np.full((3, count), NO_LABEL, np.uint16)
    labels = np.empty(count, np.int64)
    n_met = n_known
    for k in range(count):
        near = rng.permutation(n_known)[: rng.integers(0, min(3, n_known) + 1)]
        candidates[: len(near), k] = near
        offered = [x for x in range(n_met + 1) if x not in near]
        labels[k] = offered[rng.integers(len(offered))]
        n_met = max(n_met, int(labels[k]) + 1)
    ranking = escapes.Ranking(inner, n_known, candidates)
    symbols = ranking.symbols(labels)
    assert symbols.min() >= 0
    assert symbols.max() <= n_met
    assert np.array_equal(ranking.labels(symbols), labels)


def test_an_escape_that_names_no_label_is_reported():
    candidates = np.full((3, 1), NO_LABEL, np.uint16)
    ranking = escapes.Ranking(np.zeros((4, 4), np.uint16), 2, candidates)
    for wrong in (-1, 3, 1 << 19):
        with pytest.raises(BitstreamError, match="names no label"):
            ranking.labels(np.array([wrong], np.int32))


def test_table_numbers_are_all_used_and_no_others():
    numbers = {escapes.table_index(level, n) for level in range(LEVELS) for n in range(1, 100)}
    assert numbers == set(range(escapes.TABLES))
    calm = {
        int(calm_index(phase, level, np.array([c], np.uint8))[0])
        for phase in range(len(PHASES))
        for level in range(LEVELS)
        for c in range(1, CALM + 1)
    }
    assert calm == set(range(CALM_TABLES))


# ---- palette


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_any_palette_comes_back(dtype, channels):
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    names = rng.integers(limits.min, limits.max, (20, channels), dtype=dtype, endpoint=True)
    names[0], names[1] = limits.min, limits.max
    array = names[rng.integers(0, 20, (12, 15))]
    array = array if channels > 1 else array[..., 0]
    ids, palette = index_labels(array)
    encoder = SymbolEncoder()
    put_palette(encoder, palette, array.dtype, channels)
    decoder = SymbolDecoder(encoder.finish())
    again = get_palette(decoder, palette.shape[1], array.dtype, channels)
    decoder.check_end()
    named = name_labels(ids, again, array.dtype, channels)
    assert named.dtype == array.dtype
    assert np.array_equal(named, array)


def test_a_negative_label_is_next_to_zero():
    array = np.array([[-1, 0, 1, 2]], np.int32)
    encoder = SymbolEncoder()
    put_palette(encoder, index_labels(array)[1], array.dtype, 1)
    assert len(encoder.finish()) <= 12  # 16 were it all of 32 bits


def test_a_label_beyond_the_dtype_is_reported():
    encoder = SymbolEncoder()
    encoder.put_uniform(np.array([8], np.int32), 65)
    encoder.put_uniform(np.array([250], np.int32), 1 << 8)
    encoder.put_uniform(np.array([0, 9], np.int32), 1 << 8)
    decoder = SymbolDecoder(encoder.finish())
    with pytest.raises(BitstreamError, match="beyond what uint8 holds"):
        get_palette(decoder, 2, np.dtype(np.uint8), 1)


# ---- networks and model file


def test_a_layer_computes_its_integers_exactly_in_any_order():
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (32, 96)).astype(np.int8)
    bias = rng.integers(-(1 << 18), 1 << 18, (6, 32)).astype(np.int32)
    x = rng.integers(0, 128, (96, 500)).astype(np.float32)
    layer = Layer(weight, bias, 1, rectified=True)
    for level in range(LEVELS):
        sums = weight.astype(np.int64) @ x.astype(np.int64) + bias[level][:, None]
        wanted = np.clip((sums + 16) >> 5, 0, HIGHEST)
        assert np.array_equal(layer(x, level), wanted)
        order = rng.permutation(96)
        shuffled = Layer(weight[:, order], bias, 1, rectified=True)
        assert np.array_equal(shuffled(x[order], level), wanted)


def test_every_logit_has_a_table():
    logits = np.arange(-HIGHEST, HIGHEST + 1, dtype=np.float32)
    index = logit_index(logits)
    assert set(index.tolist()) == set(range(LOGIT_LEVELS))
    assert (np.diff(index.astype(int)) >= 0).all()


def test_the_shipped_model_survives_being_saved():
    model = load_model(shipped_file())
    again = load_model(save_model(model, {}))
    assert np.array_equal(again.calm.frequencies, model.calm.frequencies)
    assert len(shipped_file()) < 1 << 19


def test_a_changed_weight_or_table_fails_the_self_test():
    weights = bytearray(shipped_file())
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    start = header["phase3.0.weight"]["data_offsets"][0] + 8 + length
    weights[start] ^= 1
    with pytest.raises(SelfTestError, match="do not decode here"):
        load_model(bytes(weights))


def test_a_yes_or_no_that_is_neither_is_reported():
    class Lying(Reader):
        def code(self, symbols, index, tables):
            return np.full(index.shape, 2, np.int32)

    with pytest.raises(BitstreamError, match="neither yes nor no"):
        walk(Lying(SymbolDecoder(b"")), load_model(shipped_file()), (8, 8), None)


def test_training_learns_and_its_model_decodes():
    y, x = np.mgrid[:64, :64]
    maps = [
        index_labels((((y * a + x * b) // 40) % 7).astype(np.uint8))[0]
        for a, b in ((1, 2), (2, 1), (3, 1), (1, 0))
    ]
    costs: list[str] = []
    first = train(maps, 1, seed=1, log=costs.append)
    later = train(maps, 40, seed=1, log=costs.append)
    again = train(maps, 40, seed=1)
    assert (save_model(later, {}) == save_model(again, {})) is True  # no diff of 100 kB
    assert (save_model(first, {}) == save_model(later, {})) is False
    loaded = load_model(save_model(later, {"made": "in a test"}))
    assert np.array_equal(loaded.networks[0][0].weight, later.networks[0][0].weight)
