"""`dsc ls` and `dsc export` of some samples."""

import json
from pathlib import Path
from typing import Any

import pytest

import dsc as package
from dsc._sources import registry
from tests.cli.conftest import Command

N = 12


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("everything") / "a"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.SOURCES, "everything", "tests.everything:EverythingSource")
        package.compress("everything", out, n=N, codec="png", shard_size=5, pack=2)
    return out


def listed(dsc: Command, archive: Path, *options: str) -> list[int]:
    found: dict[str, Any] = json.loads(dsc("ls", archive, "--json", "-n", "0", *options).out)
    return [entry["index"] for entry in found["samples"]]


def test_samples_are_listed_by_condition_key_hash_and_number(
    dsc: Command, archive: Path, tmp_path: Path
) -> None:
    where = "scene == 'hall' and height > 2"
    assert listed(dsc, archive, "--where", where) == [7, 9, 11]
    assert listed(dsc, archive, "--where", where, "--limit", "2", "--split", "train") == [7, 9]
    assert listed(dsc, archive, "--keys", "sample_5,sample_1") == [5, 1]
    names = tmp_path / "some.txt"
    names.write_text("sample_3\n\nsample_8\n")
    assert listed(dsc, archive, "--keys", f"@{names}") == [3, 8]
    half = listed(dsc, archive, "--subset", "0.5")
    assert set(listed(dsc, archive, "--subset", "0.2")) < set(half) < set(range(N))
    assert "sample_7" in dsc("ls", archive, "--where", where).out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--where", "scen == 1"), "no column 'scen' (did you mean scene?)"),
        (("--where", "height > 99"), "leaves none of the 12 samples"),
        (("--where", "height >"), "invalid syntax"),
        (("--keys", "nobody"), "no sample 'nobody'"),
        (("--keys", "@/none"), "--keys @/none: "),
        (("--limit", "0"), "limit=0"),
        (("--subset", "2"), "subset=2.0"),
        (("--split", "val"), "no split 'val'; found: train"),
        (("--limit", "3", "--shards"), "--limit is of samples"),
    ],
)
def test_a_wrong_selection_is_a_plain_message(
    dsc: Command, archive: Path, options: tuple[str, ...], message: str
) -> None:
    result = dsc("ls", archive, *options)
    assert result.code == 2
    assert message in " ".join(result.err.split())
    assert "Traceback" not in result.err


def test_some_samples_are_exported(dsc: Command, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--tasks", "rgb,caption", "--names", "keys", "--out", out)
    result = dsc("export", archive, *options, "--where", "index in (2, 3)")
    assert result.code == 0
    found = {path.relative_to(out).as_posix() for path in out.rglob("*.*") if path.is_file()}
    assert found - {".dsc-export.json"} == {
        "rgb/sample_2.png", "rgb/sample_3.png", "caption/sample_2.txt"
    }  # fmt: skip
    assert dsc("export", archive, *options, "--limit", "3").code == 0
    assert (out / "rgb/sample_0.png").is_file()
    assert not (out / "rgb/sample_4.png").exists()
