"""What is inside one HDF5 file: every dataset with its shape and type, without reading its values.

Links are looked at before they are followed, and a dataset's storage before its extent: where h5py
reads through a file object, HDF5 would open the files that a virtual dataset or an external link
names through the same object, and crash.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsc._sources.meaning.decide import KINDS, Stated

SNIFFED = 16
IMAGE_HEADS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n", b"RIFF", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cJXL ",
    b"v/1\x01", b"\x93NUMPY",
)  # fmt: skip
INTERNAL = ("#refs#", "#subsystem#")  # where MATLAB keeps what its cell arrays and objects hold


NO_NUMBERS = ("char", "cell", "function_handle", "string", "table", "datetime", "categorical")
PACKED = ("scale_factor", "add_offset")  # of netCDF
READ = ("kind", "unit_m", "invalid", "classes", "MATLAB_class", "MATLAB_empty", *PACKED)
UNSTATED = Stated()


@dataclass(frozen=True)
class DatasetItem:
    """One dataset of a file.

    Attributes
    ----------
    path
        Names of its groups and itself with ``/`` between.
    shape
        As stored; MATLAB's axes are the other way round.
    dtype
        NumPy name, in the machine's byte order.
    files
        ``elements`` where each is an image file, ``axis`` where the bytes along the last axis are.
    matlab
        Whether MATLAB wrote it.
    elsewhere
        Whether its values lie in other files: a virtual dataset, raw data, an external link.
    no_task
        Why it can be no task; empty where it can.
    problem
        Why it cannot be read, though it may be a task; empty where it can.
    stated
        What its attributes say.
    """

    path: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    files: str = ""
    matlab: bool = False
    elsewhere: bool = False
    no_task: str = ""
    problem: str = ""
    stated: Stated = UNSTATED

    @property
    def whole(self) -> tuple[int, ...]:
        """Shape of all of it as one array, with MATLAB's axes restored."""
        return self.shape[::-1] if self.matlab else self.shape

    @property
    def row(self) -> tuple[int, ...]:
        """Shape of one row of the first stored axis, with MATLAB's axes restored."""
        return self.shape[:0:-1] if self.matlab else self.shape[1:]


def list_datasets(file: Any, local: bool) -> tuple[DatasetItem, ...]:
    """List everything in an open `h5py.File`, in the order of names; soft links come last.

    `local` says that HDF5 opened the file itself, so that links to other files can be followed.
    """
    import h5py

    seen = {(file.filename, h5py.h5o.get_info(file.id).addr): ""}
    return tuple(_walk(file, "", seen, local, file.filename, file.filename))


def _walk(
    group: Any, prefix: str, seen: dict[Any, str], local: bool, file: str, root: str
) -> Iterator[DatasetItem]:
    """List a group of `file`, which is not the file `root` behind a link into another one."""
    import h5py

    links = {name: _link(group, name) for name in group}
    for name in sorted(links, key=lambda name: isinstance(links[name], h5py.SoftLink)):
        path = f"{prefix}{text_of(name)}"
        if name in INTERNAL and not prefix:
            yield DatasetItem(path, no_task="MATLAB's own, which cell arrays refer to")
            continue
        item = _follow(group, name, links[name], local)
        if isinstance(item, str):
            yield DatasetItem(path, problem=item, elsewhere=True)
            continue
        if isinstance(item, h5py.Datatype):
            yield DatasetItem(path, no_task="a named type, no values")
            continue
        own = file if isinstance(links[name], h5py.HardLink) else item.file.filename
        known = seen.setdefault((own, h5py.h5o.get_info(item.id).addr), path)
        if known != path:
            yield DatasetItem(path, no_task=f"another name of /{known}")
        elif isinstance(item, h5py.Dataset):
            yield _item(item, path, own != root, local)
        elif _is_sparse(item):
            yield DatasetItem(path, no_task="a sparse matrix of MATLAB")
        else:
            yield from _walk(item, f"{path}/", seen, local, own, root)


def _link(group: Any, name: str) -> Any:
    try:
        return group.get(name, getlink=True)
    except (TypeError, KeyError, OSError, ValueError):
        return None


