"""The vectors of an archive's samples, a shard at a time: no other stream is read."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from dsc._columns.column import Ints, Mask, NumberColumn
from dsc._pipeline.read.columns import ArchiveColumns
from dsc._schemas import EMBEDDING, Task
from dsc._schemas.kind import VECTORS
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc.errors import UsageError

Floats = NDArray[np.float32]
FLOAT_BYTES = np.dtype(np.float32).itemsize
MAKE = "dsc append {} --embed efficientnet-lite0"


class Vectors(NamedTuple):
    """Vectors of some samples, of length 1.

    Attributes
    ----------
    indices
        Of the samples in the archive, int64 (n,).
    units
        Each vector divided by its norm, (n, N); a vector of zeros stays one.
    """

    indices: Ints
    units: Floats


def find_vectors(archive: Archive, name: str | None = None) -> Task:
    """Return the task whose vectors are meant.

    Parameters
    ----------
    name
        Of the task; None for the only one there is, what backbones computed before others.

    Raises
    ------
    UsageError
        When there is none, or several and none is named.
    """
    url, tasks = archive.root.url, archive.manifest.tasks
    there = {task.name: task for task in tasks if task.kind in VECTORS}
    if name is not None and name in there:
        return there[name]
    listed = ", ".join(there)
    if name is not None:
        raise UsageError(f"{url} has no embedding {name!r}; it has {listed or 'none'}")
    computed = _computed(tuple(there.values()))
    usual = [task for task in computed if task.name == EMBEDDING] or computed
    if len(usual) != 1:
        said = "several; choose one" if usual else f"none; `{MAKE.format(url)}` computes one"
        raise UsageError(f"embeddings of {url}: {listed + ': ' if usual else ''}{said}")
    return usual[0]


def read_units(
    archive: Archive, reader: PackReader, task: Task, among: Mask | None = None
) -> Iterator[Vectors]:
    """Read the vectors of samples, in the archive's order, a shard at a time.

    Samples without one are passed over.

    Parameters
    ----------
    task
        As `find_vectors` gives it.
    among
        Which samples of the archive, bool (n,); None for all.

    Raises
    ------
    UsageError
        When a vector holds NaN or an infinite number; the message names the sample.
    CorruptArchiveError, BitstreamError
        When it is damaged.
    """
    columns = ArchiveColumns(archive, reader)
    for shard, record in enumerate(archive.shards):
        start = archive.start(shard)
        asked = slice(start, start + record.samples)
        if among is not None and not among[asked].any():
            continue
        column = cast(NumberColumn, columns.read(task.name, shard))  # all are of one length
        there = column.there if among is None else column.there & among[asked]
        places = np.flatnonzero(there)
        values = column.values[places]
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            key = archive.keys(shard)[int(places[bad[0]])]
            raise UsageError(
                f"{archive.root.url}: sample {key}: task {task.name} holds NaN or an infinite "
                "number, which is like nothing; leave the sample out with a selection"
            )
        yield Vectors(places + start, unit(values))


def unit(vectors: NDArray[Any]) -> Floats:
    """Divide vectors (n, N) by their norms; those of zeros stay zeros."""
    if vectors.dtype.itemsize > FLOAT_BYTES:  # float64 may not hold the squares of its own numbers
        most = np.abs(vectors.astype(np.float64)).max(axis=1, keepdims=True)
        vectors = vectors / np.where(most > 0, most, 1)
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return (vectors / np.where(norms > 0, norms, 1)[:, None]).astype(np.float32)


def _computed(tasks: Sequence[Task]) -> list[Task]:
    """Return those that backbones computed; all where none did."""
    computed = [task for task in tasks if task.extractor is not None]
    return computed or list(tasks)
