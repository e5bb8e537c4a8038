"""Files beside the pictures that are fields of samples: captions, JSON, poses, sound.

A file is one where a sample that is there has its name; which sample, the layout says. Its task is
called as the layout calls it (``captions/1.txt``), with the ending behind where that name is
another task's of the same samples (``rgb/1.txt`` beside ``rgb/1.png`` is rgb_txt), and by the
ending alone where the name says nothing else (``1.json`` beside ``1.jpg``).
"""

import io
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._files.formats.single_array import holds_one, read_one
from dsc._files.passed_over import ending_of
from dsc._files.tree import FileTree
from dsc._schemas import Task, TaskKind
from dsc._schemas.task import spelled
from dsc._sources.file_table import FileTable
from dsc._sources.folder.layout import PICTURE, FilePlace, Layout
from dsc._sources.meaning.decide import Meaning, Stated, numbers_task
from dsc._sources.meaning.endings import UNKNOWN_TYPE, Family, family_of, media_type
from dsc._sources.meaning.evidence import PROBES
from dsc._sources.meaning.names import split_affix
from dsc.errors import SampleError, UsageError

LONGEST = 48
UNNAMED = ("suffixes", "classes")  # layouts in which a picture's name need not say a task
BLOBS = (TaskKind.TEXT, TaskKind.JSON, TaskKind.BYTES)
BLOB_KINDS = ("text", "json", "bytes")
OF_TEXT = (*BLOB_KINDS, "class", "scalar", "time")  # kinds that a text may be read as
BYTES = "bytes"  # how files that are no numbers are stored
NPY = b"\x93NUMPY"
_SEPARATOR = re.compile(r"[._-]")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_WHOLE = re.compile(r"[+-]?\d+")
Placed = tuple[FilePlace, str]


def name_fields(
    layout: Layout, fields: Sequence[Placed], placed: Sequence[Placed]
) -> tuple[list[Placed], list[str]]:
    """Name the tasks of files beside the pictures.

    Parameters
    ----------
    fields
        Files that are no pictures, of samples that are there.
    placed
        The files of pictures and arrays.

    Returns
    -------
    named, unnamed
        The files with their own tasks; paths of those whose task cannot be spelled.
    """
    by_task: dict[str, list[Placed]] = {}
    for place, path in fields:
        by_task.setdefault(place.task, []).append((place, path))
    taken = {place.task for place, _ in placed}
    named, unnamed = list[Placed](), list[str]()
    for task, found in sorted(by_task.items()):
        split = task in taken or not _are_one(found)
        names: dict[tuple[str, bool], str] = {}
        for place, path in found:
            bare = is_bare(layout, place, path)
            known = (_ending(path) if split else "", bare)
            if known not in names:
                names[known] = _free_name(task, *known, {*taken, *names.values()})
            if names[known]:
                named.append((replace(place, task=names[known]), path))
            else:
                unnamed.append(path)
        taken |= set(names.values())
    return named, unnamed


def of_sample(
    layout: Layout, place: FilePlace, path: str, samples: Collection[tuple[str, str]]
) -> FilePlace | None:
    """Return the place of a file in its sample; None where no sample has its name.

    The name may go on behind the sample's: ``frame-1.boxes.txt`` beside ``frame-1.color.jpg`` is
    boxes, and ``rgb/1_meta.json`` is rgb_meta.
    """
    if (place.group, place.stem) in samples:
        return place
    whole = path.rpartition("/")[2].rpartition(".")[0]
    stem, is_whole = (whole, True) if layout.name in UNNAMED else (place.stem, False)
    for match in reversed(list(_SEPARATOR.finditer(stem))):
        base, word = stem[: match.start()], stem[match.end() :]
        if (place.group, base) in samples and _WORD.fullmatch(word):
            task = word if is_whole or place.task == PICTURE else f"{place.task}_{word}"
            return replace(place, stem=base, task=spelled(task))
    return None


def has_known_family(path: str) -> bool:
    """Tell whether a file's ending says what it is, and that it is no map."""
    ending = _ending(path)
    return family_of(ending) is not Family.BYTES or media_type(ending) != UNKNOWN_TYPE


def _ending(path: str) -> str:
    found = ending_of(path).lower()
    return found[1:] if found.startswith(".") else ""


def _are_one(found: Sequence[Placed]) -> bool:
    """Tell whether files are of one family, and no sample has two of them."""
    samples = Counter((place.group, place.stem) for place, _ in found)
    families = {family_of(_ending(path)) for _, path in found}
    return len(families) == 1 and samples.most_common(1)[0][1] == 1


