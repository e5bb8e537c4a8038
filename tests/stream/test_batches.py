"""Batches as the loop wants them: of a collate_fn, with keys, of archives by temperature."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import dsc
from dsc._schemas.sample import Sample
from dsc._sources import registry
from dsc.errors import UsageError
from tests.everything import values

N = 23


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("everything")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.SOURCES, "everything", "tests.everything:EverythingSource")
        for number, n in enumerate((N, 4)):
            dsc.compress("everything", folder / str(number), n=n, codec="png", shard_size=5, pack=2)
    return [folder / "0", folder / "1"]


@pytest.fixture(scope="module")
def url(archives: list[Path]) -> Path:
    return archives[0]


def pairs(samples: list[Any]) -> tuple[torch.Tensor, list[str]]:
    """Collate as a training script would."""
    return torch.stack([torch.from_numpy(s["rgb"]) for s in samples]), [
        s["caption"] for s in samples
    ]


def squeezed(sample: Any) -> tuple[int, float]:
    return sample["__index__"], float(sample["height"]) * 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_collate_fn_makes_the_batches(url: Path, workers: int) -> None:
    stream: Any = dsc.stream(
        url, "rgb,caption", 4, missing="none", collate_fn=pairs, workers=workers
    )
    index = 0
    for rgb, captions in stream:
        for place, caption in enumerate(captions):
            np.testing.assert_array_equal(rgb[place].numpy(), values(index)["rgb"])
            assert caption == values(index)["caption"]
            index += 1
    assert index == N == stream.report.samples
    assert stream.report.batches == len(stream)


def test_a_collate_fn_gets_whatever_a_transform_made(url: Path) -> None:
    stream: Any = dsc.stream(url, "height", 5, transform=squeezed, collate_fn=dict, shuffle=True)
    found = {index: value for batch in stream for index, value in batch.items()}
    assert found == {k: pytest.approx(k / 3 * 2) for k in range(N)}


def test_a_collate_fn_without_a_transform_gets_samples_with_their_tasks(url: Path) -> None:
    stream: Any = dsc.stream(url, "rgb,pose", 4, collate_fn=list, with_keys=True)
    samples = [sample for batch in stream for sample in batch]
    assert all(type(sample) is Sample for sample in samples)
    assert set(samples[0].tasks) == {"rgb", "pose"}
    assert [(s["__index__"], s["__key__"]) for s in samples] == [
        (k, f"sample_{k}") for k in range(N)
    ]
    assert not np.shares_memory(samples[0]["rgb"], samples[1]["rgb"])


def test_a_data_loader_of_ones_own_and_resuming_with_a_collate_fn(url: Path) -> None:
    stream: Any = dsc.stream(url, "height", 4, collate_fn=list, shuffle=True)
    loader = DataLoader(stream, batch_size=None, num_workers=2, collate_fn=list)
    seen = sorted(one["__index__"] for batch in loader for one in batch)
    assert seen == list(range(N))
    stream = dsc.stream(url, "height", 4, collate_fn=list, shuffle=True)
    begun = iter(stream)
    first = [one["__index__"] for one in next(begun)]
    again: Any = dsc.stream(url, "height", 4, shuffle=True)
    again.load_state_dict(stream.state_dict())
    assert sorted(first + [i for b in again for i in b["__index__"].tolist()]) == list(range(N))


def test_damage_is_skipped_and_ranks_stay_in_step_with_a_collate_fn(
    url: Path, tmp_path: Path
) -> None:
    ranks: list[Any] = [
        dsc.stream(url, "height", 4, rank=rank, world=2, collate_fn=list, on_error="skip")
        for rank in range(2)
    ]
    batches = [list(rank) for rank in ranks]
    assert len(batches[0]) == len(batches[1])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("output", ["torch", "numpy"])
def test_keys_come_in_batches(url: Path, output: str, workers: int) -> None:
    stream = dsc.stream(
        url, "height", 4, with_keys=True, shuffle=True, output=output, workers=workers
    )
    for batch in stream:
        assert batch["__key__"] == [f"sample_{k}" for k in batch["__index__"].tolist()]
        assert isinstance(batch["__key__"], list)


def test_keys_with_bitstreams_transforms_and_mixtures(archives: list[Path], url: Path) -> None:
    raw = dsc.stream(url, "height", 4, with_keys=True, decode="bytes", where="index > 5")
    assert [key for b in raw for key in b["__key__"]] == [f"sample_{k}" for k in range(6, N)]
    kept = dsc.stream(url, "height", 4, with_keys=True, transform=lambda s: {"h": s["height"]})
    assert [key for b in kept for key in b["__key__"]] == [f"sample_{k}" for k in range(N)]
    named = dsc.stream(url, "height", 4, with_keys=True, transform=lambda s: {"k": s["__key__"]})
    assert next(iter(named))["k"] == ["sample_0", "sample_1", "sample_2", "sample_3"]
    mixed = dsc.stream(archives, "height", 4, with_keys=True, shuffle=True)
    for batch in mixed:
        assert batch["__key__"] == [f"sample_{k}" for k in batch["__index__"].tolist()]


def shares(stream: Any, epochs: int = 12) -> float:
    """Return which part of the samples comes from the second archive."""
    found = [a for _ in range(epochs) for batch in stream for a in batch["__archive__"].tolist()]
    return sum(found) / len(found)


def test_a_temperature_turns_numbers_of_samples_into_weights(archives: list[Path]) -> None:
    for temperature, wanted in ((None, 4 / 27), (1, 4 / 27), (2, 2 / (2 + N**0.5)), (1e9, 0.5)):
        stream = dsc.stream(archives, "height", 9, shuffle=True, temperature=temperature)
        assert stream.samples == N + 4
        assert shares(stream) == pytest.approx(wanted, abs=0.02)
    even = dsc.stream(archives, "height", 9, shuffle=True, temperature=float("inf"))
    assert shares(even) == pytest.approx(0.5, abs=0.01)
    few = dsc.stream(archives, "height", 4, shuffle=True, where="index < 4")
    assert shares(few) == pytest.approx(0.5, abs=0.01)  # of the samples that take part


def test_a_state_of_another_temperature_is_refused(archives: list[Path]) -> None:
    first = dsc.stream(archives, "height", 4, shuffle=True, temperature=2)
    next(iter(first))
    state = first.state_dict()
    dsc.stream(archives, "height", 4, shuffle=True, temperature=2).load_state_dict(state)
    with pytest.raises(UsageError, match="weights"):
        dsc.stream(archives, "height", 4, shuffle=True).load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature=0: above 0"),
        ({"temperature": float("nan")}, "temperature=nan: above 0"),
        ({"temperature": 2}, "temperature=2 is of several archives, given in a list"),
        ({"collate_fn": 3}, "collate_fn=3: a function of a list of samples"),
        ({"collate_fn": list, "decode": "bytes"}, "collate_fn goes with decode='pixels'"),
        ({"collate_fn": list, "device": "cpu"}, "move what collate_fn returns"),
        ({"collate_fn": list, "mixed_sizes": "list"}, "mixed_sizes='list' with collate_fn"),
    ],
)
def test_what_does_not_go_together_is_refused(url: Path, options: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        dsc.stream(url, "rgb", **options)
    assert message in str(caught.value)


def test_wrong_lists_of_archives_and_an_empty_batch_are_refused(url: Path) -> None:
    with pytest.raises(UsageError, match="is given twice"):
        dsc.stream([url, url], "height")
    with pytest.raises(UsageError, match="no archive is given"):
        dsc.stream([], "height")
    with pytest.raises(UsageError, match="and weights are given"):
        dsc.stream({url: 1.0}, "height", temperature=2)
    with pytest.raises(UsageError, match="collate_fn gave None"):
        next(iter(dsc.stream(url, "height", collate_fn=lambda samples: None)))
