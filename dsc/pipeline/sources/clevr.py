"""Procedural scenes in the manner of CLEVR: the source ``clevr``, for experiments without data.

View i of a seed is the same on every machine of one NumPy and never depends on how many are asked
for.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from dsc.errors import UsageError
from dsc.pipeline.sources.base import SourceSample
from dsc.pipeline.sources.decode import fit_to_task
from dsc.pipeline.sources.file_source import task_of
from dsc.pipeline.sources.render_clevr import CLEVR_CLASSES, render_clevr
from dsc.pipeline.sources.taskonomy import DOMAINS
from dsc.schemas import Task

SIZE = 256
LARGEST = 4096


class ClevrSource:
    """CLEVR-like views, rendered when read; see `dsc.pipeline.sources.base.Source`."""

    name: ClassVar[str] = "clevr"

    def __init__(self, n: int, size: int, seed: int) -> None:
        self._n, self._size, self._seed = n, size, seed
        self._tasks = {task.name: task for task in clevr_tasks()}

    @classmethod
    def open(cls, n: int = 100, size: int = SIZE, seed: int = 0) -> Self:
        """Give `n` views of `size` × `size` pixels.

        Raises
        ------
        UsageError
            When `n` or `size` is out of range.
        """
        if int(n) < 1:
            raise UsageError(f"n={n}: at least 1 view")
        if not 16 <= int(size) <= LARGEST:
            raise UsageError(f"size={size}: views are 16 to {LARGEST} pixels wide and high")
        return cls(int(n), int(size), int(seed))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The rendered tasks."""
        return tuple(self._tasks.values())

    def __len__(self) -> int:
        """Give the number of views."""
        return self._n

    def key(self, index: int) -> str:
        """Give the key of a view."""
        if not 0 <= index < self._n:
            raise IndexError(f"sample {index} of {self._n}")
        return f"clevr_{index:06d}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Render a view; its source bytes are those of PNG files at zlib's usual level.

        Raises
        ------
        UnknownTaskError
            When a task is not rendered.
        """
        key = self.key(index)
        chosen = [task_of(self._tasks, name) for name in tasks]
        view = render_clevr(index, size=self._size, seed=self._seed)
        arrays = {
            task.name: fit_to_task(view[task.name], task, f"rendered view {index}")
            for task in chosen
        }
        return SourceSample(key, arrays, {name: _png_bytes(a) for name, a in arrays.items()})

    def describe(self) -> dict[str, Any]:
        """Give the JSON from which `source_from_description` makes the same source again."""
        options = {"n": self._n, "size": self._size, "seed": self._seed}
        return {"name": self.name, "root": None, "options": options}


def clevr_tasks() -> tuple[Task, ...]:
    """Say what is rendered: Taskonomy's encodings, with the names of the classes."""
    labels = {"classes": CLEVR_CLASSES, "valid_range": (0.0, len(CLEVR_CLASSES) - 1.0)}
    return (
        DOMAINS["rgb"],
        DOMAINS["depth_zbuffer"],
        DOMAINS["normal"],
        DOMAINS["segment_semantic"].model_copy(update=labels),
    )


def _png_bytes(array: "np.ndarray[Any, Any]") -> int:
    import imagecodecs

    return len(imagecodecs.png_encode(array, level=6))
