"""Makes a page that shows what an archive kept: pictures, errors, bytes a task, worst samples.

It is one HTML file that asks no server for anything (the template is ``page.html`` with
``page.css``): pictures are data URIs, the style is inline, there is no script, and a content
security policy forbids everything else. Text from the archive is escaped. Colours follow the
reader's light or dark setting.

Memory holds the pictures of the samples shown and a few numbers for every other one.
"""

import heapq
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from dsc._codecs.base import Array
from dsc._pipeline.metrics import (
    HIGHER_IS_BETTER,
    MeanMetrics,
    measure,
    metric_name,
    metric_text,
)
from dsc._pipeline.read.dataset import Dataset
from dsc._pipeline.read.originals import find_originals, spread
from dsc._pipeline.read.sequences import recordings
from dsc._pipeline.read.summary import Summary, summarise
from dsc._pipeline.view.pictures import Picture, task_pictures, value_text
from dsc._schemas import Task
from dsc._storage.files.writable import OutputFile
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError

SHOWN = 12
MEASURED = 48
WORST = 2
ViewProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class ViewReport:
    """What a page holds.

    Attributes
    ----------
    page_bytes
        Size of the HTML file.
    measured
        Samples that could be set beside their originals.
    note
        Where the originals come from, or why there are none.
    means
        Metric means by task over them.
    worst
        By task, the keys of the worst samples, the worst first.
    """

    page_bytes: int
    shown: int
    measured: int
    note: str
    means: Mapping[str, Mapping[str, float]]
    worst: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class TaskView:
    """One task of one sample: pictures, or a value as text; what it costs and how far it is off."""

    name: str
    pictures: tuple[Picture, ...]
    text: str
    payload_bytes: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class SampleView:
    """One sample.

    Attributes
    ----------
    place
        Where it stands in a recording, in words; empty where in none.
    """

    index: int
    key: str
    tasks: tuple[TaskView, ...]
    place: str = ""


@dataclass(frozen=True)
class WorstSamples:
    """The samples that one task's first metric likes least, the worst first."""

    task: str
    metric: str
    samples: tuple[SampleView, ...]


@dataclass(frozen=True)
class Page:
    """Everything on a page.

    Attributes
    ----------
    means
        Metric means by task over `measured` samples; empty without originals.
    note
        One sentence on where the originals came from, or how to have them.
    spread_over
        What the samples are evenly spread over.
    """

    title: str
    subtitle: str
    note: str
    spread_over: str
    summary: Summary
    tasks: tuple[Task, ...]
    means: Mapping[str, Mapping[str, float]]
    measured: int
    samples: tuple[SampleView, ...]
    worst: tuple[WorstSamples, ...]


def write_view(
    url: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    samples: int = SHOWN,
    measured: int = MEASURED,
    source_root: str | None = None,
    tasks: Sequence[str] | str | None = None,
    sequence: str | None = None,
    progress: ViewProgress | None = None,
) -> ViewReport:
    """Write the page of an archive.

    Parameters
    ----------
    url
        Path or URL of the archive.
    out
        The HTML file, a path or an fsspec URL; it is replaced at once when the page is done.
    samples
        How many are shown, evenly spread.
    measured
        How many at least are compared with their originals, evenly spread.
    source_root
        Where the archive's source lies; None to look where this machine remembers it. Rendered
        views are rendered again.
    tasks
        Names or aliases; None for all.
    sequence
        Name of the recording whose frames are shown and measured; None for all samples.
    progress
        Called with (samples done, samples in all).

    Raises
    ------
    ArchiveNotFoundError, UnknownTaskError, UsageError
        When there is no archive, it lacks a task, the root does not hold its source, or the page
        cannot be written; before anything is decoded.
    CorruptArchiveError, BitstreamError
        When a sample cannot be decoded.
    """
    if samples < 1:
        raise UsageError(f"--samples {samples}: at least 1")
    archive = Archive.open(os.fspath(url))
    place = OutputFile.find(out, "--out")
    viewer = _Viewer(archive, tasks, source_root)
    among = range(len(archive)) if sequence is None else _frames(archive, sequence)
    shown = [among[at] for at in spread(len(among), samples)]
    compared = spread(len(among), measured) if viewer.sourced else ()
    looked_at = sorted({*shown, *(among[at] for at in compared)})
    cards = []
    for done, index in enumerate(looked_at, 1):
        view = viewer.look(index, index in shown)
        if view is not None:
            cards.append(view)
        if progress is not None:
            progress(done, len(looked_at))
    page = _page(viewer, archive, cards, "the archive" if sequence is None else sequence)
    data = _html(page).encode()
    place.write(data)
    worst = {group.task: tuple(view.key for view in group.samples) for group in page.worst}
    return ViewReport(len(data), len(cards), page.measured, viewer.note, page.means, worst)


def _frames(archive: Archive, sequence: str) -> Sequence[int]:
    """Return the samples of a recording.

    Raises
    ------
    UsageError
        When there is no such recording; the message lists those there are.
    """
    found = recordings(archive)
    if sequence not in found:
        some = ", ".join(list(found)[:8]) or "none"
        raise UsageError(f"--sequence {sequence}: no recording of that name here; there: {some}")
    indices: list[int] = found[sequence].indices.tolist()
    return indices


def _place(archive: Archive, index: int) -> str:
    place = archive.place(index)
    if place is None:
        return ""
    time = "" if place.time_ns is None else f", {place.time_ns / 1e9:.3f} s"
    return f"{place.sequence}, frame {place.frame}{time}"