def is_bare(layout: Layout, place: FilePlace, path: str) -> bool:
    """Tell whether nothing but its ending says what a file is."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    return place.task == PICTURE and layout.name in UNNAMED and not split_affix(stem)[1]


def _free_name(task: str, ending: str, bare: bool, taken: Collection[str]) -> str:
    short = spelled(ending) if bare else ""
    for name in (short or (f"{task}_{ending}" if ending else task), f"{task}_{ending}", "file"):
        found = spelled(name)
        if spelled(ending or task) and found and found not in taken:
            return found
    return ""


def field_meaning(tree: FileTree, table: FileTable, name: str, stated: Stated) -> Meaning:
    """Say what files beside the pictures are: text and JSON where all that are looked at are that.

    Raises
    ------
    UsageError
        When they are not what is stated.
    """
    paths = table.some_paths(name, PROBES)
    endings = {_ending(path) for path in paths}
    found = [(tree.read(path), tree.where(path)) for path in paths]
    usual = {Family.TEXT: TaskKind.TEXT, Family.JSON: TaskKind.JSON}
    kind = usual.get(family_of(next(iter(endings))), TaskKind.BYTES)
    if stated.kind is not None:
        return _stated(name, stated, found, endings)
    why = f"files beside the pictures: {', '.join(sorted(endings)) or 'no ending'}"
    wrong = _first_wrong(_blob(name, kind, endings), found)
    if wrong:
        return Meaning(_blob(name, TaskKind.BYTES, endings), f"{why}; {wrong}", stored=BYTES)
    return Meaning(_blob(name, kind, endings), why, stored=BYTES)


def _stated(
    name: str, stated: Stated, found: Sequence[tuple[bytes, str]], endings: Collection[str]
) -> Meaning:
    kind = TaskKind(str(stated.kind))
    if kind in BLOBS:
        task = _blob(name, kind, endings)
    else:
        dtype = "float64" if kind is TaskKind.SCALAR else "int64"
        task = Task.model_validate(
            {"name": name, "kind": kind, "dtype": dtype, "channels": 0}
            | {"classes": stated.classes if kind is TaskKind.CLASS else ()}
        )
    wrong = _first_wrong(task, found)
    if wrong:
        raise UsageError(f"--kinds {name}={kind.value}: {wrong}; say --kinds {name}=bytes")
    return Meaning(task, f"stated: {kind.value}", stored=BYTES)


def _blob(name: str, kind: TaskKind, endings: Collection[str]) -> Task:
    types = {media_type(ending) for ending in endings}
    one = types.pop() if len(types) == 1 else UNKNOWN_TYPE
    media = {"media_type": one} if kind is TaskKind.BYTES else {}
    return Task.model_validate({"name": name, "kind": kind, "dtype": "uint8"} | media)


def _first_wrong(task: Task, found: Sequence[tuple[bytes, str]]) -> str | None:
    for data, where in found:
        try:
            native_field(data, task, where)
        except SampleError as error:
            return str(error)
    return None


def native_field(data: bytes, task: Task, where: str) -> NDArray[Any]:
    """Return the native array of a file: its bytes, or the value that its text is.

    Raises
    ------
    SampleError
        When it is not what its task holds.
    """
    try:
        if task.is_blob:
            native = task.to_native(data)
            task.to_physical(native)  # is it UTF-8, is it JSON?
            return native
        text = data.decode().strip()
        number = int(text) if _WHOLE.fullmatch(text) else None
        is_text = task.kind is TaskKind.TIME and number is None
        return task.to_native(text if is_text else float(text) if number is None else number)
    except (ValueError, OverflowError, RecursionError) as error:
        raise SampleError(
            f"{where}: not the {task.kind.value} that task {task.name} holds ({error}); "
            f"--kinds {task.name}=bytes keeps files as they are"
        ) from None


def matrix_meaning(tree: FileTree, table: FileTable, name: str, kind: str) -> Meaning:
    """Say what matrices or feature maps files hold: dtype and axes; -1 where lengths differ.

    Every local file is looked at; of remote ones, a few.

    Raises
    ------
    UsageError
        When they have different dtypes or numbers of axes.
    SampleError
        When the first ones hold no numbers.
    """
    count = PROBES if tree.local is None else len(table)
    paths = table.some_paths(name, max(count, 2))
    found: dict[tuple[str, int], str] = {}
    shapes = set[tuple[int, ...]]()
    failure: SampleError | None = None
    for path in paths:
        try:
            array = read_matrix(tree.read(path), tree.where(path))
        except SampleError as error:
            failure = failure or error  # reading it will report it
            continue
        found.setdefault((array.dtype.name, array.ndim), tree.where(path))
        shapes.add(array.shape)
    if not found:
        raise failure or SampleError(f"task {name} has no file")
    if len(found) > 1:
        said = ", ".join(f"{where} {dtype} of {n} axes" for (dtype, n), where in found.items())
        raise UsageError(f"--kinds {name}={kind}: {said}; say --kinds {name}=bytes")
    [(dtype, _)] = found
    sizes = map(set, zip(*sorted(shapes), strict=True))
    shape = tuple(own.pop() if len(own) == 1 else -1 for own in sizes)
    if not shape:
        raise UsageError(f"--kinds {name}={kind}: each file is one number; say {name}=scalar")
    kept = "uint8" if dtype == "bool" else dtype
    task = numbers_task(name, kind, kept, shape, next(iter(found.values())))
    return Meaning(task, f"stated: {kind}", min(shapes), dtype)


def read_matrix(data: bytes, where: str) -> NDArray[Any]:
    """Read the numbers of a ``.npy`` file, of text, or of an HDF5 file with one array.

    Raises
    ------
    SampleError
        When it holds none.
    """
    if not data.startswith(NPY):
        if not holds_one(data):
            raise SampleError(f"{where}: no matrix: .npy, text of numbers or HDF5 is one")
        return read_one(data, where)
    try:
        found: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise SampleError(f"{where}: no whole .npy file ({error}); copy it again") from None
    return np.asarray(found, found.dtype.newbyteorder("="), order="C")


def native_matrix(data: bytes, task: Task, where: str) -> NDArray[Any]:
    """Return the native array of a matrix or feature map.

    Raises
    ------
    SampleError
        When it is not what its task holds.
    """
    try:
        return task.to_native(read_matrix(data, where))
    except SampleError:
        raise
    except ValueError as error:
        raise SampleError(
            f"{where}: not the {task.kind.value} that task {task.name} holds ({error})"
        ) from None
