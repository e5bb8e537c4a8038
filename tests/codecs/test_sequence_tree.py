"""What is predicted from what: every frame once, sources coded before, few frames for one."""

import numpy as np
import pytest

from dsc._codecs.sequence.libaom import NAMES, SLOTS
from dsc._codecs.sequence.tree import MOST, layer_of, structure
from dsc._schemas import Access

COUNTS = range(1, MOST + 1)


@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("count", COUNTS)
def test_every_frame_is_coded_once_after_all_that_it_needs(count, access):
    steps = structure(count, access)
    before: dict[int, frozenset[int]] = {}
    for step in steps:
        assert step.needs <= set(before)
        assert step.needs == frozenset(step.sources).union(*(before[one] for one in step.sources))
        before[step.place] = step.needs
    assert sorted(before) == list(range(count))
    assert steps[0].place == steps[0].level == 0
    assert not steps[0].needs


@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("count", COUNTS)
def test_slots_hold_what_a_frame_is_told_to_be_predicted_from(count, access):
    slots = {slot: 0 for slot in range(SLOTS)}  # a key frame is in all of them
    for step in structure(count, access):
        assert tuple(slots[slot] for slot in step.references.slots) == step.sources
        assert len(step.sources) < NAMES
        if step.references.refreshed is not None:
            slots[step.references.refreshed] = step.place


@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("count", COUNTS)
def test_only_the_first_frame_after_the_key_has_a_single_source(count, access):
    """Slots differ between decoding all and some; with two sources nothing follows from others."""
    steps = structure(count, access)
    assert [step.place for step in steps if len(step.sources) == 1] == [
        step.place for step in steps[1:2]
    ]


def test_a_frame_of_a_tree_of_16_takes_at_most_five():
    found = [len(step.needs) + 1 for step in structure(16, Access.TREE)]
    assert max(found) == 5
    assert np.mean(found) == 4.0625


@pytest.mark.parametrize("count", COUNTS)
def test_a_frame_of_a_balanced_group_takes_at_most_eight(count):
    found = [len(step.needs) + 1 for step in structure(count, Access.BALANCED)]
    assert max(found) <= 8
    assert np.mean(found) <= 5


@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("count", COUNTS)
def test_a_layer_needs_no_layer_above(count, access):
    for step in structure(count, access):
        assert all(layer_of(one) <= layer_of(step.place) for one in step.needs)
