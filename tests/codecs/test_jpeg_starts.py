"""What JPEG files of a data set begin with is kept once, and the files come back byte for byte."""

import base64
import zipfile
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import dsc
from dsc._codecs.classical.file_starts import (
    MOST_KNOWN,
    MOST_START,
    WINDOW,
    Starts,
    start_length,
    starts_of,
)
from dsc._codecs.classical.jpeg_exact import CUT, HEAD, LARGE, JpegExactCodec, KeptForm
from dsc._codecs.encoder import encoder_of, encoder_text
from dsc._codecs.registry import codec_from_config, make_codec
from dsc._copies.export.run import export
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.learn import with_learnt
from dsc._schemas import CodecRecord, Quality, Task
from dsc._schemas.from_file import file_of
from dsc._sources.meaning.decode import read_array
from dsc.errors import BitstreamError, CodecError
from tests.cli.conftest import run_dsc
from tests.codecs.test_classical import RGB
from tests.codecs.test_jpeg_exact import (
    FILES,
    GRAY,
    KEPT_WHOLE,
    form_of,
    hashes,
    jpeg,
    task_of,
)
from tests.jobs.sources import PixelSource

THUMB = (48, 64)
MIXED = {
    "thumbnail": jpeg(1, size=THUMB),
    "of another size": jpeg(2, size=(37, 61)),
    "of another quality": jpeg(3, size=THUMB, quality=55),
    "gray thumbnail": jpeg(4, mode="L", size=THUMB),
    "progressive thumbnail": jpeg(5, size=THUMB, progressive=True),
    "optimised thumbnail": jpeg(6, size=THUMB, optimize=True),
    "like none": jpeg(7, size=THUMB, optimize=True, quality=31, comment=bytes(range(1, 200))),
}


def array_of(file: bytes, task: Task = RGB) -> np.ndarray:
    return read_array(file, task, "here")


def learnt(task: Task = RGB, **options: Any) -> JpegExactCodec:
    """Return a codec that has learnt from thumbnails."""
    samples = [{task.name: array_of(jpeg(n, size=THUMB, **options), task)} for n in range(8)]
    codec = make_codec("jpeg-exact", [task])
    assert isinstance(codec, JpegExactCodec)
    return codec.learning(samples, 1000)


def coded(codec: JpegExactCodec, file: bytes) -> bytes:
    (task,) = codec.tasks
    (streams,) = codec.encode_batch([{task.name: array_of(file, task)}], Quality())
    return streams[task.name]


def decoded(codec: JpegExactCodec, data: bytes) -> np.ndarray:
    (task,) = codec.tasks
    return codec.decode_batch([{task.name: data}], [task.name], 1 << 16)[0][task.name]


# ---- files come back


@pytest.mark.parametrize("name", [*FILES, *KEPT_WHOLE, *MIXED])
def test_any_file_comes_back_from_a_codec_that_knows_starts(name: str) -> None:
    file = (FILES | KEPT_WHOLE | MIXED)[name]
    task = task_of(name)
    codec = JpegExactCodec([task]).knowing(learnt().config())
    data = coded(codec, file)
    assert data == coded(codec, file)
    found = decoded(codec, data)
    assert file_of(found) == file
    np.testing.assert_array_equal(found, array_of(file, task))
    assert len(data) <= len(coded(JpegExactCodec([task]), file))


@pytest.mark.parametrize("name", ["thumbnail", "of another size", "gray thumbnail"])
def test_a_thumbnail_takes_few_bytes_for_its_start(name: str) -> None:
    file, task = MIXED[name], GRAY if name.startswith("gray") else RGB
    codec = learnt(task, mode="L" if task is GRAY else "RGB")
    data = coded(codec, file)
    assert data[0] & CUT
    stop = start_length(file)
    assert stop is not None
    assert stop > 300
    assert len(data) < len(file) - stop + 45
    without = coded(JpegExactCodec([task]), file)
    assert len(without) >= len(file) * 0.97


def test_both_forms_of_files_may_have_a_start_that_is_known() -> None:
    codec = learnt()
    small, larger = coded(codec, MIXED["thumbnail"]), coded(codec, FILES["baseline"])
    assert (form_of(small), form_of(larger)) == (KeptForm.FILE, KeptForm.REPACKED)
    assert small[0] & larger[0] & CUT


