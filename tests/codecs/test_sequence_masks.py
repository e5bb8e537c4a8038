"""Masks of a recording come back bit for bit, and teach those that follow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc import _kernels
from dsc._codecs.sequence.masks import ALL, NONE, ROWS, decode_mask, encode_mask
from dsc._coding.context import mask as alone
from dsc._coding.mixing import LOGIT, chance_of_logit
from dsc.errors import BitstreamError
from tests.places import DATA

CLIP = DATA / "sevenscenes_clip"


def ragged(count: int, size: tuple[int, int] = (37, 53), seed: int = 1) -> list[np.ndarray]:
    """Masks with ragged holes that move."""
    rng = np.random.default_rng(seed)
    field = rng.normal(size=(size[0] + count, size[1] + 2 * count)).cumsum(0).cumsum(1)
    holes = field > np.quantile(field, 0.7)
    views = [holes[at:, 2 * at :][: size[0], : size[1]] for at in range(count)]
    return [view ^ (rng.random(size) < 0.02) for view in views]


def chain(masks: list[np.ndarray]) -> list[bytes]:
    coded, known = [], None
    for mask in masks:
        data, known = encode_mask(mask, known)
        coded.append(data)
    return coded


def unchain(coded: list[bytes], size: tuple[int, int]) -> list[np.ndarray]:
    found, known = [], None
    for data in coded:
        mask, known = decode_mask(data, *size, known)
        found.append(mask)
    return found


@pytest.mark.usefixtures("both_kernels")
def test_masks_come_back():
    masks = ragged(4)
    masks[2:2] = [np.zeros((37, 53), bool), np.ones((37, 53), bool)]
    coded = chain(masks)
    assert [data[0] for data in coded] == [ROWS, ROWS, NONE, ALL, ROWS, ROWS]
    assert np.array_equal(unchain(coded, (37, 53)), masks)


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 40), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_the_twin_writes_and_reads_the_same(seed, height, width, kind):
    rng = np.random.default_rng(seed)
    first = rng.random((height, width)) < (0.1, 0.5, 0.95, 0.02)[kind]
    masks = [first, np.roll(first, 1, 1) ^ (rng.random(first.shape) < 0.05), first]
    coded = chain(masks)
    with _kernels.twins():
        assert chain(masks) == coded
        assert np.array_equal(unchain(coded, (height, width)), masks)
    assert np.array_equal(unchain(coded, (height, width)), masks)


def test_what_a_frame_leaves_is_not_changed_by_those_that_follow():
    masks = ragged(3)
    _, known = encode_mask(masks[0], None)
    once, _ = encode_mask(masks[1], known)
    encode_mask(masks[2], known)
    assert encode_mask(masks[1], known)[0] == once


def test_masks_that_follow_take_fewer_bytes():
    masks = ragged(5, (120, 160))
    by_themselves = sum(len(encode_mask(mask, None)[0]) for mask in masks[1:])
    assert sum(map(len, chain(masks)[1:])) < 0.92 * by_themselves
    assert len(encode_mask(masks[0], encode_mask(masks[0], None)[1])[0]) < 0.3 * len(
        encode_mask(masks[0], None)[0]
    )


@pytest.mark.usefixtures("both_kernels")
def test_damage_is_named_or_gives_another_mask():
    masks = ragged(2, (12, 17))
    _, known = encode_mask(masks[0], None)
    data, _ = encode_mask(masks[1], known)
    rng, named = np.random.default_rng(3), 0
    for _ in range(60):
        broken = bytearray(data)
        broken[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        try:
            mask, _ = decode_mask(bytes(broken), 12, 17, known)
            assert mask.shape == (12, 17)
        except BitstreamError:
            named += 1
    assert named > 50
    for cut in range(len(data)):
        with pytest.raises(BitstreamError):
            decode_mask(data[:cut], 12, 17, known)
    with pytest.raises(BitstreamError, match="after one of"):
        decode_mask(data, 17, 12, known)


def test_logits_and_chances_are_one_scale():
    chances = [chance_of_logit(logit) for logit in range(-2047, 2048)]
    assert chances == sorted(chances)
    assert (chances[0], chances[2047], chances[-1]) == (1, 2047, 4094)
    assert all(chance_of_logit(LOGIT[chance]) >= chance for chance in range(4095))


@pytest.mark.skipif(not CLIP.is_dir(), reason="a clip of 7-Scenes is not there")
def test_holes_of_a_kinect_take_a_quarter_less():
    from PIL import Image

    paths = sorted(CLIP.glob("*.depth.png"))[:6]
    masks = [np.isin(np.asarray(Image.open(path)), (0, 65535)) for path in paths]
    assert sum(map(len, chain(masks))) < 0.8 * sum(len(alone.encode_mask(one)) for one in masks)
