"""The rule `reshading`: normals in the light of a lamp at the camera."""

import hashlib
from itertools import product

import numpy as np
import pytest

from dsc import _kernels
from dsc._codecs.base import Array
from dsc._codecs.derived.evidence import share_within
from dsc._codecs.derived.lamp import Lamp
from dsc._codecs.derived.reshading import Rays, Reshading, shade
from dsc._codecs.derived.rule import Rule
from dsc._schemas import Task
from dsc.errors import BitstreamError, CodecError
from tests.codecs.derived.laws import (
    DEPTH,
    EUCLIDEAN,
    HOLE,
    NORMAL,
    RESHADING,
    SIZES,
    euclidean,
    made_up_view,
    reshading,
)
from tests.kernels import use_kernels

RADIAN = 16384
LAMPS = (
    Lamp((1, 1, -1), True, True, 26112, 8 << 18),
    Lamp((-1, 1, 1), False, False, 65535, 1),
    Lamp((-1, -1, 1), True, False, 1, 1 << 36),
)
GOLDEN = {
    (1, 1): "82b993f360654002",
    (3, 3): "85b84fc258f75e42",
    (48, 64): "350fb914970aa0a0",
    (333, 517): "88cc5ab55f899d22",
}


def view(
    seed: int = 0, shape: tuple[int, int] = (96, 128), view_rad: float = 1.1, gain: float = 408.0,
    reach_m2: float = 8.0,
) -> dict[str, Array]:  # fmt: skip
    maps = made_up_view(shape, seed, view_rad)
    depth, normal = maps["depth_zbuffer"], maps["normal"]
    return {
        **maps,
        "depth_euclidean": euclidean(depth, view_rad),
        "reshading": reshading(normal, depth, view_rad, gain, reach_m2),
    }


def found(
    samples: list[dict[str, Array]], parents: list[Task], child: Task = RESHADING
) -> Reshading:
    rule = Reshading.find(child, parents, samples)
    assert rule is not None
    return rule


@pytest.mark.parametrize("view_rad", [0.6, 1.1, 1.9])
@pytest.mark.parametrize("depth", [DEPTH, EUCLIDEAN])
def test_the_lamp_is_found(depth: Task, view_rad: float) -> None:
    samples = [view(seed, view_rad=view_rad) for seed in range(3)]
    rule = found(samples, [depth, NORMAL])
    assert isinstance(rule, Rule)
    assert rule.inputs == ("normal", depth.name)
    params = rule.params()
    assert [params[name] for name in ("across", "down", "toward")] == [-1, 1, 1]
    assert params["by_axis"] == (depth is DEPTH)
    assert (params["gain"], params["reach"]) == (408 * 64, 8 << 18)
    again = Reshading.from_params(RESHADING, [NORMAL, depth], params)
    for sample in samples:
        own = rule.fit(sample["reshading"], sample)
        assert abs(own[0] - view_rad * RADIAN) < 200
        derived = again.derive(sample, own)
        assert (derived.shape, derived.dtype) == (sample["reshading"].shape, np.uint8)
        assert share_within(derived, sample["reshading"], 2) > 0.98


@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_axes_of_normals_may_point_anywhere(signs: tuple[int, int, int]) -> None:
    samples = [view(seed) for seed in range(2)]
    for sample in samples:
        valid = sample["depth_zbuffer"] != HOLE
        for k, sign in enumerate(signs):
            if sign < 0:
                sample["normal"][valid, k] = 255 - sample["normal"][valid, k]
    params = found(samples, [NORMAL, DEPTH]).params()
    wanted = (-signs[0], signs[1], signs[2])
    assert (params["across"], params["down"], params["toward"]) == wanted


@pytest.mark.parametrize(("gain", "reach_m2"), [(300.0, 8.0), (408.0, 32.0), (350.0, 2.5)])
def test_other_lamps_are_found(gain: float, reach_m2: float) -> None:
    samples = [view(seed, gain=gain, reach_m2=reach_m2) for seed in range(3)]
    rule = found(samples, [NORMAL, DEPTH])
    assert rule.params()["gain"] / 64 == pytest.approx(gain, rel=0.03)
    assert rule.params()["reach"] == pytest.approx(reach_m2 * 512**2, rel=0.08)
    for sample in samples:
        derived = rule.derive(sample, rule.fit(sample["reshading"], sample))
        assert share_within(derived, sample["reshading"], 2) > 0.95