def test_a_large_photograph_is_repacked_as_before() -> None:
    file = jpeg(9, size=(600, 800), quality=90)
    before, after = coded(JpegExactCodec([RGB]), file), coded(learnt(), file)
    assert form_of(before) is form_of(after) is KeptForm.REPACKED
    assert len(before) - 700 < len(after) <= len(before)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_thumbnails_come_back(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    file, codec = jpeg(3, size=THUMB, exif=exif), learnt()
    data = coded(codec, file)
    assert data[0] & CUT
    assert data[0] >> 2 & 7 == orientation - 1
    assert file_of(decoded(codec, data)) == file


# ---- what is learnt


def test_what_is_learnt_is_the_same_again_and_stands_in_the_configuration() -> None:
    codec = learnt()
    assert codec.config() == learnt().config()
    assert 500 < len(codec.starts.text) <= MOST_KNOWN
    again = codec_from_config("jpeg-exact", codec.config(), None)
    assert again.config() == codec.config()
    assert coded(again, MIXED["thumbnail"]) == coded(codec, MIXED["thumbnail"])  # type: ignore[arg-type]


def test_nothing_is_learnt_where_it_does_not_pay() -> None:
    codec = JpegExactCodec([RGB])
    thumbs = [{"rgb": array_of(jpeg(n, size=THUMB))} for n in range(8)]
    assert codec.learning(thumbs, 1000) is not codec
    for samples, count in (
        (thumbs[:1], 1),
        (thumbs[:2], 2),
        ([], 1000),
        ([{}] * 8, 1000),
        ([{"rgb": np.asarray(one["rgb"])} for one in thumbs], 1000),
    ):
        assert codec.learning(samples, count) is codec
    assert "starts" not in codec.config()


def test_large_files_are_not_looked_at() -> None:
    file = jpeg(1, size=(400, 500), quality=100, subsampling=0)
    assert len(file) > LARGE
    codec = JpegExactCodec([RGB])
    assert codec.learning([{"rgb": array_of(file)}] * 8, 10**6) is codec


def test_starts_of_several_kinds_are_learnt_each_once() -> None:
    kinds = [MIXED["thumbnail"], MIXED["of another quality"], MIXED["progressive thumbnail"]]
    once, often = starts_of([[file] for file in kinds]), starts_of([[f] for f in kinds * 50])
    assert once == often
    for file in kinds:
        cut, stop = once.cut(file), start_length(file)
        assert cut is not None
        assert stop is not None
        assert len(cut) < len(file) - stop + 16
    rng = np.random.default_rng(3)
    noise = [jpeg(1, size=THUMB, comment=rng.bytes(3000)) for _ in range(9)]
    assert len(starts_of([[file] for file in noise]).text) <= MOST_KNOWN


def test_the_library_that_deflates_is_among_the_encoders() -> None:
    record = CodecRecord(id="jpeg-exact", config=learnt().config(), streams=("rgb",))
    plain = record.model_copy(update={"config": {"tasks": []}})
    assert encoder_of([record])["zlib"] == zlib.ZLIB_RUNTIME_VERSION
    assert "zlib" in encoder_text(encoder_of([record]))
    assert "zlib" not in encoder_of([plain])


# ---- damage


@pytest.mark.parametrize("name", ["thumbnail", "gray thumbnail", "progressive", "baseline"])
def test_no_flipped_bit_and_no_cut_passes(name: str) -> None:
    codec, file = learnt(), (FILES | MIXED)[name]
    data = coded(codec, file)
    assert data[0] & CUT
    rng = np.random.default_rng(1)
    places = [*range(80), *rng.integers(80, len(data), 300).tolist()]
    for place in places:
        broken = bytearray(data)
        broken[place] ^= 1 << int(rng.integers(8))
        passes_only_the_same(codec, bytes(broken), file)
    for end in places:
        passes_only_the_same(codec, data[:end], file)
    assert file_of(decoded(codec, data)) == file


def passes_only_the_same(codec: JpegExactCodec, broken: bytes, file: bytes) -> None:
    """Check that a damaged stream is refused; the bits that fill bytes up mean nothing."""
    try:
        found = decoded(codec, broken)
    except BitstreamError:
        return
    assert file_of(found) == file


def test_a_codec_that_knows_no_starts_or_others_refuses() -> None:
    data = coded(learnt(), MIXED["thumbnail"])
    with pytest.raises(
        BitstreamError, match="its start refers to others, and its codec knows none"
    ):
        decoded(JpegExactCodec([RGB]), data)
    with pytest.raises(BitstreamError):
        decoded(learnt(quality=20), data)


def test_tags_that_mean_nothing_are_refused() -> None:
    codec = learnt()
    data = coded(codec, MIXED["thumbnail"])
    for tag in (data[0] | 64, data[0] | 128, 3, 3 | CUT, CUT):
        with pytest.raises(BitstreamError):
            decoded(codec, bytes([tag]) + data[1:])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([1, 2]))
