from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsc._replay.buffer.buffer import ReplayBuffer
from dsc.errors import UsageError
from tests.replay.kinds import PICTURES, Kind, same

COUNT = 40


def worker(
    path: Path, seed: int, first: int, count: int = COUNT, kind: Kind = PICTURES, **options: Any
) -> ReplayBuffer:
    options = {"budget": 4000, **kind.options, **options}
    with ReplayBuffer(path, seed=seed, **options) as buffer:
        keys = [str(at) for at in range(first, first + count)]
        buffer.add(kind.samples(count, 8, seed=first), np.arange(count) % 3, keys=keys)
    return buffer


def test_a_merge_keeps_exactly_the_smallest_keys_of_all(tmp_path: Path, kind: Kind) -> None:
    """One buffer with room for all, cut down, is the reference."""
    for seed in range(3):
        worker(tmp_path / f"{seed}.h5", seed, seed * COUNT, kind=kind)
        worker(tmp_path / f"large{seed}.h5", seed, seed * COUNT, kind=kind, budget="1MB")
    small = ReplayBuffer.merge([tmp_path / f"{seed}.h5" for seed in range(3)], tmp_path / "m.h5")
    whole = ReplayBuffer.merge(
        [tmp_path / f"large{seed}.h5" for seed in range(3)], tmp_path / "w.h5"
    )
    assert len(whole) == 3 * COUNT
    whole.resize(4000)
    assert 10 < len(small) < 3 * COUNT
    assert sorted(small.keys) == sorted(whole.keys)
    assert small.nbytes <= small.budget == 4000
    assert small.seen == 3 * COUNT


def test_a_merge_is_fair_to_every_sample_of_every_worker(tmp_path: Path) -> None:
    kept = np.zeros(60)
    options: dict[str, Any] = {"codec": "png", "budget": 2600}
    for trial in range(40):
        paths = [tmp_path / f"{trial}-{part}.h5" for part in range(2)]
        worker(paths[0], 2 * trial, 0, 40, **options)  # workers of unequal shares
        worker(paths[1], 2 * trial + 1, 40, 20, **options)
        with ReplayBuffer.merge(paths, tmp_path / f"{trial}.h5") as merged:
            kept[[int(key) for key in merged.keys]] += 1
    expected = kept.sum() / 60
    share = kept[:40].sum() / kept.sum()
    assert expected > 3
    assert abs(share - 2 / 3) < 3 * np.sqrt(2 / 9 / kept.sum())
    assert ((kept - expected) ** 2 / expected).sum() < 98.3  # 99.9 %, 59 degrees of freedom


def test_a_larger_budget_does_not_favour_the_worker_that_saw_less(tmp_path: Path) -> None:
    worker(tmp_path / "0.h5", 0, 0, 200)
    worker(tmp_path / "1.h5", 1, 200, 20)
    parts = [ReplayBuffer.open(tmp_path / name) for name in ("0.h5", "1.h5")]
    assert len(parts[0]) < 60
    assert len(parts[1]) == 20
    merged = ReplayBuffer.merge([part.path for part in parts], tmp_path / "m.h5", budget="1MB")
    kept = np.array([int(key) for key in merged.keys])
    assert (kept < 200).sum() == len(parts[0])
    assert (kept >= 200).sum() < 12  # of 20, about as many as of any other 20


def test_merged_images_are_those_of_the_workers_bit_for_bit(tmp_path: Path, kind: Kind) -> None:
    found = {}
    for seed, quality in enumerate([30, 80]):
        path = tmp_path / f"{seed}.h5"
        worker(path, seed, seed * 300, 300, kind, quality=quality)
        part = ReplayBuffer.open(path)
        found |= dict(zip(part.keys, part, strict=True))
    merged = ReplayBuffer.merge([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "m.h5")
    for key, (image, label) in zip(merged.keys, merged, strict=True):
        assert same(image, found[key][0])
        assert label == found[key][1]


@pytest.mark.parametrize("policy", ["class-balanced", "rate-adaptive"])
def test_a_merged_buffer_goes_on(tmp_path: Path, kind: Kind, policy: str) -> None:
    for seed in range(2):
        worker(tmp_path / f"{seed}.h5", seed, seed * COUNT, kind=kind, policy=policy)
    merged = ReplayBuffer.merge([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "m.h5")
    merged.add(kind.samples(30, 8, 5), np.full(30, 9), keys=["new"] * 30)
    counts = np.bincount(merged.targets)
    assert np.ptp(counts[:3]) <= 3
    assert counts[9] >= counts[:3].max() - 3  # more, where bytes are equal and quality is lower
    assert merged.nbytes <= merged.budget


def test_workers_of_equal_seeds_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        worker(tmp_path / f"{name}.h5", 7, 0)
    with pytest.raises(UsageError, match="same seed 7"):
        ReplayBuffer.merge([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "m.h5")
    assert not (tmp_path / "m.h5").exists()


def test_buffers_that_differ_are_refused(tmp_path: Path) -> None:
    worker(tmp_path / "a.h5", 0, 0)
    worker(tmp_path / "b.h5", 1, 0, policy="class-balanced")
    with pytest.raises(UsageError, match="another policy"):
        ReplayBuffer.merge([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "m.h5")


def test_herded_buffers_do_not_merge(tmp_path: Path) -> None:
    for seed in range(2):
        ReplayBuffer(tmp_path / f"{seed}.h5", budget=4000, seed=seed, policy="herding").close()
    with pytest.raises(UsageError, match="herding buffers cannot be merged"):
        ReplayBuffer.merge([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "m.h5")
