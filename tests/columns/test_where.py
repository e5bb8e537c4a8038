"""Conditions on columns: worked out for all samples at once as Python would for each."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._columns.column import Column, NumberColumn, coded, unique_blobs
from dsc._columns.where import Where
from dsc.errors import UsageError

ROOMS = ("kitchen", "bath", "hall way")
DAY = 86_400 * 10**9


def numbers(values: list[Any], dtype: str = "int64", **more: Any) -> NumberColumn:
    there = np.array([value is not None for value in values])
    return NumberColumn(np.array([value or 0 for value in values], dtype), there, **more)


class Few:
    """Five samples; the last one has nothing but a key."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {
            "count": numbers([3, 0, 250, 7, None], "uint8", name="count"),
            "score": numbers([0.1, 0.5, 2.5, -1.0, None], "float32", name="score"),
            "scene": numbers([0, 1, 0, 2, None], what="class", name="scene", classes=ROOMS),
            "plain": numbers([0, 1, 0, 2, None], what="class", name="plain"),
            "stamp": numbers([0, DAY, 2 * DAY, DAY + 1, None], what="time", name="stamp"),
            "caption": coded(["A dog", "ein Hündchen", "", "a\0b", None], "text", "caption"),
            "meta": coded(
                [
                    {"weather": "rain", "n": 3, "tags": ["a", "b"]},
                    {"weather": "sun", "n": 2.5, "deep": {"x": [1, {"y": "z"}]}},
                    {"weather": None, "n": "3", "flag": True},
                    [1, 2],
                    None,
                ],
                "json",
                "meta",
            ),
            "pose": NumberColumn(
                np.arange(60).reshape(5, 3, 4), np.array([1, 1, 1, 1, 0], bool), "number", "pose"
            ),
            "odds": NumberColumn(
                np.eye(5, 3), np.array([1, 1, 1, 1, 0], bool), "number", "odds", ROOMS
            ),
            "sound": numbers([10, 0, 5, 7, None], what="bytes", name="sound"),
            "rgb": numbers([0, 0, 0, 0, None], what="map", name="rgb"),
            "key": coded(["k0", "k1", "k2", "k3", "k4"], "text", "key"),
            "class": numbers([1, 2, 3, 4, None], name="class"),
        }
        self.names = list(self.columns)
        self.read: list[str] = []

    def __len__(self) -> int:
        return 5

    def column(self, name: str) -> Column:
        self.read.append(name)
        if name not in self.columns:
            raise UsageError(f"no column {name!r}; this archive has {', '.join(self.names)}")
        return self.columns[name]

    def key(self, k: int) -> str:
        return f"k{k}"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("count == 3", [0]),
        ("count != 3", [1, 2, 3]),
        ("not count == 3", [1, 2, 3, 4]),
        ("1 < count <= 7", [0, 3]),
        ("3 == count", [0]),
        ("5 < count", [2, 3]),
        ("count == 1000", []),
        ("count < 10**0", None),
        ("count + 250 > 255", [2, 3]),
        ("count * 2 == 500", [2]),
        ("count - 4 < 0", [0, 1]),
        ("-count == -3", [0]),
        ("abs(score) == 1", [3]),
        ("10 // count == 3", [0]),
        ("1 / count > 0", [0, 2, 3]),
        ("count % 2 == 1 and score > 0", [0]),
        ("count % 2 == 1 or score > 0", [0, 1, 2, 3]),
        ("(count == 3) | (count == 7)", [0, 3]),
        ("(count == 3) & ~(score > 0)", []),
        ("score == 0.1", [0]),
        ("count", [0, 2, 3]),
        ("not count", [1, 4]),
        ("count > score", [0, 2, 3]),
        ("count in (3, 7, 1000)", [0, 3]),
        ("count not in [3, 7]", [1, 2]),
        ("score in {0.5, 9}", [1]),
        ("count is None", [4]),
        ("count is not None", [0, 1, 2, 3]),
        ("count == None", [4]),
        ("rgb is None", [4]),
        ("sound is not None and len(sound) > 5", [0, 3]),
        ("scene == 'kitchen'", [0, 2]),
        ("'kitchen' != scene", [1, 3]),
        ("scene == 0", [0, 2]),
        ("scene in ('bath', 2)", [1, 3]),
        ("scene.startswith('k') or contains(scene, 'll w')", [0, 2, 3]),
        ("'ath' in scene", [1]),
        ("scene < 'c'", [1]),
        ("len(scene) > 4", [0, 2, 3]),
        ("plain == 2", [3]),
        ("stamp >= '1970-01-02'", [1, 2, 3]),
        ("stamp == '1970-01-02T01:00:00+01:00'", [1]),
        ("stamp in ('1970-01-02T00:00:00Z', 0)", [0, 1]),
        ("stamp - 1 == 86400000000000", [3]),
        ("caption == 'A dog'", [0]),
        ("caption.lower() == 'a dog'", [0]),
        ("upper(caption) == 'EIN HÜNDCHEN'", [1]),
        ("len(caption) == 12", [1]),
        ("len(caption) < 4", [2, 3]),
        ("'dog' in caption", [0]),
        ("'dog' not in caption", [1, 2, 3]),
        ("caption.contains('\\0')", [3]),
        ("caption.endswith('chen')", [1]),
        ("caption == ''", [2]),
        ("caption is None", [4]),
        ("caption in ('', 'A dog')", [0, 2]),
        ("caption > key", []),
        ("key > caption", [0, 1, 2, 3]),
        ("'k' in key and key != 'k1'", [0, 2, 3, 4]),
        ("meta.weather == 'rain'", [0]),
        ("meta.weather != 'rain'", [1]),
        ("meta.weather is None", [2, 3, 4]),
        ("meta['weather'].startswith('s')", [1]),
        ("meta.n == 3", [0]),
        ("meta.n > 2", [0, 1]),
        ("meta.n + 1 > 3", [0, 1]),
        ("meta.n == '3'", [2]),
        ("meta.flag", [2]),
        ("'a' in meta.tags", [0]),
        ("'weather' in meta", [0, 1, 2]),
        ("meta.tags[1] == 'b'", [0]),
        ("meta.tags[-1] == 'b' and len(meta.tags) == 2", [0]),
        ("meta.deep.x[1].y == 'z'", [1]),
        ("meta[0] == 1", [3]),
        ("meta.n == count", [0]),
        ("pose[0, 3] == 15", [1]),
        ("pose[1][2] == 6", [0]),
        ("pose[-1][-1] > 40", [3]),
        ("len(pose) == 3", [0, 1, 2, 3]),
        ("odds.bath == 1", [1]),
        ("odds['hall way'] > 0.5 or odds[0] > 0.5", [0, 2]),
        ("column('class') == 2", [1]),
        ("True", [0, 1, 2, 3, 4]),
        ("1 + 1 == 2 and count == 3", [0]),
        ("'a' in ('a', 'b')", [0, 1, 2, 3, 4]),
    ],
)
def test_an_expression_holds_for(text: str, wanted: list[int] | None) -> None:
    if wanted is None:
        with pytest.raises(UsageError, match="not understood"):
            Where(text)
        return
    assert np.flatnonzero(Where(text).holds(Few())).tolist() == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count ==", "invalid syntax"),
        ("", "invalid syntax"),
        (
            "scene = 'kitchen'",
            "invalid syntax at letter 7; is == meant?",
        ),
        ("((((count", "never closed"),
        ("(" * 300 + "1" + ")" * 300, "too many nested parentheses"),
        ("-" * 100_000 + "1", "where="),
        ("count.__class__()", "not understood"),
        ("__import__('os').system('true')", "not understood"),
        ("(lambda: 1)()", "not understood"),
        ("[c for c in caption]", "not understood"),
        ("count if score else 1", "not understood"),
        ("f'{count}' == 'a'", "not understood"),
        ("count ** 2", "not understood; it may hold =="),
        ("len(caption, 2)", "len takes 1 values"),
        ("startswith(caption)", "startswith takes 2 values"),
        ("startswith(caption, key)", "startswith takes text in quotes"),
        ("caption.lower(x=1)", "not understood"),
        ("caption.strip()", "not understood"),
        ("b'a' == caption", "not understood"),
        ("nothing == 3", "no column 'nothing'; this archive has count, score"),
        ("caption > 3", "caption is text, and 3 is a number: these cannot be compared"),
        ("count == 'three'", "count is a number, and 'three' is text"),
        ("plain == 'bath'", "this archive has no names of its classes"),
        ("count in ('a', 2)", "count is a number, and 'a' is none"),
        ("caption in (1, 2)", "caption is text, and 1 is a number"),
        ("scene == 'bathroom'", "scene has no class 'bathroom'; found: bath, of 3 in all"),
        ("stamp > 'yesterday'", "'yesterday' is no time"),
        ("stamp > 'now'", "'now' is no time"),
        ("stamp > ''", "'' is no time"),
        ("stamp > '1970-01-02T25:00+01:00'", "is no time"),
        ("caption", "caption is text, and no condition"),
        ("scene", "scene is a class, and no condition"),
        ("pose == 3", "pose is an array of 3×4: name one element, as pose[0]"),
        ("pose[3, 0] == 3", "no element [3, 0]"),
        ("pose[0] == 3", "pose[0] is an array of 4"),
        ("odds.cellar > 1", "odds has no class 'cellar'; found: kitchen, bath, hall way"),
        ("'bath' in odds", "odds is an array of 3"),
        ("odds == 'bath'", "odds is an array of 3"),
        ("pose['x'] == 3", "only JSON has fields by name"),
        ("caption.weather == 'x'", "only JSON has fields by name"),
        ("rgb == 3", "rgb is a map: only `rgb is None` can be asked"),
        ("sound == 3", "only len(sound)"),
        ("count == (1, 2)", "or with several by `in`"),
        ("count in 3", "3 is a number: `in` looks into lists"),
        ("caption + 'a' == 'b'", "caption is text: `+` calculates with numbers"),
        ("count > 1 & score < 2", "beside & or | is no condition"),
        ("count is 3", "`is` is for None"),
        ("count < None", "write `x is None`"),
        ("1 // 0 == count", "1 // 0"),
        ("lower(count) == 'a'", "count is a number: lower is of text"),
        ("count in (score, 1)", "a list holds numbers and text, not columns"),
        ("score in ((1, 2), 3)", "a list holds numbers and text, not columns or lists"),
    ],
)
def test_what_cannot_be_worked_out_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Where(text).holds(Few())
    assert message in str(caught.value)
    assert str(caught.value).startswith("where")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("meta.n + 1 > 5", [1, 0, 1]),
        ("meta.n * 2 < 0", [0, 0, 0]),
        ("-meta.n < 0", [1, 1, 1]),
        (f"index + {10**400} > 0", [1, 1, 1]),
        (f"index - {10**400} > 0", [0, 0, 0]),
    ],
)
def test_integers_beyond_all_floats_are_infinite(text: str, wanted: list[int]) -> None:
    class Huge(Few):
        def __len__(self) -> int:
            return 3

        def column(self, name: str) -> Column:
            if name == "index":
                return NumberColumn(np.arange(3), np.ones(3, bool), name=name)
            return coded([{"n": 10**400}, {"n": 3}, {"n": 7.5}], "json", "meta")

    assert Where(text).holds(Huge()).tolist() == [bool(one) for one in wanted]