def test_depth_in_a_unit_that_is_not_so_is_made_up_for() -> None:
    liar = DEPTH.model_copy(update={"unit_m": 1 / 4096})
    assert found([view(0), view(1)], [NORMAL, liar]).params()["reach"] == pytest.approx(
        8 << 18, rel=0.05
    )


def test_one_channel_and_another_value_for_nothing_come_out_so() -> None:
    child = RESHADING.model_copy(update={"channels": 1})
    sample = view()
    sample["reshading"] = np.ascontiguousarray(sample["reshading"][..., 0])
    sample["reshading"][sample["depth_zbuffer"] == HOLE] = 255
    rule = found([sample], [NORMAL, DEPTH], child)
    assert rule.params()["nothing"] == 255
    derived = rule.derive(sample, rule.fit(sample["reshading"], sample))
    assert derived.shape == sample["reshading"].shape
    assert share_within(derived, sample["reshading"], 2) > 0.98


@pytest.mark.parametrize("shape", [(900, 1), (1, 900), (300, 2), (70, 3)])
def test_maps_of_a_shape_that_no_camera_has_are_only_not_found(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    maps = {
        "depth_zbuffer": rng.integers(1, 60000, shape).astype(np.uint16),
        "normal": rng.integers(0, 256, (*shape, 3)).astype(np.uint8),
        "reshading": rng.integers(0, 256, (*shape, 3)).astype(np.uint8),
    }
    assert Reshading.find(RESHADING, [NORMAL, DEPTH], [maps]) is None
    rule = Reshading(RESHADING, [NORMAL, DEPTH], LAMPS[0], 0)
    assert rule.derive(maps, rule.fit(maps["reshading"], maps)).shape == maps["reshading"].shape


def test_a_fifth_of_a_map_may_be_otherwise() -> None:
    samples = [view(seed) for seed in range(2)]
    rng = np.random.default_rng(0)
    for sample in samples:
        other = rng.random(sample["reshading"].shape[:2]) < 0.15
        sample["reshading"][other] = rng.integers(0, 256, (int(other.sum()), 1))
    assert found(samples, [NORMAL, DEPTH]).params()["down"] == 1


def test_what_does_not_follow_is_not_found() -> None:
    follows, lies = view(0), view(1)
    lies["reshading"] = view(2)["reshading"]
    colours = {**view(3), "reshading": view(3)["normal"]}
    for samples in ([lies], [follows, lies], [colours]):
        assert Reshading.find(RESHADING, [NORMAL, DEPTH, EUCLIDEAN], samples) is None
    assert Reshading.find(RESHADING, [DEPTH, EUCLIDEAN], [follows]) is None
    assert Reshading.find(RESHADING, [NORMAL], [follows]) is None


@pytest.mark.parametrize("which", ["flat", "dark", "empty", "tiny", "absent", "other size"])
def test_samples_that_tell_nothing_are_no_evidence(which: str) -> None:
    sample = view()
    if which in ("flat", "dark"):
        sample["reshading"] = np.full_like(sample["reshading"], 90 if which == "flat" else 0)
    elif which == "empty":
        sample["depth_zbuffer"] = np.full_like(sample["depth_zbuffer"], HOLE)
    elif which == "tiny":
        sample = view(shape=(1, 1))
    elif which == "absent":
        del sample["normal"]
    else:
        sample["normal"] = sample["normal"][:-1]
    assert Reshading.find(RESHADING, [NORMAL, DEPTH], [sample]) is None
    assert Reshading.find(RESHADING, [NORMAL, DEPTH], []) is None


def test_a_sample_without_values_follows_from_any_view() -> None:
    empty = {
        "depth_zbuffer": np.full((9, 9), HOLE, np.uint16),
        "normal": np.full((9, 9, 3), 127, np.uint8),
        "reshading": np.zeros((9, 9, 3), np.uint8),
    }
    rule = found([empty, view()], [NORMAL, DEPTH])
    assert rule.fit(empty["reshading"], empty) == (0,)
    assert not rule.derive(empty, (0,)).any()


@pytest.mark.parametrize("which", ["compiled", "twin"])
@pytest.mark.parametrize("shape", GOLDEN)
def test_integers_stay_as_they_are(
    shape: tuple[int, int], which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_kernels(which, monkeypatch)
    y, x = np.mgrid[: shape[0], : shape[1]]
    depth = ((x * 7919 + y * 104729) % 65536).astype(np.uint16)
    normal = np.stack([x * 5 + y, y * 3 + x, x * y], axis=-1).astype(np.uint8)
    digest = hashlib.sha256()
    for lamp, field in zip(LAMPS, (18000, 0, 30000), strict=True):
        digest.update(shade(lamp, normal, depth, Rays.of_view(field, shape)).tobytes())
    assert digest.hexdigest()[:16] == GOLDEN[shape]


@pytest.mark.parametrize("shape", SIZES)
def test_kernel_and_twin_agree(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    depth = rng.integers(0, 65536, shape).astype(np.uint16)
    normal = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    found = []
    for which in ("compiled", "twin"):
        use_kernels(which, monkeypatch)
        rays = Rays.of_view(9000, shape)
        found.append([shade(lamp, normal, depth, rays) for lamp in LAMPS])
    assert np.array_equal(*found)


def test_the_view_of_a_sample_is_the_same_by_kernel_and_twin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sample = view()
    params, owns = [], []
    for which in ("compiled", "twin"):
        use_kernels(which, monkeypatch)
        rule = found([sample], [NORMAL, DEPTH])
        params.append(rule.params())
        owns.append(rule.fit(sample["reshading"], sample))
    assert params[0] == params[1]
    assert owns[0] == owns[1]


def test_bad_parameters_and_inputs_are_refused() -> None:
    rule = Reshading(RESHADING, [NORMAL, DEPTH], LAMPS[0], 0)
    params = rule.params()
    for name, value in (("gain", 0), ("reach", 1 << 40), ("toward", 2), ("nothing", 256)):
        with pytest.raises(CodecError, match=f"{name} is {value}"):
            Reshading.from_params(RESHADING, [NORMAL, DEPTH], {**params, name: value})
    with pytest.raises(CodecError, match="cannot derive reshading"):
        Reshading.from_params(RESHADING, [NORMAL, DEPTH], {**params, "across": 0})
    with pytest.raises(CodecError, match="cannot derive reshading from depth_zbuffer, normal"):
        Reshading.from_params(RESHADING, [DEPTH, NORMAL], params)
    sample = view()
    with pytest.raises(BitstreamError, match="fits nothing here"):
        rule.fit(sample["reshading"][1:], sample)
    with pytest.raises(BitstreamError, match="no normal"):
        rule.derive({"depth_zbuffer": sample["depth_zbuffer"]}, (9000,))
    with pytest.raises(BitstreamError, match="0 parameters of a sample"):
        rule.derive(sample, ())
    with pytest.raises(BitstreamError, match="field of view"):
        rule.derive(sample, (60000,))
    with pytest.raises(BitstreamError, match="too wide"):
        rule.derive(sample, (49000,))
    with pytest.raises(BitstreamError, match="fits nothing here"):
        rule.derive({**sample, "depth_zbuffer": sample["depth_zbuffer"][1:]}, (9000,))


@pytest.mark.skipif(not _kernels.built, reason="the compiled kernels were not built here")
def test_the_kernel_refuses_arrays_of_other_sizes() -> None:
    normal, depth, out = (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint16),
                          np.zeros((4, 5), np.uint8))  # fmt: skip
    rays = [np.zeros(n) for n in (4, 5, 4, 5)]
    rest = (1.0, 1.0, 1.0, True, True)
    for arrays in (
        (normal[:3], depth, *rays, *rest, out),
        (normal, depth, *rays[1:], rays[0], *rest, out),
        (normal, depth, *rays, *rest, out[:3]),
    ):
        with pytest.raises(TypeError):
            _kernels.compiled.geometry_shade(*arrays)  # type: ignore[arg-type]
