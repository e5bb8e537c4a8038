"""Decodes an archive into files: opens it, and calls the target that was asked for."""

import inspect
import os
from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import Any

from dsc._copies.export.target import (
    FILES,
    ExportJob,
    ExportProgress,
    ExportReport,
    Target,
    spelled_option,
)
from dsc._pipeline.read.dataset import Dataset
from dsc._storage.files.root import Root
from dsc._storage.files.writable import check_root
from dsc._storage.format.names import MANIFEST
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError

TARGETS: dict[str, str] = {
    FILES: "dsc._copies.export.files:write_files",
    "parquet": "dsc._copies.export.parquet:write_parquet",
    "webdataset": "dsc._copies.export.webdataset:write_webdataset",
    "lerobot": "dsc._copies.export.lerobot:write_lerobot",
    "coco": "dsc._copies.export.coco:write_coco",
}
"""Of each target, by the name that ``--to`` has: the function that writes it."""


def export(
    url: str | os.PathLike[str],
    tasks: Sequence[str] | str | None,
    out: str | os.PathLike[str],
    *,
    to: str = FILES,
    selection: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: ExportProgress | None = None,
    **options: Any,
) -> ExportReport:
    """Decode `tasks` of the archive at `url` to files below `out`.

    Parameters
    ----------
    url
        Path or URL of the archive.
    tasks
        Names or aliases, as a sequence or with commas; None for all.
    out
        Directory or fsspec URL.
    to
        What is written: ``files``, one a task and sample, named as in the source; ``webdataset``,
        tars with the keys, endings and order that the source had; ``parquet``, as the Hub has it;
        ``coco``, annotation files and images; ``lerobot``, episodes in Parquet and MP4.
    selection
        Which samples: keywords of `Dataset.select`; None for all.
    overwrite
        Write every file again, also over those of another archive.
    progress
        Called with (samples done, samples in all).
    options
        What the target lets people choose, as the command line has it: ``names`` of files;
        ``file_size`` of parquet, webdataset and lerobot; ``shard_size`` of webdataset;
        ``image_format`` of webdataset and lerobot; ``fps`` of lerobot. None means unset.

    Raises
    ------
    ArchiveNotFoundError, UnknownTaskError
        When there is no archive at `url`, or it lacks a task.
    PlanMismatchError, UsageError
        When `out` holds files of another archive or export; when it is one, or cannot be written
        to; when the target is unknown or does not take an option.
    CorruptArchiveError, BitstreamError
        When a sample cannot be decoded.
    """
    write = target_of(to)
    given = {name: value for name, value in options.items() if value is not None}
    _check_options(to, write, given)
    dataset = Dataset.open(os.fspath(url), tasks, native=True, **(selection or {}))
    archive = Archive.open(os.fspath(url))
    root = Root(os.fspath(out))
    check_root(root, f"--out {root.url}")
    if root.local is not None and (root.local / MANIFEST).is_file():
        raise UsageError(f"--out {root.url}: an archive is there; give another directory")
    watched = {} if progress is None else {"progress": progress}
    return write(ExportJob(dataset, archive, root, to, overwrite, **watched), **given)


def target_of(name: str) -> Target:
    """Return the function that writes a target.

    Raises
    ------
    UsageError
        When there is none of that name; the message lists those there are.
    """
    if name not in TARGETS:
        raise UsageError(f"--to {name}: known are {', '.join(TARGETS)}")
    target: Target = resolve_name(TARGETS[name])
    return target


def _check_options(to: str, write: Target, given: Mapping[str, Any]) -> None:
    known = [name for name in inspect.signature(write).parameters if name != "job"]
    extra = [spelled_option(name) for name in given if name not in known]
    if extra:
        takes = ", ".join(map(spelled_option, known)) or "none"
        raise UsageError(f"--to {to} has no option {', '.join(extra)}; it takes: {takes}")
