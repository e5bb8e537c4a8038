"""The official labelled NYU Depth v2 ``.mat`` (MATLAB 7.3, which is HDF5).

Its datasets have MATLAB's axes, reversed: images (N, 3, W, H) uint8, depths (N, W, H) float32 in
metres, labels (N, W, H) uint16 with 0 for unlabelled.

Depth becomes 16-bit counts of 1/1000 m, 0 where there is none: the Kinect's own unit, exact to half
a millimetre, far below its error (about 1.5 mm at 1 m, growing with the square of the distance),
and a step that every depth codec and viewer knows. `depth_unit` chooses another.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc._files.tree import FileTree
from dsc._schemas import LeftOut, Origin, SourceReport, Task, TaskKind, TaskReport
from dsc._sources.base import SourceSample, find_task
from dsc._sources.hdf5.reading import OpenFiles
from dsc._sources.meaning.decode import check_sizes, fit_to_task, map_sizes
from dsc._sources.meaning.options import TaskOptions, wanted_tasks
from dsc._sources.nyuv2.frames import frame_key, frame_unit_m, read_split
from dsc._sources.report import fingerprint
from dsc.errors import SampleError, UsageError

DEPTH_UNIT_M = 1 / 1000
NO_FRAMES = ("names", "namesToIds", "#refs#", "#subsystem#")  # of which the names are read
DATASETS = {"rgb": "images", "depth": "depths", "label": "labels"}


class NyuV2MatSource:
    """The frames of a ``.mat``, opened; see `dsc._sources.base.Source`."""

    name: ClassVar[str] = "nyuv2"

    def __init__(
        self,
        tree: FileTree,
        path: str,
        frames: NDArray[np.int64],
        tasks: Sequence[Task],
        options: dict[str, Any],
        left_out: Sequence[LeftOut] = (),
    ) -> None:
        self._files = OpenFiles(tree)
        self._path = path
        self._frames = frames
        self._tasks = {task.name: task for task in tasks}
        self._options = options
        self._left_out = tuple(left_out)

    @classmethod
    def open_mat(
        cls, tree: FileTree, path: str, split: str, depth_unit: object, options: TaskOptions
    ) -> Self:
        """Look at the datasets of the file at `path` below `tree`.

        Raises
        ------
        UsageError
            When there are no such datasets, their shapes differ from the official ones, or the
            split is not listed beside the file.
        """
        where = tree.where(path)
        unit_m = frame_unit_m(depth_unit)
        files = OpenFiles(tree)
        try:
            content = files.get(path)
        except SampleError as error:
            raise UsageError(str(error)) from None
        found = [task for task, dataset in DATASETS.items() if dataset in content]
        wanted = wanted_tasks(options, found)
        tasks = [_task(task, content, unit_m, where) for task in found if task in wanted]
        counts = {len(content[DATASETS[task.name]]) for task in tasks}
        if len(counts) != 1:
            raise UsageError(
                f"{where}: expected datasets {', '.join(DATASETS.values())} of one length, found "
                f"{', '.join(content) or 'none'}; is this nyu_depth_v2_labeled.mat?"
            )
        frames = np.arange(counts.pop())
        if split != "all":
            frames = frames[np.isin(frames, read_split(tree, split))]
        given = {"split": split} | ({"depth_unit": unit_m} if unit_m else {})
        left_out = [
            LeftOut(what=f"{path}: {name}", reason="no dataset of frames that is read")
            for name in content
            if name not in DATASETS.values() and name not in NO_FRAMES
        ]
        left_out += [
            LeftOut(what=f"task {name}", files=len(frames), reason="not in --tasks")
            for name in found
            if name not in wanted
        ]
        return cls(tree, path, frames, tasks, given | options.to_json(), left_out)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task found."""
        return tuple(self._tasks.values())

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._frames)

    def key(self, index: int) -> str:
        """Return the key of a frame: its number from 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return frame_key(int(self._frames[index]))

    def origin(self, index: int) -> Origin:
        """Name a frame's row."""
        return Origin(name=f"{self._path}#{int(self._frames[index])}")

    def report(self) -> SourceReport:
        """Say what was found and left out."""
        why = "the official file's"
        tasks = {name: TaskReport(samples=len(self), why=why) for name in self._tasks}
        return SourceReport(
            samples=len(self), complete=len(self), tasks=tasks, left_out=self._left_out
        )

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read these tasks of one frame; its bytes are those of the raw arrays in the file.

        Raises
        ------
        UnknownTaskError
            When the file has no such task.
        SampleError
            When the file is damaged.
        """
        key, arrays, sizes = self.key(index), {}, {}
        for name in tasks:
            task, where = find_task(self._tasks, name), f"sample {key}"
            row = int(self._frames[index])
            raw = self._files.row(self._path, DATASETS[name], row, where)
            arrays[name] = fit_to_task(raw.T, task, where)
            sizes[name] = raw.nbytes
        check_sizes(key, map_sizes(arrays, self._tasks))
        return SourceSample(key, arrays, sizes)

    def describe(self) -> dict[str, Any]:
        """Return the JSON from which `source_from_description` makes the same source again."""
        frames = hashlib.sha256(self._frames.astype("<i8").tobytes()).hexdigest()
        return {
            "name": self.name,
            "root": self._files.tree.where(self._path),
            "options": self._options,
            "fingerprint": fingerprint(self.tasks, frames),
        }


def _task(name: str, content: Any, unit_m: float | None, where: str) -> Task:
    dataset = content[DATASETS[name]]
    official = {"rgb": ("uint8", 4), "depth": ("float32", 3), "label": ("uint16", 3)}
    if (dataset.dtype.name, dataset.ndim) != official[name]:
        raise UsageError(
            f"{where}: {DATASETS[name]} is {dataset.dtype.name} of shape {dataset.shape}; the "
            "official file has images uint8 (N, 3, W, H), depths float32 (N, W, H), labels uint16 "
            "(N, W, H); other files are read as hdf5: dsc compress hdf5"
        )
    if name == "rgb":
        return Task(name=name, kind=TaskKind.IMAGE, dtype="uint8", channels=3, valid_range=(0, 255))
    if name == "depth":
        return Task(
            name=name,
            kind=TaskKind.DEPTH,
            dtype="uint16",
            unit_m=unit_m or DEPTH_UNIT_M,
            valid_range=(1, 65535),
            invalid=(0,),
        )
    classes = _class_names(content)
    top = len(classes) - 1 if classes else 65535
    return Task(
        name=name, kind=TaskKind.LABEL, dtype="uint16", valid_range=(0, top), classes=classes
    )


def _class_names(content: Any) -> tuple[str, ...]:
    """Read MATLAB's cell array of names; class 0 is what was left unlabelled."""
    if "names" not in content:
        return ()
    cells = (content[reference][()] for reference in np.ravel(content["names"][()]))
    return ("unlabelled", *(bytes(cell.astype("<u2")).decode("utf-16-le") for cell in cells))
