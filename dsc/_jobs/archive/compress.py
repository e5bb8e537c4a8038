"""Compresses a dataset: plans, makes what is missing, commits.

A run can be stopped at any moment and repeated: it goes on where it was, and ends in the same
bytes as a run that was never stopped. It ends in one of three ways: with an archive, with an error
that names what is missing and how to go on, or with nothing touched.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from dsc._jobs.archive.inputs import (
    check_asked,
    check_left_out,
    choose_tasks,
    first_warnings,
    look_at_first,
    only_split,
    open_data,
    reader_of_first,
    with_warnings,
)
from dsc._jobs.archive.local import Job, run_here
from dsc._jobs.archive.options import CompressOptions
from dsc._jobs.archive.output import Output, claim, finished_shards, open_output, sole_output
from dsc._jobs.archive.processes import coder_of, hired, run_in_processes
from dsc._jobs.archive.tally import OnStart, ShardProgress, Tally, Watch
from dsc._jobs.workers.pool import Pool
from dsc._jobs.workers.verdict import is_full_disk
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.decide import OnChoice, decide_coding
from dsc._pipeline.choose.race import TrialProgress
from dsc._pipeline.options import DEFAULT_MINUTES, DEFAULT_SAMPLES, WorkOptions
from dsc._pipeline.read.whereabouts import remember
from dsc._pipeline.write.commit import commit
from dsc._pipeline.write.leftovers import remove_leftovers
from dsc._pipeline.write.plan import check_plannable, make_plan
from dsc._pipeline.write.samples import Probed
from dsc._pipeline.write.sizes import code_here
from dsc._schemas import Manifest, Quality, SourceReport, Task
from dsc._sources.base import check_files, report_of
from dsc._sources.registry import Source
from dsc.errors import IncompleteError, SampleError

NOBODY = Watch()
LISTED = 8  # failures spelled out in a message


def compress(
    source: str | Source,
    out: str | os.PathLike[str],
    *,
    tasks: Sequence[str] | str | None = None,
    root: str | os.PathLike[str] | None = None,
    sample: int | None = None,
    codec: str | None = None,
    quality: str | int | Quality = "60",
    target: str | None = None,
    max_error: str | None = None,
    effort: str = "default",
    access: str | None = None,
    derive: str | None = None,
    exact: bool = False,
    auto_samples: int = DEFAULT_SAMPLES,
    auto_minutes: float = DEFAULT_MINUTES,
    shard_size: int | None = None,
    pack: int | None = None,
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
    overwrite: bool = False,
    progress: ShardProgress | None = None,
    on_choice: OnChoice | None = None,
    on_trial: TrialProgress | None = None,
    on_start: OnStart | None = None,
    **layout: Any,
) -> Manifest:
    """Compress a dataset into an archive, or finish one that was begun; return its manifest.

    Parameters
    ----------
    source
        Name of a layout of files, such as ``folder``; or an open source.
    out
        Directory or fsspec URL of the archive.
    tasks
        What is coded: names or aliases, as a sequence or with commas; None for all.
    root
        Directory or fsspec URL of the data.
    sample
        How many views to render instead of reading data; ``--views`` on the command line.
    codec
        One codec, or one a task (``rgb=avif,depth=jxl``), by id or codec file; ``auto`` tries them.
        None for the defaults.
    quality
        1 to 100, or by task (``rgb=60,depth=80``).
    target
        Instead of a quality, a distortion that each sample is to reach: ``rgb=38dB,depth=0.5%``.
    max_error
        The largest error of any valid pixel, guaranteed by a second stream: ``depth=1%``.
    effort
        How long encoders may look for fewer bytes: ``fast``, ``default`` or ``best``.
    access
        What the frames of a recording are predicted from: ``balanced``, the fewest bytes, or
        ``tree``, so that one frame alone is decoded sooner; None for ``balanced``.
    derive
        Whether tasks that follow from others are computed instead of stored: ``auto``, where a rule
        is found that gives the samples' values, or ``never``; None for ``auto``.
    exact
        Whether every task comes back value for value, and JPEG files and frames of videos as they
        are; goes with no quality, target or error.
    auto_samples
        How many samples codecs are tried on at most, where dsc chooses them.
    auto_minutes
        When trying codecs ends with the best so far; 0 for no limit.
    shard_size, pack
        Samples a shard, and samples a pack; None to choose by the bytes of some samples.
    columns
        Tasks of small values, whose values of a whole shard are read with one request: names, as a
        sequence or with commas. None for those that are small anyway.
    split
        Splits to take, with commas, where the source has splits or they are stated; elsewhere the
        name of the only one. Of nyuv2 which part of the data is read.
    split_file
        Files that list the samples of splits: ``"train=a.txt,val=b.txt"``, or a mapping. A line is
        a sample's name, key or path, or a directory of samples.
    split_by
        What puts samples into splits: ``"hash:train=0.9,val=0.1"`` (drawn by keys),
        ``"hash-folder:train=0.9,val=0.1"``, ``"folder:1"``, ``"name:train=a*,val=b*"``,
        ``"task:NAME"``.
    split_rest
        What becomes of samples in no split: the name of one, or ``"drop"``; refused where None.
    cut_sequences
        Whether `split_file` and `split_by` may put frames of one recording into several splits.
    sequence_by
        What makes samples frames of recordings: ``"dir"``, ``"{sequence}/frame-{frame}"``, a
        regular expression of their names with groups ``sequence``, ``frame`` and ``time``, or
        ``"none"``; as the layout says where None.
    embed
        Backbones whose embeddings of the pictures are tasks too, as in
        ``"looks=efficientnet-lite0"``; without a name before it, the task is ``embedding``. A
        backbone is one of `dsc.backbones.backbone_names`.
    features
        Backbones and layers whose feature maps are tasks too, as in
        ``"efficientnet-lite0:block10"``; without a name before it, the task is ``features``.
    of
        The task whose pictures both see; by default rgb, or the only image there is.
    side
        Pixels of the square that both see pictures at, or ``"own"``; by default what the backbone
        was trained with.
    workers
        Worker processes on this machine; 0 works in this process. Where this process has a
        connection to Ray, its workers are used instead. A script that defines the source itself
        makes its calls under ``if __name__ == "__main__":``.
    address
        Address of a Ray cluster to work on.
    on_error
        What a sample that cannot be read means: ``fail``, or ``skip`` to leave it out and list it.
    overwrite
        Whether what is at `out` is replaced.
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
        What else the layout takes, as the command line has it: ``depth_unit="0.001"``.

    Raises
    ------
    UsageError
        When an argument cannot be honoured, or another process is writing to `out`;
        `PlanMismatchError` when `out` holds another archive.
    SampleError, IncompleteError
        When the first samples cannot be read; when shards are missing in the end.
    """
    asked = dict(locals())
    watch = Watch.taken_from(asked)
    return run(CompressOptions.called(asked), watch)


def run(options: CompressOptions, watch: Watch = NOBODY) -> Manifest:
    """Do what was asked for; see `compress`."""
    check_asked(options.data, options.coding, options.work)
    there = open_output(options.place, options.overwrite)
    source = open_data(options.data)
    tasks = choose_tasks(options.data, options.coding, source)
    check_left_out(options.data, source)
    report = report_of(source)
    with sole_output(there, options.overwrite) as output:
        tally, probed = Tally(len(source), watch.progress), Probed()
        tally.begin()
        sharding = output.sharding(options.sharding)
        check_plannable(source, sharding, only_split(options.data))
        if output.plan is None and output.manifest is None:
            probed.read = look_at_first(source, tasks, options, sharding)
            if options.work.on_error == "fail":
                _check_files(source, tasks)
        with hired(options.work, len(source)) as pool:  # they start while codecs are chosen
            coding = decide_coding(
                options.coding,
                source,
                tasks,
                report,
                earlier=output.choice,
                begun=output.codecs,
                read=reader_of_first(source, tasks, probed.read),
                on_error=options.work.on_error,
                on_choice=watch.on_choice,
                on_trial=watch.on_trial,
            )
            begun = output.plan
            warnings = begun.noise if begun else first_warnings(coding, probed.read)
            report = with_warnings(report, warnings)
            watch.starts(report, coding)
            tally.begin()
            job = _plan(source, coding, options, output, tally, probed, pool)
            job = replace(job, plan=job.plan.model_copy(update={"noise": warnings}))
            manifest = _finish(job, output, options, tally, report, pool)
            remember(manifest.plan_sha256, job.plan.source)
            return manifest


def _plan(
    source: Source,
    coding: Coding,
    options: CompressOptions,
    output: Output,
    tally: Tally,
    probed: Probed,
    pool: Pool | None,
) -> Job:
    """Plan the shards; what is encoded for that is kept for them."""
    on_error = options.work.on_error
    planned = make_plan(
        source,
        coding,
        output.sharding(options.sharding),
        only_split(options.data),
        on_error,
        probed,
        code_here if pool is None else coder_of(pool),
        tally.early,
        is_checked=True,
        columns=options.columns.columns,
    )
    job = Job(planned.plan, output.root, source, planned.coding, on_error, probed=probed)
    tally.planned(planned.plan.shards, job.known())
    return job


def _check_files(source: Source, tasks: Sequence[Task]) -> None:
    try:
        check_files(source, [task.name for task in tasks])
    except SampleError as error:
        raise SampleError(
            f"{error}; or leave out what cannot be read with --on-error skip"
        ) from None


def _finish(
    job: Job,
    output: Output,
    options: CompressOptions,
    tally: Tally,
    report: SourceReport,
    pool: Pool | None,
) -> Manifest:
    """Make what is missing of an output and commit it."""
    with explained(job, tally, options.again()):
        finished = claim(output, job.plan, options.overwrite)
        if finished is not None:
            return finished
        for record in finished_shards(job.plan, job.root):
            tally.done(record, resumed=True)
        make_shards(job, tally, options.work, options.again(), pool)
        records = list(tally.records.values())
        return commit(job.plan, job.root, records, job.coding.codec_set, report)


def make_shards(job: Job, tally: Tally, work: WorkOptions, again: str, pool: Pool | None) -> None:
    """Make the missing shards where they are to be made.

    Parameters
    ----------
    again
        How to go on, for the message.
    pool
        Worker processes of this machine, where such are to work.

    Raises
    ------
    IncompleteError
        When some cannot be made; the others are.
    """
    missing = tally.missing
    if missing:
        tally.begin()
        failures = _make(job, missing, tally, work, pool)
        if failures:
            raise _incomplete(job, tally, failures, again)


def _make(
    job: Job, missing: Sequence[int], tally: Tally, work: WorkOptions, pool: Pool | None
) -> dict[int, str]:
    if pool is not None:
        return run_in_processes(pool, job, missing, tally)
    if not work.workers and work.address is None:
        return run_here(job, missing, tally)
    from dsc._jobs.archive.on_ray import run_on_ray

    try:
        return run_on_ray(job, missing, tally, work.address)
    except BaseException:
        # a worker may be interrupted while it cleans up after an interrupt
        remove_leftovers(job.root, only_parts=True)
        raise


@contextmanager
def explained(job: Job, tally: Tally, again: str) -> Iterator[None]:
    """Say what is kept and how to go on, when a run is stopped from outside."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{job.root.url}: stopped; {tally}. To go on: {again}") from None
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise IncompleteError(
            f"{job.root.url}: the disk is full ({error.strerror}); {tally}. "
            f"Make room and go on: {again}"
        ) from error


def _incomplete(job: Job, tally: Tally, failures: Mapping[int, str], again: str) -> IncompleteError:
    places = {n: job.plan.place(n) for n in sorted(failures)[:LISTED]}
    lines = [f"  {place.split} {place.n}: {failures[n]}" for n, place in places.items()]
    if len(failures) > LISTED:
        lines.append(f"  and {len(failures) - LISTED} more")
    listed = "\n".join(lines)
    return IncompleteError(
        f"{job.root.url}: {len(failures)} of {job.plan.shards} shards could not be made:\n"
        f"{listed}\n{tally}. To go on: {again}"
    )
