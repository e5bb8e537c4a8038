"""Bitstreams as the image files that browsers show: the pixels that the codec itself decodes."""

from typing import Any

import imagecodecs
import numpy as np
import pytest

from dsc._codecs.maps.base import ImageCodec
from dsc._codecs.registry import make_codec
from dsc._schemas import Quality, Task, TaskKind
from dsc.errors import BitstreamError

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
GRAY = Task(name="gray", kind=TaskKind.IMAGE, dtype="uint8")
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0,))
DEEP = Task(name="deep", kind=TaskKind.IMAGE, dtype="uint16")
SHOWN = {
    "av1": "avif", "av1-fast": "avif", "avif": "avif", "av1-small": "avif", "jpeg": "jpeg",
    "jpeg-bare": "jpeg", "webp": "webp", "webp-bare": "webp", "png": "png",
}  # fmt: skip
READERS = {
    "avif": lambda data: imagecodecs.avif_decode(data, numthreads=1),
    "jpeg": imagecodecs.jpeg8_decode,
    "webp": lambda data: imagecodecs.webp_decode(data, hasalpha=False),
    "png": imagecodecs.png_decode,
}
LIMIT = 1 << 20


def image(channels: int, size: tuple[int, int] = (20, 28)) -> np.ndarray[Any, Any]:
    rows, columns = np.mgrid[: size[0], : size[1]]
    planes = [7 * rows + 3 * columns + 40 * channel for channel in range(channels)]
    smooth = np.stack(planes, -1) % 200 + 20
    return smooth.astype(np.uint8).squeeze()


def coded(codec: ImageCodec, task: Task, array: np.ndarray[Any, Any]) -> bytes:
    return codec.encode_batch([{task.name: array}], Quality(default=80))[0][task.name]


def made(codec_id: str, task: Task) -> ImageCodec:
    codec = make_codec(codec_id, [task])
    assert isinstance(codec, ImageCodec)
    return codec


@pytest.mark.parametrize("task", [RGB, GRAY, NORMAL], ids=lambda task: task.name)
@pytest.mark.parametrize("codec_id", SHOWN)
def test_the_file_holds_the_pixels_that_the_codec_decodes(codec_id: str, task: Task) -> None:
    codec, array = made(codec_id, task), image(task.channels)
    data = coded(codec, task, array)
    found = codec.picture_file(task.name, data, LIMIT)
    assert found is not None
    assert found.media_type == f"image/{SHOWN[codec_id]}"
    assert (found.height, found.width) == (20, 28)
    read = READERS[SHOWN[codec_id]](found.data)
    if read.ndim > array.ndim:  # gray as three planes, all of which browsers show
        read = read[..., 1]
    decoded = codec.decode_batch([{task.name: data}], [task.name], LIMIT)[0][task.name]
    assert np.abs(read.astype(int) - decoded).max() <= 2


@pytest.mark.parametrize(("codec_id", "task"), [("jxl", RGB), ("av1", DEPTH), ("png", DEEP)])
def test_what_a_browser_would_not_show_as_it_is_has_no_file(codec_id: str, task: Task) -> None:
    codec = made(codec_id, task)
    array = image(task.channels).astype(task.dtype) + 1
    assert codec.picture_file(task.name, coded(codec, task, array), LIMIT) is None


def test_holes_have_no_file_and_whole_maps_have() -> None:
    codec, array = made("av1", NORMAL), image(3)
    assert codec.picture_file("normal", coded(codec, NORMAL, array), LIMIT) is not None
    array[3:9, 4:9] = 127
    assert codec.picture_file("normal", coded(codec, NORMAL, array), LIMIT) is None
    array[:] = 127
    assert codec.picture_file("normal", coded(codec, NORMAL, array), LIMIT) is None


def test_pictures_that_are_restored_have_no_file() -> None:
    pytest.importorskip("torch")
    codec = made("av1-small-restored", RGB)
    assert codec.picture_file("rgb", coded(codec, RGB, image(3)), LIMIT) is None


@pytest.mark.parametrize("codec_id", SHOWN)
def test_damaged_heads_are_bitstream_errors(codec_id: str) -> None:
    codec = made(codec_id, RGB)
    data = coded(codec, RGB, image(3))
    with pytest.raises(BitstreamError, match="pixels, at most 100"):
        codec.picture_file("rgb", data, 100)
    with pytest.raises(BitstreamError):
        codec.picture_file("rgb", b"", LIMIT)
    for cut in range(min(len(data), 24)):
        try:
            codec.picture_file("rgb", data[:cut], LIMIT)
        except BitstreamError:
            continue


def test_a_picture_of_another_size_than_declared_is_refused() -> None:
    codec = made("av1", RGB)
    data = bytearray(coded(codec, RGB, image(3)))
    data[1:3] = (24).to_bytes(2, "little")
    with pytest.raises(BitstreamError, match="expected"):
        codec.picture_file("rgb", bytes(data), LIMIT)
