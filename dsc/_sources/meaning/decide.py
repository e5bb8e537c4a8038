"""What a directory or dataset of unknown origin holds, told from its name and its values.

Used where a layout does not say it: `folder` and `hdf5`. What the user states (``--kinds``,
``--depth-unit``, ...) and what a file states (HDF5 attributes) comes before any guess. Values that
may be ids are never coded with loss on a guess.

| evidence | meaning |
| --- | --- |
| name says label, seg, semantic, mask, instance, panoptic, trimap, parsing, gt, ground_truth, \
target, annot, ids | label map, exact |
| name says disp, disparity; flow | disparity; optical flow: exact |
| name says depth and inverse, log, relative, confidence, error or the like | array, exact |
| name says depth, one channel, or three alike | depth; 16-bit counts of 1/1000 m, 0 and 65535 \
invalid; floating point is metres, stored in counts of 1/1000 m |
| name says normal, and nine of ten vectors have unit length | normals, 8 bits |
| name says rgb, color, image, or another word of light, or files are JPEG; 8 bits, 1 or 3 \
channels | image |
| name says nothing of light; 8 bits, stored without loss | image, exact |
| named like a picture or nothing, but with a palette, few values, or flat regions with jumps \
between | image or label map, exact |
| name says nothing; 16 bits, one channel | image, exact |
| other numbers a pixel | array, exact |
| one number; a few, or a small matrix | class; vector |
| name says embedding, 64 floats or more | embedding |
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dsc._schemas import FEATURE_DTYPES, Task, TaskKind
from dsc._sources.meaning.decode import Conversion
from dsc._sources.meaning.embeddings import embedding_words, is_embedding
from dsc._sources.meaning.evidence import KNOWN_DTYPES, SIGNED, Evidence
from dsc._sources.meaning.names import is_about_depth, is_about_light, kind_of_name
from dsc._sources.meaning.units import FileUnit, coarse_enough
from dsc.errors import UsageError

ALPHA = "_alpha"  # what follows the name of a task, in that of its alpha
DEPTH_UNIT_M = 1 / 1000  # of Kinect, RealSense, ScanNet, 7-Scenes and most 16-bit depth files
KINDS = (
    "image", "rgb", "depth", "normal", "label", "class", "vector", "embedding", "disparity", "flow",
    "array",
)  # fmt: skip
VALUE_KINDS = ("text", "json", "bytes", "scalar", "time", "matrix", "feature")  # no pictures
VECTOR_KINDS = ("vector", "embedding")
MAPS = ("depth", "normal", "label", "disparity", "flow", "array", "image", "rgb")
FAR = 1000  # depth of floating point beyond this is often a sky's, or no depth
ROOM_M = (0.3, 25.0)  # where the 95th percentile of a room's depth lies
LIKELY_UNITS = ("1/1000", "1/256", "1/512", "1/4096", "1/5000", "1/6553.5", "1/10000", "1/100")
UNIT_VECTORS = 0.9
WITH_ALPHA = ("label", "array", "flow", "disparity")  # kinds whose last channel is a number, too
WIDER_BOOL = {"bool": "uint8"}
WIDER = {"bool": "uint8", "int8": "int32", "int16": "int32", "uint32": "int64", "uint64": "int64"}


@dataclass(frozen=True)
class Stated:
    """What is known of a task beside its values.

    Attributes
    ----------
    kind
        One of `KINDS`, or None to go by evidence.
    unit_m
        Metres a stored count of depth, or None.
    file_unit
        What the file's values of depth are, or None.
    invalid
        Values without meaning, or None for the usual ones.
    classes
        Names of the classes.
    alpha
        What to do with alpha: ``drop``, ``mask`` (kept as a task of its own), or None to refuse.
    """

    kind: str | None = None
    unit_m: float | None = None
    file_unit: FileUnit | None = None
    invalid: tuple[int, ...] | None = None
    classes: tuple[str, ...] = ()
    alpha: str | None = None


@dataclass(frozen=True)
class Meaning:
    """What a task is, why, and how its files become native arrays.

    Attributes
    ----------
    why
        The evidence, in a few words for people.
    shape
        Shape of an example, as the file has it.
    stored
        Dtype of the files.
    warnings
        What people should look at before they go on.
    rounding_m, near_m
        Of depth that is rounded when it is read: by how many metres at most, and the nearest depth
        that the evidence has; else 0.
    """

    task: Task
    why: str
    shape: tuple[int, ...] = ()
    stored: str = ""
    conversion: Conversion = field(default_factory=Conversion)
    warnings: tuple[str, ...] = ()
    rounding_m: float = 0.0
    near_m: float = 0.0


def decide(name: str, found: Evidence, stated: Stated, where: str) -> Meaning:
    """Say what task a directory or dataset holds.

    Parameters
    ----------
    name
        The task's name.
    found
        The evidence of some of its files.
    where
        The first example's file, for messages.

    Raises
    ------
    UsageError
        When the values cannot be of the kind that is stated or that the name says, when depth has
        no known scale, or when there is alpha and nobody has said what to do with it.
    """
    kind = stated.kind or kind_of_name(name)
    if kind in ("matrix", "scalar", "feature") and found.dtype in KNOWN_DTYPES:
        return _as_stated(name, kind, found, where)
    if kind in VALUE_KINDS:
        raise UsageError(
            f"--kinds {name}={kind}: {where} holds an array; say one of {', '.join(KINDS)}"
        )
    if found.dtype not in KNOWN_DTYPES:
        raise UsageError(
            f"{where}: {found.dtype} values; dsc holds {', '.join(KNOWN_DTYPES)}: convert them "
            f"first, or leave {name} out with --tasks"
        )
    if not found.is_map and not (kind in MAPS and len(found.shape) in (2, 3)):
        return _numbers(name, found, stated, where)
    if kind in ("class", *VECTOR_KINDS):
        raise UsageError(f"{where}: shape {found.shape} is a map, not a {kind}")
    if found.alpha and kind not in (WITH_ALPHA if not found.palette else (None, *WITH_ALPHA)):
        found, conversion = _without_alpha(name, found, stated, where), Conversion(alpha="drop")
    else:
        conversion = Conversion()
    makers = {
        "depth": _depth, "normal": _normal, "label": _label, "disparity": _exact, "flow": _exact,
        "array": _exact,
    }  # fmt: skip
    if kind == "depth" and not (stated.kind or stated.file_unit) and is_about_depth(name):
        meaning = _about_depth(name, found, stated, where)
    else:
        meaning = makers.get(kind or "", _picture)(name, kind or "", found, stated, where)
    drop = conversion.alpha or meaning.conversion.alpha
    return replace(meaning, conversion=replace(meaning.conversion, alpha=drop))


def check_invalid(
    name: str, found: Evidence, invalid: Mapping[str, tuple[int, ...]] | None, where: str
) -> None:
    """Refuse a value that no file can hold: it would stand for those that do mean nothing.

    Raises
    ------
    UsageError
        When one of the values `invalid` has for the task lies outside the files' dtype.
    """
    if found.dtype == "bool" or found.is_float:
        return
    info = np.iinfo(found.dtype)
    for value in (invalid or {}).get(name, ()):
        if not info.min <= value <= info.max:
            raise UsageError(
                f"--invalid {name}={value}: {where} holds {found.dtype} values, {info.min} to "
                f"{info.max}"
            )


def alpha_meaning(meaning: Meaning) -> Meaning:
    """Return the task that the alpha of a task's pictures becomes, gray and exact."""
    task = meaning.task.model_copy(
        update={"name": f"{meaning.task.name}{ALPHA}", "kind": TaskKind.IMAGE, "channels": 1}
        | {"exact": True, "invalid": ()}
    )
    return Meaning(
        task, "alpha of its pictures", stored=meaning.stored, conversion=Conversion(alpha="only")
    )


