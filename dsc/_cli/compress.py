"""``dsc compress``: a dataset in, an archive out."""

import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from dsc._cli.options import JsonOption, takes_options
from dsc._cli.printing.choice import show_reached
from dsc._cli.printing.output import emit, say
from dsc._cli.printing.progress import by_info, trying, whole
from dsc._cli.printing.start import watch
from dsc._cli.printing.summary import show_summary
from dsc._cli.printing.text import archive_name
from dsc._cli.source_data import found_at, list_failed, note_lists
from dsc._jobs.archive.options import CompressOptions

if TYPE_CHECKING:
    from dsc._pipeline.read.summary import Summary
    from dsc._schemas import Manifest


@takes_options
def compress(options: CompressOptions, json_: JsonOption = False) -> None:
    """Compress a dataset into an archive, or go on with one that was interrupted.

    Every task gets a bitstream of its own, so that it can be fetched and
    decoded without the others. What is finished stays: run the same command
    again after Ctrl-C, a crash or a full disk, and only the missing shards
    are made.

    [bold]Examples[/bold]

      # views rendered on the spot, no dataset needed
      dsc compress taskonomy --views 24 --tasks rgb,depth --out demo
      # recordings rendered on the spot: three rooms, 256 frames of each
      dsc compress rendered --frames 256 --sequences 3 --camera walk --out walks
      # Taskonomy on disk, on four cores
      dsc compress taskonomy --root /data/taskonomy --tasks rgb,depth,normals --workers 4
      # your own folders rgb/0001.jpg, depth/0001.png with depth in millimetres
      dsc compress folder --root scans --depth-unit 0.001 --out scans-dsc
      # floating-point depth in millimetres; a directory that is no part of it
      dsc compress folder --root scans --file-unit depth=mm --ignore previews
      # tars as webdataset has them: pictures, text, JSON, whatever is in them
      dsc compress webdataset --root 'data/train-{000000..000012}.tar' --out data-dsc
      # a table of paths and values; rows of Parquet, here or on the Hub
      dsc compress table --root scans.csv --fields rgb=image_path,depth=depth_path,caption=text
      dsc compress huggingface --root hf://datasets/user/name --key-column id --out name-dsc
      # splits by lists, or drawn by directory
      dsc compress folder --root scans --split-file train.txt,val.txt
      dsc compress folder --root scans --split-by hash-folder:train=0.9,val=0.1
      dsc compress nyuv2 --root nyu --codec rgb=avif,depth=jxl,label=png
      # each task as good as it must be, whichever codec does it in the fewest bytes
      dsc compress nyuv2 --root nyu --codec auto --target rgb=38dB,depth=0.5%
      # with embeddings of its pictures, to search and compare them by
      dsc compress folder --root photos --embed efficientnet-lite0 --out photos-dsc
      # no depth pixel off by more than 1 %
      dsc compress folder --root scans --max-error depth=1%
    """
    from dsc._jobs.archive.compress import run

    options = replace(options, data=found_at(options.data), out=options.place)
    note_lists(options.data)
    with whole("compress", "samples", "looking at the data") as shown:
        run(options, watch(by_info(shown.report), trying(shown), json_))
    _report(options, json_)


def _report(options: CompressOptions, as_json: bool) -> None:
    from dsc._pipeline.read.summary import summarise
    from dsc._storage.read.archive import Archive

    out = options.place
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
    check = "--deep"
    if options.coding.exact:
        check = f"--against {shlex.quote(os.fspath(options.data.root or archive.manifest.source))}"
    emit(as_json, value, lambda: _show(out, summary, archive.manifest, check))
    if failed:
        list_failed(failed, len(archive))
        raise typer.Exit(1)


def _show(out: str, summary: "Summary", manifest: "Manifest", check: str) -> None:
    show_summary(out, summary)
    show_reached(manifest)
    tasks = [row for row in summary.rows if row.source_bytes is not None]
    task = min(tasks, key=lambda row: row.kind != "depth").name  # any will do, depth is the usual
    place, name = shlex.quote(out), archive_name(out)
    say("Next:")
    say(f"  dsc verify {place} {check}")
    say(f"  dsc serve {place}")
    say(f"  dsc fetch {place} --tasks {task} --out {shlex.quote(f'{name}-{task}')}")
