"""Changes to the slots of a view: another quality, a new slot, one that nothing uses any more."""

import numpy as np

from dsc._codecs.base import Array
from dsc._replay.buffer.meta import BufferMeta, SlotRecord
from dsc._replay.buffer.offered import Offered
from dsc._replay.buffer.rows import Ints, Rows
from dsc._replay.buffer.slots import MAX_SLOTS
from dsc._replay.buffer.view import View
from dsc._schemas import Quality
from dsc.errors import UsageError

BATCH = 128


def with_slot(view: View, record: SlotRecord) -> tuple[View, int]:
    """Return the number of a slot, added where it is not there.

    Raises
    ------
    UsageError
        When there would be more than 256.
    """
    slots = view.meta.slots
    if record in slots:
        return view, slots.index(record)
    if len(slots) == MAX_SLOTS:
        raise UsageError(f"a buffer holds at most {MAX_SLOTS} pairs of codec and quality")
    return view.having(view.meta.model_copy(update={"slots": (*slots, record)})), len(slots)


def through_codec(view: View, offered: Offered) -> tuple[list[Array], Ints]:
    """Encode and decode plain images; give them back with the bytes of each."""
    record, images = current_slot(view.meta), []
    sizes = np.zeros(len(offered), np.int64)
    for start in range(0, len(offered), BATCH):
        several = range(start, min(start + BATCH, len(offered)))
        coded = view.slots.encode(record, [offered.sample(at) for at in several])
        sizes[start : start + BATCH] = [sum(map(len, streams.values())) for streams in coded]
        decoded = view.slots.decode(record, coded, offered.max_pixels)
        images += [arrays[offered.tasks[0].name] for arrays in decoded]
    return images, sizes


def current_slot(meta: BufferMeta) -> SlotRecord:
    """Return with what new exemplars are encoded.

    Raises
    ------
    UsageError
        When the buffer has no codec yet.
    """
    if meta.current is None:
        raise UsageError("this buffer has no codec yet; open it with ReplayBuffer(path, codec=...)")
    return meta.current


def at_quality(record: SlotRecord, quality: int) -> SlotRecord:
    """Return the same codecs at another quality; those of single tasks change in proportion."""
    old = record.quality
    if quality == old.default:
        return record
    scale = quality / old.default
    tasks = {name: max(1, min(100, round(value * scale))) for name, value in old.tasks.items()}
    return record.model_copy(update={"quality": Quality(default=quality, tasks=tasks)})


def without_unused_slots(view: View) -> View:
    """Forget the slots that no exemplar uses; a codec goes with its last exemplar."""
    used = np.unique(view.rows.slots)
    if len(used) == len(view.meta.slots):
        return view
    numbers = np.zeros(MAX_SLOTS, np.uint8)
    numbers[used] = np.arange(len(used))
    slots = tuple(view.meta.slots[slot] for slot in used.tolist())
    wide = max((len(slot.streams) for slot in slots), default=1)
    old = view.rows
    rows = Rows(
        old.labels, old.random, numbers[old.slots], old.lengths[:, :wide], old.addresses, old.keys
    )
    return view.having(view.meta.model_copy(update={"slots": slots}), rows)
