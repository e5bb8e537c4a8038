"""`av1-layered`: a coarse map by itself, and with the second stream what `av1` gives."""

import base64
import json
from contextlib import suppress

import numpy as np
import pytest

from dsc._codecs.base import decoder_from
from dsc._codecs.canvas import Canvas, Place
from dsc._codecs.classical.av1_layered import coarse_quality
from dsc._codecs.maps.coarse import coarse_map, coarse_size
from dsc._codecs.registry import codec_from_config, distinct_codecs, make_codec
from dsc._coding.context.weights import shipped_file
from dsc._schemas import Effort, Quality, Task, TaskKind, carrying_streams
from dsc.errors import BitstreamError, CodecError
from tests.codecs.conformance import MAX_PIXELS, CodecConformance, make_sample
from tests.codecs.test_classical import (
    DEPTH,
    DEPTH8,
    EDGES,
    KINECT,
    LABEL,
    NORMAL,
    RGB,
    SHADING,
    VECTOR,
)
from tests.golden import make_layered

TASKS = (RGB, SHADING, EDGES, DEPTH, KINECT, DEPTH8)
QUALITY = Quality(default=70)
ODD = ((1, 1), (3, 5), (7, 13), (40, 56), (65, 33))


class TestAv1Layered(CodecConformance):
    sees_every_cut = False  # as of `av1`: the archive's checksums see a cut

    @pytest.fixture
    def codec(self):
        return make_codec("av1-layered", TASKS)


@pytest.mark.parametrize("size", ODD)
def test_coarse_maps_have_a_quarter_of_the_side_rounded_up(size: tuple[int, int]) -> None:
    codec, sample = make_codec("av1-layered", TASKS), make_sample(TASKS, size)
    (streams,) = codec.encode_batch([sample], QUALITY)
    found = coarse(codec, streams)
    assert list(found) == [task.name for task in TASKS]
    for task, array in found.items():
        assert array.shape == (*coarse_size(*size), *sample[task].shape[2:])
        assert array.dtype == sample[task].dtype


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_damaged_coarse_map_is_an_error_or_a_map(task: Task) -> None:
    codec = make_codec("av1-layered", [task])
    (streams,) = codec.encode_batch([make_sample([task], (40, 56))], QUALITY)
    data = streams[f"{task.name}.0"]
    rng = np.random.default_rng(1)
    damaged = [data[:length] for length in range(0, len(data), 3)]
    for at in rng.integers(0, 8 * len(data), 60).tolist():
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        damaged.append(bytes(flipped))
    for one in damaged:
        with suppress(BitstreamError):
            (found,) = coarse(codec, {f"{task.name}.0": one}).values()
            assert found.dtype == np.dtype(task.dtype)
            assert found.shape[0] * found.shape[1] <= MAX_PIXELS


def coarse(codec, streams, tasks=None, max_pixels=MAX_PIXELS):
    names = [stream.name for stream in codec.streams() if not stream.requires]
    first = {name: data for name, data in streams.items() if name in names}
    tasks = [task.name for task in codec.tasks] if tasks is None else tasks
    return decoder_from(codec, names).decode_batch([first], tasks, max_pixels)[0]


@pytest.mark.parametrize("size", ODD)
def test_the_whole_map_is_that_of_av1(size: tuple[int, int]) -> None:
    sample, names = make_sample(TASKS, size), [task.name for task in TASKS]
    layered, plain = make_codec("av1-layered", TASKS), make_codec("av1", TASKS)
    (streams,), (single,) = (one.encode_batch([sample], QUALITY) for one in (layered, plain))
    (found,) = layered.decode_batch([streams], names, MAX_PIXELS)
    (wanted,) = plain.decode_batch([single], names, MAX_PIXELS)
    for name in names:
        assert np.array_equal(found[name], wanted[name])
        assert len(streams[f"{name}.1"]) == len(single[name]) - 4  # its size is in the first stream


@pytest.mark.parametrize("effort", list(Effort))
def test_the_coarse_map_is_near_the_means_or_medians(effort: Effort) -> None:
    tasks = (RGB, DEPTH)
    codec = make_codec("av1-layered", tasks).at_effort(effort)
    rows, columns = np.mgrid[:96, :128]
    depth = (2000 + 10 * rows + 5 * columns).astype(np.uint16)
    depth[:, 60:] *= 2
    depth[8:16, 8:32] = 65535
    rgb = np.stack([rows, columns, 255 - rows], axis=2).astype(np.uint8)
    sample = {RGB.name: rgb, DEPTH.name: depth}
    (streams,) = codec.encode_batch([sample], Quality(default=80))
    found = coarse(codec, streams)
    wanted = coarse_map(RGB, rgb).astype(int)
    assert np.abs(found[RGB.name] - wanted).mean() < 4
    wanted = coarse_map(DEPTH, depth)
    assert np.array_equal(found[DEPTH.name] == 65535, wanted == 65535)
    there = wanted != 65535
    error = np.abs(found[DEPTH.name][there].astype(float) / wanted[there] - 1)
    assert error.mean() < 0.02


