"""Near-duplicates among the vectors of an archive's samples, and whether splits share them.

Every pair is compared, by cosine similarity; samples that hang together by pairs above a threshold
are a group (single linkage). All vectors are held in memory, 4 bytes a number, and the time grows
with the square of the samples: 100,000 vectors of 1280 numbers take some ten minutes on one core.

The usual thresholds were measured with EfficientNet-Lite0 on copies of photographs and on pictures
that are no copies (``docs/embeddings.md``). They depend on how well vectors are kept: at quality 60
what is lost takes a tenth off the similarity of two copies, at 80 a hundredth.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from dsc._columns.column import Ints
from dsc._pipeline.read.vectors import Floats, Vectors
from dsc._schemas import Manifest
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError

FINE, COARSE = 0.9, 0.8  # usual thresholds: of vectors as computed, and of those coded coarsely
LEAST_FINE = 80  # quality
ROWS, COLUMNS = 1024, 8192  # of similarities that are held at once
ROUNDING = 1e-6  # of similarities in float32: those of a vector and its copy are not quite 1


@dataclass(frozen=True)
class DuplicateGroup:
    """Samples that are near-duplicates of one another.

    Attributes
    ----------
    keys
        Of the samples, in the archive's order.
    indices
        Of the samples in the dataset that was asked.
    splits
        The split of each.
    """

    keys: tuple[str, ...]
    indices: tuple[int, ...]
    splits: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.keys)

    @property
    def is_across(self) -> bool:
        """Whether several splits share it."""
        return len(set(self.splits)) > 1


@dataclass(frozen=True)
class Duplicates:
    """The near-duplicates among some samples.

    Attributes
    ----------
    task
        The embedding that was compared.
    above
        The least cosine similarity of a pair.
    samples
        How many samples were compared: those that have one.
    groups
        Of two samples or more: those that splits share first, then the largest.
    """

    task: str
    above: float
    samples: int
    groups: tuple[DuplicateGroup, ...]

    @property
    def across(self) -> dict[tuple[str, str], int]:
        """How many samples of a split are in a group with some of another split, by both."""
        found: Counter[tuple[str, str]] = Counter()
        for group in self.groups:
            sizes = Counter(group.splits)
            for one, other in permutations(sizes, 2):
                found[one, other] += sizes[one]
        return dict(sorted(found.items()))

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON."""
        return {
            "task": self.task,
            "above": self.above,
            "samples": self.samples,
            "across": [
                {"split": one, "with": other, "samples": count}
                for (one, other), count in self.across.items()
            ],
            "groups": [
                {"keys": list(g.keys), "indices": list(g.indices), "splits": list(g.splits)}
                for g in self.groups
            ],
        }


def threshold(above: float | None, manifest: Manifest, task: str) -> float:
    """Return the least similarity of a pair: the one asked for, or what is usual for a task.

    Raises
    ------
    UsageError
        When it is not above 0, or above 1.
    """
    if above is None:
        return COARSE if _is_coarse(manifest, task) else FINE
    if not 0 < above <= 1:
        raise UsageError(f"--above {above:g}: a cosine similarity, more than 0 and 1 at most")
    return above


def _is_coarse(manifest: Manifest, task: str) -> bool:
    """Tell whether vectors were coded at a quality that changes similarities much."""
    own = {stream.name for stream in manifest.streams if task in stream.carries}
    records = [record for record in manifest.codecs if own & set(record.streams)]
    quality = manifest.quality
    if task in quality.targets or task in quality.max_error:
        return False
    return any(one.id == "embedding" for one in records) and quality.of(task) < LEAST_FINE


def find_duplicates(
    archive: Archive, found: Iterable[Vectors], chosen: Ints, task: str, above: float
) -> Duplicates:
    """Group the near-duplicates among vectors.

    Parameters
    ----------
    found
        The vectors, in blocks.
    chosen
        Indices in the archive of the samples of the dataset that was asked.
    task
        Their name.
    above
        The least cosine similarity of a pair.
    """
    blocks = list(found)
    indices = np.concatenate([np.zeros(0, np.int64), *(block.indices for block in blocks)])
    parts = [block.units for block in blocks if len(block.units)]
    units = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
    place = {index: at for at, index in enumerate(chosen.tolist())}

    def made(members: Ints) -> DuplicateGroup:
        own = indices[members].tolist()
        return DuplicateGroup(
            tuple(archive.key(index) for index in own),
            tuple(place[index] for index in own),
            tuple(archive.shards[archive.locate(index)[0]].split for index in own),
        )

    groups = [made(members) for members in linked(units, above)]
    groups.sort(key=lambda group: (not group.is_across, -len(group)))
    return Duplicates(task, above, len(indices), tuple(groups))


def linked(units: Floats, above: float) -> Iterator[Ints]:
    """Yield groups of two or more vectors that hang together by similarities from `above` on.

    Parameters
    ----------
    units
        Of length 1, (n, N).
    above
        The least similarity.
    """
    groups = np.arange(len(units))  # of each, the first of those that it is known to go with
    for top in range(0, len(units), ROWS):
        rows = units[top : top + ROWS]
        for left in range(top, len(units), COLUMNS):
            found = rows @ units[left : left + COLUMNS].T
            row, column = np.nonzero(found >= above - ROUNDING)
            groups = _joined(groups, row + top, column + left)
    order = np.argsort(groups, kind="stable")
    cuts = np.flatnonzero(np.diff(groups[order])) + 1
    yield from (members for members in np.split(order, cuts) if len(members) > 1)


def _joined(groups: Ints, rows: Ints, columns: Ints) -> Ints:
    """Join the groups of pairs: each goes with the lowest that it is linked to."""
    while True:
        one, other = groups[rows], groups[columns]
        apart = one != other
        if not apart.any():
            return groups
        rows, columns, one, other = rows[apart], columns[apart], one[apart], other[apart]
        leads_to = np.arange(len(groups))
        np.minimum.at(leads_to, np.maximum(one, other), np.minimum(one, other))
        while (leads_to[leads_to] != leads_to).any():
            leads_to = leads_to[leads_to]
        groups = leads_to[groups]
