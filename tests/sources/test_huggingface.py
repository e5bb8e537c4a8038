"""Parquet and Arrow files as samples: what columns become, what is missing, what is broken."""

import io
import json
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

import dsc
from dsc._schemas import TaskKind
from dsc._sources.base import read_sample
from dsc._sources.registry import Source, open_source
from dsc._sources.rows import groups
from dsc._sources.rows.arrow import read_column
from dsc.errors import SampleError, SourceNotFoundError, UsageError

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def picture(n: int, height: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (height, width, 3), np.uint8)


def png(array: np.ndarray) -> bytes:
    return bytes(imagecodecs.png_encode(array))


def write(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None, **how: Any):
    table = pa.table(columns)
    if features:
        noted = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": noted})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, **how)
    return str(path)


def physical(source: Source, index: int) -> dict[str, Any]:
    tasks = {task.name: task for task in source.tasks}
    arrays = read_sample(source, index, list(tasks)).arrays
    return {name: tasks[name].to_physical(array) for name, array in arrays.items()}


def only_task(root: str, **options: Any) -> Any:
    [task] = open_source("huggingface", root, **options).tasks
    return task


# what columns become


@pytest.mark.parametrize(
    ("kind", "values", "task", "dtype", "first"),
    [
        (pa.int8(), [-3, None], "scalar", "int8", -3),
        (pa.uint64(), [2**64 - 1], "scalar", "uint64", 2**64 - 1),
        (pa.float16(), [np.float16(0.1)], "scalar", "float16", np.float16(0.1)),
        (pa.float64(), [0.1], "scalar", "float64", 0.1),
        (pa.bool_(), [True, False], "scalar", "uint8", 1),
        (pa.string(), ["häuser\0", ""], "text", "uint8", "häuser\0"),
        (pa.large_string(), ["a"], "text", "uint8", "a"),
        (pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a"], "text", "uint8", "a"),
        (pa.binary(), [b"\xff\0", b""], "bytes", "uint8", b"\xff\0"),
        (pa.binary(2), [b"ab"], "bytes", "uint8", b"ab"),
        (pa.decimal128(6, 2), [Decimal("-12.50")], "text", "uint8", "-12.50"),
        (pa.timestamp("us"), [1_700_000_000_123_456], "time", "int64", 1_700_000_000_123_456_000),
        (pa.timestamp("ms", "Europe/Berlin"), [5], "time", "int64", 5_000_000),
        (pa.timestamp("ms"), [10**15], "scalar", "int64", 10**15),
        (pa.date32(), [1], "time", "int64", 86_400_000_000_000),
        (pa.time64("ns"), [7], "scalar", "int64", 7),
        (pa.duration("ms"), [-4], "scalar", "int64", -4),
        (pa.struct([("a", pa.int64()), ("b", pa.string())]), [{"a": None, "b": "x"}], "json",
         "uint8", {"a": None, "b": "x"}),
        (pa.map_(pa.string(), pa.int8()), [[("k", 1)]], "json", "uint8", [["k", 1]]),
        (pa.list_(pa.string()), [["a", None], []], "json", "uint8", ["a", None]),
        (pa.list_(pa.binary()), [[b"\xff"]], "json", "uint8", ["/w=="]),
        (pa.list_(pa.float32()), [[1, None]], "json", "uint8", [1.0, None]),
        (pa.list_(pa.list_(pa.int64())), [[[1], [2, 3]]], "json", "uint8", [[1], [2, 3]]),
    ],
)  # fmt: skip
def test_a_column_becomes_a_task_that_loses_nothing(kind, values, task, dtype, first, tmp_path):
    root = write(tmp_path / "a.parquet", {"x": pa.array(values, kind)})
    source = open_source("huggingface", root)
    [found] = source.tasks
    assert (found.kind.value, found.dtype) == (task, dtype)
    assert physical(source, 0)["x"] == first
    for index, value in enumerate(values):
        assert bool(source.lacks(index, ["x"])) == (value is None) == (not physical(source, index))
    assert read_column(source.report().tasks["x"].column).field == pa.field("x", kind)


@pytest.mark.parametrize(
    ("kind", "values", "shape"),
    [
        (pa.list_(pa.float32()), [[1, 2], [3, 4]], (2,)),
        (pa.list_(pa.float32()), [[1, 2], [], None], (-1,)),
        (pa.list_(pa.int16(), 3), [[1, 2, 3], None], (3,)),
        (pa.list_(pa.list_(pa.float64())), [[[1, 2], [3, 4]], [[5, 6]]], (-1, 2)),
        (pa.list_(pa.list_(pa.float64())), [[[1, 2]], []], (-1, 2)),
        (pa.list_(pa.list_(pa.float64())), [[[1, 2]], [[1], [2]]], (-1, -1)),
        (pa.list_(pa.list_(pa.list_(pa.int8(), 2), 3)), [np.zeros((4, 3, 2)).tolist()], (4, 3, 2)),
        (pa.list_(pa.bool_()), [[True], [False]], (1,)),
    ],
)
def test_lists_of_numbers_are_matrices(kind, values, shape, tmp_path):
    root = write(tmp_path / "a.parquet", {"pose": pa.array(values, kind)}, row_group_size=1)
    source = open_source("huggingface", root)
    [task] = source.tasks
    assert (task.kind, task.shape) == (TaskKind.MATRIX, shape)
    for index, value in enumerate(values):
        found = physical(source, index)
        assert (value is None) == (not found)
        if value is not None:
            assert found["pose"].tolist() == value
            assert found["pose"].ndim == len(shape)


def test_arrays_named_like_maps_are_maps_where_they_fit_the_pictures(tmp_path):
    depth = np.random.default_rng(0).uniform(0.5, 4, (2, 16, 20)).astype(np.float32)
    image = [{"bytes": png(picture(n, 16, 20)), "path": None} for n in range(2)]
    other = np.random.default_rng(1).uniform(0.5, 4, (2, 8, 10)).astype(np.float32)
    columns = {
        "depth": pa.array(depth.tolist(), pa.list_(pa.list_(pa.float32()))),
        "depth_small": pa.array(other.tolist(), pa.list_(pa.list_(pa.float32()))),
        "chw": pa.array(np.ones((2, 3, 16, 20)).tolist(), pa.list_(pa.list_(pa.list_(pa.uint8())))),
        "image": pa.array(image, IMAGE),
    }
    source = open_source("huggingface", write(tmp_path / "a.parquet", columns))
    kinds = {task.name: task.kind.value for task in source.tasks}
    assert kinds == {"depth": "depth", "depth_small": "matrix", "chw": "matrix", "image": "image"}
    assert "another size" in source.report().tasks["depth_small"].warnings[0]
    found = physical(source, 1)
    np.testing.assert_allclose(found["depth"], depth[1], atol=0.0006)
    np.testing.assert_array_equal(found["depth_small"], other[1])
    stated = {"chw": "image", "depth": "matrix", "depth_small": "json"}
    again = open_source("huggingface", str(tmp_path), kinds=stated)
    kinds = {task.name: (task.kind.value, task.channels) for task in again.tasks}
    assert kinds["chw"] == ("image", 3)
    assert (kinds["depth"][0], kinds["depth_small"][0]) == ("matrix", "json")
    assert again.read(0, ["chw"]).arrays["chw"].shape == (16, 20, 3)


def test_features_of_the_datasets_library_say_what_columns_are(tmp_path):
    wav = b"RIFF\0\0\0\0WAVEfmt "
    columns = {
        "image": pa.array([{"bytes": png(picture(0)), "path": "a/ü.png"}, None], IMAGE),
        "deep": pa.array([{"bytes": png(np.full((6, 8), 40_000, np.uint16)), "path": None}] * 2),
        "audio": pa.array([{"bytes": wav, "path": "x.wav"}] * 2, IMAGE),
        "y": pa.array([1, -1]),
        "label": pa.array([0, 1], pa.int32()),
        "j": pa.array(['{"a": 1}', "[]"]),
    }
    features = {
        "image": {"_type": "Image"},
        "deep": {"_type": "Image"},
        "audio": {"_type": "Audio"},
        "y": {"_type": "ClassLabel", "names": ["no", "yes"]},
        "label": {"_type": "Value", "dtype": "int32"},
        "j": {"_type": "Json"},
    }
    source = open_source("huggingface", write(tmp_path / "a.parquet", columns, features))
    tasks = {task.name: task for task in source.tasks}
    assert (tasks["audio"].kind.value, tasks["audio"].media_type) == ("bytes", "audio/wav")
    assert (tasks["y"].kind.value, tasks["y"].classes) == ("class", ("no", "yes"))
    assert (tasks["label"].kind.value, tasks["j"].kind.value) == ("class", "json")
    first, second = physical(source, 0), physical(source, 1)
    np.testing.assert_array_equal(first["image"], picture(0))
    assert first["deep"].max() == 40_000
    assert (first["audio"], first["j"], second["y"]) == (wav, {"a": 1}, -1)
    assert source.origin(0).files == {"image": "a/ü.png", "audio": "x.wav"}
    assert source.lacks(1, ["image", "y"]) == ("image",)
    kept = only_task(str(tmp_path), kinds={"image": "bytes"}, tasks="image")
    assert (kept.kind.value, kept.media_type) == ("bytes", "image/png")


def test_pictures_that_are_only_paths_are_read_beside_the_file(tmp_path):
    (tmp_path / "data" / "x").mkdir(parents=True)
    (tmp_path / "data" / "x" / "1.png").write_bytes(png(picture(1)))
    cells = [{"bytes": None, "path": "x/1.png"}, {"bytes": None, "path": "x/2.png"}]
    root = write(tmp_path / "data" / "a.parquet", {"image": pa.array(cells, IMAGE)})
    source = open_source("huggingface", root)
    np.testing.assert_array_equal(physical(source, 0)["image"], picture(1))
    with pytest.raises(SampleError, match=r"row 1.*x/2.png: no such file"):
        source.read(1, ["image"])


def test_names_that_no_task_can_have_are_spelt_and_kept_apart(tmp_path):
    columns = {"Scene ID": ["a"], "scene_id": ["b"], "名前": ["c"], "a.b": ["d"]}
    source = open_source("huggingface", write(tmp_path / "a.parquet", columns))
    assert [task.name for task in source.tasks] == ["scene_id", "scene_id_2", "column_2", "a_b"]
    assert list(physical(source, 0).values()) == ["a", "b", "c", "d"]
    report = source.report().tasks
    assert [read_column(one.column).field.name for one in report.values()] == list(columns)


# files, splits and keys


def test_splits_are_told_from_the_hubs_names(tmp_path):
    for n, name in enumerate(
        ("data/test-00000-of-00001", "data/train-00000-of-00002", "data/train-00001-of-00002",
         "data/train_sft-00000-of-00001-0123456789abcdef")
    ):  # fmt: skip
        write(tmp_path / f"{name}.parquet", {"n": [n, n + 10]})
    (tmp_path / "README.md").write_text("a card")
    source = open_source("huggingface", str(tmp_path))
    assert source.splits == {"train": 4, "test": 2, "train_sft": 2}
    assert [int(physical(source, i)["n"]) for i in range(8)] == [1, 11, 2, 12, 0, 10, 3, 13]
    assert source.key(3) == "train_000003"
    assert [one.what for one in source.report().left_out] == ["README.md"]
    one = open_source("huggingface", str(tmp_path), split="test")
    assert [one.key(i) for i in range(len(one))] == ["test_000000", "test_000001"]
    with pytest.raises(UsageError, match=r"--split dev: found are train, test, train_sft"):
        open_source("huggingface", str(tmp_path), split="dev")


def test_directories_can_be_splits_and_several_configurations_are_refused(tmp_path):
    for split in ("train", "validation"):
        write(tmp_path / "en" / split / "0000.parquet", {"n": [1]})
    assert open_source("huggingface", str(tmp_path)).splits == {"train": 1, "validation": 1}
    write(tmp_path / "de" / "train" / "0000.parquet", {"n": [1]})
    with pytest.raises(UsageError, match=r"several directories \(de, en\)"):
        open_source("huggingface", str(tmp_path))
    assert len(open_source("huggingface", str(tmp_path / "de"))) == 1
    assert len(open_source("huggingface", str(tmp_path), ignore="de/*")) == 2


def test_saved_data_sets_are_read_in_their_order(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = [datasets.Dataset.from_dict({"n": [n, n + 1], "t": ["a", None]}) for n in (0, 10)]
    datasets.DatasetDict(validation=rows[0], train=rows[1]).save_to_disk(tmp_path / "d")
    source = open_source("huggingface", str(tmp_path / "d"))
    assert source.splits == {"validation": 2, "train": 2}
    assert [int(physical(source, i)["n"]) for i in range(4)] == [0, 1, 10, 11]
    assert source.report().complete == 2
    rows[0].select([1]).save_to_disk(tmp_path / "one")
    one = open_source("huggingface", str(tmp_path / "one"))
    assert (len(one), one.splits, one.key(0)) == (1, {}, "row_000000")
    next((tmp_path / "d" / "train").glob("*.arrow")).unlink()
    with pytest.raises(UsageError, match=r"missing, though train/state.json names it"):
        open_source("huggingface", str(tmp_path / "d"))


def test_keys_come_from_a_column_and_no_two_are_alike(tmp_path):
    root = write(tmp_path / "a.parquet", {"id": ["b/1", "a"], "n": [0, 0]})
    source = open_source("huggingface", root, key_column="id")
    assert source.key(1) == "a"
    assert source.key(0).startswith("b-1-")
    assert [task.name for task in source.tasks] == ["id", "n"]
    with pytest.raises(UsageError, match=r"two rows have the key 0 .*a.parquet: row 0 and .*row 1"):
        open_source("huggingface", root, key_column="n")
    with pytest.raises(UsageError, match=r"no column 'no' for the key; found: id, n"):
        open_source("huggingface", root, key_column="no")
    root = write(tmp_path / "b.parquet", {"id": ["b", None]})
    with pytest.raises(UsageError, match=r"b.parquet: row 1: column id has no key"):
        open_source("huggingface", root, key_column="id")


def test_fields_name_tasks_and_a_column_can_make_splits(tmp_path):
    columns = {"part": ["test", "train", "test"], "n": [0, 1, 2], "t": ["a", "b", "c"]}
    root = write(tmp_path / "a.parquet", columns, row_group_size=2)
    source = open_source("huggingface", root, fields="caption=t,split=part,key=n")
    assert [task.name for task in source.tasks] == ["caption"]
    assert source.splits == {"train": 1, "test": 2}
    assert [source.key(i) for i in range(3)] == ["1", "0", "2"]
    assert [physical(source, i)["caption"] for i in range(3)] == ["b", "a", "c"]
    assert not source.report().left_out
    one = open_source("huggingface", root, fields={"caption": "t", "split": "part"}, split="test")
    assert [one.key(i) for i in range(2)] == ["test_000000", "test_000002"]
    for wrong in ("caption=no", "caption", "a=t,b=t", "=t"):
        with pytest.raises(UsageError, match="--fields"):
            open_source("huggingface", root, fields=wrong)


def test_files_may_lack_columns_but_not_differ_in_type(tmp_path):
    write(tmp_path / "a.parquet", {"n": [1], "t": ["x"]})
    write(tmp_path / "b.parquet", {"n": [2], "u": pa.nulls(1)})
    source = open_source("huggingface", str(tmp_path))
    assert source.lacks(1, ["n", "t", "u"]) == ("t", "u")
    assert physical(source, 1) == {"n": 2}
    write(tmp_path / "c.parquet", {"n": ["2"]})
    with pytest.raises(UsageError, match=r"column n is int64 in .*a.parquet and string in"):
        open_source("huggingface", str(tmp_path))


# reading


def test_reading_in_order_decodes_each_row_group_once(tmp_path, monkeypatch):
    columns = {"n": list(range(100)), "t": [str(n) for n in range(100)]}
    root = write(tmp_path / "a.parquet", columns, row_group_size=10)
    source = open_source("huggingface", root)
    before = source._rows.counts.decoded
    assert [int(physical(source, i)["n"]) for i in range(100)] == columns["n"]
    assert source._rows.counts.decoded - before <= 20
    monkeypatch.setattr(groups, "LARGEST_GROUP", 1)  # windows of 64 rows
    wide = pickle.loads(pickle.dumps(open_source("huggingface", write(tmp_path / "b.parquet",
                                                                      columns))))  # fmt: skip
    before = wide._rows.counts.decoded
    order = [*range(100), 99, 3, 70]
    assert [physical(wide, i)["t"] for i in order] == [str(n) for n in order]
    assert wide._rows.counts.decoded - before == 2 * (2 + 1 + 1)


@pytest.mark.parametrize("column", ["n", "image"])
def test_a_broken_row_group_names_file_group_rows_and_column(column, tmp_path):
    cells = [{"bytes": png(picture(n)), "path": None} for n in range(40)]
    columns = {"n": list(range(40)), "image": pa.array(cells, IMAGE)}
    path = tmp_path / "a.parquet"
    how = {"row_group_size": 10, "write_page_checksum": True, "use_dictionary": False}
    write(path, columns, compression="snappy", **how)
    chunks = parquet.ParquetFile(path).metadata.row_group(2)
    places = {c.path_in_schema.partition(".")[0]: c for c in map(chunks.column, (1, 0))}
    data = bytearray(path.read_bytes())
    where = places[column].data_page_offset + places[column].total_compressed_size - 8
    data[where : where + 8] = bytes(8)
    path.write_bytes(data)
    source = open_source("huggingface", str(path))
    assert int(physical(source, 19)["n"]) == 19
    for _ in range(2):
        with pytest.raises(SampleError, match=rf"row group 2 \(rows 20 to 29\), column {column}"):
            source.read(25, ["n", "image"])
    other = {"n": "image", "image": "n"}[column]
    assert source.read(25, [other]).arrays.keys() == {other}
    out = tmp_path / "out"
    dsc.compress("huggingface", out, root=str(path), on_error="skip", codec="png")
    assert dsc.open(out).manifest.n_failed == 10


def test_a_file_that_is_cut_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    write(path, {"n": [1, 2]})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SampleError, match=r"a.parquet: not a whole Parquet or Arrow file"):
        open_source("huggingface", str(path))
    path.write_bytes(b"hello")
    with pytest.raises(SampleError, match="not a whole"):
        open_source("huggingface", str(path))
    with pytest.raises(SourceNotFoundError, match="does not exist"):
        open_source("huggingface", str(tmp_path / "no"))


def test_text_that_is_no_utf8_and_json_that_is_none_name_the_row(tmp_path):
    wrong = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"a\xff")]
    )
    features = {"j": {"_type": "Json"}}
    root = write(tmp_path / "a.parquet", {"t": wrong, "j": ["{}", "{"]}, features)
    source = open_source("huggingface", root)
    assert physical(source, 0) == {"t": "a", "j": {}}
    for name in ("t", "j"):
        with pytest.raises(SampleError, match=rf"row_000001: a.parquet: row 1, column {name}"):
            source.read(1, [name])


