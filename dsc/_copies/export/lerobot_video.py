"""Frames into MP4, as lerobot's own recorder writes them: AV1 or H.264, depth in HEVC of 12 bits.

One thread, so that the same frames give the same bytes.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsc._extras import needing
from dsc.errors import UsageError

PNG, AV1, H264 = "png", "av1", "h264"
FORMATS = (AV1, H264, PNG)
CRF = {AV1: (30, 63), H264: (23, 51)}  # default and largest
KEY_EVERY = 2  # lerobot's own, so that no frame costs more than two
SILENT = "SVT_LOG"


@dataclass(frozen=True)
class Encoding:
    """How frames are encoded.

    Attributes
    ----------
    codec
        What PyAV calls the encoder.
    name
        What lerobot calls the codec.
    pix_fmt
        Layout of the pixels.
    options
        Of the encoder.
    details
        What ``meta/info.json`` says of it.
    """

    codec: str
    name: str
    pix_fmt: str
    options: Mapping[str, str]
    details: Mapping[str, Any]


DEPTH = Encoding(
    "libx265",
    "hevc",
    "gray12le",
    {
        "g": str(KEY_EVERY),
        "x265-params": "lossless=1:pools=none:frame-threads=1:wpp=0:log-level=none",
    },
    {
        "video.g": KEY_EVERY,
        "video.crf": None,
        "video.preset": None,
        "video.extra_options": {"x265-params": "lossless=1"},
    },
)


def parse_format(text: str) -> Encoding | None:
    """Read ``av1``, ``av1:30``, ``h264:23`` or ``png``; None is PNG.

    Raises
    ------
    UsageError
        When it is none of them.
    """
    name, colon, number = text.partition(":")
    if name == PNG and not colon:
        return None
    known = f"--image-format {text}: av1, h264, each with a crf if you like (av1:30), or png"
    if name not in CRF:
        raise UsageError(known)
    crf, most = CRF[name]
    if colon:
        if not number.isdigit() or int(number) > most:
            raise UsageError(f"{known}; the crf of {name} is 0 to {most}")
        crf = int(number)
    details = {"video.g": KEY_EVERY, "video.crf": crf, "video.extra_options": {}}
    shared = {"g": str(KEY_EVERY), "crf": str(crf)}
    if name == AV1:
        svt = {**shared, "preset": "12", "svtav1-params": "fast-decode=0:lp=1"}
        return Encoding("libsvtav1", "av1", "yuv420p", svt, {**details, "video.preset": 12})
    x264 = {**shared, "preset": "medium", "bf": "0"}
    return Encoding("libx264", "h264", "yuv420p", x264, {**details, "video.preset": "medium"})


class Mp4Writer:
    """Writes one MP4, frame by frame.

    Attributes
    ----------
    frames, size
        How many were given, and the bytes that they have become so far.
    """

    def __init__(self, path: Path, encoding: Encoding, height: int, width: int, fps: Fraction):
        os.environ.setdefault(SILENT, "1")  # SVT-AV1 writes a banner to stderr otherwise
        with needing("av", "writing video (MP4)", "--image-format png"):
            import av
        self._av, self._form = av, "gray12le" if encoding is DEPTH else "rgb24"
        self._out = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        stream = self._out.add_stream(encoding.codec, rate=fps, options=dict(encoding.options))
        stream.height, stream.width, stream.pix_fmt = height, width, encoding.pix_fmt
        stream.codec_context.thread_count = 1
        self._stream, self._tick = stream, 1 / fps
        self.frames = self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._put(self._stream.encode())
        self._out.close()

    def add(self, array: NDArray[Any]) -> None:
        """Write a frame: (H, W, 3) uint8, or 12-bit codes (H, W) uint16."""
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format=self._form)
        frame.pts, frame.time_base = self.frames, self._tick
        self.frames += 1
        self._put(self._stream.encode(frame))

    def _put(self, packets: Any) -> None:
        for packet in packets:
            self.size += packet.size
            self._out.mux(packet)
