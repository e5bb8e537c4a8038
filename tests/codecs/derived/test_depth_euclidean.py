"""The rules `depth_euclidean` and `depth_zbuffer`: one depth of the other."""

import hashlib

import numpy as np
import pytest

from dsc._codecs.base import Array
from dsc._codecs.derived.camera import MOST_VIEW, RADIAN, squares, tangent_squared, view_of, widest
from dsc._codecs.derived.depth_euclidean import DepthEuclidean, DepthZbuffer
from dsc._codecs.derived.evidence import share_within
from dsc._codecs.derived.rule import Rule
from dsc._schemas import Task
from dsc.errors import BitstreamError, CodecError
from tests.codecs.derived.laws import DEPTH, EUCLIDEAN, HOLE, SIZES, euclidean, made_up_view

VIEWS = (0.55, 1.0, 1.18, 1.9)
GOLDEN = {
    (1, 1): "374708fff7719dd5",
    (48, 64): "d4e7741a1c33abae",
    (333, 517): "d971033bd6baa709",
}


def sample(
    seed: int = 0, shape: tuple[int, int] = (60, 80), view_rad: float = 1.1, ratio: float = 1.0
) -> dict[str, Array]:
    depth = made_up_view(shape, seed, view_rad)["depth_zbuffer"]
    return {"depth_zbuffer": depth, "depth_euclidean": euclidean(depth, view_rad, ratio)}


def view_rad(own: tuple[int, ...]) -> float:
    return (own[0] + own[1] / 65536) / 16384


def found(samples: list[dict[str, Array]], child: Task = EUCLIDEAN) -> DepthEuclidean:
    rule = DepthEuclidean.find(child, [DEPTH], samples)
    assert rule is not None
    return rule


