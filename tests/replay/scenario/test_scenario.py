"""Class-incremental scenarios: every image once, classes in their order, nothing ambiguous."""

import numpy as np
import pytest

from dsc._replay.scenario.images import LabelledImages
from dsc._replay.scenario.scenario import ClassIncremental
from dsc.errors import UsageError
from tests.replay.class_pictures import make_pictures

PICTURES = make_pictures(classes=6, per_class=5, side=8)
# the first ten classes of CIFAR-100 in the experiments of iCaRL, LUCIR, PyCIL
ORDER_1993 = (68, 56, 78, 8, 23, 84, 90, 65, 74, 76)


def hundred() -> LabelledImages:
    images = np.zeros((100, 1, 1, 3), np.uint8)
    names = tuple(f"{at:02d}" for at in range(100))
    return LabelledImages(images, np.arange(100), names, names)


@pytest.mark.parametrize(
    ("increment", "initial", "seen"),
    [(2, None, (2, 4, 6)), (1, 4, (4, 5, 6)), (6, None, (6,)), (1, 6, (6,)), (3, 3, (3, 6))],
)
def test_every_image_comes_once_and_its_class_has_the_number_of_its_turn(
    increment: int, initial: int | None, seen: tuple[int, ...]
) -> None:
    scenario = ClassIncremental(PICTURES, increment, initial, seed=3)
    assert scenario.seen == seen == tuple(step.seen for step in scenario)
    rows = np.concatenate([step.rows for step in scenario])
    assert sorted(rows) == list(range(len(PICTURES)))
    for step in scenario:
        assert set(step.labels) == set(range(step.first, step.seen))
        for image, label, row in zip(step.images, step.labels, step.rows, strict=True):
            assert (image == PICTURES.images[row]).all()
            assert scenario.classes[label] == PICTURES.classes[PICTURES.labels[row]]


def test_seed_1993_gives_the_class_order_of_the_literature() -> None:
    assert ClassIncremental(hundred(), 10, seed=1993).class_order[:10] == ORDER_1993


def test_b50_10_has_six_steps() -> None:
    assert ClassIncremental(hundred(), 10, 50).seen == (50, 60, 70, 80, 90, 100)


def test_equal_seeds_give_equal_orders_and_others_give_others() -> None:
    orders = [ClassIncremental(PICTURES, 2, seed=seed).class_order for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_labels_out_of_order_in_the_data_do_not_matter() -> None:
    mixed = PICTURES.take(np.random.default_rng(0).permutation(len(PICTURES)))
    plain, shuffled = (ClassIncremental(one, 2, seed=5) for one in (PICTURES, mixed))
    for one, other in zip(plain, shuffled, strict=True):
        assert one.seen == other.seen
        assert sorted(PICTURES.keys[row] for row in one.rows) == sorted(
            mixed.keys[row] for row in other.rows
        )


def test_an_order_may_be_given_by_number_or_by_name() -> None:
    numbers = [5, 4, 3, 2, 1, 0]
    names = [f"class{at}" for at in numbers]
    assert ClassIncremental(PICTURES, 2, class_order=numbers).class_order == (5, 4, 3, 2, 1, 0)
    assert ClassIncremental(PICTURES, 2, class_order=names).class_order == (5, 4, 3, 2, 1, 0)


def test_the_test_set_comes_in_the_same_steps() -> None:
    scenario = ClassIncremental(PICTURES, 1, 4, seed=8)
    held = scenario.over(make_pictures(classes=6, per_class=2, side=8, seed=1))
    assert held.class_order == scenario.class_order
    assert held.seen == scenario.seen


def test_other_classes_in_the_test_set_are_refused() -> None:
    with pytest.raises(UsageError, match="do not have the classes"):
        ClassIncremental(PICTURES, 2).over(make_pictures(classes=4, per_class=2, side=8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"increment": 4}, "6 classes are no first step of 4 and then steps of 4"),
        ({"increment": 0}, "at least 1"),
        ({"increment": 1, "initial_increment": 7}, "no first step of 7"),
        ({"increment": 2, "class_order": [0, 1, 2, 3, 4, 4]}, "each of the 6 classes once"),
        ({"increment": 2, "class_order": ["class0", "dog"]}, "'dog', which is no class"),
    ],
)
def test_steps_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ClassIncremental(PICTURES, **options)  # type: ignore[arg-type]


def test_a_class_without_images_is_named() -> None:
    without = PICTURES.take(np.flatnonzero(PICTURES.labels != 2))
    with pytest.raises(UsageError, match="no images of class class2"):
        ClassIncremental(without, 2)
