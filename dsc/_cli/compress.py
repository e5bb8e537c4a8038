"""``dsc compress``: a dataset in, an archive out."""

import shlex
from typing import TYPE_CHECKING

import typer

from dsc._cli.compress_options import (
    AddressOption,
    AlphaOption,
    AutoSamplesOption,
    CodecOption,
    DepthUnitOption,
    FileUnitOption,
    IgnoreOption,
    InvalidOption,
    KindsOption,
    LayoutOption,
    MaxErrorOption,
    OnErrorOption,
    OutOption,
    OverwriteOption,
    PackOption,
    QualityOption,
    RootOption,
    SampleOption,
    ShardSizeOption,
    SizeOption,
    SourceArgument,
    SplitOption,
    TargetOption,
    TasksOption,
    WorkersOption,
)
from dsc._cli.options import JsonOption
from dsc._cli.output import emit, say
from dsc._cli.progress import by_info, later
from dsc._cli.rate import show_choice, show_reached
from dsc._cli.source_data import find_data, layout_options, list_failed
from dsc._cli.start import show_start
from dsc._cli.summary import show_summary
from dsc._cli.text import archive_name

if TYPE_CHECKING:
    from dsc._pipeline.read.summary import Summary
    from dsc._schemas import Manifest


def compress(
    source: SourceArgument,
    out: OutOption = None,
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
    codec: CodecOption = None,
    quality: QualityOption = "60",
    target: TargetOption = None,
    max_error: MaxErrorOption = None,
    auto_samples: AutoSamplesOption = 32,
    shard_size: ShardSizeOption = None,
    pack: PackOption = None,
    workers: WorkersOption = 0,
    address: AddressOption = None,
    on_error: OnErrorOption = "fail",
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Compress a dataset into an archive, or go on with one that was interrupted.

    Every task gets a bitstream of its own, so that it can be fetched and
    decoded without the others. What is finished stays: run the same command
    again after Ctrl-C, a crash or a full disk, and only the missing shards
    are made.

    [bold]Examples[/bold]

      # views rendered on the spot, no dataset needed
      dsc compress taskonomy --sample 24 --tasks rgb,depth --out demo
      # Taskonomy on disk, on four cores
      dsc compress taskonomy --root /data/taskonomy --tasks rgb,depth,normals --workers 4
      # your own folders rgb/0001.jpg, depth/0001.png with depth in millimetres
      dsc compress folder --root scans --depth-unit 0.001 --out scans-dsc
      # floating-point depth in millimetres; a directory that is no part of it
      dsc compress folder --root scans --file-unit depth=mm --ignore previews
      dsc compress nyuv2 --root nyu --codec rgb=avif,depth=jxl,label=png
      # each task as good as it must be, whichever codec does it in the fewest bytes
      dsc compress nyuv2 --root nyu --codec auto --target rgb=38dB,depth=0.5%
      # no depth pixel off by more than 1 %
      dsc compress folder --root scans --max-error depth=1%
    """
    from dsc._jobs.archive.compress import compress as run

    data = find_data(source, root, sample)
    place = f"./{source}-dsc" if out is None else out
    given = layout_options(
        size=size, depth_unit=depth_unit, layout=layout, kinds=kinds, file_unit=file_unit,
        invalid=invalid, alpha=alpha, ignore=ignore,
    )  # fmt: skip
    with later("try codecs", "candidates") as tried, later("compress", "samples") as report:
        run(
            source, place, tasks=tasks, root=data, sample=sample, codec=codec, quality=quality,
            target=target, max_error=max_error, auto_samples=auto_samples,
            shard_size=shard_size, pack=pack, split=split, workers=workers, address=address,
            on_error=on_error, overwrite=overwrite,
            progress=by_info(report), on_trial=tried,
            on_choice=None if json_ else show_choice,
            on_start=None if json_ else show_start, **given,
        )  # fmt: skip
    _report(place, data, json_)


def _report(out: str, root: str | None, as_json: bool) -> None:
    from dsc._pipeline.read.summary import summarise
    from dsc._storage.read.archive import Archive

    archive = Archive.open(out)
    summary = summarise(archive)
    failed = [sample for shard in archive.shards for sample in shard.failed]
    source = archive.manifest.source_report
    value = {
        "archive": out,
        **summary.to_json(),
        "source": source and source.model_dump(mode="json"),
        "failed": [{"key": sample.key, "error": sample.error} for sample in failed],
        "reached": [one.model_dump(mode="json") for one in archive.manifest.reached],
        "choice": archive.manifest.choice and archive.manifest.choice.model_dump(mode="json"),
    }
    emit(as_json, value, lambda: _show(out, root, summary, archive.manifest))
    if failed:
        list_failed(failed, len(archive))
        raise typer.Exit(1)


def _show(out: str, root: str | None, summary: "Summary", manifest: "Manifest") -> None:
    show_summary(out, summary)
    show_reached(manifest)
    tasks = [row for row in summary.rows if row.source_bytes is not None]
    task = min(tasks, key=lambda row: row.kind != "depth").name  # any will do, depth is the usual
    place, name = shlex.quote(out), archive_name(out)
    say("Next:")
    say(f"  dsc verify {place} --deep")
    beside = f" --source-root {shlex.quote(root)}" if root else ""
    say(f"  dsc view {place} --out {shlex.quote(name + '.html')}{beside}")
    say(f"  dsc fetch {place} --tasks {task} --out {shlex.quote(f'{name}-{task}')}")