def test_a_function_gets_a_row_that_reads_what_it_looks_up() -> None:
    few = Few()

    def long(row: Mapping[str, Any]) -> bool:
        return row["count"] is not None and row["count"] > 2 and "o" in row["caption"]

    assert np.flatnonzero(Where(long).holds(few)).tolist() == [0]
    assert set(few.read) == {"count", "caption"}
    assert list(Where(lambda row: len(row) == len(list(row))).holds(few)) == [True] * 5
    some = Where(lambda row: True).holds(few, np.array([0, 1, 0, 0, 1], bool))
    assert some.tolist() == [False, True, False, False, True]


def test_a_function_that_fails_names_the_sample() -> None:
    with pytest.raises(UsageError, match="of sample k4: TypeError"):
        Where(lambda row: row["count"] > 2).holds(Few())
    with pytest.raises(UsageError, match="no column 'cuont'; this archive has"):
        Where(lambda row: row["cuont"] > 2).holds(Few())
    with pytest.raises(UsageError, match="or a function of one row"):
        Where(3)  # type: ignore[arg-type]


def test_what_does_not_matter_is_not_read() -> None:
    few = Few()
    assert not Where("count > 1000 and caption == 'a'").holds(few).any()
    assert few.read == ["count"]


def test_the_columns_of_an_expression() -> None:
    found = Where("len(caption) > 2 and meta.weather == 'x' and column('class') in (1, 2)")
    assert found.columns == ["caption", "meta", "class"]
    assert repr(Where("a == 1")) == "where='a == 1'"


