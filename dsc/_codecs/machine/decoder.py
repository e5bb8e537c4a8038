"""Decodes machine paths: pictures of AV1 codecs, corrected for what a network sees.

The stream ``rgb`` then gives ``rgb``, which is what it was to the last bit, and ``rgb_cls``: the
same picture after an integer network (`dsc._codecs.restored.network`) that was trained by the error
of a frozen task network has corrected it. Nothing but the bitstream goes in: its pixels, and how
coarsely it says that they were quantised. So paths are there for archives of any age, and give the
same integers on every machine.

Source: Zhang et al., "All-in-one image coding for joint human-machine vision with multi-path
aggregation", NeurIPS 2024. Their paths are inside of a learned decoder; the bits are one for all
paths there, too.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.classical.avif import AvifCodec
from dsc._codecs.machine.paths import KIND, shipped_file
from dsc._codecs.machine.quantiser import quantiser_of
from dsc._codecs.restored.network import RestorationNetwork, restore
from dsc._codecs.restored.weights import cached_network
from dsc._schemas.machine_path import MachinePath
from dsc.errors import LIST_DAMAGE, BitstreamError


class PathDecoder:
    """Decodes what a codec wrote, and machine paths beside it.

    Parameters
    ----------
    codec
        Codes the tasks whose streams are read.
    paths
        Of its tasks, no two of one name.
    """

    def __init__(self, codec: AvifCodec, paths: Sequence[MachinePath]) -> None:
        self._codec = codec
        self._paths = {path.name: path for path in paths}

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode as `dsc._codecs.base.Codec` does; a picture of several tasks is decoded once.

        Raises
        ------
        BitstreamError
            When a bitstream is damaged.
        """
        paths = [self._paths[name] for name in tasks if name in self._paths]
        stored = [name for name in tasks if name not in self._paths]
        read = list(dict.fromkeys([*stored, *(path.task for path in paths)]))
        decoded = self._codec.decode_batch(streams, read, max_pixels)
        found: list[dict[str, Array]] = [
            {name: one[name] for name in stored if name in one} for one in decoded
        ]
        for path in paths:
            for numbers in _alike([one.get(path.task) for one in decoded]):
                payloads = [bytes(streams[number][path.task]) for number in numbers]
                pictures = np.stack([decoded[number][path.task] for number in numbers])
                for number, picture in zip(
                    numbers, self._corrected(path, payloads, pictures), strict=True
                ):
                    found[number][path.name] = picture
        return found

    def _corrected(self, path: MachinePath, payloads: Sequence[bytes], pictures: Array) -> Array:
        """Correct decoded pictures (B, H, W, 3) of bitstreams."""
        try:
            quantisers = [quantiser_of(self._codec, payload) for payload in payloads]
        except ValueError as error:
            raise BitstreamError(
                f"stream {path.task}: {path} goes by its quantiser, which cannot be read: {error}; "
                f"{LIST_DAMAGE}"
            ) from error
        network = network_of(path.path)
        return restore(network, pictures, np.array(quantisers, np.uint8), path.parts)


def network_of(path: str) -> RestorationNetwork:
    """Return the network of a path, its self-test run.

    Raises
    ------
    SelfTestError
        When this machine does not reproduce the integers that its file promises.
    """
    return cached_network(shipped_file(path), KIND)


def _alike(pictures: Sequence[Array | None]) -> Iterator[list[int]]:
    """Yield the numbers of the pictures of each size; None is no picture."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for number, picture in enumerate(pictures):
        if picture is not None:
            by_shape.setdefault(picture.shape, []).append(number)
    yield from by_shape.values()
