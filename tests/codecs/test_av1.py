"""AV1 pictures without container: the same pixels as the AVIF file's, 270 bytes less."""

import struct

import imagecodecs
import numpy as np
import pytest

from dsc._codecs.base import at_effort
from dsc._codecs.classical import libavif
from dsc._codecs.classical.av1 import av1_level, settings_at
from dsc._codecs.classical.av1_still import bare, contain, is_monochrome, plain_sequence
from dsc._codecs.classical.avif import AvifCodec
from dsc._codecs.classical.ycbcr import Settings
from dsc._codecs.encoder import library_version
from dsc._codecs.registry import SAME_AS, make_codec
from dsc._renderer.render import render_view
from dsc._schemas import Effort, Quality, Task, TaskKind
from dsc.errors import BitstreamError, CodecError

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
DEPTH = Task(
    name="depth_zbuffer", kind=TaskKind.DEPTH, dtype="uint16", unit_m=1 / 512, invalid=(65535,)
)
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
LAYOUTS = {
    "rgb": {"pixelformat": "444"},
    "identity": {"pixelformat": "444", "matrix": 0},
    "gray": {"pixelformat": "400"},
    "deep": {"pixelformat": "400", "bitspersample": 12},
}


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (480, 640), (70, 5000)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_picture_without_container_decodes_to_the_same_pixels(size, layout) -> None:
    rng = np.random.default_rng(0)
    image = np.cumsum(rng.integers(-2, 3, (*size, 3)), axis=1).astype(np.uint8)
    if layout == "deep":
        image = image.astype(np.uint16) * 16
    coded = imagecodecs.avif_encode(image, level=60, speed=8, numthreads=1, **LAYOUTS[layout])
    picture = bare(coded)
    assert len(coded) - len(picture) >= 270
    found = imagecodecs.avif_decode(contain(picture))
    assert np.array_equal(found, imagecodecs.avif_decode(coded))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_header_says_of_colours_is_left_to_the_boxes(layout) -> None:
    image = np.cumsum(np.ones((40, 56, 3), int), axis=1).astype(np.uint8)
    if layout == "deep":
        image = image.astype(np.uint16) * 16
    options = LAYOUTS[layout] | {"primaries": 2, "transfer": 2}
    coded = imagecodecs.avif_encode(image, level=60, speed=8, numthreads=1, **options)
    picture = bare(coded)
    header = picture[1 : 1 + (picture[0] & 0x7F)]
    assert plain_sequence(header) == header
    # as some versions write it: a flag, then primaries, transfer and matrix
    left = 8 * len(header) - _colour_bit(header, layout) - 1
    value = int.from_bytes(header, "big")
    said = ((value >> left | 1) << 24 | 0x020206) << left | value & ((1 << left) - 1)
    longer = said.to_bytes(len(header) + 3, "big")
    assert plain_sequence(longer) == header
    whole = bytes([picture[0] & 0x80 | len(longer)]) + longer + picture[1 + len(header) :]
    found = imagecodecs.avif_decode(contain(whole))
    assert np.array_equal(found, imagecodecs.avif_decode(contain(picture)))
    assert plain_sequence(header[:4]) == header[:4]


def _colour_bit(header: bytes, layout: str) -> int:
    """Return the place of the flag that a description of colours follows."""
    bits = int.from_bytes(header, "big")
    sides = bits >> (8 * len(header) - 18) & 0xFF  # two lengths of four bits, less 1
    start = 18 + (sides >> 4) + (sides & 15) + 2 + 6
    return start + {"rgb": 1, "identity": 1, "gray": 2, "deep": 3}[layout]


def test_obus_that_an_encoder_lays_out_otherwise_are_kept_whole() -> None:
    coded = imagecodecs.avif_encode(np.full((9, 8, 3), 70, np.uint8), level=60, speed=8)
    at = coded.index(b"mdat")
    obus = coded[at + 4 :] + bytes([15 << 3 | 2, 1, 0])  # a padding OBU behind the frame
    picture = bare(coded[: at - 4] + struct.pack(">I4s", len(obus) + 8, b"mdat") + obus)
    assert picture == b"\0" + obus
    found = imagecodecs.avif_decode(contain(picture))
    assert np.array_equal(found, imagecodecs.avif_decode(coded))


@pytest.mark.parametrize("data", [b"", b"\0", b"\x07abc", b"\xff" * 40, bytes(40)])
def test_bytes_that_are_no_picture_are_a_bitstream_error(data) -> None:
    codec = make_codec("av1", [RGB])
    header = struct.pack("<BHH", 1, 8, 8)
    with pytest.raises(BitstreamError, match="rgb"):
        codec.decode_batch([{"rgb": header + data}], ["rgb"], 64)


@pytest.mark.parametrize("task", [RGB, DEPTH, NORMAL], ids=lambda task: task.name)
def test_the_codec_gives_the_pixels_of_avif_for_270_bytes_less(task) -> None:
    class WithBoxes(AvifCodec):
        def settings(self, task: Task, image: np.ndarray) -> Settings:
            return settings_at(self.effort, task, image)

    sample = {task.name: render_view(8, 96)[task.name]}
    streams, decoded = [], []
    for codec, quality in (
        (WithBoxes([task]), av1_level(40)),
        (make_codec("av1", [task]), 40),
    ):
        (coded,) = codec.encode_batch([sample], Quality(default=quality))
        streams.append(coded[task.name])
        decoded += codec.decode_batch([coded], [task.name], 96 * 96)
    assert np.array_equal(decoded[0][task.name], decoded[1][task.name])
    assert len(streams[0]) - len(streams[1]) >= 270


