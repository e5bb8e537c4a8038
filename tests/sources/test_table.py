"""Tables of paths and values: what cells are, and what is wrong with them."""

import json
import os
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import dsc
from dsc._files.formats import can_read
from dsc._sources.base import read_sample
from dsc._sources.registry import Source, open_source
from dsc.errors import SampleError, SourceNotFoundError, UsageError
from tests.sources.test_huggingface import picture, png

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def physical(source: Source, index: int) -> dict[str, Any]:
    tasks = {task.name: task for task in source.tasks}
    arrays = read_sample(source, index, list(tasks)).arrays
    return {name: tasks[name].to_physical(array) for name, array in arrays.items()}


def kinds_of(source: Source) -> dict[str, str]:
    return {task.name: task.kind.value for task in source.tasks}


def put(path: Path, text: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for n in range(3):
        put(tmp_path / "rgb" / f"{n}.png", png(picture(n)))
        depth = np.random.default_rng(n).integers(500, 5000, (6, 8), np.uint16)
        put(tmp_path / "d" / f"{n}.png", bytes(imagecodecs.png_encode(depth)))
        put(tmp_path / "notes" / f"{n}.txt", f"note {n}")
        put(tmp_path / "meta" / f"{n}.json", json.dumps({"n": n}))
        np.save(tmp_path / f"pose{n}.npy", np.eye(4) * n)
        put(tmp_path / f"{n}.ply", b"ply\n" + bytes(n))
    return tmp_path


def test_paths_become_files_and_other_columns_values(scans):
    rows = [
        "id,image,depth,note,meta,pose,cloud,caption,score,count,ok,taken,box,tags,code",
        '"a 1",rgb/0.png,d/0.png,notes/0.txt,meta/0.json,pose0.npy,0.ply,"red, ""big""\nchair",'
        '1.5,3,true,2024-01-02T03:04:05Z,"[1, 2, 3]","[""x""]",007',
        "b,rgb/1.png,,,,,,,,,,,,,",
        "c,rgb/2.png,d/2.png,notes/2.txt,meta/2.json,pose2.npy,2.ply,x,-2,4,False,"
        '2024-01-02T03:04:06.5Z,"[4,5,6]","{""a"": null}",8',
    ]
    put(scans / "metadata.csv", "\ufeff" + "\r\n".join(rows))
    source = open_source("table", str(scans))
    assert kinds_of(source) == {
        "id": "text", "image": "image", "depth": "depth", "note": "text", "meta": "json",
        "pose": "vector", "cloud": "bytes", "caption": "text", "score": "scalar",
        "count": "scalar", "ok": "scalar", "taken": "time", "box": "matrix", "tags": "json",
        "code": "text",
    }  # fmt: skip
    first, last = physical(source, 0), physical(source, 2)
    np.testing.assert_array_equal(first["image"], picture(0))
    assert (first["note"], first["meta"], first["cloud"]) == ("note 0", {"n": 0}, b"ply\n")
    assert first["caption"] == 'red, "big"\nchair'
    assert (first["score"], first["count"], first["ok"], last["ok"]) == (1.5, 3, 1, 0)
    assert first["taken"] == np.datetime64("2024-01-02T03:04:05", "ns").astype(int)
    assert (first["box"].tolist(), last["tags"]) == ([1, 2, 3], {"a": None})
    assert (first["code"], last["code"]) == ("007", "8")
    assert physical(source, 1).keys() == {"id", "image"}
    assert source.key(1) == "b"
    assert source.origin(2).files["image"] == "rgb/2.png"
    assert source.origin(2).name == "metadata.csv: row 4"
    with pytest.raises(SampleError, match="column id: none of its first files can be read"):
        open_source("table", str(scans), kinds={"id": "image"})


def test_fields_say_which_columns_are_which_tasks(scans):
    put(
        scans / "t.tsv",
        "part\timage_path\tn\tname\ntest\trgb/0.png\t1\tx\ntrain\trgb/1.png\t2\ty\n",
    )
    fields = "rgb=image_path,split=part,key=name"
    source = open_source("table", str(scans / "t.tsv"), fields=fields)
    assert [one.what for one in source.report().left_out] == ["column n"]
    assert (kinds_of(source), source.splits) == ({"rgb": "image"}, {"train": 1, "test": 1})
    assert [source.key(i) for i in range(2)] == ["y", "x"]
    np.testing.assert_array_equal(physical(source, 0)["rgb"], picture(1))
    dsc.compress("table", scans / "out", root=str(scans / "t.tsv"), fields=fields, codec="png")
    opened = dsc.open(scans / "out")
    np.testing.assert_array_equal(opened["x"]["rgb"], picture(0))
    assert dict(opened.manifest.splits) == {"test": 1, "train": 1}


def test_files_of_numbers_as_text_are_vectors(scans):
    for n in range(2):
        np.savetxt(scans / f"{n}.pose.txt", np.eye(4) * n)
    root = put(scans / "t.csv", "pose,note\n0.pose.txt,notes/0.txt\n1.pose.txt,notes/1.txt\n")
    source = open_source("table", root)
    assert kinds_of(source) == {"pose": "vector", "note": "text"}
    np.testing.assert_array_equal(physical(source, 1)["pose"].reshape(4, 4), np.eye(4))


def test_columns_named_split_key_and_id_are_that(scans):
    lines = [{"Split": "val", "key": 7, "id": "q"}, {"Split": "train", "key": 8}, {"key": 9}]
    put(scans / "a.jsonl", "\n".join(map(json.dumps, lines)) + "\n\n")
    source = open_source("table", str(scans / "a.jsonl"))
    assert source.splits == {"train": 1, "val": 1, "": 1}
    assert [source.key(i) for i in range(3)] == ["8", "7", "9"]
    numbered = open_source("table", str(scans / "a.jsonl"), key_column="none")
    assert [numbered.key(i) for i in range(3)] == ["train_000001", "val_000000", "row_000002"]
    put(scans / "b.csv", "id,n\n1,2\n1,3\n")
    with pytest.raises(
        UsageError, match=r"two rows have the key 1 .*b.csv: row 2 and b.csv: row 3"
    ):
        open_source("table", str(scans / "b.csv"))


def test_tables_of_a_directory_are_its_splits(scans):
    put(scans / "train.csv", "image,n\nrgb/0.png,1\nrgb/1.png,2\n")
    put(scans / "test.csv", "image,t\nrgb/2.png,x\n")
    source = open_source("table", str(scans))
    assert source.splits == {"train": 2, "test": 1}
    assert kinds_of(source) == {"image": "image", "n": "scalar", "t": "text"}
    assert source.lacks(0, ["n", "t"]) == ("t",)
    put(scans / "other.csv", "n\n1\n")
    with pytest.raises(UsageError, match=r"several tables: other.csv, test.csv, train.csv"):
        open_source("table", str(scans))


def test_a_column_is_what_all_of_its_cells_are(tmp_path):
    """Whole numbers for 1000 rows, and text then: nothing is lost, nothing crashes late."""
    cells = [str(n) for n in range(1500)] + ["n/a", "1.5"]
    put(tmp_path / "a.csv", "x,y\n" + "\n".join(f"{cell},1" for cell in cells))
    source = open_source("table", str(tmp_path))
    assert kinds_of(source) == {"x": "text", "y": "scalar"}
    assert [physical(source, i)["x"] for i in (0, 1500, 1501)] == ["0", "n/a", "1.5"]
    lines = [*map(json.dumps, [{"x": 1}] * 50), '{"x": "a"}', '{"x": null}', '{"x": [1]}']
    put(tmp_path / "b.jsonl", "\n".join(lines))
    mixed = open_source("table", str(tmp_path / "b.jsonl"))
    assert kinds_of(mixed) == {"x": "json"}
    assert [physical(mixed, i).get("x") for i in (0, 50, 51, 52)] == [1, "a", None, [1]]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([2**63, 1], "json"), ([float("inf"), -0.0, 5e-324], "scalar"),
        ([2**53 + 1, 0.5], "json"), ([1, 2.5], "scalar"),
        ([True, 1], "json"), (["", "a"], "text"), ([[1], [2, 3]], "matrix"),
        ([[1], ["a"]], "json"), ([[1, 2.5]], "matrix"), ([[[1, 2]], [[1], [2, 3]]], "json"),
        ([{"a": float("nan")}], "json"), (["2024-01-01T00:00:00", "soon"], "text"),
        ([None, None], "json"),
    ],
)  # fmt: skip
def test_values_of_json_lines_stay_what_they_are(values, kind, tmp_path):
    put(tmp_path / "a.jsonl", "\n".join(json.dumps({"x": value}) for value in values))
    source = open_source("table", str(tmp_path))
    assert kinds_of(source) == {"x": kind}
    for index, value in enumerate(values):
        found = physical(source, index).get("x")
        found = found.tolist() if isinstance(found, np.ndarray) else found
        assert found == value or str(found) == str(value)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1e400", "2"], "text"), (["1e-400", "0.5"], "text"), (["-1e999", "1"], "text"),
        (["9007199254740993", "0.5"], "text"), (["-99999999999999999", "0.5"], "text"),
        (["-0", "1"], "scalar"), (["0.0", "0e5"], "scalar"), (["inf", "-inf"], "scalar"),
        (["1.5", "inf", "nan"], "scalar"), (["9007199254740992", "0.5"], "scalar"),
        (['"[1e400]"', '"[1]"'], "text"), (["0.1234567890123456", "2e300"], "scalar"),
    ],
)  # fmt: skip
def test_cells_that_no_number_holds_are_text(cells, kind, tmp_path):
    put(tmp_path / "a.csv", "x,y\n" + "".join(f"{cell},1\n" for cell in cells))
    source = open_source("table", str(tmp_path))
    assert kinds_of(source)["x"] == kind
    for index, cell in enumerate(cells):
        found = physical(source, index)["x"]
        assert found == cell.strip('"') if kind == "text" else str(float(found)) == str(float(cell))


