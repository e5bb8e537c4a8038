"""Merges replay buffers: the exemplars of several, offered to one policy under their own keys."""

import hashlib
from collections.abc import Sequence

import numpy as np

from dsc._replay.buffer.meta import BufferMeta
from dsc._replay.buffer.rows import Rows
from dsc._replay.buffer.update import PART, Work, settle
from dsc._replay.buffer.view import View
from dsc._replay.buffer.view_slots import with_slot
from dsc._schemas.size import parse_bytes
from dsc.errors import UsageError

Named = Sequence[tuple[str, View]]


def merged_meta(named: Named, budget: int | str | None, seed: int | None) -> BufferMeta:
    """Begin the buffer that several are merged into.

    Raises
    ------
    UsageError
        When they differ in policy, tasks or keys, or share a seed.
    """
    if not named:
        raise UsageError("give at least one buffer to merge")
    metas = [view.meta for _, view in named]
    first, largest = metas[0], max(meta.budget for meta in metas)
    for (path, _), meta in zip(named, metas, strict=True):
        for name in ("policy", "tasks", "plain", "count_decoder"):
            if getattr(meta, name) != getattr(first, name):
                raise UsageError(f"{path}: another {name} than {named[0][0]}; merge equal buffers")
    keyed = {meta.keyed for meta in metas if meta.keyed is not None}
    if len(keyed) > 1:
        raise UsageError("some of these buffers have keys and some have none; merge equal buffers")
    seeds = _all_seeds(named)
    return first.model_copy(
        update={
            "budget": largest if budget is None else parse_bytes(budget, "budget"),
            "seed": _new_seed(seeds) if seed is None else seed,
            "seeds": tuple(sorted({*seeds, _new_seed(seeds) if seed is None else seed})),
            "seen": 0,
            "offered": sum(meta.offered for meta in metas),
            "generation": 0,
            "keyed": keyed.pop() if keyed else None,
            "max_pixels": max(meta.max_pixels for meta in metas),
            "slots": (),
        }
    )


def absorb(view: View, work: Work, other: View) -> View:
    """Take in the exemplars of another buffer, as far as the policy keeps them."""
    slots = np.zeros(256, np.uint8)
    for number, record in enumerate(other.meta.slots):
        view, slots[number] = with_slot(view, record)
    order = np.argsort(other.rows.random, kind="stable")
    for start in range(0, len(order), PART):
        part = order[start : start + PART]
        rows = other.rows.take(part)
        admitted = work.policy.admits(rows.labels, rows.random, view.state)
        part, rows = part[admitted], rows.take(np.flatnonzero(admitted))
        if len(rows):
            addresses = [work.spool.append(other.payload(index)) for index in part.tolist()]
            at = np.array(addresses, np.int64)
            moved = Rows(rows.labels, rows.random, slots[rows.slots], rows.lengths, at, rows.keys)
            view = settle(view, work, moved)
    return view


def _all_seeds(named: Named) -> list[int]:
    """List the seeds of all, which must be different: equal ones draw the same keys."""
    owner: dict[int, str] = {}
    for path, view in named:
        for seed in view.meta.seeds:
            if seed in owner:
                raise UsageError(
                    f"{path} and {owner[seed]} drew their random keys from the same seed {seed}, "
                    "so a merge would not be a fair sample; give each worker another seed="
                )
            owner[seed] = path
    return sorted(owner)


def _new_seed(seeds: Sequence[int]) -> int:
    digest = hashlib.sha256(",".join(map(str, seeds)).encode()).digest()
    return int.from_bytes(digest[:7], "little")
