"""Adds to an archive: new samples, or a new task. What is there is not written again.

A run can be stopped at any moment and repeated, as a compression can: it goes on where it was and
ends in the same bytes. Until it ends, the archive is what it was, for readers and for `dsc verify`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dsc._jobs.archive.append_request import CODING, AppendRequest
from dsc._jobs.archive.append_state import Left, claim_append, look
from dsc._jobs.archive.codecs import OnChoice, choose_coding
from dsc._jobs.archive.compress import OnStart, explained, make_shards
from dsc._jobs.archive.local import Job
from dsc._jobs.archive.output import Output, finished_shards, writable
from dsc._jobs.archive.tally import Progress, Tally
from dsc._pipeline.choose.auto import DEFAULT_SAMPLES, Report
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.write.commit_append import (
    commit_append,
    discard,
    tasks_without_data,
)
from dsc._pipeline.write.growth import Adds
from dsc._pipeline.write.plan_append import (
    Found,
    choose_split,
    find_new_samples,
    find_samples,
    plan_samples,
    plan_tasks,
)
from dsc._pipeline.write.wanted import Wanted, check_complete, what_to_add
from dsc._schemas import FailedSample, Manifest, Quality
from dsc._schemas.quality import DEFAULT_QUALITY
from dsc._sources.base import lacks_of, report_of, splits_of
from dsc._sources.registry import Source
from dsc._storage.format.sole_writer import sole_writer
from dsc._storage.read.archive import Archive
from dsc.errors import SampleError, UsageError


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


def append(
    archive: str | os.PathLike[str],
    source: str | Source,
    *,
    tasks: Sequence[str] | str | None = None,
    root: str | os.PathLike[str] | None = None,
    sample: int | None = None,
    codec: str | None = None,
    quality: str | int | Quality | None = None,
    target: str | None = None,
    max_error: str | None = None,
    auto_samples: int | None = None,
    split: str | None = None,
    workers: int = 0,
    address: str | None = None,
    on_error: str = "fail",
    missing: str = "error",
    restart: bool = False,
    progress: Progress | None = None,
    on_choice: OnChoice | None = None,
    on_trial: Report | None = None,
    on_start: OnStart | None = None,
    **layout: Any,
) -> AppendReport:
    """Add new samples, or a new task, to an archive, or finish an append that was begun.

    Parameters
    ----------
    archive
        Directory or fsspec URL of the archive.
    source, root, sample, layout
        The dataset, as in `dsc.compress`. Samples are told apart by their keys.
    tasks
        Tasks that the archive has, or None for all of them: samples whose keys it lacks are added,
        coded as the others. Tasks that it lacks: they are added to the samples that are there; a
        sample that the source lacks has no such task.
    codec, quality, target, max_error, auto_samples
        How a new task is coded, as in `dsc.compress`.
    split
        Split of new samples; needed where the archive has several. May be a new one.
    missing
        What happens when new samples lack a task of the archive: ``error``, or ``none`` to add
        them without.
    restart
        Whether to throw away what an unfinished append with other arguments has made.
    workers, address, on_error, progress, on_choice, on_trial, on_start
        As in `dsc.compress`.

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
    given = (codec, quality, target, max_error, auto_samples)
    coding = tuple(name for name, value in zip(CODING, given, strict=True) if value is not None)
    request = AppendRequest(
        source, os.fspath(archive), tasks, root, sample, codec,
        DEFAULT_QUALITY if quality is None else quality,
        None, None, split, workers, address, on_error, False, layout, target, max_error,
        DEFAULT_SAMPLES if auto_samples is None else auto_samples, missing, restart, coding,
    )  # fmt: skip
    return run(request, progress, on_choice, on_trial, on_start)


def run(
    request: AppendRequest,
    progress: Progress | None = None,
    on_choice: OnChoice | None = None,
    on_trial: Report | None = None,
    on_start: OnStart | None = None,
) -> AppendReport:
    """Do what a request asks for; see `append`."""
    request.check()
    root = writable(request.out, "")
    Archive.open(root)  # a place without an archive gets no lock
    source = request.open_source()
    request.check_left_out(source)
    request = request.rounded(report_of(source))
    with sole_writer(root, "dsc append"):
        archive = Archive.open(root)
        wanted = what_to_add(archive, source, request.tasks)
        left = look(archive, request.restart)
        names = tuple(task.name for task in wanted.tasks)
        if wanted.adds is Adds.TASKS or set(names) == set(left.added):
            return _add_tasks(
                archive, source, wanted, request, left, progress, on_choice, on_trial, on_start
            )
        return _add_samples(archive, source, wanted, request, progress, on_start)


