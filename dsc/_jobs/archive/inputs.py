"""Holds what was asked for against the dataset: opens it, chooses tasks, refuses what is amiss."""

import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from dsc._codecs.base import Array, check_array
from dsc._extras import is_installed
from dsc._jobs.archive.computing import asked_names, computing
from dsc._jobs.archive.options import CompressOptions
from dsc._jobs.workers.ray_session import NEEDS_RAY
from dsc._jobs.workers.verdict import RETRIES, may_pass
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.decide import asks_for_targets, coded_tasks
from dsc._pipeline.choose.derive import ReadFirst
from dsc._pipeline.choose.exactly import no_files_warning
from dsc._pipeline.choose.noise import may_be_noisy, noise_warning
from dsc._pipeline.options import CodingOptions, ShardingOptions, SourceOptions, WorkOptions
from dsc._pipeline.write.plan import check_split, indices_to_probe
from dsc._pipeline.write.samples import BATCH_BYTES, advice
from dsc._schemas import SourceReport, Task, resolve_task, resolve_tasks
from dsc._sources.base import SourceSample, left_out_of, read_sample, splits_of
from dsc._sources.registry import Source, open_source, options_of
from dsc._sources.rendered.further import FURTHER_TASKS
from dsc._sources.sequences.rules import SequenceRule
from dsc._sources.sequences.source import in_sequences
from dsc._sources.splits.rules import SplitRules
from dsc._sources.splits.source import part
from dsc._storage.files.place import absolute
from dsc._storage.files.retry import call_again
from dsc.errors import CodecError, SampleError, UnknownTaskError, UsageError

LISTED = 8
RENDERED = ("taskonomy", "sample", "clevr")


def check_asked(data: SourceOptions, coding: CodingOptions, work: WorkOptions) -> None:
    """Refuse what can be refused before anything is opened.

    Raises
    ------
    UsageError
        When an option is out of range or contradicts another one.
    """
    work.check()
    coding.check()
    asked_names(data.compute)
    if rules_of(data) is None and data.split is not None:
        check_split(data.split)
    if data.sequence_by is not None:
        SequenceRule.parse(data.sequence_by)
    if coding.tried < 1:
        raise UsageError(f"--auto-samples {coding.tried}: at least 1")
    if not coding.minutes >= 0:
        raise UsageError(f"--auto-minutes {coding.minutes}: 0 (no limit) or more")
    if work.address is not None and not is_installed("ray"):
        raise UsageError(NEEDS_RAY.format("--address"))


def rules_of(data: SourceOptions) -> SplitRules | None:
    """Return how samples are parted into splits; None where that is left to the source.

    Raises
    ------
    UsageError
        When it cannot be understood.
    """
    return SplitRules.parse(
        data.split, data.split_file, data.split_by, data.split_rest, data.cut_sequences
    )


def only_split(data: SourceOptions) -> str | None:
    """Return the name of the split that all samples go to; None where they have their own."""
    return data.split if rules_of(data) is None else None


def open_data(data: SourceOptions) -> Source:
    """Open the dataset, its recordings in order, parted into splits and computed of as is stated.

    Raises
    ------
    UsageError
        When the layout is unknown, or an option does not fit it.
    """
    root = None if data.root is None else absolute(os.fspath(data.root))
    rules = rules_of(data)
    source = in_sequences(_open(data, root, rules is None), data.sequence_by)
    if rules is None and data.split and splits_of(source) and not _chooses_split(data):
        rules = SplitRules({}, chosen=(data.split,))
    return computing(part(source, rules, root), data.compute)


