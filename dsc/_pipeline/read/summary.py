"""What an archive holds and what it costs, task by task: payload, stored and source bytes.

A stream that carries one task is counted with the task; one that several tasks need (``shared``)
has a row of its own. Files beside the streams (codec weights, keys, manifest) are counted apart,
because they do not grow with the samples, or hardly. No ratio counts them, so a summary says where
the codec files are much beside the streams (`Summary.has_heavy_files`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from dsc._schemas import Stream, carrying_streams, required_streams
from dsc._schemas.levels import levels_of, streams_of_levels
from dsc._schemas.rate import rate_here
from dsc._storage.read.archive import Archive

LITTLE = 10  # codec files of at most one part in so many of the streams need no word


@dataclass(frozen=True)
class SummaryRow:
    """One task, or one stream that several tasks need.

    Attributes
    ----------
    name
        Of the task or stream.
    kind
        The task's kind; ``stream`` for a stream that is no task's own.
    codec
        Registry name of the codec.
    source_bytes
        Of the source's files; None for a stream that is no task's own.
    payload_bytes, stored_bytes
        Of the bitstreams, and of the tars and indexes that hold them.
    alone_bytes
        Stored bytes of every stream that decoding this task takes: what fetching it costs.
    missing
        Samples without it.
    follows
        What it is computed from, and how: ``rgb by edge_texture, sigma 3``; ``""`` where it is not.
    needed_by
        Of a stream that is no task's own: tasks that are decoded with it.
    level_bytes
        Stored bytes that the first level of a task takes, the first two, and so on, of one that has
        several (`dsc._schemas.levels`).
    """

    name: str
    kind: str
    codec: str
    source_bytes: int | None
    payload_bytes: int
    stored_bytes: int
    alone_bytes: int
    missing: int
    follows: str = ""
    needed_by: tuple[str, ...] = ()
    level_bytes: tuple[int, ...] = ()

    @property
    def ratio(self) -> float | None:
        """Source bytes by stored bytes; None without a source."""
        return _ratio(self.source_bytes, self.stored_bytes)


@dataclass(frozen=True)
class Summary:
    """The whole archive.

    Attributes
    ----------
    rows
        Tasks in order, then the streams that are no single task's own.
    source_bytes, payload_bytes, stored_bytes
        Sums over the rows.
    codec_bytes
        Of the weights files.
    other_bytes
        Of keys, shard records, manifest and README.
    """

    samples: int
    n_failed: int
    rows: tuple[SummaryRow, ...]
    source_bytes: int
    payload_bytes: int
    stored_bytes: int
    codec_bytes: int
    other_bytes: int

    @property
    def ratio(self) -> float | None:
        """Source bytes by stored bytes of all streams."""
        return _ratio(self.source_bytes, self.stored_bytes)

    @property
    def whole_ratio(self) -> float | None:
        """Source bytes by those of all streams and of the codec files."""
        return _ratio(self.source_bytes, self.stored_bytes + self.codec_bytes)

    @property
    def has_heavy_files(self) -> bool:
        """Whether the codec files are more than a tenth of the streams."""
        return self.stored_bytes > 0 and LITTLE * self.codec_bytes > self.stored_bytes

    @property
    def fewest_samples(self) -> int:
        """From how many samples like these on the codec files are at most a tenth."""
        if not self.stored_bytes:
            return 0
        return ceil(LITTLE * self.codec_bytes * self.samples / self.stored_bytes)

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON, ratios included."""
        plain = asdict(self)
        plain["ratio"] = self.ratio
        plain["rows"] = [asdict(row) | {"ratio": row.ratio} for row in self.rows]
        return plain


def summarise(archive: Archive) -> Summary:
    """Sum up an archive from its manifest and shard records; nothing else is read."""
    manifest = archive.manifest
    rows = (*_task_rows(archive), *_stream_rows(archive))
    codec_bytes = sum(file.bytes for file in manifest.files if file.path.startswith("codecs/"))
    files_bytes = sum(file.bytes for file in manifest.files) + len(manifest.to_file_bytes())
    return Summary(
        samples=len(archive),
        n_failed=manifest.n_failed,
        rows=rows,
        source_bytes=sum(row.source_bytes or 0 for row in rows),
        payload_bytes=sum(row.payload_bytes for row in rows),
        stored_bytes=sum(row.stored_bytes for row in rows),
        codec_bytes=codec_bytes,
        other_bytes=files_bytes - codec_bytes + sum(shard.keys.bytes for shard in archive.shards),
    )


def _task_rows(archive: Archive) -> list[SummaryRow]:
    manifest = archive.manifest
    rows = []
    for task in manifest.tasks:
        own = [stream.name for stream in manifest.streams if stream.carries == (task.name,)]
        carriers = carrying_streams(manifest.streams, task.name)
        needed = required_streams(manifest.streams, [task.name])
        rows.append(
            SummaryRow(
                name=task.name,
                kind=task.kind.value,
                codec=_codecs(archive, carriers) + _rate(archive, task.name),
                source_bytes=manifest.source_bytes.get(task.name, 0),
                payload_bytes=sum(manifest.totals[name].payload_bytes for name in own),
                stored_bytes=sum(manifest.totals[name].stored_bytes for name in own),
                alone_bytes=sum(manifest.totals[name].stored_bytes for name in needed),
                missing=archive.lacking(task.name),
                follows=_follows(archive, carriers),
                level_bytes=_level_bytes(archive, task.name),
            )
        )
    return rows


def _level_bytes(archive: Archive, task: str) -> tuple[int, ...]:
    manifest = archive.manifest
    count = len(levels_of(manifest.streams, manifest.codecs, task))
    read = [streams_of_levels(manifest.streams, task, n) for n in range(1, count + 1)]
    found = tuple(sum(manifest.totals[name].stored_bytes for name in names) for names in read)
    return found if count > 1 else ()


def _stream_rows(archive: Archive) -> list[SummaryRow]:
    return [_stream_row(archive, s) for s in archive.manifest.streams if len(s.carries) != 1]


def _stream_row(archive: Archive, stream: Stream) -> SummaryRow:
    manifest = archive.manifest
    totals = manifest.totals[stream.name]
    needed_by = [
        task.name
        for task in manifest.tasks
        if stream.name in required_streams(manifest.streams, [task.name])
    ]
    return SummaryRow(
        name=stream.name,
        kind="stream",
        codec=_codecs(archive, [stream.name]),
        source_bytes=None,
        payload_bytes=totals.payload_bytes,
        stored_bytes=totals.stored_bytes,
        alone_bytes=totals.stored_bytes,
        missing=totals.n_missing,
        needed_by=tuple(needed_by),
    )


def _codecs(archive: Archive, streams: Sequence[str]) -> str:
    found = [c.label for c in archive.manifest.codecs if set(c.streams) & set(streams)]
    return ", ".join(dict.fromkeys(found))


def _follows(archive: Archive, streams: Sequence[str]) -> str:
    found = [c.follows for c in archive.manifest.codecs if set(c.streams) & set(streams)]
    return ", ".join(filter(None, found))


def _rate(archive: Archive, task: str) -> str:
    """Say which part of the frames is here, of a task of which not all are."""
    here = rate_here(archive.manifest.streams, archive.manifest.codecs, task)
    return f", rate 1/{here}" if here > 1 else ""


def _ratio(source_bytes: int | None, stored_bytes: int) -> float | None:
    return source_bytes / stored_bytes if source_bytes and stored_bytes else None
