"""Machine paths: what a bitstream says of its quantiser, and pictures corrected by it."""

from itertools import pairwise

import numpy as np
import pytest

from dsc._codecs.base import Array
from dsc._codecs.classical.av1 import Av1Codec, FastAv1Codec, av1_level
from dsc._codecs.classical.av1_frame import quantiser_index
from dsc._codecs.classical.av1_still import bare
from dsc._codecs.classical.avif import AvifCodec
from dsc._codecs.machine import decoder
from dsc._codecs.machine.decoder import PathDecoder, network_of
from dsc._codecs.machine.paths import shipped_file
from dsc._codecs.machine.quantiser import quantiser_of
from dsc._codecs.restored.network import WHOLE, restore
from dsc._schemas import Effort, Quality
from dsc._schemas.machine_path import PATHS, MachinePath
from dsc.errors import BitstreamError, UsageError
from tests.codecs.conformance import make_sample
from tests.codecs.test_classical import RGB

CLS = MachinePath("rgb", "cls")
INDEX_OF_LEVEL = {1: 249, 6: 236, 16: 212, 30: 176, 46: 136, 65: 88, 85: 36, 100: 0}
"""By libavif's quality, libaom's quantiser index (its table ``quantizer_to_qindex``)."""


def photograph(size: tuple[int, int] = (64, 96), seed: int = 0) -> Array:
    return make_sample([RGB], size, seed, holes=False)[RGB.name]


def encode(codec: AvifCodec, image: Array, quality: int) -> bytes:
    return codec.encode_batch([{"rgb": image}], Quality(default=quality))[0]["rgb"]


def decode(paths: list[MachinePath], tasks: list[str], *payloads: bytes) -> list[dict[str, Array]]:
    given = [{"rgb": payload} for payload in payloads]
    return PathDecoder(Av1Codec([RGB]), paths).decode_batch(given, tasks, 1 << 20)


# ---- the quantiser


@pytest.mark.parametrize("size", [(33, 47), (64, 64), (65, 700), (300, 520)])
@pytest.mark.parametrize("effort", Effort)
def test_the_quantiser_is_what_the_quality_asked_for(size, effort) -> None:
    codec = Av1Codec([RGB]).at_effort(effort)
    for quality in (1, 15, 30, 45, 60, 75, 90, 100):
        index = quantiser_index(encode(codec, photograph(size), quality)[5:])
        assert index == INDEX_OF_LEVEL[av1_level(quality)]


@pytest.mark.parametrize("size", [(16, 4200), (4200, 80)])
def test_tiles_do_not_hide_the_quantiser(size) -> None:
    import imagecodecs

    index = [
        quantiser_index(bare(imagecodecs.avif_encode(photograph(shape), level=46, speed=10)))
        for shape in ((64, 64), size)
    ]
    assert index[0] == index[1] > 0


@pytest.mark.parametrize("codec", [Av1Codec, FastAv1Codec, AvifCodec])
def test_every_codec_that_has_paths_tells_its_quantiser(codec) -> None:
    made = codec([RGB])
    coarse, fine = (quantiser_of(made, encode(made, photograph(), q)) for q in (10, 70))
    assert 0 < fine < coarse <= 62
    assert quantiser_of(made, encode(made, photograph(), 100)) == 0


# ---- pictures


def test_people_see_what_they_saw() -> None:
    payloads = [encode(Av1Codec([RGB]), photograph(seed=seed), 20) for seed in range(3)]
    plain = Av1Codec([RGB]).decode_batch([{"rgb": one} for one in payloads], ["rgb"], 1 << 20)
    paths = [MachinePath("rgb", path) for path in PATHS]
    names = [path.name for path in paths]
    found = decode(paths, [names[0], "rgb", *names[1:]], *payloads)
    for before, after in zip(plain, found, strict=True):
        assert set(after) == {"rgb", *names}
        assert before["rgb"].tobytes() == after["rgb"].tobytes()
        assert len({picture.tobytes() for picture in after.values()}) == 1 + len(names)


def test_pictures_of_several_sizes_are_each_corrected_by_their_own_quantiser() -> None:
    sizes, qualities = [(64, 96), (33, 50), (64, 96)], [5, 25, 50]
    codec = Av1Codec([RGB])
    payloads = [
        encode(codec, photograph(size, seed), quality)
        for seed, (size, quality) in enumerate(zip(sizes, qualities, strict=True))
    ]
    found = decode([CLS], ["rgb", "rgb_cls"], *payloads)
    for payload, one in zip(payloads, found, strict=True):
        quantiser = np.array([quantiser_of(codec, payload)], np.uint8)
        alone = restore(network_of("cls"), one["rgb"][None], quantiser)[0]
        assert np.array_equal(alone, one["rgb_cls"])


def test_the_strength_goes_from_what_people_see_to_the_whole_path() -> None:
    payload = encode(Av1Codec([RGB]), photograph(), 20)
    plain = decode([CLS], ["rgb"], payload)[0]["rgb"].astype(int)
    far = []
    for strength in (0.0, 0.25, 0.5, 0.75, 1.0):
        path = MachinePath("rgb", "cls", strength)
        far.append(np.abs(decode([path], ["rgb_cls"], payload)[0]["rgb_cls"] - plain))
    assert not far[0].any()
    assert all((less <= more).all() for less, more in pairwise(far))
    whole = decode([CLS], ["rgb_cls"], payload)[0]["rgb_cls"] - plain
    assert np.abs(far[2] - np.abs(whole) / 2).max() <= 0.5


@pytest.mark.parametrize("path", PATHS)
def test_fine_pictures_are_left_alone(path) -> None:
    for quality in (95, 100):
        payload = encode(Av1Codec([RGB]), photograph(), quality)
        found = decode([MachinePath("rgb", path)], ["rgb", f"rgb_{path}"], payload)[0]
        assert np.array_equal(found["rgb"], found[f"rgb_{path}"])


def test_a_task_that_a_sample_lacks_stays_away() -> None:
    payload = encode(Av1Codec([RGB]), photograph(), 20)
    codec = PathDecoder(Av1Codec([RGB]), [CLS])
    assert codec.decode_batch([{}, {"rgb": payload}], ["rgb_cls"], 1 << 20)[0] == {}


def test_a_picture_whose_quantiser_cannot_be_read_is_damage(monkeypatch) -> None:
    def unreadable(*_: object) -> int:
        raise ValueError("a picture whose tiles have sizes of their own")

    monkeypatch.setattr(decoder, "quantiser_of", unreadable)
    with pytest.raises(BitstreamError, match=r"rgb:cls goes by its quantiser.*tiles"):
        decode([CLS], ["rgb_cls"], encode(Av1Codec([RGB]), photograph(), 20))


# ---- weights


def test_weights_are_small_and_their_shares_are_whole() -> None:
    assert sum(len(shipped_file(path)) for path in PATHS) <= 250_000
    assert WHOLE == 64


@pytest.mark.parametrize("text", ["rgb:", ":cls", "rgb:cls:2", "rgb:cls:-1", "rgb:cls:x:1"])
def test_what_is_no_path_is_refused(text) -> None:
    with pytest.raises(UsageError, match="TASK:PATH"):
        MachinePath.parse(text)


def test_paths_are_spelled_as_they_are_read() -> None:
    for text in ("rgb:cls", "rgb:seg:0.5"):
        assert str(MachinePath.parse(text)) == text
    assert str(MachinePath.parse("rgb: cls :1.0")) == "rgb:cls"