def _said(stated: Stated, kind: str) -> str:
    return f"stated: {stated.kind}" if stated.kind else f"named like {kind}"


def _numbers(name: str, found: Evidence, stated: Stated, where: str) -> Meaning:
    """One number, a few, or a small matrix, which becomes a vector row by row."""
    length = int(np.prod(found.shape, dtype=np.int64))
    kind, dtype = stated.kind, WIDER.get(found.dtype, found.dtype)
    if kind is None and is_embedding(name, dtype, length):
        kind = "embedding"
    elif kind is None:
        kind = "vector" if found.shape or found.is_float else "class"
    if kind not in ("class", *VECTOR_KINDS) or (kind == "class" and length != 1):
        raise UsageError(
            f"{where}: shape {found.shape} cannot be {kind}; it holds no map: "
            f"say --kinds {name}=class or {name}=vector"
        )
    if kind == "class" and found.is_float:
        raise UsageError(f"{where}: {found.dtype} cannot be a class; say --kinds {name}=vector")
    if kind == "embedding" and not found.is_float:
        raise UsageError(
            f"{where}: {found.dtype} cannot be an embedding, which is floats; say --kinds "
            f"{name}=vector"
        )
    what = "one number" if length == 1 else f"{length} numbers"
    what = f"named like embeddings, {what}" if kind == "embedding" else what
    task = Task.model_validate(
        {"name": name, "kind": kind, "dtype": dtype, "classes": stated.classes}
        | {"channels": 0 if kind == "class" else length}
    )
    words = () if stated.kind else embedding_words(name, kind, dtype, length)
    why = f"stated: {stated.kind}" if stated.kind else what
    return Meaning(task, why, found.shape, found.dtype, warnings=words)


