"""Samples of another source, some of them or in another order; all that is said of them is its own.

What wraps a source must pass every ability on, or the samples lose in silence what the source
knows; so it is done here once.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Origin, SequencePlace, Task
from dsc._schemas.coded_frame import CodedFrame
from dsc._sources.base import Source, SourceSample, coded_of, lacks_of, origin_of, place_of


class ReindexedSource:
    """Some samples of a source, in some order; a subclass has `name` and `describe`.

    Parameters
    ----------
    source
        The samples.
    indices
        Which of them, in order, int64.
    """

    def __init__(self, source: Source, indices: NDArray[np.int64]) -> None:
        self._source, self._indices = source, indices

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The source's tasks."""
        return self._source.tasks

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._indices)

    def key(self, index: int) -> str:
        """Return the key of a sample without reading it."""
        return self._source.key(self._at(index))

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read these tasks of one sample; see `Source.read`."""
        return self._source.read(self._at(index), tasks)

    def origin(self, index: int) -> Origin | None:
        """Say where a sample lies, as far as the source knows."""
        return origin_of(self._source, self._at(index))

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        """List which of these tasks a sample lacks, as far as the source knows."""
        return lacks_of(self._source, self._at(index), tasks)

    def place(self, index: int) -> SequencePlace | None:
        """Say where a sample stands in a recording, as far as the source knows."""
        return place_of(self._source, self._at(index))

    def coded(self, index: int, task: str) -> CodedFrame | None:
        """Return a frame as its video has it; see `dsc._sources.base.CodedSource`."""
        return coded_of(self._source, self._at(index), task)

    def _at(self, index: int) -> int:
        """Return the index in the source."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return int(self._indices[index])
