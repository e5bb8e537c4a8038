"""Edges of texture are integers, near the formula in floats, and found by what maps hold."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc import _kernels
from dsc._codecs.derived.edge_texture import EdgeTexture, edges, gaussian
from dsc._codecs.derived.rules import find_rule
from dsc._files.formats import read_pixels
from dsc._schemas import Task, TaskKind
from dsc.errors import BitstreamError, CodecError
from tests.codecs.derived import formulas
from tests.codecs.derived.images import GRAY, MAP, OTHER_RGB, RGB, chequers, discs, noise, rings

SIGMAS = (100, 500, 1000, 1414, 3000, 16_000)
SIDES = st.one_of(st.integers(1, 12), st.sampled_from([31, 64, 97]))


def sample(image: np.ndarray, sigma: int = 2000, **other: np.ndarray) -> dict[str, Any]:
    return {"rgb": image, MAP.name: edges(image, sigma), **other}


@pytest.mark.skipif(not _kernels.built, reason="the compiled kernels were not built")
@given(st.integers(0, 99), SIDES, SIDES, st.sampled_from(SIGMAS), st.sampled_from([noise, discs]))
@settings(deadline=None, max_examples=60)
def test_the_kernel_has_its_twins_integers(
    seed: int, height: int, width: int, sigma: int, draw: Any
) -> None:
    image = draw(seed, height, width)
    with _kernels.twins():
        twin = edges(image, sigma)
    assert np.array_equal(edges(image, sigma), twin)


@pytest.mark.skipif(not _kernels.built, reason="the compiled kernels were not built")
@pytest.mark.parametrize("sigma", [100, 3000])
@pytest.mark.parametrize("side", [1, 2, 3, 50])
def test_the_steepest_edges_overflow_nothing(side: int, sigma: int) -> None:
    image = chequers(140, 133, side)
    found = edges(image, sigma)
    with _kernels.twins():
        assert np.array_equal(found, edges(image, sigma))
    assert abs(found.astype(int) - formulas.edge_texture(image, sigma / 1000)).max() <= 1


@pytest.mark.skipif(not _kernels.built, reason="the twin takes long")
def test_a_large_image_has_the_edges_of_its_parts() -> None:
    image = np.full((3000, 4000, 3), 255, np.uint8)
    image[2500:2900, 3500:3900] = discs(3, 400, 400)
    part, alone = edges(image, 3000)[2400:, 3400:], edges(image[2300:, 3300:].copy(), 3000)
    assert part.any()
    assert np.array_equal(part, alone[100:, 100:])


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (2, 2), (3, 3), (40, 51), (97, 8)])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_edges_are_those_of_the_formula_in_floats(sigma: int, shape: tuple[int, int]) -> None:
    image = discs(1, *shape)
    found, wanted = edges(image, sigma), formulas.edge_texture(image, sigma / 1000)
    assert found.dtype == np.uint16
    assert abs(found.astype(int) - wanted).max() <= 1
    assert (found == wanted).mean() > 0.98


@pytest.mark.usefixtures("both_kernels")
def test_the_integers_are_pinned() -> None:
    digest = hashlib.sha256()
    for sigma in SIGMAS:
        for image in (rings(75, 131), rings(20, 6), chequers(9, 64, 3)):
            digest.update(edges(image, sigma).astype("<u2").tobytes())
    assert digest.hexdigest() == "150180690bc0573330c7b4976b6fb65294defbbdac891660aa4312530808c280"


def test_a_gaussian_sums_to_a_power_of_two() -> None:
    assert gaussian(100) == (1 << 24,)
    for sigma in (125, 500, 3000, 16_000):
        middle, *sides = gaussian(sigma)
        assert middle + 2 * sum(sides) == 1 << 24
        assert len(sides) == int(4 * sigma / 1000 + 0.5)
        assert sorted([middle, *sides], reverse=True) == [middle, *sides]


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("sigma", [100, 500, 700, 1000, 1414, 3000, 5125])
def test_image_and_sigma_are_found(sigma: int) -> None:
    samples = [
        sample(discs(seed, 90, 110), sigma, before=discs(seed + 9, 90, 110)) for seed in (1, 2)
    ]
    rule = find_rule(MAP, [GRAY, MAP, OTHER_RGB, RGB], samples)
    assert isinstance(rule, EdgeTexture)
    assert (rule.inputs, rule.params()) == (("rgb",), {"sigma_1000": sigma})
    again = EdgeTexture.from_params(MAP, [RGB], rule.params())
    assert again.fit(samples[0][MAP.name], samples[0]) == ()
    assert np.array_equal(again.derive(samples[0], ()), samples[0][MAP.name])


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.2, 3.0])
def test_a_map_made_in_floats_is_found(sigma: float) -> None:
    image = discs(3, 200, 300)
    rule = EdgeTexture.find(
        MAP, [RGB], [{"rgb": image, MAP.name: formulas.edge_texture(image, sigma)}]
    )
    assert rule is not None
    assert rule.params() == {"sigma_1000": round(sigma * 1000)}


def test_a_window_of_a_large_image_is_enough_to_search_in() -> None:
    image = np.full((700, 900, 3), 90, np.uint8)
    image[430:690, 600:880] = discs(4, 260, 280)
    rule = EdgeTexture.find(MAP, [RGB], [sample(image, 1800)])
    assert rule is not None
    assert rule.params() == {"sigma_1000": 1800}


def test_flat_images_are_no_evidence_but_may_be_among_others() -> None:
    flat = np.full((40, 60, 3), 77, np.uint8)
    assert EdgeTexture.find(MAP, [RGB], [sample(flat)]) is None
    assert EdgeTexture.find(MAP, [RGB], [sample(flat), sample(discs(1, 40, 60))]) is not None


NOTHING: dict[str, list[dict[str, Any]]] = {
    "no samples": [],
    "no image": [{MAP.name: edges(discs(1, 40, 60), 2000)}],
    "no map": [{"rgb": discs(1, 40, 60)}],
    "zeros of a textured image": [
        sample(discs(1, 40, 60)) | {MAP.name: np.zeros((40, 60), np.uint16)}
    ],
    "a constant map": [sample(discs(1, 40, 60)) | {MAP.name: np.full((40, 60), 900, np.uint16)}],
    "another image's": [sample(discs(1, 40, 60)) | {"rgb": discs(2, 40, 60)}],
    "another size": [sample(discs(1, 40, 60)) | {"rgb": discs(1, 40, 61)}],
    "its transpose": [sample(discs(1, 40, 60)) | {"rgb": discs(1, 40, 60).transpose(1, 0, 2)}],
    "another dtype": [sample(discs(1, 40, 60)) | {"rgb": discs(1, 40, 60).astype(np.uint16)}],
    "gray": [sample(discs(1, 40, 60)) | {"rgb": discs(1, 40, 60)[..., 0]}],
    "noise": [sample(discs(1, 40, 60)) | {MAP.name: noise(1, 40, 60)[..., 0].astype(np.uint16)}],
    "another sigma in the second": [sample(discs(1, 40, 60)), sample(discs(2, 40, 60), 3000)],
    "zeros in the second": [
        sample(discs(1, 40, 60)),
        sample(discs(2, 40, 60)) | {MAP.name: np.zeros((40, 60), np.uint16)},
    ],
}


@pytest.mark.parametrize("samples", NOTHING.values(), ids=NOTHING)
def test_nothing_is_found_where_nothing_follows(samples: list[dict[str, Any]]) -> None:
    assert EdgeTexture.find(MAP, [RGB], samples) is None


def test_zeros_are_not_the_edges_of_an_image_that_is_mostly_flat() -> None:
    image = np.full((300, 300, 3), 50, np.uint8)
    image[100:120, 100:120] = noise(1, 20, 20)
    found = edges(image, 1000)
    assert (found > 1).mean() < 0.01
    samples = [sample(discs(1, 40, 60), 1000), {"rgb": image, MAP.name: np.zeros_like(found)}]
    assert EdgeTexture.find(MAP, [RGB], samples) is None


@pytest.mark.parametrize(
    "child",
    [
        Task(name="edge_texture", kind=TaskKind.IMAGE, dtype="uint8"),
        Task(name="edge_texture", kind=TaskKind.IMAGE, dtype="uint16", channels=3),
        Task(name="edge_texture", kind=TaskKind.VECTOR, dtype="uint16", channels=3),
    ],
)
def test_a_name_is_no_evidence(child: Task) -> None:
    image = discs(1, 40, 60)
    assert EdgeTexture.find(child, [RGB], [{"rgb": image, "edge_texture": image}]) is None
    with pytest.raises(CodecError, match="cannot derive edge_texture from rgb"):
        EdgeTexture.from_params(child, [RGB], {"sigma_1000": 2000})


@pytest.mark.parametrize("sigma", [None, 99, 16_001, True, 2000.0, "2000"])
def test_a_sigma_that_makes_no_sense_is_refused(sigma: Any) -> None:
    params = {} if sigma is None else {"sigma_1000": sigma}
    with pytest.raises(CodecError, match=r"edge_texture@1: sigma_1000 is .*, where 100 to 16000"):
        EdgeTexture.from_params(MAP, [RGB], params)


@pytest.mark.parametrize("inputs", [[], [GRAY], [RGB, RGB], [MAP]])
def test_inputs_that_make_no_sense_are_refused(inputs: list[Task]) -> None:
    with pytest.raises(CodecError, match="cannot derive edges_of_something from"):
        EdgeTexture.from_params(MAP, inputs, {"sigma_1000": 2000})


@pytest.mark.parametrize(
    ("inputs", "own", "message"),
    [
        ({}, (), "no rgb to derive from"),
        ({"rgb": np.zeros((4, 5), np.uint8)}, (), r"rgb is uint8 \(4, 5\), not its"),
        ({"rgb": np.zeros((4, 5, 3), np.uint16)}, (), "rgb is uint16"),
        ({"rgb": np.zeros((0, 5, 3), np.uint8)}, (), "rgb is uint8"),
        ({"rgb": np.zeros((4, 5, 3), np.uint8)}, (1,), "1 parameters of a sample"),
    ],
)
def test_what_cannot_be_derived_is_refused(inputs: Any, own: Any, message: str) -> None:
    with pytest.raises(BitstreamError, match=message):
        EdgeTexture(RGB, 2000).derive(inputs, own)


def test_an_image_that_is_a_view_of_another_is_taken() -> None:
    image = discs(1, 80, 120)
    part = image[::2, ::2]
    found = EdgeTexture(RGB, 1000).derive({"rgb": part}, ())
    assert np.array_equal(found, edges(part.copy(), 1000))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 3.0])
def test_photographs_have_the_edges_of_the_formula(data_root: Path, sigma: float) -> None:
    paths = sorted(data_root.glob("taskonomy_native/*/rgb/*.png"))[:2]
    paths += sorted(data_root.glob("kodak/*.png"))[:2]
    if not paths:
        pytest.skip(f"no photographs in {data_root}")
    samples = []
    for path in paths:
        image = read_pixels(path.read_bytes(), path.name)
        wanted = formulas.edge_texture(image, sigma)
        found = edges(image, round(sigma * 1000))
        assert abs(found.astype(int) - wanted).max() <= 1
        assert (found == wanted).mean() > 0.997
        samples.append({"rgb": image, MAP.name: wanted})
    rule = EdgeTexture.find(MAP, [RGB], samples)
    assert rule is not None
    assert rule.params() == {"sigma_1000": round(sigma * 1000)}
