"""Which source reads files of these names, where somebody named another one."""

from collections import Counter
from collections.abc import Iterable

HDF5 = (".h5", ".hdf5", ".mat")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".exr")
LIKELY = (
    (HDF5, "hdf5"),
    ((".parquet", ".arrow"), "huggingface"),
    ((".csv", ".tsv", ".jsonl"), "table"),
    ((".tar",), "webdataset"),
    (PICTURES, "folder"),
)


def source_of_file(name: str) -> str | None:
    """Return the source that reads a file of this name; None where none is known."""
    return next((source for ends, source in LIKELY if name.lower().endswith(ends)), None)


def source_of_files(names: Iterable[str]) -> str | None:
    """Return the source that reads files of these names; None where none is known.

    Pictures are not counted where files are there that may speak of them.
    """
    found = Counter(filter(None, map(source_of_file, names)))
    others = {source: count for source, count in found.items() if source != "folder"}
    return max(others or found, key=found.__getitem__, default=None)