def _follow(group: Any, name: str, link: Any, local: bool) -> Any:
    """Open what a link leads to, or say why it cannot be opened."""
    import h5py

    if link is None:
        return "its name is not UTF-8, or it is a link of a kind that is not followed: rename it"
    if isinstance(link, h5py.ExternalLink) and not local:
        return (
            f"a link into another file ({link.filename}), which is followed in local files only: "
            "copy both to a local directory"
        )
    try:
        if not local and isinstance(link, h5py.SoftLink):
            h5py.h5o.open(group.id, name.encode(), _one_link())
        return group[name]
    except (KeyError, OSError, RuntimeError) as error:
        if isinstance(link, h5py.ExternalLink):
            return f"its link leads to {link.path} of {link.filename}, which cannot be opened"
        if isinstance(link, h5py.SoftLink):
            beside = "" if local else ", or lies behind another link"
            return f"its link leads to {link.path}, which is not there{beside}"
        return f"cannot be opened ({error})"


def _one_link() -> Any:
    """Allow a soft link, and no link into another file behind it."""
    import h5py

    access = h5py.h5p.create(h5py.h5p.LINK_ACCESS)
    access.set_nlinks(1)
    return access


def _item(dataset: Any, path: str, external: bool, local: bool) -> DatasetItem:
    import h5py

    creation = dataset.id.get_create_plist()
    virtual = creation.get_layout() == h5py.h5d.VIRTUAL
    elsewhere = virtual or creation.get_external_count() > 0 or external
    if elsewhere and not local:  # before its extent, which lies in the other files, is asked for
        what = "a virtual dataset" if virtual else "its values lie in other files"
        problem = f"{what}, which is read from local files only: copy all of its files together"
        return DatasetItem(path, elsewhere=True, problem=problem)
    attributes = dataset.attrs
    known = {name: attributes[name] for name in READ if name in attributes} if attributes else {}
    try:
        dtype, shape = dataset.dtype, dataset.shape
    except (TypeError, ValueError) as error:
        return DatasetItem(path, no_task=f"a type that NumPy has not ({error})")
    base, more = dtype.subdtype or (dtype, ())
    files = _bytes_held(dataset, base, shape) or ""
    no_task = _no_numbers(base, shape, known, virtual, bool(files))
    if no_task:
        return DatasetItem(path, shape or (), no_task=no_task)
    problem = missing_filter(creation)
    if 0 in shape:
        problem = "a virtual dataset none of whose parts is found"
    try:
        stated = _stated(known, base) if known or base.metadata else UNSTATED
    except (TypeError, ValueError) as error:
        problem, stated = f"its attributes cannot be understood ({error})", UNSTATED
    return DatasetItem(
        path,
        (*shape, *more),
        "uint8" if files else "bool" if is_logical(known) else base.newbyteorder("=").name,
        files=files,
        matlab="MATLAB_class" in known,
        elsewhere=elsewhere,
        problem=problem,
        stated=stated,
    )


def _no_numbers(base: Any, shape: Any, known: Mapping[str, Any], virtual: bool, files: bool) -> str:
    """Say why a dataset can be no task; empty where it can."""
    if shape is None or "MATLAB_empty" in known or (0 in shape and not virtual):
        return "empty"
    matlab = text_of(known.get("MATLAB_class", ""))
    if matlab in NO_NUMBERS:
        return f"a {matlab} array of MATLAB"
    return "" if base.kind in "uifb" or files else _why_no_numbers(base)


def is_logical(attributes: Mapping[str, Any]) -> bool:
    """Tell whether MATLAB says that 8-bit numbers are truth values."""
    return text_of(attributes.get("MATLAB_class", "")) == "logical"


def _is_sparse(group: Any) -> bool:
    return len(group.attrs) > 0 and "MATLAB_sparse" in group.attrs


def bytes_held(dataset: Any) -> str | None:
    """Tell where bytes are image files, see `DatasetItem.files`; None where they are other data."""
    dtype = dataset.dtype
    return _bytes_held(dataset, dtype.subdtype[0] if dtype.subdtype else dtype, dataset.shape)