def test_what_has_no_place_in_a_sample_is_refused_with_advice(tmp_path):
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    table = pa.table({"x": twice, "n": [1]})
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)
    with pytest.raises(UsageError, match=r"column x: a struct with two fields.*--ignore x"):
        open_source("huggingface", str(tmp_path))
    assert only_task(str(tmp_path), ignore="x").name == "n"
    with pytest.raises(UsageError, match=r"--kinds n=text: column n holds int64, which can be"):
        open_source("huggingface", str(tmp_path), ignore="x", kinds={"n": "text"})


class Hub(MemoryFileSystem):
    """A double of the Hub's filesystem: paths are ``datasets/USER/NAME/...``."""

    protocol = "hf"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("hf://").strip("/")


def test_a_repository_of_the_hub_is_read_through_its_filesystem(monkeypatch, tmp_path):
    monkeypatch.setitem(_registry, "hf", Hub)
    hub = Hub()
    for n in range(2):
        buffer = io.BytesIO()
        cells = pa.array([{"bytes": png(picture(n)), "path": None}], IMAGE)
        parquet.write_table(pa.table({"image": cells, "n": [n]}), buffer)
        hub.pipe_file(f"datasets/me/set/data/train-0000{n}-of-00002.parquet", buffer.getvalue())
    source = open_source("huggingface", "hf://datasets/me/set")
    assert source.splits == {"train": 2}
    np.testing.assert_array_equal(physical(source, 1)["image"], picture(1))
    dsc.compress("huggingface", tmp_path / "out", root="hf://datasets/me/set", workers=0)
    assert int(dsc.open(tmp_path / "out")[1]["n"]) == 1
    hub.store.clear()


