"""Features on disk, by the hash of the picture that they were computed from.

One directory for each `Extractor`, named after it and its hash, so features of other weights are
never met with. What is added together is one file: NumPy's format, an array of records (the
picture's hash, its features), named by the hash of its bytes, and written whole or not at all. Any
number of processes may add; what two computed twice lies there twice, and is the same. The
directory may be removed at any time: what is missing is computed again.
"""

import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsc._replay.learners.views.base import Rows
from dsc._replay.scenario.images import Images
from dsc._schemas.extractor import Extractor
from dsc._storage.files.atomic import atomic_write
from dsc.errors import CorruptArchiveError

KEY_BYTES = 16
NAME_DIGITS = 32


def picture_key(image: Images) -> bytes:
    """Hash a picture (H, W, 3) uint8: its size and its pixels."""
    digest = hashlib.sha256(f"{image.shape[0]} {image.shape[1]} ".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()[:KEY_BYTES]


class FeatureStore:
    """The features that one extractor has computed.

    Parameters
    ----------
    folder
        Where the directories of all extractors lie.
    extractor
        What computes the features.
    shape, dtype
        Of the features of a picture.
    """

    def __init__(
        self,
        folder: Path,
        extractor: Extractor,
        shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
    ) -> None:
        self.folder = folder / _directory(extractor)
        self._record = np.dtype([("key", f"V{KEY_BYTES}"), ("value", dtype, shape)])
        self._files: dict[str, NDArray[np.void]] = {}
        self._places: dict[bytes, tuple[str, int]] = {}

    def read(self, keys: Sequence[bytes], rows: Rows) -> list[int]:
        """Fill `rows` (N, *shape) with the features of `keys`; return the positions not filled.

        Raises
        ------
        CorruptArchiveError
            When a file is damaged.
        """
        if not all(key in self._places for key in keys):
            self._look_for_files()
        missing = []
        for at, key in enumerate(keys):
            if key in self._places:
                name, row = self._places[key]
                rows[at] = self._files[name]["value"][row]
            else:
                missing.append(at)
        return missing

    def add(self, keys: Sequence[bytes], values: Rows) -> None:
        """Keep the features (N, *shape) of pictures."""
        records = np.empty(len(keys), self._record)
        records["key"] = np.frombuffer(b"".join(keys), f"V{KEY_BYTES}")
        records["value"] = values
        file = io.BytesIO()
        np.save(file, records, allow_pickle=False)
        data = file.getvalue()
        atomic_write(self.folder / f"{hashlib.sha256(data).hexdigest()[:NAME_DIGITS]}.npy", data)

    def _look_for_files(self) -> None:
        """Open the files that came since."""
        for path in sorted(self.folder.glob("*.npy")):
            if path.name not in self._files:
                records = self._open(path)
                self._files[path.name] = records
                for row, key in enumerate(records["key"].tolist()):
                    self._places[key] = path.name, row

    def _open(self, path: Path) -> NDArray[np.void]:
        """Map a file into memory, after its bytes were held against its name."""
        with path.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest()[:NAME_DIGITS] == path.stem
        if whole:
            found: NDArray[np.void] = np.load(path, mmap_mode="r")
            if found.dtype == self._record:
                return found
        raise CorruptArchiveError(
            f"{path}: damaged, or no features of {self.folder.name}; remove it, and they are "
            "computed again"
        )


def _directory(extractor: Extractor) -> str:
    """Name an extractor: ``efficientnet-lite0-embedding-128-1a2b3c4d5e6f7a8b``."""
    sha256 = hashlib.sha256(extractor.to_json().encode()).hexdigest()
    words = (extractor.backbone, extractor.layer, extractor.preprocessing.side, sha256[:16])
    return re.sub(r"[^\w.-]", "_", "-".join(map(str, words)))
