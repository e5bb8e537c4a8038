"""Parts of an archive to look at: a split, a folder, a recording, the samples of one value.

What a sample's folder or value is takes reading all keys, or all of a small task, so it is worked
out in a thread of its own, once, while the page is told how far that is. Of a sample four bytes are
kept.
"""

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._columns.column import Column, NumberColumn
from dsc._pipeline.read.columns import ArchiveColumns
from dsc._pipeline.read.selection import Selection, choose
from dsc._pipeline.view.pictures import value_text
from dsc._schemas import Task, TaskKind
from dsc._storage.cache.lru import LruCache
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc.errors import DscError, UsageError

FOLDER, RECORDING = "folder", "recording"
NO_VALUE = "(none)"
MOST_GROUPS = 2000
MOST_LABEL = 120  # letters
KEPT = 4  # groupings
KEPT_SELECTIONS = 64 << 20  # bytes
MOST_CONDITION = 2000  # letters
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
        self._columns = ArchiveColumns(archive, PackReader(archive))
        self._tasks = {task.name: task for task in archive.manifest.tasks if task.kind in GROUPED}
        self._made: dict[str, Grouping] = {}
        self._lock = threading.Lock()
        own = (FOLDER, RECORDING) if archive.has_recordings else (FOLDER,)
        self.names = (*own, *(name for name in self._tasks if name not in own))

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
        """Give each sample the number of its group, shard by shard."""
        codes = np.zeros(grouping.total, np.int32)
        known: dict[str, tuple[int, Any]] = {}  # number and place in the order, by label
        for shard in range(len(self._archive.shards)):
            found, values = self._look(by, shard)
            own = []
            for label, place in values:
                number, _ = known.setdefault(label, (len(known), place))
                own.append(number)
            if len(known) > MOST_GROUPS:
                grouping.error = f"{by} has more than {MOST_GROUPS:,} different values"
                return
            first = self._archive.start(shard)
            codes[first : first + len(found)] = np.array(own, np.int32)[found]
            grouping.done = first + len(found)
        labels = sorted(known, key=lambda label: known[label][1])
        rank = np.empty(len(labels), np.int32)
        rank[[known[label][0] for label in labels]] = np.arange(len(labels))
        ranked = rank[codes]
        grouping.labels = labels
        grouping.counts = np.bincount(ranked, minlength=len(labels)).tolist()
        grouping.codes = ranked

    def _look(self, by: str, shard: int) -> tuple[Indices, list[tuple[str, Any]]]:
        """Return what each sample of a shard has: places in a list of labels, and that list."""
        task = self._tasks.get(by)
        if task is not None:
            return _labelled(self._columns.read(by, shard), task)
        return self._folders(shard) if by == FOLDER else self._recordings(shard)

    def _recordings(self, shard: int) -> tuple[Indices, list[tuple[str, Any]]]:
        """Group by recordings, which keep their order; samples of none come last."""
        places = self._archive.places(shard)
        names = [NO_VALUE if place is None else place.sequence[:MOST_LABEL] for place in places]
        own = {name: number for number, name in enumerate(dict.fromkeys(names))}
        first = self._archive.start(shard)
        codes = np.fromiter((own[name] for name in names), np.int64, len(names))
        return codes, [(name, (name == NO_VALUE, first + number)) for name, number in own.items()]

    def _folders(self, shard: int) -> tuple[Indices, list[tuple[str, Any]]]:
        names = [name.rpartition("/")[0] for name in self._archive.source_names(shard)]
        places = {name: number for number, name in enumerate(dict.fromkeys(names))}
        labels = [name.encode("utf-8", "replace").decode()[:MOST_LABEL] for name in places]
        codes = np.fromiter((places[name] for name in names), np.int64, len(names))
        return codes, [(label or NO_VALUE, label) for label in labels]


def _labelled(column: Column, task: Task) -> tuple[Indices, list[tuple[str, Any]]]:
    """Name the values of a column; what is not there comes last."""
    if isinstance(column, NumberColumn):
        different, codes = np.unique(column.values[column.there], return_inverse=True)
        numbers = different.tolist()
        texts = [value_text(task, value) for value in different]
        labels: list[tuple[str, Any]] = [
            (text, (0, number, "")) for text, number in zip(texts, numbers, strict=True)
        ]
    else:
        used, codes = np.unique(column.codes[column.there], return_inverse=True)
        found = (column.table[code] for code in used.tolist())
        texts = [value_text(task, task.to_native(value)) for value in found]
        labels = [(text[:MOST_LABEL], (0, 0, text[:MOST_LABEL])) for text in texts]
    places = np.full(len(column), len(labels), np.int64)
    places[column.there] = codes
    if not column.there.all():
        labels.append((NO_VALUE, (1, 0, "")))
    return places, labels


class Selections:
    """Which samples are looked at: all, or those of a split, of a group, of a condition."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.groups = Groups(archive)
        self._found: LruCache[tuple[str | None, str | None, int | None, str | None], Indices]
        self._found = LruCache(KEPT_SELECTIONS)
        self._reader = PackReader(archive)
        self._looking = threading.Lock()

    def find(
        self, split: str | None, by: str | None, group: int | None, where: str | None = None
    ) -> range | Indices:
        """Return the indices of the samples, rising.

        Parameters
        ----------
        split, by, group
            Name of a split, and number of a group of a grouping; None for all.
        where
            A condition on columns (`dsc.open` takes the same); None for none.

        Raises
        ------
        UsageError
            When there is no such split, group or column, the condition cannot be read, or the
            grouping is not ready.
        """
        if split is not None and split not in self._archive.manifest.splits:
            raise UsageError(f"no split {split!r}")
        if by is None or group is None:
            by = group = None
        if split is None and by is None and where is None:
            return range(len(self._archive))
        key = (split, by, group, where)
        found = self._found.get(key)
        if found is None:
            with self._looking:  # a long look is not begun twice
                found = self._found.get(key)
                if found is None:
                    found = self._choose(*key)
                    self._found.put(key, found, found.nbytes)
        return found

    def _choose(
        self, split: str | None, by: str | None, group: int | None, where: str | None
    ) -> Indices:
        if where is not None and len(where) > MOST_CONDITION:
            raise UsageError(f"where: {len(where)} letters, at most {MOST_CONDITION}")
        chosen = choose(self._archive, self._reader, Selection.of(split, where))
        if by is not None and group is not None:
            grouping = self.groups.find(by)
            if grouping.codes is None:
                raise UsageError(grouping.error or f"the groups by {by} are not known yet")
            if not 0 <= group < len(grouping.labels):
                raise UsageError(f"no group {group} by {by}")
            chosen &= grouping.codes == group
        found: Indices = np.flatnonzero(chosen)
        return found
