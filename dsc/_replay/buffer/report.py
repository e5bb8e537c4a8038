"""Where the bytes of a replay buffer go, for people and tables."""

from dataclasses import dataclass, field

import numpy as np

from dsc._replay.buffer.store import block_bytes
from dsc._replay.buffer.view import View
from dsc._replay.policies.base import state_bytes


@dataclass(frozen=True)
class Report:
    """Bytes by part; `payload`, `index` and `state` add up to `ReplayBuffer.nbytes`.

    Attributes
    ----------
    exemplars
        How many there are.
    offered
        How many samples were ever offered.
    budget_bytes, payload_bytes
        The budget; bitstreams of all exemplars.
    index_bytes
        Labels, lengths, slots, random keys, keys and checksums.
    state_bytes
        What the policy remembers.
    decoder_bytes
        Weights of the codecs in use; only what decoding takes, where that can be told apart.
    file_bytes
        The file on disk: all of these and what HDF5 needs, which does not grow with exemplars.
    classes
        Exemplars of each class.
    slots
        Exemplars by codec and quality.
    """

    exemplars: int
    offered: int
    budget_bytes: int
    payload_bytes: int
    index_bytes: int
    state_bytes: int
    decoder_bytes: int
    file_bytes: int
    classes: dict[int, int] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)


def report_of(view: View, decoder_bytes: int, file_bytes: int) -> Report:
    """Count everything."""
    rows, payloads = view.rows, int(view.rows.sizes.sum())
    labels, counts = np.unique(rows.labels, return_counts=True)
    slots: dict[str, int] = {}
    for number, slot in enumerate(view.meta.slots):
        slots[slot.label] = slots.get(slot.label, 0) + int((rows.slots == number).sum())
    return Report(
        exemplars=len(rows),
        offered=view.meta.offered,
        budget_bytes=view.meta.budget,
        payload_bytes=payloads,
        index_bytes=int(view.costs().sum()) - payloads + block_bytes(payloads),
        state_bytes=state_bytes(view.state),
        decoder_bytes=decoder_bytes,
        file_bytes=file_bytes,
        classes=dict(zip(labels.tolist(), counts.tolist(), strict=True)),
        slots=slots,
    )
