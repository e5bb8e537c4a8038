"""Images of a recording: RGB as three planes of one size (4:4:4), gray as one, 8 bits a value.

A frame is what `dsc._codecs.sequence.units` says, or, after a byte 0, a picture by itself as the
codec `av1` writes it. Frames of one size that follow one another are one run, with a key frame of
its own. A run is of pictures where they take fewer bytes at equal error, as with much noise, where
they are to be lossless, and where there is only one.

What libaom looks for is measured on 640×480 frames of 7-Scenes: bytes beside pictures of `av1` at
`Effort.BEST`, and the speed, of which those have 0.36 MPix/s:

- Speed 6 takes 0.37 of the bytes at 36 dB and 0.48 at 38 dB, 2.4 MPix/s; speed 5 takes 0.36 and
  0.465, 1.9 MPix/s; speed 4 takes 0.33 and 0.44, 0.75 MPix/s.
- Speed 2 without rare shapes takes 0.29 and 0.40, 0.33 MPix/s: below speed 3 libaom predicts a
  block from two frames, above it only where it knows that one of them is shown later, and without
  look-ahead it does not know.
- Quantisers rise with the level, by 3 to 4 steps below 39 dB, by less above: twice as steep takes
  3 to 10 % more, flat ones take more still.
- Other options take nothing off: matrices of quantisers, superblocks of 128, global motion; tuning
  for similarity takes 3 % more, sharpness 7 %. Loop restoration and CDEF take off 7 and 12 %.
"""

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from dsc import _kernels
from dsc._codecs.base import Array
from dsc._codecs.canvas import Place
from dsc._codecs.classical.av1 import Av1Codec
from dsc._codecs.classical.dav1d import Picture
from dsc._codecs.classical.ycbcr import LOSSLESS, ycbcr_planes
from dsc._codecs.sequence.libaom import STEPS, Kind, Search
from dsc._codecs.sequence.runs import encode_by_runs
from dsc._codecs.sequence.tree import layer_of
from dsc._codecs.sequence.video import CodedFrame, Planes, decode_frames, encode_frames
from dsc._schemas import Access, Effort, Task, TaskKind

STILL = b"\0"
QUICK = {"enable-global-motion": "0", "min-partition-size": "8"}
FEWER_SHAPES = {
    "enable-1to4-partitions": "0",
    "enable-ab-partitions": "0",
    "enable-interintra-comp": "0",
    "enable-masked-comp": "0",
    "enable-intrabc": "0",
}
SEARCH: Mapping[Effort, Search] = {
    Effort.FAST: Search(7, QUICK),
    Effort.DEFAULT: Search(5, QUICK),
    Effort.BEST: Search(2, {**QUICK, **FEWER_SHAPES}),
}
OFFSETS = {Access.TREE: (0, 3, 6, 9, 12), Access.BALANCED: (0, 4, 8, 11)}
"""Of the quantiser, by level, where steps are large."""
MEAN_OFFSET = {Access.TREE: 9.2, Access.BALANCED: 8.25}  # over 16 frames
LARGE_STEPS = 34.0  # quantisers of pictures
# Quantisers of pictures of `av1`, and the mean of those of frames of the same error.
OF_PICTURES = (0.0, 11.0, 22.0, 34.0, 44.0, 53.0, 63.0)
OF_FRAMES = (1.0, 11.2, 20.0, 34.4, 47.2, 58.0, 70.0)
# Where frames take less of what they would take as key frames, no picture is tried.
SURELY_FEWER = 0.5
TRIED = 4  # pictures of a group
LOG_BYTES_A_DB = 0.15  # of a picture: how many more bytes a smaller error takes
MARGIN = 0.99
SMALLEST_ERROR = 1e-3
MOST_PIXELS = 1 << 32  # what was just encoded has a size that is known


