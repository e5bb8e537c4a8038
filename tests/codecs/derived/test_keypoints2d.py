"""Keypoints of an image are integers, near the formula in floats, and found by what maps hold."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc import _kernels
from dsc._codecs.derived.keypoints2d import FILTERS, SIZES, Keypoints2d, keypoints
from dsc._codecs.derived.rules import find_rule
from dsc._files.formats import read_pixels
from dsc._schemas import Task, TaskKind
from dsc.errors import BitstreamError, CodecError
from tests.codecs.derived import formulas
from tests.codecs.derived.images import GRAY, MAP, OTHER_RGB, RGB, chequers, discs, noise, rings

SIDES = st.one_of(st.integers(1, 12), st.sampled_from([31, 89, 90, 91, 97, 190]))
WHITE = np.full((260, 270, 3), 255, np.uint8)


def sample(image: np.ndarray, **other: np.ndarray) -> dict[str, Any]:
    return {"rgb": image, MAP.name: keypoints(image), **other}


def by_twin(image: np.ndarray) -> np.ndarray:
    with _kernels.twins():
        return keypoints(image)


@pytest.mark.skipif(not _kernels.built, reason="the compiled kernels were not built")
@given(st.integers(0, 99), SIDES, SIDES, st.sampled_from([noise, discs]))
@settings(deadline=None, max_examples=60)
def test_the_kernel_has_its_twins_integers(seed: int, height: int, width: int, draw: Any) -> None:
    image = draw(seed, height, width)
    assert np.array_equal(keypoints(image), by_twin(image))


@pytest.mark.skipif(not _kernels.built, reason="the compiled kernels were not built")
def test_the_largest_blobs_overflow_nothing() -> None:
    for image in (WHITE, *(chequers(260, 270, side) for side in (1, 4, 10, 30, 60, 90))):
        assert np.array_equal(keypoints(image), by_twin(image))
        assert abs(keypoints(image).astype(int) - formulas.keypoints2d(image)).max() <= 1


@pytest.mark.skipif(not _kernels.built, reason="the compiled kernels were not built")
def test_sums_of_a_large_image_may_wrap_around() -> None:
    image = np.full((3000, 4000, 3), 255, np.uint8)  # sums to 700 times 2^32
    image[2500:2900, 3500:3900] = discs(3, 400, 400)
    part = keypoints(image)[2400:, 3400:]
    alone = keypoints(np.ascontiguousarray(image[2300:, 3300:]))[100:, 100:]
    assert part.any()
    assert np.array_equal(part, alone)
    assert np.array_equal(alone, by_twin(np.ascontiguousarray(image[2300:, 3300:]))[100:, 100:])


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (2, 2), (40, 51), (95, 8), (140, 200)])
def test_keypoints_are_those_of_the_formula_in_floats(shape: tuple[int, int]) -> None:
    image = discs(1, *shape)
    found, wanted = keypoints(image), formulas.keypoints2d(image)
    assert found.dtype == np.uint16
    assert abs(found.astype(int) - wanted).max() <= 1
    assert (found == wanted).mean() > 0.99


@pytest.mark.usefixtures("both_kernels")
def test_the_integers_are_pinned() -> None:
    digest = hashlib.sha256()
    for image in (rings(75, 131), rings(20, 6), chequers(9, 64, 3), rings(200, 210)):
        digest.update(keypoints(image).astype("<u2").tobytes())
    assert digest.hexdigest() == "6ba9cc65a15c78c41bdfcea5a274397ba23456a4b1ca5bf4c623ae4b2f4afe1a"


def test_filters_have_the_sizes_of_ten_sigmas() -> None:
    assert tuple(int(3 * sigma) for sigma in np.linspace(1, 30, 10)) == SIZES
    for size, straight, shift, mixed, mixed_shift in FILTERS.tolist():
        wanted = 2**16 * 65535**0.5 / (255_000 * size**2)
        assert straight / 2**shift == pytest.approx(wanted, rel=1e-6)
        assert mixed / 2**mixed_shift == pytest.approx(0.9 * wanted, rel=1e-6)
        assert max(straight, mixed).bit_length() == 22


@pytest.mark.usefixtures("both_kernels")
def test_the_image_is_found() -> None:
    samples = [sample(discs(seed, 90, 110), before=discs(seed + 9, 90, 110)) for seed in (1, 2)]
    rule = find_rule(MAP, [GRAY, MAP, OTHER_RGB, RGB], samples)
    assert isinstance(rule, Keypoints2d)
    assert (rule.inputs, rule.params()) == (("rgb",), {})
    again = Keypoints2d.from_params(MAP, [RGB], rule.params())
    assert again.fit(samples[0][MAP.name], samples[0]) == ()
    assert np.array_equal(again.derive(samples[0], ()), samples[0][MAP.name])


def test_a_map_made_in_floats_is_found() -> None:
    image = discs(3, 200, 300)
    samples = [{"rgb": image, MAP.name: formulas.keypoints2d(image)}]
    assert Keypoints2d.find(MAP, [RGB], samples) is not None


def test_it_is_found_in_a_large_image() -> None:
    image = np.full((700, 900, 3), 90, np.uint8)
    image[430:690, 600:880] = discs(4, 260, 280)
    assert Keypoints2d.find(MAP, [RGB], [sample(image)]) is not None


def test_flat_images_are_no_evidence_but_may_be_among_others() -> None:
    flat = np.full((40, 60, 3), 77, np.uint8)
    assert Keypoints2d.find(MAP, [RGB], [sample(flat)]) is None
    assert Keypoints2d.find(MAP, [RGB], [sample(flat), sample(discs(1, 40, 60))]) is not None


ZEROS = {MAP.name: np.zeros((40, 60), np.uint16)}
NOTHING: dict[str, list[dict[str, Any]]] = {
    "no samples": [],
    "no image": [{MAP.name: keypoints(discs(1, 40, 60))}],
    "no map": [{"rgb": discs(1, 40, 60)}],
    "zeros of a textured image": [sample(discs(1, 40, 60)) | ZEROS],
    "a constant map": [sample(discs(1, 40, 60)) | {MAP.name: np.full((40, 60), 900, np.uint16)}],
    "another image's": [sample(discs(1, 40, 60)) | {"rgb": discs(2, 40, 60)}],
    "another size": [sample(discs(1, 40, 60)) | {"rgb": discs(1, 40, 61)}],
    "another dtype": [sample(discs(1, 40, 60)) | {"rgb": discs(1, 40, 60).astype(np.uint16)}],
    "gray": [sample(discs(1, 40, 60)) | {"rgb": discs(1, 40, 60)[..., 0]}],
    "zeros in the second": [sample(discs(1, 40, 60)), sample(discs(2, 40, 60)) | ZEROS],
}


@pytest.mark.parametrize("samples", NOTHING.values(), ids=NOTHING)
def test_nothing_is_found_where_nothing_follows(samples: list[dict[str, Any]]) -> None:
    assert Keypoints2d.find(MAP, [RGB], samples) is None


def test_a_name_is_no_evidence() -> None:
    child, image = Task(name="keypoints2d", kind=TaskKind.IMAGE, dtype="uint8"), discs(1, 40, 60)
    assert Keypoints2d.find(child, [RGB], [{"rgb": image, "keypoints2d": image[..., 0]}]) is None
    with pytest.raises(CodecError, match="cannot derive keypoints2d from rgb"):
        Keypoints2d.from_params(child, [RGB], {})


@pytest.mark.parametrize("inputs", [[], [GRAY], [RGB, OTHER_RGB], [MAP]])
def test_inputs_that_make_no_sense_are_refused(inputs: list[Task]) -> None:
    with pytest.raises(CodecError, match="cannot derive edges_of_something from"):
        Keypoints2d.from_params(MAP, inputs, {})


@pytest.mark.parametrize(
    ("inputs", "own", "message"),
    [
        ({}, (), "no rgb to derive from"),
        ({"rgb": np.zeros((4, 5), np.uint8)}, (), r"rgb is uint8 \(4, 5\), not its"),
        ({"rgb": np.zeros((4, 5, 3), np.uint8)}, (1, 2), "2 parameters of a sample"),
    ],
)
def test_what_cannot_be_derived_is_refused(inputs: Any, own: Any, message: str) -> None:
    with pytest.raises(BitstreamError, match=message):
        Keypoints2d(RGB).derive(inputs, own)


def test_photographs_have_the_keypoints_of_the_formula(data_root: Path) -> None:
    paths = sorted(data_root.glob("taskonomy_native/*/rgb/*.png"))
    if not paths:
        pytest.skip(f"no Taskonomy views in {data_root}")
    for path in paths[:2]:
        image = read_pixels(path.read_bytes(), path.name)
        wanted, found = formulas.keypoints2d(image), keypoints(image)
        assert abs(found.astype(int) - wanted).max() <= 1
        assert (found == wanted).mean() > 0.997
        assert Keypoints2d.find(MAP, [RGB], [{"rgb": image, MAP.name: wanted}]) is not None
