"""Planes of a group of frames, coded by libaom as the tree says and decoded by dav1d.

Encoding is told everything: what each frame is predicted from, and its quantiser. Decoding takes
any frames of a group with all that they need, and goes through them once, in the order in which
they were coded. Where there is no dav1d libaom decodes, to the same values.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.classical import dav1d
from dsc._codecs.classical.av1_still import SequenceHeader
from dsc._codecs.classical.dav1d import Picture
from dsc._codecs.sequence import libaom
from dsc._codecs.sequence.libaom import Kind, Search
from dsc._codecs.sequence.tree import layer_of, structure
from dsc._codecs.sequence.units import restore, strip
from dsc._schemas import Access

Planes = Sequence[Array]
"""One plane, or three of one size, (H, W); uint8, or uint16 of more than 8 bits."""


@dataclass(frozen=True)
class CodedFrame:
    """A frame of a group, coded.

    Attributes
    ----------
    data
        The codec's bytes.
    order
        When it is decoded, among those of the group.
    layer
        0 of a key frame, 1 of every fourth frame, 2 of others.
    needs
        Places of all that are decoded before.
    """

    data: bytes
    order: int
    layer: int
    needs: frozenset[int] = frozenset()


Decode = Callable[[bytes], AbstractContextManager[Picture]]


def encode_frames(
    frames: Mapping[int, Planes],
    kind: Kind,
    quantisers: Sequence[int],
    search: Search,
    access: Access,
) -> dict[int, CodedFrame]:
    """Encode the frames of a group, all of one kind.

    Parameters
    ----------
    frames
        Planes by place, which are at most `dsc._codecs.sequence.tree.MOST`.
    quantisers
        Of each level of the tree, 0 to 63.

    Returns
    -------
    dict of int to CodedFrame
        By place.

    Raises
    ------
    ValueError
        When libaom refuses them.
    """
    places = sorted(frames)
    coded: dict[int, CodedFrame] = {}
    with libaom.FrameEncoder(kind, search) as encoder:
        for order, step in enumerate(structure(len(places), access)):
            place = places[step.place]
            unit = encoder.encode(frames[place], quantisers[step.level], step.references)
            needs = frozenset(places[one] for one in step.needs)
            coded[place] = CodedFrame(strip(unit), order, layer_of(step.place), needs)
    return coded


def decode_frames(
    given: Mapping[int, bytes],
    take: Mapping[int, Callable[[Picture], None]],
    max_pixels: int,
) -> None:
    """Decode frames of a group, each once.

    Parameters
    ----------
    given
        What `encode_frames` gave, by place, in the order of decoding: with each frame all that it
        needs.
    take
        By place of those that are wanted, what to do with the picture.
    max_pixels
        The most that a frame may have.

    Raises
    ------
    ValueError
        When the bytes are none of such frames.
    """
    with ExitStack() as stack:
        decoded: Decode | None = None
        for place, data in given.items():
            unit = restore(data, max_pixels)
            if unit.header is not None:
                decoded = stack.enter_context(_decoder(unit.header))
            if decoded is None:
                raise ValueError("no key frame comes first")
            with decoded(unit.obus) as picture:
                if place in take:
                    take[place](picture)


@contextmanager
def _decoder(header: SequenceHeader) -> Iterator[Decode]:
    """Give what decodes pictures that follow one another."""
    if dav1d.version() is not None:
        yield dav1d.Following(header).decoded
        return
    kind = Kind(header.width, header.height, header.bits, header.monochrome)
    with libaom.FrameDecoder() as decoder:

        @contextmanager
        def decoded(obus: bytes) -> Iterator[Picture]:
            planes = decoder.decode(obus, kind)
            strides = (planes[0].strides[0], planes[-1].strides[0])
            memory = tuple(plane.reshape(-1).view(np.uint8) for plane in planes)
            yield Picture(memory, strides, kind.width, kind.height, kind.bits)

        yield decoded
