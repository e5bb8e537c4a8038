"""Procedural scenes in the manner of CLEVR: the source ``clevr``, for experiments without data.

It differs from `dsc._sources.rendered.sample` in what is rendered, and in nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray

from dsc._renderer.clevr import CLEVR_CLASSES, render_clevr
from dsc._schemas import Task
from dsc._sources.rendered.sample import SampleSource
from dsc._sources.taskonomy import DOMAINS


class ClevrSource(SampleSource):
    """CLEVR-like views, rendered when read; see `dsc._sources.base.Source`."""

    name: ClassVar[str] = "clevr"

    def key(self, index: int) -> str:
        """Return the key of a view."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return f"clevr_{index:06d}"

    def _rendered(self) -> tuple[Task, ...]:
        """Return Taskonomy's encodings, with the names of the classes."""
        labels = {"classes": CLEVR_CLASSES, "valid_range": (0.0, len(CLEVR_CLASSES) - 1.0)}
        return (
            DOMAINS["rgb"],
            DOMAINS["depth_zbuffer"],
            DOMAINS["normal"],
            DOMAINS["segment_semantic"].model_copy(update=labels),
        )

    def _view(self, index: int, further: Sequence[str]) -> Mapping[str, NDArray[Any]]:
        return render_clevr(index, self._size, self._seed, further)
