"""AV1 pictures without container: the same pixels as the AVIF file's, 270 bytes less."""

import struct

import imagecodecs
import numpy as np
import pytest

from dsc.codecs.classical.av1 import av1_level
from dsc.codecs.classical.av1_still import bare, contain
from dsc.codecs.classical.avif import SlowAvifCodec
from dsc.codecs.registry import make_codec
from dsc.errors import BitstreamError
from dsc.pipeline.sources.render import render_view
from dsc.schemas import Quality, Task, TaskKind

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
def test_the_codec_gives_the_pixels_of_avif_at_speed_4_for_270_bytes_less(task) -> None:
    sample = {task.name: render_view(8, 96)[task.name]}
    streams, decoded = [], []
    for codec, quality in (
        (SlowAvifCodec([task]), av1_level(40)),
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


def test_planes_by_squared_error_take_fewer_bytes_at_equal_psnr() -> None:
    """Bytes at the PSNR that `av1` reaches, log-linear between qualities, over three views."""
    views = [render_view(index, 128)["rgb"] for index in (4, 6, 10)]
    curves: dict[str, list[tuple[float, float]]] = {}
    for codec_id in ("av1", "av1-psnr"):
        codec = make_codec(codec_id, [RGB])
        for quality in (30, 45, 60, 75):
            sent = codec.encode_batch([{"rgb": v} for v in views], Quality(default=quality))
            back = codec.decode_batch(sent, ["rgb"], 1 << 20)
            error = np.mean(
                [
                    ((b["rgb"] - v.astype(float)) ** 2).mean()
                    for b, v in zip(back, views, strict=True)
                ]
            )
            total = sum(len(streams["rgb"]) for streams in sent)
            curves.setdefault(codec_id, []).append((float(np.log(error)), float(np.log(total))))
    errors, sizes = zip(*sorted(curves["av1-psnr"]), strict=True)
    saved = [
        size - np.interp(error, errors, sizes)
        for error, size in curves["av1"]
        if errors[0] <= error <= errors[-1]
    ]
    assert len(saved) >= 3
    assert np.mean(saved) > 0.03


def test_every_reader_of_av1_reads_planes_by_squared_error() -> None:
    view = render_view(3, 96)
    tasks = [RGB, DEPTH, NORMAL]
    writer, reader = make_codec("av1-psnr", tasks), make_codec("av1", tasks)
    (sent,) = writer.encode_batch([{task.name: view[task.name] for task in tasks}], Quality())
    (own,) = writer.decode_batch([sent], [task.name for task in tasks], 1 << 20)
    (others,) = reader.decode_batch([sent], [task.name for task in tasks], 1 << 20)
    for task in tasks:
        assert np.array_equal(own[task.name], others[task.name])
    assert np.abs(own["rgb"].astype(int) - view["rgb"]).mean() < 5


def test_the_best_quality_of_planes_is_nearly_the_picture() -> None:
    view = render_view(3, 96)["rgb"]
    codec = make_codec("av1-psnr", [RGB])
    (sent,) = codec.encode_batch([{"rgb": view}], Quality(default=100))
    (back,) = codec.decode_batch([sent], ["rgb"], 1 << 20)
    assert np.abs(back["rgb"].astype(int) - view).mean() < 1.5
