"""Normals as pictures, or as label maps of few directions."""

import hashlib
import json
from contextlib import nullcontext

import numpy as np
import pytest

from dsc import _kernels
from dsc._codecs.canvas import Place
from dsc._codecs.label.codec import LabelContextCodec
from dsc._codecs.label.directions import MOST, Directions, Errors, angles_between
from dsc._codecs.label.normals import NormalForm
from dsc._codecs.registry import codec_from_config, make_codec
from dsc._codecs.residual.codec import ResidualCodec
from dsc._coding.context.weights import shipped_file
from dsc._pipeline import metrics
from dsc._renderer.render import render_view
from dsc._schemas import Bound, Quality, Task, TaskKind
from dsc.errors import BitstreamError, CodecError
from tests.codecs.conformance import CodecConformance
from tests.places import ROOT

NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
PLAIN = NORMAL.model_copy(update={"name": "plain", "invalid": ()})
GOLDEN = ROOT / "tests" / "golden" / "normal_palette"


class TestNormalPalette(CodecConformance):
    sees_every_cut = False  # as `av1`

    @pytest.fixture
    def codec(self):
        return make_codec("normal-palette", [NORMAL, PLAIN])


def angles(original: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Degrees, NaN where nothing was measured."""
    return metrics.angles_deg(NORMAL.to_physical(original), NORMAL.to_physical(decoded))


def encode(array: np.ndarray, quality: int, codec_id: str = "normal-palette") -> bytes:
    codec = make_codec(codec_id, [NORMAL])
    (streams,) = codec.encode_batch([{"normal": array}], Quality(default=quality))
    return streams["normal"]


def decode(data: bytes, codec_id: str = "normal-palette") -> np.ndarray:
    codec = make_codec(codec_id, [NORMAL])
    (decoded,) = codec.decode_batch([{"normal": data}], ["normal"], 1 << 20)
    return decoded["normal"]


@pytest.mark.parametrize("quality", [20, 60])
def test_rooms_take_fewer_bytes_at_no_larger_error(quality: int) -> None:
    sizes = np.zeros(2)
    for index in (20, 22, 25, 27):
        view = render_view(index, 192)["normal"]
        data, picture = encode(view, quality), encode(view, quality, "av1")
        sizes += len(data), len(picture)
        angle, allowed = angles(view, decode(data)), angles(view, decode(picture, "av1"))
        assert np.nanmean(angle) <= np.nanmean(allowed) + 1e-6
        assert np.nanmean(angle**2) <= np.nanmean(allowed**2) + 1e-6
        assert len(data) <= len(picture) + 1
    assert sizes[0] < 0.92 * sizes[1]


def test_holes_come_back_and_nothing_becomes_one() -> None:
    view = render_view(25, 128)["normal"].copy()
    view[30:60, 40:90] = 127
    view[5, 5] = (127, 127, 128)  # a direction close to none
    data = encode(view, 30)
    assert data[0] == NormalForm.LABELS
    assert np.array_equal(NORMAL.invalid_mask(decode(data)), NORMAL.invalid_mask(view))


def test_what_is_not_made_of_planes_is_a_picture() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    y, x = np.mgrid[-1:1:160j, -1:1:160j]
    z = np.sqrt(np.clip(1.5 - x**2 - y**2, 0.05, None))
    ball = np.stack([x, y, z], axis=-1)
    ball = (ball / np.linalg.norm(ball, axis=-1, keepdims=True) * 127.5 + 127.5).astype(np.uint8)
    for array in (noise, ball):
        data = encode(array, 60)
        assert data[0] == NormalForm.PICTURE
        assert data[1:] == encode(array, 60, "av1")


def test_merging_keeps_within_its_tolerance_and_never_touches_holes() -> None:
    view = render_view(22, 96)["normal"]
    invalid = NORMAL.invalid_mask(view)
    invalid[:9] = True
    directions = Directions.of(view, invalid)
    assert directions is not None
    assert directions.counts.sum() == (~invalid).sum()
    for tolerance in (0, 3, 20):
        own = directions.merged(tolerance)
        made = directions.picture(own, view)
        angle = angles(view, made)
        assert np.nanmax(angle) <= tolerance + 1e-3
        assert np.array_equal(made[invalid], view[invalid])
        mean, root = directions.errors_deg(own)
        assert mean == pytest.approx(np.nanmean(angle[~invalid]), abs=1e-3)
        assert root == pytest.approx(np.sqrt(np.nanmean(angle[~invalid] ** 2)), abs=1e-3)
    assert len(np.unique(directions.merged(20))) < len(np.unique(directions.merged(3)))


def test_angles_are_those_of_the_unit_vectors() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 256, (2, 5000, 3)).astype(np.uint8)
    second[:500] = first[:500]
    second[500:1000] = 255 - first[500:1000]
    second[1000:2000] = (first[1000:2000] ^ 1).clip(0, 255)
    found = np.degrees(angles_between(first, second) / 2.0**26)
    one, other = (normals.astype(np.float64) - 127.5 for normals in (first, second))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    wanted = np.degrees(np.arccos(((one * other).sum(axis=1) / lengths).clip(-1, 1)))
    assert found == pytest.approx(wanted, abs=3e-6)
    assert not found[:500].any()
    errors = Errors.of(angles_between(first, second))
    assert np.degrees(errors.sum / 5000 / 2.0**26) == pytest.approx(wanted.mean(), rel=1e-6)
    assert errors.square / 5000 / 2.0**32 == pytest.approx(
        np.mean(np.radians(wanted) ** 2), rel=1e-6
    )


@pytest.mark.skipif(not _kernels.built, reason="the compiled kernels were not built")
@pytest.mark.parametrize("kind", ["room", "noise", "few", "holes"])
def test_kernels_find_and_merge_what_the_twins_do(kind: str) -> None:
    rng = np.random.default_rng(2)
    view = render_view(22, 64)["normal"].copy()
    if kind == "noise":
        view = rng.integers(0, 14, (60, 70, 3)).astype(np.uint8).repeat(3, axis=1)
    elif kind == "few":
        view = rng.integers(126, 130, (30, 50, 3)).astype(np.uint8).repeat(4, axis=1)
    invalid = rng.random(view.shape[:2]) < (0.3 if kind == "holes" else 0)
    found = []
    for choose in (nullcontext, _kernels.twins):
        with choose():
            directions = Directions.of(view, invalid)
            assert directions is not None
            other = np.roll(view, 1, axis=0)
            most = Errors(directions.errors_of(view, other).sum // 20, 10**15)
            own = [directions.merged_within(tolerance, most) for tolerance in (0, 1, 5, 20, 40)]
            assert own[0] is not None
            parts = [directions.values, directions.counts, directions.number]
            found.append((parts, own, directions.merged(12), directions.errors_of(view, other)))
    (parts, own, merged, errors), (twins_parts, twins_own, twins_merged, twins_errors) = found
    assert all(map(np.array_equal, parts, twins_parts))
    assert np.array_equal(merged, twins_merged)
    assert errors == twins_errors
    for one, other in zip(own, twins_own, strict=True):
        assert (one is None) == (other is None)
        assert one is None or np.array_equal(one, other)


@pytest.mark.skipif(not _kernels.built, reason="the compiled kernels were not built")
@pytest.mark.parametrize("quality", [20, 90])
def test_kernels_and_twins_write_the_same_bytes(quality: int) -> None:
    view = render_view(27, 96)["normal"].copy()
    view[10:20, 30:50] = 127
    data = encode(view, quality)
    assert data[0] == NormalForm.LABELS
    with _kernels.twins():
        assert encode(view, quality) == data


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("quality", [30, 100])
def test_unit_vectors_are_written_where_they_are_wanted(quality: int) -> None:
    view = render_view(27, 96)["normal"].copy()
    view[10:20, 30:50] = 127
    codec = make_codec("normal-palette", [NORMAL])
    for array in (view, view[:1, :1], render_view(3, 64)["normal"]):
        (streams,) = codec.encode_batch([{"normal": array}], Quality(default=quality))
        native = decode(streams["normal"])
        batch = np.zeros((2, *array.shape), np.float32)
        place = Place(native=False, room=lambda shape, dtype, batch=batch: batch[1])
        found = codec.decode_to("normal", streams["normal"], 1 << 20, place)
        assert np.shares_memory(found, batch)
        assert np.array_equal(batch[1], NORMAL.to_physical(native), equal_nan=True)


def test_labels_that_take_more_bytes_than_the_picture_are_given_up() -> None:
    view = render_view(27, 96)["normal"]
    codec = LabelContextCodec.for_tasks(
        [Task(name="normal", kind=TaskKind.LABEL, dtype="uint8", channels=3)]
    )
    directions = Directions.of(view, NORMAL.invalid_mask(view))
    assert directions is not None
    labels, names = directions.named(directions.merged(5), view)
    whole = codec.encode_named(labels, names, 1 << 20)
    assert whole is not None
    (found,) = codec.decode_batch([{"normal": whole}], ["normal"], labels.size)
    assert np.array_equal(found["normal"], names[labels])
    assert codec.encode_named(labels, names, len(whole) + 1) == whole
    for below in (len(whole), len(whole) // 2, 1, 0):
        assert codec.encode_named(labels, names, below) is None


def test_too_many_directions_are_none() -> None:
    many = np.arange(MOST + 1, dtype=np.int32)
    array = np.stack([many >> 8, many & 255, many * 0 + 200], -1).astype(np.uint8)
    array = array[:, None].repeat(4, 1)
    assert Directions.of(array, np.zeros(array.shape[:2], bool)) is None
    assert Directions.of(array[1:], np.zeros((MOST, 4), bool)) is not None


@pytest.mark.parametrize("data", [b"", b"\x02abc", b"\x01", b"\x01\x00\x08\x00\x08\x00", b"\x00"])
def test_damage_is_a_bitstream_error(data: bytes) -> None:
    with pytest.raises(BitstreamError, match="normal"):
        decode(data)


def test_it_codes_normals_alone_and_wants_its_model() -> None:
    rgb = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
    with pytest.raises(CodecError, match="use av1"):
        make_codec("normal-palette", [rgb])
    with pytest.raises(CodecError, match="needs its weights file"):
        codec_from_config("normal-palette", {"tasks": []}, None)


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("form", ["labels", "picture"])
def test_golden_stream_decodes_as_it_did(form: str) -> None:
    expected = json.loads((GOLDEN / f"{form}.json").read_text())
    codec = codec_from_config("normal-palette", expected["config"], shipped_file())
    data = (GOLDEN / f"{form}.bin").read_bytes()
    assert data[0] == NormalForm[form.upper()]
    (decoded,) = codec.decode_batch([{"normal": data}], ["normal"], 1 << 13)
    assert hashlib.sha256(decoded["normal"].tobytes()).hexdigest() == expected["sha256"]


@pytest.mark.skipif(not _kernels.built, reason="the compiled kernels were not built")
def test_kernels_refuse_arrays_that_do_not_fit() -> None:
    image, invalid = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), bool)
    number, values, counts = np.zeros((4, 5), np.uint16), np.zeros(9, np.uint32), np.zeros(9, int)
    kernels = _kernels.compiled
    assert kernels.directions_number(image, invalid, number, values, counts) == 1
    for arrays in (
        (image[:3], invalid, number, values, counts),
        (image, invalid[:3], number, values, counts),
        (image, invalid, number[:3].copy(), values, counts),
        (image, invalid, number, values, counts[:8]),
        (image, invalid, number, np.zeros(8193, np.uint32), np.zeros(8193, int)),
        (image.astype(np.int8), invalid, number, values, counts),
    ):
        with pytest.raises(TypeError):
            kernels.directions_number(*arrays)
    normals, angles = np.zeros((6, 3), np.uint8), np.zeros(6, np.uint32)
    with pytest.raises(TypeError):
        kernels.directions_angles(normals[:5], normals, angles)
    with pytest.raises(TypeError):
        kernels.directions_merge(normals, counts[:5], 0.5, 1, 1, np.zeros(6, np.uint16))


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("most", [1, 4])
def test_errors_of_labels_can_be_bounded(most: int) -> None:
    view = render_view(27, 96)["normal"]
    codec = ResidualCodec(make_codec("normal-palette", [NORMAL]), ["normal"])
    bound = Bound.parse(f"normal={most}", [NORMAL])
    (streams,) = codec.encode_batch([{"normal": view}], Quality(default=20, max_error=bound))
    assert streams["normal"][0] == NormalForm.LABELS
    made = codec_from_config("residual", codec.config(), codec.weights())
    (decoded,) = made.decode_batch([streams], ["normal"], 1 << 20)
    counts = np.abs(decoded["normal"].astype(int) - view)
    assert counts.max() <= most