def _as_stated(name: str, kind: str, found: Evidence, where: str) -> Meaning:
    """Numbers of the shape that they have, and one number."""
    dtype = WIDER_BOOL.get(found.dtype, found.dtype)
    if kind == "scalar" and int(np.prod(found.shape, dtype=np.int64)) != 1:
        raise UsageError(f"{where}: shape {found.shape} is no scalar; say --kinds {name}=matrix")
    if kind == "matrix" and not found.shape:
        raise UsageError(f"{where}: one number is no matrix; say --kinds {name}=scalar")
    task = numbers_task(name, kind, dtype, found.shape, where)
    return Meaning(task, f"stated: {kind}", found.shape, found.dtype)


def numbers_task(name: str, kind: str, dtype: str, shape: tuple[int, ...], where: str) -> Task:
    """Make the task of a scalar, matrices or feature maps.

    Parameters
    ----------
    shape
        Of each; -1 where a length differs.
    where
        A file, for messages.

    Raises
    ------
    UsageError
        When feature maps are not of two float dtypes, (C, h, w).
    """
    sized: dict[str, Any] = {"channels": 0} if kind == "scalar" else {"shape": shape}
    if kind == "feature":
        if len(shape) != 3 or shape[0] < 1 or dtype not in FEATURE_DTYPES:
            differing = ", -1 where files differ" if -1 in shape else ""
            raise UsageError(
                f"--kinds {name}=feature: {where} is {dtype} {shape}{differing}; feature maps are "
                f"{' or '.join(FEATURE_DTYPES)} (C, h, w), of one C: say --kinds {name}=matrix"
            )
        sized["channels"] = shape[0]
    return Task.model_validate({"name": name, "kind": kind, "dtype": dtype} | sized)


def _without_alpha(name: str, found: Evidence, stated: Stated, where: str) -> Evidence:
    if stated.alpha is None:
        last = found.channels in (2, 4)
        what = f"{found.channels} channels, the last is alpha" if last else "some have alpha"
        raise UsageError(
            f"{where}: {what}; say --alpha drop, or --alpha "
            f"mask to keep it as task {name}_alpha, --kinds {name}=array to keep all channels "
            f"exactly, or leave {name} out with --tasks"
        )
    shape = (*found.shape[:2], 3) if found.channels in (3, 4) else found.shape[:2]
    return replace(found, shape=shape)


