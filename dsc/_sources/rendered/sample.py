"""Procedural indoor views: ``--views N``, for a machine without a dataset.

View i of a seed is the same on every machine of one NumPy and never depends on how many are asked
for. The values are in Taskonomy's encodings, so that every command works on them as on the real
data. Further tasks, which follow from those, are made where they are asked for by name.
`write_sample` writes the same views as files in Taskonomy's layout.
"""

import io
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.classical.png import png_file
from dsc._renderer.render import SCENE_CLASSES, SEMANTIC_CLASSES, render_view
from dsc._schemas import Task, resolve_tasks
from dsc._sources.base import SourceSample, find_task
from dsc._sources.meaning.decode import fit_to_task
from dsc._sources.rendered.further import further_tasks, is_further
from dsc._sources.taskonomy import DOMAINS
from dsc._storage.files.atomic import part_name
from dsc.errors import UsageError

BUILDING = "procedural"
SIZE = 256
LARGEST = 4096


class SampleSource:
    """Procedural views, rendered when read; see `dsc._sources.base.Source`."""

    name: ClassVar[str] = "sample"

    def __init__(
        self, n: int, size: int, seed: int, tasks: Sequence[str] | str | None = None
    ) -> None:
        self._n, self._size, self._seed = n, size, seed
        usual = self._rendered()
        further = further_tasks(tasks, usual, DOMAINS["depth_zbuffer"])
        there = {task.name: task for task in (*usual, *further)}
        self._tasks = {name: there[name] for name in DOMAINS if name in there}

    @classmethod
    def open(
        cls,
        n: int = 100,
        size: int = SIZE,
        seed: int = 0,
        tasks: Sequence[str] | str | None = None,
    ) -> Self:
        """Return `n` views of `size` × `size` pixels.

        Parameters
        ----------
        tasks
            Names or aliases of tasks that are wanted. The usual ones are there in any case, those
            of `FURTHER_TASKS` where they are named here.

        Raises
        ------
        UsageError
            When `n` or `size` is out of range.
        """
        if int(n) < 1:
            raise UsageError(f"--views {n}: at least 1 view, as in --views 24")
        if not 16 <= int(size) <= LARGEST:
            raise UsageError(f"--size {size}: views are 16 to {LARGEST} pixels wide and high")
        return cls(int(n), int(size), int(seed), tasks)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The rendered tasks, in Taskonomy's order."""
        return tuple(self._tasks.values())

    def __len__(self) -> int:
        """Return the number of views."""
        return self._n

    def key(self, index: int) -> str:
        """Return the key of a view."""
        if not 0 <= index < self._n:
            raise IndexError(f"sample {index} of {self._n}")
        return f"point_{index}_view_0"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Render a view; its bytes are those of the files that `write_sample` would write.

        Raises
        ------
        UnknownTaskError
            When a task is not rendered.
        """
        key = self.key(index)
        chosen = [find_task(self._tasks, name) for name in tasks]
        arrays = self._arrays(index, chosen)
        sizes = {name: len(as_file(array)) for name, array in arrays.items()}
        return SourceSample(key, arrays, sizes)

    def describe(self) -> dict[str, Any]:
        """Return the JSON from which `source_from_description` makes the same source again."""
        options: dict[str, Any] = {"n": self._n, "size": self._size, "seed": self._seed}
        further = [task.name for task in self.tasks if is_further(task)]
        if further:
            options["tasks"] = further
        return {"name": self.name, "root": None, "options": options}

    def _rendered(self) -> tuple[Task, ...]:
        return sample_tasks()

    def _view(self, index: int, further: Sequence[str]) -> Mapping[str, NDArray[Any]]:
        return render_view(index, self._size, self._seed, further)

    def _arrays(self, index: int, tasks: Sequence[Task]) -> dict[str, NDArray[Any]]:
        view = self._view(index, [task.name for task in tasks if is_further(task)])
        where = f"rendered view {index}"
        return {task.name: fit_to_task(np.asarray(view[task.name]), task, where) for task in tasks}


def sample_tasks() -> tuple[Task, ...]:
    """Say what is rendered in any case: Taskonomy's domains, with the names of the classes."""
    return (
        DOMAINS["rgb"],
        DOMAINS["depth_zbuffer"],
        DOMAINS["normal"],
        DOMAINS["segment_semantic"].model_copy(
            update={
                "classes": tuple(SEMANTIC_CLASSES),
                "valid_range": (0.0, len(SEMANTIC_CLASSES) - 1.0),
            }
        ),
        DOMAINS["class_scene"].model_copy(
            update={"channels": len(SCENE_CLASSES), "classes": tuple(SCENE_CLASSES)}
        ),
    )


def write_sample(
    root: str | Path,
    n: int,
    size: int = SIZE,
    seed: int = 0,
    workers: int = 1,
    tasks: Sequence[str] | str | None = None,
) -> None:
    """Write `n` views as files ``<domain>/procedural/point_<i>_view_0_domain_<domain>.png``.

    Each file appears whole or not at all; files that are there are written again.

    Parameters
    ----------
    root
        Local directory; made when it is not there.
    workers
        Processes to render in.
    tasks
        Names or aliases of the tasks to write, such as ``rgb,edge_texture``; None for those that
        are rendered in any case, which leaves out `FURTHER_TASKS`.

    Raises
    ------
    UsageError
        When `n` or `size` is out of range.
    UnknownTaskError
        When a task is not rendered.
    """
    source = SampleSource.open(n, size, seed, tasks)
    known = {task.name: task for task in source.tasks}
    chosen = [known[name] for name in resolve_tasks(tasks, list(known))]
    for task in chosen:
        (Path(root) / task.name / BUILDING).mkdir(parents=True, exist_ok=True)
    write = partial(_write_view, source, Path(root), chosen)
    if workers <= 1:
        for index in range(n):
            write(index)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for _ in pool.map(write, range(n), chunksize=4):
            pass


def _write_view(source: SampleSource, root: Path, tasks: Sequence[Task], index: int) -> None:
    for name, array in source._arrays(index, tasks).items():
        suffix = "png" if array.ndim > 1 else "npy"
        path = root / name / BUILDING / f"point_{index}_view_0_domain_{name}.{suffix}"
        part = part_name(path)
        part.write_bytes(as_file(array))
        os.replace(part, path)  # not flushed: they are thousands, and can be rendered again


def as_file(array: NDArray[Any]) -> bytes:
    """Return the file that a data set would keep an array in: a PNG of a map, else .npy."""
    if array.ndim > 1:
        # zlib's usual level, as a dataset's own files have it: a lower one would flatter us
        return png_file(array, 6)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