def test_random_bytes_after_a_tag_are_refused(body: bytes, form: int) -> None:
    with pytest.raises(BitstreamError):
        decoded(learnt_once(), HEAD.pack(form | CUT, 0) + b"\x30\0\x40\0" + body)


ONCE: list[JpegExactCodec] = []


def learnt_once() -> JpegExactCodec:
    if not ONCE:
        ONCE.append(learnt())
    return ONCE[0]


def test_few_bytes_do_not_become_many() -> None:
    codec = learnt()
    bomb = codec.starts.deflate(bytes(MOST_START + 1))
    for form, head in ((KeptForm.FILE, b""), (KeptForm.REPACKED, b"\0\0\1\0")):
        with pytest.raises(BitstreamError, match=f"longer than {MOST_START} bytes"):
            decoded(codec, HEAD.pack(form | CUT, 0) + b"\x30\0\x40\0" + head + bomb)
    start = codec.starts.deflate(bytes(MOST_START))
    size = (60_000_000).to_bytes(4, "little")
    with pytest.raises(BitstreamError, match="do not hold a file of 60000000"):
        decoded(codec, HEAD.pack(KeptForm.REPACKED | CUT, 0) + b"\x30\0\x40\0" + size + start)


@pytest.mark.parametrize(
    "starts",
    [
        7,
        None,
        ["/9j/"],
        "no base64!",
        "A",
        base64.b64encode(bytes(WINDOW + 1)).decode(),
        "A" * 10**7,
    ],
    ids=["number", "null", "list", "other signs", "cut", "too long", "far too long"],
)
def test_a_configuration_of_no_starts_is_refused(starts: Any) -> None:
    config = JpegExactCodec([RGB]).config() | {"starts": starts}
    with pytest.raises(CodecError, match=r"not a configuration of this codec: .*starts"):
        codec_from_config("jpeg-exact", config, None)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.binary(min_size=1, max_size=400), st.binary(max_size=40))
def test_any_start_comes_back(start: bytes, known: bytes, rest: bytes) -> None:
    starts = Starts(known)
    assert starts.whole(starts.deflate(start) + rest) == start + rest


def test_a_start_that_is_none_is_not_cut() -> None:
    starts = Starts(b"known")
    file = MIXED["thumbnail"]
    long = file[:2] + b"\xff\xfe\xff\xff" + bytes(65533) + file[2:]
    for data in (b"", b"\xff\xd8\xff", file[:200], b"\xff\xd8\xff\xe0\xff\xff", long, b"GIF89a"):
        assert starts.cut(data) is None
    assert Starts().cut(file) is None


