"""Depth of a recording: 12 bits of its logarithm, one span for all frames, and exact masks.

A frame is a gray picture (`dsc._codecs.maps.lossy`), predicted from others of its group. A span of
its own for each frame would make them different pictures, so it is that of all. Holes are filled
from what is around them: what was there in the frame before takes more bytes when the camera moves.

Sensors give few different counts: a Kinect some 300, whose distances are about what is left of them
at a usual quality. Where the counts of a group are few, they are listed, and a decoded step becomes
the nearest of them: a tenth less error for a few bytes. They are listed only where the error then
is clearly less.

The bytes of a frame::

    u8       STILL, FIRST or NEXT
    ...      of STILL: what the codec `av1` writes
    u16      smallest, largest valid count                       of FIRST
    varint   bytes of the list of counts, 0: none; then it       of FIRST
    u8       place in the group of the frame whose mask is before   of NEXT
    varint   bytes of the mask, then it                          where the task has invalid values
    ...      the picture: `dsc._codecs.sequence.units`

The list: differences of rising counts, the first to 0, u16 each, brotli. A mask is what
`dsc._codecs.sequence.masks` says. Frames in which nothing is valid are STILL.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._codecs.canvas import Place
from dsc._codecs.classical.av1 import Av1Codec, av1_level
from dsc._codecs.classical.dav1d import Picture
from dsc._codecs.classical.planes import look_up_picture
from dsc._codecs.maps.look_up import look_up
from dsc._codecs.maps.lossy import LossyHeader, fill_image, native_table, steps_of_counts
from dsc._codecs.sequence.libaom import STEPS, Kind, Search
from dsc._codecs.sequence.masks import Learned, decode_mask, encode_mask
from dsc._codecs.sequence.runs import encode_by_runs
from dsc._codecs.sequence.tree import layer_of
from dsc._codecs.sequence.video import CodedFrame, decode_frames, encode_frames
from dsc._coding.varint import pack_varint, unpack_varint
from dsc._schemas import Access, Effort, Task, TaskKind

STILL, FIRST, NEXT = range(3)
BITS = 12
SPAN = struct.Struct("<HH")
SPEEDS = {Effort.FAST: 6, Effort.DEFAULT: 6, Effort.BEST: 5}  # beyond 6 it is as 6
OPTIONS = {"tune": "ssim", "enable-restoration": "0"}
OFFSETS = (0, 6, 10, 14, 18)  # of the quantiser, by level
# Of the quantiser, so that the error is that of stills at the same quality.
BELOW_STILLS = {Access.TREE: 12, Access.BALANCED: 9}
MOST_COUNTS = 2048
CLEARLY = 0.97  # of the error, below which counts are listed
STILLS_OF = 4  # every so many frames are tried as stills
ELASTICITY = 1.3  # of bytes to error, measured on a Kinect's depth

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Scale:
    """What the 12-bit steps of a group's pictures are.

    Attributes
    ----------
    span
        Smallest and largest valid count.
    counts
        (n,) the only counts that there are, rising; empty where they are not listed.
    """

    span: tuple[int, int]
    counts: NDArray[np.int64]

    def pack(self) -> bytes:
        """Return the bytes of both."""
        if not self.counts.size:
            return SPAN.pack(*self.span) + pack_varint(0)
        listed = _brotli(np.diff(self.counts, prepend=0).astype("<u2").tobytes())
        return SPAN.pack(*self.span) + pack_varint(len(listed)) + listed

    @classmethod
    def unpack(cls, task: Task, data: bytes) -> tuple[Self, int]:
        """Read both; give them and where they end.

        Raises
        ------
        ValueError
            When they are none that the task can have.
        """
        low, high = SPAN.unpack_from(data)
        length, start = unpack_varint(data[SPAN.size :])
        start += SPAN.size
        if not low <= high <= np.iinfo(task.dtype).max or length > len(data) - start:
            raise ValueError(f"counts from {low} to {high}, a list of {length} bytes")
        listed = np.zeros(0, np.int64)
        if length:
            listed = np.cumsum(_from_brotli(data[start : start + length]).astype(np.int64))
            valid = not task.invalid_mask(listed).any() if task.invalid else True
            if not valid or listed[0] < low or listed[-1] > high or (np.diff(listed) < 1).any():
                raise ValueError("the counts are not rising, or not valid")
        return cls((low, high), listed), start + length

    def table(self, task: Task) -> Array:
        """Return the native count of each of 2^12 steps, and then that of invalid pixels."""
        table = native_table(task, LossyHeader(None, self.span), BITS)
        if not self.counts.size:
            return table
        between = self.counts[1:] + self.counts[:-1]
        nearest = self.counts[np.searchsorted(between, 2 * table[:-1].astype(np.int64))]
        return np.append(nearest.astype(table.dtype), table[-1])


@dataclass(frozen=True)
class _Known:
    """What a frame leaves to those that follow it.

    Attributes
    ----------
    table
        Of `Scale`.
    learned
        From masks; None before the first.
    """

    table: Array
    learned: Learned | None = None


class DepthCoder:
    """Codes the depth of groups.

    Parameters
    ----------
    task
        Of depth.
    effort
        How long libaom looks for fewer bytes.
    access
        What frames are predicted from.
    """

    def __init__(self, task: Task, effort: Effort, access: Access) -> None:
        self._task, self._effort, self._access = task, effort, access
        self._still = Av1Codec([task]).at_effort(effort)

    @staticmethod
    def refusal(task: Task) -> str | None:
        """Say why frames of a task cannot be coded here, and what can; None when they can."""
        if task.kind is not TaskKind.DEPTH or task.channels != 1:
            return f"cannot code a {task.kind.value} task of {task.channels} channels; use exact"
        if task.dtype not in ("uint8", "uint16"):
            return f"codes depth of uint8 and uint16, not {task.dtype}; use exact"
        if task.is_exact:
            return "is lossy, and values of this task must come back; use exact or jxl-lossless"
        return None

    def encode(self, frames: Mapping[int, Array], quality: int) -> dict[int, CodedFrame]:
        """Encode depth of a group, by place."""
        return encode_by_runs(frames, partial(self._encode_run, quality=quality))

    def _encode_run(self, frames: Mapping[int, Array], quality: int) -> dict[int, CodedFrame]:
        masks = {place: self._mask(array) for place, array in frames.items()}
        shown = {place: array for place, array in frames.items() if not masks[place].all()}
        blank = {place: array for place, array in frames.items() if place not in shown}
        coded = self._as_video(shown, masks, quality) if shown else {}
        for place, frame in self._as_stills(blank, quality).items():
            coded[place] = replace(frame, order=len(shown) + frame.order)
        return coded

    def _mask(self, array: Array) -> Mask:
        if not self._task.invalid:
            return np.zeros(array.shape, bool)
        mask: Mask = self._task.invalid_mask(array)
        return mask

    def _as_stills(self, frames: Mapping[int, Array], quality: int) -> dict[int, CodedFrame]:
        """Encode each frame by itself."""
        return {
            place: CodedFrame(self._still_of(array, quality), at, layer_of(at))
            for at, (place, array) in enumerate(frames.items())
        }

    def _still_of(self, array: Array, quality: int) -> bytes:
        return bytes([STILL]) + self._still.encode_task(self._task, array, quality)

    def _as_video(
        self, frames: Mapping[int, Array], masks: Mapping[int, Mask], quality: int
    ) -> dict[int, CodedFrame]:
        """Encode frames of one size, in each of which something is valid."""
        first = next(iter(frames.values()))
        valid = {place: array[~masks[place]] for place, array in frames.items()}
        low = min(int(array.min()) for array in valid.values())
        high = max(int(array.max()) for array in valid.values())
        steps = steps_of_counts(self._task, (low, high), BITS)
        pictures = {
            place: [fill_image(look_up(array, steps), masks[place])]
            for place, array in frames.items()
        }
        kind = Kind(first.shape[1], first.shape[0], BITS, monochrome=True)
        search = Search(SPEEDS[self._effort], OPTIONS)
        coded = encode_frames(
            pictures, kind, quantisers(quality, self._access), search, self._access
        )
        decoded = _decoded(coded, first.size)
        scale = self._scale((low, high), frames, masks, decoded)
        coded = self._with_heads(coded, masks, scale)
        errors = self._errors(scale, frames, masks, decoded)
        if self._stills_are_smaller(frames, masks, quality, coded, errors):
            return self._as_stills(frames, quality)
        return coded

    def _scale(
        self,
        span: tuple[int, int],
        frames: Mapping[int, Array],
        masks: Mapping[int, Mask],
        decoded: Mapping[int, Array],
    ) -> Scale:
        """Decide whether the counts are listed."""
        plain = Scale(span, np.zeros(0, np.int64))
        seen = np.zeros(span[1] + 1, bool)
        for place, array in frames.items():
            seen[array[~masks[place]]] = True
        counts = np.flatnonzero(seen)
        if not 1 < len(counts) <= MOST_COUNTS:
            return plain
        listed = Scale(span, counts)
        before = np.mean(list(self._errors(plain, frames, masks, decoded).values()))
        after = np.mean(list(self._errors(listed, frames, masks, decoded).values()))
        return listed if after <= CLEARLY * before else plain

    def _errors(
        self,
        scale: Scale,
        frames: Mapping[int, Array],
        masks: Mapping[int, Mask],
        decoded: Mapping[int, Array],
    ) -> dict[int, float]:
        """Return the mean relative error of each frame."""
        table = scale.table(self._task)
        return {
            place: relative_error(table[decoded[place]], array, masks[place])
            for place, array in frames.items()
        }

    def _with_heads(
        self, coded: Mapping[int, CodedFrame], masks: Mapping[int, Mask], scale: Scale
    ) -> dict[int, CodedFrame]:
        """Put before each picture what stands before it."""
        learned: dict[int, Learned] = {}
        out = {}
        for place, frame in sorted(coded.items(), key=lambda item: item[1].order):
            before = _before(place, coded)
            head = bytes([NEXT, before]) if before is not None else bytes([FIRST]) + scale.pack()
            if self._task.invalid:
                known = None if before is None else learned[before]
                mask, learned[place] = encode_mask(masks[place], known)
                head += pack_varint(len(mask)) + mask
            out[place] = replace(frame, data=head + frame.data)
        return out

    def _stills_are_smaller(
        self,
        frames: Mapping[int, Array],
        masks: Mapping[int, Mask],
        quality: int,
        coded: Mapping[int, CodedFrame],
        errors: Mapping[int, float],
    ) -> bool:
        """Tell whether the frames would take fewer bytes one by one, at an equal error."""
        some = list(frames)[::STILLS_OF]
        n_bytes, error = [], []
        for place in some:
            data = self._still_of(frames[place], quality)
            back = self._still.decode_task(self._task, data[1:], frames[place].size)
            n_bytes.append(len(data))
            error.append(relative_error(back, frames[place], masks[place]))
        here = float(np.mean(list(errors.values())))
        there = float(np.mean(error))
        factor = (there / here) ** ELASTICITY if here and there else 1.0
        mean = float(np.mean([len(frame.data) for frame in coded.values()]))
        return float(np.mean(n_bytes)) * factor < mean

    def decode(
        self, given: Mapping[int, bytes], wanted: Mapping[int, Place], max_pixels: int
    ) -> dict[int, Array]:
        """Decode depth of a group, by place.

        Parameters
        ----------
        given
            In the order of decoding: with each frame all that it needs.
        wanted
            Where those go that are wanted.
        """
        out: dict[int, Array] = {}
        known: dict[int, _Known] = {}
        pictures: dict[int, bytes] = {}
        take = {}
        for at, data in given.items():
            if data[:1] == bytes([STILL]):
                if at in wanted:
                    out[at] = self._still.decode_task_to(
                        self._task, data[1:], max_pixels, wanted[at]
                    )
                continue
            before, table, start = self._read_head(data, known)
            known[at] = _Known(table)
            mask = b""
            if self._task.invalid:
                length, size = unpack_varint(data[start:])
                mask, start = data[start + size : start + size + length], start + size + length
                if start > len(data):
                    raise ValueError(f"a mask of {length} bytes is not there")
            pictures[at] = data[start:]
            take[at] = partial(self._take, out, known, at, before, mask, wanted.get(at))
        decode_frames(pictures, take, max_pixels)
        return out

    def _read_head(self, data: bytes, known: Mapping[int, _Known]) -> tuple[int | None, Array, int]:
        """Return the place of the mask before, what steps are, and where both end."""
        if data[:1] == bytes([FIRST]):
            scale, end = Scale.unpack(self._task, data[1:])
            return None, scale.table(self._task), 1 + end
        if data[:1] != bytes([NEXT]) or len(data) < 2 or data[1] not in known:
            raise ValueError(f"{len(data)} bytes are no frame that can follow")
        return data[1], known[data[1]].table, 2

    def _take(
        self,
        out: dict[int, Array],
        known: dict[int, _Known],
        at: int,
        before: int | None,
        mask_data: bytes,
        place: Place | None,
        picture: Picture,
    ) -> None:
        """Decode a frame's mask, and write the frame to where it is wanted, if it is."""
        if len(picture.planes) != 1 or picture.bits != BITS:
            raise ValueError(f"a picture of {len(picture.planes)} planes of {picture.bits} bits")
        mask = None
        if self._task.invalid:
            learned = None if before is None else known[before].learned
            mask, left = decode_mask(mask_data, picture.height, picture.width, learned)
            known[at] = replace(known[at], learned=left)
        if place is None:
            return
        table = known[at].table
        table = table if place.native else self._task.to_physical(table)
        out[at] = place.empty((picture.height, picture.width), table.dtype)
        look_up_picture(picture, table, mask, out[at])


