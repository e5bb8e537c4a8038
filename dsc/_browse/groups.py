"""Parts of an archive to look at: a split, a folder of the source, the samples of one value.

What a sample's folder or value is takes reading all keys, or all of a small task, so it is worked
out in a thread of its own, once, while the page is told how far that is. Of a sample four bytes are
kept.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._pipeline.read.dataset import Dataset
from dsc._pipeline.view.pictures import value_text
from dsc._schemas import Task, TaskKind
from dsc._storage.read.archive import Archive
from dsc.errors import DscError, UsageError

FOLDER = "folder"
NO_VALUE = "(none)"
MOST_GROUPS = 2000
MOST_LABEL = 120  # letters
KEPT = 4  # groupings
READ_TOGETHER = 256
GROUPED = (TaskKind.CLASS, TaskKind.TEXT, TaskKind.JSON, TaskKind.SCALAR)

Indices = NDArray[np.int64]


@dataclass
class Grouping:
    """The samples of an archive by folder, or by the value of a task.

    Attributes
    ----------
    done
        Samples that were looked at.
    labels
        One a group, in their order; empty until all is done.
    error
        Why there are no groups; empty where there are.
    codes
        Number of its group by sample, int32.
    """

    total: int
    done: int = 0
    labels: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    error: str = ""
    codes: NDArray[np.int32] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there is nothing more to wait for."""
        return bool(self.error) or self.codes is not None

    def to_json(self) -> dict[str, Any]:
        """Return what the page is told."""
        if self.error:
            return {"error": self.error}
        if self.codes is None:
            return {"done": self.done, "total": self.total}
        listed = zip(self.labels, self.counts, strict=True)
        return {"groups": [{"label": label, "count": count} for label, count in listed]}


class Groups:
    """Groupings of one archive, each made when it is first asked for."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._tasks = {task.name: task for task in archive.manifest.tasks if task.kind in GROUPED}
        self._made: dict[str, Grouping] = {}
        self._lock = threading.Lock()
        self.names = (FOLDER, *(name for name in self._tasks if name != FOLDER))

    def find(self, by: str) -> Grouping:
        """Return a grouping; it may not be ready.

        Raises
        ------
        UsageError
            When samples cannot be grouped by that.
        """
        if by not in self.names:
            raise UsageError(f"samples cannot be grouped by {by!r}; by {', '.join(self.names)}")
        with self._lock:
            found = self._made.get(by)
            if found is None:
                found = self._made[by] = Grouping(len(self._archive))
                for old in list(self._made)[:-KEPT]:
                    del self._made[old]
                threading.Thread(target=self._make, args=(by, found), daemon=True).start()
            return found

    def _make(self, by: str, grouping: Grouping) -> None:
        try:
            self._fill(by, grouping)
        except (DscError, OSError, ValueError) as error:
            grouping.error = str(error)

    def _fill(self, by: str, grouping: Grouping) -> None:
        task = self._tasks.get(by)
        values = self._folders() if task is None else self._values(task)
        codes = np.zeros(grouping.total, np.int32)
        known: dict[str, int] = {}
        order: dict[str, Any] = {}
        for index, (label, place) in enumerate(values):
            code = known.setdefault(label, len(known))
            if code == len(order):
                order[label] = place
                if len(order) > MOST_GROUPS:
                    grouping.error = f"{by} has more than {MOST_GROUPS:,} different values"
                    return
            codes[index] = code
            grouping.done = index + 1
        labels = sorted(known, key=lambda label: order[label])
        rank = np.empty(len(labels), np.int32)
        rank[[known[label] for label in labels]] = np.arange(len(labels))
        ranked = rank[codes]
        grouping.labels = labels
        grouping.counts = np.bincount(ranked, minlength=len(labels)).tolist()
        grouping.codes = ranked

    def _folders(self) -> Iterator[tuple[str, Any]]:
        for index in range(len(self._archive)):
            folder = self._archive.origin(index).name.rpartition("/")[0]
            label = folder.encode("utf-8", "replace").decode()[:MOST_LABEL]
            yield label or NO_VALUE, label

    def _values(self, task: Task) -> Iterator[tuple[str, Any]]:
        dataset = Dataset(self._archive, [task.name], native=True)
        for first in range(0, len(dataset), READ_TOGETHER):
            indices = range(first, min(first + READ_TOGETHER, len(dataset)))
            for sample in dataset.batch(indices):
                array = sample[task.name]
                if array is None:
                    yield NO_VALUE, (1, 0, "")
                    continue
                label = value_text(task, array)[:MOST_LABEL]
                number = float(array) if array.ndim == 0 else 0.0
                yield label, (0, number, label)


class Selections:
    """Which samples are looked at: all, those of a split, of a group, or of a group in a split."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.groups = Groups(archive)
        self._splits: dict[str, Indices] = {}

    def find(self, split: str | None, by: str | None, group: int | None) -> range | Indices:
        """Return the indices of the samples, rising.

        Raises
        ------
        UsageError
            When there is no such split or group, or the grouping is not ready.
        """
        if split is not None and split not in self._archive.manifest.splits:
            raise UsageError(f"no split {split!r}")
        if by is None or group is None:
            return range(len(self._archive)) if split is None else self._of_split(split)
        grouping = self.groups.find(by)
        if grouping.codes is None:
            raise UsageError(grouping.error or f"the groups by {by} are not known yet")
        if not 0 <= group < len(grouping.labels):
            raise UsageError(f"no group {group} by {by}")
        if split is None:
            chosen: Indices = np.flatnonzero(grouping.codes == group)
            return chosen
        own = self._of_split(split)
        within: Indices = own[grouping.codes[own] == group]
        return within

    def _of_split(self, split: str) -> Indices:
        found = self._splits.get(split)
        if found is None:
            parts, start = [], 0
            for shard in self._archive.shards:
                if shard.split == split:
                    parts.append(np.arange(start, start + shard.samples))
                start += shard.samples
            found = np.concatenate(parts) if parts else np.zeros(0, np.int64)
            self._splits[split] = found
        return found
