"""`jpeg-exact`: JPEG files come back byte for byte, and pixels as their source read them."""

import hashlib
import io
import json
import pickle
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

import dsc
from dsc._codecs.base import Codec
from dsc._codecs.classical.jpeg_exact import HEAD, KeptForm
from dsc._codecs.registry import make_codec
from dsc._copies.export.run import export
from dsc._schemas import Quality, Task
from dsc._schemas.from_file import FileArray, file_of, with_file
from dsc._sources.meaning.decode import read_array
from dsc._sources.registry import open_source
from dsc.errors import BitstreamError, CodecError
from tests.cli.conftest import run_dsc
from tests.codecs.conformance import CodecConformance
from tests.codecs.test_classical import DEPTH, EDGES, LABEL, NORMAL, RGB, VECTOR
from tests.sources.written_files import pillow

GRAY = Task(name="gray", kind="image", dtype="uint8")
LIMIT = 1 << 16
SIZE = (160, 224)  # height and width; of less, JPEG XL's own head is what it saves
PROFILE = b"\xff\xe2\x00\x14ICC_PROFILE\0\1\1none"  # of four bytes, which is no profile


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    noise = np.random.default_rng(seed).integers(0, 30, (*size, 3))
    smooth = np.stack([rows * 3 + columns, columns * 4, rows * 2 + 90], 2)
    return ((smooth + noise) % 256).astype(np.uint8)


def jpeg(seed: int = 0, mode: str = "RGB", size: tuple[int, int] = SIZE, **options: Any) -> bytes:
    image = Image.fromarray(picture(seed, size)).convert(mode)
    return pillow(image, "JPEG", **({"quality": 80} | options))


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return jpeg(exif=exif)


DEEP = picture()[..., 0].astype(np.uint16) << 3
FILES = {
    "baseline": jpeg(),
    "no subsampling": jpeg(subsampling=0),
    "half subsampling": jpeg(subsampling=1),
    "progressive": jpeg(progressive=True),
    "optimised": jpeg(optimize=True),
    "gray": jpeg(mode="L"),
    "the best": jpeg(quality=100, subsampling=0),
    "restart markers": jpeg(restart_marker_blocks=2),
    "RGB inside": jpeg(keep_rgb=True),
    "a comment": jpeg(comment=b"seen"),
    "bytes behind the end": jpeg() + b"a film" * 40,
    "odd size": jpeg(size=(171, 93)),
    **{f"turned {n}": turned(n) for n in range(1, 9)},
}
KEPT_WHOLE = {
    "inks": jpeg(mode="CMYK"),
    "a profile that is none": jpeg()[:2] + PROFILE + jpeg()[2:],
    "12 bits": bytes(
        imagecodecs.jpeg8_encode(picture()[..., 0].astype(np.uint16), bitspersample=12)
    ),
    "one pixel": jpeg(size=(1, 1)),
}


def task_of(name: str) -> Task:
    if name == "12 bits":
        return Task(name="deep", kind="image", dtype="uint16")
    return GRAY if name == "gray" else RGB


def encode(task: Task, array: np.ndarray) -> bytes:
    (streams,) = make_codec("jpeg-exact", [task]).encode_batch([{task.name: array}], Quality())
    return streams[task.name]


def decode(task: Task, data: bytes, limit: int = LIMIT) -> np.ndarray:
    codec = make_codec("jpeg-exact", [task])
    return codec.decode_batch([{task.name: data}], [task.name], limit)[0][task.name]


def form_of(data: bytes) -> KeptForm:
    return KeptForm(data[0] & 3)


class TestWithoutFiles(CodecConformance):
    @pytest.fixture
    def codec(self) -> Codec:
        return make_codec("jpeg-exact", (RGB, GRAY, EDGES, DEPTH, NORMAL, LABEL))

    def is_exact(self, codec: Codec, task: Task) -> bool:
        return True


# ---- files


