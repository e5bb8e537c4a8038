"""Tasks that follow in several ways: sets whose parts were made with other parameters."""

from collections.abc import Sequence

import numpy as np
import pytest

from dsc._codecs.base import Array, Sample
from dsc._codecs.classical.av1 import Av1Codec
from dsc._codecs.derived.codec import DerivedCodec, DerivedForm
from dsc._codecs.derived.edge_texture import EdgeTexture
from dsc._codecs.derived.rules import find_rule
from dsc._codecs.derived.ways import MOST, Ways
from dsc._codecs.registry import codec_from_config
from dsc._schemas import CodecRecord, Quality
from dsc.errors import BitstreamError, CodecError
from tests.codecs.derived.formulas import edge_texture
from tests.codecs.derived.images import MAP, OTHER_RGB, RGB, discs

SIZE = (72, 96)
PIXELS = SIZE[0] * SIZE[1]


def drawn(sigmas: Sequence[float]) -> list[Sample]:
    """Draw a sample for each sigma; 0 is a map that follows from nothing."""
    images = [discs(n, *SIZE) for n in range(len(sigmas))]
    return [
        {RGB.name: image, MAP.name: edge_texture(image, sigma) if sigma else unrelated(n)}
        for n, (image, sigma) in enumerate(zip(images, sigmas, strict=True))
    ]


def unrelated(seed: int) -> Array:
    return np.random.default_rng(seed).integers(0, 9000, SIZE).astype(np.uint16)


def codec_of(samples: Sequence[Sample]) -> DerivedCodec:
    rule = find_rule(MAP, [RGB], samples)
    assert rule is not None
    return DerivedCodec(rule, {RGB.name: (RGB.name,)}, [RGB], Av1Codec.for_tasks([MAP]))


def test_parts_of_a_set_follow_each_in_its_own_way() -> None:
    samples = drawn([0.5, 3, 3, 1, 3, 3, 0.5])
    codec = codec_of(samples)
    assert codec.config()["params"] == [
        {"sigma_1000": sigma} for sigma in (3000, 500, 1000)
    ]  # that of most samples first
    made = codec_from_config("derived", codec.config(), None)
    assert isinstance(made, DerivedCodec)
    coded = codec.encode_given(samples, samples, Quality(default=60))
    assert [one[MAP.name] for one in coded] == [
        bytes([DerivedForm.DERIVED, way, 0]) for way in (1, 0, 0, 2, 0, 0, 1)
    ]
    decoded = made.decode_given(coded, samples, [MAP.name], PIXELS)
    for sample, found in zip(samples, decoded, strict=True):
        off = found[MAP.name].astype(int) - sample[MAP.name]
        assert abs(off).max() <= 1


def test_people_are_told_all_ways() -> None:
    codec = codec_of(drawn([0.5, 3, 3]))
    record = CodecRecord(id="derived", config=codec.config())
    assert record.follows == "rgb by edge_texture, sigma 3 or sigma 0.5"


@pytest.mark.parametrize("strange", [0, 3, 7])
def test_a_sample_that_does_not_follow_keeps_no_other_from_it(strange: int) -> None:
    samples = drawn([0 if n == strange else 2 for n in range(8)])
    codec = codec_of(samples)
    assert isinstance(codec.rule, EdgeTexture)
    assert codec.rule.params() == {"sigma_1000": 2000}
    coded = codec.encode_given(samples, samples, Quality(default=60))
    assert [n for n, one in enumerate(coded) if one[MAP.name]] == [strange]
    assert coded[strange][MAP.name][0] == DerivedForm.STORED


@pytest.mark.parametrize(
    "sigmas",
    [[2, 0, 0, 2, 0], [0, 0, 0, 2, 2, 2, 2, 2], [0, 0, 0], [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5]],
)
def test_what_holds_for_less_than_half_or_not_at_first_is_no_rule(sigmas: list[float]) -> None:
    assert find_rule(MAP, [RGB], drawn(sigmas)) is None


def test_samples_without_the_child_or_its_image_count_for_nothing() -> None:
    samples = drawn([3, 3, 0.5, 0.5])
    rule = find_rule(MAP, [RGB], [{}, *samples, {RGB.name: samples[0][RGB.name]}])
    assert isinstance(rule, Ways)
    assert rule.own_count == 1


def test_ways_follow_from_one_task() -> None:
    """Half a set follows from another image: what most samples follow from is taken."""
    samples = drawn([3, 3, 3, 1, 1])
    for sample in samples:
        sample[OTHER_RGB.name] = discs(99, *SIZE)
    for sample in samples[3:]:
        sample[RGB.name], sample[OTHER_RGB.name] = sample[OTHER_RGB.name], sample[RGB.name]
    rule = find_rule(MAP, [RGB, OTHER_RGB], samples)
    assert isinstance(rule, EdgeTexture)
    assert rule.inputs == (RGB.name,)


def test_a_way_that_is_none_is_damage() -> None:
    samples = drawn([3, 0.5])
    codec = codec_of(samples)
    for payload, what in ((b"\0\2\0", "way 2"), (b"\0\0", "are none of it")):
        with pytest.raises(BitstreamError, match=what):
            codec.decode_given([{MAP.name: payload}], samples[:1], [MAP.name], PIXELS)


@pytest.mark.parametrize(
    "params", [[], [{"sigma_1000": 3000}], [1, 2], [{"sigma_1000": 3000}] * (MOST + 1), [{}, {}]]
)
def test_ways_that_are_none_are_refused(params: list[object]) -> None:
    config = codec_of(drawn([3, 0.5])).config() | {"params": params}
    with pytest.raises(CodecError, match=r"edge_texture@1|none"):
        codec_from_config("derived", config, None)