# ---- archives


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thumbnails of one kind, with others and a PNG among them."""
    root = tmp_path / "in" / "rgb"
    root.mkdir(parents=True)
    for number in range(40):
        (root / f"{number:03d}.jpg").write_bytes(jpeg(number, size=THUMB))
    for number, file in enumerate(MIXED.values()):
        (root / f"{number:03d}x.jpg").write_bytes(file)
    (root / "100.png").write_bytes(imagecodecs.png_encode(array_of(jpeg(1, size=THUMB))))
    return root.parent


def starts_in(archive: Path) -> str | None:
    (record,) = dsc.open(archive).manifest.codecs
    found: str | None = record.config.get("starts")
    return found


def test_thumbnails_take_fewer_bytes_and_come_back(folder: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "archive", tmp_path / "back"
    ran = run_dsc("compress", "folder", "--root", folder, "--exact", "--out", out)
    assert ran.code == 0, ran.err
    assert starts_in(out)
    rgb = dsc.open(out).manifest.totals["rgb"].payload_bytes
    assert rgb < 0.88 * dsc.open(out).manifest.source_bytes["rgb"]
    assert run_dsc("verify", out, "--against", folder).code == 0
    assert run_dsc("export", out, "--out", back).code == 0
    assert hashes(back, "*.jpg") == hashes(folder, "*.jpg")


def test_workers_and_a_second_run_write_the_same(folder: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for out, workers in ((one, 0), (two, 2)):
        dsc.compress("folder", out, root=folder, exact=True, workers=workers, shard_size=7)
    assert hashes(one, "*.tar") == hashes(two, "*.tar")
    assert dsc.open(one).manifest == dsc.open(two).manifest
    before = (one / "dsc.json").read_bytes()
    dsc.compress("folder", one, root=folder, exact=True, shard_size=7)
    assert (one / "dsc.json").read_bytes() == before


@pytest.mark.parametrize("knows", [True, False])
def test_what_was_begun_is_finished_with_what_it_knew(knows: bool) -> None:
    first = learnt() if knows else JpegExactCodec([RGB])
    begun = CodecSet.of([first]).records()

    def unread(index: int) -> dict[str, np.ndarray]:
        raise AssertionError(f"sample {index} is read")

    fresh = CodecSet.of([JpegExactCodec([RGB])])
    found = with_learnt(fresh, PixelSource(n=100), unread, begun)
    assert found.records() == begun
    samples = [{"rgb": array_of(jpeg(n, size=THUMB))} for n in range(100)]
    assert with_learnt(fresh, PixelSource(n=100), samples.__getitem__).records() != fresh.records()


def test_an_archive_without_starts_stays_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "archive"
    with monkeypatch.context() as before:  # as it was written before anything was learnt
        before.setattr(JpegExactCodec, "learning", lambda self, samples, count: self)
        dsc.compress("folder", out, root=folder, exact=True)
    assert starts_in(out) is None
    written = (out / "dsc.json").read_bytes()
    dsc.compress("folder", out, root=folder, exact=True)
    assert (out / "dsc.json").read_bytes() == written
    grows(folder, out)
    assert starts_in(out) is None


def test_an_archive_grows_by_what_it_knows(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "archive"
    dsc.compress("folder", out, root=folder, exact=True)
    known = starts_in(out)
    grows(folder, out)
    assert known == starts_in(out)
    assert known


def grows(folder: Path, out: Path) -> None:
    """Append thumbnails of another kind and of the same, and check all that comes back."""
    for number in range(200, 212):
        file = jpeg(number, size=THUMB, quality=70 + number % 2 * 10)
        (folder / "rgb" / f"{number}.jpg").write_bytes(file)
    dsc.append(out, "folder", root=folder)
    back = out.with_name("grown")
    export(out, None, back)
    assert hashes(back, "*.jpg") == hashes(folder, "*.jpg")
    assert len(dsc.open(out)) == len(list((folder / "rgb").iterdir()))


def test_real_thumbnails_take_a_quarter_less(tmp_path: Path, data_root: Path) -> None:
    packed = data_root / "tiny_imagenet40" / "val.zip"
    if not packed.is_file():
        pytest.skip(f"no {packed}; other tests here make their files")
    with zipfile.ZipFile(packed) as files:
        names = [n for n in files.namelist() if n.endswith(".JPEG")][::20]
        for name in names:
            files.extract(name, tmp_path / "in")
    dsc.compress("folder", tmp_path / "a", root=tmp_path / "in", tasks="rgb", exact=True)
    manifest = dsc.open(tmp_path / "a").manifest
    assert manifest.totals["rgb"].payload_bytes <= 0.75 * manifest.source_bytes["rgb"]
    export(tmp_path / "a", None, tmp_path / "out")
    files = sorted(hashes(tmp_path / "in", "*.JPEG").values())
    assert sorted(hashes(tmp_path / "out", "*.JPEG").values()) == files
