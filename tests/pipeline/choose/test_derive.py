"""Which tasks follow from others, where several rules hold."""

from dataclasses import dataclass
from typing import Any, cast

from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.codec_spec import choose_codecs
from dsc._pipeline.choose.derive import _chosen, find_rules
from dsc._sources.base import Source
from dsc._sources.registry import open_source


@dataclass
class Follows:
    inputs: tuple[str, ...]


def chosen(**inputs: str) -> set[str]:
    found: Any = {name: Follows(tuple(own.split())) for name, own in inputs.items()}
    return set(_chosen(cast(Any, found)))


def test_of_two_that_follow_from_one_another_one_is_stored() -> None:
    assert len(chosen(z="ray", ray="z")) == 1


def test_what_more_tasks_follow_from_is_stored() -> None:
    assert chosen(z="ray", ray="z", edges="z", light="normal z") == {"ray", "edges", "light"}
    assert chosen(ray="z", z="ray", light="normal ray") == {"z", "light"}


def test_no_task_follows_from_one_that_is_derived() -> None:
    assert chosen(edges="rgb", mask="edges") == {"mask"}


def test_of_two_that_are_even_the_first_is_stored() -> None:
    assert chosen(z="ray", ray="z", edges="rgb") == {"ray", "edges"}


NAMES = ["rgb", "depth_euclidean", "depth_zbuffer", "normal", "reshading", "edge_occlusion"]


def rooms() -> Source:
    return open_source("sample", n=2, size=96, tasks=NAMES)


def found(source: Source, **given: Any) -> dict[str, tuple[str, ...]]:
    tasks = [task for task in source.tasks if task.name in NAMES]
    words = choose_codecs(None, tasks)
    rules = find_rules(source, tasks, words, (), **given)
    return {name: rule.inputs for name, rule in rules.items()}


def test_what_follows_from_either_of_two_takes_the_one_that_is_stored() -> None:
    """Both kinds of depth give the shading, and only one gives the edges."""
    inputs = found(rooms())
    assert inputs["depth_euclidean"] == inputs["edge_occlusion"] == ("depth_zbuffer",)
    assert inputs["reshading"] == ("normal", "depth_zbuffer")


def test_a_call_that_goes_on_takes_the_rules_there_are_and_looks_at_nothing() -> None:
    source = rooms()
    tasks = [task for task in source.tasks if task.name in NAMES]
    words = choose_codecs(None, tasks)
    codecs = CodecSet.assigned(words, tasks, rules=find_rules(source, tasks, words, ()))

    def read(index: int) -> Any:
        raise AssertionError(index)

    records = codecs.records()
    again = find_rules(source, tasks, words, (), read=read, begun=records)
    assert CodecSet.assigned(words, tasks, rules=again).records() == records
    assert find_rules(source, tasks, words, NAMES, read=read, begun=records) == {}


def test_samples_are_read_by_who_gives_them() -> None:
    source, indices = rooms(), []

    def read(index: int) -> Any:
        indices.append(index)
        return source.read(index, NAMES).arrays

    assert found(source, read=read) == found(source)
    assert sorted(indices) == [0, 1]