class _Viewer:
    """Decodes samples, sets them beside their originals, and keeps count."""

    def __init__(
        self, archive: Archive, tasks: Sequence[str] | None, source_root: str | None
    ) -> None:
        self.dataset = dataset = Dataset(archive, tasks, native=True)
        self._archive = archive
        found = find_originals(dataset, source_root)
        self._originals, self.note = found.originals, found.note
        self._means = {task.name: MeanMetrics() for task in dataset.tasks}
        self._worst: dict[str, list[tuple[float, int]]] = {t.name: [] for t in dataset.tasks}
        self.measured = 0

    @property
    def sourced(self) -> bool:
        """Whether originals are at hand."""
        return self._originals is not None

    def look(self, index: int, shown: bool) -> SampleView | None:
        """Measure a sample, and give its pictures when it is to be shown."""
        key = self._archive.key(index)
        decoded = self.dataset[index]
        originals = self._originals.read(index, key) if self._originals is not None else {}
        self.measured += bool(originals)
        metrics: dict[str, dict[str, float]] = {}
        for task in self.dataset.tasks:
            array, original = decoded[task.name], originals.get(task.name)
            if array is not None and original is not None and array.shape == original.shape:
                metrics[task.name] = measure(task, original, array)
                self._count(task, index, metrics[task.name])
        if not shown:
            return None
        sizes = self._payload_bytes(index)
        views = (
            _task_view(task, decoded[task.name], originals.get(task.name), metrics, sizes)
            for task in self.dataset.tasks
        )
        return SampleView(index, key, tuple(views), _place(self._archive, index))

    def _count(self, task: Task, index: int, values: Mapping[str, float]) -> None:
        self._means[task.name].add(values)
        name = task.metrics[0]
        badness = -values[name] if HIGHER_IS_BETTER[name] else values[name]
        lossless = values[name] == (1 if name == "identical" else math.inf)
        if not math.isnan(badness) and not lossless:
            worst = self._worst[task.name]
            heapq.heappush(worst, (badness, index))
            if len(worst) > WORST:
                heapq.heappop(worst)

    def _payload_bytes(self, index: int) -> dict[str, int]:
        payloads = self.dataset.payloads([index])[0]
        return {name: len(data) for name, data in payloads.items() if data is not None}

    def means(self) -> dict[str, dict[str, float]]:
        """Return the metric means by task."""
        found = {name: means.means() for name, means in self._means.items()}
        return {name: values for name, values in found.items() if values}

    def worst(self) -> list[WorstSamples]:
        """Return the worst samples of each task, that task alone."""
        groups = []
        for task in self.dataset.tasks:
            ranked = [index for _, index in sorted(self._worst[task.name], reverse=True)]
            views = [view for index in ranked if (view := self._again(index, task)) is not None]
            if views:
                groups.append(WorstSamples(task.name, task.metrics[0], tuple(views)))
        return groups

    def _again(self, index: int, task: Task) -> SampleView | None:
        key = self._archive.key(index)
        array = self.dataset[index][task.name]
        originals = self._originals.read(index, key) if self._originals is not None else {}
        original = originals.get(task.name)
        if array is None or original is None:
            return None
        metrics = {task.name: measure(task, original, array)}
        view = _task_view(task, array, original, metrics, self._payload_bytes(index))
        return SampleView(index, key, (view,), _place(self._archive, index))


def _task_view(
    task: Task,
    decoded: Array | None,
    original: Array | None,
    metrics: Mapping[str, Mapping[str, float]],
    sizes: Mapping[str, int],
) -> TaskView:
    size, values = sizes.get(task.name, 0), metrics.get(task.name, {})
    if decoded is None:
        return TaskView(task.name, (), "this sample does not have it", size, values)
    if not task.is_map:
        return TaskView(task.name, (), value_text(task, decoded), size, values)
    comparable = original if original is not None and original.shape == decoded.shape else None
    return TaskView(task.name, tuple(task_pictures(task, decoded, comparable)), "", size, values)


def _page(viewer: _Viewer, archive: Archive, cards: Sequence[SampleView], spread_over: str) -> Page:
    manifest, url = archive.manifest, archive.root.url
    tasks = ", ".join(task.name for task in viewer.dataset.tasks)
    if viewer.measured:
        note = f"Originals from source {manifest.source}, {viewer.measured} samples compared."
    else:
        note = "Decoded only: give --source-root to see originals, errors and worst samples."
    return Page(
        title=url.rstrip("/").rpartition("/")[2] or url,
        subtitle=f"{tasks} from {manifest.source}, written by {manifest.created_by}",
        note=note,
        spread_over=spread_over,
        summary=summarise(archive),
        tasks=viewer.dataset.tasks,
        means=viewer.means(),
        measured=viewer.measured,
        samples=tuple(cards),
        worst=tuple(viewer.worst()) if viewer.sourced else (),
    )


def _html(page: Page) -> str:
    """Return the whole HTML file."""
    rows = page.summary.rows
    most = max((row.source_bytes or row.stored_bytes for row in rows), default=1)
    return _templates().get_template("page.html").render(page=page, most=most) + "\n"


@cache
def _templates() -> Environment:
    """Load what lies beside this file; every value that is put into it is escaped."""
    made = Environment(
        loader=PackageLoader("dsc._pipeline.view", ""), autoescape=True, undefined=StrictUndefined
    )
    made.filters |= {
        "bytes": _bytes,
        "times": lambda ratio: f"{ratio:.2f} ×",
        "percent_of": lambda size, whole: f"{100 * (size or 0) / max(whole, 1):.2f}",
        "metric": metric_text,
        "metric_name": metric_name,
    }
    return made


def _bytes(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.4g} TB"