def _label(name: str, kind: str, found: Evidence, stated: Stated, where: str) -> Meaning:
    if found.is_float:
        if not found.whole or stated.kind:
            raise UsageError(
                f"{where}: {found.dtype} values cannot be a label map; say --kinds {name}=array to "
                "keep them exactly"
            )
        return _exact(name, "array", found, stated, where)
    if found.channels not in (1, 3):
        return _exact(name, "array", found, stated, where)
    task = Task.model_validate(
        {"name": name, "kind": "label", "dtype": WIDER.get(found.dtype, found.dtype)}
        | {"channels": found.channels, "classes": stated.classes}
        | {"invalid": stated.invalid or (), "valid_range": _range(found.dtype)}
    )
    ids = found.why_ids()
    why = _said(stated, "labels") if stated.kind or kind == "label" else str(ids)
    warnings: tuple[str, ...] = ()
    if not stated.kind and not found.lossless:
        warnings = (f"{name}: label maps in {found.format} files, whose loss has changed the ids",)
    elif not stated.kind and not ids and found.channels == 3:
        warnings = (
            f"{name}: named like a label map, but its values look like a picture; stored exactly. "
            f"--kinds {name}=image codes it as one",
        )
    return Meaning(task, why, found.shape, found.dtype, Conversion(indexes=True), warnings)


def _exact(name: str, kind: str, found: Evidence, stated: Stated, where: str) -> Meaning:
    invalid = stated.invalid
    if invalid is None:
        invalid = (0,) if kind == "disparity" and found.zero else ()
    task = Task.model_validate(
        {"name": name, "kind": kind or "array", "dtype": WIDER_BOOL.get(found.dtype, found.dtype)}
        | {"channels": found.channels, "invalid": invalid}
    )
    named = stated.kind or kind in ("disparity", "flow")
    why = _said(stated, kind) if named else f"{found.dtype}, {_count(found)}: no picture"
    return Meaning(task, why, found.shape, found.dtype, Conversion(indexes=True))


def _count(found: Evidence) -> str:
    return f"{found.channels} channel{'s' * (found.channels != 1)}"


def _picture(name: str, kind: str, found: Evidence, stated: Stated, where: str) -> Meaning:
    fits = found.dtype in ("uint8", "uint16", "bool") and found.channels in (1, 3)
    if not fits and stated.kind:
        raise UsageError(
            f"{where}: {found.dtype} with {_count(found)} cannot be {stated.kind} (that is uint8 "
            f"or uint16 with 1 or 3 channels); say --kinds {name}=array to keep it exactly"
        )
    if not fits:
        return _exact(name, "array", found, stated, where)
    ids = None if stated.kind else found.why_ids()
    if ids and not kind:
        return _label(name, "", found, stated, where)
    deep = not kind and not stated.kind and found.dtype == "uint16"
    counts = not kind and not stated.kind and _may_be_counts(name, found)
    task = Task.model_validate(
        {"name": name, "kind": "image", "dtype": WIDER_BOOL.get(found.dtype, found.dtype)}
        | {"channels": 3 if kind == "rgb" or found.palette else found.channels}
        | {"invalid": stated.invalid or (), "valid_range": _range(found.dtype)}
        | {"exact": bool(ids) or deep or counts}
    )
    why = _why_picture(kind, found, stated, ids, deep)
    why += ": may be ids or a measure" if counts and not (ids or deep) else ""
    warnings = (
        f"{name}: stored exactly, because its values may be no picture's; --kinds {name}=image "
        "codes it as one",
    )
    return Meaning(task, why, found.shape, found.dtype, warnings=warnings if task.exact else ())


def _may_be_counts(name: str, found: Evidence) -> bool:
    """Tell whether values may be something else than light: nothing says that they are."""
    return found.lossless and not is_about_light(name)


def _why_picture(kind: str, found: Evidence, stated: Stated, ids: str | None, deep: bool) -> str:
    if stated.kind:
        return f"stated: {stated.kind}"
    named = f"named like {kind}" if kind else f"{found.format}, {_count(found)}"
    if ids:
        return f"{named}, but {ids}: may be ids"
    return f"{named}, 16 bits: may be depth or ids" if deep else named


