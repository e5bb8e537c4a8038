"""What recordings are kept in: dsc's stills and groups, image files, and videos as LeRobot's.

Each codes all frames of one task at a level, and gives them back. The levels lie so that the curves
of all overlap. Sizes count what a frame costs where it is kept: 8 bytes a stream in a pack, a
header and padding in a tar, nothing of a video's container.

LeRobot's own settings are those of its recorder: SVT-AV1, preset 12, 4:2:0 in 8 bits, a key frame
every second frame, crf 30; depth as HEVC of 12 bits (Main 12), the logarithm of metres + 3.5
between 0.01 and 10 m, without loss.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dsc._bench.sequences.recording import Clip
from dsc._codecs.base import at_effort
from dsc._codecs.sequence.codec import Av1SeqCodec
from dsc._extras import is_installed
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._schemas import Access, Effort, Quality, Task, TaskKind
from dsc._schemas.group import lanes_of, link_all
from dsc.errors import CodecError

Array = NDArray[Any]
GROUP = 16
TABLE = 8  # bytes of a pack's table, a stream and sample
TAR = 512
STILLS = "dsc av1, stills"
LEROBOT = "LeRobot's video"
QUALITIES = (30, 45, 60, 75)
CRFS = (12, 20, 30, 40)
NEAR_M, FAR_M, SHIFT_M, STEPS = 0.01, 10.0, 3.5, 4095


class Contender(Protocol):
    """Keeps the frames of one task."""

    @property
    def name(self) -> str:
        """Return what people call it."""
        ...

    @property
    def levels(self) -> Sequence[int]:
        """Return the qualities at which it is tried, whatever its scale."""
        ...

    def encode(self, recording: Clip, level: int) -> Any:
        """Code all frames, in order."""
        ...

    def decode(self, coded: Any, recording: Clip) -> list[Array]:
        """Give all frames back, in order."""
        ...

    def size(self, coded: Any) -> int:
        """Count what is kept, in bytes."""
        ...


@dataclass(frozen=True)
class Stills:
    """A codec of dsc's, every frame alone."""

    name: str
    codecs: CodecSet
    levels: Sequence[int] = QUALITIES

    def encode(self, recording: Clip, level: int) -> list[dict[str, bytes]]:
        """Code all frames, in order."""
        name = recording.task.name
        samples = [{name: frame} for frame in recording.frames]
        return self.codecs.encode_batch(samples, Quality(default=level))

    def decode(self, coded: list[dict[str, bytes]], recording: Clip) -> list[Array]:
        """Give all frames back, in order."""
        name = recording.task.name
        return [
            self.codecs.decode_batch([one], [name], most_pixels(recording))[0][name]
            for one in coded
        ]

    def size(self, coded: list[dict[str, bytes]]) -> int:
        """Count the bytes of bitstreams and of their places in tables."""
        streams = len(self.codecs.streams())
        return sum(sum(map(len, one.values())) + TABLE * streams for one in coded)


@dataclass(frozen=True)
class Groups(Stills):
    """A codec of dsc's that codes groups of frames."""

    def encode(self, recording: Clip, level: int) -> list[dict[str, bytes]]:
        """Code all frames, group by group."""
        coded = []
        for at in range(0, len(recording.frames), GROUP):
            samples = [{recording.task.name: f} for f in recording.frames[at : at + GROUP]]
            coded += self.codecs.encode_group(samples, Quality(default=level))
        return coded

    def linked(self, coded: Sequence[dict[str, bytes]]) -> list[list[dict[str, bytes]]]:
        """Return the payloads of each group, each with those that it needs."""
        lanes = lanes_of(self.codecs.records())
        return [link_all(coded[at : at + GROUP], lanes) for at in range(0, len(coded), GROUP)]

    def decode(self, coded: list[dict[str, bytes]], recording: Clip) -> list[Array]:
        """Give all frames back, each group decoded once."""
        name, most = recording.task.name, most_pixels(recording)
        return [
            one[name]
            for group in self.linked(coded)
            for one in self.codecs.decode_batch(group, [name], most)
        ]


