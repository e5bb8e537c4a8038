"""Adds to an archive: new samples, or a new task. What is there is not written again.

A run can be stopped at any moment and repeated, as a compression can: it goes on where it was and
ends in the same bytes. Until it ends, the archive is what it was, for readers and for `dsc verify`.

A plan lies in ``.dsc/plan.json`` from before the first shard until all else is cleared up. It names
the manifest that it adds to, so it tells by itself whether it can still be finished.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dsc._codecs.encoder import check_same_encoder
from dsc._jobs.archive.compress import NOBODY, explained, make_shards
from dsc._jobs.archive.computing import asked_names, check_computable, computing, computing_as
from dsc._jobs.archive.inputs import (
    check_asked,
    check_left_out,
    look_at,
    open_data,
    rendering,
    with_asked,
)
from dsc._jobs.archive.local import Job
from dsc._jobs.archive.options import AppendOptions
from dsc._jobs.archive.output import finished_shards, writable
from dsc._jobs.archive.processes import hired
from dsc._jobs.archive.tally import OnStart, ShardProgress, Tally, Watch
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.decide import OnChoice, decide_coding
from dsc._pipeline.choose.race import TrialProgress
from dsc._pipeline.options import SourceOptions, WorkOptions, given
from dsc._pipeline.read.whereabouts import remember
from dsc._pipeline.write.commit import (
    check_base,
    check_cards,
    commit_append,
    discard,
    tasks_without_data,
)
from dsc._pipeline.write.leftovers import clear_work, remove_leftovers
from dsc._pipeline.write.own import OwnSamples
from dsc._pipeline.write.plan import Adds, Plan, differences
from dsc._pipeline.write.plan_append import (
    Wanted,
    check_complete,
    check_recordings,
    choose_split,
    find_new_samples,
    find_samples,
    given_parents,
    known_tasks,
    plan_samples,
    plan_tasks,
    what_to_add,
)
from dsc._pipeline.write.samples import Probed
from dsc._schemas import FailedSample, Manifest, Quality, SourceReport, Task
from dsc._sources.base import lacks_of, report_of, splits_of
from dsc._sources.registry import Source
from dsc._storage.format.names import PLAN
from dsc._storage.format.sole_writer import sole_writer
from dsc._storage.read.archive import Archive
from dsc.errors import CorruptArchiveError, DscError, PlanMismatchError, UsageError

HERE = WorkOptions()


@dataclass(frozen=True)
class AppendReport:
    """What an append added.

    Attributes
    ----------
    manifest
        The archive's, afterwards.
    samples
        How many samples it added.
    there
        Samples of the source that were passed over, because the archive has their keys.
    tasks
        Names of the tasks that it added.
    missing
        Of a new task, samples of the archive that the source lacks.
    failed
        Samples that could not be read or encoded and were skipped on request.
    untouched
        Tasks of the source that the archive lacks and that were not asked for.
    """

    manifest: Manifest
    samples: int = 0
    there: int = 0
    tasks: tuple[str, ...] = ()
    missing: int = 0
    failed: tuple[FailedSample, ...] = ()
    untouched: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to add."""
        return not (self.samples or self.tasks)


@dataclass(frozen=True)
class Left:
    """What an earlier append has left.

    Attributes
    ----------
    begun
        The plan of one that can be finished.
    added
        The tasks that one has added which was killed right after its commit.
    """

    begun: Plan | None = None
    added: tuple[str, ...] = ()


