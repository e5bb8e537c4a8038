"""What an update does to a replay buffer, before anything is written: a snapshot in, one out.

`offer` takes in new samples, `absorb` the exemplars of another buffer. New payloads go to a
`Spool`; `settle` lets the policy choose; what it does not keep is forgotten. An update that fails
leaves the snapshot that it began with.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._replay.buffer.file import block_bytes
from dsc._replay.buffer.format import (
    ABSENT,
    MAX_SLOTS,
    BufferMeta,
    ExemplarRows,
    Ints,
    random_keys,
)
from dsc._replay.buffer.offered import OfferedSamples
from dsc._replay.buffer.snapshot import BufferSnapshot
from dsc._replay.policies.base import ExemplarTable, Policy
from dsc._schemas.size import parse_bytes
from dsc.errors import DscError, UsageError

PART = 128
"""Fewest samples that are encoded before the policy is asked again."""
SPOOL_PREFIX = ".dsc-replay-"
Named = Sequence[tuple[str, BufferSnapshot]]
Originals = tuple[OfferedSamples, Ints]
"""What was offered, and which of it new rows were encoded from."""


class Spool:
    """Payloads of an update that is not yet written, in a nameless file instead of memory.

    The file is gone with its process.

    Parameters
    ----------
    folder
        Where it lies: the folder of the buffer, which has room for it.
    base
        The address of its first byte.
    """

    def __init__(self, folder: Path, base: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix=SPOOL_PREFIX, buffering=0)  # noqa: SIM115
        self.base, self._size = base, 0

    def append(self, payload: bytes) -> int:
        """Write a payload; return its address."""
        address = self.base + self._size
        written = 0
        while written < len(payload):
            rest = payload[written:]
            written += os.pwrite(self._file.fileno(), rest, self._size + written)
        self._size += len(payload)
        return address

    def read(self, address: int, size: int) -> bytes:
        """Read payload bytes."""
        return os.pread(self._file.fileno(), size, address - self.base)

    def close(self) -> None:
        """Close the file, which is then gone."""
        self._file.close()


@dataclass(frozen=True)
class UpdateTools:
    """What an update works with.

    Attributes
    ----------
    policy
        Who decides what stays.
    spool
        Where new payloads go.
    decoder_bytes
        What the weights of the codecs take.
    """

    policy: Policy
    spool: Spool
    decoder_bytes: int


def offer(now: BufferSnapshot, tools: UpdateTools, offered: OfferedSamples) -> BufferSnapshot:
    """Offer samples to a buffer.

    Samples are encoded by ascending random key, so that what could not stay is mostly not encoded
    at all.

    Raises
    ------
    UsageError
        When the budget does not hold even one exemplar, or keys are given to some samples only.
    """
    meta, count, wanted = now.meta, len(offered), now.meta.slot_to_fill
    random = random_keys(meta.seed, meta.seen, count)
    now = now.having(_noted(now, offered))
    left = np.argsort(random, kind="stable") if tools.policy.in_parts else np.arange(count)
    while True:
        left = left[tools.policy.admits(offered.labels[left], random[left], now.state)]
        if not len(left):
            return now
        # A policy looks at everything there: the more that is, the more rarely it is asked.
        most = max(PART, len(now.rows) // 16) if tools.policy.in_parts else count
        part, left = left[:most], left[most:]
        quality = tools.policy.quality(wanted.quality.default, now.state)
        now, slot = now.with_slot(wanted.at_quality(quality))
        fresh = _encoded(now, tools, offered, part, random, slot)
        now = settle(now, tools, fresh, (offered, part))


def _noted(now: BufferSnapshot, offered: OfferedSamples) -> BufferMeta:
    """Note in the buffer's own record what was offered."""
    meta = now.meta
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
    now: BufferSnapshot,
    tools: UpdateTools,
    offered: OfferedSamples,
    part: Ints,
    random: NDArray[np.uint32],
    slot: int,
) -> ExemplarRows:
    lengths, addresses = _spooled(
        now, tools, slot, lambda at: offered.sample(int(part[at])), len(part)
    )
    keys = np.full(len(part), b"", object)
    if offered.keys is not None:
        for at, index in enumerate(part.tolist()):
            keys[at] = offered.keys[index]
    slots = np.full(len(part), slot, np.uint8)
    return ExemplarRows(offered.labels[part], random[part], slots, lengths, addresses, keys)