def test_quality_is_a_scale_of_a_hundred_different_or_growing_steps() -> None:
    levels = [av1_level(quality) for quality in range(1, 101)]
    assert levels == sorted(levels)
    assert levels[0] == 1
    assert levels[-1] == 100


def test_archives_that_name_av1_psnr_get_what_av1_writes() -> None:
    tasks = [RGB, DEPTH, NORMAL]
    sample = {task.name: render_view(3, 96)[task.name] for task in tasks}
    codecs = [make_codec(name, tasks) for name in ("av1", *SAME_AS)]
    streams = [codec.encode_batch([sample], Quality()) for codec in codecs]
    assert all(one == streams[0] for one in streams)


def test_av1_fast_is_a_name_of_an_effort() -> None:
    tasks = [RGB, DEPTH, NORMAL]
    sample = {task.name: render_view(3, 96)[task.name] for task in tasks}
    named = make_codec("av1-fast", tasks)
    asked = at_effort(make_codec("av1", tasks), Effort.FAST)
    assert named.encode_batch([sample], Quality()) == asked.encode_batch([sample], Quality())


@pytest.mark.skipif(not libavif.is_there(), reason="libavif cannot be called by name here")
@pytest.mark.parametrize("effort", list(Effort))
def test_gray_maps_are_pictures_of_one_plane(effort: Effort) -> None:
    codec = at_effort(make_codec("av1", [DEPTH]), effort)
    gray = render_view(3, 96)["depth_zbuffer"] >> 4
    image = Task(name="gray", kind="image", dtype="uint8")
    assert is_monochrome(codec.write_image((gray >> 4).astype(np.uint8), image, 60))
    picture = codec.write_image(gray, DEPTH, 60)
    assert is_monochrome(picture)
    assert np.abs(codec.read_image(picture, gray.copy()).astype(int) - gray).mean() < 40


def test_where_libavif_cannot_be_called_every_picture_is_written_without_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = [RGB, DEPTH, NORMAL]
    sample = {task.name: render_view(3, 96)[task.name] for task in tasks}
    codec = make_codec("av1", tasks)
    library_version.cache_clear()
    monkeypatch.setattr(libavif, "is_there", lambda: False)
    assert library_version("libavif").endswith("without options")
    (coded,) = codec.encode_batch([sample], Quality(default=90))
    library_version.cache_clear()
    (back,) = codec.decode_batch([coded], list(sample), 96 * 96)
    for task in tasks:
        assert (
            task.invalid_mask(back[task.name]).sum() == task.invalid_mask(sample[task.name]).sum()
        )
        assert 0 < np.abs(back[task.name].astype(float) - sample[task.name]).mean() < 60


@pytest.mark.skipif(not libavif.is_there(), reason="libavif cannot be called by name here")
def test_an_option_that_libaom_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="Invalid codec-specific option"):
        libavif.encode([np.zeros((16, 16), np.uint8)], 8, 50, 6, {"no-such-option": "1"})


def test_gray_pictures_of_one_plane_are_read_as_they_were_written_before() -> None:
    gray = render_view(3, 96)["rgb"][..., 1]
    task = Task(name="gray", kind="image", dtype="uint8")
    alike = np.repeat(gray[..., None], 3, axis=2)
    coded = imagecodecs.avif_encode(alike, level=80, speed=6, pixelformat="400")
    header = struct.pack("<BHH", 1, 96, 96)
    for codec_id, picture in (("av1", bare(coded)), ("avif", coded)):
        codec = make_codec(codec_id, [task])
        (back,) = codec.decode_batch([{"gray": header + picture}], ["gray"], 96 * 96)
        wanted = imagecodecs.avif_decode(coded).reshape(96, 96, -1)[..., 0]
        assert np.array_equal(back["gray"], wanted)


def test_a_gray_avif_file_is_gray_to_every_reader() -> None:
    gray = render_view(3, 96)["rgb"][..., 1]
    codec = make_codec("avif", [Task(name="gray", kind="image", dtype="uint8")])
    (sent,) = codec.encode_batch([{"gray": gray}], Quality(default=80))
    shown = imagecodecs.avif_decode(sent["gray"][5:]).astype(int)
    assert np.abs(shown - gray[..., None]).mean() < 2


def test_the_best_quality_is_the_picture() -> None:
    view = render_view(3, 96)["rgb"]
    codec = make_codec("av1", [RGB])
    (sent,) = codec.encode_batch([{"rgb": view}], Quality(default=100))
    (back,) = codec.decode_batch([sent], ["rgb"], 1 << 20)
    assert np.array_equal(back["rgb"], view)


@pytest.mark.parametrize("codec", ["av1", "avif", "av1-small"])
def test_a_side_that_libavif_does_not_read_is_refused_when_it_is_written(codec) -> None:
    task = Task(name="gray", kind="image", dtype="uint8")
    made = make_codec(codec, [task])
    longest = np.full((1, 32768), 90, np.uint8)
    (streams,) = made.encode_batch([{"gray": longest}], Quality(default=60))
    (found,) = made.decode_batch([streams], ["gray"], longest.size)
    assert found["gray"].shape == longest.shape
    for shape in ((1, 32769), (32769, 1)):
        with pytest.raises(CodecError, match="longer than 32768"):
            made.encode_batch([{"gray": np.full(shape, 90, np.uint8)}], Quality(default=60))