@pytest.mark.parametrize("name", [*FILES, *KEPT_WHOLE])
def test_a_file_comes_back_and_its_pixels_as_the_source_reads_them(name: str) -> None:
    file, task = (FILES | KEPT_WHOLE)[name], task_of(name)
    array = read_array(file, task, "here")
    assert file_of(array) == file
    data = encode(task, array)
    assert data == encode(task, array)
    assert form_of(data) is (KeptForm.REPACKED if name in FILES else KeptForm.FILE)
    if name in FILES:
        assert len(data) < len(file)
    decoded = decode(task, data)
    assert file_of(decoded) == file
    np.testing.assert_array_equal(np.asarray(decoded), np.asarray(array))
    assert decoded.dtype == array.dtype


def test_a_gray_file_of_a_colour_task_is_kept_too() -> None:
    array = read_array(FILES["gray"], RGB, "here")
    data = encode(RGB, array)
    assert form_of(data) is KeptForm.REPACKED
    np.testing.assert_array_equal(decode(RGB, data), array)


def test_pixels_that_are_not_those_of_the_file_are_kept_as_they_are() -> None:
    for array in (picture(1), imagecodecs.jpeg8_decode(FILES["baseline"]) ^ 1):
        for file in (FILES["baseline"], FILES["baseline"][:300], b"\xff\xd8\xff", b"GIF89a"):
            data = encode(RGB, with_file(array, file))
            assert form_of(data) is KeptForm.PICTURE
            np.testing.assert_array_equal(decode(RGB, data), array)
            assert file_of(decode(RGB, data)) is None


def test_what_is_made_of_an_array_knows_no_file() -> None:
    array = read_array(FILES["baseline"], RGB, "here")
    assert isinstance(array, FileArray)
    for other in (array[1:], array + 0, array.copy(), np.ascontiguousarray(array)):
        assert file_of(other) is None
    again = pickle.loads(pickle.dumps(array))
    assert file_of(again) == FILES["baseline"]
    np.testing.assert_array_equal(again, array)
    assert file_of(pickle.loads(pickle.dumps(array[1:]))) is None


def test_what_is_no_picture_of_a_jpeg_file_is_refused() -> None:
    wide = Task(name="wide", kind="array", dtype="int32", channels=1)
    with pytest.raises(CodecError, match="use plain"):
        make_codec("jpeg-exact", [VECTOR])
    with pytest.raises(CodecError, match="use exact"):
        make_codec("jpeg-exact", [wide])


# ---- damage


@pytest.mark.parametrize("name", ["baseline", "turned 6", "inks"])
def test_no_flipped_bit_and_no_cut_passes(name: str) -> None:
    array = read_array((FILES | KEPT_WHOLE)[name], RGB, "here")
    data = encode(RGB, array)
    rng = np.random.default_rng(1)
    places = [*range(16), *rng.integers(16, len(data), 120).tolist()]
    for place in places:
        broken = bytearray(data)
        broken[place] ^= 1 << int(rng.integers(8))
        passes_only_the_same(bytes(broken), array)
    for end in [*range(0, 16), *rng.integers(16, len(data), 40).tolist()]:
        passes_only_the_same(data[:end], array)


def passes_only_the_same(broken: bytes, array: np.ndarray) -> None:
    """Check that a damaged stream is refused; JPEG XL's own padding means nothing."""
    try:
        found = decode(RGB, broken)
    except BitstreamError:
        return
    np.testing.assert_array_equal(found, array)
    assert file_of(found) == file_of(array)


def test_flips_in_a_picture_are_seen() -> None:
    array = picture()
    data = encode(RGB, array)
    rng = np.random.default_rng(2)
    for place in [*range(HEAD.size), *rng.integers(0, len(data), 100).tolist()]:
        broken = bytearray(data)
        broken[place] ^= 1 << int(rng.integers(8))
        passes_only_the_same(bytes(broken), array)


