"""What the tasks of tars are, judged from some files of each field.

Pictures are judged as everywhere (`dsc._sources.meaning.decide`). Numbers of ``.npy`` are a map
where their name says so or the sample's pictures are as high and wide, and else a matrix.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dsc._files.formats import read_content
from dsc._schemas import Task, TaskKind
from dsc._sources.meaning.decide import MAPS, VECTOR_KINDS, Meaning, Stated, check_invalid, decide
from dsc._sources.meaning.decode import probe
from dsc._sources.meaning.embeddings import embedding_words, is_embedding
from dsc._sources.meaning.endings import (
    CLASS_ENDINGS,
    PICKLES,
    UNKNOWN_TYPE,
    Family,
    media_type,
)
from dsc._sources.meaning.evidence import Evidence, merge
from dsc._sources.meaning.names import kind_of_name
from dsc._sources.meaning.options import TaskOptions
from dsc._sources.webdataset.fields import Field
from dsc._sources.webdataset.values import npy_bytes, parse, whole_bytes
from dsc.errors import SampleError, UsageError

MOST_NUMBERS = 65536  # of a vector
_NUMBER = re.compile(rb"\s*[+-]?\d{1,19}\s*")


class Probe(NamedTuple):
    """A file that is looked at.

    Attributes
    ----------
    picture
        Height and width of a picture of its sample, where there is one.
    """

    data: bytes
    ending: str
    where: str
    picture: tuple[int, ...] = ()


def judge(field: Field, probes: Sequence[Probe], options: TaskOptions) -> Meaning:
    """Say what task a field is.

    Raises
    ------
    UsageError
        When its files cannot be what is stated, or cannot be told.
    SampleError
        When none of the pictures can be read.
    """
    stated = options.stated(field.name, Stated())
    kind = stated.kind
    if kind is not None and kind not in MAPS:
        return _stated(field, probes, kind)
    if kind is None and field.family in (Family.TEXT, Family.JSON, Family.BYTES):
        return _blob(field, probes)
    if kind is None and field.family is Family.WHOLE:
        return _whole(field, probes)
    if kind is None and field.family is Family.NUMBERS and not _are_maps(field, probes):
        return _numbers(field, probes)
    return _picture(field, probes, stated, options)


def picture_size(data: bytes, where: str) -> tuple[int, ...]:
    """Return height and width of a picture; empty where it cannot be read."""
    try:
        return read_content(data, where).shape[:2]
    except SampleError:
        return ()


def _picture(
    field: Field, probes: Sequence[Probe], stated: Stated, options: TaskOptions
) -> Meaning:
    found: list[tuple[Probe, Evidence]] = []
    for one in probes:
        try:
            found.append((one, probe(one.data, one.where, stated.invalid or ())))
        except SampleError as error:
            failure = error  # one damaged file must not hide the others; reading will report it
    if not found:
        raise SampleError(f"{failure}; or --kinds {field.name}=bytes keeps files as they are")
    first, evidence = found[0]
    for other, another in found[1:]:
        if another.is_map != evidence.is_map:
            raise UsageError(
                f"task {field.name}: {first.where} has shape {evidence.shape} and {other.where} "
                f"has {another.shape}; files of one task must be of one form: leave the task out "
                f"with --tasks, or say --kinds {field.name}=bytes to keep files as they are"
            )
    where = next((one.where for one, evidence in found if evidence.alpha), first.where)
    merged = merge([one for _, one in sorted(found, key=lambda one: -one[1].channels)])
    check_invalid(field.name, merged, options.invalid, where)
    return decide(field.name, merged, stated, where)


def _are_maps(field: Field, probes: Sequence[Probe]) -> bool:
    """Tell whether arrays have a value a pixel."""
    try:
        found = [probe(one.data, one.where) for one in probes]
    except SampleError:
        return False
    if not all(one.is_map for one in found):
        return False
    if kind_of_name(field.name) in (*MAPS, "rgb"):
        return True
    with_picture = [
        (one.shape[:2], own.picture) for one, own in zip(found, probes, strict=True) if own.picture
    ]
    return bool(with_picture) and all(size == other for size, other in with_picture)


def _numbers(field: Field, probes: Sequence[Probe]) -> Meaning:
    """Arrays that are no maps: their numbers exactly; as files, what no task holds."""
    try:
        return _arrays(field, probes, None)
    except ValueError as error:
        return _files(field, f"{error}: kept as files")


def _arrays(field: Field, probes: Sequence[Probe], kind: str | None) -> Meaning:
    """Say of which shape numbers are; ValueError when they have none in common."""
    wanted = TaskKind(kind or "matrix")
    found = [np.asarray(parse(one.data, wanted, one.ending, one.where)) for one in probes]
    shapes = {array.shape for array in found}
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError(f"arrays of shapes {', '.join(map(str, sorted(shapes)))}")
    dtypes = {array.dtype for array in found}
    if len(dtypes) > 1 and field.family is Family.NUMBERS:
        raise ValueError(f"arrays of {' and '.join(sorted(map(str, dtypes)))}")
    dtype = np.result_type(*dtypes).name
    shape = tuple(
        lengths[0] if len(set(lengths)) == 1 else -1 for lengths in zip(*shapes, strict=True)
    )
    task: dict[str, Any] = {"name": field.name, "dtype": dtype}
    if not shape and kind in (None, "scalar"):
        task |= {"kind": "scalar", "channels": 0}
    elif len(shape) == 1 and kind in (None, *VECTOR_KINDS) and 0 < shape[0] <= MOST_NUMBERS:
        named = "embedding" if is_embedding(field.name, dtype, shape[0]) else "vector"
        task |= {"kind": kind or named, "channels": shape[0]}
    elif shape and kind in (None, "matrix"):
        task |= {"kind": "matrix", "shape": shape}
    elif len(shape) == 3 and kind == "feature":
        task |= {"kind": "feature", "shape": shape, "channels": shape[0]}
    else:
        raise ValueError(f"shape {shape} is no {kind}")
    odd = field.family is Family.NUMBERS and any(
        npy_bytes(array) != one.data for one, array in zip(probes, found, strict=True)
    )
    warnings = (
        f"{field.name}: its .npy files are not as numpy.save writes them today; an export gives "
        "back the numbers, in other bytes",
    )
    made = _task(task)
    words = embedding_words(made.name, made.kind, dtype, made.channels) if kind is None else ()
    warnings = (*(warnings if odd else ()), *words)
    return Meaning(made, _why(field, kind), found[0].shape, dtype, warnings=warnings)


def _whole(field: Field, probes: Sequence[Probe]) -> Meaning:
    """One whole number a file; text where it is something else."""
    odd = next((one for one in probes if not _is_whole(one.data)), None)
    if odd is not None:
        meaning = _blob(field, probes)
        why = f"{meaning.why}: {odd.data[:20]!r} is no whole number"
        return Meaning(meaning.task, why, stored=meaning.stored, warnings=meaning.warnings)
    last = {ending.rpartition(".")[2] for ending in field.endings}
    kind = "class" if last <= set(CLASS_ENDINGS) else "scalar"
    return Meaning(
        _task({"name": field.name, "kind": kind, "dtype": "int64", "channels": 0}),
        _why(field, None),
        stored="text",
        warnings=_respelt(field, probes),
    )


def _respelt(field: Field, probes: Sequence[Probe]) -> tuple[str, ...]:
    odd = next((one.data for one in probes if one.data != whole_bytes(int(one.data))), None)
    if odd is None:
        return ()
    return (
        f"{field.name}: numbers are spelt such as {odd[:20]!r}; an export spells them plainly, "
        f"--kinds {field.name}=text keeps what is there",
    )


def _is_whole(data: bytes) -> bool:
    return bool(_NUMBER.fullmatch(data)) and -(1 << 63) <= int(data) < 1 << 63


def _blob(field: Field, probes: Sequence[Probe]) -> Meaning:
    """Text and JSON where they are such, else files as they are."""
    kinds = {
        Family.TEXT: (TaskKind.TEXT,),
        Family.JSON: (TaskKind.JSON, TaskKind.TEXT),
        Family.WHOLE: (TaskKind.TEXT,),
    }.get(field.family, ())
    warnings: tuple[str, ...] = ()
    for kind in kinds:
        task = _task({"name": field.name, "kind": kind, "dtype": "uint8"})
        odd = next((why for one in probes if (why := _why_none(task, one))), None)
        if odd is None:
            return Meaning(task, _why(field, None), stored=_ending(field), warnings=warnings)
        warnings = (*warnings, f"{field.name}: not {kind.value} ({odd})")
    return _files(field, _why(field, None), warnings)


def _files(field: Field, why: str, warnings: tuple[str, ...] = ()) -> Meaning:
    """Return the meaning of files that are kept as they are."""
    types = {media_type(ending) for ending in field.endings}
    task = _task(
        {"name": field.name, "kind": "bytes", "dtype": "uint8"}
        | {"media_type": types.pop() if len(types) == 1 else UNKNOWN_TYPE}
    )
    pickled = any(ending.rpartition(".")[2] in PICKLES for ending in field.endings)
    why += ", pickles, which are never loaded" if pickled else ""
    return Meaning(task, why, stored=_ending(field), warnings=warnings)


def _stated(field: Field, probes: Sequence[Probe], kind: str) -> Meaning:
    """Return the meaning of what the user says to be no map, held against the files.

    Raises
    ------
    UsageError
        When a file is not of that kind.
    """
    if kind == "bytes":
        return _files(field, "stated: bytes")
    where = probes[0].where
    try:
        if kind in ("text", "json"):
            task = _task({"name": field.name, "kind": kind, "dtype": "uint8"})
            for one in probes:
                where = one.where
                task.to_native(one.data)
            return Meaning(task, f"stated: {kind}", stored=_ending(field))
        if kind not in ("class", "time"):
            return _arrays(field, probes, kind)
        task = _task({"name": field.name, "kind": kind, "dtype": "int64", "channels": 0})
        for one in probes:
            where = one.where
            task.to_native(parse(one.data, task.kind, one.ending, one.where))
        return Meaning(task, f"stated: {kind}", stored=_ending(field))
    except (ValueError, SampleError) as error:
        raise UsageError(f"--kinds {field.name}={kind}: {where}: {error}") from None


def _why_none(task: Task, one: Probe) -> str:
    """Say why a file is no text or JSON; empty where it is."""
    try:
        task.to_native(one.data)
    except ValueError as error:
        why = "no UTF-8" if isinstance(error, UnicodeDecodeError) else error
        return f"{one.where}: {why}"
    return ""


def _task(values: dict[str, Any]) -> Task:
    try:
        return Task.model_validate(values)
    except ValueError:
        raise ValueError(f"{values['dtype']} values of shape {values.get('shape')}") from None


def _why(field: Field, kind: str | None) -> str:
    if kind is not None:
        return f"stated: {kind}"
    named = ", ".join(f".{ending}" for ending in field.endings)
    return f"{named}: {field.family.value}"


def _ending(field: Field) -> str:
    return "/".join(sorted({ending.rpartition(".")[2] for ending in field.endings}))
