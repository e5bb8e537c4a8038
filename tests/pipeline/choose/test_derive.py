"""Which tasks follow from others, where several rules hold."""

from dataclasses import dataclass
from typing import Any, cast

from dsc._pipeline.choose.derive import _chosen


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
