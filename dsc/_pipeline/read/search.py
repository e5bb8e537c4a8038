"""Nearest neighbours among the vectors of an archive's samples, by cosine similarity.

It is exact: every vector is compared, shard by shard, so memory is a shard's vectors and time that
of reading them. A product of a million vectors of 1280 numbers with one query takes a second on
one core, and reading them up to a minute; an index would have to read them just as well.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._columns.column import Ints
from dsc._files.formats import read_pixels
from dsc._pipeline.read.vectors import Floats, Vectors, unit
from dsc._schemas import Task
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError

Query = str | os.PathLike[str] | NDArray[Any]


@dataclass(frozen=True)
class Neighbours:
    """The samples whose vectors are most like a query's, best first.

    Of several queries (Q, N) every array has a row for each, (Q, k).

    Attributes
    ----------
    task
        The embedding that was compared.
    keys
        Of the samples, text (k,); k is less than was asked for where there are not so many.
    indices
        Of the samples in the dataset that was asked, int64 (k,).
    similarities
        Cosines of the angles between their vectors and the query's, float32 (k,), -1 to 1; 0 with a
        vector of zeros.
    """

    task: str
    keys: NDArray[np.str_]
    indices: Ints
    similarities: Floats

    @classmethod
    def of(
        cls, archive: Archive, task: str, chosen: Ints | None, indices: Ints, similarities: Floats
    ) -> "Neighbours":
        """Return samples that were found, by their indices in the archive, with their keys.

        Parameters
        ----------
        task
            The embedding that was compared.
        chosen
            Indices in the archive of the samples of a dataset; None for all, in order.
        """
        keys = np.array([archive.key(index) for index in indices.ravel().tolist()], np.str_)
        places = indices
        if chosen is not None:
            order = np.argsort(chosen, kind="stable")
            places = order[np.searchsorted(chosen, indices, sorter=order)]
        return cls(task, keys.reshape(indices.shape), places, similarities)


def query_vectors(query: NDArray[Any] | os.PathLike[str], task: Task) -> Floats:
    """Return the vectors of a query, of length 1: (N,) of a single one, else (Q, N).

    Parameters
    ----------
    query
        Vectors (N,) or (Q, N) of any numbers; or a picture, uint8 (H, W, 3) or (H, W), or the path
        of its file, which the task's backbone makes a vector of.
    task
        What it is compared with.

    Raises
    ------
    UsageError
        When it is no picture, one of 16 bits, has another length, NaN, an infinite number or zeros
        alone; or the backbone here has other weights, or there is none.
    MissingPackageError
        When what the backbone needs is not installed.
    """
    if not isinstance(query, np.ndarray | os.PathLike):
        raise UsageError(
            f"a query of the type {type(query).__name__}: give a key, a path, or an array of NumPy"
        )
    given = query if isinstance(query, np.ndarray) else _read_picture(Path(query))
    if given.ndim == 3 or (given.ndim == 2 and given.dtype == np.uint8):
        given = _embed(given, task)
    elif given.ndim not in (1, 2) or given.dtype.kind not in "fiu":
        raise UsageError(
            f"a query {given.dtype} {given.shape}: give a picture, uint8 (H, W, 3) or (H, W), or "
            f"vectors of {task.channels} numbers"
        )
    vectors = np.atleast_2d(given)
    if vectors.shape[1] != task.channels:
        raise UsageError(
            f"a query of {vectors.shape[1]} numbers: the vectors of {task.name} have "
            f"{task.channels}; was it made by another backbone?"
        )
    bad = ~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1)
    if bad.any():
        raise UsageError(
            f"query {int(np.argmax(bad))} of {len(vectors)} holds NaN, an infinite number, or "
            "nothing but zeros, which is like nothing"
        )
    return unit(vectors).reshape(given.shape)


def find_nearest(found: Iterable[Vectors], queries: Floats, k: int) -> tuple[Ints, Floats]:
    """Find the vectors most like each of some queries.

    Parameters
    ----------
    found
        The vectors, in blocks.
    queries
        Of length 1, (N,) or (Q, N).
    k
        How many.

    Returns
    -------
    indices, similarities
        (k,) or (Q, k), of a smaller k where there are not so many; best first, of equals the first.
    """
    several = np.atleast_2d(queries)
    indices = np.zeros((len(several), 0), np.int64)
    similarities = np.zeros((len(several), 0), np.float32)
    for block in found:
        own = np.clip(several @ block.units.T, -1, 1)
        places = np.broadcast_to(block.indices, own.shape)
        if own.shape[1] > k:  # most of a block need not be sorted
            best = np.argpartition(-own, k - 1, axis=1)[:, :k]
            own, places = _taken(best, own, places)
        indices = np.concatenate([indices, places], axis=1)
        similarities = np.concatenate([similarities, own], axis=1)
        order = np.lexsort((indices, -similarities), axis=1)[:, :k]
        similarities, indices = _taken(order, similarities, indices)
    shape = (*queries.shape[:-1], -1) if indices.size else (*queries.shape[:-1], 0)
    return indices.reshape(shape), similarities.reshape(shape)


def _taken(columns: Ints, similarities: Floats, indices: Ints) -> tuple[Floats, Ints]:
    """Take some columns of each row."""
    return (
        np.take_along_axis(similarities, columns, 1),
        np.take_along_axis(indices, columns, 1),
    )


def _embed(picture: NDArray[Any], task: Task) -> NDArray[np.float32]:
    if task.extractor is None:
        raise UsageError(
            f"the vectors of {task.name} were made elsewhere, so dsc knows no backbone to see a "
            f"picture by; give a vector of {task.channels} numbers, or the key of a sample"
        )
    from dsc._backbones.extract import extract  # brings torch

    return extract(task.extractor, picture)


def _read_picture(path: Path) -> NDArray[Any]:
    """Read a picture from a file, upright and without alpha."""
    pixels = read_pixels(path.read_bytes(), str(path), otherwise="give another picture")
    if pixels.dtype == np.uint16:
        raise UsageError(
            f"{path}: a picture of 16 bits, and what is white in it is not said; save it with 8"
        )
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
