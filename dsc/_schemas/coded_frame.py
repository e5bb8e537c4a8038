"""A frame of a video as it is coded there: packets, from the key frame on, its own the last.

As bytes, little-endian::

    u8        codec: 0 H.264, 1 HEVC, 2 AV1, 3 VP9
    u16 u16   height and width of the picture
    u8        number of packets
    ...       of each: u32 when it is decoded, u32 when its picture is shown, u32 size
    ...       the packets, one behind the other
"""

import struct
from dataclasses import dataclass, replace
from typing import Self

CODECS = ("h264", "hevc", "av1", "vp9")
MOST_PACKETS = 64
_HEAD, _PACKET = struct.Struct("<BHHB"), struct.Struct("<III")


@dataclass(frozen=True)
class Packet:
    """A packet of a video.

    Attributes
    ----------
    decoded, shown
        Its numbers in its file, in the orders of decoding and of presentation.
    """

    decoded: int
    shown: int
    data: bytes


@dataclass(frozen=True)
class CodedFrame:
    """A frame, and packets that are decoded for it.

    Attributes
    ----------
    codec
        One of `CODECS`; H.264 and HEVC as Annex B says, with parameter sets at key frames.
    packets
        In the order of decoding; the last is the frame's own.
    """

    codec: str
    height: int
    width: int
    packets: tuple[Packet, ...]

    @property
    def own(self) -> Packet:
        """The frame's own packet."""
        return self.packets[-1]

    def having(self, packets: tuple[Packet, ...]) -> Self:
        """Return the same frame with these packets."""
        return replace(self, packets=packets)

    def pack(self) -> bytes:
        """Return its bytes."""
        parts = [
            _HEAD.pack(CODECS.index(self.codec), self.height, self.width, len(self.packets)),
            *(_PACKET.pack(one.decoded, one.shown, len(one.data)) for one in self.packets),
            *(one.data for one in self.packets),
        ]
        return b"".join(parts)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read a frame.

        Raises
        ------
        ValueError
            When it is none.
        """
        if len(data) < _HEAD.size:
            raise ValueError(f"{len(data)} bytes hold no frame")
        codec, height, width, count = _HEAD.unpack_from(data)
        at = _HEAD.size + count * _PACKET.size
        if codec >= len(CODECS) or not 1 <= count <= MOST_PACKETS or len(data) < at:
            raise ValueError(f"codec {codec} and {count} packets are no frame")
        packets: list[Packet] = []
        for n in range(count):
            decoded, shown, size = _PACKET.unpack_from(data, _HEAD.size + n * _PACKET.size)
            if size > len(data) - at or (packets and decoded <= packets[-1].decoded):
                raise ValueError(f"packet {n} of {count} is cut, or not in order")
            packets.append(Packet(decoded, shown, data[at : at + size]))
            at += size
        if at != len(data):
            raise ValueError(f"{len(data) - at} bytes behind the last packet")
        return cls(CODECS[codec], height, width, tuple(packets))