def _normal(name: str, kind: str, found: Evidence, stated: Stated, where: str) -> Meaning:
    if found.channels != 3 or found.dtype not in (
        "uint8",
        "uint16",
        "float16",
        "float32",
        "float64",
    ):
        if stated.kind:
            raise UsageError(
                f"{where}: {found.dtype} with {_count(found)} cannot be normals (that is 8 or 16 "
                f"bits or floating point, 3 channels); say --kinds {name}=array to keep it exactly"
            )
        return _picture(name, "", found, stated, where)
    if not stated.kind and found.unit_length < UNIT_VECTORS:
        meaning = _picture(name, "", found, stated, where)
        share = f"{found.unit_length:.0%}"
        return replace(meaning, why=f"named like normals, but only {share} are unit vectors")
    usual = tuple(dict.fromkeys((*found.no_direction, 127, 128, 0, 255)))
    task = Task.model_validate(
        {"name": name, "kind": "normal", "dtype": "uint8", "channels": 3, "valid_range": (0, 255)}
        | {"invalid": usual if stated.invalid is None else stated.invalid}
    )
    why = _said(stated, "normals")
    if found.dtype != "uint8":
        why += f"; {found.dtype} to 8 bits, off by at most 0.4 degrees"
    conversion = Conversion(signed=not found.is_float or found.low < SIGNED)
    return Meaning(task, why, found.shape, found.dtype, conversion)


def _depth(name: str, kind: str, found: Evidence, stated: Stated, where: str) -> Meaning:
    gray = found.channels == 3 and found.gray
    if gray:
        found = replace(found, shape=found.shape[:2])
    if found.channels != 1:
        raise UsageError(
            f"{where}: {found.channels} channels cannot be depth; if {name} holds coloured "
            f"pictures of depth, say --kinds {name}=image; if its channels together are a number, "
            f"--kinds {name}=array keeps them exactly; or leave it out with --tasks"
        )
    unit, warnings = _file_unit(name, found, stated, where)
    as_it_is = found.dtype in ("uint8", "uint16") and (
        stated.file_unit is None or (unit.factor == (stated.unit_m or unit.factor) and _plain(unit))
    )
    whole = not found.is_float and _plain(unit)
    unit_m = stated.unit_m or (unit.factor if whole else DEPTH_UNIT_M)
    dtype = found.dtype if as_it_is else "uint16"
    usual = (0, 65535) if dtype == found.dtype == "uint16" and _plain(unit) else (0,)
    nothing = usual if stated.invalid is None else stated.invalid
    invalid = nothing if as_it_is else (0,)
    high = int(np.iinfo(dtype).max)
    task = Task.model_validate(
        {"name": name, "kind": "depth", "dtype": dtype, "unit_m": unit_m, "invalid": invalid}
        | {"valid_range": (float(0 in invalid), float(high - (high in invalid)))}
    )
    if not as_it_is:
        _check_reach(name, found, unit, unit_m, where)
    conversion = Conversion() if as_it_is else Conversion(file_unit=unit, invalid=nothing)
    conversion = replace(conversion, gray=gray)
    why = _said(stated, "depth") + ("; three channels alike, one kept" if gray else "")
    rounding_m = 0.0
    if not as_it_is:
        why += f"; {found.dtype} to counts of {unit_m:g} m"
        if not (whole and unit_m == unit.factor):
            rounding_m = unit_m / 2
            why += f", rounded by at most {rounding_m:g} m before it is coded"
        why += "; NaN, inf, 0 and below are nothing" if found.is_float else ""
    far_m = _far_m(found, unit)
    if stated.unit_m is None and stated.file_unit is None:
        warnings = (*warnings, *room_warnings(name, found, unit.factor, far_m))
    near_m = found.near * unit.factor if _plain(unit) else 0.0
    return Meaning(task, why, found.shape, found.dtype, conversion, warnings, rounding_m, near_m)