ROWS = st.lists(
    st.dictionaries(
        st.sampled_from(["a", "b", "Ünï", "c d"]),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
        | st.lists(st.integers(-9, 9), max_size=3)
        | st.dictionaries(st.text(max_size=3), st.none() | st.text(max_size=3), max_size=2),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS)
@example(rows=[{"a": "\ud800"}])
def test_any_json_lines_come_back(rows, tmp_path):
    if not any(rows):
        return
    assume(not any(isinstance(v, str) and can_read(v) for row in rows for v in row.values()))
    put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    source = open_source("table", str(tmp_path / "a.jsonl"))
    names = {one.name: name for name, one in zip(dict.fromkeys(k for r in rows for k in r),
                                                 source.tasks, strict=True)}  # fmt: skip
    for index, row in enumerate(rows):
        wanted = {name: value for name, value in row.items() if value is not None}
        if any("\ud800" in str(value) for value in wanted.values()):
            with pytest.raises(SampleError, match=rf"a.jsonl: row {index + 1}, column a"):
                physical(source, index)
            continue
        found = {names[task]: value for task, value in physical(source, index).items()}
        found = {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in found.items()}
        assert (
            found == wanted
            or json.dumps(found) == json.dumps(wanted)
            or found
            == {
                name: float(value) if isinstance(value, int) else value
                for name, value in wanted.items()
            }
        )


# what is wrong


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", r"t.csv: row 3 has 1 cells, the header 2"),
        ("a,b\n1,2,3\n", r"row 2 has 3 cells"),
        ('a,b\n1,"2\n', r"row 2: unexpected end of data; check its quotes"),
        ("a,a\n1,2\n", r"two columns called 'a'"),
        ("a,\n1,2\n", r"a column without a name"),
        ("", r"empty; the first row names the columns"),
        ("a,b\n", r"no row below the header"),
        (b"a\xff,b\n1,2\n", r"row 1: .* is no UTF-8"),
        ("a;b\n1;2\n", r"t.csv: row 1, 'a;b', .* several by ';'; save the table with commas"),
        ("a\tb\n1\t2\n", r"several by '\\t'; call the table .tsv"),
    ],
)
def test_a_broken_table_names_file_and_row(text, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        open_source("table", put(tmp_path / "t.csv", text))


def test_a_table_of_one_column_stays_one(tmp_path):
    source = open_source("table", put(tmp_path / "t.csv", "a\n1;2\n"))
    assert physical(source, 0) == {"a": "1;2"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "a,b\n1,é\n".encode("latin1"), r"column b: no UTF-8, byte 0xe9 at place 0: save"),
        (
            "t.jsonl",
            b'{"b": "x"}\n{"b": "y\\ud83d"}',
            r"row 2, .* surrogate, \\ud83d at byte 1",
        ),
    ],
)
def test_text_that_is_none_says_what_it_is(name, text, message, tmp_path):
    source = open_source("table", put(tmp_path / name, text))
    with pytest.raises(SampleError, match=message):
        read_sample(source, len(source) - 1, ["b"])


