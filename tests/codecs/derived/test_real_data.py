"""Nothing of real recordings and views follows from the rest: their sets hold no such tasks."""

from pathlib import Path

import pytest

from dsc._codecs.derived.rules import find_rule
from dsc._sources.registry import open_source

SETS = (("taskonomy", "taskonomy_native"), ("nyuv2", "nyuv2"), ("folder", "sevenscenes"))
SAMPLES = 4


@pytest.mark.data
@pytest.mark.parametrize(("layout", "name"), SETS)
def test_nothing_is_found_that_does_not_follow(layout: str, name: str, data_root: Path) -> None:
    source = open_source(layout, str(data_root / name))
    tasks = [task for task in source.tasks if task.is_map]
    names = [task.name for task in tasks]
    samples = [source.read(index, names).arrays for index in range(min(SAMPLES, len(source)))]
    assert len(tasks) > 1
    for child in tasks:
        assert find_rule(child, tasks, samples) is None