def quantisers(quality: int, access: Access) -> tuple[int, ...]:
    """Return libaom's quantiser of each level, for a quality of 1 to 100."""
    base = (100 - av1_level(quality)) * STEPS / 100 - BELOW_STILLS[access]
    return tuple(min(STEPS, max(1, round(base + offset))) for offset in OFFSETS)


def relative_error(decoded: Array, native: Array, mask: Mask) -> float:
    """Return the mean relative error of valid pixels, of which there is one."""
    true = native[~mask].astype(np.float64)
    error = np.abs(decoded[~mask].astype(np.float64) - true)
    return float((error / np.maximum(true, 1)).mean())


def _before(place: int, coded: Mapping[int, CodedFrame]) -> int | None:
    """Return the nearest frame that a frame needs, of two the one that is coded later."""
    needs = coded[place].needs
    return min(needs, key=lambda one: (abs(one - place), -coded[one].order), default=None)


def _decoded(coded: Mapping[int, CodedFrame], pixels: int) -> dict[int, Array]:
    """Return the pictures that a decoder makes."""
    out: dict[int, Array] = {}

    def keep(at: int, picture: Picture) -> None:
        rows = np.frombuffer(picture.planes[0], np.uint8)
        shape, strides = (picture.height, picture.width), (picture.strides[0], 2)
        out[at] = np.ndarray(shape, np.uint16, rows, 0, strides).copy()

    in_order = sorted(coded.items(), key=lambda item: item[1].order)
    decode_frames(
        {place: frame.data for place, frame in in_order},
        {place: partial(keep, place) for place in coded},
        pixels,
    )
    return out


def _brotli(data: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.brotli_encode(data, level=11))


def _from_brotli(data: bytes) -> NDArray[Any]:
    import imagecodecs

    # a byte of room more than is due: more is then seen, and a bomb cannot inflate
    raw = bytes(imagecodecs.brotli_decode(data, out=2 * MOST_COUNTS + 1))
    if not raw or len(raw) % 2 or len(raw) > 2 * MOST_COUNTS:
        raise ValueError(f"{len(raw)} bytes are no list of counts")
    return np.frombuffer(raw, "<u2")
