"""Label maps of a recording, bit for bit: maps that follow an earlier one, where that is smaller.

A frame follows the nearest of those that the group's tree lets it be predicted from, and needs that
one and what that one needs. The bytes of a frame::

    u8   STILL or NEXT
    ...  of STILL: what the codec `label-context` writes, with the model that comes with dsc
    u8   place in the group of the frame that it follows     of NEXT
    ...  words of the entropy coder                          of NEXT

The words hold how many labels come up that no frame before it in its chain has (16 bits), their
names (`dsc._codecs.label.palette`), and the map (`dsc._codecs.sequence.tracks`). Labels have
numbers along the chain: those of a STILL frame in the order in which they are met, then those that
come up. A frame that would take fewer bytes as a STILL one is one; so are labels of several
channels that do not fit 64 bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._codecs.canvas import Place
from dsc._codecs.label.codec import LabelContextCodec
from dsc._codecs.label.palette import get_palette, index_labels, name_labels, put_palette
from dsc._codecs.sequence.runs import encode_by_runs
from dsc._codecs.sequence.tracks import Learned, decode_track, encode_track
from dsc._codecs.sequence.tree import layer_of, structure
from dsc._codecs.sequence.video import CodedFrame
from dsc._coding.context.escapes import MAX_LABELS
from dsc._coding.context.lattice import Ids
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder
from dsc._schemas import Access, Effort, Task, TaskKind

STILL, NEXT = range(2)
COUNT_SIZE = 1 << 16
CLEARLY = 0.7  # of a still frame's bytes; a map that follows in fewer is not tried as a still


@dataclass(frozen=True)
class _Known:
    """What a frame leaves to those that follow it.

    Attributes
    ----------
    ids
        (H, W) its labels by number.
    names
        (n,) uint64, packed, of all labels so far.
    learned
        From the maps of its chain.
    """

    ids: Ids
    names: NDArray[np.uint64]
    learned: Learned


class LabelCoder:
    """Codes the label maps of groups; lossless whatever the quality.

    Parameters
    ----------
    task
        Of labels.
    effort
        Of `label-context`.
    access
        What frames may follow.
    """

    def __init__(self, task: Task, effort: Effort, access: Access) -> None:
        self._task, self._access = task, access
        self._still = LabelContextCodec.for_tasks([task]).at_effort(effort)

    @staticmethod
    def refusal(task: Task) -> str | None:
        """Say why frames of a task cannot be coded here, and what can; None when they can."""
        if task.kind is not TaskKind.LABEL:
            return f"cannot code a {task.kind.value} task; use exact"
        return LabelContextCodec.refusal_of(task)

    def encode(self, frames: Mapping[int, Array], quality: int) -> dict[int, CodedFrame]:
        """Encode label maps of a group, by place."""
        return encode_by_runs(frames, partial(self._encode_run, quality=quality))

    def _encode_run(self, frames: Mapping[int, Array], quality: int) -> dict[int, CodedFrame]:
        places = sorted(frames)
        known: dict[int, _Known | None] = {}
        coded: dict[int, CodedFrame] = {}
        usual = 0  # bytes of the last still frame
        for order, step in enumerate(structure(len(places), self._access)):
            place, array = places[step.place], frames[places[step.place]]
            sources = [places[one] for one in step.sources if known[places[one]] is not None]
            data, needs = b"", frozenset[int]()
            if sources:
                before = min(sources, key=lambda one: (abs(one - place), -coded[one].order))
                data, known[place] = self._follow(array, before, known[before])
                needs = coded[before].needs | {before}
            if not data or len(data) > CLEARLY * usual:
                still = bytes([STILL]) + self._still.encode_task(self._task, array, quality)
                usual = len(still)
                if not data or len(still) <= len(data):
                    data, needs, known[place] = still, frozenset(), self._start(array)
            coded[place] = CodedFrame(data, order, layer_of(step.place), needs)
        return coded

    def _start(self, array: Array) -> _Known | None:
        """Return what a still frame leaves; None where nothing can follow it."""
        try:
            ids, palette = index_labels(array)
        except ValueError:  # more labels than numbers
            return None
        return _Known(ids, palette[0], Learned()) if len(palette) == 1 else None

    def _follow(
        self, array: Array, before: int, known: _Known | None
    ) -> tuple[bytes, _Known | None]:
        """Encode a map that follows another; no bytes where it cannot."""
        own = self._start(array)
        if own is None or known is None:
            return b"", None
        fresh = own.names[~np.isin(own.names, known.names)]
        names = np.append(known.names, fresh)
        if len(names) > MAX_LABELS:
            return b"", None
        order = np.argsort(names)
        number = order[np.searchsorted(names, own.names, sorter=order)]
        ids = number.astype(np.uint16)[own.ids]
        learned, encoder = known.learned.copy(), SymbolEncoder()
        encoder.put_uniform(np.array([len(fresh)], np.int32), COUNT_SIZE)
        if len(fresh):
            put_palette(encoder, fresh[None], array.dtype, self._task.channels)
        encode_track(encoder, ids, known.ids, len(names), learned)
        return bytes([NEXT, before]) + encoder.finish(), _Known(ids, names, learned)

    def decode(
        self, given: Mapping[int, bytes], wanted: Mapping[int, Place], max_pixels: int
    ) -> dict[int, Array]:
        """Decode label maps of a group, by place.

        Parameters
        ----------
        given
            In the order of decoding: with each frame all that it needs.
        wanted
            Where those go that are wanted.
        """
        out: dict[int, Array] = {}
        known: dict[int, _Known | None] = {}
        dtype = np.dtype(self._task.dtype)
        for at, data in given.items():
            if data[:1] == bytes([STILL]):
                array = self._still.decode_task(self._task, data[1:], max_pixels)
                known[at] = self._start(array) if len(given) > 1 else None
            else:
                known[at] = found = self._decode_next(data, known)
                if at not in wanted:
                    continue
                array = name_labels(found.ids, found.names[None], dtype, self._task.channels)
            if at in wanted:
                out[at] = wanted[at].put(self._task, array)
        return out

    def _decode_next(self, data: bytes, known: Mapping[int, _Known | None]) -> _Known:
        before = known.get(data[1]) if data[:1] == bytes([NEXT]) and len(data) > 2 else None
        if before is None:
            raise ValueError(f"{len(data)} bytes are no map that can follow")
        decoder, learned = SymbolDecoder(data[2:]), before.learned.copy()
        (count,) = decoder.get_uniform(1, COUNT_SIZE).tolist()
        names = before.names
        if len(names) + count > MAX_LABELS:
            raise ValueError(f"{count} labels more, which are too many")
        if count:
            dtype = np.dtype(self._task.dtype)
            fresh = get_palette(decoder, count, dtype, self._task.channels)
            names = np.append(names, fresh[0])
        ids = decode_track(decoder, before.ids, len(names), learned)
        decoder.check_end()
        return _Known(ids, names, learned)
