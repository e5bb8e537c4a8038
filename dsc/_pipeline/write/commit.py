"""The commit: turns finished shards into an archive, or into its next generation.

The manifest is written last. Before it, there is no archive (or generation); after it, it is whole,
and holds no file that it does not name. The same plan gives the same bytes: nothing is written that
depends on when, where or by how many workers the shards were made.

An append writes nothing again that is there, but for ``README.md`` and ``croissant.json``, which
have one name in all generations: they are replaced just before the manifest, when the manifest that
names the new ones lies in ``.dsc/next.json`` and copies of the old ones in ``.dsc/old``. So at
every moment each file is what the manifest says, or what the next one does.
"""

from collections.abc import Iterable, Iterator, Sequence

from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.write.card import card
from dsc._pipeline.write.croissant import croissant
from dsc._pipeline.write.leftovers import clear_work, remove_leftovers
from dsc._pipeline.write.plan import Adds, Growth, Plan
from dsc._pipeline.write.shard_job import JobRecord, check_owner, check_record
from dsc._schemas import (
    FailedSample,
    FileRecord,
    Manifest,
    Quality,
    ShardRecord,
    SourceReport,
    Stream,
    StreamTotals,
    Task,
    carrying_streams,
)
from dsc._schemas.manifest import Appended, format_version_of
from dsc._schemas.reached import merge_reached
from dsc._storage.files.root import Root
from dsc._storage.format.commit import (
    record_of,
    write_codec,
    write_file,
    write_manifest,
    write_shards,
)
from dsc._storage.format.names import (
    CARDS,
    CROISSANT,
    MANIFEST,
    NEXT,
    OLD,
    README,
    WORK,
    codec_path,
)
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import coming_files
from dsc.errors import IncompleteError, PlanMismatchError, UsageError


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
    remove_leftovers(root, keep={WORK, *named_files(files, shards)})
    manifest = with_files(manifest, files)
    write_manifest(root, manifest)
    clear_work(root)
    return manifest


def commit_append(
    plan: Plan,
    archive: Archive,
    records: Sequence[JobRecord],
    codec_set: CodecSet,
    report: SourceReport | None = None,
) -> Manifest:
    """Make finished shards the next generation of an archive, then clear the work files away.

    Parameters
    ----------
    archive
        The generation that the plan was made for.
    records
        What `encode_shard` gave, in any order.
    report
        What the source found and left out.

    Raises
    ------
    IncompleteError
        When a shard has no record, or its files are not there as recorded.
    PlanMismatchError
        When the archive is not what it was when the plan was made; it is left as it is.
    """
    root, growth = archive.root, growth_of(plan)
    ordered = in_order(plan, root, records)
    shards = _joined(growth, archive.shards, [record.shard for record in ordered])
    manifest = _grown(plan, archive.manifest, ordered, shards, report)
    check_base(plan, root)
    kept = [file for file in archive.manifest.files if file.path not in CARDS]
    codecs = _write_codecs(root, codec_set, kept)
    listed = write_shards(root, shards, growth.generation)
    described = [*(file for file in kept if file.path.startswith("codecs/")), *codecs, listed]
    texts = dict(cards(manifest, shards, described))
    files = [*kept, *codecs, listed, *(record_of(path, data) for path, data in texts.items())]
    manifest = with_files(manifest, files)
    _write_cards(archive, manifest, texts)
    check_base(plan, root)
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


