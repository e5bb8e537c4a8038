"""Label maps whose regions are known."""

import numpy as np
import pytest

from dsc import _kernels
from dsc._coding.context.scan import encode_scan
from dsc._coding.context.within import as_met, decode_within, encode_within
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder
from dsc._renderer.render import render_view
from dsc.errors import BitstreamError
from tests.kernels import use_kernels

Ids = np.ndarray


@pytest.fixture(params=["compiled", "twin"])
def which(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use_kernels(request.param, monkeypatch)
    return request.param


def encoded(levels: list[Ids], labels: Ids) -> bytes:
    encoder = SymbolEncoder()
    encode_within(encoder, levels, labels)
    encoder.put_uniform(np.array([77], np.int32), 256)
    return encoder.finish()


def decoded(levels: list[Ids], data: bytes) -> Ids:
    decoder = SymbolDecoder(data)
    found = decode_within(decoder, levels)
    assert decoder.get_uniform(1, 256).tolist() == [77]
    decoder.check_end()
    return found


def pair(coarse: Ids, fine: Ids) -> Ids:
    return as_met(coarse.astype(np.uint32) * 1000 + fine)


def cases() -> dict[str, tuple[list[Ids], Ids]]:
    rng = np.random.default_rng(4)
    rows, columns = np.mgrid[:23, :41]
    coarse = as_met((rows // 9 * 5 + columns // 13).astype(np.uint16))
    ragged = pair(coarse, (rows * 7 + columns * columns // 5) % 13 < 4)
    noise = pair(coarse, rng.integers(0, 30, coarse.shape))
    one, line = np.zeros((1, 1), np.uint16), np.zeros((1, 50), np.uint16)
    many = rng.permutation(23 * 41).reshape(23, 41).astype(np.uint16)
    return {
        "ragged": ([coarse], ragged),
        "noise": ([np.zeros_like(coarse), coarse], noise),
        "same": ([coarse], as_met(coarse)),
        "three": ([coarse, ragged], pair(ragged, columns % 11 == 3)),
        "a pixel": ([one], one),
        "a row": ([line], as_met((np.arange(50)[None] // 7).astype(np.uint16))),
        "all apart": ([np.zeros_like(coarse)], as_met(many)),
        "regions of a pixel": ([many], as_met(many)),
    }


@pytest.mark.parametrize("name", sorted(cases()))
def test_maps_come_back(name: str, which: str) -> None:
    levels, labels = cases()[name]
    assert np.array_equal(decoded(levels, encoded(levels, labels)), labels)


@pytest.mark.skipif(not _kernels.built, reason="compares the kernels with their twins")
@pytest.mark.parametrize("name", sorted(cases()))
def test_twins_write_the_same(name: str) -> None:
    levels, labels = cases()[name]
    with _kernels.twins():
        other = encoded(levels, labels)
    assert encoded(levels, labels) == other


def test_known_edges_cost_nothing() -> None:
    labels = as_met(render_view(1, 128)["segment_semantic"].astype(np.uint16))
    assert len(encoded([labels], labels)) <= 12
    finer = pair(labels, (np.indices(labels.shape)[1] > 70) & (labels < 3))
    alone = SymbolEncoder()
    encode_scan(alone, finer)
    assert len(encoded([labels], finer)) < 0.5 * len(alone.finish())


def test_damage_is_an_error_or_another_map(which: str) -> None:
    levels, labels = cases()["noise"]
    data, rng = encoded(levels, labels), np.random.default_rng(2)
    for _ in range(40 if which == "compiled" else 6):
        changed = bytearray(data)
        changed[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        try:
            found = decode_within(SymbolDecoder(bytes(changed)), levels)
        except BitstreamError:
            continue
        assert found.shape == labels.shape
        regions = np.unique(found.astype(np.int64) * 4096 + levels[-1])
        assert len(regions) == len(np.unique(found))  # each label is of one region


@pytest.mark.skipif(not _kernels.built, reason="what the compiled kernel refuses")
def test_levels_of_another_size_are_refused() -> None:
    with pytest.raises(TypeError, match="another size"):
        encoded([np.zeros((3, 4), np.uint16)], np.zeros((4, 3), np.uint16))
