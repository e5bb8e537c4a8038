"""The codec `derived`: which form it keeps a map in, and what damage does."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from dsc._codecs.base import Array, Codec
from dsc._codecs.classical.av1 import Av1Codec
from dsc._codecs.classical.exact import ExactCodec
from dsc._codecs.derived import rules
from dsc._codecs.derived.codec import DerivedCodec, DerivedForm, error_of
from dsc._codecs.registry import codec_class
from dsc._schemas import Quality, Task, TaskKind
from dsc.errors import BitstreamError, CodecError
from tests import sum_rule

SIZE = (64, 80)
PIXELS = SIZE[0] * SIZE[1]
RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
EDGES = Task(name="edges", kind=TaskKind.IMAGE, dtype="uint16", invalid=(65535,))
AT_60 = Quality(default=60)


@pytest.fixture(autouse=True)
def _sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES", {sum_rule.ID: sum_rule.WHERE})


def image(seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 220, (8, 10, 3))
    fine = np.repeat(np.repeat(coarse, 8, 0), 8, 1) + rng.integers(-9, 9, (*SIZE, 3))
    return fine.astype(np.uint8)


def summed(rgb: Array) -> Array:
    return (7 * rgb.astype(np.uint16).sum(-1) + 10).astype(np.uint16)


def codec_of(base: type[Codec] = Av1Codec, exact: bool = False) -> DerivedCodec:
    rule = sum_rule.SumRule("rgb", 7)
    return DerivedCodec(rule, {"rgb": ("rgb",)}, [RGB], base.for_tasks([EDGES]), exact)


def coded(codec: DerivedCodec, child: Array, rgb: Array, given: Array | None) -> bytes:
    inputs: Mapping[str, Array] = {} if given is None else {"rgb": given}
    [found] = codec.encode_given([{"edges": child, "rgb": rgb}], [inputs], AT_60)
    return found["edges"]


def read(codec: DerivedCodec, payload: bytes, given: Array | None) -> Array:
    made = codec_class("derived").from_config(codec.config(), codec.weights())
    assert isinstance(made, DerivedCodec)
    inputs: Mapping[str, Array] = {} if given is None else {"rgb": given}
    return made.decode_given([{"edges": payload}], [inputs], ["edges"], PIXELS)[0]["edges"]


def forms(payload: bytes) -> DerivedForm:
    return DerivedForm(payload[0])


def test_what_follows_takes_its_parameters_alone() -> None:
    rgb, codec = image(), codec_of()
    payload = coded(codec, summed(rgb), rgb, rgb)
    assert (forms(payload), len(payload)) == (DerivedForm.DERIVED, 3)
    assert np.array_equal(read(codec, payload, rgb), summed(rgb))


def test_what_is_nearer_than_a_picture_follows_from_a_lossy_parent() -> None:
    rgb, codec = image(), codec_of()
    given = np.clip(rgb.astype(int) + np.random.default_rng(1).integers(-1, 2, rgb.shape), 0, 255)
    payload = coded(codec, summed(rgb), rgb, given.astype(np.uint8))
    assert forms(payload) is DerivedForm.DERIVED


def test_a_difference_makes_a_map_as_near_as_a_picture_in_fewer_bytes() -> None:
    rgb, codec = image(), codec_of()
    child = summed(rgb)
    stored = coded(codec, child, rgb, None)
    target = error_of(EDGES, child, read(codec, stored, None))
    smooth = np.sin(np.arange(SIZE[1]) / 13) * 1.6 * target * np.sqrt(2)
    given_child = child + np.rint(smooth).astype(int)
    payload = coded(codec, given_child.astype(np.uint16), rgb, rgb)
    assert forms(payload) is DerivedForm.DIFFERENCE
    assert len(payload) < 0.5 * len(stored)
    found = read(codec, payload, rgb)
    stored = coded(codec, given_child.astype(np.uint16), rgb, None)
    ours, theirs = (
        error_of(EDGES, given_child.astype(np.uint16), one)
        for one in (found, read(codec, stored, None))
    )
    assert ours <= theirs


@pytest.mark.parametrize("given", [None, "another", "small", "gray"])
def test_what_does_not_follow_is_stored(given: str | None) -> None:
    rgb, codec = image(), codec_of()
    other = {
        None: None, "another": image(5), "small": rgb[:32], "gray": rgb[..., 0]
    }[given]  # fmt: skip
    payload = coded(codec, summed(rgb), rgb, other)
    assert forms(payload) is DerivedForm.STORED
    base = codec.base.encode_batch([{"edges": summed(rgb)}], AT_60)[0]["edges"]
    assert payload[1:] == base
    assert read(codec, payload, None).shape == SIZE


@pytest.mark.parametrize("wrong", [0, 1, 40, 1000, PIXELS])
def test_where_values_must_come_back_they_do(wrong: int) -> None:
    rgb, codec = image(), codec_of(ExactCodec, exact=True)
    child = summed(rgb)
    places = np.random.default_rng(3).permutation(PIXELS)[:wrong]
    child.flat[places] += np.random.default_rng(4).choice([1, 65535], wrong).astype(np.uint16)
    payload = coded(codec, child, rgb, rgb)
    assert forms(payload) is (DerivedForm.CORRECTED if wrong else DerivedForm.EXACT)
    assert np.array_equal(read(codec, payload, rgb), child)
    alone = codec.base.encode_batch([{"edges": child}], AT_60)[0]["edges"]
    assert len(payload) < (0.1 if wrong < 1000 else 1.0) * len(alone)


def test_noise_is_stored_where_values_must_come_back() -> None:
    rgb, codec = image(), codec_of(ExactCodec, exact=True)
    child = np.full(SIZE, 700, np.uint16)
    payload = coded(codec, child, rgb, rgb)
    assert forms(payload) is DerivedForm.STORED
    assert np.array_equal(read(codec, payload, None), child)


def test_wide_values_and_channels_are_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    from dsc._codecs.derived.corrections import apply_corrections, encode_corrections
    from dsc._schemas import Effort

    rng = np.random.default_rng(0)
    for dtype, channels in (("uint8", 3), ("int32", 1), ("int8", 2), ("uint64", 1)):
        shape: Any = SIZE if channels == 1 else (*SIZE, channels)
        task = Task(name="edges", kind=TaskKind.ARRAY, dtype=dtype, channels=channels)
        derived = rng.integers(0, 100, shape).astype(dtype)
        for share in (0.001, 0.3, 1.0):
            noise = rng.integers(-3, 3, shape) * (rng.random(shape) < share)
            child = (derived.astype(np.int64) + noise).astype(dtype)
            data = encode_corrections(task, child, derived, Effort.DEFAULT)
            assert np.array_equal(apply_corrections(task, data, derived), child)


def test_damage_of_a_payload_is_named() -> None:
    rgb, codec = image(), codec_of(ExactCodec, exact=True)
    child = summed(rgb)
    child[3:5, 7] += 1
    payload = coded(codec, child, rgb, rgb)
    for at in range(len(payload)):
        for bit in (1, 0x80):
            flipped = bytearray(payload)
            flipped[at] ^= bit
            with pytest.raises(BitstreamError, match="edges"):
                read(codec, bytes(flipped), rgb)
    for cut in range(1, len(payload)):
        with pytest.raises(BitstreamError, match="edges"):
            read(codec, payload[:cut], rgb)


def test_a_parent_that_is_not_there_is_named() -> None:
    rgb, codec = image(), codec_of()
    payload = coded(codec, summed(rgb), rgb, rgb)
    with pytest.raises(BitstreamError, match=r"edges.* follows from rgb .*rgb is not here"):
        read(codec, payload, None)


def test_another_parent_than_the_encoder_had_is_noticed_where_values_must_come_back() -> None:
    rgb, codec = image(), codec_of(ExactCodec, exact=True)
    payload = coded(codec, summed(rgb), rgb, rgb)
    with pytest.raises(BitstreamError, match="crc"):
        read(codec, payload, image(9))


@pytest.mark.parametrize("lacking", ["rule", "base", "inputs", "input_tasks", "params"])
def test_a_configuration_that_is_none_is_refused(lacking: str) -> None:
    config = codec_of().config()
    with pytest.raises(CodecError, match="not a configuration"):
        DerivedCodec.from_config({k: v for k, v in config.items() if k != lacking}, None)


def test_it_is_not_named() -> None:
    with pytest.raises(CodecError, match="--derive"):
        DerivedCodec.for_tasks([EDGES])


class FloatRule(sum_rule.PlainSumRule):
    """A float32 map: 0 where the sum is below 300, NaN elsewhere."""

    def derive(self, inputs: Mapping[str, Array], own: tuple[int, ...]) -> Array:
        lacks = np.maximum(300 - self._sum(inputs).astype(np.float32), 0)
        return np.where(lacks > 0, lacks, np.float32("nan")) * np.float32(0)


@pytest.mark.parametrize("sign", [1, -1])
def test_floats_are_compared_bit_by_bit(sign: int) -> None:
    task = Task(name="edges", kind=TaskKind.ARRAY, dtype="float32")
    rule = FloatRule("rgb", 7)
    codec = DerivedCodec(rule, {"rgb": ("rgb",)}, [RGB], ExactCodec.for_tasks([task]), exact=True)
    rgb = image() // 8
    child = rule.derive({"rgb": rgb}, ()) * np.float32(sign)
    payload = coded(codec, child, rgb, rgb)
    assert forms(payload) is (DerivedForm.EXACT if sign > 0 else DerivedForm.STORED)
    (found,) = codec.decode_given([{"edges": payload}], [{"rgb": rgb}], ["edges"], PIXELS)
    assert found["edges"].tobytes() == child.tobytes()
