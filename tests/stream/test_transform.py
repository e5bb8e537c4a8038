"""What a transform draws depends on seed, epoch and sample only."""

import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import dsc
from dsc._stream.options import StreamOptions
from dsc._transforms.randomness import drawing, generator
from dsc.errors import UsageError

CROP = 16


def crop(sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Crop at a place of its own, which is said."""
    top, left = rng.integers(0, 64 - CROP, 2)
    rgb = sample["rgb"][top : top + CROP, left : left + CROP]
    return {"rgb": rgb, "place": np.array([top, left]), "number": rng.random()}


def draws(stream: Any, loader: Any = None) -> dict[int, tuple[Any, ...]]:
    """Return what one epoch drew, by sample."""
    found = {}
    for batch in stream if loader is None else loader:
        for at, index in enumerate(batch["__index__"].tolist()):
            pixels = np.asarray(batch["rgb"][at]).tobytes()
            found[index] = (*batch["place"][at].tolist(), float(batch["number"][at]), pixels)
    return found


ORDER: dict[str, Any] = {"shuffle": True, "seed": 5, "transform": crop}


@pytest.fixture(scope="module")
def wanted(views: Path) -> list[dict[int, tuple[Any, ...]]]:
    """What three epochs draw in one process."""
    stream = dsc.stream(views, "rgb", 4, **ORDER)
    found = [draws(stream) for _ in range(3)]
    assert [len(epoch) for epoch in found] == [12] * 3
    places = [one[:2] for epoch in found for one in epoch.values()]
    assert len(set(places)) > 25  # samples and epochs differ
    return found


@pytest.mark.parametrize("workers", [1, 4])
def test_crops_are_the_same_with_workers(wanted: Any, views: Path, workers: int) -> None:
    stream = dsc.stream(views, "rgb", 2, workers=workers, **ORDER)
    assert [draws(stream) for _ in range(2)] == wanted[:2]


@pytest.mark.parametrize("workers", [0, 2])
def test_crops_are_the_same_under_a_data_loader(wanted: Any, views: Path, workers: int) -> None:
    stream = dsc.stream(views, "rgb", 4, **ORDER)
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    assert [draws(stream, loader) for _ in range(2)] == wanted[:2]


@pytest.mark.parametrize("options", [{"threads": 2}, {"cache_decoded": "10MB"}, {"batch_size": 5}])
def test_crops_are_the_same_however_samples_are_decoded(
    wanted: Any, views: Path, options: dict[str, Any]
) -> None:
    stream = dsc.stream(views, "rgb", **({"batch_size": 4} | options), **ORDER)
    assert [draws(stream) for _ in range(3)] == wanted


def test_crops_are_the_same_on_any_rank(wanted: Any, views: Path) -> None:
    for world in (2, 3):
        found: dict[int, Any] = {}
        for rank in range(world):
            found |= draws(dsc.stream(views, "rgb", 2, rank=rank, world=world, **ORDER))
        assert found == wanted[0]


def test_crops_are_the_same_in_another_order(wanted: Any, views: Path) -> None:
    plain = dsc.stream(views, "rgb", 4, **ORDER | {"shuffle": False})
    assert draws(plain) == wanted[0]


@settings(max_examples=12, deadline=None)
@given(stop=st.integers(1, 8), batch=st.integers(1, 5), seed=st.integers(0, 9))
def test_crops_are_the_same_after_going_on(
    wanted: Any, views: Path, stop: int, batch: int, seed: int
) -> None:
    """Whatever batch size and seed the stream has that goes on: the seed is the state's."""
    begun = dsc.stream(views, "rgb", 1, **ORDER)
    begun.set_epoch(1)
    seen = {}
    for one in itertools.islice(begun, stop):
        seen |= draws([one])
    state = begun.state_dict()
    again = dsc.stream(views, "rgb", batch, **ORDER | {"seed": seed})
    again.load_state_dict(state)
    rest = draws(again)
    assert not seen.keys() & rest.keys()
    assert seen | rest == wanted[1]
    assert draws(again) == wanted[2]


def test_crops_go_on_under_workers(wanted: Any, views: Path) -> None:
    begun = dsc.stream(views, "rgb", 2, workers=2, **ORDER)
    seen = {}
    for one in itertools.islice(begun, 3):
        seen |= draws([one])
    again = dsc.stream(views, "rgb", 2, workers=1, **ORDER)
    again.load_state_dict(begun.state_dict())
    assert seen | draws(again) == wanted[0]


def test_in_a_mixture_a_sample_that_comes_twice_in_an_epoch_is_drawn_anew(
    views: Path, tmp_path: Path
) -> None:
    dsc.compress("taskonomy", tmp_path / "b", sample=3, tasks="rgb", size=64, codec="rgb=jpeg")

    def drawn(**options: Any) -> list[tuple[Any, ...]]:
        stream = dsc.stream({views: 1, tmp_path / "b": 3}, "rgb", 5, **ORDER, **options)
        columns = ("__archive__", "__index__", "number")
        found = []
        for epoch in range(2):
            for batch in stream:
                found += zip(*(batch[name].tolist() for name in columns), [epoch] * 5, strict=False)
        return found

    found = drawn()
    assert sorted(drawn(workers=2)) == sorted(found)
    second = [one for one in found if one[0] == 1]
    assert len(second) > 2 * 3  # each of the three more than once an epoch
    assert len({number for _, _, number, _ in found}) == len(found)


def test_generators_differ_by_seed_epoch_sample_and_archive() -> None:
    places = list(itertools.product((0, 1, -1), (0, 1), (0, 1, 2), (0, 1)))
    assert len({generator(*place).random() for place in places}) == len(places)
    assert generator(1, 2, 3).random() == generator(1, 2, 3, 0).random()
    assert generator(0, 0, 0).integers(1 << 62) == 53250005300491814  # for ever


class Both:
    def __call__(self, sample: Any, rng: Any) -> Any:
        return sample, rng


class Plain(torch.nn.Module):
    def forward(self, sample: Any) -> Any:
        return sample, None


def with_size(sample: Any, size: int = 3) -> Any:
    return sample, None


def by_name(sample: Any, *, rng: Any) -> Any:
    return sample, rng


def positional(sample: Any, draw: Any, /) -> Any:
    return sample, draw


def optional(sample: Any, size: int = 2, rng: Any = None) -> Any:
    return sample, rng


@pytest.mark.parametrize(
    ("transform", "draws"),
    [
        (Both(), True), (by_name, True), (positional, True), (optional, True),
        (functools.partial(optional, size=5), True), (lambda sample, r: (sample, r), True),
        (with_size, False), (Plain(), False), (lambda *given: (given[0], None), False),
    ],
)  # fmt: skip
def test_a_transform_is_given_a_generator_if_it_asks_for_one(transform: Any, draws: bool) -> None:
    rng = generator(0, 0, 0)
    assert drawing(transform)({"a": 1}, rng) == ({"a": 1}, rng if draws else None)


def test_a_builtin_is_given_the_sample() -> None:
    assert drawing(dict)({"a": 1}, generator(0, 0, 0)) == {"a": 1}


def test_a_transform_that_must_be_given_more_is_refused() -> None:
    def resize(sample: Any, rng: Any, size: int) -> Any: ...

    with pytest.raises(UsageError, match=r"transform=resize must be given sample, rng, size"):
        StreamOptions(transform=resize)


def test_a_sample_says_what_its_tasks_mean(views: Path) -> None:
    for sample in (dsc.open(views)[0], dsc.open(views)[0].copy() | {"rgb": None}):
        assert {name: task.kind.value for name, task in sample.tasks.items()} == {
            "rgb": "image", "depth_zbuffer": "depth", "segment_semantic": "label",
        }  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loop_that_took_every_batch_but_no_end_is_a_whole_epoch(
    wanted: Any, views: Path, workers: int
) -> None:
    """Trainers that count batches, as Lightning does, never ask for one more."""
    stream = dsc.stream(views, "rgb", 5, workers=workers, **ORDER)
    for epoch in range(3):
        assert draws(itertools.islice(stream, len(stream))) == wanted[epoch]
    next(iter(stream))
    assert draws(itertools.islice(stream, 2)).keys() < wanted[0].keys()
    assert stream.epoch == 3
    stream.set_epoch(1)
    assert draws(itertools.islice(stream, len(stream))) == wanted[1]
    state = stream.state_dict()
    again = dsc.stream(views, "rgb", 5, **ORDER)
    again.load_state_dict(state)
    assert draws(again) == {}  # all of it had been seen
    assert draws(again) == wanted[2]
