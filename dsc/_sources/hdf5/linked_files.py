"""Datasets whose values lie in other files: which these are, and whether they are all there.

HDF5 gives the fill value for every part of a virtual dataset that it does not find, without a word.
"""

import os
from collections.abc import Iterator
from operator import lt
from pathlib import Path
from typing import Any

from dsc.errors import UsageError

DEEPEST = 8
PRINTF = "%b"


def files_of(dataset: Any, where: str, depth: int = 0) -> list[str]:
    """List the other files that hold a dataset's values, after making sure that they are there.

    Parameters
    ----------
    dataset
        An `h5py.Dataset` of a local file.
    where
        File and dataset, for messages.

    Raises
    ------
    UsageError
        Naming a file or dataset that is missing, or is smaller than what is taken from it.
    """
    if depth > DEEPEST:
        raise UsageError(f"{where}: a virtual dataset that is made of itself")
    main = Path(dataset.file.filename)
    found = []
    for name, _, _ in dataset.external or ():
        path = Path(os.fsdecode(name))
        found.append(str(_required(main.parent / path, where, "raw values")))
    if not dataset.is_virtual:
        return [os.path.normpath(path) for path in (str(main), *found)]
    for name, inner, extent, count in _parts(dataset):
        path = main if name == "." else _required(_resolve(main, name), where, "a part")
        found += [str(path), *_check_part(path, inner, extent, count, where, depth)]
    return list(dict.fromkeys(map(os.path.normpath, [str(main), *found])))


def unmapped(dataset: Any) -> float:
    """Return the share of a virtual dataset that no file fills, 0 to 1; 0 where it is unlimited."""
    if not dataset.is_virtual or not dataset.size:
        return 0.0
    try:
        counts = [source.vspace.get_select_npoints() for source in dataset.virtual_sources()]
    except (ValueError, RuntimeError, OverflowError):
        return 0.0
    if any(count < 0 or count > dataset.size for count in counts):
        return 0.0
    return max(0.0, 1 - float(sum(counts)) / float(dataset.size))


def _parts(dataset: Any) -> Iterator[tuple[str, str, tuple[int, ...], int]]:
    """Yield file, dataset, and the extent and number of values needed of each part, each once."""
    seen = set()
    for source in dataset.virtual_sources():
        printf = PRINTF in source.file_name + source.dset_name
        extent, count = ((), 0) if printf else _needed(source)
        for name, inner in _numbered(source, dataset.shape):
            if (name, inner, extent, count) not in seen:
                seen.add((name, inner, extent, count))
                yield name, inner, extent, count


def _numbered(source: Any, shape: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """Spell the names of blocks that are numbered: ``part-%b.h5`` is part-0.h5, part-1.h5, ..."""
    name, inner = source.file_name, source.dset_name
    if PRINTF not in name + inner:
        yield name, inner
        return
    try:
        block = source.vspace.get_regular_hyperslab()[3][0]
    except (ValueError, RuntimeError):
        block = 0
    for number in range(max(1, -(-shape[0] // block) if block else 1)):
        yield name.replace(PRINTF, str(number)), inner.replace(PRINTF, str(number))


def _needed(source: Any) -> tuple[tuple[int, ...], int]:
    """Return the extent up to which a part's selection reaches, and how many values it has.

    Either is empty or 0 where it is not said: a selection of everything has no extent of its own.
    """
    import h5py

    try:
        count = int(source.vspace.get_select_npoints())
        if source.src_space.get_select_type() == h5py.h5s.SEL_ALL:
            return (), max(count, 0)
        bounds = source.src_space.get_select_bounds()[1]
        return tuple(int(end) + 1 for end in bounds), 0
    except (ValueError, RuntimeError, OverflowError):
        return (), 0


def _check_part(
    path: Path, inner: str, extent: tuple[int, ...], count: int, where: str, depth: int
) -> list[str]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            part = file.get(inner)
            if not isinstance(part, h5py.Dataset):
                raise UsageError(f"{where}: its part {path} has no dataset {inner}")
            own = tuple(part.shape or ())
            reached = len(own) != len(extent) or not any(map(lt, own, extent))
            if not reached or part.size < count:
                raise UsageError(
                    f"{where}: its part {path}, dataset {inner}, has shape {own}, which is less "
                    "than what is taken from it, and HDF5 would fill in the rest: write it again"
                )
            return files_of(part, where, depth + 1) if part.is_virtual else []
    except OSError as error:
        raise UsageError(f"{where}: its part {path} cannot be read ({error})") from None


def _resolve(main: Path, name: str) -> Path:
    """Find a file that another names, where HDF5 looks for it."""
    base = Path(name)
    prefix = os.environ.get("HDF5_VDS_PREFIX", "").replace("${ORIGIN}", str(main.parent))
    places = [base] if base.is_absolute() else [Path(prefix) / base] if prefix else []
    tail = base.name if base.is_absolute() else name
    places += [main.parent / tail, Path(os.path.realpath(main)).parent / tail, Path(tail)]
    return next((place for place in places if place.exists()), main.parent / tail)


def _required(path: Path, where: str, what: str) -> Path:
    if not path.exists():
        raise UsageError(
            f"{where}: {what} of it lies in {path}, which is missing, and HDF5 would give fill "
            "values instead; put the file there, or leave the dataset out with --tasks"
        )
    return path