def _spooled(
    now: BufferSnapshot,
    tools: UpdateTools,
    slot: int,
    sample: Callable[[int], dict[str, Array]],
    count: int,
) -> tuple[Ints, Ints]:
    """Encode samples into the spool; return their streams' lengths, and their addresses."""
    record = now.meta.slots[slot]
    lengths = np.full((count, len(record.streams)), ABSENT, np.int64)
    addresses = np.zeros(count, np.int64)
    for start in range(0, count, PART):
        several = range(start, min(start + PART, count))
        coded = now.slots.encode(record, [sample(at) for at in several])
        for at, streams in zip(several, coded, strict=True):
            parts = [streams.get(stream.name) for stream in record.streams]
            lengths[at] = [ABSENT if part is None else len(part) for part in parts]
            addresses[at] = tools.spool.append(b"".join(part for part in parts if part is not None))
    return lengths, addresses


def settle(
    now: BufferSnapshot,
    tools: UpdateTools,
    fresh: ExemplarRows,
    originals: Originals | None = None,
) -> BufferSnapshot:
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
    n_old, rows = len(now.rows), now.rows.followed_by(fresh)
    room = capacity(now.meta, tools.decoder_bytes)
    _check_each_fits(now, fresh, room)
    while True:
        seen = _exemplars(now, rows, n_old, originals)
        chosen = tools.policy.select(seen, room, now.state)
        if not chosen.lower:
            break
        now, rows = _lowered(now.having(rows=rows), tools, chosen.lower, n_old, originals)
    if len(rows) and not len(chosen.keep):
        raise UsageError(
            f"a budget of {now.meta.budget} bytes does not hold one exemplar beside the state of "
            f"policy {tools.policy.name}; raise it"
        )
    settled = now.having(rows=rows.take(chosen.keep), state=chosen.state)
    if settled.nbytes + _counted(now.meta, tools.decoder_bytes) > now.meta.budget:
        raise DscError(
            f"policy {tools.policy.name} kept {settled.nbytes} bytes of {now.meta.budget}; nothing "
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


def _check_each_fits(now: BufferSnapshot, fresh: ExemplarRows, room: int) -> None:
    costs = now.costs(fresh)
    if len(costs) and costs.max() > room:
        worst = int(costs.argmax())
        key = fresh.keys[worst].decode()
        raise UsageError(
            f"an exemplar of class {fresh.labels[worst]}{f' ({key})' if key else ''} needs "
            f"{costs[worst]} bytes, the budget of {now.meta.budget} leaves {room}: it is smaller "
            "than one exemplar. Raise it or lower the quality"
        )


def _exemplars(
    now: BufferSnapshot,
    rows: ExemplarRows,
    n_old: int,
    originals: Originals | None,
) -> ExemplarTable:
    features = None
    if originals is not None and originals[0].features is not None:
        features = originals[0].features[originals[1]]
    qualities = np.array([slot.quality.default for slot in now.meta.slots], np.int64)
    return ExemplarTable(
        labels=rows.labels,
        costs=now.costs(rows),
        random=rows.random,
        qualities=qualities[rows.slots] if len(rows) else np.zeros(0, np.int64),
        fresh=np.arange(len(rows)) >= n_old,
        features=features,
    )


def _lowered(
    now: BufferSnapshot,
    tools: UpdateTools,
    lower: Mapping[int, int],
    n_old: int,
    originals: Originals | None,
) -> tuple[BufferSnapshot, ExemplarRows]:
    """Encode some rows again at a lower quality; what would grow stays as it is."""
    slots, lengths = now.rows.slots.copy(), now.rows.lengths.copy()
    addresses = now.rows.addresses.copy()
    groups: dict[tuple[int, int], list[int]] = {}
    for row, quality in lower.items():
        groups.setdefault((int(now.rows.slots[row]), quality), []).append(row)
    for (before, quality), rows in groups.items():
        now, slot = now.with_slot(now.meta.slots[before].at_quality(quality))
        for start in range(0, len(rows), PART):
            part = rows[start : start + PART]
            samples = _pixels(now, part, n_old, originals)
            new_lengths, places = _spooled(now, tools, slot, samples.__getitem__, len(part))
            slots[part] = slot
            old_sizes, new_sizes = now.rows.sizes[part], np.maximum(new_lengths, 0).sum(axis=1)
            for at in np.flatnonzero(new_sizes < old_sizes).tolist():
                lengths[part[at], : new_lengths.shape[1]] = new_lengths[at]
                addresses[part[at]] = places[at]
    return now, replace(now.rows, slots=slots, lengths=lengths, addresses=addresses)


def _pixels(
    now: BufferSnapshot,
    rows: Sequence[int],
    n_old: int,
    originals: Originals | None,
) -> list[dict[str, Array]]:
    """Return samples to encode again: new ones as they were offered, stored ones decoded."""
    if originals is None:
        return now.decode(rows)
    offered, part = originals
    old = [row for row in rows if row < n_old]
    decoded = dict(zip(old, now.decode(old), strict=True))
    return [decoded[row] if row < n_old else offered.sample(int(part[row - n_old])) for row in rows]


def merged_meta(named: Named, budget: int | str | None, seed: int | None) -> BufferMeta:
    """Begin the buffer that several are merged into.

    Raises
    ------
    UsageError
        When they differ in policy, tasks or keys, or share a seed.
    """
    if not named:
        raise UsageError("give at least one buffer to merge")
    metas = [snapshot.meta for _, snapshot in named]
    first, largest = metas[0], max(meta.budget for meta in metas)
    for (path, _), meta in zip(named, metas, strict=True):
        for name in ("policy", "tasks", "plain", "count_decoder", "pictures"):
            if getattr(meta, name) != getattr(first, name):
                by = f" ({_whose(meta)}, {_whose(first)})" if name == "tasks" else ""
                raise UsageError(
                    f"{path}: another {name} than {named[0][0]}{by}; merge equal buffers"
                )
    keyed = {meta.keyed for meta in metas if meta.keyed is not None}
    if len(keyed) > 1:
        raise UsageError("some of these buffers have keys and some have none; merge equal buffers")
    seeds = _all_seeds(named)
    with_codec = next((meta for meta in metas if meta.current is not None), first)
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
            **{name: getattr(with_codec, name) for name in ("current", "encoders", "learns")},
            "wish": None if with_codec.current else first.wish,
        }
    )


