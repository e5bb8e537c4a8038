"""What is stored of a picture for a machine: its pixels, by any codec of images, or nothing lost.

A carrier codes a picture into real bytes, decodes them, and says where in the network the result
goes in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dsc._bench.machine.network import PIXELS
from dsc._bench.machine.operations import mmac_of
from dsc._bench.machine.pictures import Array, PictureSet
from dsc._bench.rate_distortion.candidates import USUAL_QUALITIES, Coder, ComparedCodec
from dsc._bench.speed.clock import processor_s
from dsc._schemas import Quality, Task, TaskKind
from dsc._schemas.quality import DEFAULT_QUALITY
from dsc._threads import single_thread

UNCOMPRESSED = "uncompressed"
ANCHOR = "av1"
RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
# from about 0.1 bpp to where machines see no difference any more; each codec's scale is its own
_QUALITIES = {
    "jpeg": (5, 15, 40, 75, 90),
    "webp": (1, 15, 50, 75, 90),
    **dict.fromkeys(("avif", "avif-s4", "av1", "av1-fast", "av1-psnr"), (1, 30, 45, 60, 75, 90)),
}


@dataclass(frozen=True)
class Carried:
    """What came back of some pictures.

    Attributes
    ----------
    values
        uint8 (H, W, 3) a picture, or what goes in further on.
    payload_bytes
        Of each picture; headers included, a container's are not.
    encode_s, decode_s
        Processor time of the codec, all pictures.
    """

    values: Sequence[Array]
    payload_bytes: Sequence[int]
    encode_s: float
    decode_s: float


class Carrier(Protocol):
    """What is stored of a picture.

    Attributes
    ----------
    name
        Shown in tables; unique.
    enters
        Where in the network what is decoded goes in: `PIXELS`, a layer, or the embedding.
    learns
        Whether its bytes depend on the pictures that train.
    """

    name: str
    enters: str
    learns: bool

    def qualities(self, asked: Sequence[int] | None) -> tuple[int, ...]:
        """Return the qualities that are measured."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """Say in JSON what decides its bytes."""
        ...

    def code(self, data: PictureSet, quality: int) -> Carried:
        """Encode and decode every picture."""
        ...

    def shared_bytes(self, data: PictureSet) -> int:
        """Return the size of what all pictures share: weights, and what was learnt of them."""
        ...

    def codec_mmac(self, data: PictureSet) -> float:
        """Count the operations of the codec's own networks to encode and decode a picture."""
        ...


class Uncompressed:
    """The pictures as they are: what everything else is held to."""

    name = UNCOMPRESSED
    enters = PIXELS
    learns = False

    def qualities(self, asked: Sequence[int] | None) -> tuple[int, ...]:
        """Return one quality, whatever is asked."""
        return (100,)

    def identity(self) -> Mapping[str, Any]:
        """Say that nothing decides."""
        return {"id": UNCOMPRESSED}

    def code(self, data: PictureSet, quality: int) -> Carried:
        """Return the pictures, and the bytes of their pixels."""
        return Carried(data.pictures, [one.nbytes for one in data.pictures], 0.0, 0.0)

    def shared_bytes(self, data: PictureSet) -> int:
        """Return 0: pictures share nothing."""
        return 0

    def codec_mmac(self, data: PictureSet) -> float:
        """Return 0: nothing is coded."""
        return 0.0


class Pixels:
    """Pictures coded by an image codec."""

    enters = PIXELS
    learns = False

    def __init__(self, codec: ComparedCodec) -> None:
        self.name = codec.name
        self._codec = codec
        self._coder = codec.make([RGB])

    def qualities(self, asked: Sequence[int] | None) -> tuple[int, ...]:
        """Return the qualities that are measured."""
        usual = _QUALITIES.get(self._codec.codec, USUAL_QUALITIES)
        return tuple(sorted(set(asked))) if asked else usual

    def identity(self) -> Mapping[str, Any]:
        """Say in JSON what decides its bytes."""
        return self._codec.identity([RGB])

    def code(self, data: PictureSet, quality: int) -> Carried:
        """Encode and decode every picture."""
        return coded_by(self._coder, RGB.name, data.pictures, quality)

    def shared_bytes(self, data: PictureSet) -> int:
        """Return the size of the codec's weights."""
        return len(self._coder.weights() or b"")

    def codec_mmac(self, data: PictureSet) -> float:
        """Count the operations of the codec's own networks to encode and decode a picture."""
        last = data.pictures[-1:]
        return mmac_of(lambda: coded_by(self._coder, RGB.name, last, DEFAULT_QUALITY))


def coded_by(coder: Coder, task: str, values: Sequence[Array], quality: int) -> Carried:
    """Encode and decode values of one task, one after the other, on one thread."""
    sizes, found = [], []
    encode_s = decode_s = 0.0
    with single_thread():
        for value in values:
            start = processor_s()
            (streams,) = coder.encode_batch([{task: value}], Quality(default=quality))
            between = processor_s()
            most = value.shape[-2] * value.shape[-1] if value.ndim > 1 else value.size
            (decoded,) = coder.decode_batch([streams], [task], max(most, value.size))
            end = processor_s()
            sizes.append(sum(len(payload) for payload in streams.values()))
            found.append(decoded[task])
            encode_s, decode_s = encode_s + between - start, decode_s + end - between
    return Carried(found, sizes, encode_s, decode_s)
