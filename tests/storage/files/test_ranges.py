"""The range planner: each range served once, within the limits, whatever the order."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsc._storage.files.ranges import MergedRange, merge_ranges

RANGES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair))),
    max_size=15,
)
GAP = st.integers(0, 4)
BYTES = st.integers(0, 40)


@given(RANGES, GAP, BYTES)
def test_every_range_is_served_once_and_whole(
    ranges: list[tuple[int, int]], max_gap: int, max_bytes: int
) -> None:
    merged = merge_ranges(ranges, max_gap, max_bytes)
    assert sorted(at for one in merged for at in one.members) == list(range(len(ranges)))
    for one in merged:
        assert all(one.start <= ranges[at][0] <= ranges[at][1] <= one.end for at in one.members)


@given(RANGES, GAP, BYTES)
def test_no_merged_range_is_longer_than_the_limit_or_its_longest_member(
    ranges: list[tuple[int, int]], max_gap: int, max_bytes: int
) -> None:
    for one in merge_ranges(ranges, max_gap, max_bytes):
        longest = max(ranges[at][1] - ranges[at][0] for at in one.members)
        assert one.end - one.start <= max(max_bytes, longest)


@given(RANGES, GAP, BYTES)
def test_no_more_than_the_gap_is_read_for_nobody(
    ranges: list[tuple[int, int]], max_gap: int, max_bytes: int
) -> None:
    for one in merge_ranges(ranges, max_gap, max_bytes):
        reached = one.start
        for at in one.members:  # by their start
            assert ranges[at][0] - reached <= max_gap
            reached = max(reached, ranges[at][1])
        assert reached == one.end
        assert one.start == ranges[one.members[0]][0]


@given(RANGES, GAP, BYTES, st.randoms(use_true_random=False))
def test_the_order_of_the_ranges_changes_nothing(
    ranges: list[tuple[int, int]], max_gap: int, max_bytes: int, random: object
) -> None:
    order = list(range(len(ranges)))
    random.shuffle(order)  # type: ignore[attr-defined]

    def plan(given_order: list[int]) -> list[tuple[int, int, list[tuple[int, int]]]]:
        shuffled = [ranges[at] for at in given_order]
        merged = merge_ranges(shuffled, max_gap, max_bytes)
        return [(one.start, one.end, [shuffled[at] for at in one.members]) for one in merged]

    assert plan(order) == plan(list(range(len(ranges))))


@given(RANGES, st.integers(1, 12))
def test_neighbours_that_fit_are_not_asked_for_apart(
    ranges: list[tuple[int, int]], max_bytes: int
) -> None:
    merged = merge_ranges(ranges, 0, max_bytes)
    for one, following in pairwise(merged):
        first = ranges[following.members[0]]
        assert following.start > one.end or first[1] - one.start > max_bytes


def test_neighbouring_packs_share_a_request_and_far_ones_do_not() -> None:
    assert merge_ranges([(300, 400), (0, 100), (150, 200)], max_gap=50, max_bytes=1000) == [
        MergedRange(0, 200, (1, 2)),
        MergedRange(300, 400, (0,)),
    ]
    assert merge_ranges([(0, 5000), (10, 20)], max_gap=0, max_bytes=1000) == [
        MergedRange(0, 5000, (0, 1))
    ]
    assert merge_ranges([], max_gap=0, max_bytes=0) == []


@pytest.mark.parametrize("bad", [[(5, 4)], [(-1, 4)]])
def test_a_range_that_is_none_is_refused(bad: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="no range"):
        merge_ranges(bad, 0, 0)


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        merge_ranges([(0, 1)], -1, 0)
