"""What the page of an archive asks for, as JSON and files. Nothing here knows HTTP.

Texts come from the archive and may hold anything; the page shows them as texts, never as markup.
"""

import math
import textwrap
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from dsc._browse.groups import Selections
from dsc._browse.pictures import Image, Pictures
from dsc._browse.sizes import measure_sizes
from dsc._codecs.base import Array
from dsc._pipeline.metrics import metric_text
from dsc._pipeline.read.dataset import Dataset
from dsc._pipeline.read.summary import summarise
from dsc._pipeline.view.pictures import value_text
from dsc._schemas import VECTORS, Task, TaskKind
from dsc._storage.files.place import redact
from dsc._storage.read.archive import Archive
from dsc.errors import BitstreamError, CorruptArchiveError, DscError, MissingTaskError, UsageError

MOST_LISTED = 400  # samples in one answer
MOST_SEARCHED = 1 << 20  # keys
MOST_TEXT = 20_000  # letters of a value
MOST_ENTRIES = 12  # of a vector over classes
NARROW = 44  # letters of a line of numbers
SHORT_TEXT = 160
# files that browsers play or show, and that cannot hold a script
PLAYED = (
    "audio/wav", "audio/x-wav", "audio/mpeg", "audio/ogg", "audio/flac", "audio/mp4", "video/mp4",
    "video/webm", "image/png", "image/jpeg", "image/webp", "image/gif", "image/avif",
)  # fmt: skip
ANY_FILE = "application/octet-stream"


