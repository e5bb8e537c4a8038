"""What a frozen backbone makes of pictures: embeddings or feature maps, computed once."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dsc._backbones.extract import extract, make_extractor, shape_of, stride_of
from dsc._backbones.registry import load_extractor
from dsc._replay.learners.views.base import Rows
from dsc._replay.learners.views.store import FeatureStore, picture_key
from dsc._replay.scenario.images import Images
from dsc._schemas.extractor import EMBEDDING
from dsc.errors import UsageError

SAVED_TOGETHER = 512
"""Pictures whose features are saved at once: what a kill costs."""


class FrozenView:
    """Features of pictures at one layer of a frozen backbone.

    Each picture is computed by itself, so that its row depends on nothing else, and kept on disk
    under the hash of its pixels: for other seeds, other orders of classes, and exemplars, which
    come back as equal pictures step after step.

    Parameters
    ----------
    backbone
        Its name.
    side
        Pixels of the square that the network sees: a picture's shorter side is resized to it, and
        the middle cut out.
    layer
        Where the features are taken; by default the embedding.
    folder
        Where features are kept; those of other backbones, weights, layers and sides lie beside.

    Attributes
    ----------
    extractor
        What computes a row.
    shape, dtype
        Of a row: (N,) float32 of an embedding; (C, h, w) float16 of a feature map.

    Raises
    ------
    UsageError
        When there is no such backbone or layer, or it takes no pictures of this side.
    MissingPackageError
        When what the backbone needs is not installed.
    """

    def __init__(self, backbone: str, side: int, folder: Path, layer: str = EMBEDDING) -> None:
        made = make_extractor(backbone, "image", layer, side)
        whole = made.preprocessing.model_copy(update={"crop": 1.0})
        self.extractor = made.model_copy(update={"preprocessing": whole})
        self.shape = shape_of(self.extractor)
        self.dtype = np.dtype(np.float32 if layer == EMBEDDING else np.float16)
        self._store = FeatureStore(folder, self.extractor, self.shape, self.dtype)

    def of(self, images: Images) -> Rows:
        """Return the features (N, *shape) of pictures (N, H, W, 3) uint8.

        Raises
        ------
        UsageError
            When a picture is smaller than the network's stride.
        CorruptArchiveError
            When a file of features is damaged.
        """
        self._check_sizes(images)
        keys = [picture_key(image) for image in images]
        rows = np.empty((len(keys), *self.shape), self.dtype)
        missing = self._store.read(keys, rows)
        if missing:
            first = {keys[at]: at for at in reversed(missing)}  # equal pictures are computed once
            for some in _batches(list(first.values())):
                self._store.add([keys[at] for at in some], self._compute(images, some))
            self._store.read(keys, rows)
        return rows

    def _check_sizes(self, images: Images) -> None:
        stride = stride_of(load_extractor(self.extractor))
        for image in images:
            height, width = image.shape[:2]
            if min(height, width) < stride:
                side = self.extractor.preprocessing.side
                raise UsageError(
                    f"images of {width} x {height} pixels, and {self.extractor.backbone} takes "
                    f"none below {stride}: resize all with size={side} (--image-size {side})"
                )

    def _compute(self, images: Images, some: Sequence[int]) -> Rows:
        with np.errstate(over="ignore"):  # what a float16 does not hold is told below
            values = np.stack(
                [extract(self.extractor, images[at]).astype(self.dtype) for at in some]
            )
        if not np.isfinite(values).all():
            raise UsageError(f"{self.extractor}: features that {self.dtype} does not hold")
        return values


def _batches(positions: Sequence[int]) -> Iterator[Sequence[int]]:
    for at in range(0, len(positions), SAVED_TOGETHER):
        yield positions[at : at + SAVED_TOGETHER]
