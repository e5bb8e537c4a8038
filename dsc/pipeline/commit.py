"""The commit: turns finished shards into an archive, by writing the manifest last.

Before it, there is no archive; after it, the archive is whole, and holds no file that it does not
name. The same plan gives the same bytes: nothing is written that depends on when, where or by how
many workers the shards were made.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

from dsc.errors import IncompleteError
from dsc.pipeline.codec_set import CodecSet
from dsc.pipeline.plan import Plan
from dsc.pipeline.shard_job import WORK, JobRecord, check_record
from dsc.schemas import FileRecord, Manifest, ShardRecord, StreamTotals, Task, required_streams
from dsc.schemas.reached import merge_reached
from dsc.storage.commit import (
    MANIFEST,
    SHARDS,
    write_codec,
    write_file,
    write_manifest,
    write_shards,
)
from dsc.storage.fs import Root

README = "README.md"
_PART = re.compile(r".*\.[0-9a-f]{32}\.part")
_OWN = re.compile(
    r"([a-z0-9][a-z0-9_.]*)/[a-z0-9_]+-\1-\d{6,}\.tar(\.idx)?"
    r"|keys/[a-z0-9_]+-keys-\d{6,}\.jsonl"
    r"|codecs/[0-9a-f]{64}\.safetensors"
    rf"|{re.escape(WORK)}/.*|{re.escape(MANIFEST)}|{re.escape(SHARDS)}|{re.escape(README)}"
)


def commit(plan: Plan, root: Root, records: Sequence[JobRecord], codec_set: CodecSet) -> Manifest:
    """Write the small files of an archive, then ``dsc.json``, then clear the work files away.

    Parameters
    ----------
    records
        What `encode_shard` gave, in any order.

    Raises
    ------
    IncompleteError
        When a shard has no record, or its files are not there as recorded.
    """
    by_number = {record.shard.n: record for record in records}
    missing = [
        n
        for n in range(plan.shards)
        if n not in by_number or check_record(plan, root, n, hashes=False) != by_number[n]
    ]
    if missing:
        raise IncompleteError(
            f"{root.url}: {len(missing)} of {plan.shards} shards are not there "
            f"({plan.split} {', '.join(map(str, missing[:8]))}); run the same command again"
        )
    ordered = [by_number[n] for n in range(plan.shards)]
    shards = [record.shard for record in ordered]
    files = [write_codec(root, weights) for weights in codec_set.weight_files()]
    files.append(write_file(root, README, readme(plan, shards).encode()))
    files.append(write_shards(root, shards))
    sweep(root, keep={WORK, *_named(files, shards)})
    manifest = _manifest(plan, ordered, files).sealed()
    write_manifest(root, manifest)
    clear_work(root)
    return manifest


def _named(files: Iterable[FileRecord], shards: Iterable[ShardRecord]) -> set[str]:
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
        if path in kept or (path.partition("/")[0] in kept and not _PART.fullmatch(path)):
            continue
        if _PART.fullmatch(path) or (not only_parts and _OWN.fullmatch(path)):
            root.remove(path)


def strangers(root: Root) -> list[str]:
    """List the files in an output that dsc did not write; hidden files do not count."""
    return [
        path
        for path in root.list()
        if not (_OWN.fullmatch(path) or _PART.fullmatch(path) or path.startswith("."))
    ]


def clear_work(root: Root) -> None:
    """Remove the plan and the job records: a finished archive does not need them."""
    for path in root.list(WORK):
        root.remove(path)
    if root.local is not None:
        for folder in (root.local / WORK / "records", root.local / WORK):
            with suppress(OSError):  # an empty directory, or one that is in use, does no harm
                folder.rmdir()


def _manifest(plan: Plan, records: Sequence[JobRecord], files: Iterable[FileRecord]) -> Manifest:
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
        splits={plan.split: plan.samples},
        totals=stream_totals(plan, shards),
        source_bytes=_source_bytes(plan.tasks, shards),
        n_failed=sum(len(shard.failed) for shard in shards),
        files=tuple(sorted(files, key=lambda file: file.path)),
        choice=plan.choice,
        reached=merge_reached(record.reached for record in records),
    )


def stream_totals(plan: Plan, shards: Sequence[ShardRecord]) -> dict[str, StreamTotals]:
    """Sum up each stream: payloads, and what is stored for them (tars and their indexes)."""
    idx_bytes = sum(8 * (-(-shard.samples // plan.pack_size) + 1) for shard in shards)
    return {
        stream.name: StreamTotals(
            payload_bytes=sum(shard.streams[stream.name].payload_bytes for shard in shards),
            stored_bytes=idx_bytes + sum(shard.streams[stream.name].bytes for shard in shards),
            n_missing=sum(shard.streams[stream.name].n_missing for shard in shards),
        )
        for stream in plan.streams
    }


def _source_bytes(tasks: Iterable[Task], shards: Sequence[ShardRecord]) -> dict[str, int]:
    return {
        task.name: sum(shard.source_bytes.get(task.name, 0) for shard in shards) for task in tasks
    }


def readme(plan: Plan, shards: Sequence[ShardRecord]) -> str:
    """Give the text of the archive's ``README.md``: what is in it and how to read it."""
    totals, source_bytes = stream_totals(plan, shards), _source_bytes(plan.tasks, shards)
    rows = [
        f"| {task.name} | {task.kind.value} | {_unit(task)} | "
        f"{', '.join(required_streams(plan.streams, [task.name]))} | "
        f"{source_bytes[task.name]} | "
        f"{sum(totals[s.name].payload_bytes for s in plan.streams if task.name in s.carries)} |"
        for task in plan.tasks
    ]
    name, failed = plan.tasks[0].name, sum(len(shard.failed) for shard in shards)
    return "\n".join(
        [
            f"# {plan.source.get('name')}, compressed",
            "",
            f"{plan.samples} samples ({plan.split}) in {plan.shards} shards, written by "
            f"{plan.created_by}. Samples that could not be read: {failed}.",
            "",
            "| task | kind | unit | streams to read | source bytes | bytes of its own stream |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "Read it, one task or several:",
            "",
            "```python",
            "import dsc",
            "",
            f'views = dsc.open("URL_OR_DIRECTORY", tasks=["{name}"])',
            f'array = views[0]["{name}"]',
            "```",
            "",
            "```",
            "dsc info URL_OR_DIRECTORY",
            f"dsc fetch URL_OR_DIRECTORY --tasks {name} --out DIRECTORY",
            "dsc verify DIRECTORY --deep",
            "```",
            "",
            "The tars open in stock webdataset, without decoding: "
            "`WebDataset(urls).compose(dsc.unpack)`.",
            "",
        ]
    )


def _unit(task: Task) -> str:
    if task.unit_m is not None:
        return f"{task.unit_m:.9g} m a count"
    return f"{task.dtype}" + (f", {len(task.classes)} classes" if task.classes else "")
