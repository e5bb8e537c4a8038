"""Normals as pictures, or as label maps of few directions."""

import hashlib
import json

import numpy as np
import pytest

from dsc._codecs.context.weights import shipped_file
from dsc._codecs.label.directions import MOST, Directions
from dsc._codecs.label.normals import NormalForm
from dsc._codecs.registry import codec_from_config, make_codec
from dsc._pipeline import metrics
from dsc._renderer.render import render_view
from dsc._schemas import Quality, Task, TaskKind
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