@pytest.mark.parametrize(
    "line",
    [
        "{", "[1]", '{"a": 1} x', "3", '{"a": 1, "a": 2}', '{"b": [{"c": 1, "c": 1}]}',
        '{"a": 1e400}', '{"a": [-1e400]}', '{"a": 1e-400}',
    ],
)  # fmt: skip
def test_a_broken_line_of_json_names_it(line, tmp_path):
    with pytest.raises(UsageError, match=r"t.jsonl: line 2: "):
        open_source("table", put(tmp_path / "t.jsonl", '{"a": 1}\n' + line))


def test_bytes_that_are_no_utf8_name_row_and_column(tmp_path):
    root = put(tmp_path / "t.csv", b"n,caption\n1,fine\n2,caf\xe9\n3,x\0y\n")
    source = open_source("table", root)
    with pytest.raises(SampleError, match=r"row_000001: t.csv: row 3, column caption: no UTF-8"):
        source.read(1, ["caption"])
    assert physical(source, 2)["caption"] == "x\0y"
    dsc.compress("table", tmp_path / "out", root=root, on_error="skip")
    assert dsc.open(tmp_path / "out").manifest.n_failed == 1


def test_missing_files_are_named_by_their_row(scans):
    (scans / "rgb" / "1.png").unlink()
    root = put(scans / "t.csv", "image,n\nrgb/0.png,1\nrgb/1.png,2\nrgb/2.png,3\nrgb/9.png,4\n")
    source = open_source("table", root)
    with pytest.raises(SampleError, match=r"t.csv: row 3, column image: rgb/1.png.*and 1 more are"):
        source.check(["image"])
    with pytest.raises(SampleError, match=r"t.csv: row 3, column image: rgb/1.png: no such file"):
        source.read(1, ["image"])
    with pytest.raises(SampleError, match=r"row 3.*--on-error skip"):
        dsc.compress("table", scans / "out", root=root)
    dsc.compress("table", scans / "out", root=root, on_error="skip", codec="png")
    assert dsc.open(scans / "out").manifest.n_failed == 2
    elsewhere = put(scans / "far" / "t.csv", "image\nrgb/0.png\n")
    with pytest.raises(UsageError, match=r"column image: no file rgb/0.png under .*--files DIR"):
        open_source("table", elsewhere)
    assert kinds_of(open_source("table", elsewhere, files=str(scans))) == {"image": "image"}
    assert kinds_of(open_source("table", elsewhere, kinds={"image": "text"})) == {"image": "text"}


