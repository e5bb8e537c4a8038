"""Finds out which rank of how many this process is."""

import os
import sys
from typing import NamedTuple

from dsc.errors import UsageError


class Topology(NamedTuple):
    """One reader of several that share an epoch."""

    rank: int
    world: int


def find_topology(rank: int | None, world: int | None) -> Topology:
    """Return rank and world: as told, or of torch.distributed, Ray Train or torchrun, or 0 of 1.

    Neither torch nor Ray is loaded for it.

    Raises
    ------
    UsageError
        When only one of them is given, or they do not fit.
    """
    if (rank is None) != (world is None):
        raise UsageError(f"rank={rank}, world={world}: give both or neither")
    if rank is None or world is None:
        found = _from_torch() or _from_ray() or _from_environment() or Topology(0, 1)
    else:
        found = Topology(rank, world)
    if not 0 <= found.rank < found.world:
        raise UsageError(f"rank={found.rank}, world={found.world}: ranks count from 0 below world")
    return found


def _from_torch() -> Topology | None:
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return Topology(distributed.get_rank(), distributed.get_world_size())


def _from_ray() -> Topology | None:
    train = sys.modules.get("ray.train")
    if train is None:
        return None
    try:
        context = train.get_context()
        return Topology(context.get_world_rank(), context.get_world_size())
    except Exception:  # not inside a training worker: each version of Ray says so in its own way
        return None


def _from_environment() -> Topology | None:
    """Read what torchrun sets; a process group may be made only later."""
    try:
        return Topology(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    except (KeyError, ValueError):
        return None