class PictureCoder:
    """Codes the images of groups.

    Parameters
    ----------
    task
        Of images.
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
        if task.kind is not TaskKind.IMAGE or task.channels not in (1, 3):
            return f"cannot code a {task.kind.value} task of {task.channels} channels; use exact"
        if task.dtype != "uint8":
            return f"codes images of uint8, not {task.dtype}; use jxl"
        if task.is_exact:
            return "is lossy, and values of this task must come back; use exact or jxl-lossless"
        return None

    def encode(self, frames: Mapping[int, Array], quality: int) -> dict[int, CodedFrame]:
        """Encode images of a group, by place."""
        return encode_by_runs(frames, partial(self._encode_run, quality=quality))

    def _encode_run(self, frames: Mapping[int, Array], quality: int) -> dict[int, CodedFrame]:
        if self._task.invalid or quality == LOSSLESS or len(frames) == 1:
            return self._as_stills(frames, quality)
        first = next(iter(frames.values()))
        kind = Kind(first.shape[1], first.shape[0], 8, monochrome=first.ndim == 2)
        planes = {place: _planes(image) for place, image in frames.items()}
        steps = quantisers(quality, self._access)
        coded = encode_frames(planes, kind, steps, SEARCH[self._effort], self._access)
        as_keys = len(coded) * len(coded[min(coded)].data)
        total = sum(len(frame.data) for frame in coded.values())
        if total > SURELY_FEWER * as_keys and self._are_stills_fewer(frames, coded, quality):
            return self._as_stills(frames, quality)
        return coded

    def _are_stills_fewer(
        self, frames: Mapping[int, Array], coded: Mapping[int, CodedFrame], quality: int
    ) -> bool:
        """Tell whether pictures by themselves take fewer bytes at equal error, by a few of them."""
        some = list(frames)[:: -(-len(frames) // TRIED)]
        stills = self._as_stills({place: frames[place] for place in some}, quality)
        given = {place: frame.data for place, frame in _by_order(coded)}
        log_error = _log_error(frames, self.decode(given, _anywhere(frames), MOST_PIXELS))
        given = {place: frame.data for place, frame in stills.items()}
        still_log_error = _log_error(frames, self.decode(given, _anywhere(stills), MOST_PIXELS))
        mean = sum(len(frame.data) for frame in coded.values()) / len(coded)
        still_mean = sum(len(frame.data) for frame in stills.values()) / len(stills)
        decibels = (still_log_error - log_error) * 10 / math.log(10)
        return mean > MARGIN * still_mean * math.exp(LOG_BYTES_A_DB * decibels)

    def _as_stills(self, frames: Mapping[int, Array], quality: int) -> dict[int, CodedFrame]:
        """Encode each image by itself."""
        coded = {}
        for at, (place, image) in enumerate(frames.items()):
            data = STILL + self._still.encode_task(self._task, image, quality)
            coded[place] = CodedFrame(data, at, layer_of(at))
        return coded

    def decode(
        self, given: Mapping[int, bytes], wanted: Mapping[int, Place], max_pixels: int
    ) -> dict[int, Array]:
        """Decode images of a group, by place.

        Parameters
        ----------
        given
            In the order of decoding: with each frame all that it needs.
        wanted
            Where those go that are wanted.
        """
        out: dict[int, Array] = {}
        video = {place: data for place, data in given.items() if data[:1] != STILL}
        for place in wanted.keys() - video.keys():
            data = given[place][1:]
            out[place] = self._still.decode_task_to(self._task, data, max_pixels, wanted[place])
        take = {
            place: partial(self._take, out, place, wanted[place])
            for place in wanted.keys() & video.keys()
        }
        decode_frames(video, take, max_pixels)
        return out

    def _take(self, out: dict[int, Array], at: int, place: Place, picture: Picture) -> None:
        out[at] = _image(picture, self._task, place)


def quantisers(quality: int, access: Access) -> tuple[int, ...]:
    """Return libaom's quantiser of each level, for the error of `av1` at a quality of 1 to 99."""
    still = (LOSSLESS - 100 * (quality / 100) ** 1.5) * STEPS / 100
    mean = float(np.interp(still, OF_PICTURES, OF_FRAMES))
    scale = min(1.0, still / LARGE_STEPS)
    first = mean - MEAN_OFFSET[access] * scale
    return tuple(min(STEPS, max(1, round(first + one * scale))) for one in OFFSETS[access])


def _by_order(coded: Mapping[int, CodedFrame]) -> list[tuple[int, CodedFrame]]:
    return sorted(coded.items(), key=lambda item: item[1].order)


def _anywhere(frames: Mapping[int, object]) -> dict[int, Place]:
    return dict.fromkeys(frames, Place())


def _log_error(frames: Mapping[int, Array], decoded: Mapping[int, Array]) -> float:
    """Return the logarithm of the mean squared error."""
    squares = [
        np.square(image.astype(np.int32) - frames[place]).mean() for place, image in decoded.items()
    ]
    return math.log(max(float(np.mean(squares)), SMALLEST_ERROR))


def _planes(image: Array) -> Planes:
    """Return what AV1 calls Y, U and V, or Y alone."""
    if image.ndim == 2:
        return [image]
    planes = ycbcr_planes(image)
    return [planes[..., channel] for channel in (1, 2, 0)]


def _image(picture: Picture, task: Task, place: Place) -> Array:
    """Turn the planes of a picture into an image where it is wanted."""
    gray = task.channels == 1
    if gray is not (len(picture.planes) == 1) or picture.bits != 8:
        raise ValueError(f"a picture of {len(picture.planes)} planes of {picture.bits} bits")
    if gray:
        return place.put(task, _rows(picture, 0).copy())
    out = np.empty((picture.height, picture.width, 3), np.uint8)
    if place.takes(task):
        out = place.empty(out.shape, out.dtype)
    if _kernels.in_use() and out.flags.c_contiguous:
        luma, blue, red = picture.planes
        _kernels.compiled.planes_to_rgb(luma, blue, red, *picture.strides, True, out)
    else:
        out[...] = _to_rgb(picture)
    return out if place.takes(task) else place.put(task, out)


def _rows(picture: Picture, number: int) -> Array:
    """Return a plane, which is there as long as the picture is."""
    memory = np.frombuffer(picture.planes[number], np.uint8)
    shape, stride = (picture.height, picture.width), picture.strides[min(number, 1)]
    return np.ndarray(shape, np.uint8, memory, 0, (stride, 1))


def _to_rgb(picture: Picture) -> Array:
    """Do what `planes_to_rgb` does: BT.601 in full range, as libyuv rounds it."""
    luma, blue, red = (_rows(picture, number).astype(np.int32) for number in range(3))
    luma = (luma * 257 * 16320 >> 16) + 32
    blue, red = blue - 128, red - 128
    parts = (luma + 90 * red, luma - (22 * blue + 46 * red), luma + 113 * blue)
    rgb: Array = np.stack([part >> 6 for part in parts], axis=2).clip(0, 255).astype(np.uint8)
    return rgb
