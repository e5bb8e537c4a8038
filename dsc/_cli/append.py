"""``dsc append``: more samples, or one more task, in an archive that is there."""

from typing import TYPE_CHECKING, Annotated

import typer

from dsc._cli.compress_options import (
    BITS,
    DATA,
    RUN,
    AddressOption,
    AlphaOption,
    CodecOption,
    DepthUnitOption,
    FileUnitOption,
    IgnoreOption,
    InvalidOption,
    KindsOption,
    LayoutOption,
    MaxErrorOption,
    OnErrorOption,
    RootOption,
    SampleOption,
    SizeOption,
    SourceArgument,
    TargetOption,
    WorkersOption,
)
from dsc._cli.options import ArchiveArgument, JsonOption
from dsc._cli.output import emit, say
from dsc._cli.progress import by_info, later
from dsc._cli.rate import show_choice, show_reached
from dsc._cli.source_data import find_data, layout_options, list_failed
from dsc._cli.start import show_start
from dsc._cli.summary import show_summary

if TYPE_CHECKING:
    from dsc._jobs.archive.append import AppendReport
    from dsc._pipeline.read.summary import Summary

TasksOption = Annotated[
    str | None,
    typer.Option(
        help="Tasks that the archive lacks, with commas: they are added to the samples that are "
        "there. Default: the archive's own, for new samples.",
        metavar="A,B",
        rich_help_panel=DATA,
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        help="Split of the new samples, which may be a new one; of nyuv2, test and train choose "
        "the frames. Default: the archive's, if it has one only.",
        metavar="NAME",
        rich_help_panel=DATA,
    ),
]
MissingOption = Annotated[
    str,
    typer.Option(
        help="New samples that lack a task of the archive: error, or none to add them without.",
        metavar="error|none",
        rich_help_panel=DATA,
    ),
]
QualityOption = Annotated[
    str | None,
    typer.Option(
        help="Of a new task: 1 (smallest) to 100 (best). Default: 60.",
        metavar="Q",
        rich_help_panel=BITS,
    ),
]
AutoSamplesOption = Annotated[
    int | None,
    typer.Option(
        help="Samples that codecs are tried on, where dsc chooses. Default: 32.",
        min=1,
        metavar="N",
        rich_help_panel=BITS,
    ),
]
RestartOption = Annotated[
    bool,
    typer.Option(
        "--restart",
        help="Throw away what an unfinished append with other options has made.",
        rich_help_panel=RUN,
    ),
]


def append(
    archive: ArchiveArgument,
    source: SourceArgument,
    tasks: TasksOption = None,
    root: RootOption = None,
    sample: SampleOption = None,
    size: SizeOption = None,
    depth_unit: DepthUnitOption = None,
    split: SplitOption = None,
    layout: LayoutOption = None,
    kinds: KindsOption = None,
    file_unit: FileUnitOption = None,
    invalid: InvalidOption = None,
    alpha: AlphaOption = None,
    ignore: IgnoreOption = None,
    missing: MissingOption = "error",
    codec: CodecOption = None,
    quality: QualityOption = None,
    target: TargetOption = None,
    max_error: MaxErrorOption = None,
    auto_samples: AutoSamplesOption = None,
    workers: WorkersOption = 0,
    address: AddressOption = None,
    on_error: OnErrorOption = "fail",
    restart: RestartOption = False,
    json_: JsonOption = False,
) -> None:
    """Add new samples or a new task to an archive; nothing that is there is written again.

    Samples whose keys the archive lacks become new shards, coded as the
    others; samples that are there are passed over, so a dataset that has
    grown is given whole. Tasks that the archive lacks are added to the
    samples that are there, found by their keys. Readers that have the archive
    open go on undisturbed. After Ctrl-C, a crash or a full disk the same
    command goes on.

    [bold]Examples[/bold]

      # the dataset has grown
      dsc append taskonomy-dsc taskonomy --root /data/taskonomy --workers 4
      # one more task
      dsc append taskonomy-dsc taskonomy --root /data/taskonomy --tasks normals
      # rendered views: eight more, then their normals
      dsc append demo taskonomy --sample 32
      dsc append demo taskonomy --sample 32 --tasks normals
    """
    from dsc._jobs.archive.append import append as run

    data = find_data(source, root, sample)
    given = layout_options(
        size=size, depth_unit=depth_unit, layout=layout, kinds=kinds, file_unit=file_unit,
        invalid=invalid, alpha=alpha, ignore=ignore,
    )  # fmt: skip
    with later("try codecs", "candidates") as tried, later("append", "samples") as report:
        found = run(
            archive, source, tasks=tasks, root=data, sample=sample, codec=codec, quality=quality,
            target=target, max_error=max_error, auto_samples=auto_samples, split=split,
            missing=missing, restart=restart, workers=workers, address=address,
            on_error=on_error, progress=by_info(report),
            on_trial=tried, on_choice=None if json_ else show_choice,
            on_start=None if json_ else show_start, **given,
        )  # fmt: skip
    _report(archive, found, json_)


def _report(where: str, found: "AppendReport", as_json: bool) -> None:
    from dsc._pipeline.read.summary import summarise
    from dsc._storage.read.archive import Archive

    summary = summarise(Archive.open(where))
    value = {
        "archive": where,
        "generation": found.manifest.generation,
        "added": {"samples": found.samples, "tasks": list(found.tasks)},
        "there": found.there,
        "missing": found.missing,
        "untouched": list(found.untouched),
        **summary.to_json(),
        "failed": [{"key": sample.key, "error": sample.error} for sample in found.failed],
        "reached": [one.model_dump(mode="json") for one in found.manifest.reached],
    }
    emit(as_json, value, lambda: _show(where, found, summary))
    if found.failed:
        list_failed(list(found.failed), summary.samples)
        raise typer.Exit(1)


def _show(where: str, found: "AppendReport", summary: "Summary") -> None:
    if found.is_empty:
        say(f"{where}: nothing to add: it has all {found.there} samples of the source")
    else:
        what = f"{found.samples} samples" if found.samples else f"task {', '.join(found.tasks)}"
        say(f"{where}: {what} added, generation {found.manifest.generation}")
        if found.there:
            say(f"{found.there} samples of the source were there already")
        if found.missing:
            say(f"{found.missing} samples of the archive are not in the source and lack the task")
        show_summary(where, summary)
        show_reached(found.manifest)
    if found.untouched:
        say(
            f"the source also has {', '.join(found.untouched)}; add a task to the samples that are "
            f"there with --tasks {found.untouched[0]}"
        )
