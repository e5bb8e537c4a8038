"""What an update does to a replay buffer, before anything is written: a view in, a view out.

New payloads go to a spool; the policy chooses; what it does not keep is forgotten. An update
that fails leaves the view it began with.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._replay.buffer.meta import BufferMeta
from dsc._replay.buffer.offered import Offered
from dsc._replay.buffer.rows import ABSENT, Ints, Rows, random_keys
from dsc._replay.buffer.spool import Spool
from dsc._replay.buffer.store import block_bytes
from dsc._replay.buffer.view import View
from dsc._replay.buffer.view_slots import at_quality, current_slot, with_slot
from dsc._replay.policies.base import Exemplars, Policy
from dsc.errors import DscError, UsageError

PART = 128
"""Fewest samples that are encoded before the policy is asked again."""


@dataclass(frozen=True)
class Work:
    """What an update works with: who decides, where new payloads go, what the codecs cost."""

    policy: Policy
    spool: Spool
    decoder_bytes: int


def offer(view: View, work: Work, offered: Offered) -> View:
    """Offer samples to a buffer.

    Samples are encoded by ascending random key, so that what could not stay is
    mostly not encoded at all.

    Raises
    ------
    UsageError
        When the budget does not hold even one exemplar, or keys are given to some samples only.
    """
    meta, count, wanted = view.meta, len(offered), current_slot(view.meta)
    random = random_keys(meta.seed, meta.seen, count)
    view = view.having(_noted(view, offered))
    left = np.argsort(random, kind="stable") if work.policy.in_parts else np.arange(count)
    while True:
        left = left[work.policy.admits(offered.labels[left], random[left], view.state)]
        if not len(left):
            return view
        # A policy looks at everything there: the more that is, the more rarely it is asked.
        step = max(PART, len(view.rows) // 16) if work.policy.in_parts else count
        part, left = left[:step], left[step:]
        quality = work.policy.quality(wanted.quality.default, view.state)
        view, slot = with_slot(view, at_quality(wanted, quality))
        fresh = _encoded(view, work, offered, part, random, slot)
        view = settle(view, work, fresh, (offered, part))


def _noted(view: View, offered: Offered) -> BufferMeta:
    """Note in the buffer's own record what was offered."""
    meta = view.meta
    keyed = meta.keyed
    if len(offered):
        given = offered.keys is not None
        if keyed is not None and keyed != given:
            raise UsageError(
                "this buffer keeps keys; give add(..., keys=)"
                if keyed
                else "the exemplars here have no keys; leave out keys, or start another buffer"
            )
        keyed = given
    return meta.model_copy(
        update={
            "seen": meta.seen + len(offered),
            "offered": meta.offered + len(offered),
            "keyed": keyed,
            "max_pixels": max(meta.max_pixels, offered.max_pixels),
        }
    )


def _encoded(
    view: View, work: Work, offered: Offered, part: Ints, random: NDArray[np.uint32], slot: int
) -> Rows:
    lengths, addresses = _spooled(
        view, work, slot, lambda at: offered.sample(int(part[at])), len(part)
    )
    keys = np.full(len(part), b"", object)
    if offered.keys is not None:
        for at, index in enumerate(part.tolist()):
            keys[at] = offered.keys[index]
    slots = np.full(len(part), slot, np.uint8)
    return Rows(offered.labels[part], random[part], slots, lengths, addresses, keys)


def _spooled(
    view: View, work: Work, slot: int, sample: Callable[[int], dict[str, Array]], count: int
) -> tuple[Ints, Ints]:
    """Encode samples into the spool; give their streams' lengths, and their addresses."""
    record = view.meta.slots[slot]
    lengths = np.full((count, len(record.streams)), ABSENT, np.int64)
    addresses = np.zeros(count, np.int64)
    for start in range(0, count, PART):
        several = range(start, min(start + PART, count))
        coded = view.slots.encode(record, [sample(at) for at in several])
        for at, streams in zip(several, coded, strict=True):
            parts = [streams.get(stream.name) for stream in record.streams]
            lengths[at] = [ABSENT if part is None else len(part) for part in parts]
            addresses[at] = work.spool.append(b"".join(part for part in parts if part is not None))
    return lengths, addresses