def append(
    archive: str | os.PathLike[str],
    source: str | Source | None = None,
    *,
    tasks: Sequence[str] | str | None = None,
    root: str | os.PathLike[str] | None = None,
    sample: int | None = None,
    codec: str | None = None,
    quality: str | int | Quality | None = None,
    target: str | None = None,
    max_error: str | None = None,
    effort: str | None = None,
    access: str | None = None,
    derive: str | None = None,
    exact: bool = False,
    auto_samples: int | None = None,
    auto_minutes: float | None = None,
    columns: Sequence[str] | str | None = None,
    split: str | None = None,
    split_file: Any = None,
    split_by: str | None = None,
    split_rest: str | None = None,
    cut_sequences: bool = False,
    sequence_by: str | None = None,
    embed: str | None = None,
    features: str | None = None,
    of: str | None = None,
    side: int | str | None = None,
    workers: int = 0,
    address: str | None = None,
    on_error: str = "fail",
    missing: str = "error",
    restart: bool = False,
    progress: ShardProgress | None = None,
    on_choice: OnChoice | None = None,
    on_trial: TrialProgress | None = None,
    on_start: OnStart | None = None,
    **layout: Any,
) -> AppendReport:
    """Add new samples, or a new task, to an archive, or finish an append that was begun.

    Parameters
    ----------
    archive
        Directory or fsspec URL of the archive.
    source
        The dataset, as in `dsc.compress`. Samples are told apart by their keys. None for the
        archive's own samples, of whose pictures `embed` and `features` compute.
    tasks
        Tasks that the archive has, or None for all of them: samples whose keys it lacks are added,
        coded as the others. Tasks that it lacks: they are added to the samples that are there; a
        sample that the source lacks has no such task.
    root
        Directory or fsspec URL of the data.
    sample
        How many views to render, as in `dsc.compress`: of them the archive has some already.
    codec
        Codec of a new task, as in `dsc.compress`.
    quality
        Quality of a new task, as in `dsc.compress`.
    target
        Distortion that each sample of a new task is to reach, as in `dsc.compress`.
    max_error
        Largest error of a new task, as in `dsc.compress`.
    effort
        How long encoders of a new task may look for fewer bytes, as in `dsc.compress`.
    access
        What frames of a new task are predicted from, as in `dsc.compress`.
    derive
        Whether a new task that follows from others is computed, as in `dsc.compress`.
    exact
        Whether a new task comes back value for value, as in `dsc.compress`.
    auto_samples
        How many samples codecs are tried on at most, where dsc chooses them.
    auto_minutes
        When trying codecs ends with the best so far; 0 for no limit.
    columns
        New tasks to keep as columns, as in `dsc.compress`.
    split
        Split of new samples; needed where the archive has several. May be a new one.
    split_file
        Files that list the samples of splits, as in `dsc.compress`.
    split_by
        What puts the source's samples into splits, as in `dsc.compress`; those of `split` are
        added.
    split_rest
        What becomes of samples in no split, as in `dsc.compress`.
    cut_sequences
        Whether splits may cut recordings, as in `dsc.compress`.
    sequence_by
        What makes samples frames of recordings, as in `dsc.compress`; those of a recording that the
        archive has go on with it.
    embed
        Backbones whose embeddings are added, as in `dsc.compress`: of the source's pictures, or
        without one, of those that the archive decodes.
    features
        Layers whose feature maps are added, likewise, as in `dsc.compress`.
    of
        The task whose pictures both see, as in `dsc.compress`.
    side
        At which size they see them, as in `dsc.compress`.
    workers
        Worker processes on this machine; 0 works in this process.
    address
        Address of a Ray cluster to work on.
    on_error
        What a sample that cannot be read means: ``fail``, or ``skip`` to leave it out and list it.
    missing
        What happens when new samples lack a task of the archive: ``error``, or ``none`` to add
        them without.
    restart
        Whether to throw away what an unfinished append with other arguments has made.
    progress
        Called with (samples done, samples in all, sums over the finished shards).
    on_choice
        Called with the `Choice` of codecs, where that was left to dsc.
    on_trial
        Called with (candidates tried, candidates as far as known, seconds left at most) while
        codecs are tried.
    on_start
        Called before the first sample is coded, with what the source found, tasks and codecs.
    **layout
        What else the layout takes, as in `dsc.compress`.

    Raises
    ------
    UsageError
        When an argument cannot be honoured, or another dsc is writing to the archive.
    ArchiveNotFoundError
        When there is no archive, or it is not finished.
    PlanMismatchError
        When another append was begun and not finished, or the archive changed meanwhile.
    IncompleteError
        When shards are missing in the end.
    """
    asked = dict(locals())
    watch = Watch.taken_from(asked)
    asked["archive"] = os.fspath(archive)
    return run(AppendOptions.called(asked), watch)


def run(options: AppendOptions, watch: Watch = NOBODY) -> AppendReport:
    """Do what was asked for; see `append`."""
    check_asked(options.data, options.coding, options.work)
    options.check()
    root = writable(options.archive, "")
    archive = Archive.open(root)  # a place without an archive gets no lock
    source = _open(archive, options.data)
    check_left_out(options.data, source)
    report = report_of(source)
    with sole_writer(root, "dsc append"):
        done = _append(Archive.open(root), source, options, report, watch)
    if not done.is_empty and done.manifest.appended and options.data.source is not None:
        remember(done.manifest.appended[-1].plan_sha256, source.describe())
    return done


