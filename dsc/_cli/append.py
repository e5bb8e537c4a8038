"""``dsc append``: more samples, or one more task, in an archive that is there."""

from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from dsc._cli.options import JsonOption, takes_options
from dsc._cli.printing.choice import show_reached
from dsc._cli.printing.output import emit, say
from dsc._cli.printing.progress import by_info, trying, whole
from dsc._cli.printing.start import watch
from dsc._cli.printing.summary import show_summary
from dsc._cli.printing.text import counted
from dsc._cli.source_data import found_at, list_failed
from dsc._jobs.archive.options import AppendOptions

if TYPE_CHECKING:
    from dsc._jobs.archive.append import AppendReport
    from dsc._pipeline.read.summary import Summary


@takes_options
def append(options: AppendOptions, json_: JsonOption = False) -> None:
    """Add new samples or a new task to an archive; nothing that is there is written again.

    Samples whose keys the archive lacks become new shards, coded as the
    others; samples that are there are passed over, so a dataset that has
    grown is given whole. Tasks that the archive lacks are added to the
    samples that are there, found by their keys. Without SOURCE, --embed and
    --features compute of the archive's own pictures; new samples get the same
    by themselves. Readers that have the archive open go on undisturbed. After
    Ctrl-C, a crash or a full disk the same command goes on.

    [bold]Examples[/bold]

      # the dataset has grown
      dsc append taskonomy-dsc taskonomy --root /data/taskonomy --workers 4
      # one more task
      dsc append taskonomy-dsc taskonomy --root /data/taskonomy --tasks normals
      # rendered views: eight more, then their normals
      dsc append demo taskonomy --views 32
      dsc append demo taskonomy --views 32 --tasks normals
      # embeddings of the pictures that are there, or of the originals
      dsc append photos-dsc --embed efficientnet-lite0
      dsc append photos-dsc folder --root photos --embed efficientnet-lite0 --workers 4
    """
    from dsc._jobs.archive.append import run

    options = replace(options, data=found_at(options.data))
    with whole("append", "samples", "looking at the data") as shown:
        found = run(options, watch(by_info(shown.report), trying(shown), json_))
    _report(options.archive, found, json_)


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
        say(f"{where}: nothing to add: it has all {counted(found.there, 'sample')} of the source")
    else:
        new = counted(found.samples, "sample")
        what = (
            new if found.samples else f"task{'s' * (len(found.tasks) > 1)} {', '.join(found.tasks)}"
        )
        say(f"{where}: {what} added, generation {found.manifest.generation}")
        if found.there:
            say(f"there already: {counted(found.there, 'sample')} of the source")
        if found.missing:
            missing = counted(found.missing, "sample")
            say(f"not in the source, and so without the task: {missing} of the archive")
        show_summary(where, summary)
        show_reached(found.manifest)
    if found.untouched:
        say(
            f"the source also has {', '.join(found.untouched)}; add a task to the samples that are "
            f"there with --tasks {found.untouched[0]}"
        )