def test_everything_comes_back_from_an_archive_also_with_workers(tmp_path):
    count = 30
    columns = {
        "image": pa.array([{"bytes": png(picture(n)), "path": None} for n in range(count)], IMAGE),
        "caption": [None if n % 7 == 3 else f"room {n}" for n in range(count)],
        "pose": [np.eye(4).tolist()] * count,
        "never": pa.nulls(count, pa.int32()),
    }
    write(tmp_path / "in" / "train-00000-of-00001.parquet", columns, row_group_size=7)
    for workers in (0, 2):
        out = tmp_path / f"out{workers}"
        dsc.compress("huggingface", out, root=str(tmp_path / "in"), workers=workers, codec="png",
                     shard_size=8)  # fmt: skip
        opened = dsc.open(out)
        assert [one.name for one in opened.tasks] == list(columns)
        for index in (0, 3, 29):
            found = opened[index]
            np.testing.assert_array_equal(found["image"], picture(index))
            assert (found["caption"], found["never"]) == (columns["caption"][index], None)
            np.testing.assert_array_equal(found["pose"], np.eye(4))
    files = [(tmp_path / f"out{n}" / "shards.jsonl").read_bytes() for n in (0, 2)]
    assert files[0] == files[1]


@pytest.mark.parametrize("lead", ["../secret.txt", "a/../../secret.txt", "{root}/secret.txt"])
def test_a_cell_reads_no_file_outside_the_data(lead: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    inside = tmp_path / "data"
    (inside / "a").mkdir(parents=True)
    cells = [{"bytes": None, "path": lead.format(root=tmp_path)}, {"bytes": b"x", "path": "x.txt"}]
    root = write(inside / "a.parquet", {"file": pa.array(cells, IMAGE)})
    source = open_source("huggingface", root)
    with pytest.raises(SampleError, match=r"does not lie under .* read them as a table"):
        source.read(0, ["file"])
    assert bytes(source.read(1, ["file"]).arrays["file"]) == b"x"
    own = open_source("table", root)  # people's own lists may name files anywhere
    assert bytes(own.read(0, ["file"]).arrays["file"]) == b"secret"