VALUES = st.lists(st.one_of(st.none(), st.integers(-4, 4)), min_size=1, max_size=6)
ATOMS = st.sampled_from(["x", "y", "2", "-1", "0"])


@st.composite
def expressions(draw: st.DrawFn, depth: int = 0) -> str:
    kind = draw(st.integers(0, 4 if depth < 3 else 0))
    if kind <= 1:
        left = f"{draw(ATOMS)} {draw(st.sampled_from('+-*'))} {draw(ATOMS)}"
        sign = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
        return f"({left} {sign} {draw(ATOMS)})"
    if kind == 2:
        return f"(not {draw(expressions(depth + 1))})"
    if kind == 3:
        return f"({draw(ATOMS)} in (1, 2, -3))"
    word = draw(st.sampled_from(["and", "or"]))
    return f"({draw(expressions(depth + 1))} {word} {draw(expressions(depth + 1))})"


class Unknown:
    """A value that is not there: calculated with it stays so, and no comparison holds."""

    def _same(self, *_: object) -> "Unknown":
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __neg__ = _same
    __hash__ = None  # type: ignore[assignment]

    def _false(self, *_: object) -> bool:
        return False

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _false  # type: ignore[assignment]


@settings(max_examples=200)
@given(VALUES, st.data())
def test_an_expression_holds_as_python_says_sample_by_sample(
    x: list[int | None], data: st.DataObject
) -> None:
    y = data.draw(
        st.lists(st.one_of(st.none(), st.integers(-4, 4)), min_size=len(x), max_size=len(x))
    )
    text = data.draw(expressions())
    few = Few()
    few.columns = {"x": numbers(x, name="x"), "y": numbers(y, "int8", name="y")}
    type(few).__len__ = lambda self: len(self.columns["x"])  # type: ignore[method-assign]
    try:
        found = Where(text).holds(few).tolist()
    finally:
        type(few).__len__ = lambda self: 5  # type: ignore[method-assign]
    known = [
        {name: Unknown() if v is None else v for name, v in (("x", a), ("y", b))}
        for a, b in zip(x, y, strict=True)
    ]
    assert found == [bool(eval(text, {}, row)) for row in known], text


