"""Near-duplicates are those that all pairs give, and splits that share some are told of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from dsc._pipeline.read import duplicates
from dsc._pipeline.read.duplicates import linked
from dsc._pipeline.read.vectors import unit
from dsc.errors import UsageError
from dsc.schemas import TaskKind
from tests.cli.conftest import run_dsc
from tests.pipeline.read.test_search import RGB, THERE, VECTOR, Vectored


def brute_force(units: np.ndarray, above: float) -> list[list[int]]:
    """Join samples pair by pair."""
    groups = [{index} for index in range(len(units))]
    for one, other in np.argwhere(units @ units.T >= above).tolist():
        both = groups[one] | groups[other]
        for index in both:
            groups[index] = both
    return sorted(sorted(group) for group in {id(g): g for g in groups}.values() if len(group) > 1)


@pytest.mark.parametrize("above", [0.5, 0.8, 0.99])
@pytest.mark.parametrize("spread", [0.1, 0.5, 2.0])
def test_groups_are_those_of_all_pairs(
    above: float, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "ROWS", 7)
    monkeypatch.setattr(duplicates, "COLUMNS", 16)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 6))
    units = unit(centres[rng.integers(0, 12, 90)] + spread * rng.normal(size=(90, 6)))
    assert sorted(members.tolist() for members in linked(units, above)) == brute_force(units, above)


def test_thousands_of_equal_vectors_are_one_group() -> None:
    units = unit(np.ones((5000, 4)))
    assert [len(members) for members in linked(units, 0.9)] == [5000]


class Copied(Vectored):
    """Vectors of which three are one, in both splits, and two others, in one."""

    def read(self, index: int, tasks: object) -> object:
        same = {8: 3, 35: 3, 11: 10}.get(index, index)
        found = super().read(same, tasks)
        return type(found)(self.key(index), found.arrays, found.source_bytes)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("copied") / "copied"
    dsc.compress(Copied(), out, codec="rgb=png", shard_size=8)
    return out


def test_splits_that_share_samples_come_first_and_are_counted(archive: Path) -> None:
    found = dsc.open(archive).duplicates(above=0.9999)
    assert [group.keys for group in found.groups] == [("s003", "s008", "s035"), ("s010", "s011")]
    assert found.groups[0].splits == ("train", "train", "val")
    assert found.across == {("train", "val"): 2, ("val", "train"): 1}
    assert found.samples == len([index for index in THERE if index != 35]) + 1


def test_a_selection_is_compared_alone(archive: Path) -> None:
    few = dsc.open(archive).select(indices=[35, 10, 3])
    (group,) = few.duplicates(above=0.9999).groups
    assert group.keys == ("s003", "s035")
    assert [few[index]["rgb"][0, 0, 0] for index in group.indices] == [3, 3]
    assert not dsc.open(archive, split="val").duplicates(above=0.9999).groups


def test_the_command_line_tells_of_leakage(archive: Path) -> None:
    ran = run_dsc("info", archive, "--duplicates", "--above", 0.9999)
    assert ran.code == 0, ran.err
    assert "near-duplicates: 2 groups with 5 of 35 samples by looks, from 0.9999 on" in ran.out
    assert "val: 1 sample with near-duplicates in train" in ran.out
    assert "s003, s008, s035" in ran.out
    found = run_dsc("info", archive, "--duplicates", "--above", 0.9999, "--json").json()
    assert found["duplicates"]["across"] == [
        {"split": "train", "with": "val", "samples": 2},
        {"split": "val", "with": "train", "samples": 1},
    ]
    assert [group["indices"] for group in found["duplicates"]["groups"]] == [[3, 8, 35], [10, 11]]


@pytest.mark.parametrize("above", [0, 1.2, float("nan")])
def test_thresholds_that_are_none_are_refused(archive: Path, above: float) -> None:
    with pytest.raises(UsageError, match="a cosine similarity"):
        dsc.open(archive).duplicates(above)


@pytest.mark.parametrize(
    ("asked", "usual"),
    [
        ({}, 0.8),
        ({"quality": 80}, 0.9),
        ({"quality": "80,looks=60"}, 0.8),
        ({"target": "looks=0.01cos"}, 0.9),
        ({"exact": True}, 0.9),
    ],
)
def test_the_usual_threshold_is_lower_for_vectors_that_lost_more(
    tmp_path: Path, asked: dict[str, Any], usual: float
) -> None:
    class Lossy(Copied):
        tasks = (RGB, VECTOR.model_copy(update={"kind": TaskKind.EMBEDDING}))

    dsc.compress(Lossy(), tmp_path / "lossy", tasks="looks", **asked)
    assert dsc.open(tmp_path / "lossy").duplicates().above == usual


def test_copies_are_found_however_their_similarity_is_rounded() -> None:
    vectors = np.abs(np.random.default_rng(0).normal(size=(100, 1280))).astype(np.float32)
    groups = [members.tolist() for members in linked(unit(np.concatenate([vectors] * 2)), 1.0)]
    assert groups == [[index, index + 100] for index in range(100)]


def test_options_that_say_nothing_are_refused(archive: Path) -> None:
    assert "give it, too" in run_dsc("info", archive, "--above", 0.9).err
    assert "give one of them" in run_dsc("info", archive, "--duplicates", "--samples", 3).err
    assert "--values or --duplicates" in run_dsc("info", archive, "--tasks", "looks").err
    assert run_dsc("info", archive, "--duplicates", "--tasks", "rgb").code == 2
