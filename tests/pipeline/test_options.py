"""An option is one field: what is gathered of values is spelled so that it is gathered again."""

from dataclasses import FrozenInstanceError, dataclass
from typing import Annotated, Any

import pytest

from dsc._pipeline.options import (
    CodingOptions,
    Helps,
    LayoutOptions,
    Option,
    SourceOptions,
    WorkOptions,
    gather,
    given,
    leaves,
    spelled,
)
from dsc.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A call with the parts that a test needs."""

    data: Annotated[SourceOptions, Helps(tasks="Other words.")]
    coding: CodingOptions = CodingOptions(quality="70")  # noqa: RUF009
    deep: Annotated[bool, Option("--deep", "Look deeper.", kind=bool)] = False


def test_values_find_their_parts_and_what_is_no_option_goes_to_the_layout() -> None:
    found = gather(Asked, {"source": "folder", "codec": "png", "kinds": "a=image", "rows": 3})
    assert (found.data.source, found.coding.codec, found.coding.quality) == ("folder", "png", "70")
    assert found.data.layout.told() == {"kinds": "a=image", "rows": 3}
    assert LayoutOptions().told() == {}
    with pytest.raises(FrozenInstanceError):
        found.deep = True  # type: ignore[misc]
    with pytest.raises(TypeError, match="WorkOptions has no option rows"):
        gather(WorkOptions, {"rows": 3})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "folder --quality 70"),
        ({"quality": None, "auto_samples": 32, "tasks": None}, "folder"),
        ({"quality": None, "auto_samples": 8, "tasks": ["rgb", "depth"]},
         "folder --tasks rgb,depth --auto-samples 8"),
        ({"quality": 5, "deep": True, "sample": 3}, "folder --views 3 --quality 5 --deep"),
        ({"quality": None, "alpha": False, "far": {"a": 1}}, "folder --no-alpha --far a=1"),
        ({"quality": None, "source": "-x"}, "./-x"),
    ],
)  # fmt: skip
def test_only_what_is_not_usual_is_spelled(values: dict[str, Any], words: str) -> None:
    assert spelled(gather(Asked, {"source": "folder", **values})) == words.split()


def test_what_no_command_can_say_is_not_spelled() -> None:
    assert spelled(gather(Asked, {"source": object()})) is None
    assert spelled(gather(Asked, {"source": "folder", "quality": object()})) is None


def test_a_part_may_have_other_help_and_other_defaults() -> None:
    found = {leaf.name: leaf for leaf in leaves(Asked)}
    assert found["tasks"].option.help == "Other words."
    assert found["root"].option.help != "Other words."
    assert found["quality"].default == "70"
    assert given(CodingOptions(codec="png", auto_samples=32)) == ["--codec", "--auto-samples"]


def test_where_work_runs_is_said_once() -> None:
    WorkOptions(workers=2).check()
    for asked in ({"workers": -1}, {"workers": 1, "address": "auto"}, {"on_error": "ignore"}):
        with pytest.raises(UsageError, match="--"):
            WorkOptions(**asked).check()  # type: ignore[arg-type]