def test_tangents_are_those_of_a_mathematical_library() -> None:
    for view in (0, 1, 77 << 16, RADIAN, 5 * RADIAN // 2, MOST_VIEW):
        wanted = np.tan(view / RADIAN / 2) ** 2
        assert tangent_squared(view) / 2**64 == pytest.approx(wanted, rel=1e-9, abs=1e-18)
    for view in (0, 1 << 20, RADIAN, MOST_VIEW):
        assert tangent_squared(view_of(tangent_squared(view))) == tangent_squared(view)
    assert view_of(1 << 90) == MOST_VIEW


@pytest.mark.parametrize("shape", [size for size in SIZES if min(size) > 2])
@pytest.mark.parametrize("view_rad", VIEWS)
def test_both_ways_are_within_a_count(shape: tuple[int, int], view_rad: float) -> None:
    samples = [sample(seed, shape, view_rad) for seed in range(2)]
    for kind, child, parent in (
        (DepthEuclidean, EUCLIDEAN, DEPTH),
        (DepthZbuffer, DEPTH, EUCLIDEAN),
    ):
        rule = kind.find(child, [parent], samples)
        assert isinstance(rule, Rule)
        again = kind.from_params(child, [parent], rule.params())
        for maps in samples:
            own = rule.fit(maps[child.name], maps)
            derived = again.derive(maps, own)
            assert derived.dtype == np.uint16
            assert share_within(derived, maps[child.name], 1) >= 0.999


def test_each_sample_has_a_field_of_view_of_its_own() -> None:
    samples = [sample(k, (256, 256), view) for k, view in enumerate(VIEWS)]
    rule = found(samples)
    for maps, view in zip(samples, VIEWS, strict=True):
        own = rule.fit(maps["depth_euclidean"], maps)
        assert view_rad(own) == pytest.approx(view, abs=1e-5)
        assert share_within(rule.derive(maps, own), maps["depth_euclidean"], 0) > 0.999


@pytest.mark.parametrize("ratio", [0.512, 2.0, 4.0])
def test_units_may_differ(ratio: float) -> None:
    other = EUCLIDEAN.model_copy(update={"unit_m": 1 / 512 / ratio, "invalid": (0,)})
    samples = [sample(0, ratio=ratio)]
    samples[0]["depth_euclidean"][samples[0]["depth_zbuffer"] == HOLE] = 0
    rule = found(samples, other)
    assert rule.params()["nothing"] == 0
    own = rule.fit(samples[0]["depth_euclidean"], samples[0])
    derived = rule.derive(samples[0], own)
    assert share_within(derived, samples[0]["depth_euclidean"], 1) >= 0.999


def test_a_unit_that_is_claimed_but_not_so_is_not_believed() -> None:
    liar = EUCLIDEAN.model_copy(update={"unit_m": 1 / 4096})
    assert found([sample()], liar).params()["scale"] == 1 << 24


def test_most_of_a_map_may_be_holes() -> None:
    maps = sample(0, (200, 200))
    gone = np.random.default_rng(0).random((200, 200)) < 0.9
    for array in maps.values():
        array[gone] = HOLE
    rule = found([maps])
    assert view_rad(rule.fit(maps["depth_euclidean"], maps)) == pytest.approx(1.1, abs=1e-4)


def test_what_does_not_follow_is_not_found() -> None:
    follows, lies = sample(0), sample(1)
    lies["depth_euclidean"] = sample(2)["depth_euclidean"]
    assert DepthEuclidean.find(EUCLIDEAN, [DEPTH], [lies]) is None
    assert DepthEuclidean.find(EUCLIDEAN, [DEPTH], [follows, lies]) is None
    assert DepthZbuffer.find(DEPTH, [EUCLIDEAN], [follows, lies]) is None


@pytest.mark.parametrize("value", [900, HOLE])
def test_constant_maps_are_no_evidence(value: int) -> None:
    maps = {
        name: np.full((9, 9), value, np.uint16) for name in ("depth_zbuffer", "depth_euclidean")
    }
    assert DepthEuclidean.find(EUCLIDEAN, [DEPTH], [maps]) is None
    assert found([maps, sample()])


def test_maps_of_other_sizes_and_samples_without_them_are_passed_over() -> None:
    small = {**sample(), "depth_zbuffer": sample(0, (30, 40))["depth_zbuffer"]}
    assert DepthEuclidean.find(EUCLIDEAN, [DEPTH], [small]) is None
    assert found([{"depth_zbuffer": small["depth_zbuffer"]}, sample()])
    assert DepthEuclidean.find(EUCLIDEAN, [DEPTH], []) is None


@pytest.mark.parametrize("shape", [(4000, 1), (1, 4000), (300, 2), (1, 1)])
def test_maps_of_a_shape_that_no_camera_has_are_only_not_found(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    maps = {
        name: rng.integers(1, 60000, shape).astype(np.uint16)
        for name in ("depth_zbuffer", "depth_euclidean")
    }
    maps["depth_euclidean"] |= 0x8000
    assert DepthEuclidean.find(EUCLIDEAN, [DEPTH], [maps]) is None
    assert DepthZbuffer.find(DEPTH, [EUCLIDEAN], [maps]) is None
    view = widest(shape, 40)
    assert squares(view, shape, 40)
    if view < MOST_VIEW:  # else any is taken
        with pytest.raises(BitstreamError):
            squares(view + 1, shape, 40)


def test_nothing_tells_the_view_of_an_empty_map() -> None:
    rule, empty = found([sample()]), np.full((4, 4), HOLE, np.uint16)
    assert rule.fit(empty, {"depth_zbuffer": empty}) == (0, 0)
    assert np.array_equal(rule.derive({"depth_zbuffer": empty}, (0, 0)), empty)


@pytest.mark.parametrize("shape", GOLDEN)
def test_integers_stay_as_they_are(shape: tuple[int, int]) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]]
    depth = ((x * 7919 + y * 104729) % 65536).astype(np.uint16)
    digest = hashlib.sha256()
    owns = ((20000, 1), (9001, 65535), (33333, 777), (0, 0))
    for scale, own in zip((1 << 24, 33554432, 8589935, 1 << 24), owns, strict=True):
        params = {"scale": scale, "nothing": 65535}
        for kind, child, parent in (
            (DepthEuclidean, EUCLIDEAN, DEPTH),
            (DepthZbuffer, DEPTH, EUCLIDEAN),
        ):
            rule = kind.from_params(child, [parent], params)
            digest.update(rule.derive({parent.name: depth}, own).tobytes())
    assert digest.hexdigest()[:16] == GOLDEN[shape]


def test_bad_parameters_and_inputs_are_refused() -> None:
    rule = found([sample()])
    with pytest.raises(CodecError, match="scale is 0"):
        DepthEuclidean.from_params(EUCLIDEAN, [DEPTH], {"scale": 0, "nothing": 0})
    with pytest.raises(CodecError, match="cannot derive depth_euclidean from nothing"):
        DepthEuclidean.from_params(EUCLIDEAN, [], rule.params())
    with pytest.raises(BitstreamError, match="fits nothing here"):
        rule.fit(sample()["depth_euclidean"][1:], sample())
    with pytest.raises(CodecError, match="cannot derive"):
        DepthEuclidean.from_params(EUCLIDEAN, [DEPTH], {"scale": 1, "nothing": 0})
    with pytest.raises(CodecError, match="cannot derive"):
        DepthZbuffer.from_params(DEPTH, [EUCLIDEAN], {"scale": 1 << 18, "nothing": 0})
    with pytest.raises(BitstreamError, match="0 parameters of a sample"):
        rule.derive(sample(), ())
    with pytest.raises(BitstreamError, match="field of view of 4 rad"):
        rule.derive(sample(), (65535, 0))
    with pytest.raises(BitstreamError, match="too wide for 9000 × 1 pixels"):
        rule.derive({"depth_zbuffer": np.ones((9000, 1), np.uint16)}, (40000, 0))
    with pytest.raises(BitstreamError, match="not its task's map"):
        rule.derive({"depth_zbuffer": np.zeros((0, 3), np.uint16)}, (4, 0))
