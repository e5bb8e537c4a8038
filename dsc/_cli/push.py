"""``dsc push`` and ``dsc pull``: a whole archive to a store, and back."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from dsc._cli.options import JsonOption, TasksOption
from dsc._cli.printing.output import emit, note, say
from dsc._cli.printing.progress import BYTES, progress
from dsc._cli.printing.text import bytes_text, counted
from dsc._storage.files.place import redact

if TYPE_CHECKING:
    from dsc._copies.pull import CopyReport

OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace another archive that is there, and edited cards."),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would be copied; nothing is written.")
]


def push(
    archive: Annotated[str, typer.Argument(help="Directory of an archive.", metavar="ARCHIVE")],
    target: Annotated[
        str,
        typer.Argument(
            help="s3://, hf://datasets/USER/NAME or other fsspec URL, or a directory.",
            metavar="TARGET",
        ),
    ],
    tasks: TasksOption = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public", help="Make a new repository of the Hugging Face Hub public, not private."
        ),
    ] = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    json_: JsonOption = False,
) -> None:
    """Copy an archive to a store, from which anybody can read, stream, fetch or pull it.

    What is there already, by size and checksum, is not sent again, so after
    Ctrl-C or a lost connection the same command goes on, and an archive that
    has grown sends what is new. The manifest comes last: nobody sees half an
    archive. Who may write there is told by the store's own settings (AWS's
    files and variables; HF_TOKEN or `hf auth login`), never on this line.

    [bold]Examples[/bold]

      dsc push views s3://bucket/views
      dsc push views hf://datasets/me/views --dry-run
      dsc push views hf://datasets/me/depth-only --tasks depth --public
    """
    from dsc._copies.push import push as run

    with progress("push", BYTES) as report:
        found = run(
            archive,
            target,
            tasks=tasks,
            overwrite=overwrite,
            dry_run=dry_run,
            public=public,
            progress=report,
        )
    _show(json_, target, found, "sent")
    if not json_ and not dry_run:
        say("Next:")
        say(f"  dsc info {shlex.quote(redact(target))}")


def pull(
    url: Annotated[
        str,
        typer.Argument(
            help="Path, http(s)://, s3://, hf:// or other fsspec URL of an archive.", metavar="URL"
        ),
    ],
    archive: Annotated[str, typer.Argument(help="Directory for the copy.", metavar="ARCHIVE")],
    tasks: TasksOption = None,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    json_: JsonOption = False,
) -> None:
    """Copy a whole archive from a store to a directory, byte for byte.

    Each file is checked by its sha256. After Ctrl-C or a lost connection the
    same command goes on at the byte where it stopped; into an older copy of an
    archive that has grown it brings what is new. With --tasks it does what
    `dsc fetch` does.

    [bold]Examples[/bold]

      dsc pull s3://bucket/views views
      dsc pull hf://datasets/me/views views --dry-run
      dsc verify views
    """
    from dsc._copies.pull import pull as run

    with progress("pull", BYTES) as report:
        found = run(
            url, archive, tasks=tasks, overwrite=overwrite, dry_run=dry_run, progress=report
        )
    _show(json_, archive, found, "fetched")


def _show(as_json: bool, place: str, found: "CopyReport", verb: str) -> None:
    value = {
        "archive": place,
        "tasks": [task.name for task in found.manifest.tasks],
        "generation": found.manifest.generation,
        "samples": sum(found.manifest.splits.values()),
        "copied_bytes": found.copied_bytes,
        "kept_bytes": found.kept_bytes,
        "shipped_bytes": found.shipped_bytes,
        "removed": found.removed,
        "notes": found.notes,
        "dry_run": found.dry_run,
    }
    emit(as_json, value, lambda: _show_text(place, found, verb))
    for text in found.notes:
        note(f"note: {text}")


def _show_text(place: str, found: "CopyReport", verb: str) -> None:
    samples = sum(found.manifest.splits.values())
    names = ", ".join(task.name for task in found.manifest.tasks)
    say(f"{place}: {counted(samples, 'sample')} of {names}")
    would = "would be " if found.dry_run else ""
    parts = [f"{bytes_text(found.copied_bytes)} {would}{verb}"]
    if found.kept_bytes:
        parts.append(f"{bytes_text(found.kept_bytes)} were there already")
    if found.shipped_bytes:
        parts.append(f"{bytes_text(found.shipped_bytes)} of codec weights came with dsc")
    if found.removed:
        parts.append(f"{counted(len(found.removed), 'old file')} {would}removed")
    say(", ".join(parts))
