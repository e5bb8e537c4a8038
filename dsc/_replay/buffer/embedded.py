"""Embeddings of the pictures that a buffer is offered, and which samples stay pictures."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array
from dsc._hashing import splitmix64
from dsc._schemas import Extractor
from dsc.errors import UsageError


class EmbeddedPictures:
    """The embeddings of pictures, (N,) float32 each, computed when they are first asked for.

    Most of what a full buffer is offered cannot stay, and is never asked for.

    Parameters
    ----------
    pictures
        N times uint8 (H, W, 3), or None where there is none.
    extractor
        What computes them.

    Raises
    ------
    MissingPackageError
        When what the backbone needs is not installed.
    UsageError
        When the backbone here has other weights, or a picture is smaller than its stride.

    Attributes
    ----------
    pictures
        As they were given.
    """

    def __init__(self, pictures: NDArray[Any] | Sequence[Any], extractor: Extractor) -> None:
        from dsc._backbones.extract import stride_of  # brings torch
        from dsc._backbones.registry import load_extractor

        self.pictures, self._extractor = pictures, extractor
        self._known: dict[int, Array] = {}
        stride = stride_of(load_extractor(extractor))
        for at, picture in enumerate(pictures):
            if picture is not None and min(picture.shape[:2]) < stride:
                height, width = picture.shape[:2]
                raise UsageError(
                    f"image {at}: {width} x {height} pixels, and {extractor.backbone} sees none "
                    f"below {stride}; resize it before"
                )

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[Array | None]:
        return (self[at] for at in range(len(self)))

    def __getitem__(self, index: int) -> Array | None:
        picture = self.pictures[index]
        if picture is None:
            return None
        if index not in self._known:
            from dsc._backbones.extract import extract

            gray = picture.ndim == 3 and picture.shape[2] == 1
            self._known[index] = extract(self._extractor, picture[..., 0] if gray else picture)
        return self._known[index]


def stays_picture(random: NDArray[np.uint32], share: float) -> NDArray[np.bool_]:
    """Tell which samples are kept as pictures, by their random keys.

    A hash of the key and not the key itself, by which policies choose what stays. What is a picture
    at a smaller share is one at a larger share, too.

    Parameters
    ----------
    random
        (N,) uint32.
    share
        Of all samples, 0 to 1.

    Returns
    -------
    (N,) bool.
    """
    drawn = splitmix64(random.astype(np.uint64)) >> np.uint64(32)
    found: NDArray[np.bool_] = drawn < np.uint64(round(share * (1 << 32)))
    return found
