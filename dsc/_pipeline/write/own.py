"""The samples of an archive as a source: what it decodes is what a new task is computed of."""

from collections.abc import Sequence
from typing import Any, ClassVar

from dsc._pipeline.read.dataset import Dataset
from dsc._schemas import SequencePlace, Task
from dsc._sources.base import SourceSample
from dsc._storage.read.archive import Archive


class OwnSamples:
    """What an archive decodes; see `dsc._sources.base.Source`."""

    name: ClassVar[str] = "archive"

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._dataset: Dataset | None = None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The archive's tasks."""
        return self._archive.manifest.tasks

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._archive)

    def key(self, index: int) -> str:
        """Return the key of a sample."""
        return self._archive.key(index)

    def place(self, index: int) -> SequencePlace | None:
        """Say where a sample stands in a recording."""
        return self._archive.place(index)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Decode these tasks of one sample; see `Source.read`."""
        if self._dataset is None or [task.name for task in self._dataset.tasks] != list(tasks):
            self._dataset = Dataset(self._archive, list(tasks), native=True)
        sample = self._dataset[index]
        arrays = {name: sample[name] for name in tasks if sample[name] is not None}
        sizes = {name: array.nbytes for name, array in arrays.items()}
        return SourceSample(self.key(index), arrays, sizes)

    def describe(self) -> dict[str, Any]:
        """Describe the archive by the hash of its manifest; see `Source.describe`."""
        fingerprint = self._archive.manifest.sha256
        return {"name": self.name, "root": None, "options": {}, "fingerprint": fingerprint}