class Content:
    """Answers for one archive; shared by threads.

    Parameters
    ----------
    archive
        The archive.
    source_root
        Where its source lies; None to look where this machine remembers it.
    """

    def __init__(self, archive: Archive, source_root: str | None = None) -> None:
        self.archive = archive
        self.pictures = Pictures(archive, source_root)
        self.selections = Selections(archive)
        self.version = archive.manifest.sha256[:16]
        self._values: dict[tuple[str, ...], Dataset] = {}
        self._sizes: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def look_for_originals(self) -> None:
        """Look for originals in a thread of its own."""
        threading.Thread(target=self.pictures.look, daemon=True).start()

    # ---- the archive

    def describe(self) -> dict[str, Any]:
        """Return what the page begins with."""
        archive, manifest = self.archive, self.archive.manifest
        url = redact(archive.root.url)
        summary = summarise(archive)
        return {
            "version": self.version,
            "url": url,
            "title": url.rstrip("/").rpartition("/")[2] or url,
            "source": manifest.source,
            "made_by": manifest.created_by,
            "generation": manifest.generation,
            "samples": len(archive),
            "failed": manifest.n_failed,
            "splits": [{"name": name, "count": n} for name, n in manifest.splits.items()],
            "tasks": [self._task(task) for task in manifest.tasks],
            "groupings": list(self.selections.groups.names),
            "aspect": self._aspect(),
            "bytes": summary.to_json(),
            "streams": [stream.name for stream in manifest.streams],
            "originals": self.originals(),
        }

    def _task(self, task: Task) -> dict[str, Any]:
        return {
            "name": task.name,
            "kind": task.kind.value,
            "dtype": task.dtype,
            "is_map": task.is_map,
            "exact": self.pictures.is_exact(task),
            "unit_m": task.unit_m,
            "classes": len(task.classes),
            "media_type": task.media_type,
            "codec": self.pictures.codec_name(task.name),
            "undecoded": task.is_map and self.pictures.shown_by_browser(task.name),
        }

    def _aspect(self) -> float:
        """Return width by height of the first map there is, between 1/2 and 2; else 1."""
        for task in self.archive.manifest.tasks:
            if task.is_map:
                with suppress(DscError, OSError):
                    size = self.pictures.size(0, task.name)
                    if size is not None:
                        return min(max(size[1] / size[0], 0.5), 2.0)
        return 1.0

    def originals(self) -> dict[str, Any]:
        """Say whether there are originals, as far as they were looked for."""
        found = self.pictures.looked
        if found is None:
            return {"state": "looking", "note": "looking for originals", "tasks": []}
        tasks = list(found.originals.tasks) if found.originals is not None else []
        return {"state": "there" if tasks else "none", "note": redact(found.note), "tasks": tasks}

    # ---- samples

    def samples(
        self,
        split: str | None,
        by: str | None,
        group: int | None,
        where: str | None,
        start: int,
        count: int,
        values: Sequence[str],
    ) -> dict[str, Any]:
        """List samples of a selection, with the values of some tasks that are no maps."""
        if start < 0 or not 0 <= count <= MOST_LISTED:
            raise UsageError(f"{count} samples from {start}: at most {MOST_LISTED} from 0 on")
        chosen = self.selections.find(split, by, group, where)
        indices = [int(index) for index in chosen[start : start + count]]
        texts = self._short_values(indices, values)
        items = [
            {"index": index, "key": self.archive.key(index), "values": text}
            for index, text in zip(indices, texts, strict=True)
        ]
        return {"total": len(chosen), "start": start, "items": items}

    def _short_values(
        self, indices: Sequence[int], names: Sequence[str]
    ) -> list[dict[str, str | None]]:
        if not names or not indices:
            return [{} for _ in indices]
        tasks = [self._known(name) for name in names]
        maps = [task.name for task in tasks if task.is_map]
        if maps:
            raise UsageError(f"{', '.join(maps)}: maps are pictures, not values")
        dataset = self._reader(tuple(names))
        try:
            found = dataset.batch(indices)
        except (BitstreamError, CorruptArchiveError) as error:
            return [dict.fromkeys(names, f"damaged: {error}"[:SHORT_TEXT]) for _ in indices]
        return [{task.name: _short(task, sample[task.name]) for task in tasks} for sample in found]

    def _reader(self, names: tuple[str, ...]) -> Dataset:
        with self._lock:
            if names not in self._values:
                for old in list(self._values)[:-8]:
                    del self._values[old]
                self._values[names] = Dataset(self.archive, list(names), native=True)
            return self._values[names]

    def find(
        self, text: str, split: str | None, by: str | None, group: int | None, where: str | None
    ) -> dict[str, Any]:
        """Find a sample by number, key, or a part of its key; say where it is in a selection."""
        index = self._search(text.strip())
        if index is None:
            return {"index": None, "key": None, "position": None}
        chosen = self.selections.find(split, by, group, where)
        place = int(np.searchsorted(chosen, index)) if len(chosen) else 0
        there = place < len(chosen) and int(chosen[place]) == index
        return {
            "index": index,
            "key": self.archive.key(index),
            "position": place if there else None,
        }

    def _search(self, text: str) -> int | None:
        with suppress(DscError):
            return self.archive.index_of(text)
        number = text.removeprefix("#")
        if number.isascii() and number.isdecimal() and int(number[:18]) < len(self.archive):
            return int(number[:18])
        first = 0
        for shard in range(len(self.archive.shards)):
            keys = self.archive.keys(shard)
            for place, key in enumerate(keys):
                if text and text in key:
                    return first + place
            first += len(keys)
            if first > MOST_SEARCHED:
                break
        return None

    def sample(self, index: int) -> dict[str, Any]:
        """Describe one sample, task by task."""
        shard, _, _ = self.archive.locate(index)
        origin, place = self.archive.origin(index), self.archive.place(index)
        return {
            "index": index,
            "key": self.archive.key(index),
            "split": self.archive.shards[shard].split,
            "name": origin.name,
            "place": None if place is None else place._asdict(),
            "files": dict(origin.files),
            "tasks": [self._sample_task(index, task) for task in self.archive.manifest.tasks],
        }

    def _sample_task(self, index: int, task: Task) -> dict[str, Any]:
        described: dict[str, Any] = {"name": task.name, "kind": task.kind.value}
        try:
            payloads = self.pictures.payloads(index, task.name).values()
            sizes = [len(payload) for payload in payloads if payload is not None]
            if not sizes:
                return described | {"missing": True}
            described["bytes"] = sum(sizes)
            if task.is_map:
                size = self.pictures.size(index, task.name)
                if size is None:
                    return described | {"missing": True}
                described |= {"height": size[0], "width": size[1]}
                return described | {"caption": self.pictures.caption(index, task.name)}
            array = self.pictures.array(index, task.name)
            if array is None:
                return described | {"missing": True}
            return described | _long(task, array)
        except (BitstreamError, CorruptArchiveError, OSError) as error:
            return described | {"error": redact(str(error))}

    def compare(self, index: int) -> dict[str, Any]:
        """Measure a sample's maps against their originals, where there are any."""
        found = {}
        for task in self.archive.manifest.tasks:
            if not task.is_map:
                continue
            try:
                values = self.pictures.metrics(index, task.name)
                if values:
                    found[task.name] = {
                        "metrics": [metric_text(name, value) for name, value in values.items()],
                        "caption": self.pictures.error_caption(index, task.name),
                        "same": _is_same(values),
                    }
            except (DscError, OSError) as error:
                found[task.name] = {"error": redact(str(error))}
        return {"index": index, "originals": self.originals(), "tasks": found}

    def _known(self, name: str) -> Task:
        found = self.pictures.tasks.get(name)
        if found is None:
            raise UsageError(f"no task {name!r}")
        return found

    def map_task(self, name: str) -> Task:
        """Return a task that is a map.

        Raises
        ------
        UsageError
            When there is none of that name, or it is none.
        """
        task = self._known(name)
        if not task.is_map:
            raise UsageError(f"{name} is no map")
        return task

    # ---- files

    def file(self, index: int, name: str) -> tuple[Image, bool]:
        """Return the bytes of a text, JSON or file, and whether a browser may show them in place.

        Raises
        ------
        MissingTaskError
            When the sample lacks it.
        """
        task = self._known(name)
        if not task.is_blob:
            raise UsageError(f"{name} is no file")
        array = self.pictures.array(index, name)
        if array is None:
            raise MissingTaskError(f"sample {self.archive.key(index)} has no {name}")
        played = task.media_type in PLAYED
        return Image(str(task.media_type) if played else ANY_FILE, array.tobytes()), played

    def sizes(self, stream: str) -> dict[str, Any]:
        """Return the histogram of a stream's bytes a sample."""
        known = [one.name for one in self.archive.manifest.streams]
        if stream not in known:
            raise UsageError(f"no stream {stream!r}; found: {', '.join(known)}")
        if stream not in self._sizes:
            self._sizes[stream] = measure_sizes(self.archive, stream)
        return {"stream": stream, **self._sizes[stream]}


