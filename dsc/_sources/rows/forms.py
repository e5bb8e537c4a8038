"""Which task a column is: from its type, what `datasets` noted of it, its name, and its rows.

| column | task |
| --- | --- |
| files (`Image`, or bytes that are pictures) | as a file of a folder: by name and values |
| other files (`Audio`, `Video`, ...), binary | bytes, with the media type where all probes agree |
| `ClassLabel`; whole numbers called label, class, target or category | class |
| numbers, truth values (0 and 1) | scalar |
| moments and dates that nanoseconds reach | time |
| other moments, times of day, durations | scalar: whole counts |
| text; decimals | text |
| `Json` | json |
| lists of numbers, all of a row's alike in length | matrix; -1 where lengths differ between rows |
| the same, named like maps, as large as the pictures beside them | as an array of HDF5 |
| every other list, struct or map | json |
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsc._files.formats import read_content
from dsc._files.formats.single_array import holds_one
from dsc._schemas import Task, TaskKind
from dsc._schemas.task import MAX_AXES, MAX_AXIS, spelled
from dsc._sources.meaning.decide import (
    MAPS,
    Meaning,
    Stated,
    alpha_meaning,
    decide,
)
from dsc._sources.meaning.decode import Conversion, probe
from dsc._sources.meaning.embeddings import embedding_words, is_embedding
from dsc._sources.meaning.evidence import PROBES, Evidence, look, merge
from dsc._sources.meaning.names import kind_of_name
from dsc._sources.meaning.options import TaskOptions
from dsc._sources.rows.arrow import (
    Known,
    arrow,
    has_no_json,
    is_binary,
    is_file,
    is_number,
    is_text,
    kind_of_feature,
    plain_type,
    spell_column,
)
from dsc._sources.rows.cells import Column, Form, Load, file_of, ns_of, numbers_of
from dsc._sources.rows.groups import Rows
from dsc._sources.rows.look import Facts, depth_of, leaf_of
from dsc._sources.rows.media import media_type_of, one_media_type
from dsc.errors import SampleError, UsageError

CLASS_WORDS = ("label", "labels", "class", "cls", "target", "targets", "category")
PICTURE_CHANNELS = (1, 3, 4)
NUMBERS = 4  # from which a file of them as text is no caption
SMALLEST_MAP = 8  # pixels of height and width from which lists named like a map are one
YEARS_NS = 2**63 - 1


@dataclass(frozen=True)
class Given:
    """What is known of a column before its values are looked at."""

    name: str
    task: str
    field: Any
    feature: Any
    facts: Facts
    is_path: bool = False


class FormFinder:
    """Decides what columns are.

    Parameters
    ----------
    load
        Reads a file that a cell names by its path.
    """

    def __init__(self, rows: Rows, options: TaskOptions, load: Load) -> None:
        self._rows, self._options, self._load = rows, options, load
        self._pictures: list[Given] = []

    def columns(self, given: Sequence[Given]) -> list[Column]:
        """Return the column, or two where alpha is kept, of each task, in order.

        Raises
        ------
        UsageError
            When a column cannot be what is stated.
        SampleError
            When none of the files of a column that are looked at can be read.
        """
        found: dict[str, list[Column]] = {}
        for one in sorted(given, key=lambda one: not _may_be_picture(one)):
            found[one.name] = self._decide(one)
            if _may_be_picture(one) and found[one.name][0].task.is_map:
                self._pictures.append(one)
        return [column for one in given for column in found[one.name]]

    def _decide(self, one: Given) -> list[Column]:
        stated = self._options.stated(one.task, Stated())
        kind = plain_type(one.field.type)
        if _may_be_picture(one):
            made = self._file(one, kind, stated)
        elif depth_of(kind) and is_number(leaf_of(kind)) and one.facts.shape is not None:
            made = [self._lists(one, kind, one.facts.shape, stated)]
        else:
            made = [_plain(one, kind, stated)]
        return [
            Column(one.name, form, meaning, "" if n else _spelt(one, first), first)
            for n, (form, meaning, first) in enumerate(made)
        ]

    def _probes(self, one: Given) -> list[tuple[int, Any, int]]:
        """Return a few rows that have a value, spread over all, with array and place."""
        valid = one.facts.valid
        rows = np.arange(len(self._rows)) if valid is None else np.flatnonzero(valid)
        few = rows[np.unique(np.linspace(0, len(rows) - 1, min(PROBES, len(rows))).astype(int))]
        found, failure = [], None
        for row in few.tolist():
            try:
                cells = self._rows.cells(row, [one.name])
            except SampleError as error:
                failure = error
                continue
            if one.name in cells:
                found.append((row, *cells[one.name]))
        if not found and failure is not None:
            raise failure
        return found

    def _where(self, one: Given, row: int) -> str:
        return f"{self._rows.where(row)}, column {one.name}"

    # files

    def _file(self, one: Given, kind: Any, stated: Stated) -> list[tuple[Form, Meaning, bool]]:
        form = Form.PATH if one.is_path else Form.FILE
        probes, names, failure = [], [], None
        for row, array, at in self._probes(one):
            try:
                data = file_of(array, at, self._load)
            except (SampleError, FileNotFoundError, UnicodeDecodeError) as error:
                failure = error
                continue
            if data is not None:
                probes.append((row, data))
                names.append(str(array[at].as_py()) if one.is_path else "")
        if not probes and one.is_path and failure is not None:
            raise SampleError(f"{self._where(one, 0)}: none of its first files can be read")
        noted = kind_of_feature(one.feature)
        is_picture = noted == "Image" or (
            noted in ("", "Value")
            and bool(probes)
            and _most(_is_array(data, one.is_path) for _, data in probes)
        )
        if stated.kind in ("bytes", "text", "json") or not is_picture:
            return [(form, _blob(one, probes, names, noted, stated), False)]
        if not probes:
            return [(form, _empty(one, "a picture"), False)]
        return [(form, meaning, False) for meaning in self._picture(one, probes, stated)]

    def _picture(
        self, one: Given, probes: Sequence[tuple[int, bytes]], stated: Stated
    ) -> list[Meaning]:
        found, failure, where = list[Evidence](), None, ""
        for row, data in probes:
            try:
                own = probe(data, self._where(one, row), stated.invalid or ())
            except SampleError as error:
                failure = error
                continue
            if not found or own.alpha:
                where = self._where(one, row)
            found.append(own)
        if not found:
            raise SampleError(f"{failure}; --kinds {one.task}=bytes keeps such files as they are")
        if len({own.is_map for own in found}) > 1:
            raise UsageError(
                f"column {one.name}: shapes {found[0].shape} and others; files of one task must be "
                f"of one form: --kinds {one.task}=bytes keeps them as they are"
            )
        evidence = merge(sorted(found, key=lambda own: -own.channels))
        meaning = decide(one.task, evidence, stated, where)
        if evidence.alpha and stated.alpha == "mask" and meaning.conversion.alpha == "drop":
            return [meaning, alpha_meaning(meaning)]
        return [meaning]

    # lists of numbers

    def _lists(
        self, one: Given, kind: Any, shape: tuple[int, ...], stated: Stated
    ) -> tuple[Form, Meaning, bool]:
        wanted = stated.kind in MAPS or (stated.kind is None and kind_of_name(one.task) is not None)
        probes = self._probes(one) if wanted and len(shape) in (2, 3) else []
        arrays = [(row, numbers_of(array, at)) for row, array, at in probes]
        if arrays and (stated.kind or self._are_maps(arrays)):
            return self._map(one, arrays, stated)
        if stated.kind in MAPS:
            raise UsageError(f"column {one.name}: lists of shape {shape} cannot be {stated.kind}")
        if stated.kind in ("json", "text", "bytes", "class", "time"):
            return _plain(one, kind, stated)
        if len(shape) > MAX_AXES or max(shape) > MAX_AXIS:
            return _plain(one, kind, Stated(kind="json"))
        warnings: tuple[str, ...] = ()
        if arrays and min(arrays[0][1].shape[:2]) >= SMALLEST_MAP:
            warnings = (
                f"{one.task}: named like a map, but of another size than the pictures beside it; "
                "kept as a matrix, exactly",
            )
        dtype = _dtype(leaf_of(kind))
        if len(shape) == 1 and _embeds(one.task, dtype, shape[0], stated):
            return Form.LISTS, _embedding(one, kind, dtype, shape[0], stated), False
        task = Task.model_validate(
            {"name": one.task, "kind": "matrix", "dtype": dtype, "shape": shape}
        )
        spelt = "×".join("any" if n < 0 else str(n) for n in shape)
        why = f"lists of numbers, {spelt}"
        return (
            Form.LISTS,
            Meaning(task, why, shape, str(kind), warnings=warnings),
            False,
        )

    def _are_maps(self, arrays: Sequence[tuple[int, Any]]) -> bool:
        for row, array in arrays:
            first = _is_first(array.shape)
            size = array.shape[1:] if first else array.shape[:2]
            if min(size) < SMALLEST_MAP or (array.ndim == 3 and not _has_channels(array.shape)):
                return False
            if any(self._size(one, row) not in (None, size) for one in self._pictures):
                return False
        return True

    def _size(self, one: Given, row: int) -> tuple[int, ...] | None:
        try:
            cells = self._rows.cells(row, [one.name])
            data = file_of(*cells[one.name], self._load)
            return read_content(data, "").shape[:2] if data else None
        except (SampleError, KeyError, FileNotFoundError):
            return None

    def _map(
        self, one: Given, arrays: Sequence[tuple[int, Any]], stated: Stated
    ) -> tuple[Form, Meaning, bool]:
        first = _is_first(arrays[0][1].shape)
        turned = [np.moveaxis(array, 0, -1) if first else array for _, array in arrays]
        colours = (stated.kind or kind_of_name(one.task)) in ("rgb", "image")
        found = []
        for array in turned:
            alpha = array.ndim == 3 and array.shape[2] in (2, 4) and colours
            found.append(look(array, stated.invalid or (), format="lists", alpha=alpha))
        meaning = decide(one.task, merge(found), stated, self._where(one, arrays[0][0]))
        if not meaning.task.is_map:
            raise UsageError(f"column {one.name}: cannot be {stated.kind}")
        return Form.LISTS, meaning, first


def _embeds(name: str, dtype: str, length: int, stated: Stated) -> bool:
    """Tell whether lists of numbers are an embedding: stated, or by its name."""
    if stated.kind is None:
        return is_embedding(name, dtype, length)
    return stated.kind == "embedding"


def _embedding(one: Given, kind: Any, dtype: str, length: int, stated: Stated) -> Meaning:
    if length < 1 or not dtype.startswith("float"):
        raise UsageError(
            f"column {one.name}: {kind} cannot be an embedding, which is as many floats in every "
            f"row; say --kinds {one.task}=matrix"
        )
    task = Task.model_validate(
        {"name": one.task, "kind": "embedding", "dtype": dtype, "channels": length}
    )
    words = () if stated.kind else embedding_words(one.task, "embedding", dtype, length)
    why = f"stated: {stated.kind}" if stated.kind else f"named like embeddings, {length} numbers"
    return Meaning(task, why, (length,), str(kind), warnings=words)


def _spelt(one: Given, first: bool) -> str:
    return spell_column(Known(one.field, one.feature, first))


def _may_be_picture(one: Given) -> bool:
    kind = plain_type(one.field.type)
    return one.is_path or is_file(kind) or is_binary(kind)


def _most(found: Iterable[bool]) -> bool:
    """Tell whether at least half are so: one damaged picture makes no other column of it."""
    several = list(found)
    return 2 * sum(several) >= len(several)


def _is_array(data: bytes, is_path: bool = False) -> bool:
    """Tell whether bytes are a picture or array; of a file of its own, also numbers as text."""
    if holds_one(data):  # digits alone: any short text may be that
        return is_path and len(data.split()) >= NUMBERS
    try:
        read_content(data, "")
    except SampleError:
        return False
    return True


def _is_first(shape: Sequence[int]) -> bool:
    return len(shape) == 3 and shape[0] in PICTURE_CHANNELS and shape[2] not in PICTURE_CHANNELS


def _has_channels(shape: Sequence[int]) -> bool:
    return shape[0] in PICTURE_CHANNELS or shape[2] in PICTURE_CHANNELS


def _dtype(kind: Any) -> str:
    if arrow().types.is_boolean(kind):
        return "uint8"
    return str(np.dtype(kind.to_pandas_dtype()))


def _blob(
    one: Given,
    probes: Sequence[tuple[int, bytes]],
    names: Sequence[str],
    noted: str,
    stated: Stated,
) -> Meaning:
    kind = stated.kind or _kind_of_files(names) or "bytes"
    if kind in ("text", "json"):
        task = _blob_task(one, kind)
        return Meaning(task, f"files of {kind}", (), "bytes")
    if kind != "bytes":
        raise UsageError(
            f"column {one.name}: its files are no pictures or arrays that are read, and cannot be "
            f"{kind}; --kinds {one.task}=bytes keeps them as they are"
        )
    media = one_media_type(
        media_type_of(data, name) for (_, data), name in zip(probes, names, strict=True)
    )
    task = _blob_task(one, kind, media)
    what = "binary" if noted == "Value" else noted or "files"
    why = f"{what}{', ' + media if media else ''}"
    return Meaning(task, why, (), "bytes")


def _blob_task(one: Given, kind: str, media: str | None = None) -> Task:
    return Task(name=one.task, kind=TaskKind(kind), dtype="uint8", media_type=media)


def _kind_of_files(names: Sequence[str]) -> str | None:
    endings = {name.lower().rpartition(".")[2] for name in names if name}
    if endings and endings <= {"txt", "caption", "md"}:
        return "text"
    return "json" if endings == {"json"} else None


def _empty(one: Given, what: str) -> Meaning:
    task = _blob_task(one, "bytes")
    return Meaning(task, f"{what}, but no row has one", (), "")


def _plain(one: Given, kind: Any, stated: Stated) -> tuple[Form, Meaning, bool]:
    form, fields, why = _told(one, kind, stated)
    task = Task.model_validate({"name": one.task, **fields})
    said = f"stated: {stated.kind}" if stated.kind else why
    return form, Meaning(task, said, (), str(kind), Conversion()), False


def _told(one: Given, kind: Any, stated: Stated) -> tuple[Form, Mapping[str, Any], str]:
    """Return form, fields of the task and why, of a column that is neither file nor array."""
    types, noted = arrow().types, kind_of_feature(one.feature)
    blob = {"dtype": "uint8"}
    options: list[tuple[Form, dict[str, Any], str]] = []
    if is_number(kind):
        options = _told_number(one, kind, noted)
    elif is_text(kind):
        options = [(Form.TEXT, {"kind": "text", **blob}, "text")]
        as_json = (Form.JSON_TEXT, {"kind": "json", **blob}, "JSON")
        options.insert(0 if noted == "Json" or _is_json(one.field.type) else 1, as_json)
    elif types.is_decimal(kind):
        options = [(Form.SPELT, {"kind": "text", **blob}, "decimals, as text")]
    elif types.is_temporal(kind):
        options = _told_moment(one, kind)
    elif is_binary(kind):
        options = [(Form.BYTES, {"kind": "bytes", **blob}, "binary")]
    elif (why := has_no_json(kind)) is not None:
        raise UsageError(
            f"column {one.name}: {why} have no place in a sample; convert the column, or leave it "
            f"out with --ignore {one.task}"
        )
    else:
        options = [(Form.JSON, {"kind": "json", **blob}, f"{_short(kind)} as JSON")]
    for option in options:
        if stated.kind in (None, option[1]["kind"]):
            return option
    able = ", ".join(str(option[1]["kind"]) for option in options)
    raise UsageError(
        f"--kinds {one.task}={stated.kind}: column {one.name} holds {_short(kind)}, which can be "
        f"{able}"
    )


def _told_number(one: Given, kind: Any, noted: str) -> list[tuple[Form, dict[str, Any], str]]:
    types, shared = arrow().types, {"dtype": _dtype(kind), "channels": 0}
    names = one.feature.get("names") if noted == "ClassLabel" else None
    scalar = (Form.NUMBER, {"kind": "scalar", **shared}, f"{kind}")
    if types.is_boolean(kind):
        return [(Form.NUMBER, {"kind": "scalar", **shared, "valid_range": (0, 1)}, "0 or 1")]
    if types.is_floating(kind):
        return [scalar]
    classes = tuple(map(str, names or ()))
    why = f"ClassLabel, {len(classes)} classes" if classes else "a whole number called a class"
    own = (Form.NUMBER, {"kind": "class", **shared, "classes": classes}, why)
    named = any(word in CLASS_WORDS for word in one.task.split("_"))
    return [own, scalar] if noted == "ClassLabel" or named else [scalar, own]


def _told_moment(one: Given, kind: Any) -> list[tuple[Form, dict[str, Any], str]]:
    types = arrow().types
    narrow = types.is_date32(kind) or types.is_time32(kind)
    count = {"kind": "scalar", "dtype": "int32" if narrow else "int64", "channels": 0}
    as_count = (Form.COUNT, count, f"{kind}, as whole counts")
    if not (types.is_timestamp(kind) or types.is_date(kind)):
        return [as_count]
    factor, facts = ns_of(kind), one.facts
    if max(facts.high * factor, -facts.low * factor) > YEARS_NS:
        return [(*as_count[:2], f"{kind} beyond the years of nanoseconds, as whole counts")]
    time = {"kind": "time", "dtype": "int64", "channels": 0}
    return [(Form.TIME, time, str(kind)), as_count]


def _is_json(kind: Any) -> bool:
    return str(getattr(kind, "extension_name", "")) == "arrow.json"


def _short(kind: Any) -> str:
    text = str(kind)
    return text if len(text) <= 60 else text[:57] + "..."


def task_names(columns: Sequence[str]) -> dict[str, str]:
    """Return the task's name of each column: its own, spelled; where two are alike, numbered."""
    found: dict[str, str] = {}
    for at, column in enumerate(columns):
        name = spelled(column) or f"column_{at}"
        base, n = name[:44], 2
        while name in found.values():
            name, n = f"{base}_{n}", n + 1
        found[column] = name
    return found
