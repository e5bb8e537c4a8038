"""The rule `edge_occlusion`: Sobel's edges of the root of depth."""

import hashlib

import numpy as np
import pytest

from dsc import _kernels
from dsc._codecs.base import Array
from dsc._codecs.derived.edge_occlusion import EdgeOcclusion, edges
from dsc._codecs.derived.evidence import share_within
from dsc._codecs.derived.rule import Rule
from dsc.errors import BitstreamError, CodecError
from tests.codecs.derived.laws import DEPTH, HOLE, OCCLUSION, SIZES, made_up_view, occlusion
from tests.kernels import use_kernels

GOLDEN = {
    (1, 1): "b0f66adc83641586",
    (3, 3): "0e62bf3e913c944b",
    (48, 64): "942f47a79cef9ec2",
    (333, 517): "86de9f716ea73e63",
}


def view(seed: int = 0, shape: tuple[int, int] = (60, 80), limit: int = 65036) -> dict[str, Array]:
    depth = made_up_view(shape, seed)["depth_zbuffer"]
    return {"depth_zbuffer": depth, "edge_occlusion": occlusion(depth, limit)}


def noise(shape: tuple[int, int]) -> Array:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((x * 7919 + y * 104729) % 65536).astype(np.uint16)


@pytest.mark.parametrize("shape", [size for size in SIZES if min(size) > 6])
@pytest.mark.parametrize("limit", [65036, 1500])
def test_edges_are_within_a_count(shape: tuple[int, int], limit: int) -> None:
    samples = [view(seed, shape, limit) for seed in range(3)]
    rule = EdgeOcclusion.find(OCCLUSION, [DEPTH], samples)
    assert isinstance(rule, Rule)
    assert rule.params()["scale"] == 65535
    again = EdgeOcclusion.from_params(OCCLUSION, [DEPTH], rule.params())
    for sample in samples:
        assert rule.fit(sample["edge_occlusion"], sample) == ()
        derived = again.derive(sample, ())
        assert derived.dtype == np.uint16
        if limit > 9999:  # else it is known only as far as there are counts
            assert share_within(derived, sample["edge_occlusion"], 0) > 0.999
        assert share_within(derived, sample["edge_occlusion"], 1) > 0.99


def test_the_usual_limit_is_taken_where_it_fits() -> None:
    rule = EdgeOcclusion.find(OCCLUSION, [DEPTH], [view()])
    assert rule is not None
    assert rule.params() == {"scale": 65535, "limit": 65036}