def test_a_table_may_be_parquet(scans):
    table = pa.table(
        {"image": ["rgb/0.png", None], "pose": [[1.0, 2.0], None], "split": ["a", "b"]}
    )
    parquet.write_table(table, scans / "t.parquet")
    source = open_source("table", str(scans / "t.parquet"))
    assert kinds_of(source) == {"image": "image", "pose": "matrix"}
    assert source.splits == {"a": 1, "b": 1}
    assert physical(source, 1) == {}


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no table; its name ends with one of"):
        open_source("table", put(tmp_path / "x.xlsx", "a"))
    with pytest.raises(SourceNotFoundError, match=r"metadata\.csv"):
        open_source("table", str(tmp_path))


def test_a_remote_table_reads_remote_files(scans):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in ("rgb/0.png", "rgb/1.png"):
        memory.pipe_file(f"/table/{path}", (scans / path).read_bytes())
    memory.pipe_file("/table/metadata.csv", b"image,n\nrgb/0.png,1\nrgb/1.png,2\nrgb/2.png,3\n")
    source = open_source("table", "memory://table/metadata.csv")
    np.testing.assert_array_equal(physical(source, 1)["image"], picture(1))
    with pytest.raises(SampleError, match=r"row 4, column image: rgb/2.png: no such file"):
        source.read(2, ["image"])
    memory.rm("/table", recursive=True)


def test_the_root_is_found_from_any_directory(scans, monkeypatch, tmp_path_factory):
    put(scans / "t.csv", "image\nrgb/0.png\n")
    monkeypatch.chdir(scans)
    described = open_source("table", "t.csv").describe()
    monkeypatch.chdir(tmp_path_factory.mktemp("other"))
    assert os.path.isabs(described["root"])
    assert len(open_source("table", described["root"])) == 1


def test_what_a_machine_knows_of_endings_changes_no_archive(monkeypatch, tmp_path):
    monkeypatch.setattr("mimetypes.guess_type", lambda *_: ("x/here", None))
    for name in ("a.glb", "b.glb"):
        (tmp_path / name).write_bytes(b"glTF")
    (tmp_path / "t.csv").write_text("mesh\na.glb\nb.glb\n")
    assert open_source("table", str(tmp_path)).tasks[0].media_type == "model/gltf-binary"


def test_text_that_is_a_files_name_by_chance_can_be_said_to_be_text(tmp_path):
    (tmp_path / "hello").write_bytes(b"a file")
    (tmp_path / "t.csv").write_text("caption,n\nhello,1\nworld,2\n")
    with pytest.raises(SampleError, match=r"world: no such file .* --kinds \w+=text"):
        dsc.compress("table", tmp_path / "a", root=tmp_path / "t.csv")
    dsc.compress("table", tmp_path / "a", root=tmp_path / "t.csv", kinds={"caption": "text"})
    assert [one["caption"] for one in dsc.open(tmp_path / "a")] == ["hello", "world"]