def _bytes_held(dataset: Any, base: Any, shape: Any) -> str | None:
    import h5py

    if shape is None or 0 in shape or (base.kind in "uifb" and base != np.uint8):
        return None
    text = h5py.check_string_dtype(base)
    lengths = h5py.check_vlen_dtype(base) if text is None else None
    if text is not None and text.length is None:
        return None
    loose = lengths is not None and np.dtype(lengths).kind in "ui" and lengths.itemsize == 1
    fixed = base.kind in "SV" and base.names is None and base.itemsize >= SNIFFED
    rows = base == np.uint8 and len(shape) in (1, 2) and shape[-1] >= SNIFFED
    if not (loose or fixed or rows):
        return None
    try:
        heads = _rows_heads(dataset) if rows else _heads(dataset)
        found = all(head.startswith(IMAGE_HEADS) for head in heads) and bool(heads)
    except (OSError, ValueError, TypeError):
        found = loose  # the filter that is missing is said elsewhere
    return ("axis" if rows else "elements") if found else None


def _rows_heads(dataset: Any) -> list[bytes]:
    """Return the first bytes of one row, or of the first and the last one."""
    if dataset.ndim == 1:
        return [dataset[:SNIFFED].tobytes()]
    return [dataset[row, :SNIFFED].tobytes() for row in (0, dataset.shape[0] - 1)]


def _heads(dataset: Any) -> list[bytes]:
    """Return the first bytes of some elements that have any."""
    places = range(min(3, dataset.shape[0])) if dataset.ndim else [()]
    return [head for place in places if (head := as_bytes(dataset[place])[:SNIFFED])]


def as_bytes(element: Any) -> bytes:
    """Return the bytes of an element that holds an image file; the filling at its end is cut off.

    Only files of JPEG and PNG end with a byte that is not 0, so that others keep the filling.
    """
    data = element if isinstance(element, bytes) else np.asarray(element).tobytes()
    return data.rstrip(b"\0") if data.startswith((b"\xff\xd8\xff", b"\x89PNG")) else data


def _why_no_numbers(dtype: Any) -> str:
    import h5py

    if h5py.check_string_dtype(dtype) is not None:
        return "text"
    if h5py.check_ref_dtype(dtype) is not None:
        return "references to other datasets"
    if h5py.check_vlen_dtype(dtype) is not None:
        return "rows of different lengths"
    if dtype.names is not None:
        return f"a table of {', '.join(dtype.names[:4])}"
    return "complex numbers" if dtype.kind == "c" else f"values of type {dtype}"


def _stated(attributes: Mapping[str, Any], dtype: Any) -> Stated:
    """Read what attributes say; names of an enumeration that counts from 0 are those of classes."""
    import h5py

    scale, offset = (
        float(np.ravel(attributes.get(name, n))[0]) for name, n in zip(PACKED, (1, 0), strict=True)
    )
    if (scale, offset) != (1, 0):
        raise ValueError(f"values are packed: times {scale:g} plus {offset:g}; write them unpacked")
    kind = text_of(attributes["kind"]) if "kind" in attributes else None
    if kind not in (None, *KINDS):
        raise ValueError(f"kind {kind}; known are {', '.join(KINDS)}")
    invalid = None
    if "invalid" in attributes:
        invalid = tuple(int(value) for value in np.ravel(attributes["invalid"]))
    names = h5py.check_enum_dtype(dtype) if dtype.kind in "ui" else None
    classes = tuple(text_of(word) for word in np.ravel(attributes.get("classes", ())))
    if names and not classes and sorted(names.values()) == list(range(len(names))):
        classes = tuple(sorted(names, key=names.__getitem__))
        kind = kind or "label"
    return Stated(
        kind=kind,
        unit_m=float(attributes["unit_m"]) if "unit_m" in attributes else None,
        invalid=invalid,
        classes=classes,
    )


def text_of(value: Any) -> str:
    """Read an attribute that is text."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def missing_filter(creation: Any) -> str:
    """Name the compression that this installation cannot undo; empty where it can.

    `creation` are the properties that a dataset was created with.
    """
    import h5py

    for at in range(creation.get_nfilters()):
        number, _, _, name = creation.get_filter(at)
        if not h5py.h5z.filter_avail(number):
            known = FILTERS.get(number) or text_of(name) or "unnamed"
            return (
                f"compressed with the HDF5 filter {known} (number {number}), which is not "
                "installed: `pip install hdf5plugin`"
            )
    return ""


FILTERS = {
    307: "bzip2", 32000: "LZF", 32001: "Blosc", 32004: "LZ4", 32008: "Bitshuffle", 32013: "ZFP",
    32015: "Zstandard", 32017: "SZ", 32024: "SZ3", 32026: "Blosc2", 32028: "SPERR",
}  # fmt: skip