def test_edges_of_8_bits_have_a_scale_of_their_own() -> None:
    child = OCCLUSION.model_copy(update={"dtype": "uint8"})
    sample = view()
    sample["edge_occlusion"] = np.minimum(sample["edge_occlusion"] // 8, 255).astype(np.uint8)
    rule = EdgeOcclusion.find(child, [DEPTH], [sample])
    assert rule is not None
    derived = rule.derive(sample, ())
    assert derived.dtype == np.uint8
    assert share_within(derived, sample["edge_occlusion"], 1) > 0.99


def test_holes_may_be_zeros() -> None:
    millimetres = DEPTH.model_copy(update={"invalid": (0,)})
    sample = view()
    sample["depth_zbuffer"] = np.where(sample["depth_zbuffer"] == HOLE, 0, sample["depth_zbuffer"])
    rule = EdgeOcclusion.find(OCCLUSION, [millimetres], [sample])
    assert rule is not None
    assert share_within(rule.derive(sample, ()), sample["edge_occlusion"], 1) == 1


def test_what_does_not_follow_is_not_found() -> None:
    follows, lies = view(0), view(1)
    lies["edge_occlusion"] = np.roll(lies["edge_occlusion"], 1, 0)
    assert EdgeOcclusion.find(OCCLUSION, [DEPTH], [lies]) is None
    assert EdgeOcclusion.find(OCCLUSION, [DEPTH], [follows, lies]) is None
    coarse = {**follows, "edge_occlusion": occlusion(follows["depth_zbuffer"] // 2 * 2)}
    assert EdgeOcclusion.find(OCCLUSION, [DEPTH], [coarse]) is None


@pytest.mark.parametrize("value", [900, HOLE])
def test_flat_maps_are_no_evidence(value: int) -> None:
    flat = {
        "depth_zbuffer": np.full((20, 20), value, np.uint16),
        "edge_occlusion": np.zeros((20, 20), np.uint16),
    }
    assert EdgeOcclusion.find(OCCLUSION, [DEPTH], [flat]) is None
    assert EdgeOcclusion.find(OCCLUSION, [DEPTH], [flat, view()]) is not None
    full = {**flat, "edge_occlusion": np.full((20, 20), 700, np.uint16)}
    assert EdgeOcclusion.find(OCCLUSION, [DEPTH], [full]) is None


def test_maps_of_other_sizes_and_samples_without_them_are_passed_over() -> None:
    small = {**view(), "depth_zbuffer": view(0, (30, 40))["depth_zbuffer"]}
    assert EdgeOcclusion.find(OCCLUSION, [DEPTH], [small]) is None
    lacking = {"edge_occlusion": view()["edge_occlusion"]}
    assert EdgeOcclusion.find(OCCLUSION, [DEPTH], [lacking]) is None
    assert EdgeOcclusion.find(OCCLUSION, [DEPTH], [lacking, view()]) is not None
    tiny = {name: array[:1, :2] for name, array in view().items()}
    assert EdgeOcclusion.find(OCCLUSION, [DEPTH], [tiny]) is None


@pytest.mark.parametrize("which", ["compiled", "twin"])
@pytest.mark.parametrize("shape", GOLDEN)
def test_integers_stay_as_they_are(
    shape: tuple[int, int], which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_kernels(which, monkeypatch)
    digest = hashlib.sha256()
    for limit, scale, most in ((65036, 65535, 65535), (65535, 65535, 65535), (999, 300_000, 255)):
        digest.update(edges(noise(shape), limit, scale, most).tobytes())
    assert digest.hexdigest()[:16] == GOLDEN[shape]


def test_edges_of_any_steepness_are_those_of_floating_point() -> None:
    depth = noise((200, 300))
    assert share_within(edges(depth, 65535, 65535, 65535), occlusion(depth, 65535), 0) > 0.99
    assert share_within(edges(depth, 65535, 65535, 65535), occlusion(depth, 65535), 1) == 1


@pytest.mark.parametrize("shape", SIZES)
def test_kernel_and_twin_agree(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    depth = rng.integers(0, 65536, shape).astype(np.uint16)
    found = []
    for which in ("compiled", "twin"):
        use_kernels(which, monkeypatch)
        found.append([edges(depth, *rest) for rest in ((65535, 65535, 65535), (40000, 1, 65535))])
    assert np.array_equal(*found)


def test_bad_parameters_and_inputs_are_refused() -> None:
    rule = EdgeOcclusion(OCCLUSION, DEPTH, 65535, 65036)
    with pytest.raises(CodecError, match="limit is 65536"):
        EdgeOcclusion.from_params(OCCLUSION, [DEPTH], {"scale": 1, "limit": 65536})
    with pytest.raises(CodecError, match="cannot derive depth_zbuffer from depth_zbuffer"):
        EdgeOcclusion.from_params(DEPTH, [DEPTH], rule.params())
    with pytest.raises(BitstreamError, match="no depth_zbuffer"):
        rule.derive({"depth": view()["depth_zbuffer"]}, ())
    with pytest.raises(BitstreamError, match="1 parameters of a sample"):
        rule.derive(view(), (1,))


@pytest.mark.skipif(not _kernels.built, reason="the compiled kernels were not built here")
def test_the_kernel_refuses_arrays_of_other_sizes() -> None:
    depth, roots = np.zeros((4, 5), np.uint16), np.zeros(1 << 16, np.uint32)
    for out, table in (
        (np.zeros((5, 4), np.uint16), roots),
        (np.zeros((4, 6), np.uint16), roots),
        (np.zeros((4, 5), np.uint16), roots[:-1]),
    ):
        with pytest.raises(TypeError):
            _kernels.compiled.geometry_edges(depth, table, 9, 9, 9, out)
