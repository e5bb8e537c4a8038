"""Plans what an append adds to an archive: new samples, or a new task for those that are there.

New samples take everything from the archive: tasks, codecs, quality, sizes. A new task takes the
archive's samples, shards and packs, and has codecs of its own, in slots behind those of the
archive.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsc._codecs.encoder import encoder_of
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.write.growth import Adds, Growth, next_run, runs_of
from dsc._pipeline.write.plan import Plan, check_split, created_by
from dsc._pipeline.write.selection import ABSENT, Matched, Selected, match, select_new
from dsc._schemas import Manifest, Quality, Stream, Task
from dsc._schemas.choice import Choice
from dsc._sources.base import Source
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError


@dataclass(frozen=True)
class Samples:
    """The samples of a source that an archive lacks; `there` counts the others."""

    source: Selected
    there: int


@dataclass(frozen=True)
class Found:
    """An archive's samples in a source: all in the archive's order, and those that were found.

    Attributes
    ----------
    first
        Place in the archive's order of the first that was found.
    missing
        How many the source lacks.
    """

    source: Matched
    present: Selected
    first: int
    missing: int


def find_new_samples(archive: Archive, source: Source, tasks: Sequence[Task]) -> Samples:
    """Find the samples of a source that the archive lacks."""
    indices = select_new(archive, source)
    selected = Selected(source, indices, [task.name for task in tasks])
    return Samples(selected, len(source) - len(indices))


def find_samples(archive: Archive, source: Source) -> Found:
    """Find an archive's samples in a source.

    Raises
    ------
    UsageError
        When the source has none of them.
    """
    indices = match(archive, source)
    there = indices[indices != ABSENT]
    if not len(there):
        ours, theirs = archive.key(0), source.key(0) if len(source) else "none"
        raise UsageError(
            f"no sample of the source is in the archive: keys there are like {ours!r}, keys here "
            f"like {theirs!r}. A new task needs files of the same names as the samples have"
        )
    names = [task.name for task in source.tasks]
    present = Selected(source, there, names)
    first = int(np.argmax(indices != ABSENT))
    return Found(Matched(archive, source, indices), present, first, len(indices) - len(there))


def choose_split(manifest: Manifest, split: str | None) -> str:
    """Choose the split of new samples: the one asked for, else the only one.

    Raises
    ------
    UsageError
        When there are several and none is asked for, or the name is none.
    """
    if split is None and len(manifest.splits) > 1:
        raise UsageError(
            f"the archive has the splits {', '.join(manifest.splits)}; say with --split which one "
            "the new samples are of"
        )
    if split is None:
        return next(iter(manifest.splits))
    check_split(split)
    return split


def plan_samples(archive: Archive, samples: Samples, codec_set: CodecSet, split: str) -> Plan:
    """Plan the shards of new samples, as the archive has them.

    Raises
    ------
    UsageError
        When the archive is a copy that lacks tasks which one of its codecs codes together.
    """
    manifest = archive.manifest
    _check_whole(archive, codec_set)
    size = len(samples.source)
    run = next_run(archive.shards, split, size, manifest.shard_size)
    return Plan(
        created_by=created_by(),
        source=samples.source.describe(),
        split=split,
        samples=size,
        tasks=manifest.tasks,
        streams=manifest.streams,
        codecs=manifest.codecs,
        quality=manifest.quality,
        shard_size=manifest.shard_size,
        pack_size=manifest.pack_size,
        growth=Growth(
            adds=Adds.SAMPLES,
            base_sha256=manifest.sha256,
            generation=manifest.generation + 1,
            runs=(run,),
        ),
        encoder=encoder_of(manifest.codecs),
    )


def plan_tasks(
    archive: Archive,
    found: Found,
    tasks: Sequence[Task],
    codec_set: CodecSet,
    quality: Quality,
    choice: Choice | None,
) -> Plan:
    """Plan new streams for the shards that stand.

    Parameters
    ----------
    quality
        Of the new tasks; each is named in the plan, because the archive has its own default.

    Raises
    ------
    UsageError
        When a codec would write a stream that the archive has.
    """
    manifest = archive.manifest
    twice = {s.name for s in codec_set.streams()} & {s.name for s in manifest.streams}
    if twice:
        raise UsageError(
            f"the archive has a stream {', '.join(sorted(twice))} already, and a codec of the new "
            "tasks writes one of that name; choose another codec with --codec"
        )
    return Plan(
        created_by=created_by(),
        source=found.source.describe(),
        split=archive.shards[0].split,
        samples=len(archive),
        tasks=tuple(tasks),
        streams=codec_set.streams(),
        codecs=codec_set.records(),
        quality=quality.having({task.name: quality.of(task.name) for task in tasks}),
        shard_size=manifest.shard_size,
        pack_size=manifest.pack_size,
        choice=None if choice is None else choice.stored(),
        growth=Growth(
            adds=Adds.TASKS,
            base_sha256=manifest.sha256,
            generation=manifest.generation + 1,
            first_slot=len(manifest.codecs),
            runs=runs_of(archive.shards),
        ),
        encoder=encoder_of(codec_set.records()),
    )


def _check_whole(archive: Archive, codec_set: CodecSet) -> None:
    """Refuse a copy of some of the tasks that a codec codes together: it cannot code the others."""
    kept = {stream.name for stream in archive.manifest.streams}
    for slot, record in enumerate(archive.manifest.codecs):
        if not record.streams:
            continue
        for part in _parts(codec_set.codec(slot).streams()):
            if part & kept and not part <= kept:
                raise UsageError(
                    f"{archive.root.url} is a copy without the streams "
                    f"{', '.join(sorted(part - kept))}, which codec {record.id} codes together "
                    f"with {', '.join(sorted(part & kept))}; append to the archive that it was "
                    "copied from, and fetch again"
                )


def _parts(streams: Sequence[Stream]) -> list[set[str]]:
    """Return the connected parts of a stream graph."""
    parts: list[set[str]] = []
    for stream in streams:
        joined = {stream.name, *stream.requires}
        apart = [part for part in parts if not part & joined]
        parts = [*apart, joined.union(*(part for part in parts if part & joined))]
    return parts
