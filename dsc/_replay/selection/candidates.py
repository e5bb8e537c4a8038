"""The candidates of a selection, and what of each fits a budget.

A candidate is a codec and a quality, or a mixture. It is judged by what a real buffer keeps of it:
exemplars are encoded, packed class by class under the budget, and decoded again.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsc._replay.buffer.file import BufferFile
from dsc._replay.buffer.format import random_keys
from dsc._replay.buffer.kept import ExemplarCodec
from dsc._replay.buffer.tasks import task_of
from dsc._replay.learners.memory import ViewedExemplars
from dsc._replay.learners.views.base import PixelView, Rows, View
from dsc._replay.learners.views.frozen import FrozenView
from dsc._replay.scenario.images import LabelledImages, Labels
from dsc.errors import UsageError

DEFAULT_CANDIDATES = (
    "png", "jpeg-bare:5", "jpeg-bare:10", "jpeg-bare:20", "jpeg-bare:40", "webp-bare:1",
    "webp-bare:5", "webp-bare:20", "webp-bare:50", "av1-small:10", "av1-small:20",
    "av1-small:30", "av1-small:40", "av1-small:60",
)  # fmt: skip
EMBEDDING_CANDIDATES = (
    "embedding:10", "embedding:20", "embedding:30", "embedding:40", "embedding:60",
    "embedding:20+5%av1-small:20", "embedding:20+20%av1-small:20", "av1-small:10", "av1-small:20",
    "av1-small:40", "webp-bare:5",
)  # fmt: skip
"""Those of a frozen backbone: its embeddings, some pictures among them, and pictures alone."""
POLICY = "class-balanced"


@dataclass(frozen=True, eq=False)
class PackedExemplars:
    """What of a candidate fits the budget; the exemplars as a data set that learners read.

    Attributes
    ----------
    images
        (N, H, W, 3) uint8, decoded; or the features of a frozen backbone, (N, D).
    targets
        (N,) int64.
    rows
        (N,) int64, where the originals are among the images that were offered.
    nbytes
        What the buffer counts, index included.
    fits
        Whether each class has an exemplar.
    """

    candidate: ExemplarCodec
    images: Rows
    targets: Labels
    rows: Labels
    nbytes: int
    fits: bool
    keys: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Rows, int]]:
        return [(self.images[at], int(self.targets[at])) for at in indices]


def parse_candidates(texts: Sequence[str]) -> tuple[ExemplarCodec, ...]:
    """Read candidates: ``webp:50``, ``png``; a lossless codec needs no quality.

    Raises
    ------
    UsageError
        When there is none, one comes twice, or one is not spelled as it should be.
    """
    found = [ExemplarCodec.parse(text) for text in texts]
    if not found:
        raise UsageError("no candidates; name codecs and qualities, for example webp-bare:5,png")
    for one in found:
        if found.count(one) > 1:
            raise UsageError(f"candidate {one} is named twice")
    return tuple(found)


def pack(
    candidate: ExemplarCodec, data: LabelledImages, budget: int, count_decoder: bool, share: float,
    seed: int, view: View | None = None,
) -> PackedExemplars:  # fmt: skip
    """Fill a buffer with a candidate's exemplars, and decode them.

    Embeddings are offered under the whole budget, from which their tables are learnt, as they will
    be; then the buffer is cut down to its share.

    Parameters
    ----------
    data
        The images offered.
    budget
        Bytes for all classes of the scenario.
    count_decoder
        Whether the codec's weights are taken off `budget` first.
    share
        Part of the classes that `data` has: it may take so much of the budget.
    seed
        Of the choice within a class.
    view
        What a learner is shown of pictures; None for their pixels.

    Raises
    ------
    UnknownCodecError
        When there is no such codec.
    UsageError
        When the budget is smaller than an empty buffer.
    """
    view = PixelView() if view is None else view
    with tempfile.TemporaryDirectory(prefix="dsc-select-") as folder:
        path = Path(folder) / "packed.h5"
        embedded = task_of(view.extractor) if isinstance(view, FrozenView) else None
        with candidate.open(path, budget, embedded, policy=POLICY, seed=seed) as buffer:
            given = candidate.offered(data.images, view.of(data.images))
            try:
                if candidate.has_embeddings:
                    buffer.add(given, data.labels)
                decoder = buffer.nbytes_with_decoder - buffer.nbytes if count_decoder else 0
                if decoder >= budget:
                    return _nothing(candidate, data)
                buffer.resize(int((budget - decoder) * share))
                if not candidate.has_embeddings:
                    buffer.add(given, data.labels)
            except UsageError:  # one exemplar needs more than there is
                return _nothing(candidate, data)
            shown = ViewedExemplars(buffer, view).__getitems__(range(len(buffer)))
            if not shown:
                return _nothing(candidate, data)
            images = np.stack([row for row, _ in shown])
            targets, nbytes = buffer.targets, int(buffer.nbytes)
        random = BufferFile(path).contents.rows.random
    offered = random_keys(seed, 0, len(data))
    order = np.argsort(offered, kind="stable")
    rows = order[np.searchsorted(offered[order], random)]
    fits = len(np.unique(targets)) == len(data.classes)
    return PackedExemplars(candidate, images, targets, rows, nbytes, fits)


def _nothing(candidate: ExemplarCodec, data: LabelledImages) -> PackedExemplars:
    none = np.zeros(0, np.int64)
    return PackedExemplars(candidate, data.images[:0], none, none, 0, False)
