"""What a directory or dataset of unknown origin holds, told from its name, dtype and shape.

Used where a layout does not say it: `folder` and `hdf5`. What the user states (`kinds`,
`depth_unit`) and what the file states (HDF5 attributes) comes before any guess.

| name begins with | kind |
| --- | --- |
| depth | depth; 16-bit counts of 1/1000 m, 0 and 65535 invalid; floating point is metres |
| normal | normals |
| label, seg, semantic, mask, instance, annotation | label map, lossless |
| rgb, color, colour | image with three channels |
| anything else | three channels or gray: image; one number: class; a few: vector |
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from dsc.errors import UsageError
from dsc.pipeline.sources.decode import DTYPES, Found
from dsc.schemas import Task, TaskKind

DepthUnit = float | dict[str, float]
DEPTH_UNIT_M = 1 / 1000  # of Kinect, RealSense, ScanNet, 7-Scenes and most 16-bit depth files
KINDS = ("image", "rgb", "depth", "normal", "label", "class", "vector")
_BEGINNINGS = {
    "depth": ("depth",),
    "normal": ("normal",),
    "label": ("label", "seg", "semantic", "mask", "instance", "annotation"),
    "rgb": ("rgb", "color", "colour"),
    "image": ("image", "img", "photo", "gray"),
}
_DType = Literal["uint8", "uint16", "int32", "int64", "float32", "float64"]


@dataclass(frozen=True)
class Stated:
    """What is known of a task beside its values.

    Attributes
    ----------
    kind
        One of `KINDS`, or None to go by the name.
    unit_m
        Metres a count of depth, or None.
    invalid
        Values without meaning, or None for the usual ones.
    classes
        Names of the classes.
    """

    kind: str | None = None
    unit_m: float | None = None
    invalid: tuple[int, ...] | None = None
    classes: tuple[str, ...] = ()


def make_task(name: str, found: Found, stated: Stated, where: str) -> Task:
    """Say what task a dataset holds, from one example of its values.

    Parameters
    ----------
    name
        The source's own name for it, from which the kind is guessed unless stated.
    found
        Dtype and shape (one sample's) of the example.
    where
        The example's file, for messages.

    Raises
    ------
    UsageError
        When the values cannot be of that kind, or an 8-bit depth has no stated unit.
    """
    if found.dtype not in DTYPES:
        raise UsageError(
            f"{where}: {found.dtype} values; dsc holds {', '.join(DTYPES)}: convert them first"
        )
    kind = stated.kind or kind_of_name(name)
    if len(found.shape) < 2:
        return _row_task(name, found, stated, where)
    if kind == "depth":
        return _depth_task(name, found, stated, where)
    _check_map(name, kind, found, where)
    channels = 3 if kind == "rgb" else found.channels
    task_kind = TaskKind(kind) if kind in ("normal", "label") else TaskKind.IMAGE
    usual = (127,) if kind == "normal" else ()
    return Task(
        name=name,
        kind=task_kind,
        dtype=cast(_DType, found.dtype),
        channels=channels,
        invalid=usual if stated.invalid is None else stated.invalid,
        valid_range=_full_range(found.dtype),
        classes=stated.classes,
    )


def kind_of_name(name: str) -> str | None:
    """Guess the kind from any word of a name, e.g. depth of ``nyu_depths``."""
    words = re.findall(r"[a-z]+", name.lower())
    for kind, beginnings in _BEGINNINGS.items():
        if any(word.startswith(beginnings) for word in words):
            return kind
    return None


def task_name(name: str) -> str:
    """Spell a directory's or dataset's name as a task's; color and colour are ``rgb``.

    Raises
    ------
    UsageError
        When nothing that a task's name may hold is left of it.
    """
    spelled = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:48]
    if not spelled:
        raise UsageError(f"{name!r}: a task's name needs letters a to z or digits; rename it")
    return "rgb" if spelled in ("color", "colour") else spelled


def parse_depth_unit(value: object) -> DepthUnit | None:
    """Read metres a count: a number, ``1/4096``, ``hm3d=1/4096,replica=0.001``, or a mapping.

    Raises
    ------
    UsageError
        When a part is not a positive number or fraction.
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {str(name): _metres(unit) for name, unit in value.items()}
    if isinstance(value, str) and "=" in value:
        pairs = (part.split("=", 1) for part in value.split(",") if part.strip())
        return {pair[0].strip(): _metres(pair[-1]) for pair in pairs}
    return _metres(value)


def unit_of(units: DepthUnit | None, name: str) -> float | None:
    """Give the unit stated for `name`, None where none is."""
    return units.get(name) if isinstance(units, dict) else units


def parse_kinds(kinds: object) -> dict[str, str]:
    """Check the user's ``{"task": "kind"}``.

    Raises
    ------
    UsageError
        When it is no such mapping or a kind is unknown.
    """
    if kinds is None:
        return {}
    known = isinstance(kinds, Mapping) and all(kind in KINDS for kind in kinds.values())
    if not isinstance(kinds, Mapping) or not known:
        raise UsageError(f'kinds={kinds!r}: write {{"name": kind}} with kinds {", ".join(KINDS)}')
    return {str(name): str(kind) for name, kind in kinds.items()}


def _row_task(name: str, found: Found, stated: Stated, where: str) -> Task:
    length = found.shape[0] if found.shape else 1
    kind = stated.kind
    if kind is None:
        kind = "vector" if found.shape or found.dtype.startswith("float") else "class"
    if kind not in ("class", "vector") or (kind == "class" and length != 1):
        raise UsageError(
            f"{where}: shape {found.shape} cannot be {kind}; it holds no map: say class or vector"
        )
    if kind == "class" and found.dtype.startswith("float"):
        raise UsageError(f"{where}: {found.dtype} cannot be a class; say vector")
    return Task(
        name=name,
        kind=TaskKind(kind),
        dtype=cast(_DType, found.dtype),
        channels=0 if kind == "class" else length,
        classes=stated.classes,
    )


def _depth_task(name: str, found: Found, stated: Stated, where: str) -> Task:
    if found.channels != 1:
        raise UsageError(
            f"{where}: {found.channels} channels cannot be depth; if {name} holds coloured "
            f'pictures of depth, say kinds={{"{name}": "image"}}'
        )
    unit_m = stated.unit_m
    if unit_m is None and found.dtype not in ("uint16", "float32", "float64"):
        raise UsageError(
            f"{where}: {found.dtype} depth says nothing of its scale; give --depth-unit in metres "
            "a count, for example 1/25.5"
        )
    counts = "uint16" if found.dtype.startswith("float") else found.dtype
    usual = (0, 65535) if found.dtype == "uint16" else (0,)
    invalid = usual if stated.invalid is None else stated.invalid
    high = _full_range(counts)[1]
    return Task(
        name=name,
        kind=TaskKind.DEPTH,
        dtype=cast(_DType, counts),
        unit_m=DEPTH_UNIT_M if unit_m is None else unit_m,
        valid_range=(float(0 in invalid), high - (int(high) in invalid)),
        invalid=invalid,
    )


def _check_map(name: str, kind: str | None, found: Found, where: str) -> None:
    allowed = {
        "normal": (("uint8",), (3,)),
        "label": (("uint8", "uint16", "int32", "int64"), (1, 3)),
        "rgb": (("uint8", "uint16"), (1, 3)),
    }
    dtypes, channels = allowed.get(kind or "", (("uint8", "uint16"), (1, 3)))
    if kind in ("class", "vector"):
        raise UsageError(f"{where}: shape {found.shape} is a map, not a {kind}")
    if found.dtype not in dtypes or found.channels not in channels:
        raise UsageError(
            f"{where}: {found.dtype} with {found.channels} channels cannot be {kind or 'an image'}"
            f" (that is {' or '.join(dtypes)} with {' or '.join(map(str, channels))}); convert the "
            f'files, or say what they are with kinds={{"{name}": kind}}'
        )


def _full_range(dtype: str) -> tuple[float, float]:
    import numpy as np

    info = np.iinfo(dtype)
    return (0.0 if dtype.startswith("uint") else float(info.min), float(info.max))


def _metres(value: Any) -> float:
    try:
        top, _, bottom = str(value).partition("/")
        metres = float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        metres = 0.0
    if not 0 < metres < float("inf"):
        raise UsageError(
            f"depth unit {value!r}: expected metres a count, for example 0.001 or 1/512"
        )
    return metres
