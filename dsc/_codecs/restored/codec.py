"""The codec `av1-small-restored`: what `av1-small` writes, restored after decoding.

The bytes are those of `av1-small`, one for one. What is decoded from them goes through a small
integer network (`dsc._codecs.restored.network`) that was trained on photographs and takes back part
of what quantisation did. Its weights count where a budget counts decoders. A picture that is stored
losslessly, or with headers of its own, is left as it is.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.classical.av1_small import QUANTISER_BITS, Av1SmallCodec
from dsc._codecs.maps.base import METHOD_BITS, Method, ModelTaskCodec
from dsc._codecs.maps.small import SIDE_BYTES, UNITS_AT
from dsc._codecs.restored.network import restore
from dsc._codecs.restored.weights import cached_network, shipped_file
from dsc._coding.varint import unpack_varint
from dsc._schemas import Task, TaskKind


class RestoredCodec(ModelTaskCodec, Av1SmallCodec):
    """Quality is that of `av1-small`.

    Parameters
    ----------
    tasks
        Images of three 8-bit channels, all of whose pixels are valid.
    weights
        A weights file (`dsc._codecs.restored.weights`).
    """

    id: ClassVar[str] = "av1-small-restored"
    decodes_alone: ClassVar[bool] = False  # all pictures of one size at once
    media_type: ClassVar[str | None] = None  # a browser would show what was not restored

    def __init__(self, tasks: Sequence[Task], weights: bytes) -> None:
        super().__init__(tasks, weights)
        self._network = cached_network(weights)

    @staticmethod
    def shipped() -> bytes:
        """Return the model file that comes with dsc."""
        return shipped_file()

    def refusal(self, task: Task) -> str | None:
        """Refuse what the network was not made for."""
        fits = task.kind is TaskKind.IMAGE and task.dtype == "uint8" and task.channels == 3
        if not fits or task.invalid:
            return "restores 8-bit images of three channels without invalid values; use av1-small"
        return super().refusal(task)

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks`, then restore all pictures of one size at once."""
        decoded = super().decode_batch(streams, tasks, max_pixels)
        by_size: dict[tuple[int, ...], list[tuple[int, str, int]]] = {}
        for number, arrays in enumerate(decoded):
            for task, array in arrays.items():
                quantiser = quantiser_of(bytes(streams[number][task]))
                if quantiser:
                    by_size.setdefault(array.shape, []).append((number, task, quantiser))
        for places in by_size.values():
            pictures = np.stack([decoded[number][task] for number, task, _ in places])
            quantisers = np.array([quantiser for *_, quantiser in places], np.uint8)
            restored = restore(self._network, pictures, quantisers)
            for (number, task, _), picture in zip(places, restored, strict=True):
                decoded[number][task][...] = picture
        return decoded


def quantiser_of(data: bytes) -> int:
    """Return the quantiser of a bitstream of `av1-small` that was decoded; 0 where none is said."""
    if data[0] & METHOD_BITS != Method.LOSSY:
        return 0
    start = 1
    if not data[0] >> UNITS_AT:
        for _ in range(2):
            _, start = unpack_varint(data, start, SIDE_BYTES)
    return data[start] & QUANTISER_BITS
