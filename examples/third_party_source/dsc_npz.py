"""The source ``npz``: a directory of ``.npz`` files, one a sample.

``rgb`` (H, W, 3) and ``depth`` (H, W) are maps; depth is uint16, in counts of `depth_unit` metres,
and 0 means that nothing was measured. What stands beside the pixels may be missing: ``caption``, a
text; ``pose``, 4×4; ``meta``, the text of a JSON object.
"""

import hashlib
import zipfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from dsc.errors import SampleError, SourceNotFoundError, UnknownTaskError, UsageError
from dsc.schemas import Task, TaskKind
from dsc.sources import SourceSample

KEY_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class NpzSource:
    """The samples of a directory; see `dsc.sources.Source` for what each member must do."""

    name: ClassVar[str] = "npz"

    def __init__(self, root: Path, paths: Sequence[Path], unit_m: float) -> None:
        self._root, self._paths, self._unit_m = root, tuple(paths), unit_m

    @classmethod
    def open(cls, root: str, depth_unit: float | str = 0.001) -> Self:
        """List the files below `root`; none is read.

        Parameters
        ----------
        root
            A local directory.
        depth_unit
            Metres a count of depth, also as ``1/512``: the command line passes text on.
        """
        paths = sorted(Path(root).glob("*.npz"))
        if not paths:
            raise SourceNotFoundError(f"npz: no .npz file in {root}")
        for path in paths:
            if not 0 < len(path.stem) <= 80 or not KEY_LETTERS.issuperset(path.stem):
                raise UsageError(f"{path}: its name is the key: letters, digits, _ and - only")
        return cls(Path(root), paths, float(Fraction(str(depth_unit))))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task there is."""
        return (
            Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3, valid_range=(0, 255)),
            Task(
                name="depth",
                kind=TaskKind.DEPTH,
                dtype="uint16",
                unit_m=self._unit_m,
                valid_range=(1, 65535),
                invalid=(0,),
            ),
            Task(name="caption", kind=TaskKind.TEXT, dtype="uint8"),
            Task(name="pose", kind=TaskKind.MATRIX, dtype="float64", shape=(4, 4)),
            Task(name="meta", kind=TaskKind.JSON, dtype="uint8"),
        )

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._paths)

    def key(self, index: int) -> str:
        """Return the key of a sample: its file's name."""
        return self._paths[index].stem

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read these tasks of one sample; one that its file lacks is left out.

        Maps are native arrays. Everything else may be what people have: a str, what JSON holds,
        bytes, a number, lists; dsc makes native arrays of them, or says which sample is wrong.
        """
        path, known = self._paths[index], {task.name: task for task in self.tasks}
        if unknown := [name for name in tasks if name not in known]:
            raise UnknownTaskError(f"no task {unknown[0]!r} here; found: {', '.join(known)}")
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: np.ascontiguousarray(file[name]) for name in tasks if name in file}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            raise SampleError(f"{path}: not a whole .npz file; copy it again") from None
        maps = {name: array for name, array in found.items() if known[name].is_map}
        for name, array in maps.items():
            if array.dtype.name != known[name].dtype:
                raise SampleError(f"{path}: {name} is {array.dtype}, not {known[name].dtype}")
        if len({array.shape[:2] for array in maps.values()}) > 1:
            raise SampleError(f"{path}: its arrays differ in height and width")
        beside = {name: array for name, array in found.items() if name not in maps}
        values = {name: array if name == "pose" else _text(array) for name, array in beside.items()}
        if "meta" in values:
            values["meta"] = values["meta"].encode()  # JSON as it stands; a dict would do, too
        sizes = {name: array.nbytes for name, array in found.items()}
        return SourceSample(self.key(index), {**maps, **values}, sizes)

    def describe(self) -> dict[str, Any]:
        """Return the JSON from which `open` makes the same source again."""
        listed = repr([(path.name, path.stat().st_size) for path in self._paths])
        return {
            "name": self.name,
            "root": str(self._root),
            "options": {"depth_unit": self._unit_m},
            "fingerprint": hashlib.sha256(listed.encode()).hexdigest(),
        }


def _text(array: np.ndarray) -> str:
    """Return the text that `np.savez(..., caption="a room")` keeps as an array."""
    return str(array.item() if array.ndim == 0 else array[0])