def _manifest(plan: Plan, records: Sequence[JobRecord], report: SourceReport | None) -> Manifest:
    shards = [record.shard for record in records]
    return Manifest(
        format_version=plan.format_version,
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

    def idx_bytes(stream: Stream) -> int:
        size = stream.pack_size or pack_size
        return sum(8 * (-(-shard.samples // size) + 1) for shard in shards)

    return {
        stream.name: StreamTotals(
            payload_bytes=sum(shard.streams[stream.name].payload_bytes for shard in shards),
            stored_bytes=idx_bytes(stream)
            + sum(shard.streams[stream.name].bytes for shard in shards),
            n_missing=sum(shard.streams[stream.name].n_missing for shard in shards),
        )
        for stream in streams
    }


def source_bytes(tasks: Iterable[Task], shards: Sequence[ShardRecord]) -> dict[str, int]:
    """Sum up the bytes of the source's files by task."""
    return {
        task.name: sum(shard.source_bytes.get(task.name, 0) for shard in shards) for task in tasks
    }


def growth_of(plan: Plan) -> Growth:
    """Return what a plan adds; a plan that makes a new archive adds nothing."""
    if plan.growth is None:
        raise ValueError("this plan makes a new archive")
    return plan.growth


def check_base(plan: Plan, root: Root) -> None:
    """Check that an archive is the one that the plan adds to, and that it is this plan's turn.

    Raises
    ------
    PlanMismatchError
        When somebody else has changed it, or is about to.
    """
    found = Manifest.from_file_bytes(root.read(MANIFEST), root.where(MANIFEST))
    if found.sha256 != growth_of(plan).base_sha256:
        raise PlanMismatchError(
            f"{root.url} has changed while this append ran: it is generation {found.generation} "
            "now; nothing was overwritten. Run the same command again to add what is still missing"
        )
    check_owner(plan, root)


def check_cards(archive: Archive) -> None:
    """Check that the card and the description may be replaced: that dsc wrote what is there.

    Raises
    ------
    UsageError
        When one was edited.
    """
    named = _by_path(archive.manifest.files)
    coming = coming_files(archive)
    for path in CARDS:
        found = _present(archive.root, path)
        if found is not None and found not in (named.get(path), coming.get(path)):
            raise UsageError(
                f"{archive.root.where(path)} is not the file that dsc wrote (edited, or damaged), "
                "and an append writes a new one: move yours out of the archive, and put it back "
                "afterwards"
            )


def discard(archive: Archive) -> None:
    """Remove everything of an append that was not committed; the archive itself is untouched."""
    root, named = archive.root, _by_path(archive.manifest.files)
    coming = coming_files(archive)
    for path in CARDS:
        found = _present(root, path)
        if found is None or found == named.get(path) or found != coming.get(path):
            continue
        if path in named:
            root.write(path, root.read(f"{OLD}/{path}"))
        else:
            root.remove(path)
    kept = {WORK, MANIFEST, *CARDS, *named_files(named.values(), archive.shards)}
    remove_leftovers(root, kept)
    clear_work(root)


def tasks_without_data(plan: Plan, records: Sequence[JobRecord]) -> list[str]:
    """List the tasks that no sample got a bitstream of."""
    empty = {
        stream.name
        for stream in plan.streams
        if all(r.shard.streams[stream.name].n_missing == r.shard.samples for r in records)
    }
    return [
        task.name
        for task in plan.tasks
        if empty.issuperset(carrying_streams(plan.streams, task.name))
    ]


def _joined(
    growth: Growth, old: Sequence[ShardRecord], new: Sequence[ShardRecord]
) -> list[ShardRecord]:
    if growth.adds is Adds.SAMPLES:
        return [*old, *new]
    return [_with_streams(*pair) for pair in zip(old, new, strict=True)]


def _with_streams(old: ShardRecord, new: ShardRecord) -> ShardRecord:
    return old.model_copy(
        update={
            "streams": {**old.streams, **new.streams},
            "source_bytes": {**old.source_bytes, **new.source_bytes},
            "failed": _merge_failed(old.failed, new.failed),
        }
    )


def _merge_failed(
    old: Sequence[FailedSample], new: Sequence[FailedSample]
) -> tuple[FailedSample, ...]:
    """Keep one entry a sample, so that they can be counted."""
    errors: dict[str, list[str]] = {}
    for one in (*old, *new):
        errors.setdefault(one.key, []).append(one.error)
    return tuple(FailedSample(key=key, error="; ".join(texts)) for key, texts in errors.items())


def _grown(
    plan: Plan,
    old: Manifest,
    records: Sequence[JobRecord],
    shards: Sequence[ShardRecord],
    report: SourceReport | None,
) -> Manifest:
    """Return the next generation's manifest, its files left open."""
    growth = growth_of(plan)
    splits = dict.fromkeys(sorted({shard.split for shard in shards}), 0)
    for shard in shards:
        splits[shard.split] += shard.samples
    more = growth.adds is Adds.TASKS
    tasks = (*old.tasks, *plan.tasks) if more else old.tasks
    streams = (*old.streams, *plan.streams) if more else old.streams
    return old.model_copy(
        update={
            "format_version": format_version_of(tasks, streams),
            "generation": growth.generation,
            "plan_sha256": plan.sha256 if _is_copy(old) else old.plan_sha256,
            "tasks": tasks,
            "streams": streams,
            "codecs": (*old.codecs, *plan.codecs) if more else old.codecs,
            "quality": _merge_quality(old.quality, plan.quality),
            "max_pixels": max(old.max_pixels, *(record.max_pixels for record in records)),
            "splits": splits,
            "totals": stream_totals(streams, old.pack_size, shards),
            "source_bytes": source_bytes(tasks, shards),
            "n_failed": sum(len(shard.failed) for shard in shards),
            "reached": merge_reached([old.reached, *(record.reached for record in records)]),
            "appended": (*old.appended, _entry(plan, report)),
        }
    )


def _is_copy(manifest: Manifest) -> bool:
    """Tell whether an archive was fetched from another: a copy has no card.

    Once it has grown it is an archive of its own, and must not pass for the other one's copy.
    """
    return all(file.path != README for file in manifest.files)


def _entry(plan: Plan, report: SourceReport | None) -> Appended:
    growth = growth_of(plan)
    return Appended(
        generation=growth.generation,
        created_by=plan.created_by,
        plan_sha256=plan.sha256,
        source=str(plan.source.get("name")),
        samples=plan.samples if growth.adds is Adds.SAMPLES else 0,
        tasks=tuple(t.name for t in plan.tasks) if growth.adds is Adds.TASKS else (),
        choice=plan.choice,
        source_report=report,
        encoder=plan.encoder,
    )


def _merge_quality(old: Quality, new: Quality) -> Quality:
    return old.model_copy(
        update={
            "tasks": {**old.tasks, **new.tasks},
            "targets": {**old.targets, **new.targets},
            "max_error": {**old.max_error, **new.max_error},
        }
    )


def _write_codecs(root: Root, codec_set: CodecSet, there: Sequence[FileRecord]) -> list[FileRecord]:
    """Write the codec files that the archive lacks."""
    named = {file.path for file in there}
    wanted = {record.weights_sha256 for record in codec_set.records() if record.weights_sha256}
    if all(codec_path(sha256) in named for sha256 in wanted):
        return []
    files = {record_of("codecs/any", data).sha256: data for data in codec_set.weight_files()}
    lacking = [sha256 for sha256 in files if codec_path(sha256) not in named]
    return [write_codec(root, files[sha256]) for sha256 in lacking]


def _write_cards(archive: Archive, manifest: Manifest, texts: dict[str, bytes]) -> None:
    root, named = archive.root, _by_path(archive.manifest.files)
    check_cards(archive)
    for path in CARDS:
        if path in named and _present(root, path) == named[path]:
            root.write(f"{OLD}/{path}", root.read(path))
    write_manifest(root, manifest, NEXT)
    for path, data in texts.items():
        root.write(path, data)


def _present(root: Root, path: str) -> FileRecord | None:
    try:
        return record_of(path, root.read(path))
    except FileNotFoundError:
        return None


def _by_path(files: Sequence[FileRecord]) -> dict[str, FileRecord]:
    return {file.path: file for file in files}
