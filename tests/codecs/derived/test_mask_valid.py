"""The rule `mask_valid`: which pixels of another map have a value."""

import numpy as np
import pytest

from dsc._codecs.base import Array
from dsc._codecs.derived.mask_valid import MaskValid
from dsc._codecs.derived.rule import Rule
from dsc._schemas import Task, TaskKind
from dsc.errors import BitstreamError, CodecError
from tests.codecs.derived.laws import DEPTH, HOLE, MASK, NORMAL, SIZES, made_up_view, mask_valid

GIVEN = [DEPTH, NORMAL, Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)]


def view(seed: int = 0, shape: tuple[int, int] = (40, 50)) -> dict[str, Array]:
    maps = made_up_view(shape, seed)
    return {**maps, "mask_valid": mask_valid(maps["depth_zbuffer"])}


def found(task: Task, samples: list[dict[str, Array]]) -> MaskValid:
    rule = MaskValid.find(task, GIVEN, samples)
    assert rule is not None
    return rule


@pytest.mark.parametrize("shape", [size for size in SIZES if min(size) > 2])
def test_the_mask_comes_out_equal(shape: tuple[int, int]) -> None:
    samples = [view(seed, shape) for seed in range(3)]
    rule = found(MASK, samples)
    assert isinstance(rule, Rule)
    assert rule.inputs == ("depth_zbuffer",)
    again = MaskValid.from_params(MASK, [DEPTH], rule.params())
    for sample in samples:
        assert rule.fit(sample["mask_valid"], sample) == ()
        derived = again.derive(sample, ())
        assert derived.dtype == np.uint8
        assert np.array_equal(derived, sample["mask_valid"])


def test_the_two_values_are_the_childs_own() -> None:
    samples = [{**view(), "mask_valid": np.where(view()["mask_valid"] == 255, 3, 7)}]
    samples[0]["mask_valid"] = samples[0]["mask_valid"].astype(np.uint16)
    rule = found(MASK.model_copy(update={"dtype": "uint16"}), samples)
    assert rule.params() == {"there": 3, "nothing": 7}


def test_a_mask_of_normals_is_found_where_depth_has_other_holes() -> None:
    sample = view()
    sample["depth_zbuffer"] = np.roll(sample["depth_zbuffer"], 3)
    assert found(MASK, [sample]).inputs == ("normal",)


def test_one_pixel_that_differs_is_a_no() -> None:
    samples = [view(0), view(1)]
    samples[1]["mask_valid"][3, 4] ^= 255
    assert MaskValid.find(MASK, GIVEN, samples) is None


def test_constant_masks_of_samples_are_no_evidence() -> None:
    samples = [
        {
            "depth_zbuffer": np.full((4, 4), depth, np.uint16),
            "mask_valid": np.full((4, 4), mask, "u1"),
        }
        for depth, mask in ((HOLE, 0), (900, 255))
    ]
    assert MaskValid.find(MASK, [DEPTH], samples) is None
    assert found(MASK, [*samples, {**view(), "normal": made_up_view((40, 50), 0)["normal"]}])


@pytest.mark.parametrize("which", ["all valid", "none valid", "none at all", "other size"])
def test_samples_that_tell_nothing_are_no_evidence(which: str) -> None:
    sample = view()
    if which == "none at all":
        assert MaskValid.find(MASK, GIVEN, [{"mask_valid": sample["mask_valid"]}]) is None
        return
    if which == "other size":
        sample["mask_valid"] = sample["mask_valid"][:-1]
    else:
        hole = which == "none valid"
        sample["depth_zbuffer"] = np.full((40, 50), HOLE if hole else 900, np.uint16)
        sample["normal"] = np.full((40, 50, 3), 127 if hole else 200, np.uint8)
        sample["mask_valid"] = np.full((40, 50), 0 if hole else 255, np.uint8)
    assert MaskValid.find(MASK, GIVEN, [sample]) is None


def test_a_sample_without_the_parent_is_passed_over() -> None:
    assert found(MASK, [{"mask_valid": np.zeros((2, 2), np.uint8)}, view()])


def test_bad_parameters_and_inputs_are_refused() -> None:
    rule = found(MASK, [view()])
    with pytest.raises(CodecError, match="there is 256"):
        MaskValid.from_params(MASK, [DEPTH], {"there": 256, "nothing": 0})
    with pytest.raises(CodecError, match="nothing is None"):
        MaskValid.from_params(MASK, [DEPTH], {"there": 1})
    with pytest.raises(CodecError, match="cannot derive mask_valid from rgb"):
        MaskValid.from_params(MASK, [GIVEN[2]], rule.params())
    with pytest.raises(BitstreamError, match="no depth_zbuffer"):
        rule.derive({}, ())
    with pytest.raises(BitstreamError, match="not its task's map"):
        rule.derive({"depth_zbuffer": np.zeros((3, 3), np.uint8)}, ())
    with pytest.raises(BitstreamError, match="1 parameters of a sample"):
        rule.derive(view(), (3,))
