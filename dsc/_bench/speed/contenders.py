"""What is timed on one kind of data: dsc's codecs, and the library calls that users would make.

The calls are those of imagecodecs, on one thread, with the settings that data sets are written
with: JPEG at quality 95, PNG as it is by default, AVIF at libaom's speed 6. Of WebP and JPEG XL
there is the lossless mode for what must come back exactly. Names of library calls begin with a
capital.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dsc._bench.rate_distortion.candidates import ComparedCodec
from dsc._bench.speed.frames import Kind
from dsc._codecs.base import Codec, at_effort
from dsc._codecs.registry import distinct_codecs
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._schemas import Effort, Quality, Task, TaskKind
from dsc.errors import DscError

Array = NDArray[Any]
AVIF, AVIF_LEVEL = "AVIF speed 6", 46  # the level that quality 60 of `av1` stands for
JPEG, JPEG_LEVEL = "JPEG 95", 95
PNG = "PNG"
BASELINES = {TaskKind.IMAGE: JPEG}  # of the other kinds: PNG
DEFAULT = "dsc default"


class Contender(Protocol):
    """Codes single arrays of one kind, and reads them back."""

    @property
    def name(self) -> str:
        """Return what people call it."""
        ...

    def encode(self, array: Array) -> Any:
        """Return what `decode` takes."""
        ...

    def decode(self, coded: Any, array: Array) -> Array:
        """Return an array as large as the original `array`."""
        ...

    def size(self, coded: Any) -> int:
        """Count the bytes of what `encode` gave."""
        ...


@dataclass(frozen=True)
class LibraryCall:
    """Two functions of a library, which kinds of data people use them for, and what they hold."""

    name: str
    encode_file: Callable[[Array], bytes | bytearray]
    decode_file: Callable[[bytes], Array]
    kinds: Sequence[TaskKind]
    dtypes: Sequence[str] = ("uint8", "uint16")

    def takes(self, task: Task) -> bool:
        """Tell whether people use it for a task."""
        return task.kind in self.kinds and task.dtype in self.dtypes

    def encode(self, array: Array) -> bytes:
        """Return a file."""
        return bytes(self.encode_file(array))

    def decode(self, coded: bytes, array: Array) -> Array:
        """Return its pixels."""
        return self.decode_file(coded)

    def size(self, coded: bytes) -> int:
        """Count its bytes."""
        return len(coded)


class OwnCodec:
    """A codec, or set of codecs, of dsc's for one task."""

    def __init__(self, name: str, codec: Any, task: Task, quality: int) -> None:
        self.name = name
        self._codec, self._task, self._quality = codec, task.name, Quality(default=quality)

    def encode(self, array: Array) -> Mapping[str, bytes]:
        """Return the streams."""
        streams: Mapping[str, bytes] = self._codec.encode_batch(
            [{self._task: array}], self._quality
        )[0]
        return streams

    def decode(self, coded: Mapping[str, bytes], array: Array) -> Array:
        """Return the array."""
        limit = array.shape[0] * array.shape[1]
        decoded: Array = self._codec.decode_batch([coded], [self._task], limit)[0][self._task]
        return decoded

    def size(self, coded: Mapping[str, bytes]) -> int:
        """Count the bytes of all streams."""
        return sum(map(len, coded.values()))


def library_calls() -> list[LibraryCall]:
    """List what users would do without dsc."""
    import imagecodecs

    image, normal = [TaskKind.IMAGE], [TaskKind.IMAGE, TaskKind.NORMAL]
    exact = [TaskKind.DEPTH, TaskKind.NORMAL, TaskKind.LABEL]
    one: dict[str, Any] = {"numthreads": 1}
    jpeg, png = partial(imagecodecs.jpeg_encode, level=JPEG_LEVEL), imagecodecs.png_encode
    webp = partial(imagecodecs.webp_encode, level=80, lossless=False)
    avif = partial(imagecodecs.avif_encode, level=AVIF_LEVEL, speed=6, **one)
    read_webp, read_jxl = imagecodecs.webp_decode, partial(imagecodecs.jpegxl_decode, **one)
    read_avif = partial(imagecodecs.avif_decode, **one)
    calls = [
        LibraryCall(JPEG, jpeg, imagecodecs.jpeg_decode, normal),
        LibraryCall(PNG, png, imagecodecs.png_decode, [*image, *exact]),
        LibraryCall("WebP 80", webp, read_webp, image, ("uint8",)),
        LibraryCall("WebP lossless", _webp_lossless, read_webp, exact, ("uint8",)),
        LibraryCall(AVIF, avif, read_avif, normal),
    ]
    for effort in (3, 7):
        jxl = partial(imagecodecs.jpegxl_encode, effort=effort, **one)
        lossy, lossless = partial(jxl, distance=1.0), partial(jxl, lossless=True)
        calls += [
            LibraryCall(f"JPEG XL effort {effort}", lossy, read_jxl, image),
            LibraryCall(f"JPEG XL lossless, effort {effort}", lossless, read_jxl, exact),
        ]
    return calls


def _webp_lossless(array: Array) -> bytes:
    """Write a WebP of three equal planes, for it has no gray ones."""
    import imagecodecs

    colours = array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)
    return bytes(imagecodecs.webp_encode(colours, lossless=True, numthreads=1))


def contenders_for(
    kind: Kind,
    codecs: Sequence[ComparedCodec] | None,
    quality: int,
    efforts: Sequence[Effort] = (Effort.DEFAULT,),
) -> list[Contender]:
    """List what is timed on one kind of data: library calls, what dsc does, its codecs.

    Parameters
    ----------
    codecs
        Which codecs; None for all that have weights.
    quality
        Of dsc's codecs, 1 to 100.
    efforts
        Of each codec that knows more than one; the others are timed once.
    """
    task = kind.task
    calls: list[Contender] = [call for call in library_calls() if call.takes(task)]
    usual = CodecSet.from_spec(None, [task])
    own: list[Contender] = [OwnCodec(f"{DEFAULT} ({usual.codec_name(task.name)})", usual, task,
                                     quality)]  # fmt: skip
    for one in codecs if codecs is not None else every_codec():
        made = _made(one, task, optional=codecs is None)
        if made is not None:
            found = _by_effort(made, efforts).items()
            own += [OwnCodec(one.name + name, codec, task, quality) for name, codec in found]
    return [*calls, *own]


def _by_effort(codec: Codec, efforts: Sequence[Effort]) -> dict[str, Codec]:
    """Return a codec at its efforts, by what is added to its name."""
    found = {}
    for effort in efforts:
        other = at_effort(codec, effort)
        if effort is Effort.DEFAULT or other is codec:
            found[""] = codec
        else:
            found[f", {effort}"] = other
    return found


def every_codec() -> list[ComparedCodec]:
    """Return all of dsc's codecs, but those that write what another one writes."""
    return [ComparedCodec(name, name) for name in distinct_codecs()]


def _made(codec: ComparedCodec, task: Task, optional: bool) -> Any:
    """Return the codec for one task; None when it codes no such task."""
    try:
        groups = codec.groups([task])
        return codec.make(groups[0]) if groups else None
    except (DscError, OSError):
        if not optional:
            raise
        return None


def baseline_of(kind: Kind) -> str:
    """Name the library call that a kind's ratios are to."""
    return BASELINES.get(kind.task.kind, PNG)
