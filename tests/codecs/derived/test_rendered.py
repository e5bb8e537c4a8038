"""Rules are found on rendered views and on nothing that does not follow; parents may be lossy."""

from functools import cache

import numpy as np
import pytest

from dsc._codecs.base import Array
from dsc._codecs.derived.evidence import share_within
from dsc._codecs.derived.rule import Rule
from dsc._codecs.derived.rules import find_rule, rule_class
from dsc._codecs.registry import codec_class
from dsc._renderer.render import render_view
from dsc._schemas import Quality
from dsc._sources.taskonomy import DOMAINS

PARENTS = [DOMAINS[name] for name in ("rgb", "depth_zbuffer", "normal")]
FOLLOWS = {  # the rule of each child, and the least share of equal values, and of those within 2
    "depth_euclidean": ("depth_euclidean@1", 0.98, 1.0),
    "edge_occlusion": ("edge_occlusion@1", 0.99, 1.0),
    "mask_valid": ("mask_valid@1", 1.0, 1.0),
    "reshading": ("reshading@1", 0.97, 1.0),
}


@cache
def views() -> tuple[dict[str, Array], ...]:
    """Three rendered views; the windows of the second have no depth."""
    return tuple(render_view(index, 192, 3, tuple(FOLLOWS)) for index in (1, 2, 3))


@cache
def rule_of(name: str) -> Rule:
    found = find_rule(DOMAINS[name], PARENTS, views())
    assert found is not None
    return found


@pytest.mark.parametrize("name", FOLLOWS)
def test_a_task_that_follows_is_found(name: str) -> None:
    rule_id, equal, within = FOLLOWS[name]
    rule = rule_of(name)
    assert rule.id == rule_id
    inputs = [DOMAINS[parent] for parent in rule.inputs]
    again = rule_class(rule_id).from_params(DOMAINS[name], inputs, rule.params())
    for view in views():
        own = rule.fit(view[name], view)
        assert len(own) == rule.own_count
        assert all(0 <= number < 65536 for number in own)
        derived = again.derive(view, own)
        assert derived.dtype == view[name].dtype
        assert derived.shape == view[name].shape
        assert share_within(derived, view[name], 0) >= equal
        assert share_within(derived, view[name], 2) >= within


@pytest.mark.parametrize("name", FOLLOWS)
def test_originals_of_other_views_do_not_follow(name: str) -> None:
    mixed = [{**view, name: other[name]} for view, other in zip(views(), views()[1:], strict=False)]
    assert find_rule(DOMAINS[name], PARENTS, mixed) is None
    assert find_rule(DOMAINS[name], PARENTS, [views()[0], *mixed]) is None


def test_what_is_rendered_itself_does_not_follow() -> None:
    for child in PARENTS:
        others = [task for task in PARENTS if task is not child]
        assert find_rule(child, others, views()) is None


@pytest.mark.parametrize("name", ["depth_euclidean", "reshading"])
def test_decoded_parents_give_nearly_the_child(name: str) -> None:
    rule, view = rule_of(name), views()[0]
    decoded = {}
    for parent in rule.inputs:
        codec = codec_class("av1").for_tasks([DOMAINS[parent]])
        (streams,) = codec.encode_batch([view], Quality(default=90))
        decoded |= codec.decode_batch([streams], [parent], 1 << 20)[0]
    derived = rule.derive(decoded, rule.fit(view[name], view)).astype(np.float64)
    error = np.sqrt(np.mean((derived - view[name]) ** 2))
    assert error < 0.03 * view[name].std()