def _about_depth(name: str, found: Evidence, stated: Stated, where: str) -> Meaning:
    meaning = _exact(name, "array", found, stated, where)
    warning = (
        f"{name}: named like something about depth, which is no distance; stored exactly, as it "
        f"is. If it is inverse depth, --file-unit {name}=inverse makes it metres, and --kinds "
        f"{name}=depth reads it as any depth"
    )
    return replace(meaning, why="named like something about depth", warnings=(warning,))


def _plain(unit: FileUnit) -> bool:
    return not unit.inverse and not unit.rotated


def _far_m(found: Evidence, unit: FileUnit) -> float:
    value = found.low if unit.inverse else found.far
    return 0.0 if unit.rotated or value <= 0 else float(unit.to_metres(np.array([value]))[0])


def _file_unit(
    name: str, found: Evidence, stated: Stated, where: str
) -> tuple[FileUnit, tuple[str, ...]]:
    """Tell what the file's values are; large whole numbers of floating point are millimetres."""
    if stated.file_unit is not None:
        return stated.file_unit, ()
    if not found.is_float:
        if stated.unit_m is None and found.dtype != "uint16":
            raise UsageError(
                f"{where}: {found.dtype} depth says nothing of its scale; give --depth-unit in "
                "metres a count, for example 0.001 or 1/25.5"
            )
        return FileUnit(stated.unit_m or DEPTH_UNIT_M), ()
    if found.far <= 100:
        return FileUnit(1.0), ()
    if found.whole and 400 <= found.typical <= 50_000:
        return FileUnit.parse("mm"), (
            f"{name}: whole numbers up to {found.high:g} make no room in metres; read as "
            f"millimetres. --file-unit {name}=m says otherwise",
        )
    if stated.unit_m is not None and found.high / stated.unit_m <= 65535:
        return FileUnit(1.0), ()
    raise UsageError(
        f"{where}: {found.dtype} depth of up to {found.high:g}: metres, or something else? Say "
        f"--file-unit {name}=mm (or cm, m, 1/5000, ...); with metres also the step to store it in, "
        f"--depth-unit {coarse_enough(found.high)} or more{_perhaps_nothing(name, found)}"
    )


def _check_reach(name: str, found: Evidence, unit: FileUnit, unit_m: float, where: str) -> None:
    if unit.rotated or unit.inverse or not found.high * unit.factor / unit_m > 65535:
        return
    farthest = found.high * unit.factor
    raise UsageError(
        f"{where}: a depth of {farthest:g} m does not fit 16 bits in counts of {unit_m:g} m; if "
        f"it is that far, give --depth-unit {coarse_enough(farthest)} or more (the step it is "
        f"stored in); if not, say what the file's values are with --file-unit {name}=mm"
        f"{_perhaps_nothing(name, found)}"
    )


def _perhaps_nothing(name: str, found: Evidence) -> str:
    """Say how a value that is far for any depth can be stated to be none."""
    if found.high < FAR:
        return ""
    return f"; if {found.high:g} means that nothing is there, --invalid {name}={found.high:.9g}"


def room_warnings(name: str, found: Evidence, unit_m: float, far_m: float) -> tuple[str, ...]:
    """Warn where depth of a unit that nobody stated makes no room, and name likely units."""
    if not far_m or ROOM_M[0] <= far_m <= ROOM_M[1]:
        return ()
    counts = far_m / unit_m
    likely = [
        f"{unit} ({counts / float(unit[2:]):.2g} m)"
        for unit in LIKELY_UNITS
        if 1.5 <= counts / float(unit[2:]) <= 15
    ]
    advice = f"; likely units: {', '.join(likely[:4])}" if likely else ""
    return (
        f"{name}: 95 % of its values lie below {far_m:.2g} m at {_fraction(unit_m)} m a count, "
        f"which makes no room{advice}. Say --depth-unit",
    )


def _fraction(unit_m: float) -> str:
    return f"1/{1 / unit_m:g}" if unit_m < 1 else f"{unit_m:g}"


def _range(dtype: str) -> tuple[float, float]:
    if dtype == "bool":
        return 0.0, 1.0
    info = np.iinfo(dtype)
    return (0.0 if dtype.startswith("uint") else float(info.min), float(info.max))
