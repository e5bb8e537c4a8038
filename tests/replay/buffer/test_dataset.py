"""Draws: endless, equal for a seed wherever they start, decoded ahead, not disturbed by updates."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.buffer.dataset import draws
from dsc.errors import BitstreamError, UsageError
from tests.replay.pictures import pictures

IMAGES, LABELS = pictures(24, 16), np.arange(24) % 3


@pytest.fixture
def buffer(tmp_path: Path) -> Iterator[ReplayBuffer]:
    with ReplayBuffer(tmp_path / "b.h5", "200kB", "png", cache="1MB") as made:
        made.add(IMAGES, LABELS)
        yield made


def first(batches: Iterator[Any], count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    found = list(itertools.islice(batches, count))
    batches.close()  # type: ignore[attr-defined]
    return found


def test_batches_are_collated_exemplars_with_their_labels(buffer: ReplayBuffer) -> None:
    known = {image.tobytes(): int(label) for image, label in zip(IMAGES, LABELS, strict=True)}
    for images, labels in first(buffer.dataset().draws(5), 4):
        assert (images.shape, images.dtype) == ((5, 16, 16, 3), torch.uint8)
        assert [known[image.numpy().tobytes()] for image in images] == labels.tolist()


def test_arrays_are_drawn_as_tensors_are(buffer: ReplayBuffer) -> None:
    exemplars = buffer.dataset(transform=lambda image: {"image": image, "mean": image.mean()})
    tensors = first(exemplars.draws(4), 2)
    arrays: list[Any] = first(exemplars.draws(4, output="numpy"), 2)
    for (wanted, labels), (images, same) in zip(tensors, arrays, strict=True):
        for name in ("image", "mean"):
            np.testing.assert_array_equal(images[name], wanted[name].numpy())
            assert images[name].dtype == wanted[name].numpy().dtype
        assert type(same) is np.ndarray
        assert same.tolist() == labels.tolist()
    with pytest.raises(UsageError, match="output='jax': one of torch, numpy"):
        exemplars.draws(4, output="jax")


def test_a_loop_that_goes_on_draws_what_it_would_have_drawn(buffer: ReplayBuffer) -> None:
    exemplars = buffer.dataset(indices=range(3, 20))
    whole = first(exemplars.draws(4, seed=7), 6)
    later = first(exemplars.draws(4, seed=7, start=4, prefetch=5), 2)
    for (images, labels), (again, same) in zip(whole[4:], later, strict=True):
        assert torch.equal(images, again)
        assert torch.equal(labels, same)
    other = first(exemplars.draws(4, seed=8), 6)
    assert any(not torch.equal(a, b) for (a, _), (b, _) in zip(whole, other, strict=True))


def test_draws_go_on_with_what_there_was_when_they_began(buffer: ReplayBuffer) -> None:
    undisturbed = first(buffer.dataset().draws(4, prefetch=1), 8)
    running = buffer.dataset().draws(4, prefetch=1)
    found = list(itertools.islice(running, 2))
    buffer.add(255 - IMAGES, LABELS + 3)
    buffer.resize("3kB")
    found += first(running, 6)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(found, undisturbed, strict=True))


class Watched:
    """Counts the batches that were decoded."""

    def __init__(self) -> None:
        self.decoded, self.more = 0, threading.Condition()

    def __len__(self) -> int:
        return 3

    def __copy__(self) -> "Watched":
        return self

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, int]]:
        with self.more:
            self.decoded += 1
            self.more.notify()
        return [(np.zeros(1), index) for index in indices]


@pytest.mark.parametrize("prefetch", [1, 4])
def test_batches_are_decoded_ahead_and_not_without_end(prefetch: int) -> None:
    watched = Watched()
    batches = draws(watched, 2, prefetch=prefetch)
    next(batches)
    ahead = 1 + 1 + prefetch  # the first look, the batch that came, and those after it
    with watched.more:
        assert watched.more.wait_for(lambda: watched.decoded == ahead, timeout=60)
    assert watched.decoded == ahead
    batches.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("exemplars")]


def test_damage_reaches_the_loop_that_draws(buffer: ReplayBuffer) -> None:
    batches = ReplayBuffer.open(buffer.path).dataset().draws(4, prefetch=1)  # without a cache
    next(batches)
    data = bytearray(buffer.path.read_bytes())
    at = data.find(b"IDAT")
    data[at : at + 4] = b"IDAX"
    with buffer.path.open("r+b") as file:  # in place: the reader has the file open
        file.write(data)
    with pytest.raises(BitstreamError):
        first(batches, 60)


def test_nothing_to_draw_from_and_numbers_out_of_range_are_refused(tmp_path: Path) -> None:
    with ReplayBuffer(tmp_path / "b.h5", "20kB") as empty:
        with pytest.raises(UsageError, match="empty"):
            empty.dataset().draws(4)
        empty.add(IMAGES[:2], LABELS[:2])
        for numbers in ({"prefetch": 0}, {"start": -1}, {"seed": -1}):
            with pytest.raises(UsageError, match="at least"):
                empty.dataset().draws(4, **numbers)