def absorb(now: BufferSnapshot, tools: UpdateTools, other: BufferSnapshot) -> BufferSnapshot:
    """Take in the exemplars of another buffer, as far as the policy keeps them."""
    slots = np.zeros(MAX_SLOTS, np.uint8)
    for number, record in enumerate(other.meta.slots):
        now, slots[number] = now.with_slot(record)
    order = np.argsort(other.rows.random, kind="stable")
    for start in range(0, len(order), PART):
        part = order[start : start + PART]
        rows = other.rows.take(part)
        admitted = tools.policy.admits(rows.labels, rows.random, now.state)
        part, rows = part[admitted], rows.take(np.flatnonzero(admitted))
        if len(rows):
            addresses = [tools.spool.append(other.payload(index)) for index in part.tolist()]
            at = np.array(addresses, np.int64)
            moved = replace(rows, slots=slots[rows.slots], addresses=at)
            now = settle(now, tools, moved)
    return now


def _whose(meta: BufferMeta) -> str:
    """Say what exemplars hold, and by whom it was computed."""
    return ", ".join(
        f"{task.name} by {task.extractor}" if task.extractor is not None else task.name
        for task in meta.tasks
    )


def _all_seeds(named: Named) -> list[int]:
    """List the seeds of all, which must be different: equal ones draw the same keys."""
    owner: dict[int, str] = {}
    for path, snapshot in named:
        for seed in snapshot.meta.seeds:
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
