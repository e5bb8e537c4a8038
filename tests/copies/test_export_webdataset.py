"""Tars come back as they were: samples, names, endings and their order, to the byte where exact."""

import io
import tarfile
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dsc
from dsc._copies.export.encode import Encoder
from dsc._copies.export.run import export
from dsc._copies.export.webdataset import member_bytes
from dsc._schemas import Task
from dsc.errors import PlanMismatchError, UsageError
from tests.everything import EverythingSource
from tests.sources.tars import everything, npy, png, write_samples

RNG = np.random.default_rng(0)


def read_tar(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        return [(one.name, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]


def read_tars(root: Path) -> list[tuple[str, bytes]]:
    return [member for path in sorted(root.glob("*.tar")) for member in read_tar(path)]


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six samples in three tars of two splits; some lack fields, one has them in another order."""
    root = tmp_path_factory.mktemp("tars")
    for tar, numbers in (
        ("train-000000", (0, 1)),
        ("train-000001", (2, 3)),
        ("val-000000", (4, 5)),
    ):
        samples = [(f"./a b/{number:03d}", everything(number)) for number in numbers]
        if tar == "train-000001":
            samples[0] = (samples[0][0], dict(reversed(samples[0][1].items())))
            samples[1][1].pop("jpg")
            samples[1][1].pop("boxes.npy")
        write_samples(root / f"{tar}.tar", samples)
    return root


@pytest.fixture(scope="module")
def archive(tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archive")
    dsc.compress("webdataset", out, root=tars, codec="image=jpeg,depth=png", shard_size=3)
    return out


def test_names_endings_order_and_bytes_come_back(tars: Path, archive: Path, tmp_path: Path) -> None:
    report = export(archive, None, tmp_path, to="webdataset", image_format="source")
    assert {path.name for path in tmp_path.glob("*.tar")} == {
        "train-000000.tar", "val-000000.tar"
    }  # fmt: skip
    assert (report.written, report.kept, report.notes) == (2, 0, ())
    assert report.missing == {
        task.name: int(task.name in ("image", "boxes")) for task in report.tasks
    }
    before, after = read_tars(tars), read_tars(tmp_path)
    assert [name for name, _ in after] == [name for name, _ in before]
    for (name, one), (_, two) in zip(before, after, strict=True):
        if name.endswith(".png"):
            np.testing.assert_array_equal(
                imagecodecs.png_decode(one), imagecodecs.png_decode(two), name
            )
        elif not name.endswith(".jpg"):
            assert one == two, name


def test_what_comes_back_is_read_again_as_the_same(
    tars: Path, archive: Path, tmp_path: Path
) -> None:
    export(archive, None, tmp_path / "tars", to="webdataset", shard_size=2)
    assert sorted(path.name for path in (tmp_path / "tars").glob("*.tar")) == [
        "train-000000.tar", "train-000001.tar", "val-000000.tar"
    ]  # fmt: skip
    dsc.compress("webdataset", tmp_path / "again", root=tmp_path / "tars", codec="depth=png")
    one, two = dsc.open(archive, native=True), dsc.open(tmp_path / "again", native=True)
    assert list(one.keys()) == list(two.keys())
    assert dict(one.manifest.splits) == dict(two.manifest.splits)
    for index in range(len(one)):
        assert one.origin(index).order == two.origin(index).order
        for task in one.tasks:
            if task.name != "image":
                np.testing.assert_array_equal(one[index][task.name], two[index][task.name])


def test_images_become_what_is_asked_for(archive: Path, tmp_path: Path) -> None:
    report = export(archive, "image", tmp_path / "png", to="webdataset")
    assert report.notes == (".jpg became .png: 5 files",)
    decoded = dsc.open(archive, "image")
    name, data = read_tar(tmp_path / "png/val-000000.tar")[0]
    assert name == "./a b/004.png"
    np.testing.assert_array_equal(imagecodecs.png_decode(data), decoded[4]["image"])
    sizes = {}
    for asked, magic in (("jpg:30", b"\xff\xd8"), ("jpg", b"\xff\xd8"), ("webp", b"RIFF")):
        out = tmp_path / asked.replace(":", "")
        export(archive, "image,seg", out, to="webdataset", image_format=asked)
        files = dict(read_tar(out / "val-000000.tar"))
        picture = files[f"./a b/004.{asked[:3].replace('web', 'webp')}"]
        assert picture.startswith(magic)
        assert files["./a b/004.seg.png"].startswith(b"\x89PNG")
        sizes[asked] = len(picture)
    assert sizes["jpg:30"] < sizes["jpg"]
    for wrong in ("gif", "jpg:0", "jpg:x", "png:3"):
        with pytest.raises(UsageError, match=f"--image-format {wrong}: png, jpg, webp or source"):
            export(archive, None, tmp_path / "x", to="webdataset", image_format=wrong)
    assert not (tmp_path / "x").exists()


def test_an_export_goes_on_and_has_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    asked: dict[str, Any] = {"to": "webdataset", "file_size": "20kB"}
    export(archive, None, whole, **asked)
    found = {path.name: path.read_bytes() for path in sorted(whole.glob("*.tar"))}
    assert len(found) > 3
    assert all(len(data) <= 20_000 for data in found.values())
    export(archive, None, part, **asked)
    for name in list(found)[1:]:
        (part / name).unlink()
    report = export(archive, None, part, **asked)
    assert (report.written, report.kept) == (len(found) - 1, 1)
    assert {path.name: path.read_bytes() for path in part.glob("*.tar")} == found
    assert export(archive, None, part, **asked).written == 0
    assert export(archive, None, part, overwrite=True, **asked).kept == 0
    with pytest.raises(
        PlanMismatchError,
        match=r"--file-size 20000 --image-format png .*, not as --to webdataset --file-size",
    ):
        export(archive, None, part, to="webdataset", file_size="20kB", image_format="jpg")
    with pytest.raises(PlanMismatchError, match=r"--tasks boxes,.* not as .* --tasks txt;"):
        export(archive, "txt", part, **asked)
    write_samples(part / "val-000000.tar", [("other", {"txt": b""})])
    with pytest.raises(PlanMismatchError, match="it holds sample other"):
        export(archive, None, part, **asked)
    export(archive, "txt", part, overwrite=True, to="webdataset")
    assert {path.name for path in part.glob("*.tar")} == {"train-000000.tar", "val-000000.tar"}
    for wrong in ({"shard_size": 0}, {"file_size": "x"}):
        with pytest.raises(UsageError, match="-size"):
            export(archive, None, tmp_path / "x", to="webdataset", **wrong)


def test_some_samples_are_exported_in_their_order(archive: Path, tmp_path: Path) -> None:
    indices = {"indices": [5, 3, 4]}
    export(archive, "txt", tmp_path, to="webdataset", selection=indices)
    assert [name for name, _ in read_tar(tmp_path / "val-000000.tar")] == [
        "./a b/005.txt", "./a b/004.txt"
    ]  # fmt: skip
    assert [name for name, _ in read_tar(tmp_path / "train-000000.tar")] == ["./a b/003.txt"]
    assert export(archive, "txt", tmp_path, to="webdataset", selection=indices).kept == 2


def test_headers_are_plain_and_small_files_cost_one() -> None:
    assert len(member_bytes("a.txt", b"x")) == 1024
    long = member_bytes(f"{'x' * 300}.txt", b"x")
    with tarfile.open(fileobj=io.BytesIO(long + bytes(1024))) as tar:
        assert tar.getnames() == [f"{'x' * 300}.txt"]
    odd = member_bytes("\udcff.txt", b"x")
    assert len(odd) == 1024
    assert odd.startswith(b"\xff.txt")
    assert odd[136:148] == b"00000000000\0"  # time


def test_archives_of_other_sources_have_keys_and_endings_by_task(tmp_path: Path) -> None:
    dsc.compress(EverythingSource(5), tmp_path / "a", codec="rgb=png")
    export(tmp_path / "a", None, tmp_path / "out", to="webdataset")
    names = [name for name, _ in read_tars(tmp_path / "out")]
    assert names[:12] == [
        f"sample_0.{ending}" for ending in (
            "rgb.png", "scene.cls", "caption.txt", "meta.json", "sound.wav", "height.npy",
            "taken.npy", "pose.npy", "boxes.npy", "block.npy", "sized.npy", "gains.npy",
        )
    ]  # fmt: skip
    assert not [name for name in names if name in ("sample_3.caption.txt", "sample_3.boxes.npy")]
    dsc.compress(
        "webdataset",
        tmp_path / "b",
        root=tmp_path / "out",
        codec="rgb=png",
        kinds={"taken": "time", "block": "feature", "sized": "feature"},
        exact=True,
    )
    one, two = dsc.open(tmp_path / "a"), dsc.open(tmp_path / "b")
    for index in range(5):
        for task in one.tasks:
            np.testing.assert_array_equal(one[index][task.name], two[index][task.name])
    assert {task.kind for task in one.tasks} == {task.kind for task in two.tasks}


def test_floating_point_depth_and_normals_come_back_as_such(tmp_path: Path) -> None:
    depth = RNG.uniform(0.5, 9, (8, 9)).astype(np.float32)
    depth[0] = 0
    normal = RNG.normal(size=(8, 9, 3))
    normal = (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float16)
    for unit, factor in ((None, 1), ("mm", 1000)):
        files = {"depth.npy": npy(depth * factor), "normal.npy": npy(normal)}
        root = tmp_path / f"{factor}"
        write_samples(root / "in/a.tar", [("1", files)])
        dsc.compress("webdataset", root / "a", root=root / "in", codec="png", file_unit=unit)
        export(root / "a", None, root / "out", to="webdataset")
        back = {
            name: np.load(io.BytesIO(data))
            for name, data in read_tar(root / "out/train-000000.tar")
        }
        assert list(back) == ["1.depth.npy", "1.normal.npy"]
        assert [array.dtype for array in back.values()] == [np.float32, np.float16]
        np.testing.assert_allclose(back["1.depth.npy"], depth * factor, atol=0.0006 * factor)
        np.testing.assert_allclose(back["1.normal.npy"], normal, atol=0.02)


def test_names_that_lead_out_of_a_directory_are_not_written(tmp_path: Path) -> None:
    names = ["../up", "/root/x", "a/../../b", "fine/..x", "a\\b", "c\nd"]
    write_samples(tmp_path / "in/a.tar", [(name, {"txt": name.encode()}) for name in names[:3]])
    write_samples(tmp_path / "in/b.tar", [("fine/x", {"txt": b""}), ("a\\b", {"txt": b""})])
    dsc.compress("webdataset", tmp_path / "a", root=tmp_path / "in")
    export(tmp_path / "a", None, tmp_path / "out", to="webdataset")
    found = [name for name, _ in read_tars(tmp_path / "out")]
    keys = list(dsc.open(tmp_path / "a").keys())
    assert found == [*(f"{key}.txt" for key in keys[:3]), "fine/x.txt", "a\\b.txt"]


def test_numbers_go_back_into_the_files_they_came_from() -> None:
    encoder = Encoder()
    pose = Task(name="pose", kind="matrix", dtype="float64", shape=(2, 2))
    array = np.array([[1, 0.1], [2, 1 / 3]])
    assert encoder.file_of(pose, array, "pose.json") == (
        b"[[1.0, 0.1], [2.0, 0.3333333333333333]]", "pose.json",
    )  # fmt: skip
    text = encoder.file_of(pose, array, "pose.txt")
    assert text == (b"1.0 0.1\n2.0 0.3333333333333333", "pose.txt")
    number = Task(name="n", kind="scalar", dtype="int64", channels=0)
    assert encoder.file_of(number, np.array(-7), "index") == (b"-7", "index")
    label = Task(name="ids", kind="label", dtype="int32")
    assert encoder.file_of(label, np.ones((2, 2), np.int32), "ids.tiff")[1] == "ids.npy"


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="./\0", exclude_categories=["Cs"]),
    min_size=1, max_size=12,
)  # fmt: skip
VALUES = {
    "txt": st.text(max_size=20).map(str.encode),
    "caption.txt": st.text(max_size=20).map(str.encode),
    "json": st.sampled_from([b"{}", b' {"a": [1, 2.50]}', b"3", b'"\\ud800"']),
    "cls": st.integers(-(1 << 63), (1 << 63) - 1).map(lambda n: str(n).encode()),
    "index": st.integers(0, 99).map(lambda n: str(n).encode()),
    "wav": st.binary(max_size=20),
    "JSON.bin": st.binary(max_size=20),
    "pyd": st.binary(max_size=20),
    "pose.npy": st.floats(width=32).map(lambda x: npy(np.full((2, 3), x, np.float32))),
    "boxes.npy": st.integers(0, 3).map(lambda n: npy(np.arange(2 * n).reshape(n, 2))),
    "seg.png": st.integers(0, 9).map(lambda n: png(np.full((4, 5), n, np.uint8))),
    "Depth.PNG": st.integers(1, 99).map(lambda n: png(np.full((4, 5), n, np.uint16))),
}


@st.composite
def data_sets(draw: st.DrawFn) -> list[tuple[str, dict[str, bytes]]]:
    """Samples of some fields, each in an order of its own and some of them lacking."""
    fields = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=6, unique=True))
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    names = [draw(st.sampled_from(["", "a/", "./b b/"])) + name for name in names]
    samples = []
    for name in names:
        own = draw(st.lists(st.sampled_from(fields), min_size=1, unique=True))
        samples.append((name, {ending: draw(VALUES[ending]) for ending in own}))
    return samples


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(samples=data_sets(), several=st.booleans())
def test_no_field_name_or_order_is_lost(
    tmp_path_factory: pytest.TempPathFactory, samples: list[Any], several: bool
) -> None:
    root = tmp_path_factory.mktemp("all")
    half = len(samples) // 2 if several else 0
    for number, some in enumerate((samples[:half], samples[half:])):
        if some:
            write_samples(root / f"in/x{number}.tar", some)
    lossy = any("Depth.PNG" in files for _, files in samples)
    codec = "depth=png" if lossy else None
    dsc.compress("webdataset", root / "a", root=root / "in", codec=codec)
    export(root / "a", None, root / "out", to="webdataset")
    before, after = read_tars(root / "in"), read_tars(root / "out")
    assert [name for name, _ in after] == [name for name, _ in before]
    for (name, one), (_, two) in zip(before, after, strict=True):
        if name.lower().endswith(".png"):
            np.testing.assert_array_equal(*map(imagecodecs.png_decode, (one, two)), name)
        else:
            assert one == two, name


def test_webdataset_itself_reads_what_is_written(archive: Path, tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    export(archive, None, tmp_path, to="webdataset")
    paths = [str(path) for path in sorted(tmp_path.glob("*.tar"))]
    found = list(wds.WebDataset(paths, shardshuffle=False).decode(only=["json", "cls", "pose.npy"]))
    opened = dsc.open(archive)
    assert [sample["__key__"] for sample in found] == [opened.origin(i).name for i in range(6)]
    assert found[0]["json"] == opened[0]["json"]
    assert found[0]["cls"] == opened[0]["cls"]
    np.testing.assert_array_equal(found[0]["pose.npy"], opened[0]["pose"])
