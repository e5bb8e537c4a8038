"""Levels: how much of a task is wanted, by the first of the streams that carry it.

A codec whose prefixes are decodable writes a task coarse first: of the streams that carry it, in
the order of the graph, the first gives a coarse version, and each one more a finer. Such a codec
says so in its configuration (``prefixes``). A bounded error is a level as well, above what it
corrects; and so are the layers of recordings, of which each has more frames than those before.
A codec of recordings whose configuration has ``prefixes`` has no layers: each of its lanes is one
scale of every frame.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from dsc._schemas.group import BESIDE, GROUPED, Lane
from dsc._schemas.manifest import Manifest
from dsc._schemas.stream import CodecRecord, Stream, carrying_streams, required_streams
from dsc._schemas.task import resolve_task
from dsc.errors import UnknownTaskError, UsageError

PREFIXES = "prefixes"  # the entry of a codec's configuration
ALWAYS = ("residual",)  # codecs that have levels, and said nothing of it from the beginning
EVERY = ""  # stands for all tasks

Levels = Mapping[str, int] | int | str


def parse_levels(levels: Levels, option: str) -> dict[str, int]:
    """Read ``rgb=1,depth=2``, ``1`` or a mapping as how many levels of which task are wanted.

    Returns
    -------
    dict
        By the task's name as it was given; of all tasks under ``""``.

    Raises
    ------
    UsageError
        When it is none of these, less than 1, or names a task twice.
    """
    if isinstance(levels, Mapping):
        given = [(name, str(count)) for name, count in levels.items()]
    else:
        parts = [part.strip() for part in str(levels).split(",") if part.strip()]
        given = [(name, count) for name, _, count in (part.rpartition("=") for part in parts)]
    found = {}
    for name, count in given:
        if not count.strip().isdecimal() or int(count) < 1:
            raise UsageError(
                f"{option} {levels}: {count!r} is no number of levels; write rgb=1 for the "
                "coarsest of rgb alone, or 1 for that of every task that has levels"
            )
        if name.strip() in found:
            of = name.strip() or "every task"
            raise UsageError(f"{option} {levels}: levels of {of} are named twice; say them once")
        found[name.strip()] = int(count)
    if not found:
        raise UsageError(f"{option} {levels!r}: name tasks and how many levels, as rgb=1")
    return found


def levels_of(
    streams: Iterable[Stream], records: Iterable[CodecRecord], task: str
) -> tuple[str, ...]:
    """List the streams that carry a task, coarse first; empty where it is read whole or not."""
    carrying = carrying_streams(streams, task)
    owners = [record for record in records if set(record.streams) & set(carrying)]
    return carrying if owners and all(map(has_levels, owners)) else ()


def has_levels(record: CodecRecord) -> bool:
    """Tell whether a codec decodes tasks from the first of their streams."""
    config = record.config
    return record.id in ALWAYS or bool(config.get(PREFIXES)) or GROUPED in config


def has_scales(record: CodecRecord) -> bool:
    """Tell whether a codec writes frames of recordings coarse first: all frames at any level."""
    return GROUPED in record.config and bool(record.config.get(PREFIXES))


def frame_layers(record: CodecRecord, entry: str = GROUPED) -> tuple[Lane, ...]:
    """List the lanes whose streams are layers of frames; none of a codec that writes scales.

    With the entry `BESIDE`, the lanes that go with them.
    """
    if has_scales(record):
        return ()
    return tuple(tuple(str(name) for name in lane) for lane in record.config.get(entry, ()))


def left_out(
    manifest: Manifest, tasks: Sequence[str], levels: Mapping[str, int], option: str
) -> frozenset[str]:
    """Return the streams that are not read for tasks of which only some levels are.

    A stream that another of the tasks requires is read, and then serves both.

    Parameters
    ----------
    tasks
        All that are read, by their full names.
    levels
        As `parse_levels` gives them.

    Raises
    ------
    UnknownTaskError
        When levels are asked of a task that is not read.
    UsageError
        When a task has no levels, or not so many.
    """
    streams = manifest.streams
    found = {task: levels_of(streams, manifest.codecs, task) for task in tasks}
    wanted = {_named(name, tasks, option): n for name, n in levels.items() if name != EVERY}
    for task, count in wanted.items():
        if not found[task]:
            raise _without_levels(manifest, [task], f"{option} {task}={count}")
        if count > len(found[task]):
            raise UsageError(
                f"{option} {task}={count}: of {task} there are {len(found[task])} levels here "
                f"({', '.join(found[task])})"
            )
    if EVERY in levels:
        if not any(found.values()):
            raise _without_levels(manifest, tasks, f"{option} {levels[EVERY]}")
        wanted = {task: levels[EVERY] for task in tasks if found[task]} | wanted
    needed: set[str] = set()
    for task in tasks:
        needed |= streams_of_levels(streams, task, wanted.get(task))
    return frozenset(required_streams(streams, tasks)) - needed


def _named(name: str, tasks: Sequence[str], option: str) -> str:
    try:
        return resolve_task(name, tasks)
    except UnknownTaskError as error:
        raise UnknownTaskError(f"{option}: of the tasks that are read, {error}") from None


def streams_of_levels(streams: Sequence[Stream], task: str, count: int | None) -> frozenset[str]:
    """Return the streams of the first levels of a task, and what they require; None for all."""
    first = carrying_streams(streams, task)[:count]
    known = [one if one.name in first else _carrying_nothing(one) for one in streams]
    return frozenset(required_streams(known, [task]))


def finer_levels(manifest: Manifest, tasks: Sequence[str]) -> frozenset[str]:
    """Return the streams of some tasks without which each of them can be decoded, coarser.

    Layers of recordings are none of them: without one there are fewer frames.
    """
    frames = {name for one in manifest.codecs for lane in frame_layers(one) for name in lane}
    needed: set[str] = set()
    for task in tasks:
        own = levels_of(manifest.streams, manifest.codecs, task)
        first = max(1, sum(name in frames for name in own)) if own else None
        needed |= streams_of_levels(manifest.streams, task, first)
    return frozenset(required_streams(manifest.streams, tasks)) - needed


def _carrying_nothing(stream: Stream) -> Stream:
    return stream.model_copy(update={"carries": ()})


def without(manifest: Manifest, streams: Collection[str]) -> Manifest:
    """Return a manifest without some streams and what requires them, for reading.

    What was promised of tasks that are coarser now is not promised any more.
    """
    gone = set(streams)
    for stream in manifest.streams:  # each comes after those that it requires
        if gone & set(stream.requires):
            gone.add(stream.name)
    kept = [stream.name for stream in manifest.streams if stream.name not in gone]
    left = {task for stream in manifest.streams if stream.name in kept for task in stream.carries}
    return manifest.model_copy(
        update={
            "tasks": tuple(task for task in manifest.tasks if task.name in left),
            "streams": tuple(stream for stream in manifest.streams if stream.name in kept),
            "codecs": tuple(
                record.model_copy(
                    update={"streams": tuple(name for name in record.streams if name in kept)}
                )
                for record in manifest.codecs
            ),
            **promises(manifest, kept),
        }
    )


def promises(manifest: Manifest, kept: Collection[str]) -> dict[str, Any]:
    """Return what a manifest says of its tasks' quality, without that of tasks made coarser.

    Parameters
    ----------
    kept
        Names of the streams that are left.

    Returns
    -------
    dict
        Of the fields ``quality`` and ``reached``; empty where no task is coarser.
    """
    coarser = {task.name for task in manifest.tasks if _is_coarser(manifest, task.name, kept)}
    if not coarser:
        return {}
    quality, reached = manifest.quality, manifest.reached
    asked = {
        "targets": {name: one for name, one in quality.targets.items() if name not in coarser},
        "max_error": {name: one for name, one in quality.max_error.items() if name not in coarser},
    }
    return {
        "quality": quality.model_copy(update=asked),
        "reached": tuple(one for one in reached if one.task not in coarser),
    }


def _is_coarser(manifest: Manifest, task: str, kept: Collection[str]) -> bool:
    """Tell whether samples of a task lack what makes them finer; frames may be fewer."""
    frames: dict[str, str] = {}  # by stream that goes with a layer, the layer
    for record in manifest.codecs:
        lanes = frame_layers(record)
        frames |= {name: name for lane in lanes for name in lane}
        for lane in frame_layers(record, BESIDE):
            own = next((own for own in lanes if own[0] in _bases(manifest, lane)), ())
            frames |= dict(zip(lane, own, strict=False))
    here = [name for name in carrying_streams(manifest.streams, task) if name in kept]
    lacking = set(carrying_streams(manifest.streams, task)) - set(kept)
    return bool(here) and any(frames.get(name, here[0]) in kept for name in lacking)


def _bases(manifest: Manifest, lane: Sequence[str]) -> set[str]:
    return {name for one in manifest.streams if one.name in lane for name in one.requires}


def _without_levels(manifest: Manifest, tasks: Sequence[str], option: str) -> UsageError:
    carrying = {name for task in tasks for name in carrying_streams(manifest.streams, task)}
    codecs = dict.fromkeys(one.label for one in manifest.codecs if carrying & set(one.streams))
    has = "has" if len(tasks) == 1 else "have"
    return UsageError(
        f"{option}: {', '.join(tasks)}, coded by {', '.join(codecs)}, {has} no levels and "
        f"{'is' if len(tasks) == 1 else 'are'} read whole; what is coded by av1-layered, or with "
        "--max-error, has"
    )