def _open(archive: Archive, data: SourceOptions) -> Source:
    """Open what is added: data, or what is computed of the archive's own samples."""
    if data.source is None:
        return computing(OwnSamples(archive), data.compute)
    tasks = archive.manifest.tasks
    return computing_as(open_data(rendering(data, [task.name for task in tasks])), tasks)


def _append(
    archive: Archive, source: Source, options: AppendOptions, report: SourceReport, watch: Watch
) -> AppendReport:
    named = asked_names(options.data.compute)
    tasks = named if named and options.data.tasks is None else with_asked(options.data)
    wanted = what_to_add(archive, source, tasks)
    left = look(archive, options.restart)
    names = tuple(task.name for task in wanted.tasks)
    if wanted.adds is Adds.TASKS or set(names) == set(left.added):
        return _add_tasks(archive, source, wanted, options, left, report, watch)
    return _add_samples(archive, source, wanted, options, left, watch)


def _add_tasks(
    archive: Archive,
    source: Source,
    wanted: Wanted,
    options: AppendOptions,
    left: Left,
    report: SourceReport,
    watch: Watch,
) -> AppendReport:
    _check_for_tasks(options)
    found = find_samples(archive, source)
    names = tuple(task.name for task in wanted.tasks)
    if wanted.adds is Adds.SAMPLES:  # by this very command, killed while it cleared up
        failed = tuple(failed for shard in archive.shards for failed in shard.failed)
        return AppendReport(archive.manifest, tasks=names, missing=found.missing, failed=failed)
    on_error = options.work.on_error
    probed = Probed()
    if left.begun is None:  # often all do not fit, or none does
        probed.read = look_at(found.source, wanted.tasks, [found.first], on_error)
    coding = decide_coding(
        options.coding,
        found.present,
        wanted.tasks,
        report,
        earlier=left.begun.choice if left.begun else None,
        begun=left.begun.codecs if left.begun else None,
        known=known_tasks(archive, found, partial(_with_all_tasks, options.data)),
        on_error=on_error,
        on_choice=watch.on_choice,
        on_trial=watch.on_trial,
    ).named()  # the archive has a default of its own
    found = given_parents(found, coding)
    if coding.codec_set.given:
        probed.read.clear()  # without those
    planned = plan_tasks(archive, found, coding, on_error, options.columns.columns)
    plan, coding = planned.plan, planned.coding
    job = Job(plan, archive.root, found.source, coding, on_error, tuple(archive.shards), probed)
    manifest, failed = _do(job, archive, options, watch)
    return AppendReport(manifest, tasks=names, missing=found.missing, failed=failed)


def _with_all_tasks(data: SourceOptions) -> Source | None:
    """Open the data with tasks that were not asked for; None where their files are not clear."""
    if data.source is None:
        return None
    try:
        return open_data(replace(data, tasks=None))
    except DscError:
        return None


def _add_samples(
    archive: Archive,
    source: Source,
    wanted: Wanted,
    options: AppendOptions,
    left: Left,
    watch: Watch,
) -> AppendReport:
    manifest = archive.manifest
    _check_splits(source, options.data.split)
    own = {task.name for task in manifest.tasks}
    untouched = tuple(task.name for task in source.tasks if task.name not in own)
    samples = find_new_samples(archive, source, wanted.tasks)
    if not len(samples.source):
        return AppendReport(manifest, there=samples.there, untouched=untouched)
    _check_for_samples(options, wanted.tasks)
    check_computable(wanted.tasks)
    if options.missing == "error":
        check_complete(archive, wanted)
        _check_each(samples.source, [task.name for task in wanted.tasks])
    split = choose_split(manifest, options.data.split)
    check_recordings(archive, samples.source, split)
    on_error, probed = options.work.on_error, Probed()
    if left.begun is None:
        probed.read = look_at(samples.source, wanted.tasks, [0], on_error)
    coding = Coding.of_archive(archive)
    plan = plan_samples(archive, samples, coding.codec_set, split)
    job = Job(plan, archive.root, samples.source, coding, on_error, probed=probed)
    manifest, failed = _do(job, archive, options, watch)
    return AppendReport(
        manifest, samples=plan.samples, there=samples.there, failed=failed, untouched=untouched
    )


def _check_for_samples(options: AppendOptions, tasks: Sequence[Task]) -> None:
    """Refuse options that say how samples of tasks which the archive has are to be coded."""
    coding = [*given(options.coding), *given(options.columns)]
    if coding:
        raise UsageError(
            f"{', '.join(coding)}: the archive has {', '.join(task.name for task in tasks)} "
            "already, and new samples are coded as its own are; these options are for a task "
            "that it lacks, named with --tasks"
        )


