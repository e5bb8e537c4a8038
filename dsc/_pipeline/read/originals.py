"""Finds the original of an archive's sample, so that what was decoded can be set beside it.

An archive remembers its source's name and every sample's key. Rendered views are rendered again;
other sources must be pointed at. A task whose encoding is not the archive's (another depth unit,
another dtype) is left out: comparing it would tell nothing.
"""

import re
from typing import Any

import numpy as np

from dsc._codecs.base import Array
from dsc._pipeline.read.dataset import Dataset
from dsc._schemas import Manifest, Task
from dsc._sources.base import read_sample
from dsc._sources.registry import Source, open_source
from dsc.errors import SampleError, UsageError

_RENDERED = re.compile(r"point_(\d+)_view_0")


class Originals:
    """The source of an archive, asked by the archive's keys.

    Parameters
    ----------
    source
        The opened source.
    tasks
        The archive's tasks.
    """

    def __init__(self, source: Source, tasks: tuple[Task, ...]) -> None:
        self._source = source
        there = {task.name: task for task in source.tasks}
        self.tasks = tuple(t.name for t in tasks if _same_encoding(t, there.get(t.name)))
        self._by_key: dict[str, int] | None = None

    @classmethod
    def find(cls, dataset: Dataset, source_root: str | None) -> "Originals | None":
        """Open the source of an archive; None when it is not at hand.

        Parameters
        ----------
        source_root
            Where the data lies; not needed for rendered views.

        Raises
        ------
        UsageError
            When a root is given that does not hold the archive's source.
        """
        manifest = dataset.manifest
        if manifest.source == "sample" and source_root is None:
            source = _render_again(dataset)
        elif source_root is not None and manifest.source != "sample":
            source = _open(manifest, source_root)
        elif source_root is not None:
            raise UsageError(f"--source-root {source_root}: this archive's views were rendered")
        else:
            return None
        return None if source is None else cls(source, dataset.tasks)

    def read(self, index: int, key: str) -> dict[str, Array]:
        """Read a sample's arrays by task; empty when the source does not have it whole."""
        found = self._index(index, key)
        if found is None:
            return {}
        try:
            return dict(read_sample(self._source, found, self.tasks).arrays)
        except SampleError:
            return {}

    def _index(self, index: int, key: str) -> int | None:
        if index < len(self._source) and self._source.key(index) == key:
            return index
        if self._by_key is None:
            self._by_key = {self._source.key(i): i for i in range(len(self._source))}
        return self._by_key.get(key)


def _render_again(dataset: Dataset) -> Source | None:
    keys = tuple(dataset.keys())
    matches = [_RENDERED.fullmatch(key) for key in keys]
    if not matches or not all(matches):
        return None
    first = dataset[0]
    maps = {t.name: first[t.name] for t in dataset.tasks if t.is_map and first[t.name] is not None}
    name, decoded = next(iter(maps.items()), ("", None))
    if decoded is None:
        return None
    last = max(int(match[1]) for match in matches if match)
    source = open_source("sample", n=last + 1, size=decoded.shape[0])
    number = int(matches[0][1]) if matches[0] else 0
    rendered = source.read(number, [name]).arrays[name]
    return source if _alike(rendered, decoded) else None


def _alike(first: Array, second: Array) -> bool:
    """Tell a decoded view from a view of another seed, which no key tells apart."""
    if first.shape != second.shape:
        return False
    if first.std() == 0 or second.std() == 0:
        return bool(np.array_equal(first, second))
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1]) > 0.5


def _open(manifest: Manifest, root: str) -> Source:
    units = {task.unit_m for task in manifest.tasks if task.unit_m is not None}
    options: dict[str, Any] = {"depth_unit": units.pop()} if len(units) == 1 else {}
    if manifest.source_report is not None and manifest.source_report.options:
        options = dict(manifest.source_report.options)
    return open_source(manifest.source, root, **options)


def _same_encoding(task: Task, other: Task | None) -> bool:
    if other is None:
        return False
    return all(
        getattr(task, name) == getattr(other, name)
        for name in ("kind", "dtype", "channels", "unit_m", "invalid")
    )