def _add_tasks(
    archive: Archive,
    source: Source,
    wanted: Wanted,
    request: AppendRequest,
    left: Left,
    progress: Progress | None,
    on_choice: OnChoice | None,
    on_trial: Report | None,
    on_start: OnStart | None,
) -> AppendReport:
    request.check_for_tasks()
    found = find_samples(archive, source)
    names = tuple(task.name for task in wanted.tasks)
    if wanted.adds is Adds.SAMPLES:  # by this very command, killed while it cleared up
        failed = tuple(failed for shard in archive.shards for failed in shard.failed)
        return AppendReport(archive.manifest, tasks=names, missing=found.missing, failed=failed)
    _probe(found, wanted, request.on_error)
    output = Output(archive.root, plan=left.begun)
    coding = choose_coding(request, found.present, wanted.tasks, output, on_choice, on_trial)
    plan = plan_tasks(archive, found, wanted.tasks, coding.codec_set, coding.quality, coding.choice)
    standing = tuple(archive.shards)
    job = Job(plan, archive.root, found.source, coding.codec_set, request.on_error, standing)
    manifest, failed = _do(job, archive, request, progress, on_start)
    return AppendReport(manifest, tasks=names, missing=found.missing, failed=failed)


def _add_samples(
    archive: Archive,
    source: Source,
    wanted: Wanted,
    request: AppendRequest,
    progress: Progress | None,
    on_start: OnStart | None,
) -> AppendReport:
    manifest = archive.manifest
    _check_splits(source, request.split)
    own = {task.name for task in manifest.tasks}
    untouched = tuple(task.name for task in source.tasks if task.name not in own)
    samples = find_new_samples(archive, source, wanted.tasks)
    if not len(samples.source):
        return AppendReport(manifest, there=samples.there, untouched=untouched)
    request.check_for_samples(wanted.tasks)
    if request.missing == "error":
        check_complete(archive, wanted)
        _check_each(samples.source, [task.name for task in wanted.tasks])
    codec_set = CodecSet.from_archive(archive)
    plan = plan_samples(archive, samples, codec_set, choose_split(manifest, request.split))
    job = Job(plan, archive.root, samples.source, codec_set, request.on_error)
    manifest, failed = _do(job, archive, request, progress, on_start)
    return AppendReport(
        manifest, samples=plan.samples, there=samples.there, failed=failed, untouched=untouched
    )


def _probe(found: Found, wanted: Wanted, on_error: str) -> None:
    """Read one sample before anything is written: often all do not fit, or none does."""
    try:
        found.source.read(found.first, [task.name for task in wanted.tasks])
    except SampleError as error:
        if on_error != "skip":
            raise SampleError(f"{error}; --on-error skip leaves out single samples") from error


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
    if split is None and len(splits_of(source)) > 1:
        raise UsageError(
            f"the source has the splits {', '.join(found)}; add one at a time, with "
            f"--split {found[0]}"
        )


def _do(
    job: Job,
    archive: Archive,
    request: AppendRequest,
    progress: Progress | None,
    on_start: OnStart | None,
) -> tuple[Manifest, tuple[FailedSample, ...]]:
    """Make the shards of a plan and commit them; give the manifest and the skipped samples."""
    tally = Tally(job.plan, progress)
    if on_start is not None:
        on_start(report_of(job.source), job.plan.tasks, job.codec_set)
    with explained(job, tally, request.again()):
        claim_append(job.plan, archive)
        for record in finished_shards(job.plan, job.root):
            tally.done(record, resumed=True)
        make_shards(job, tally, request)
        records = [tally.records[n] for n in range(job.plan.shards)]
        empty = tasks_without_data(job.plan, records)
        if empty and job.standing:
            discard(archive)
            raise UsageError(
                f"no sample of the archive got the task {', '.join(empty)}: the source has the "
                "samples but no such files for them (or none that could be read); nothing was added"
            )
        manifest = commit_append(job.plan, archive, records, job.codec_set, report_of(job.source))
    return manifest, tuple(failed for record in records for failed in record.shard.failed)
