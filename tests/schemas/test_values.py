"""Values of tasks that are no maps become native arrays and come back, or are refused."""

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsc._schemas import Task, TaskKind
from dsc._schemas.kind import LATER_KINDS

TEXT = Task(name="caption", kind="text", dtype="uint8")
JSON = Task(name="meta", kind="json", dtype="uint8")
BYTES = Task(name="sound", kind="bytes", dtype="uint8", media_type="audio/wav")
SCALAR = Task(name="height", kind="scalar", dtype="float64", channels=0)
WHOLE = Task(name="count", kind="scalar", dtype="uint16", channels=0)
TIME = Task(name="taken", kind="time", dtype="int64", channels=0)
POSE = Task(name="pose", kind="matrix", dtype="float32", shape=(2, 2))
BOXES = Task(name="boxes", kind="matrix", dtype="float64", shape=(-1, 4))

MEMBERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.text())
def test_text_comes_back_or_is_no_utf8(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        with pytest.raises(ValueError, match="lone surrogate"):
            TEXT.to_native(text)
    else:
        assert TEXT.to_physical(TEXT.to_native(text)) == text


@given(MEMBERS)
def test_json_comes_back_with_its_order(value):
    found = JSON.to_physical(JSON.to_native(value))
    assert json.dumps(found) == json.dumps(value)


def test_bytes_of_json_and_text_stay_as_they_are():
    spelled = b'{ "b": 1.0,\n "a": [1e2, "\\ud800"] }'
    assert JSON.to_native(spelled).tobytes() == spelled
    assert JSON.to_physical(JSON.to_native(spelled)) == {"b": 1.0, "a": [100.0, "\ud800"]}
    assert TEXT.to_native("a\0é".encode()).tobytes() == "a\0é".encode()
    assert BYTES.to_physical(BYTES.to_native(b"\xff\0")) == b"\xff\0"
    assert JSON.to_physical(JSON.to_native({"lone": "\ud800"})) == {"lone": "\ud800"}


@given(st.lists(st.lists(st.floats(), min_size=4, max_size=4), min_size=1, max_size=5))
def test_matrices_come_back(rows):
    found = BOXES.to_physical(BOXES.to_native(rows))
    assert np.array_equal(found, np.array(rows), equal_nan=True)


def test_moments_are_nanoseconds():
    assert TIME.to_native("2026-01-02T03:04:05.123456789").item() == 1767323045123456789
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    east = noon.astimezone(timezone(timedelta(hours=3)))
    same = [noon, east, "2026-01-02T12:00:00Z", "2026-01-02T15:00+0300", "2026-01-02T12:00"]
    assert {TIME.to_native(value).item() for value in same} == {1767355200000000000}
    assert TIME.to_native(np.datetime64("1969-12-31T23:59:59")).item() == -1_000_000_000
    assert TIME.to_native("2026-01-02").item() % 86_400_000_000_000 == 0
    assert TIME.to_native("1970-01-01T01:00:00.000000017+01:00").item() == 17
    assert TIME.to_native(17).item() == 17


@pytest.mark.parametrize(
    ("task", "value", "message"),
    [
        (TEXT, b"\xff", "utf-8"),
        (TEXT, 3, "text expected, found int"),
        (BYTES, "text", "bytes expected, found str"),
        (JSON, b"{", "Expecting"),
        (JSON, b"[" * 100_000, "too deeply"),
        (JSON, {"a": {1, 2}}, "set"),
        (SCALAR, [1.0], r"shape \(1,\), expected \(\)"),
        (SCALAR, "1.0", "numbers expected"),
        (WHOLE, -1, "changes as uint16"),
        (WHOLE, 70000, "changes as uint16"),
        (WHOLE, 1.5, "changes as uint16"),
        (WHOLE, float("nan"), "changes as uint16"),
        (SCALAR, 2**53 + 1, "changes as float64"),
        (POSE, [[0.1, 0], [0, 1]], "changes as float32"),
        (POSE, [[1, 2, 3]], r"shape \(1, 3\), expected \(2, 2\)"),
        (BOXES, [[1, 2], [3]], "rows differ in length"),
        (BOXES, np.zeros((2, 3)), r"expected \(any, 4\)"),
        (JSON, {1: "a", "1": "b"}, "names are text, 1 is none"),
        (JSON, [{"a": ({None: 1},)}], "names are text, None is none"),
        (TIME, 1.5, "no moment"),
        (TIME, "yesterday", "no moment"),
        (TIME, np.datetime64("NaT"), "NaT"),
        (TIME, np.datetime64("9999-01-01"), "outside"),
    ],
)
def test_what_would_change_is_refused(task, value, message):
    with pytest.raises(ValueError, match=message):
        task.to_native(value)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "text", "dtype": "int32"},
        {"kind": "bytes", "dtype": "uint8", "channels": 2},
        {"kind": "bytes", "dtype": "uint8", "media_type": "no type"},
        {"kind": "text", "dtype": "uint8", "media_type": "text/plain"},
        {"kind": "time", "dtype": "float64", "channels": 0},
        {"kind": "scalar", "dtype": "float64", "channels": 1},
        {"kind": "matrix", "dtype": "float64"},
        {"kind": "vector", "dtype": "float64", "channels": 3, "shape": (3,)},
    ],
)
def test_a_kind_has_its_own_fields_only(fields):
    with pytest.raises(ValueError, match="1 validation error"):
        Task(name="x", **fields)


def test_no_field_came_into_tasks_that_were_there_before():
    for kind in TaskKind:
        if kind not in LATER_KINDS:
            dumped = Task(name="x", kind=kind, dtype="int64").model_dump(mode="json")
            assert dumped.keys().isdisjoint({"shape", "media_type", "exact"})