def _is_same(values: dict[str, float]) -> bool:
    first = next(iter(values.items()))
    return first == ("identical", 1.0) or (first[0] == "psnr_db" and math.isinf(first[1]))


def _short(task: Task, array: Array | None) -> str | None:
    if array is None:
        return None
    text = " ".join(value_text(task, array).split())
    return text if len(text) <= SHORT_TEXT else f"{text[:SHORT_TEXT]}…"


def _long(task: Task, array: Array) -> dict[str, Any]:
    """Return the whole value of a task that is no map, as text, and what it is."""
    if task.kind is TaskKind.BYTES:
        played = task.media_type if task.media_type in PLAYED else None
        return {"text": value_text(task, array), "played": played, "form": "file"}
    if task.is_blob:
        text = array.tobytes().decode("utf-8", "replace")
        form = "json" if task.kind is TaskKind.JSON else "text"
        return {"text": text[:MOST_TEXT], "cut": len(text) > MOST_TEXT, "form": form}
    if task.kind is TaskKind.VECTOR and task.classes and array.size:
        return {"text": _ranked(task, array), "form": "numbers"}
    if task.kind in (TaskKind.MATRIX, *VECTORS) and array.size:
        text = _rows(array)
        return {"text": text[:MOST_TEXT], "cut": len(text) > MOST_TEXT, "form": "numbers"}
    return {"text": value_text(task, array), "form": "value"}


def _ranked(task: Task, array: Array) -> str:
    """Spell the largest entries of a vector over classes, a line each."""
    order = np.argsort(-np.nan_to_num(array, nan=-np.inf))[:MOST_ENTRIES]
    names = [task.classes[at] if at < len(task.classes) else str(at) for at in order]
    return "\n".join(
        f"{float(array[at]):.4f}  {name}" for at, name in zip(order, names, strict=True)
    )


def _rows(array: Array) -> str:
    """Spell numbers in columns; of a matrix a line a row."""
    text = np.array2string(
        array,
        precision=5,
        threshold=4096,
        max_line_width=120 if array.ndim > 1 else NARROW,
        suppress_small=True,
    )
    plain = text.translate(str.maketrans("[]", "  "))
    return textwrap.dedent("\n".join(line.rstrip() for line in plain.splitlines()))
