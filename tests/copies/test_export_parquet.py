"""Parquet → archive → Parquet: no field, name, order or null is lost; other archives load, too."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dsc
from dsc._copies.export.run import export
from dsc.errors import PlanMismatchError, UsageError
from tests.cli.conftest import run_dsc
from tests.everything import everything, same
from tests.sources.test_huggingface import IMAGE, picture, png, write

__all__ = ["everything"]
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
WHOLE = {f"int{n}": st.integers(-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (8, 16, 32, 64)} | {
    f"uint{n}": st.integers(0, 2**n - 1) for n in (8, 16, 32, 64)
}
LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    *((pa.type_for_alias(name), values) for name, values in WHOLE.items()),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.float16(), st.floats(width=16, allow_nan=False).map(np.float16)),
    (pa.bool_(), st.booleans()),
    (pa.string(), TEXT),
    (pa.large_string(), TEXT),
    (pa.binary(), st.binary(max_size=4)),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    (pa.decimal128(9, 3), st.decimals(-99999, 99999, places=3)),
    (pa.date32(), st.integers(-30000, 30000)),
    (pa.time64("ns"), st.integers(0, 86_399_999_999_999)),
    (pa.time32("ms"), st.integers(0, 86_399_999)),
    (pa.duration("us"), st.integers(-(2**40), 2**40)),
    (pa.timestamp("us", "Europe/Berlin"), st.integers(-(2**52), 2**52)),
    # Arrow reads no text of the first second that it can write
    (pa.timestamp("ns"), st.integers(-9_223_372_036_000_000_000, 2**63 - 1)),
    (pa.timestamp("ms"), st.integers(-(2**46), 2**46)),
    (pa.dictionary(pa.int8(), pa.string()), TEXT),
]


@st.composite
def kinds(draw: st.DrawFn, depth: int = 2) -> tuple[Any, st.SearchStrategy[Any]]:
    """Draw a type of Arrow, and what draws values of it."""
    nested = draw(st.sampled_from(["leaf", "leaf", "list", "fixed", "struct", "map"]))
    if nested == "leaf" or not depth:
        leaf, values = draw(st.sampled_from(LEAVES))
        plain = not pa.types.is_dictionary(leaf) and not pa.types.is_float16(leaf)
        return (leaf, values) if plain or depth == 2 else (pa.string(), TEXT)
    kind, values = draw(kinds(depth=depth - 1))
    gaps = st.none() | values
    if nested == "list":
        return pa.list_(kind), st.lists(draw(st.sampled_from([values, gaps])), max_size=3)
    if nested == "fixed":
        return pa.list_(kind, 2), st.lists(values, min_size=2, max_size=2)
    if nested == "map":
        return pa.map_(pa.string(), kind), st.lists(st.tuples(TEXT, gaps), max_size=2)
    fields = [("ä b", kind), ("n", pa.int64())]
    return pa.struct(fields), st.fixed_dictionaries(
        {"ä b": gaps, "n": st.none() | st.integers(0, 9)}
    )


@st.composite
def tables(draw: st.DrawFn) -> Any:
    count = draw(st.integers(1, 5))
    names = draw(
        st.lists(st.sampled_from(["a", "A", "Ünï code", "image", "label", "x.y", "名", "key_2"]),
                 min_size=1, max_size=4, unique=True)
    )  # fmt: skip
    columns = {}
    for name in names:
        kind, values = draw(kinds())
        own = draw(st.lists(st.none() | values, min_size=count, max_size=count))
        columns[name] = pa.array(own, kind)
    return pa.table(columns)


def round_trip(
    root: Path, *, source: str = "huggingface", codec: str | None = "png", **options: Any
):
    dsc.compress(source, root / "archive", root=str(root / "in"), codec=codec, **options)
    export(root / "archive", None, root / "out", to="parquet")
    return root / "out"


def read_out(root: Path, split: str = "train") -> Any:
    return pa.concat_tables(
        parquet.ParquetFile(path).read() for path in sorted((root / "data").glob(f"{split}-*"))
    )


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables())
def test_any_table_comes_back(table):
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "in").mkdir()
        parquet.write_table(table, root / "in" / "train.parquet", row_group_size=2)
        before = parquet.ParquetFile(root / "in" / "train.parquet").read()
        after = read_out(round_trip(root, codec=None))
    assert after.column_names == before.column_names
    for name in before.column_names:
        assert after.schema.field(name).type == before.schema.field(name).type, name
        wanted, found = before[name].combine_chunks(), after[name].combine_chunks()
        if pa.types.is_dictionary(wanted.type):
            wanted, found = wanted.dictionary_decode(), found.dictionary_decode()
        assert found.equals(wanted), (name, found, wanted)


def test_pictures_classes_and_arrays_come_back_as_datasets_has_them(tmp_path):
    datasets = pytest.importorskip("datasets")
    depth = np.random.default_rng(0).integers(400, 5000, (5, 12, 16), np.uint16)
    features = datasets.Features(
        image=datasets.Image(), depth=datasets.Image(), label=datasets.ClassLabel(names=["a", "b"]),
        pose=datasets.Array2D((4, 4), "float64"), boxes=datasets.Array2D((None, 4), "float32"),
        box=datasets.List(datasets.Value("int32"), length=2), ok=datasets.Value("bool"),
        when=datasets.Value("timestamp[ms]"),
        objects={"name": datasets.List(datasets.Value("string"))}, nothing=datasets.Value("int8"),
    )  # fmt: skip
    rows = [
        {
            "image": {"bytes": png(picture(n, 12, 16)), "path": f"p/{n}.png"},
            "depth": None if n == 3 else {"bytes": png(depth[n]), "path": None},
            "label": n % 2 if n else -1,
            "pose": (np.eye(4) * n).tolist(),
            "boxes": np.ones((n, 4), np.float32).tolist(),
            "box": [n, -n],
            "ok": [True, False, None][n % 3],
            "when": datetime(2026, 1, 1, n, tzinfo=UTC).replace(tzinfo=None),
            "objects": {"name": ["chair"] * n},
            "nothing": None,
        }
        for n in range(5)
    ]  # fmt: skip
    before = datasets.Dataset.from_list(rows, features=features)
    before = before.cast_column("image", datasets.Image(decode=False))
    before = before.cast_column("depth", datasets.Image(decode=False))
    datasets.DatasetDict(train=before.select(range(3)), test=before.select([3, 4])).save_to_disk(
        tmp_path / "in"
    )
    out = round_trip(tmp_path)
    after = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in after.items()} == {"train": 3, "test": 2}
    assert {n: f for n, f in after["train"].features.items() if n not in ("image", "depth")} == {
        n: f for n, f in features.items() if n not in ("image", "depth")
    }
    for split, own in after.items():
        for index, row in enumerate(own):
            wanted = before[index + 3 * (split == "test")]
            for name in set(features) - {"image", "depth"}:
                assert row[name] == wanted[name], name
            np.testing.assert_array_equal(
                imagecodecs.png_decode(row["image"]["bytes"]),
                picture(index + 3 * (split == "test"), 12, 16),
            )
            assert row["image"]["path"] == wanted["image"]["path"].removeprefix("p/")  # when saved
            assert (row["depth"] is None) == (wanted["depth"] is None)
            if row["depth"]:
                np.testing.assert_array_equal(
                    imagecodecs.png_decode(row["depth"]["bytes"]),
                    imagecodecs.png_decode(wanted["depth"]["bytes"]),
                )


def test_files_of_other_kinds_come_back_to_the_byte(tmp_path):
    cells = [{"bytes": b"RIFF\0\0\0\0WAVE" + bytes([n]), "path": f"{n}.wav"} for n in range(3)]
    columns = {"audio": pa.array([*cells, None], IMAGE), "raw": [b"a", b"", None, b"\0"]}
    features = {"audio": {"_type": "Audio", "sampling_rate": 16_000},
                "raw": {"_type": "Value", "dtype": "binary"}}  # fmt: skip
    write(tmp_path / "in" / "a.parquet", columns, features)
    after = read_out(round_trip(tmp_path, codec=None))
    assert after["audio"].to_pylist() == [*cells, None]
    assert after["raw"].to_pylist() == columns["raw"]
    assert json.loads(after.schema.metadata[b"huggingface"])["info"]["features"] == features


def test_depth_in_lists_comes_back_in_metres_within_half_a_count(tmp_path):
    depth = np.random.default_rng(0).uniform(0.5, 4, (3, 16, 20)).astype(np.float32)
    depth[1, 2, 3] = np.nan
    kind = pa.list_(pa.list_(pa.float32()))
    write(
        tmp_path / "in" / "a.parquet",
        {"depth": pa.array(list(map(np.ndarray.tolist, depth)), kind)},
    )
    after = read_out(round_trip(tmp_path))
    assert after.schema.field("depth").type == kind
    found = np.array(after["depth"].to_pylist(), np.float32)
    np.testing.assert_allclose(found, depth, atol=0.00051)


def test_channels_that_came_first_do_so_again(tmp_path):
    chw = np.random.default_rng(0).integers(0, 256, (3, 3, 10, 12), np.uint8)
    kind = pa.list_(pa.list_(pa.list_(pa.uint8())))
    write(tmp_path / "in" / "a.parquet", {"rgb": pa.array(chw.tolist(), kind)})
    after = read_out(round_trip(tmp_path, kinds={"rgb": "image"}))
    np.testing.assert_array_equal(np.array(after["rgb"].to_pylist()), chw)


def test_an_archive_of_every_kind_loads_with_datasets(everything, tmp_path):
    datasets = pytest.importorskip("datasets")
    dsc.compress(everything, tmp_path / "a", n=9, codec="png", shard_size=4)
    report = export(tmp_path / "a", None, tmp_path / "out", to="parquet")
    assert report.missing["caption"] == 2
    found = datasets.load_dataset(
        str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "c")
    )
    found = found.cast_column("sound", datasets.Audio(decode=False))
    assert found.features["scene"].names == ["kitchen", "hall"]
    assert type(found.features["pose"]).__name__ == "Array2D"
    assert found["key"] == [f"sample_{n}" for n in range(9)]
    for index, row in enumerate(found):
        for name in ("scene", "caption", "height"):
            assert same(name, row[name], index)
        assert same("sound", row["sound"]["bytes"], index)
        assert same("pose", np.array(row["pose"]), index)
        assert same("gains", np.array(row["gains"], np.float32), index)
        assert same("meta", json.loads(row["meta"]), index)
        assert same("rgb", np.array(row["rgb"]), index)


def test_a_table_becomes_parquet_that_needs_no_other_files(tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(3):
        (tmp_path / "in" / f"{n}.png").write_bytes(png(picture(n)))
    lines = [
        "id,split,image,caption,score",
        "x,train,0.png,a,1.5",
        "y,val,1.png,,2",
        "z,train,,c,3",
    ]
    (tmp_path / "in" / "metadata.csv").write_text("\n".join(lines))
    out = round_trip(tmp_path, source="table")
    train = read_out(out)
    assert train.column_names == ["id", "image", "caption", "score"]
    assert train["id"].to_pylist() == ["x", "z"]
    assert train.schema.field("image").type == IMAGE
    cell = train["image"].to_pylist()
    assert (cell[0]["path"], cell[1]) == ("0.png", None)
    np.testing.assert_array_equal(imagecodecs.png_decode(cell[0]["bytes"]), picture(0))
    assert read_out(out, "val")["caption"].to_pylist() == [None]
    again = tmp_path / "again"
    dsc.compress("huggingface", again, root=str(out), codec="png")
    np.testing.assert_array_equal(dsc.open(again)[2]["image"], picture(1))


def test_files_are_of_a_size_and_an_interrupted_export_goes_on(tmp_path, monkeypatch):
    cells = pa.array([{"bytes": png(picture(n, 40, 40)), "path": None} for n in range(40)], IMAGE)
    write(tmp_path / "in" / "train.parquet", {"image": cells, "n": list(range(40))})
    out = round_trip(tmp_path)
    for path in out.rglob("*.parquet"):
        path.unlink()
    ran = run_dsc("export", str(tmp_path / "archive"), "--to", "parquet", "--out", str(out),
                  "--file-size", "50kB")  # fmt: skip
    assert ran.code == 2
    assert "--file-size 500000000" in ran.err
    out = tmp_path / "parts"
    export(tmp_path / "archive", "n,image", out, to="parquet", file_size="50kB")
    names = sorted(path.name for path in out.rglob("*.parquet"))
    assert len(names) > 2
    assert names[-1] == f"train-{len(names) - 1:05d}-of-{len(names):05d}.parquet"
    assert read_out(out)["n"].to_pylist() == list(range(40))
    assert read_out(out).column_names == ["n", "image"]
    some = tmp_path / "some"
    export(tmp_path / "archive", "n", some, to="parquet", selection={"indices": [7, 3]})
    assert read_out(some)["n"].to_pylist() == [7, 3]
    (out / "data" / names[1]).unlink()
    report = export(tmp_path / "archive", "n,image", out, to="parquet", file_size="50kB")
    assert (report.written, report.kept) == (1, len(names))
    with pytest.raises(PlanMismatchError, match="--file-size"):
        export(tmp_path / "archive", None, out, to="parquet")
    asked: dict[str, Any] = {"to": "parquet", "file_size": "50kB"}
    with pytest.raises(PlanMismatchError, match=r"--tasks n,image, not as .* --tasks n;"):
        export(tmp_path / "archive", "n", out, **asked)
    with pytest.raises(PlanMismatchError, match="other samples"):
        export(tmp_path / "archive", "n,image", out, selection={"limit": 39}, **asked)
    with pytest.raises(PlanMismatchError, match="other samples"):
        export(tmp_path / "archive", "n", some, to="parquet", selection={"indices": [3, 7]})
    export(tmp_path / "archive", "n,image", out, to="parquet", overwrite=True)
    assert [path.name for path in (out / "data").iterdir()] == ["train-00000-of-00001.parquet"]
    assert read_out(out)["n"].to_pylist() == list(range(40))
    with pytest.raises(UsageError, match=r"--to parquet has no option --names"):
        export(tmp_path / "archive", None, tmp_path / "x", to="parquet", names="keys")


def test_samples_that_could_not_be_read_are_no_rows(tmp_path):
    cells = [{"bytes": png(picture(n)), "path": None} for n in range(4)]
    cells[1]["bytes"] = b"\x89PNG broken"
    write(tmp_path / "in" / "a.parquet", {"image": pa.array(cells, IMAGE), "n": [0, 1, 2, 3]})
    out = round_trip(tmp_path, on_error="skip")
    assert read_out(out)["n"].to_pylist() == [0, 2, 3]


def test_a_remote_output_and_archives_that_grew(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    write(tmp_path / "in" / "a.parquet", {"d": [Decimal("1.50"), None], "n": [1, 2]})
    dsc.compress("huggingface", tmp_path / "archive", root=str(tmp_path / "in"))
    write(tmp_path / "more" / "b.parquet", {"d": ["3", "4"], "n": [3, None]})
    dsc.append(tmp_path / "archive", "huggingface", root=str(tmp_path / "more"), key_column="d",
               missing="none")  # fmt: skip
    export(tmp_path / "archive", None, "memory://exported", to="parquet")
    memory = fsspec.filesystem("memory")
    with memory.open("/exported/data/train-00000-of-00001.parquet") as file:
        table = parquet.read_table(file)
    assert table["d"].to_pylist() == ["1.50", None, "3", "4"]
    assert table["n"].to_pylist() == [1, 2, 3, None]
    memory.rm("/exported", recursive=True)
