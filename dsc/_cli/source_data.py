"""What commands that read a dataset share: where it lies, and what of it failed."""

import os
import shlex
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from dsc._cli.printing.output import note
from dsc._pipeline.options import SourceOptions

if TYPE_CHECKING:
    from dsc._schemas import FailedSample

LISTS = (".txt", ".lst")
ROBOT = "meta/info.json"  # what a dataset of lerobot is known by
LISTED = 20  # failed samples that are spelled out for people; --json has all


def found_at(data: SourceOptions) -> SourceOptions:
    """Return the options with the place of the data, found where nobody said where it is.

    Raises
    ------
    UsageError
        When the layout is unknown, or there is nothing in the usual places.
    """
    if data.source is None:
        return data
    source, root = str(data.source), None if data.root is None else os.fspath(data.root)
    return replace(data, root=_find(source, root, data.sample))


def note_lists(data: SourceOptions) -> None:
    """Say that files beside the data are called like splits, where nothing says what splits are.

    Without a word, the frames of test.txt would be in the split train.
    """
    from dsc._sources.keys import split_rank
    from dsc._sources.meaning.names import name_of_split

    if data.root is None or data.split or data.split_file or data.split_by:
        return
    root = Path(os.fspath(data.root).removeprefix("file://"))
    if "://" in str(root) or not root.is_dir():
        return
    names = sorted(entry.name for entry in os.scandir(root) if not entry.name.startswith("."))
    if any(name_of_split(name) for name in names):
        return  # directories of splits
    lists = [name for name in names if name.endswith(LISTS) and name_of_split(Path(name).stem)]
    if lists:
        lists.sort(key=lambda name: split_rank(name_of_split(Path(name).stem) or ""))
        given = ",".join(lists)
        note(f"{', '.join(lists)}: if these list the samples of splits, --split-file {given}")


def _find(source: str, root: str | None, sample: int | None) -> str | None:
    from dsc._sources.registry import is_source, options_of, source_names
    from dsc.errors import UsageError

    if not is_source(source):
        raise UsageError(_no_layout(source, source_names()))
    if root is not None:
        _check_readable(source, root)
    if root is not None or sample is not None or "root" not in options_of(source):
        return root
    usual = [Path(source), Path("data") / source]
    for directory in usual:
        if directory.is_dir():
            note(f"--root not given, reading ./{directory}")
            return str(directory)
    raise UsageError(
        f"where is the {source} data? No --root was given, and neither ./{usual[0]} nor "
        f"./{usual[1]} is there. Give --root DIR"
        + (", or render views with --views N" if source == "taskonomy" else "")
    )


def _no_layout(source: str, known: Sequence[str]) -> str:
    """Say what SOURCE may be, and what was probably meant."""
    from dsc._files.likely import source_of_file
    from dsc._storage.format.names import MANIFEST

    said = f"no source {source!r}; known: {', '.join(known)}"
    if not source or ("://" not in source and not os.path.exists(source)):
        near = get_close_matches(source.lower(), known, n=1, cutoff=0.5)
        if near:
            return f"{said}; did you mean {near[0]}?"
        return f"{said}. Any other data set that is a directory of files: folder --root DIR"
    place = shlex.quote(source)
    if (Path(source) / MANIFEST).is_file():
        return f"{source} is an archive already; dsc info {place} shows what is in it"
    likely = source_of_file(source) or "folder"
    if (Path(source) / ROBOT).is_file():
        likely = "lerobot"
    if source.startswith("hf://"):
        likely = "huggingface"
    return f"{said}. For the data that lies there write {likely} --root {place}"


def _check_readable(source: str, root: str) -> None:
    """Refuse a root that no data can be read from, as far as that can be told at once.

    Raises
    ------
    UsageError
        When it is; the message says what to give.
    """
    from dsc._files.likely import source_of_file
    from dsc.errors import UsageError

    path = Path(os.path.expanduser(root.removeprefix("file://")))
    if not root:
        raise UsageError("--root is empty; give the directory of the data")
    if "://" in root and not root.startswith("file://"):
        return
    try:
        mode = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
        is_hidden = path.exists() and not os.access(path, mode)
    except PermissionError:  # of a directory above it
        is_hidden = True
    if is_hidden:
        raise UsageError(f"--root {root}: there is no permission to read it")
    if path.is_file() and source in ("taskonomy", "folder") and not _is_packed(path):
        other = source_of_file(root)
        known = other not in (None, source)
        hint = f"; dsc compress {other} --root {shlex.quote(root)}" if known else ""
        raise UsageError(f"--root {root} is a file, {source} is read from a directory{hint}")


def _is_packed(path: Path) -> bool:
    return tarfile.is_tarfile(path) or zipfile.is_zipfile(path)


def list_failed(failed: "Sequence[FailedSample]", samples: int) -> None:
    """Name the samples that could not be read."""
    note(f"{len(failed)} of {samples} samples could not be read and are missing in the archive:")
    for sample in failed[:LISTED]:
        note(f"  {sample.key}: {sample.error}")
    if len(failed) > LISTED:
        note(f"  and {len(failed) - LISTED} more; --json lists all")
