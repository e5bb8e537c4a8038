"""Keys are read as they are or refused, and found among many whatever their hashes are."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsc._bench.server import serve
from dsc._storage.format import keys as keys_module
from dsc._storage.format.keys import KeyIndex, hash_keys, new_factor, parse_keys
from dsc._storage.read import archive as archive_module
from dsc._storage.read.archive import Archive
from dsc.errors import CorruptArchiveError, UnknownSampleError, UnsafeArchiveError
from tests.archives import build_archive

KEYS = st.from_regex(r"[A-Za-z0-9_-]{1,80}", fullmatch=True)


def lines(keys: list[str]) -> bytes:
    return "".join(f'{{"key":"{key}"}}\n' for key in keys).encode()


@given(st.lists(KEYS, max_size=20))
def test_keys_are_read_as_they_were_written(keys: list[str]) -> None:
    assert parse_keys(lines(keys), "here") == tuple(keys)


@given(st.lists(KEYS, min_size=1, max_size=8), st.integers(0, 7))
def test_other_spellings_and_fields_of_a_line_change_no_key(keys: list[str], at: int) -> None:
    spelled = lines(keys).splitlines()
    spelled[at % len(keys)] = f'{{ "weight": 3, "key": "{keys[at % len(keys)]}" }}'.encode()
    assert parse_keys(b"\n".join(spelled), "here") == tuple(keys)


@pytest.mark.parametrize(
    "line", ['{"key":"a/b"}', '{"key":"../x"}', '{"key":""}', '{"key":"a.b"}', '{"key":7}',
             '{"key":"' + "x" * 81 + '"}', '{"key":"a\\nb"}']
)  # fmt: skip
def test_what_is_no_key_is_refused_among_good_ones(line: str) -> None:
    with pytest.raises(UnsafeArchiveError, match="no sample key"):
        parse_keys(lines(["a", "b"]) + line.encode() + b"\n" + lines(["c"]), "here")


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"key"', '"key"', '{"key":"a"}x'])
def test_a_line_that_is_no_object_with_a_key_is_damage(line: str) -> None:
    with pytest.raises(CorruptArchiveError, match="a line is not"):
        parse_keys(lines(["a"]) + line.encode() + b"\n" + lines(["c"]), "here")


@given(st.lists(st.lists(KEYS, max_size=20), max_size=5))
def test_every_key_is_among_its_candidates_at_all_its_places(parts: list[list[str]]) -> None:
    factor = new_factor()
    index = KeyIndex([hash_keys(part, factor) for part in parts], factor)
    every = [key for part in parts for key in part]
    for key in every:
        found = index.candidates(key)
        assert {place for place, other in enumerate(every) if other == key} <= set(found)
        assert found == sorted(found)
    assert "not there" not in every
    assert index.candidates("not-there") == [
        place for place in range(len(every)) if every[place] == "not-there"
    ]


def test_hashes_of_similar_keys_differ() -> None:
    keys = [f"point_{point}_view_{view}" for point in range(2000) for view in range(25)]
    assert len(set(hash_keys(keys, new_factor()).tolist())) == len(keys)


def test_keys_whose_hashes_collide_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "hash_keys", collide)
    monkeypatch.setattr(archive_module, "hash_keys", collide)
    build_archive(tmp_path, 23, 8, 3)
    archive = Archive.open(tmp_path)
    assert [archive.index_of(f"view_{index:05d}") for index in range(23)] == list(range(23))
    with pytest.raises(UnknownSampleError, match="view_00023"):
        archive.index_of("view_00023")


def collide(keys: list[str], factor: int) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    return np.full(len(keys), 7, np.uint64)


@pytest.mark.parametrize("key", ["", "view_99999", "a/b", "x" * 200, "schlüssel", "view_00001\0"])
def test_a_key_that_is_not_there_is_a_key_error(tmp_path: Path, key: str) -> None:
    build_archive(tmp_path)
    with pytest.raises(KeyError, match="no sample"):
        Archive.open(tmp_path).index_of(key)


def test_keys_files_are_read_once_each_to_find_a_key_and_damage_is_named(tmp_path: Path) -> None:
    build_archive(tmp_path / "a", 40, 4, 2)
    with serve(tmp_path / "a") as (url, traffic):
        archive = Archive.open(url)
        assert archive.index_of("view_00037") == 37
        again = archive.fresh()
        assert again.index_of("view_00002") == 2  # a forked reader has the hashes
        files = [path for path in traffic.requests.elements() if path.startswith("keys/")]
        assert len(set(files)) == 10
        assert len(files) <= 12  # and once more the two in which the keys were
        path = tmp_path / "a" / "keys/train-keys-000003.jsonl"
        path.write_bytes(path.read_bytes().replace(b"view_00013", b"view_00099"))
        with pytest.raises(CorruptArchiveError, match=r"keys/train-keys-000003\.jsonl"):
            Archive.open(url).index_of("view_00037")


def test_keys_of_few_shards_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "KEPT_KEYS", 10)
    build_archive(tmp_path, 40, 4, 2)
    archive = Archive.open(tmp_path)
    assert [archive.key(index) for index in range(40)] == [f"view_{i:05d}" for i in range(40)]
    shutil.rmtree(tmp_path / "keys")
    assert archive.key(39) == "view_00039"
    with pytest.raises(CorruptArchiveError, match="missing"):
        archive.key(0)