def settle(
    view: View, work: Work, fresh: Rows, originals: tuple[Offered, Ints] | None = None
) -> View:
    """Let the policy choose among the exemplars there and new ones.

    Parameters
    ----------
    originals
        What the new ones were encoded from; without it they are decoded where the policy wants a
        lower quality.

    Raises
    ------
    UsageError
        When the budget does not hold even one of them.
    """
    n_old, rows = len(view.rows), view.rows.followed_by(fresh)
    room = capacity(view.meta, work.decoder_bytes)
    _check_each_fits(view, fresh, room)
    while True:
        seen = _exemplars(view, rows, n_old, originals)
        chosen = work.policy.select(seen, room, view.state)
        if not chosen.lower:
            break
        view, rows = _lowered(view.having(rows=rows), work, chosen.lower, n_old, originals)
    if len(rows) and not len(chosen.keep):
        raise UsageError(
            f"a budget of {view.meta.budget} bytes does not hold one exemplar beside the state of "
            f"policy {work.policy.name}; raise it"
        )
    settled = view.having(rows=rows.take(chosen.keep), state=chosen.state)
    if settled.nbytes + _counted(view.meta, work.decoder_bytes) > view.meta.budget:
        raise DscError(
            f"policy {work.policy.name} kept {settled.nbytes} bytes of {view.meta.budget}; nothing "
            "was changed. This is an error of the policy"
        )
    return settled


def capacity(meta: BufferMeta, decoder_bytes: int) -> int:
    """Return the bytes that exemplars and the policy's state may take.

    Raises
    ------
    UsageError
        When nothing is left.
    """
    left = meta.budget - _counted(meta, decoder_bytes) - block_bytes(meta.budget)
    if left <= 0:
        weights = f", of which the codecs' weights take {decoder_bytes}" if decoder_bytes else ""
        raise UsageError(
            f"a budget of {meta.budget} bytes{weights} does not hold an exemplar; raise it"
        )
    return left


def _counted(meta: BufferMeta, decoder_bytes: int) -> int:
    return decoder_bytes if meta.count_decoder else 0


def _check_each_fits(view: View, fresh: Rows, room: int) -> None:
    costs = view.costs(fresh)
    if len(costs) and costs.max() > room:
        worst = int(costs.argmax())
        key = fresh.keys[worst].decode()
        raise UsageError(
            f"an exemplar of class {fresh.labels[worst]}{f' ({key})' if key else ''} needs "
            f"{costs[worst]} bytes, the budget of {view.meta.budget} leaves {room}: it is smaller "
            "than one exemplar. Raise it or lower the quality"
        )


def _exemplars(
    view: View, rows: Rows, n_old: int, originals: tuple[Offered, Ints] | None
) -> Exemplars:
    features = None
    if originals is not None and originals[0].features is not None:
        features = originals[0].features[originals[1]]
    qualities = np.array([slot.quality.default for slot in view.meta.slots], np.int64)
    return Exemplars(
        labels=rows.labels,
        costs=view.costs(rows),
        random=rows.random,
        qualities=qualities[rows.slots] if len(rows) else np.zeros(0, np.int64),
        fresh=np.arange(len(rows)) >= n_old,
        features=features,
    )


def _lowered(
    view: View,
    work: Work,
    lower: Mapping[int, int],
    n_old: int,
    originals: tuple[Offered, Ints] | None,
) -> tuple[View, Rows]:
    """Encode some rows again at a lower quality; what would grow stays as it is."""
    slots, lengths = view.rows.slots.copy(), view.rows.lengths.copy()
    addresses = view.rows.addresses.copy()
    groups: dict[tuple[int, int], list[int]] = {}
    for row, quality in lower.items():
        groups.setdefault((int(view.rows.slots[row]), quality), []).append(row)
    for (before, quality), rows in groups.items():
        view, slot = with_slot(view, at_quality(view.meta.slots[before], quality))
        for start in range(0, len(rows), PART):
            part = rows[start : start + PART]
            samples = _pixels(view, part, n_old, originals)
            new_lengths, places = _spooled(view, work, slot, samples.__getitem__, len(part))
            slots[part] = slot
            old_sizes, new_sizes = view.rows.sizes[part], np.maximum(new_lengths, 0).sum(axis=1)
            for at in np.flatnonzero(new_sizes < old_sizes).tolist():
                lengths[part[at], : new_lengths.shape[1]] = new_lengths[at]
                addresses[part[at]] = places[at]
    old = view.rows
    return view, Rows(old.labels, old.random, slots, lengths, addresses, old.keys)


def _pixels(
    view: View, rows: Sequence[int], n_old: int, originals: tuple[Offered, Ints] | None
) -> list[dict[str, Array]]:
    """Return samples to encode again: new ones as they were offered, stored ones decoded."""
    if originals is None:
        return view.decode(rows)
    offered, part = originals
    old = [row for row in rows if row < n_old]
    decoded = dict(zip(old, view.decode(old), strict=True))
    return [decoded[row] if row < n_old else offered.sample(int(part[row - n_old])) for row in rows]
