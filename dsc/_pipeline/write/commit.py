"""The commit: turns finished shards into an archive, by writing the manifest last.

Before it, there is no archive; after it, the archive is whole, and holds no file that it does not
name. The same plan gives the same bytes: nothing is written that depends on when, where or by how
many workers the shards were made.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.write.card import card
from dsc._pipeline.write.croissant import croissant
from dsc._pipeline.write.plan import Plan
from dsc._pipeline.write.shard_job import JobRecord, check_record
from dsc._schemas import (
    FileRecord,
    Manifest,
    ShardRecord,
    SourceReport,
    Stream,
    StreamTotals,
    Task,
)
from dsc._schemas.reached import merge_reached
from dsc._storage.files.root import Root
from dsc._storage.format.commit import write_codec, write_file, write_manifest, write_shards
from dsc._storage.format.names import CROISSANT, LOCK, OLD, OWN, PART, PLAN, README, WORK
from dsc.errors import IncompleteError


def commit(
    plan: Plan,
    root: Root,
    records: Sequence[JobRecord],
    codec_set: CodecSet,
    report: SourceReport | None = None,
) -> Manifest:
    """Write the small files of an archive, then ``dsc.json``, then clear the work files away.

    Parameters
    ----------
    records
        What `encode_shard` gave, in any order.
    report
        What the source found and left out.

    Raises
    ------
    IncompleteError
        When a shard has no record, or its files are not there as recorded.
    """
    ordered = in_order(plan, root, records)
    shards = [record.shard for record in ordered]
    manifest = _manifest(plan, ordered, report)
    files = [write_codec(root, weights) for weights in codec_set.weight_files()]
    files.append(write_shards(root, shards))
    files += [write_file(root, *text) for text in cards(manifest, shards, files)]
    sweep(root, keep={WORK, *named_files(files, shards)})
    manifest = with_files(manifest, files)
    write_manifest(root, manifest)
    clear_work(root)
    return manifest


def in_order(plan: Plan, root: Root, records: Iterable[JobRecord]) -> list[JobRecord]:
    """Return the records in the order of the jobs.

    Raises
    ------
    IncompleteError
        When a shard has no record, or its files are not there as recorded.
    """
    by_number = {record.n: record for record in records}
    missing = [
        plan.place(n)
        for n in range(plan.shards)
        if n not in by_number or check_record(plan, root, n, hashes=False) != by_number[n]
    ]
    if missing:
        listed = ", ".join(f"{place.split} {place.n}" for place in missing[:8])
        raise IncompleteError(
            f"{root.url}: {len(missing)} of {plan.shards} shards are not there "
            f"({listed}); run the same command again"
        )
    return [by_number[n] for n in range(plan.shards)]


def cards(
    manifest: Manifest, shards: Sequence[ShardRecord], files: Sequence[FileRecord]
) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of the files that are for people and catalogues; dsc reads neither.

    Parameters
    ----------
    files
        The files of the archive beside them, as far as a catalogue should know them.
    """
    yield README, card(manifest, shards).encode()
    yield CROISSANT, croissant(manifest, shards, files).encode()


def with_files(manifest: Manifest, files: Iterable[FileRecord]) -> Manifest:
    """Return the manifest that names these files, sealed."""
    ordered = tuple(sorted(files, key=lambda file: file.path))
    return manifest.model_copy(update={"files": ordered}).sealed()


def named_files(files: Iterable[FileRecord], shards: Iterable[ShardRecord]) -> set[str]:
    """List the paths of these files and of everything that the shards have."""
    named = {file.path for file in files}
    for shard in shards:
        named.add(shard.keys.path)
        for stream in shard.streams.values():
            named |= {stream.path, f"{stream.path}.idx"}
    return named


def sweep(root: Root, keep: Iterable[str] = (), only_parts: bool = False) -> None:
    """Remove files that dsc wrote and nothing needs: by its own names, never a user's file.

    Parameters
    ----------
    keep
        Files, and directories, that stay.
    only_parts
        Remove nothing but what a killed writer left unfinished.
    """
    if only_parts and root.local is None:
        return  # a remote file appears whole or not at all, so there are none
    kept = set(keep)
    for path in root.list():
        if path in kept or (path.partition("/")[0] in kept and not PART.fullmatch(path)):
            continue
        if PART.fullmatch(path) or (not only_parts and OWN.fullmatch(path)):
            root.remove(path)


def strangers(root: Root) -> list[str]:
    """List the files in an output that dsc did not write; hidden files do not count."""
    return [
        path
        for path in root.list()
        if not (OWN.fullmatch(path) or PART.fullmatch(path) or path.startswith("."))
    ]


def clear_work(root: Root) -> None:
    """Remove the plan and the job records: a finished archive does not need them."""
    for path in root.list(WORK):
        if path not in (LOCK, PLAN):  # the lock is its holder's
            root.remove(path)
    root.remove(PLAN)  # last: while it is there, a later run knows that there may be more
    if root.local is not None:
        work = root.local / WORK
        for folder in (work / "records", root.local / OLD, work):
            with suppress(OSError):  # an empty directory, or one that is in use, does no harm
                folder.rmdir()


def _manifest(plan: Plan, records: Sequence[JobRecord], report: SourceReport | None) -> Manifest:
    shards = [record.shard for record in records]
    return Manifest(
        created_by=plan.created_by,
        plan_sha256=plan.sha256,
        source=str(plan.source.get("name")),
        tasks=plan.tasks,
        streams=plan.streams,
        codecs=plan.codecs,
        quality=plan.quality,
        pack_size=plan.pack_size,
        shard_size=plan.shard_size,
        max_pixels=max(record.max_pixels for record in records),
        splits=plan.sizes,
        totals=stream_totals(plan.streams, plan.pack_size, shards),
        source_bytes=source_bytes(plan.tasks, shards),
        n_failed=sum(len(shard.failed) for shard in shards),
        files=(),
        choice=plan.choice,
        encoder=plan.encoder,
        reached=merge_reached(record.reached for record in records),
        source_report=report,
    )


def stream_totals(
    streams: Iterable[Stream], pack_size: int, shards: Sequence[ShardRecord]
) -> dict[str, StreamTotals]:
    """Sum up each stream: payloads, and what is stored for them (tars and their indexes)."""
    idx_bytes = sum(8 * (-(-shard.samples // pack_size) + 1) for shard in shards)
    return {
        stream.name: StreamTotals(
            payload_bytes=sum(shard.streams[stream.name].payload_bytes for shard in shards),
            stored_bytes=idx_bytes + sum(shard.streams[stream.name].bytes for shard in shards),
            n_missing=sum(shard.streams[stream.name].n_missing for shard in shards),
        )
        for stream in streams
    }


def source_bytes(tasks: Iterable[Task], shards: Sequence[ShardRecord]) -> dict[str, int]:
    """Sum up the bytes of the source's files by task."""
    return {
        task.name: sum(shard.source_bytes.get(task.name, 0) for shard in shards) for task in tasks
    }
