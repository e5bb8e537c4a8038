"""Rank and world: as told, of torch.distributed, of torchrun, or alone."""

import sys
from types import SimpleNamespace

import pytest

from dsc._stream.topology import find_topology
from dsc.errors import UsageError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def distributed(rank: int, world: int, ready: bool = True) -> SimpleNamespace:
    return SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: ready,
        get_rank=lambda: rank,
        get_world_size=lambda: world,
    )


def test_alone_is_rank_0_of_1() -> None:
    assert find_topology(None, None) == (0, 1)


def test_torch_distributed_is_asked_when_it_is_initialised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.distributed", distributed(2, 4))
    assert find_topology(None, None) == (2, 4)
    assert find_topology(0, 2) == (0, 2)
    monkeypatch.setitem(sys.modules, "torch.distributed", distributed(2, 4, ready=False))
    assert find_topology(None, None) == (0, 1)


def test_torchrun_is_asked_before_a_process_group_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert find_topology(None, None) == (3, 8)


@pytest.mark.parametrize(("rank", "world"), [(1, None), (None, 2), (2, 2), (-1, 2)])
def test_what_does_not_fit_is_refused(rank: int | None, world: int | None) -> None:
    with pytest.raises(UsageError, match="rank"):
        find_topology(rank, world)