@given(st.lists(st.binary(max_size=12), max_size=40), st.booleans())
def test_byte_strings_are_told_apart(blobs: list[bytes], is_long: bool) -> None:
    whole = [blob * (9 if is_long else 1) for blob in blobs]
    lengths = np.array([len(blob) for blob in whole], np.int64)
    table, codes = unique_blobs(np.frombuffer(b"".join(whole), np.uint8), lengths)
    assert [table[code] for code in codes.tolist()] == whole
    assert len(set(table)) == len(table) == len(set(whole))


EXTREMES = [2**63 - 1, -(2**63), 2**53 + 1, 2**53, 1, 0, -3]


class Wide:
    """Integers that neither floats nor sums hold, and floats that products leave."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {
            "id": numbers(EXTREMES, name="id"),
            "hash": numbers([2**64 - 1, 2**63, 2**53 + 1, 5, 0, 1, 2], "uint64", name="hash"),
            "half": numbers([0.5, 100.0, 65504.0, np.inf, -2.0, 0.1, 3.0], "float16", name="half"),
            "single": numbers([2.0**24, 0.1, 1e38, np.nan, 0.0, 1.0, 2.0], "float32"),
            "meta": coded([2**70, 10**400, -(10**400), 2.5, 1, True, "a"], "json", "meta"),
        }
        self.names = list(self.columns)

    def __len__(self) -> int:
        return len(EXTREMES)

    def column(self, name: str) -> Column:
        return self.columns[name]

    def key(self, k: int) -> str:
        return str(k)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("id + 1 < 0", [1, 6]),
        ("id * 2 > 0", [0, 2, 3, 4]),
        ("id * id >= 0", [0, 1, 2, 3, 4, 5, 6]),
        ("-id > 3", [1]),
        ("abs(id) > 3", [0, 1, 2, 3]),
        ("abs(id) == 9223372036854775808", [1]),
        ("id == 9007199254740992.0", [3]),
        ("id in (9007199254740992.0, 2)", [3]),
        ("id < hash", [0, 1, 5, 6]),
        ("id <= half", [1, 3, 5, 6]),
        ("id // 1 == id and id % 2 == 1", [0, 2, 4, 6]),
        ("hash % 2 == 1", [0, 2, 3, 5]),
        ("hash + 1 == 18446744073709551616", [0]),
        ("hash > 18446744073709551614.0", []),
        ("hash - id > 9223372036854775808", [1]),
        ("hash - 5 < 0", [4, 5, 6]),
        ("hash / 2 > 4e18", [0, 1]),
        ("hash // 0 > 0", []),
        ("id * hash", [0, 1, 2, 3, 6]),
        ("half * 1000 > 70000", [1, 2, 3]),
        ("half == 70000", []),
        ("half < 70000.0", [0, 1, 2, 4, 5, 6]),
        ("half == 0.1", [5]),
        ("single == 16777217", []),
        ("single * 10 == 1e39", []),
        ("single * 10 > 1e38", [2]),
        ("meta > 5", [0, 1]),
        ("meta + 0 > 5", [0, 1]),
        ("meta < id", [2, 3]),
    ],
)
def test_large_numbers_are_neither_rounded_nor_cut(text: str, wanted: list[int]) -> None:
    assert np.flatnonzero(Where(text).holds(Wide())).tolist() == wanted


LARGE = st.sampled_from(["id", "hash", "2", "-1", "9007199254740993", "9223372036854775807"])


@settings(max_examples=300)
@given(LARGE, st.sampled_from("+-*"), LARGE, st.sampled_from(["==", "<", ">="]), LARGE)
def test_large_integers_are_calculated_with_as_python_does(
    left: str, sign: str, right: str, how: str, other: str
) -> None:
    text, wide = f"{left} {sign} {right} {how} {other}", Wide()
    rows = [
        {"id": int(i), "hash": int(h)}
        for i, h in zip(
            wide.columns["id"].values,
            wide.columns["hash"].values,
            strict=True,  # type: ignore[union-attr]
        )
    ]
    wanted = [bool(eval(text, {}, row)) for row in rows]
    assert Where(text).holds(wide).tolist() == wanted
