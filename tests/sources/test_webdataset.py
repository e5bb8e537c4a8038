"""Tars of samples: every file of them a task, read by its place, whatever odd things tars hold."""

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import dsc
from dsc._bench.server import serve
from dsc._sources.base import lacks_of, origin_of, report_of, splits_of
from dsc._sources.registry import open_source
from dsc._sources.webdataset.members import scan_members
from dsc._sources.webdataset.places import expand_braces, split_of_tar
from dsc.errors import SampleError, SourceNotFoundError, UsageError
from tests.sources.tars import everything, npy, png, write_samples, write_tar

RNG = np.random.default_rng(0)


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Two tars of train, one of val; the second sample lacks its text."""
    for tar, numbers in (("train-000000", (0, 1)), ("train-000001", (2,)), ("val-000000", (3, 4))):
        samples = [(f"a/{number:03d}", everything(number)) for number in numbers]
        for _, files in samples[1:2]:
            files.pop("txt") if tar == "train-000000" else None
        write_samples(tmp_path / f"{tar}.tar", samples)
    return tmp_path


def test_every_file_of_a_sample_is_a_task(tars: Path) -> None:
    source = open_source("webdataset", str(tars))
    kinds = {task.name: task.kind.value for task in source.tasks}
    assert kinds == {
        "image": "image", "depth": "depth", "seg": "label", "json": "json", "cls": "class",
        "txt": "text", "pose": "matrix", "boxes": "matrix", "wav": "bytes", "pyd": "bytes",
    }  # fmt: skip
    assert list(kinds) == list(origin_of(source, 0).order)  # type: ignore[union-attr]
    shapes = {task.name: task.shape for task in source.tasks if task.shape}
    assert shapes == {"pose": (4, 4), "boxes": (-1, 4)}
    assert next(t.media_type for t in source.tasks if t.name == "wav") == "audio/wav"
    assert splits_of(source) == {"train": 3, "val": 2}
    sample = source.read(4, list(kinds))
    wanted = everything(4)
    for name, ending in (("json", "json"), ("txt", "txt"), ("wav", "wav"), ("pyd", "pyd")):
        assert sample.arrays[name].tobytes() == wanted[ending]
    assert sample.arrays["cls"] == 1
    assert npy(sample.arrays["pose"]) == wanted["pose.npy"]
    assert sample.source_bytes == {
        task: len(wanted[end]) for task, end in zip(kinds, wanted, strict=True)
    }
    assert lacks_of(source, 1, list(kinds)) == ("txt",)
    assert "pickles, which are never loaded" in report_of(source).tasks["pyd"].why


def test_names_and_endings_and_their_order_are_kept_with_the_archive(tars: Path) -> None:
    write_samples(tars / "val-000001.tar", [("b/c.d/X_y z", {"JPG": everything(9)["jpg"]})])
    odd = dict(reversed(everything(8).items()))
    write_samples(tars / "val-000002.tar", [("ü", odd)])
    dsc.compress("webdataset", tars / "out", root=tars, shard_size=4)
    opened = dsc.open(tars / "out")
    source = open_source("webdataset", str(tars))
    found = {opened.origin(index).name: opened.origin(index) for index in range(len(opened))}
    assert list(found) == [origin_of(source, i).name for i in range(len(source))]  # type: ignore[union-attr]
    for index in range(len(source)):
        origin = origin_of(source, index)
        assert origin is not None
        assert found[origin.name].order == origin.order == tuple(origin.files)
        assert dict(found[origin.name].files) == dict(origin.files)
    assert found["b/c.d/X_y z"].files == {"image": "b/c.d/X_y z.JPG"}
    assert found["ü"].order[0] == "pyd"


@pytest.mark.parametrize(
    ("pattern", "samples"),
    [
        ("", 5),
        ("train-000001.tar", 1),
        ("train-{000000..000001}.tar", 3),
        ("{train,val}-000000.tar", 4),
        ("val*.tar", 2),
        ("*-00000[01].tar", 5),
        ("**/*.tar", 5),
        ("train-??????.tar", 3),
    ],
)
def test_tars_are_found_by_directory_name_and_pattern(
    tars: Path, pattern: str, samples: int
) -> None:
    assert len(open_source("webdataset", str(tars / pattern))) == samples
    assert len(open_source("webdataset", f"file://{tars}/{pattern}")) == samples


def test_braces_are_those_of_shells() -> None:
    assert expand_braces("a{08..11}") == ["a08", "a09", "a10", "a11"]
    assert expand_braces("a{2..0}") == ["a2", "a1", "a0"]
    assert expand_braces("{a,b}{0..4..2}") == ["a0", "a2", "a4", "b0", "b2", "b4"]
    assert expand_braces("{a,{b,c}}") == ["a", "b", "c"]
    for pattern, words in (("{x}", "neither a range"), ("{0..9999999}", "more than 1,000,000")):
        with pytest.raises(UsageError, match=words):
            expand_braces(pattern)


def test_splits_are_words_of_names() -> None:
    assert [split_of_tar(path) for path in (
        "imagenet-train-000001.tar", "x_validation_3.tar", "test/000.tar", "shard-1.tar",
        "latest-1.tar", "train0001.tar",
    )] == ["train", "val", "test", "", "", "train"]  # fmt: skip


def test_options_of_folders_work_alike(tars: Path) -> None:
    source = open_source(
        "webdataset", str(tars), kinds={"depth": "array", "json": "text", "image": "bytes",
        "cls": "scalar"}, ignore="pyd,val-*.tar,*.tar/*.wav",
    )  # fmt: skip
    kinds = {task.name: task.kind.value for task in source.tasks}
    assert kinds == {
        "image": "bytes", "depth": "array", "seg": "label", "json": "text", "cls": "scalar",
        "txt": "text", "pose": "matrix", "boxes": "matrix",
    }  # fmt: skip
    assert source.read(0, ["image"]).arrays["image"].tobytes() == everything(0)["jpg"]
    assert {one.reason for one in report_of(source).left_out} == {
        "--ignore pyd", "--ignore *.tar/*.wav",
    }  # fmt: skip
    unit = {
        task.name: task.unit_m
        for task in open_source("webdataset", str(tars), depth_unit="1/5000").tasks
    }
    assert unit["depth"] == 1 / 5000
    with pytest.raises(UsageError, match=r"no task smell here; found: boxes"):
        open_source("webdataset", str(tars), kinds={"smell": "text"})
    with pytest.raises(UsageError, match="--layout rows: keys or tars"):
        open_source("webdataset", str(tars), layout="rows")
    with pytest.raises(UsageError, match=r"--kinds json=class: .*train-000000.tar: a/000.json"):
        open_source("webdataset", str(tars), kinds={"json": "class"})


def test_alpha_is_refused_dropped_or_a_task(tmp_path: Path) -> None:
    rgba = png(RNG.integers(0, 255, (8, 9, 4), np.uint8))
    write_samples(tmp_path / "a.tar", [("1", {"png": rgba})])
    with pytest.raises(UsageError, match=r"a.tar: 1.png: 4 channels, the last is alpha"):
        open_source("webdataset", str(tmp_path))
    source = open_source("webdataset", str(tmp_path), alpha="mask")
    assert [task.name for task in source.tasks] == ["image", "image_alpha"]
    found = source.read(0, ["image", "image_alpha"]).arrays
    assert (found["image"].shape, found["image_alpha"].shape) == ((8, 9, 3), (8, 9))
    assert origin_of(source, 0).files == {"image": "1.png"}  # type: ignore[union-attr]


def test_endings_that_share_a_name(tmp_path: Path) -> None:
    picture, other = everything(0)["jpg"], png(RNG.integers(0, 255, (24, 32, 3), np.uint8))
    write_samples(tmp_path / "x/a.tar", [("1", {"jpg": picture}), ("2", {"png": other})])
    source = open_source("webdataset", str(tmp_path / "x"))
    assert [task.name for task in source.tasks] == ["image"]
    assert [list(source.read(i, ["image"]).arrays) for i in range(2)] == [["image"]] * 2
    write_samples(
        tmp_path / "y/a.tar",
        [("1", {"jpg": picture, "png": other, "seg.png": other, "seg.json": b"{}"})],
    )
    names = [task.name for task in open_source("webdataset", str(tmp_path / "y")).tasks]
    assert names == ["jpg", "png", "seg_png", "seg_json"]
    odd = {"Ä.txt": b"", "ß.txt": b"", "a b.txt": b"", f"{'x' * 60}.txt": b""}
    write_samples(tmp_path / "z/a.tar", [("1", odd)])
    source = open_source("webdataset", str(tmp_path / "z"))
    assert len(source.tasks) == len(source.read(0, [t.name for t in source.tasks]).arrays) == 4


def test_arrays_are_maps_where_a_name_or_a_picture_says_so(tmp_path: Path) -> None:
    files = {
        "jpg": everything(0)["jpg"],  # 24 × 32
        "height.npy": npy(RNG.random((24, 32), np.float32)),
        "flow.npy": npy(RNG.random((24, 32, 2), np.float32)),
        "embedding.npy": npy(RNG.random(77, np.float32)),
        "tokens.npy": npy(RNG.integers(0, 9, (5, 77))),
        "score.npy": npy(np.float32(0.5)),
        "flags.npy": npy(np.array([True])),
        "complex.npy": npy(np.ones(3, np.complex64)),
    }
    write_samples(tmp_path / "a.tar", [("1", files)])
    source = open_source("webdataset", str(tmp_path))
    assert {task.name: task.kind.value for task in source.tasks} == {
        "image": "image", "height": "array", "flow": "flow", "embedding": "embedding",
        "tokens": "matrix", "score": "scalar", "flags": "bytes", "complex": "bytes",
    }  # fmt: skip
    found = source.read(0, ["tokens", "score", "embedding"]).arrays
    for name, array in found.items():
        assert npy(array) == files[f"{name}.npy"]


def test_arrays_of_objects_are_files_and_never_loaded(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.array([print], object), allow_pickle=True)
    write_samples(tmp_path / "a.tar", [("1", {"npy": file.getvalue()})])
    source = open_source("webdataset", str(tmp_path))
    assert [task.kind.value for task in source.tasks] == ["bytes"]
    assert source.read(0, ["npy"]).arrays["npy"].tobytes() == file.getvalue()


def test_what_is_no_text_json_or_number_is_kept_as_files_and_said_so(tmp_path: Path) -> None:
    files = {"txt": b"\xff", "json": b"{", "a.json": b"\xff", "cls": b"cat", "id": b"\xff"}
    write_samples(tmp_path / "a.tar", [("1", files)])
    source = open_source("webdataset", str(tmp_path))
    assert {task.name: task.kind.value for task in source.tasks} == {
        "txt": "bytes", "json": "text", "a": "bytes", "cls": "text", "id": "bytes",
    }  # fmt: skip
    warnings = report_of(source).tasks["txt"].warnings
    assert len(warnings) == 1
    assert "a.tar: 1.txt" in warnings[0]
    for name, data in files.items():
        task = name.partition(".")[0]
        assert source.read(0, [task]).arrays[task].tobytes() == data


def test_a_later_file_that_does_not_fit_names_sample_tar_and_way_out(tmp_path: Path) -> None:
    samples = [(f"{n:02d}", {"txt": b"xx", "cls": b"100"}) for n in range(40)]
    samples[8] = ("08", {"txt": b"\xff\xfe", "cls": b"1.5"})
    write_samples(tmp_path / "a.tar", samples)
    source = open_source("webdataset", str(tmp_path))
    for task in ("txt", "cls"):
        with pytest.raises(SampleError, match=rf"sample 08: .*a.tar: 08.{task}: .*--kinds {task}="):
            source.read(8, [task])


def test_numbers_that_are_spelt_oddly_are_numbers_and_it_is_said(tmp_path: Path) -> None:
    write_samples(tmp_path / "a.tar", [("1", {"cls": b"007\n", "index": b"12"})])
    source = open_source("webdataset", str(tmp_path))
    assert [task.kind.value for task in source.tasks] == ["class", "scalar"]
    assert source.read(0, ["cls"]).arrays["cls"] == 7
    assert "--kinds cls=text" in report_of(source).tasks["cls"].warnings[0]
    assert not report_of(source).tasks["index"].warnings


def test_keys_may_be_any_names(tmp_path: Path) -> None:
    names = ["a b", "a-b", "ü/1", "x" * 95, "./1", "1", "a__b"]
    write_samples(tmp_path / "a.tar", [(name, {"txt": name.encode()}) for name in names])
    source = open_source("webdataset", str(tmp_path))
    keys = [source.key(index) for index in range(len(source))]
    assert len(set(keys)) == len(names)
    assert [source.read(i, ["txt"]).arrays["txt"].tobytes().decode() for i in range(7)] == names


def test_samples_are_told_apart_or_refused_naming_both_places(tmp_path: Path) -> None:
    write_tar(tmp_path / "a/1.tar", [("x.txt", b"1"), ("x.TXT", b"2")])
    with pytest.raises(UsageError, match=r"1.tar: two files x.TXT .*field txt twice"):
        open_source("webdataset", str(tmp_path / "a"))
    write_tar(tmp_path / "b/1.tar", [("x.txt", b"1"), ("y.txt", b"2"), ("x.cls", b"2")])
    with pytest.raises(UsageError, match=r"1.tar: sample x begins twice, with x.txt at byte 512"):
        open_source("webdataset", str(tmp_path / "b"))
    for tar in ("train-0", "val-0"):
        write_tar(tmp_path / f"c/{tar}.tar", [("x.txt", tar.encode())])
    with pytest.raises(UsageError, match=r"train-0.tar: x and val-0.tar: x; .*--layout tars"):
        open_source("webdataset", str(tmp_path / "c"))
    source = open_source("webdataset", str(tmp_path / "c"), layout="tars")
    assert [source.key(index) for index in range(2)] == ["train-0__x", "val-0__x"]
    assert source.read(1, ["txt"]).arrays["txt"].tobytes() == b"val-0"


def test_what_webdataset_passes_over_is_said(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, link in (
            ("1.txt", b""), ("noend", b""), ("__x.y__", b""), ("._1.txt", b""),
            ("2.txt", b"hard"), ("3.txt", b"soft"),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            if link:
                info.type = tarfile.LNKTYPE if link == b"hard" else tarfile.SYMTYPE
                info.linkname = "1.txt" if link == b"hard" else "nowhere"
            info.size = 0 if link else 2
            tar.addfile(info, None if link else io.BytesIO(b"ab"))
    (tmp_path / "notes.md").write_text("x")
    source = open_source("webdataset", str(tmp_path))
    assert [source.read(i, ["txt"]).arrays["txt"].tobytes() for i in range(len(source))] == [
        b"ab", b"ab",
    ]  # fmt: skip
    left_out = {one.what: (one.reason, one.task) for one in report_of(source).left_out}
    assert left_out["notes.md"] == ("no tar", "")
    assert "no dot" in left_out["a.tar/noend"][0]
    assert "__" in left_out["a.tar/__x.y__"][0]
    assert left_out["a.tar/3.txt"][1] == "txt"  # so a compression is refused, unless it is ignored
    with pytest.raises(UsageError, match=r"(?s)a.tar/3.txt.*--ignore"):
        dsc.compress("webdataset", tmp_path / "out", root=tmp_path)


def test_tars_that_are_not_whole_are_refused(tars: Path, tmp_path: Path) -> None:
    whole = (tars / "train-000000.tar").read_bytes()
    broken = tmp_path / "broken"
    broken.mkdir()
    header = whole.index(b"a/001.jpg")
    for data, words in (
        (whole[: len(whole) // 2], "not a whole tar"),
        (whole[:header], "no end"),
        (whole[:header] + b"\xff" * 300 + whole[header + 300 :], "damaged header"),
        (whole + whole, "goes on behind its end"),
        (b"", "not a whole tar"),
    ):
        (broken / "x.tar").write_bytes(data)
        with pytest.raises(SampleError, match=rf"x.tar: .*{words}"):
            open_source("webdataset", str(broken))
    (broken / "x.tar").unlink()
    (broken / "x.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(UsageError, match=r"x.tar.gz: a compressed tar .*gunzip"):
        open_source("webdataset", str(broken))
    with pytest.raises(SourceNotFoundError, match=r"train-000002.tar is not there"):
        open_source("webdataset", str(tars / "train-{000000..000009}.tar"))


def test_a_tar_that_changes_meanwhile_is_noticed(tars: Path) -> None:
    source = open_source("webdataset", str(tars))
    description = source.describe()
    path = tars / "val-000000.tar"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SampleError, match="has changed since it was scanned"):
        source.read(4, ["json"])
    path.unlink()
    with pytest.raises(SampleError, match="gone since it was scanned"):
        source.read(4, ["json"])
    assert description["root"] == str(tars)


def test_tars_behind_http_are_read_by_ranges(tars: Path) -> None:
    with serve(tars) as (address, traffic):
        traffic.signature = "sig=abc"
        for pattern in ("", "/train-{000000..000001}.tar", "/val-000000.tar", "/val*.tar"):
            source = open_source("webdataset", f"{address}{pattern}?sig=abc")
            found = pickle.loads(pickle.dumps(source)).read(0, ["json", "image"])
            own = open_source("webdataset", str(tars / pattern.lstrip("/")))
            np.testing.assert_array_equal(
                found.arrays["image"], own.read(0, ["image"]).arrays["image"]
            )
            assert [source.key(i) for i in range(len(source))] == [
                own.key(i) for i in range(len(own))
            ]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("first", ["file", "directory", "long name", "global header", "link"])
def test_tars_may_begin_with_anything(form: int, first: str, tmp_path: Path) -> None:
    headers = {"comment": "made by git"} if first == "global header" else None
    if headers and form != tarfile.PAX_FORMAT:
        pytest.skip("only tars of that form have one")
    name = "é" * 50 + "/" + "n" * 40 if first == "long name" else "a"
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w", format=form, pax_headers=headers) as tar:
        if first in ("directory", "link"):
            odd = tarfile.TarInfo("d" if first == "directory" else "l.txt")
            odd.type = tarfile.DIRTYPE if first == "directory" else tarfile.SYMTYPE
            odd.linkname = "" if first == "directory" else "nowhere"
            tar.addfile(odd)
        for number in range(3):
            info = tarfile.TarInfo(f"{name}{number}.txt")
            info.size, info.mtime = 5, 1.5  # as webdataset's writer: a header of its own in PAX
            tar.addfile(info, io.BytesIO(b"text%d" % number))
    with path.open("rb") as file, tarfile.open(path) as tar:
        found = [m for m in scan_members(file, "t.tar") if not m.why_not]
        wanted = [m for m in tar.getmembers() if m.isreg()]
    assert [(m.name, m.offset, m.size) for m in found] == [
        (m.name, m.offset_data, m.size) for m in wanted
    ]
    assert len(found) == 3


def test_tars_of_webdatasets_own_writer_are_read(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "train-000000.tar")) as tar:
        for number in range(3):
            tar.write({"__key__": f"a/{number}", "txt": f"text {number}", "cls": number})
    source = open_source("webdataset", str(tmp_path))
    assert len(source) == 3


def test_webdataset_itself_reads_the_same(tars: Path) -> None:
    wds = pytest.importorskip("webdataset")
    source = open_source("webdataset", str(tars))
    paths = [str(path) for path in sorted(tars.glob("*.tar"))]
    for index, sample in enumerate(wds.WebDataset(paths, shardshuffle=False)):
        origin = origin_of(source, index)
        assert origin is not None
        assert origin.name == sample["__key__"]
        endings = [path.removeprefix(f"{origin.name}.") for path in origin.files.values()]
        assert endings == [name for name in sample if not name.startswith("__")]


NAMES = st.sampled_from(
    ["a.txt", "b.c.json", "ü/d.txt", "d/e f.txt", "./g.txt", "k.", "no_dot", "y" * 120, "z" * 300]
)
KINDS = st.sampled_from(["file", "file", "directory", "link"])
MEMBERS = st.lists(st.tuples(NAMES, KINDS, st.binary(max_size=700)), min_size=1, max_size=6)
FORMATS = [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


@settings(max_examples=60, deadline=None)
@given(MEMBERS, st.sampled_from(FORMATS), st.booleans(), st.booleans())
@example([("x" * 120, "file", b"first")], tarfile.PAX_FORMAT, False, False)
@example([("x" * 120, "file", b"first")], tarfile.GNU_FORMAT, False, False)
@example([("a.txt", "file", b"first")], tarfile.PAX_FORMAT, True, False)
@example([("a", "directory", b""), ("a/b.txt", "file", b"1")], tarfile.GNU_FORMAT, False, True)
def test_headers_of_any_kind_are_read_as_tarfile_reads_them(
    members: list[tuple[str, str, bytes]], form: int, has_global: bool, has_times: bool
) -> None:
    file = io.BytesIO()
    headers = (
        {"comment": "of all that follows"} if has_global and form == tarfile.PAX_FORMAT else {}
    )
    with tarfile.open(fileobj=file, mode="w", format=form, pax_headers=headers) as tar:
        for name, what, data in members:
            info = tarfile.TarInfo(name)
            info.mtime = 1.5 if has_times else 1
            if what == "file":
                info.size = len(data)
            elif what == "directory":
                info.type = tarfile.DIRTYPE
            else:
                info.type, info.linkname = tarfile.SYMTYPE, "nowhere"
            tar.addfile(info, io.BytesIO(data) if what == "file" else None)
    whole = file.getvalue()
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        wanted = [
            (one.name, one.offset_data if one.isreg() else 0, one.size)
            for one in tar
            if not one.isdir()
        ]
    found = [one[:3] for one in scan_members(io.BytesIO(whole), "a.tar")]
    assert found == wanted