def _open(data: SourceOptions, root: str | None, may_choose: bool) -> Source:
    """Open the dataset as its layout has it; it may choose a split, where nothing parts it anew."""
    told = data.layout.told()
    if data.source is None:
        raise UsageError("no source: name a layout, or give an open source")
    if not isinstance(data.source, str):
        given = {"root": root, "sample": data.sample, **told}
        extra = [name for name, value in given.items() if value is not None]
        if extra:
            raise UsageError(f"an open source takes no {', '.join(extra)}")
        return data.source
    if data.sample is None:
        return open_source(data.source, root, **told, **_chosen(data, may_choose))
    if data.source not in RENDERED:
        hint = "; --frames says how many frames a recording has" * (data.source == "rendered")
        raise UsageError(
            f"--views renders Taskonomy's layout; it does not go with {data.source}, of which all "
            f"samples are taken{hint}"
        )
    if root is not None:
        raise UsageError(f"--views {data.sample} renders views, --root {root} reads them")
    name = "clevr" if data.source == "clevr" else "sample"
    return open_source(name, None, **{"n": data.sample, "tasks": _readable(data), **told})


def _chooses_split(data: SourceOptions) -> bool:
    """Tell whether a layout itself takes one of its splits."""
    return isinstance(data.source, str) and "split" in options_of(data.source)


def _chosen(data: SourceOptions, may_choose: bool) -> dict[str, Any]:
    """Return what a layout is asked for, as far as it can choose: tasks, and a split."""
    wanted = {"tasks": _readable(data), "split": data.split if may_choose else None}
    known = options_of(str(data.source))
    return {name: value for name, value in wanted.items() if value and name in known}


def _readable(data: SourceOptions) -> Sequence[str] | str | None:
    """Return what a layout must be able to read: the tasks, and pictures that are computed of."""
    if data.tasks is None or not asked_names(data.compute):
        return data.tasks
    named = data.tasks.split(",") if isinstance(data.tasks, str) else data.tasks
    return [*named, data.compute.of or "rgb"]


def rendering(data: SourceOptions, own: Sequence[str]) -> SourceOptions:
    """Name those tasks of an archive that rendered data have on request, where none are named."""
    rendered = data.sample is not None or data.source in (*RENDERED[1:], "rendered")
    wanted = [name for name in own if name in FURTHER_TASKS]
    return replace(data, tasks=wanted) if rendered and wanted and data.tasks is None else data


def check_left_out(data: SourceOptions, source: Source) -> None:
    """Refuse to leave out in silence what looks like a task.

    Raises
    ------
    UsageError
        When files look like a task that was asked for, or all were, and cannot be read.
    """
    names = [task.name for task in source.tasks]
    asked = None if data.tasks is None else _known(data.tasks, names)
    like = [one for one in left_out_of(source) if one.task and (asked is None or one.task in asked)]
    if not like:
        return
    lines = [
        f"  {one.what}: {one.files} file{'s' * (one.files != 1)}, {one.reason}"
        for one in like[:LISTED]
    ]
    lines += [f"  and {len(like) - LISTED} more"] * (len(like) > LISTED)
    listed = "\n".join(lines)
    paths = shlex.quote(",".join(dict.fromkeys(one.what for one in like)))
    advice = f"leave them out with --ignore {paths}"
    whole = [name for name in names if name not in {one.task for one in like}]
    if asked is None and whole:
        advice = f"name the tasks you want with --tasks {','.join(whole)}, or {advice}"
    raise UsageError(f"these look like tasks, and cannot be read:\n{listed}\n{advice}")


def choose_tasks(data: SourceOptions, coding: CodingOptions, source: Source) -> tuple[Task, ...]:
    """Return the tasks to compress, in the order asked for, as they are to be coded.

    Raises
    ------
    UnknownTaskError
        When the source lacks one; the message lists those it has.
    """
    found = {task.name: task for task in source.tasks}
    chosen = [found[name] for name in resolve_tasks(with_asked(data), list(found))]
    if not chosen:
        raise UsageError(f"no task to compress; found: {', '.join(found) or 'none'}")
    return coded_tasks(coding, chosen, list(found))


