"""``dsc compress``: a dataset in, an archive out."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dsc.cli.compress_options import (
    AddressOption,
    AutoSamplesOption,
    CodecOption,
    DepthUnitOption,
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
from dsc.cli.output import JsonOption, emit, note, say
from dsc.cli.progress import later
from dsc.cli.rate import show_choice, show_reached
from dsc.cli.summary import show_summary

if TYPE_CHECKING:
    from dsc.pipeline.summary import Summary
    from dsc.schemas import FailedSample, Manifest

LISTED = 20  # failed samples that are spelled out for people; --json has all


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
      dsc compress nyuv2 --root nyu --codec rgb=avif,depth=jxl,label=png
      # each task as good as it must be, whichever codec does it in the fewest bytes
      dsc compress nyuv2 --root nyu --codec auto --target rgb=38dB,depth=0.5%
      # no depth pixel off by more than 1 %
      dsc compress folder --root scans --max-error depth=1%
    """
    from dsc.jobs.driver import compress as run

    data = _find_data(source, root, sample)
    place = out or f"./{source}-dsc"
    given = _given(size=size, depth_unit=depth_unit, layout=layout, kinds=_pairs(kinds))
    with later("try codecs", "candidates") as tried, later("compress", "samples") as report:
        run(
            source, place, tasks=tasks, root=data, sample=sample, codec=codec, quality=quality,
            target=target, max_error=max_error, auto_samples=auto_samples,
            shard_size=shard_size, pack=pack, split=split, workers=workers, address=address,
            on_error=on_error, overwrite=overwrite,
            progress=lambda done, total, _: report(done, total), on_trial=tried,
            on_choice=None if json_ else show_choice, **given,
        )  # fmt: skip
    _report(place, json_)


def _find_data(source: str, root: str | None, sample: int | None) -> str | None:
    """Find the data where nobody said where it is.

    Raises
    ------
    UsageError
        When the layout is unknown, or there is nothing in the usual places.
    """
    from dsc.errors import UsageError
    from dsc.pipeline.sources import SOURCES

    if source not in SOURCES:
        advice = ""
        if Path(source).exists():
            advice = f"; for the data in that directory: dsc compress LAYOUT --root {source}"
        raise UsageError(f"no layout {source!r}; known: {', '.join(SOURCES)}{advice}")
    if root is not None or sample is not None or source in ("sample", "clevr"):
        return root
    usual = [Path(source), Path("data") / source]
    for directory in usual:
        if directory.is_dir():
            note(f"--root not given, reading ./{directory}")
            return str(directory)
    raise UsageError(
        f"where is the {source} data? No --root was given, and neither ./{usual[0]} nor "
        f"./{usual[1]} is there. Give --root DIR"
        + (", or render views with --sample N" if source == "taskonomy" else "")
    )


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _pairs(text: str | None) -> dict[str, str] | None:
    from dsc.errors import UsageError

    if text is None:
        return None
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(name and value for name, _, value in parts):
        raise UsageError(f"--kinds {text}: write task=kind with commas, for example height=depth")
    return {name.strip(): value.strip() for name, _, value in parts}


def _report(out: str, as_json: bool) -> None:
    from dsc.pipeline.summary import summarise
    from dsc.storage.archive import Archive

    archive = Archive.open(out)
    summary = summarise(archive)
    failed = [sample for shard in archive.shards for sample in shard.failed]
    value = {
        "archive": out,
        **summary.to_json(),
        "failed": [{"key": sample.key, "error": sample.error} for sample in failed],
        "reached": [one.model_dump(mode="json") for one in archive.manifest.reached],
        "choice": archive.manifest.choice and archive.manifest.choice.model_dump(mode="json"),
    }
    emit(as_json, value, lambda: _show(out, summary, archive.manifest))
    if failed:
        _list_failed(failed, len(archive))
        raise typer.Exit(1)


def _show(out: str, summary: "Summary", manifest: "Manifest") -> None:
    show_summary(out, summary)
    show_reached(manifest)
    tasks = [row for row in summary.rows if row.source_bytes is not None]
    task = min(tasks, key=lambda row: row.kind != "depth").name  # any will do, depth is the usual
    place, name = shlex.quote(out), out.rstrip("/").rpartition("/")[2] or "archive"
    say("Next:")
    say(f"  dsc verify {place} --deep")
    say(f"  dsc view {place} --out {shlex.quote(name + '.html')}")
    say(f"  dsc fetch {place} --tasks {task} --out {shlex.quote(f'{name}-{task}')}")


def _list_failed(failed: "list[FailedSample]", samples: int) -> None:
    note(f"{len(failed)} of {samples} samples could not be read and are missing in the archive:")
    for sample in failed[:LISTED]:
        note(f"  {sample.key}: {sample.error}")
    if len(failed) > LISTED:
        note(f"  and {len(failed) - LISTED} more; --json lists all")