def _check_for_tasks(options: AppendOptions) -> None:
    """Refuse a split that chooses nothing: a new task goes to samples that are there."""
    split = options.data.split
    if split is not None and options.data.source != "nyuv2":
        raise UsageError(
            f"--split {split}: a new task goes to the samples that are there, whatever "
            "their split; leave it out"
        )


def _check_each(source: Source, tasks: Sequence[str]) -> None:
    """Refuse new samples one of which lacks a task that others have."""
    for index in range(len(source)):
        lacking = lacks_of(source, index, tasks)
        if lacking:
            raise UsageError(
                f"the new sample {source.key(index)} lacks {', '.join(lacking)}; complete it, "
                "leave it out with --ignore, or add such samples without it with --missing none"
            )


def _check_splits(source: Source, split: str | None) -> None:
    found = [name for name in splits_of(source) if name]
    if (split is None or "," in split) and len(splits_of(source)) > 1:
        raise UsageError(
            f"the source has the splits {', '.join(found)}; add one at a time, with "
            f"--split {found[0]}"
        )


def _do(
    job: Job, archive: Archive, options: AppendOptions, watch: Watch
) -> tuple[Manifest, tuple[FailedSample, ...]]:
    """Make the shards of a plan and commit them; return the manifest and the skipped samples."""
    plan, report, codec_set = job.plan, report_of(job.source), job.coding.codec_set
    tally = Tally(plan.samples, watch.progress)
    tally.planned(plan.shards, job.known())
    watch.starts(report, job.coding)
    with explained(job, tally, options.again()):
        claim_append(plan, archive)
        for record in finished_shards(plan, job.root):
            tally.done(record, resumed=True)
        with hired(options.work if tally.missing else HERE, plan.samples) as pool:
            make_shards(job, tally, options.work, options.again(), pool)
        records = [tally.records[n] for n in range(plan.shards)]
        empty = tasks_without_data(plan, records)
        if empty and job.standing:
            discard(archive)
            raise UsageError(
                f"no sample of the archive got the task {', '.join(empty)}: the source has the "
                "samples but no such files for them (or none that could be read); nothing was added"
            )
        manifest = commit_append(plan, archive, records, codec_set, report)
    return manifest, tuple(failed for record in records for failed in record.shard.failed)


def look(archive: Archive, restart: bool) -> Left:
    """Look at what an earlier append has left; what can never be finished is cleared away.

    Parameters
    ----------
    restart
        Whether what could be finished is cleared away, too.

    Raises
    ------
    CorruptArchiveError
        When its plan cannot be read.
    """
    try:
        plan = _read_plan(archive)
    except CorruptArchiveError as error:
        if not restart:
            raise CorruptArchiveError(f"{error}; --restart throws it away") from None
        discard(archive)
        return Left()
    if plan is None:
        return Left()
    base = plan.growth.base_sha256 if plan.growth else None
    if base == archive.manifest.sha256 and not restart:
        return Left(begun=plan)
    discard(archive)
    last = archive.manifest.appended[-1:]
    return Left(added=last[0].tasks if last and last[0].plan_sha256 == plan.sha256 else ())


def claim_append(plan: Plan, archive: Archive) -> None:
    """Make the archive's work directory this plan's, unless it is so already.

    Raises
    ------
    PlanMismatchError
        When another append was begun, or this one with other versions of the encoders.
    UsageError
        When a file that an append writes again was edited.
    """
    root = archive.root
    check_cards(archive)
    begun = _read_plan(archive)
    if begun is None:
        clear_work(root)  # records without a plan are nobody's
        root.write(PLAN, plan.file_bytes)
        check_base(plan, root)
    elif begun.sha256 != plan.sha256:
        found = "\n".join(f"  {line}" for line in differences(plan, begun))
        raise PlanMismatchError(
            f"{root.url}: another append was begun here and not finished:\n{found}\n"
            "Repeat its options to finish it, or throw away what it has made with --restart"
        )
    else:
        check_same_encoder(plan.encoder, begun.encoder, f"{root.url}: an append", "--restart")
    remove_leftovers(root, only_parts=True)


def _read_plan(archive: Archive) -> Plan | None:
    root = archive.root
    try:
        return Plan.from_json(root.read(PLAN), root.where(PLAN))
    except FileNotFoundError:
        return None