def test_a_coarse_depth_is_one_that_was_measured_and_holes_stay_holes() -> None:
    rng = np.random.default_rng(3)
    depth = rng.integers(500, 9000, (22, 31)).astype(np.uint16)
    depth[rng.random(depth.shape) < 0.7] = 0
    depth[4:8, 4:12] = 0
    found = coarse_map(KINECT, depth)
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            square = depth[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            valid = np.sort(square[~KINECT.invalid_mask(square)])
            assert found[row, column] == (valid[(valid.size - 1) // 2] if valid.size else 0)


def test_a_coarse_pixel_is_the_mean_of_the_valid_pixels_and_no_invalid_value() -> None:
    image = np.array([[0, 100, 101, 101], [90, 0, 0, 0]], np.uint8)
    assert coarse_map(SHADING, image).tolist() == [[98]]
    tricky = Task(name="gray", kind="image", dtype="uint8", invalid=(50,))
    halves = np.array([[40, 60], [60, 40]], np.uint8)
    assert coarse_map(tricky, halves).tolist() != [[50]]
    assert coarse_map(tricky, np.full((5, 4), 50, np.uint8)).tolist() == [[50], [50]]
    assert coarse_map(RGB, np.full((5, 9, 3), 255, np.uint8)).min() == 255  # also at the ends


def test_levels_are_mixed_by_task() -> None:
    codec = make_codec("av1-layered", (RGB, DEPTH))
    sample = make_sample((RGB, DEPTH), (40, 56))
    (streams,) = codec.encode_batch([sample], QUALITY)
    there = [f"{RGB.name}.0", f"{DEPTH.name}.0", f"{DEPTH.name}.1"]
    decoder = decoder_from(codec, there)
    (found,) = decoder.decode_batch([{n: streams[n] for n in there}], [*sample], MAX_PIXELS)
    assert found[RGB.name].shape == (10, 14, 3)
    assert found[DEPTH.name].shape == (40, 56)
    assert codec.config()["prefixes"] is True
    assert carrying_streams(codec.streams(), RGB.name) == (f"{RGB.name}.0", f"{RGB.name}.1")


@pytest.mark.parametrize("absent", ["rgb.0", "rgb.1"])
def test_a_stream_that_is_required_and_not_there_is_damage(absent: str) -> None:
    codec = make_codec("av1-layered", [RGB])
    (streams,) = codec.encode_batch([make_sample([RGB], (40, 56))], QUALITY)
    del streams[absent]
    with pytest.raises(BitstreamError, match=f"stream {absent} is required and not here"):
        codec.decode_batch([streams], ["rgb"], MAX_PIXELS)


def test_the_coarse_map_of_too_many_pixels_is_refused() -> None:
    codec = make_codec("av1-layered", [RGB])
    (streams,) = codec.encode_batch([make_sample([RGB], (40, 56))], QUALITY)
    with pytest.raises(BitstreamError, match=r"40×56 pixels, at most 2000"):
        coarse(codec, streams, max_pixels=2000)
    with pytest.raises(BitstreamError, match=r"stream rgb\.0: 4 bytes are no"):
        coarse(codec, {"rgb.0": streams["rgb.0"][:4]})


def test_arrays_are_placed_where_they_are_wanted() -> None:
    codec = make_codec("av1-layered", [DEPTH])
    (streams,) = codec.encode_batch([make_sample([DEPTH], (40, 56))], QUALITY)
    canvas = Canvas(1, {DEPTH.name: DEPTH}, native=False, together=True)
    found = codec.decode_sample(DEPTH.name, streams, MAX_PIXELS, canvas.place(0, DEPTH.name))
    (native,) = codec.decode_batch([streams], [DEPTH.name], MAX_PIXELS)
    assert np.array_equal(found, DEPTH.to_physical(native[DEPTH.name]), equal_nan=True)
    again = codec.decode_sample(DEPTH.name, streams, MAX_PIXELS, Place())
    assert np.array_equal(again, native[DEPTH.name])


@pytest.mark.parametrize("task", [NORMAL, LABEL, VECTOR])
def test_what_has_no_coarse_map_is_refused(task: Task) -> None:
    with pytest.raises(CodecError, match=f"task {task.name}: av1-layered .*; use "):
        make_codec("av1-layered", [task])


@pytest.mark.parametrize("kind", [RGB.kind, DEPTH.kind])
def test_coarse_pictures_have_a_lower_quality_at_every_quality(kind: TaskKind) -> None:
    found = [coarse_quality(kind, quality) for quality in range(1, 101)]
    assert found == sorted(found)
    assert found[0] >= 1
    assert all(one < quality for quality, one in enumerate(found, 1) if quality > 5)


def test_nobody_chooses_it_who_does_not_ask_for_it() -> None:
    assert "av1-layered" not in distinct_codecs()


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("task", [task.name for task in make_layered.CODECS])
def test_golden_levels_decode_as_they_did(task: str) -> None:
    known = json.loads((make_layered.ROOT / f"{task}.json").read_text())
    codec_id = next(own for one, own in make_layered.CODECS.items() if one.name == task)
    weights = shipped_file() if codec_id == "label-layered" else None
    codec = codec_from_config(codec_id, known["config"], weights)
    payloads = {name: base64.b64decode(data) for name, data in known["payloads"].items()}
    for level, (shape, digest) in enumerate(zip(known["shapes"], known["sha256"], strict=True), 1):
        names = list(payloads)[:level]
        given = {name: payloads[name] for name in names}
        decoder = decoder_from(codec, names)
        found = decoder.decode_batch([given], [task], make_layered.PIXELS)[0][task]
        assert list(found.shape) == shape
        assert make_layered.digest(found) == digest


def test_every_golden_file_belongs_to_a_test() -> None:
    names = {task.name for task in make_layered.CODECS}
    assert {path.stem for path in make_layered.ROOT.glob("*.json")} == names