def test_a_file_of_more_pixels_or_bytes_than_declared_is_refused() -> None:
    array = read_array(FILES["baseline"], RGB, "here")
    data = bytearray(encode(RGB, array))
    with pytest.raises(BitstreamError, match="at most 35839"):
        decode(RGB, bytes(data), 160 * 224 - 1)
    data[HEAD.size : HEAD.size + 2] = (161).to_bytes(2, "little")
    with pytest.raises(BitstreamError, match="160×224 pixels in one of 161×224"):
        decode(RGB, bytes(data))
    data = bytearray(encode(RGB, array))
    data[HEAD.size + 4 : HEAD.size + 8] = b"\xff\xff\xff\x7f"
    with pytest.raises(BitstreamError, match="do not hold a file of"):
        decode(RGB, bytes(data))


# ---- sources and exports


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hashes(root: Path, pattern: str) -> dict[str, str]:
    return {str(p.relative_to(root)): sha256(p.read_bytes()) for p in sorted(root.rglob(pattern))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """JPEG files of every form, and a PNG under the name of one and under its own."""
    root = tmp_path / "in" / "rgb"
    root.mkdir(parents=True)
    same = [name for name in FILES if name not in ("odd size", "turned 1")]
    for number, name in enumerate([*same, "inks"]):
        (root / f"{number:03d}.jpg").write_bytes((FILES | KEPT_WHOLE)[name])
    (root / "100.png").write_bytes(imagecodecs.png_encode(picture(4)))
    (root / "101.jpg").write_bytes(imagecodecs.png_encode(picture(5)))
    return root.parent


def test_a_mixed_folder_comes_back(folder: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "archive", tmp_path / "back"
    ran = run_dsc("compress", "folder", "--root", folder, "--codec", "rgb=jpeg-exact", "--out", out)
    assert ran.code == 0, ran.err
    source, archive = open_source("folder", folder), dsc.open(out, native=True)
    for index in range(len(source)):
        wanted = source.read(index, ["rgb"]).arrays["rgb"]
        np.testing.assert_array_equal(archive[index]["rgb"], wanted)
    assert run_dsc("verify", out, "--deep").code == 0
    assert run_dsc("export", out, "--out", back).code == 0
    files, before = hashes(back, "*.jpg"), hashes(folder, "*.jpg")
    before.pop("rgb/101.jpg")  # a PNG, which is written again, under its own name
    assert files == before
    for name, seed in (("100", 4), ("101", 5)):
        found = imagecodecs.png_decode((back / f"rgb/{name}.png").read_bytes())
        np.testing.assert_array_equal(found, picture(seed))
    again = export(out, None, back)
    assert (again.written, again.kept) == (0, len(source))
    export(out, None, tmp_path / "keys", names="keys")
    assert len(list((tmp_path / "keys").rglob("*.jpg"))) == len(before)


def test_workers_keep_files_too(folder: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for out, workers in ((one, 0), (two, 2)):
        dsc.compress("folder", out, root=folder, codec="jpeg-exact", workers=workers, shard_size=7)
    assert hashes(one, "*.tar") == hashes(two, "*.tar")


def tar_of(root: Path, files: dict[str, bytes]) -> None:
    root.mkdir()
    with tarfile.open(root / "train-000000.tar", "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_tars_come_back(tmp_path: Path) -> None:
    files = {f"{n:03d}.jpg": jpeg(n) for n in range(4)}
    tar_of(tmp_path / "in", files)
    dsc.compress("webdataset", tmp_path / "a", root=tmp_path / "in", codec="jpeg-exact")
    export(tmp_path / "a", None, tmp_path / "out", to="webdataset")
    with tarfile.open(tmp_path / "out" / "train-000000.tar") as tar:
        found = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    assert found == files
    export(tmp_path / "a", None, tmp_path / "webp", to="webdataset", image_format="webp")
    with tarfile.open(tmp_path / "webp" / "train-000000.tar") as tar:
        assert tar.getnames() == [f"{n:03d}.webp" for n in range(4)]


def test_rows_come_back(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    cells = [{"bytes": jpeg(n), "path": f"{n}.jpg"} for n in range(5)]
    (tmp_path / "in").mkdir()
    table = pa.table({"image": cells, "n": list(range(5))})
    parquet.write_table(table, tmp_path / "in" / "train.parquet")
    dsc.compress("huggingface", tmp_path / "a", root=tmp_path / "in", codec="jpeg-exact")
    export(tmp_path / "a", None, tmp_path / "out", to="parquet")
    (found,) = (tmp_path / "out").rglob("*.parquet")
    image = parquet.read_table(found)["image"].to_pylist()
    assert [one["bytes"] for one in image] == [one["bytes"] for one in cells]


def test_coco_comes_back_also_where_it_is_not_turned(tmp_path: Path) -> None:
    from tests.coco import INFO, image

    root = tmp_path / "in"
    entries = [image(n, "jpg", height=160, width=224) for n in range(1, 4)]
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    for number, data in enumerate((FILES["baseline"], FILES["turned 3"], FILES["turned 6"]), 1):
        (root / "val2017" / f"{number:012d}.jpg").write_bytes(data)
    content = {"info": INFO, "images": entries, "annotations": []}
    (root / "annotations" / "image_info_val2017.json").write_text(json.dumps(content))
    dsc.compress("coco", tmp_path / "a", root=root, codec="image=jpeg-exact")
    assert dsc.open(tmp_path / "a")[2]["image"].shape == (160, 224, 3)
    export(tmp_path / "a", None, tmp_path / "out", to="coco")
    assert hashes(tmp_path / "out", "*.jpg") == hashes(root, "*.jpg")


class Pictures:
    """A source of one's own, which gives the files along."""

    name = "pictures"
    tasks = (RGB,)

    def __len__(self) -> int:
        return 3

    def key(self, index: int) -> str:
        return f"p{index}"

    def read(self, index: int, tasks: Sequence[str]) -> dsc.sources.SourceSample:
        data = jpeg(index)
        array = dsc.sources.with_file(imagecodecs.jpeg8_decode(data), data)
        return dsc.sources.SourceSample(self.key(index), {"rgb": array}, {"rgb": len(data)})

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "root": None, "options": {}, "fingerprint": "3"}


def test_a_source_of_ones_own_may_give_files_along(tmp_path: Path) -> None:
    dsc.compress(Pictures(), tmp_path / "a", exact=True)
    assert [one.id for one in dsc.open(tmp_path / "a").manifest.codecs] == ["jpeg-exact"]
    export(tmp_path / "a", None, tmp_path / "out")
    for index in range(3):
        assert (tmp_path / f"out/rgb/p{index}.jpg").read_bytes() == jpeg(index)


# ---- real data


@pytest.mark.parametrize(
    ("source", "under", "task", "pattern"),
    [
        ("folder", "sevenscenes", "rgb", "*.jpg"),
        ("nyuv2", "nyuv2", "rgb", "nyu_images/*.jpg"),
        ("folder", "natural", "rgb", "*.JPEG"),
    ],
)
def test_real_files_take_an_eighth_less(
    source: str, under: str, task: str, pattern: str, tmp_path: Path, data_root: Path
) -> None:
    root = data_root / under
    if not root.is_dir():
        pytest.skip(f"no {under} under {data_root}; other tests here make their files")
    options = {"sequence_by": "none"} if under == "sevenscenes" else {}
    dsc.compress(source, tmp_path / "a", root=root, tasks=task, codec="jpeg-exact", **options)
    archive = dsc.open(tmp_path / "a")
    coded = archive.manifest.totals["rgb"].payload_bytes
    assert coded <= 0.88 * archive.manifest.source_bytes["rgb"]
    export(tmp_path / "a", None, tmp_path / "out")
    assert hashes(tmp_path / "out", pattern) == {
        name: found for name, found in hashes(root, pattern).items()
    }