@dataclass(frozen=True)
class Files:
    """An image file a frame, in a tar."""

    name: str
    levels: Sequence[int]
    encode_file: Callable[[Array, int], bytes]
    decode_file: Callable[[bytes], Array]

    def encode(self, recording: Clip, level: int) -> list[bytes]:
        """Write a file a frame."""
        return [self.encode_file(frame, level) for frame in recording.frames]

    def decode(self, coded: list[bytes], recording: Clip) -> list[Array]:
        """Read all files."""
        return [self.decode_file(file) for file in coded]

    def size(self, coded: list[bytes]) -> int:
        """Count files as tars hold them: a header, and padding."""
        return sum(TAR + -(-len(file) // TAR) * TAR for file in coded)


@dataclass(frozen=True)
class Video:
    """A video of one encoder, through PyAV on one thread."""

    name: str
    levels: Sequence[int]
    encoder: str
    decoder: str
    pixels: str
    options: dict[str, str]
    every: int

    def encode(self, recording: Clip, level: int) -> list[bytes]:
        """Return the packets, in the order of decoding."""
        import av

        os.environ.setdefault("SVT_LOG", "1")  # SVT greets on stderr, whatever FFmpeg's level is
        height, width = recording.frames[0].shape[:2]
        context = av.CodecContext.create(self.encoder, "w")
        context.width, context.height, context.pix_fmt = width, height, self.pixels
        context.time_base, context.gop_size, context.thread_count = Fraction(1, 30), self.every, 1
        context.options = {k: v.format(crf=level) for k, v in self.options.items()}
        packets = []
        for number, frame in enumerate(recording.frames):
            picture = _picture(frame, self.pixels)
            picture.pts = number
            packets += context.encode(picture)
        return [bytes(packet) for packet in [*packets, *context.encode(None)]]

    def decode(self, coded: list[bytes], recording: Clip) -> list[Array]:
        """Give all frames back, in order."""
        import av

        context = av.CodecContext.create(self.decoder, "r")
        context.thread_count = 1
        found = [one for data in coded for one in context.decode(av.Packet(data))]
        return [_array(one, recording.task) for one in [*found, *context.decode(None)]]

    def size(self, coded: list[bytes]) -> int:
        """Count the packets."""
        return sum(map(len, coded))


def contenders_for(task: Task, effort: Effort = Effort.DEFAULT) -> list[Contender]:
    """List what is tried on a task, dsc's stills first."""
    made: list[Contender] = []
    if task.kind is not TaskKind.LABEL:
        made.append(Stills(STILLS, _codecs("av1", task, effort)))
    else:
        made.append(
            Stills("dsc label-context, stills", _codecs("label-context", task, effort), (60,))
        )
    levels = (60,) if task.kind is TaskKind.LABEL else QUALITIES
    for access in Access:
        with suppress(CodecError):  # of kinds that it does not code
            codecs = CodecSet.of([at_effort(Av1SeqCodec([task], access), effort)])
            made.append(Groups(f"dsc av1-seq, {access}", codecs, levels))
    made += _files(task)
    return made + (_videos(task) if is_installed("av") else [])


def most_pixels(recording: Clip) -> int:
    """Return the pixels of the largest frame."""
    return max(int(frame.shape[0] * frame.shape[1]) for frame in recording.frames)


def _codecs(codec: str, task: Task, effort: Effort) -> CodecSet:
    return CodecSet.from_spec(f"{task.name}={codec}", [task], effort=effort)


def _files(task: Task) -> list[Contender]:
    import imagecodecs

    png = Files("PNG in a tar", (60,), lambda a, _: bytes(imagecodecs.png_encode(a)),
                imagecodecs.png_decode)  # fmt: skip
    if task.kind is not TaskKind.IMAGE:
        return [png]
    jpeg = Files(
        "JPEG in a tar",
        (50, 75, 90, 95),
        lambda a, level: bytes(imagecodecs.jpeg_encode(a, level=level)),
        imagecodecs.jpeg_decode,
    )
    return [jpeg, png]


def _videos(task: Task) -> list[Contender]:
    if task.kind is TaskKind.IMAGE and task.channels == 3 and task.dtype == "uint8":
        options = {"preset": "12", "crf": "{crf}", "svtav1-params": "lp=1"}
        return [Video(LEROBOT, CRFS, "libsvtav1", "libdav1d", "yuv420p", options, 2)]
    if task.kind is TaskKind.DEPTH and task.dtype == "uint16":
        base = {"preset": "medium"}
        quiet = "log-level=none:pools=none:frame-threads=1"
        exact = base | {"x265-params": f"lossless=1:{quiet}"}
        lossy = base | {"crf": "{crf}", "x265-params": quiet}
        return [
            Video(f"{LEROBOT}, lossless", (30,), "libx265", "hevc", "gray12le", exact, 2),
            Video(f"{LEROBOT}, lossy", CRFS, "libx265", "hevc", "gray12le", lossy, 2),
        ]
    return []


def _picture(frame: Array, pixels: str) -> Any:
    """Return a frame as an encoder takes it; depth, in mm, by its logarithm."""
    import av

    if pixels == "gray12le":
        made = av.VideoFrame(frame.shape[1], frame.shape[0], "gray12le")
        _fill(made.planes[0], depth_codes(frame))
        return made
    return av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format=pixels)


def _fill(plane: Any, codes: Array) -> None:
    rows = np.zeros((codes.shape[0], plane.line_size // 2), "<u2")
    rows[:, : codes.shape[1]] = codes
    plane.update(rows.tobytes())


def _array(picture: Any, task: Task) -> Array:
    if task.kind is not TaskKind.DEPTH:
        return np.asarray(picture.to_ndarray(format="rgb24"))
    plane = picture.planes[0]
    rows = np.frombuffer(plane, "<u2").reshape(plane.height, plane.line_size // 2)
    return depth_counts(rows[:, : plane.width])


def depth_codes(depth: Array) -> Array:
    """Return 12-bit codes of millimetres, by the logarithm of metres + 3.5 up to 10 m."""
    low, high = np.log(NEAR_M + SHIFT_M), np.log(FAR_M + SHIFT_M)
    metres = np.clip(depth / 1000.0, NEAR_M, FAR_M)
    codes: Array = np.rint((np.log(metres + SHIFT_M) - low) / (high - low) * STEPS).astype("<u2")
    return codes


def depth_counts(codes: Array) -> Array:
    """Return the millimetres that 12-bit codes stand for."""
    low, high = np.log(NEAR_M + SHIFT_M), np.log(FAR_M + SHIFT_M)
    metres = np.exp(low + np.minimum(codes, STEPS) / STEPS * (high - low)) - SHIFT_M
    counts: Array = np.rint(1000 * metres).astype(np.uint16)
    return counts
