"""`CompressedExemplarsBuffer`: a `ReplayBuffer` as the memory of a strategy of Avalanche.

It is an ``ExemplarsBuffer``, for ``ReplayPlugin(mem_size=b.max_size, storage_policy=b)`` and all
that takes one; sizes are bytes. Of an experience it takes the images before the transforms that a
data set applies when it is read, and replays them through the transforms of the newest experience.
Frozen transforms belong to the data: they have been applied to what is kept. Written for Avalanche
0.6.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dsc._replay.avalanche.forms import ImageForm, from_pixels, to_pixels
from dsc._replay.avalanche.transforms import bare, transforms
from dsc._replay.buffer.buffer import ReplayBuffer
from dsc.errors import StateMismatchError, UsageError

try:
    _base: Any = import_module("avalanche.training.storage_policy").ExemplarsBuffer
    _DataAttribute: Any = import_module("avalanche.benchmarks.utils.data_attribute").DataAttribute
    _Groups: Any = import_module("avalanche.benchmarks.utils.transform_groups").TransformGroups
except ImportError as missing:
    raise UsageError(
        f"dsc.replay.avalanche needs Avalanche ({missing}): pip install 'dsc[avalanche]'"
    ) from missing

CHUNK = 512  # images in memory at a time
TARGETS, TASKS = "targets", "targets_task_labels"

Features = Callable[[Any, Any], NDArray[Any]]


class CompressedExemplarsBuffer(_base):  # type: ignore[misc]
    """Keeps the exemplars of a strategy in a `ReplayBuffer`.

    Parameters
    ----------
    memory
        Where exemplars are kept, open for writing; its options say how and which.
    task_labels
        Whether to keep the task label of each exemplar, as its key (3 bytes or more, which count);
        without, all exemplars have label 0, and another one is an error.
    features
        Called with (strategy, data set in evaluation mode) for the features of all its images,
        (N, D), which a memory with the policy ``herding`` needs.
    like
        A data set with the form and transforms of the exemplars. Needed to read a memory that was
        filled by another process before this one has seen data.
    cache
        Bytes of decoded exemplars to keep in RAM, in each process that reads them.

    Attributes
    ----------
    max_size
        The memory's budget in bytes.
    """

    def __init__(
        self,
        memory: ReplayBuffer,
        *,
        task_labels: bool = False,
        features: Features | None = None,
        like: Any = None,
        cache: int | str = 0,
    ) -> None:
        super().__init__(memory.budget)
        self._path, self._cache = memory.path, cache
        self._memory: ReplayBuffer | None = memory
        self._generation = memory.generation
        self._task_labels, self._features = task_labels, features
        self._form: ImageForm | None = None
        self._empty_like: Any = None
        self._shown: Any = None
        if like is not None:
            self._learn_form(like, [bare(like)[0][0]])

    @property
    def memory(self) -> ReplayBuffer:
        """The buffer; in another process than it was made in, its file is opened for writing.

        Raises
        ------
        StateMismatchError
            When the file has been written to since this object was saved.
        """
        if self._memory is None:
            self._memory = ReplayBuffer(self._path)
            self._check_generation(self._memory)
        return self._memory

    @property
    def buffer(self) -> Any:
        """The exemplars, an ``AvalancheDataset`` that stays as it is when the memory is updated."""
        if self._shown is None:
            self._shown = self._dataset()
        return self._shown

    def post_adapt(self, agent: Any, exp: Any) -> None:
        """Offer the images of an experience to the memory."""
        self.update_from_dataset(exp.dataset, agent)

    def update(self, strategy: Any, **kwargs: Any) -> None:
        """Offer the images of the strategy's experience; what plugins call."""
        self.post_adapt(strategy, strategy.experience)

    def update_from_dataset(self, new_data: Any, strategy: Any = None) -> None:
        """Offer the images of a data set; all or, on an error, none.

        Parameters
        ----------
        new_data
            An ``AvalancheDataset`` with ``targets``.
        strategy
            What `features` is called with.

        Raises
        ------
        UsageError
            When an image is not 8 bits deep or not of the form of the others, or the data set has
            what would be lost.
        """
        if not len(new_data):
            return
        labels = np.array([int(label) for label in new_data.targets], np.int64)
        keys, images = self._keys(new_data), bare(new_data)
        features = None
        if self._features is not None:
            features = np.asarray(self._features(strategy, new_data.eval()))
        chunk = CHUNK if features is None else len(labels)  # a policy sees them together
        memory = self.memory
        with memory.transaction():
            for start in range(0, len(labels), chunk):
                part = slice(start, min(start + chunk, len(labels)))
                pixels = self._learn_form(new_data, [images[at][0] for at in _range(part)])
                memory.add(
                    pixels,
                    labels[part],
                    keys=None if keys is None else keys[part],
                    features=features,
                )
        self._generation, self._shown = memory.generation, None

    def resize(self, strategy: Any, new_size: int) -> None:
        """Change the budget, in bytes; for a smaller one the memory's policy chooses what goes."""
        self.memory.resize(new_size)
        self.max_size, self._shown = self.memory.budget, None
        self._generation = self.memory.generation

    def _keys(self, new_data: Any) -> list[str] | None:
        """Return the task labels as keys; check that nothing else would be lost."""
        names = [one.name for one in new_data._data_attributes.values() if one.use_in_getitem]
        lost = [name for name in names if name not in (TARGETS, TASKS)]
        if lost:
            raise UsageError(
                f"samples with {', '.join(lost)}: only images, classes and task labels are kept; "
                "remove the attribute from the data set"
            )
        tasks = [int(task) for task in getattr(new_data, TASKS, ())]
        if self._task_labels:
            return [str(task) for task in tasks or [0] * len(new_data)]
        if any(tasks):
            raise UsageError(
                f"task label {max(tasks)}: give CompressedExemplarsBuffer(..., task_labels=True) "
                "to keep task labels"
            )
        return None

    def _learn_form(self, like: Any, images: Sequence[Any]) -> list[NDArray[np.uint8]]:
        """Take form and transforms of a data set; return images as pixels."""
        found = [to_pixels(image) for image in images]
        form = self._form or found[0][1]
        for _, other in found:
            if other != form:
                raise UsageError(f"a {other} among exemplars that are each a {form}")
        self._form = form
        self._empty_like = (type(like), like.collate_fn, hasattr(like, TASKS), transforms(like))
        return [pixels for pixels, _ in found]

    def _dataset(self) -> Any:
        reader = ReplayBuffer.open(self._path, cache=self._cache)
        self._check_generation(reader)
        if self._form is None:
            if not len(reader):
                return self._buffer  # what Avalanche's own buffers begin with
            raise UsageError(
                f"{self._path} holds exemplars, and how they are to be shown is not known before "
                "the first experience; give like=, a data set with the same transforms"
            )
        kind, collate_fn, has_tasks, groups = self._empty_like
        exemplars = _Exemplars(reader, self._form)
        attributes = [_DataAttribute(exemplars.targets, TARGETS)]
        if has_tasks:
            tasks = [int(key or 0) for key in reader.keys]
            attributes.append(_DataAttribute(tasks, TASKS, use_in_getitem=True))
        return kind(
            [exemplars],
            data_attributes=attributes,
            transform_groups=_Groups(groups),
            collate_fn=collate_fn,
        )

    def _check_generation(self, memory: ReplayBuffer) -> None:
        if memory.generation != self._generation:
            raise StateMismatchError(
                f"{memory.path}: update {memory.generation}, and this object was saved after "
                f"update {self._generation}; put back the file that was there then"
            )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_memory": None, "_shown": None}


class _Exemplars(Dataset[tuple[Any, int]]):
    """The exemplars of a memory in their form, with their labels; no transforms."""

    def __init__(self, reader: ReplayBuffer, form: ImageForm) -> None:
        self._reader, self._form = reader, form
        self.targets = reader.targets.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        pixels, label = self._reader[int(index)]
        return from_pixels(pixels, self._form), label


def _range(part: slice) -> range:
    return range(part.start, part.stop)
