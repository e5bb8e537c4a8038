"""Where samples came from: what a keys file says of it comes back, whatever the names are."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsc._schemas import Origin, SequencePlace
from dsc._storage.format.keys import parse_keys
from dsc._storage.format.origins import (
    common_patterns,
    expand,
    pattern_of,
    read_lines,
    read_places,
    write_lines,
)
from dsc.errors import CorruptArchiveError

PARTS = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=6)
NAMES = st.lists(PARTS, min_size=1, max_size=3).map("/".join)
TASKS = st.sampled_from(["rgb", "depth", "label"])


@given(st.lists(st.tuples(NAMES, st.dictionaries(TASKS, NAMES)), min_size=1, max_size=5))
def test_any_names_and_paths_come_back(drawn: list[tuple[str, dict[str, str]]]) -> None:
    keys = [f"k{at}" for at in range(len(drawn))]
    origins = [Origin(name=name, files=files) for name, files in drawn]
    data = write_lines(keys, origins)
    assert read_lines(data, "here") == origins
    assert parse_keys(data, "here") == tuple(keys)


@given(NAMES, NAMES)
def test_a_pattern_gives_the_path_that_it_was_made_of(path: str, name: str) -> None:
    pattern = pattern_of(path, name)
    assert pattern is None or expand(pattern, name) == path


def test_paths_are_written_once_a_shard() -> None:
    names = [f"seq-0{at % 2}/{at:06d}" for at in range(100)]
    paths = ("{}/rgb/{}.jpg", "depth/{}/{}_d.png")
    origins = []
    for name in names:
        rgb, depth = (path.format(*name.split("/")) for path in paths)
        origins.append(Origin(name=name, files={"rgb": rgb, "depth": depth}))
    assert common_patterns(origins) == {
        "depth": "depth/{dir}/{name}_d.png",
        "rgb": "{dir}/rgb/{name}.jpg",
    }
    keys = [name.replace("/", "__") for name in names]
    data = write_lines(keys, origins)
    assert len(data) < 100 * 60
    assert read_lines(data, "here") == origins


def test_names_that_are_keys_cost_nothing() -> None:
    data = write_lines(["a", "b"], [Origin(name="a"), Origin(name="b")])
    assert data == b'{"key":"a"}\n{"key":"b"}\n'
    assert write_lines(["a"], [None]) == b'{"key":"a"}\n'
    assert read_lines(b'{"key":"a"}\n', "here") == [Origin(name="a")]


def test_people_find_names_as_they_are_and_bytes_that_are_no_text_survive() -> None:
    latin = b"caf\xe9".decode("utf-8", "surrogateescape")
    origins = [Origin(name="图像 一", files={}), Origin(name=latin, files={})]
    data = write_lines(["a", "b"], origins)
    assert "图像 一".encode() in data
    assert [origin.name for origin in read_lines(data, "here")] == ["图像 一", latin]
    for line in data.splitlines():
        json.loads(line)


@pytest.mark.parametrize(
    "line",
    ["[]", '{"key":"a","source":3}', '{"key":"a","files":[1]}', "{", "[" * 100_000],
    ids=lambda line: line[:30],
)
def test_lines_that_say_something_else_are_damage(line: str) -> None:
    with pytest.raises(CorruptArchiveError, match="here"):
        read_lines(line.encode() + b"\n", "here")


def test_places_in_recordings_come_back() -> None:
    places = [SequencePlace("seq-01", 3, 10**18), None, SequencePlace("seq-02", 0)]
    data = write_lines(["a", "b", "c"], [None, Origin(name="x/b"), Origin(name="c")], places)
    assert read_places(data, "keys") == places
    assert parse_keys(data, "keys") == ("a", "b", "c")
    assert [origin.name for origin in read_lines(data, "keys")] == ["a", "x/b", "c"]


def test_lines_without_places_are_what_they_were() -> None:
    lines = write_lines(["a"], [None], [None])
    assert lines == write_lines(["a"], [None]) == b'{"key":"a"}\n'
    assert read_places(lines, "keys") == [None]


@pytest.mark.parametrize(
    "field",
    ['"seq":1,"frame":2', '"seq":"s"', '"seq":"s","frame":-1', '"seq":"s","frame":1,"t":1.5'],
)
def test_a_place_that_is_none_is_damage(field: str) -> None:
    with pytest.raises(CorruptArchiveError, match="keys: a line says no place"):
        read_places(f'{{"key":"a",{field}}}\n'.encode(), "keys")


def test_a_file_that_samples_share_is_said_once() -> None:
    origins = [
        Origin(name=f"{scene}/{n}", files={"rgb": f"{scene}/{n}.png", "k": f"{scene}/in/k.txt"})
        for scene in ("a", "b")
        for n in (0, 1, 10)
    ]
    lines = write_lines([f"k{n}" for n in range(6)], origins)
    assert common_patterns(origins) == {"rgb": "{dir}/{name}.png", "k": "{dir}/in/k.txt"}
    assert lines.count(b"k.txt") == 1
    assert read_lines(lines, "keys") == origins
    assert common_patterns(origins[:1]) == {"rgb": "{dir}/{name}.png"}
