"""What was used last is kept, within the limit."""

from hypothesis import given
from hypothesis import strategies as st

from dsc._storage.cache.lru import LruCache


@given(
    st.integers(0, 20),
    st.integers(1, 4),
    st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 9)), max_size=40),
)
def test_it_keeps_what_a_list_by_last_use_would(
    limit: int, at_least: int, steps: list[tuple[bool, int, int]]
) -> None:
    kept: LruCache[int, int] = LruCache(limit, at_least)
    model: list[tuple[int, int]] = []  # (key, cost), the last used at the end
    for is_put, key, cost in steps:
        if is_put:
            kept.put(key, key * 10, cost)
            model = [one for one in model if one[0] != key] + [(key, cost)]
            while sum(cost for _, cost in model) > limit and len(model) > at_least:
                model.pop(0)
        else:
            there = [one for one in model if one[0] == key]
            assert kept.get(key) == (key * 10 if there else None)
            model = [one for one in model if one[0] != key] + there
        assert [key for key in range(10) if key in kept] == sorted(key for key, _ in model)
