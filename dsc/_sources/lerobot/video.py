"""Frames of a video file by their number in it, exactly.

The number of a frame is its place in the order of presentation, counted in the container's packet
table: never the nearest of some times. To get one, decoding begins at the last key frame that is
neither coded nor shown behind it (frames that an open GOP shows before its key frame need the one
before), and the frame is known by its own time stamp, an integer that the packet bears too. Frames
in order are decoded on from where the decoder stands. What the decoder does not give, or gives with
damage, is an error; nothing is put in its place.

Colours are what ``to_ndarray("rgb24")`` of PyAV makes of a frame, as lerobot's own reader on PyAV
has them.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._extras import needing
from dsc._schemas.coded_frame import MOST_PACKETS, CodedFrame, Packet
from dsc.errors import SampleError

CODEC_NAMES = {"h264": "h264", "hevc": "hevc", "libdav1d": "av1", "av1": "av1", "vp9": "vp9"}
FILTERS = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
START_CODE = re.compile(rb"\x00{2,}\x01")
COMMENTS = (39, 40)  # NAL units of supplemental information, of which decoding needs nothing
COPY = "copy the file again, or encode it again"


def pyav() -> Any:
    """Return PyAV.

    Raises
    ------
    MissingPackageError
        When it is not installed.
    """
    with needing("av", "reading video (MP4)"):
        import av
    return av


@dataclass(frozen=True)
class Packets:
    """The packet table of a video.

    Attributes
    ----------
    shown
        Time stamps of the frames that are shown, in the order of presentation: (N,) int64, rising.
    place
        Of each of these, the number of its packet in the order of decoding: (N,).
    sizes
        Bytes of its packet: (N,).
    stamps
        Decoding time stamps of all packets, rising: (M,) int64.
    keys
        Numbers of the packets that are key frames.
    key_shown
        Their time stamps of presentation.
    tick_s
        Seconds a count of time stamps.
    """

    shown: NDArray[np.int64]
    place: NDArray[np.int64]
    sizes: NDArray[np.int64]
    stamps: NDArray[np.int64]
    keys: NDArray[np.int64]
    key_shown: NDArray[np.int64]
    tick_s: float

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.shown)

    def seconds(self, number: int) -> float:
        """Return when a frame is shown."""
        return float(self.shown[number]) * self.tick_s

    def starts(self, number: int) -> list[int]:
        """Return the packets that decoding of a frame may begin at, the nearest first."""
        usable = (self.keys <= self.place[number]) & (self.key_shown <= self.shown[number])
        found = self.keys[usable][::-1].tolist()
        return [*found, 0] if 0 not in found else found

    def number_of(self, stamp: int | None) -> int | None:
        """Return the number of the frame with this time stamp."""
        if stamp is None:
            return None
        at = int(np.searchsorted(self.shown, stamp))
        return at if at < len(self.shown) and self.shown[at] == stamp else None


class VideoFile:
    """A video file, opened; for one thread.

    Parameters
    ----------
    open_file
        Opens it: a path, or a file that can be read at any place.
    where
        The file, for messages.

    Raises
    ------
    SampleError
        When it is no video, or its packet table is none that frames can be counted by.
    """

    def __init__(self, open_file: Callable[[], Any], where: str) -> None:
        self._open_file, self._where = open_file, where
        self._container, self._stream = self._open()
        self.packets = self._list()
        self._shown = np.full(len(self.packets.stamps), -1)  # of each packet, its frame
        self._shown[self.packets.place] = np.arange(len(self.packets))
        self._frames: Iterator[Any] | None = None
        self._fed = -1  # number of the last packet that the decoder has got
        self._at = -1  # number of the last frame that it gave
        self._last: Any = None
        self._held: dict[int, dict[int, bytes]] = {0: {}}  # packets of the key frame used last

    def close(self) -> None:
        """Close the file."""
        self._frames = None
        self._container.close()

    def rgb(self, number: int) -> NDArray[np.uint8]:
        """Decode a frame: (H, W, 3) uint8."""
        found: NDArray[np.uint8] = self._array(number, "rgb24")
        return found

    def codes(self, number: int) -> NDArray[np.uint16]:
        """Decode the first plane of a frame as 12 bits: (H, W) uint16, 0 to 4095."""
        found: NDArray[np.uint16] = self._array(number, "gray12le")
        return found

    def _array(self, number: int, form: str) -> NDArray[Any]:
        frame = self.frame(number)
        return np.ascontiguousarray(frame.to_ndarray(format=form))

    def coded(self, number: int) -> CodedFrame:
        """Return a frame as it lies in the file, with all packets from its key frame on.

        Raises
        ------
        SampleError
            When the video is not of groups that stand alone, or they are too long.
        """
        table = self.packets
        own, starts = int(table.place[number]), table.starts(number)
        keys = table.keys[table.keys <= own]
        start = int(keys[-1]) if len(keys) else 0
        codec = self._stream.codec_context.name
        name = CODEC_NAMES.get(codec)
        advice = "use --codec TASK=av1-seq, or encode it again with closed GOPs of 2 to 16 frames"
        if name is None:
            raise SampleError(f"{self._where}: frames of {codec} cannot be kept; {advice}")
        if starts[0] != start:
            raise SampleError(
                f"{self._where}: frame {number} needs frames before its key frame (an open GOP), "
                f"which cannot be kept; {advice}"
            )
        if own - start >= MOST_PACKETS:
            raise SampleError(
                f"{self._where}: frame {number} is {own - start} packets behind its key frame, and "
                f"at most {MOST_PACKETS - 1} can be kept; {advice}"
            )
        data, shown = self._data(start, own), self._shown
        hidden = [place for place in data if shown[place] < 0]
        if hidden:
            raise SampleError(f"{self._where}: packet {hidden[0]} is not shown (an edit); {advice}")
        context = self._stream.codec_context
        packets = tuple(Packet(n, int(shown[n]), one) for n, one in sorted(data.items()))
        return CodedFrame(name, context.height, context.width, packets)

    def _data(self, start: int, own: int) -> dict[int, bytes]:
        """Read packets, as a decoder takes them that knows nothing of the file."""
        if start not in self._held:
            self._held = {start: {}}
        held = self._held[start]
        if own not in held:
            self._stop()
            try:
                for number, packet in self._demux(start):
                    if number > own or packet.dts is None:
                        break
                    if number >= start and number not in held:
                        held[number] = self._alone(packet)
            except self._failures() as error:
                raise SampleError(
                    f"{self._where}: cannot be read ({_short(error)}); {COPY}"
                ) from None
        missing = [number for number in range(start, own + 1) if number not in held]
        if missing:
            raise SampleError(f"{self._where}: its data end before packet {missing[0]}; {COPY}")
        return {number: held[number] for number in range(start, own + 1)}

    def _alone(self, packet: Any) -> bytes:
        """Return a packet's bytes, with start codes and, at key frames, parameter sets."""
        name = FILTERS.get(self._stream.codec_context.name)
        if name is None:
            return bytes(packet)
        from av.bitstream import BitStreamFilterContext

        found = BitStreamFilterContext(name, self._stream).filter(packet)
        data = b"".join(map(bytes, found))
        return _without_comments(data) if name == FILTERS["hevc"] else data

    def frame(self, number: int) -> Any:
        """Decode a frame, an `av.VideoFrame`.

        Raises
        ------
        SampleError
            When there is no such frame, or it cannot be decoded whole; names the file and frame.
        """
        if not 0 <= number < len(self.packets):
            raise SampleError(
                f"{self._where}: it has {len(self.packets)} frames, and no frame {number}; {COPY}"
            )
        if number == self._at and self._last is not None:
            return self._last
        starts = self.packets.starts(number)
        if self._frames is not None and self._at < number and starts[0] <= self._fed + 1:
            with suppress(SampleError):
                found = self._forward(number)
                if found is not None:
                    return found
        failure: SampleError | None = None
        for start in _fewer_and_fewer(starts):
            self._begin(start)
            try:
                found = self._forward(number)
            except SampleError as error:
                failure = error  # from a key frame further back it may be whole
                continue
            if found is not None:
                return found
        raise failure or SampleError(
            f"{self._where}: frame {number} ({self.packets.seconds(number):.3f} s) does not come "
            f"out of the decoder, though the packet table lists it: its data are damaged or cut; "
            f"{COPY}"
        )

    def _forward(self, number: int) -> Any:
        """Decode on to a frame; None where the decoder passes over it."""
        try:
            for frame in self._frames or ():
                at = self.packets.number_of(frame.pts)
                if at is None:
                    continue  # of an edit list: decoded, and not shown
                self._at, self._last = at, frame
                if at == number:
                    return self._whole(frame, number)
                if at > number:
                    break
        except self._failures() as error:
            self._stop()
            raise SampleError(
                f"{self._where}: frame {number} cannot be decoded ({_short(error)}); {COPY}"
            ) from None
        self._stop()
        return None

    def _whole(self, frame: Any, number: int) -> Any:
        if frame.is_corrupt:
            self._stop()
            raise SampleError(f"{self._where}: frame {number} is decoded with damage; {COPY}")
        return frame

    def _stop(self) -> None:
        self._frames, self._fed, self._at, self._last = None, -1, -1, None

    def _begin(self, start: int) -> None:
        """Let the decoder stand before a packet."""
        self._stop()
        self._frames = self._decode(start)

    def _decode(self, start: int) -> Iterator[Any]:
        """Yield frames as the decoder gives them, from a packet on."""
        for number, packet in self._demux(start):
            if packet.dts is not None:
                if number < start:
                    continue
                self._fed = number
            yield from packet.decode()

    def _demux(self, start: int) -> Iterator[tuple[int, Any]]:
        """Yield packets with their numbers, from one that is not behind `start`."""
        packets = self._packets_from(start)
        first = next(packets, None)
        if first is None or first[0] > start:
            self._container.close()
            self._container, self._stream = self._open()
            packets = self._packets_from(None)
            first = next(packets, None)
        if first is not None:
            yield first
        yield from packets

    def _packets_from(self, start: int | None) -> Iterator[tuple[int, Any]]:
        stamps = self.packets.stamps
        if start is not None:
            stamp = int(stamps[start])
            self._container.seek(stamp, stream=self._stream, backward=True, any_frame=False)
        for packet in self._container.demux(self._stream):
            if packet.dts is None:
                yield len(stamps), packet  # the decoder is to give what it holds back
                continue
            number = int(np.searchsorted(stamps, packet.dts))
            if number >= len(stamps) or stamps[number] != packet.dts:
                raise SampleError(
                    f"{self._where}: its packet table changes while it is read; {COPY}"
                )
            yield number, packet

    def _open(self) -> tuple[Any, Any]:
        av = pyav()
        try:
            container = av.open(self._open_file(), mode="r")
        except FileNotFoundError:
            raise SampleError(
                f"{self._where}: not there; copy the file, or leave the task out with --tasks"
            ) from None
        except self._failures() as error:
            raise SampleError(
                f"{self._where}: no whole video file ({_short(error)}); {COPY}"
            ) from None
        if not container.streams.video:
            container.close()
            raise SampleError(f"{self._where}: no video in it; {COPY}")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode"}
        return container, stream

    def _list(self) -> Packets:
        try:
            found = [
                (packet.pts, packet.dts, packet.is_keyframe, packet.is_discard, packet.size)
                for packet in self._container.demux(self._stream)
                if packet.dts is not None
            ]
        except self._failures() as error:
            raise SampleError(f"{self._where}: cannot be read ({_short(error)}); {COPY}") from None
        if not found or any(pts is None for pts, *_ in found):
            raise SampleError(
                f"{self._where}: no frames, or frames without a time stamp, which cannot be "
                f"counted; {COPY} as MP4"
            )
        pts, dts, key, hidden, size = (np.array(column) for column in zip(*found, strict=True))
        shown = np.flatnonzero(~hidden.astype(bool))
        shown = shown[np.argsort(pts[shown], kind="stable")]
        stamps = pts[shown].astype(np.int64)
        if np.any(np.diff(stamps) <= 0) or np.any(np.diff(dts) <= 0):
            raise SampleError(
                f"{self._where}: two frames have one time stamp, so their order is not known; "
                f"{COPY} at a constant frame rate"
            )
        keys = np.flatnonzero(key.astype(bool))
        return Packets(
            stamps,
            shown.astype(np.int64),
            size[shown].astype(np.int64),
            dts.astype(np.int64),
            keys.astype(np.int64),
            pts[keys].astype(np.int64),
            float(self._stream.time_base),
        )

    @staticmethod
    def _failures() -> tuple[type[Exception], ...]:
        av = pyav()
        return (av.error.FFmpegError, EOFError, ValueError, OSError)


def _without_comments(data: bytes) -> bytes:
    """Return an access unit of HEVC without what encoders say of themselves: x265 says 2 kB."""
    units = START_CODE.split(data)[1:]
    kept = [unit for unit in units if unit[0] >> 1 & 0x3F not in COMMENTS]
    return b"".join(b"\0\0\0\1" + unit for unit in kept)


def _fewer_and_fewer(starts: list[int]) -> list[int]:
    """Choose among packets to begin at: the nearest, the second, the fourth, ..., the last."""
    chosen = [starts[n] for n in range(len(starts)) if (n + 1) & n == 0]
    return list(dict.fromkeys([*chosen, starts[-1]]))


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
