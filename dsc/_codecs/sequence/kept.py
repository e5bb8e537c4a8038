"""The codec `keep`: frames of a video as they are coded there, with no second loss.

Samples come as `dsc._schemas.coded_frame.CodedFrame`, in bytes. A payload has its group's header
(`dsc._schemas.group`) and a frame, whose packets are the sample's own and, before it, those that no
sample of the group has: of a group that begins in the middle of the video's own, or of frames shown
later that are decoded before. So a frame is decoded from the payloads that its header names, by
PyAV, to the pixels that the source gives.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from dsc._codecs.base import Array, Sample
from dsc._codecs.canvas import Place
from dsc._codecs.maps.base import NOT_DAMAGE
from dsc._codecs.sequence.grouped import GroupedTaskCodec
from dsc._extras import needing
from dsc._schemas import Quality, Task, TaskKind
from dsc._schemas.coded_frame import CodedFrame, Packet
from dsc._schemas.group import GroupHeader, Lane, Linked
from dsc.errors import CodecError

MOST = 16
DECODERS = {"h264": "h264", "hevc": "hevc", "av1": "libdav1d", "vp9": "vp9"}


class KeepCodec(GroupedTaskCodec):
    """Images, as the packets of the video that they are frames of."""

    id: ClassVar[str] = "keep"
    takes_coded: ClassVar[bool] = True
    group_size: int = MOST

    def refusal(self, task: Task) -> str | None:
        """Say why a task cannot be kept, and what can code it."""
        if task.kind is TaskKind.IMAGE and task.channels == 3 and task.dtype == "uint8":
            return None
        return f"keeps images of 8 bits and three channels, not {task.kind.value}; use av1 or exact"

    @staticmethod
    def lane(task: Task) -> Lane:
        """Name the one stream of a task."""
        return (task.name,)

    def encode_group(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Keep frames that follow one another in a recording; quality means nothing here.

        Raises
        ------
        CodecError
            When samples are no coded frames, or cannot be decoded from what is kept.
        """
        out: list[dict[str, bytes]] = [{} for _ in samples]
        for task in self.tasks:
            frames = {
                at: _frame_of(task, sample[task.name])
                for at, sample in enumerate(samples)
                if task.name in sample
            }
            for at, payload in _payloads(frames, len(samples)).items():
                out[at][task.name] = payload
            self._check(task, frames)
        return out

    def _check(self, task: Task, frames: Mapping[int, CodedFrame]) -> None:
        """Make sure that every frame comes out of what is kept."""
        packets = {one.decoded: one for frame in frames.values() for one in frame.packets}
        try:
            if frames:
                _decode([*frames.values()], packets)
        except NOT_DAMAGE:
            raise
        except Exception as error:
            raise CodecError(
                f"task {task.name}: {self.id}: the packets of {len(frames)} frames cannot be "
                f"decoded by themselves ({error}); use av1-seq"
            ) from error

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Keep one frame as a group of one."""
        return _payloads({0: _frame_of(task, array)}, 1)[0]

    def decode_together(
        self, name: str, payloads: Sequence[Linked], max_pixels: int, places: Sequence[Place]
    ) -> list[Array]:
        """Decode a task of samples to where they are wanted, each frame of a group once.

        Raises
        ------
        BitstreamError
            When one cannot be decoded.
        """
        groups: dict[Any, list[int]] = {}
        for number, payload in enumerate(payloads):
            groups.setdefault(payload.group, []).append(number)
        out: dict[int, Array] = {}
        for members in groups.values():
            try:
                pictures = _decode_payloads([payloads[n] for n in members], max_pixels)
            except NOT_DAMAGE:
                raise
            except Exception as error:
                raise self._damaged(self._task[name], payloads[members[0]], error) from error
            for number, picture in zip(members, pictures, strict=True):
                out[number] = places[number].put(self._task[name], picture)
        return [out[number] for number in range(len(payloads))]


def _frame_of(task: Task, array: Array) -> CodedFrame:
    try:
        if array.ndim != 1 or array.dtype != np.uint8:
            raise ValueError(f"an array of shape {array.shape}")
        return CodedFrame.unpack(array.tobytes())
    except ValueError as error:
        raise CodecError(
            f"task {task.name}: keep takes frames as a video has them, and got {error}; the source "
            "lerobot gives them, without --target and --max-error; else use av1-seq"
        ) from None


def _payloads(frames: Mapping[int, CodedFrame], n: int) -> dict[int, bytes]:
    """Return the payloads of a group's frames, by place: each packet in one of them."""
    order = sorted(frames, key=lambda at: frames[at].own.decoded)
    owner = {frames[at].own.decoded: at for at in order}
    done: set[int] = set()
    found = {}
    for rank, at in enumerate(order):
        frame = frames[at]
        needs = sorted({owner[one.decoded] for one in frame.packets[:-1] if one.decoded in owner})
        own = tuple(
            one
            for one in frame.packets
            if one is frame.own or (one.decoded not in owner and one.decoded not in done)
        )
        done |= {one.decoded for one in own}
        found[at] = GroupHeader(n, at, rank, tuple(needs)).pack() + frame.having(own).pack()
    return found


def _decode_payloads(payloads: Sequence[Linked], max_pixels: int) -> list[Array]:
    """Decode samples of a group, in the order given."""
    frames: list[CodedFrame] = []
    packets: dict[int, Packet] = {}
    for payload in payloads:
        for _, data in payload.chain:
            frame = CodedFrame.unpack(bytes(data)[GroupHeader.unpack(data).size :])
            if frame.height * frame.width > max_pixels:
                raise ValueError(f"{frame.height} × {frame.width} pixels, at most {max_pixels}")
            packets |= {one.decoded: one for one in frame.packets}
        frames.append(frame)
    return _decode(frames, packets)


def _decode(frames: Sequence[CodedFrame], packets: Mapping[int, Packet]) -> list[Array]:
    """Decode packets in their order, and return the pictures of frames: (H, W, 3) uint8."""
    with needing("av", "codec 'keep'"):
        import av
    first = frames[0]
    decoder: Any = av.CodecContext.create(DECODERS[first.codec], "r")
    decoder.thread_count = 1
    decoder.options = {"err_detect": "explode"}
    wanted = {frame.own.shown: frame for frame in frames}
    found: dict[int, Array] = {}
    given: list[Any] = []
    for number in sorted(packets):
        packet = av.Packet(packets[number].data)
        packet.pts = packets[number].shown
        given.append(packet)
    for packet in [*given, None]:
        for picture in decoder.decode(packet):
            if picture.pts in wanted and not picture.is_corrupt:
                found[picture.pts] = _pixels(picture, wanted[picture.pts])
    missing = [frame.own.shown for frame in frames if frame.own.shown not in found]
    if missing:
        raise ValueError(f"frame {missing[0]} of its video does not come out of the decoder")
    return [found[frame.own.shown] for frame in frames]


def _pixels(picture: Any, frame: CodedFrame) -> Array:
    if (picture.height, picture.width) != (frame.height, frame.width):
        raise ValueError(f"{picture.height} × {picture.width} pixels, and it says others")
    return np.ascontiguousarray(picture.to_ndarray(format="rgb24"))