def with_asked(data: SourceOptions) -> Sequence[str] | str | None:
    """Return the tasks that are asked for, those that are computed among them; None for all."""
    if data.tasks is None:
        return None
    named = data.tasks.split(",") if isinstance(data.tasks, str) else data.tasks
    return [*named, *asked_names(data.compute)]


def look_at_first(
    source: Source, tasks: Sequence[Task], options: CompressOptions, sharding: ShardingOptions
) -> dict[int, SourceSample]:
    """Read the samples that will be encoded first; see `look_at`."""
    is_ordered, split = asks_for_targets(options.coding), only_split(options.data)
    indices = indices_to_probe(source, is_ordered, sharding, split) or [0]
    return look_at(source, tasks, indices, options.work.on_error)


def first_warnings(coding: Coding, read: Mapping[int, SourceSample]) -> dict[str, str]:
    """Say what the samples that were looked at first tell of how tasks are coded, by task.

    That is what noise does to pictures, and that there are no files to keep.
    """

    def first(task: Task) -> list[Array]:
        return [one.arrays[task.name] for one in read.values() if task.name in one.arrays]

    words = coding.codec_set.codec_name
    kept = {t.name: no_files_warning(t, words(t.name), first(t)) for t in coding.tasks}
    noise = {t.name: noise_warning(coding, t, first(t)) for t in may_be_noisy(coding)}
    return {name: warning for name, warning in (kept | noise).items() if warning}


def with_warnings(report: SourceReport, warnings: Mapping[str, str]) -> SourceReport:
    """Return a report that also has a warning of some tasks."""
    tasks = {
        name: found.model_copy(update={"warnings": (*found.warnings, warnings[name])})
        if name in warnings
        else found
        for name, found in report.tasks.items()
    }
    return report.model_copy(update={"tasks": tasks})


def look_at(
    source: Source, tasks: Sequence[Task], indices: Sequence[int], on_error: str
) -> dict[int, SourceSample]:
    """Read samples and hold them against their tasks, before any codec is made.

    Who gets them reads them no more.

    Raises
    ------
    SampleError
        When one cannot be read or is not what its task says, unless such are to be skipped.
    """
    found: dict[int, SourceSample] = {}
    size = 0
    for index in indices:
        try:
            sample = _hold(source, tasks, index)
        except SampleError:
            if on_error != "skip":
                raise
            continue
        size += sum(array.nbytes for array in sample.arrays.values())
        if found and size > BATCH_BYTES:
            break
        found[index] = sample
    return found


def reader_of_first(
    source: Source, tasks: Sequence[Task], read: dict[int, SourceSample]
) -> ReadFirst:
    """Return what reads samples before there is a plan, and keeps them for whoever encodes them.

    A sample that is broken is empty, and told of when it is encoded.

    Parameters
    ----------
    read
        Those that were read already, by index. It gets the others, up to 64 MiB in all.
    """

    def get(index: int) -> Mapping[str, Array]:
        sample = read.get(index)
        if sample is None:
            try:
                sample = _hold(source, tasks, index)
            except SampleError:
                return {}
            held = (array for one in (*read.values(), sample) for array in one.arrays.values())
            if sum(array.nbytes for array in held) <= BATCH_BYTES:
                read[index] = sample
        return sample.arrays

    return get


def _hold(source: Source, tasks: Sequence[Task], index: int) -> SourceSample:
    names = [task.name for task in tasks]
    try:
        sample = call_again(partial(read_sample, source, index, names), may_pass, RETRIES + 1)
        for task in tasks:
            if task.name in sample.arrays:
                check_array(task, sample.arrays[task.name])
    except (SampleError, CodecError) as error:
        raise SampleError(advice(source.key(index), index, error)) from error
    return sample


def _known(names: Sequence[str] | str, found: Sequence[str]) -> set[str]:
    """Resolve those names that are there; what is not is told where it is asked for."""
    known = set()
    for name in names.split(",") if isinstance(names, str) else names:
        with suppress(UnknownTaskError):
            known.add(resolve_task(name.strip(), found))
    return known
