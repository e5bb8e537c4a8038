"""`av1-small-restored`: the bytes of `av1-small`, nearer to what was coded, the same everywhere."""

import hashlib
import json

import numpy as np
import pytest
import safetensors.numpy
import torch

from dsc._codecs.base import Array
from dsc._codecs.registry import make_codec
from dsc._codecs.restored.codec import RestoredCodec, quantiser_of
from dsc._codecs.restored.network import (
    CHUNK_PIXELS,
    FIRST_QUANTISER,
    RestorationNetwork,
    Shape,
    restore,
)
from dsc._codecs.restored.weights import load_network, save_network, shipped_file
from dsc._schemas import Quality, Task
from dsc._training.models.restored import (
    corrections,
    make_examples,
    reduce_photographs,
    train,
)
from dsc.errors import BitstreamError, CodecError, SelfTestError
from tests.codecs.conformance import CodecConformance, make_sample
from tests.codecs.test_classical import DEPTH, EDGES, LABEL, NORMAL, RGB, SHADING
from tests.golden import make_restored
from tests.places import ROOT

GOLDEN = ROOT / "tests" / "golden" / "restored"
TINY = Shape(stride=2, width=8, blocks=2)


class TestRestored(CodecConformance):
    sees_every_cut = False  # nor does `av1-small`; the archive's checksums do
    quality = Quality(default=30)

    @pytest.fixture
    def codec(self) -> RestoredCodec:
        return RestoredCodec.for_tasks([RGB])


def photograph(size: tuple[int, int], seed: int = 0) -> Array:
    return make_sample([RGB], size, seed, holes=False)[RGB.name]


def encode(codec_id: str, image: Array, quality: int) -> bytes:
    codec = make_codec(codec_id, [RGB])
    return codec.encode_batch([{RGB.name: image}], Quality(default=quality))[0][RGB.name]


def decode(codec_id: str, *streams: bytes) -> list[Array]:
    codec = make_codec(codec_id, [RGB])
    given = [{RGB.name: data} for data in streams]
    return [found[RGB.name] for found in codec.decode_batch(given, [RGB.name], 1 << 20)]


def squared_error(a: Array, b: Array) -> float:
    return float(np.square(a.astype(float) - b).mean())


# ---- what it does


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "least_db"), [("cifar100/test.zip", 0.15), ("tiny_imagenet40/val.zip", 0.08)]
)
@pytest.mark.parametrize("quality", [15, 30, 40])
def test_photographs_come_out_nearer_to_what_they_were(data_root, file, least_db, quality) -> None:
    from benchmarks.small_images import read_images

    images = list(read_images(data_root / file, 100))
    streams = [encode("av1-small", image, quality) for image in images]
    before, after = (
        np.mean(
            [squared_error(*pair) for pair in zip(images, decode(codec, *streams), strict=True)]
        )
        for codec in ("av1-small", "av1-small-restored")
    )
    assert 10 * np.log10(before / after) > least_db


@pytest.mark.parametrize("size", [(32, 32), (30, 41)])
def test_the_bytes_are_those_of_av1_small(size) -> None:
    image = photograph(size)
    for quality in (1, 30, 100):
        assert encode("av1-small-restored", image, quality) == encode("av1-small", image, quality)


def test_what_was_quantised_finely_is_left_as_it_is() -> None:
    data = encode("av1-small", photograph((32, 32)), 90)
    assert 0 < quantiser_of(data) < FIRST_QUANTISER
    assert np.array_equal(decode("av1-small-restored", data)[0], decode("av1-small", data)[0])


def test_every_picture_is_restored_by_its_own_quantiser() -> None:
    network = load_network(shipped_file())
    streams = [
        encode("av1-small", photograph(size, seed), quality)
        for seed, (size, quality) in enumerate([((32, 32), 10), ((30, 41), 20), ((32, 32), 45)])
    ]
    plain, restored = decode("av1-small", *streams), decode("av1-small-restored", *streams)
    for data, before, after in zip(streams, plain, restored, strict=True):
        start = 1 if before.shape[0] == before.shape[1] else 3
        quantiser = np.array([data[start] & 0x3F], np.uint8)
        assert np.array_equal(restore(network, before[None], quantiser)[0], after)
        assert not np.array_equal(before, after)


@pytest.mark.parametrize("task", [SHADING, EDGES, DEPTH, NORMAL, LABEL], ids=lambda task: task.name)
def test_what_it_cannot_restore_is_refused_with_what_can(task) -> None:
    with pytest.raises(CodecError, match=f"task {task.name}: .* use av1-small"):
        RestoredCodec.for_tasks([task])


def test_an_image_with_invalid_values_is_refused() -> None:
    holed = Task(name="holed", kind="image", dtype="uint8", channels=3, invalid=(0,))
    with pytest.raises(CodecError, match="without invalid values"):
        RestoredCodec.for_tasks([holed])


# ---- the same everywhere


def test_pixels_depend_neither_on_the_batch_nor_on_threads() -> None:
    streams = [encode("av1-small", photograph((32, 32), seed), 20) for seed in range(9)]
    alone = [decode("av1-small-restored", data)[0] for data in streams]
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            together = decode("av1-small-restored", *streams)
            assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    finally:
        torch.set_num_threads(threads)


def test_more_pictures_than_go_through_at_once_are_the_same() -> None:
    network = load_network(shipped_file())
    pictures = np.random.default_rng(3).integers(0, 256, (5, 150, 151, 3)).astype(np.uint8)
    assert 1 < CHUNK_PIXELS // (150 * 151) < 5
    quantisers = np.array([40, 62, 50, 45, 61], np.uint8)
    together = restore(network, pictures, quantisers)
    for at in range(5):
        alone = restore(network, pictures[at : at + 1], quantisers[at : at + 1])
        assert np.array_equal(alone[0], together[at])


def test_layers_keep_to_the_range_that_float32_is_exact_in() -> None:
    network = load_network(shipped_file())
    quantiser = torch.tensor([62, 33, 50])
    for pixels in (torch.zeros(3, 3, 20, 20), torch.full((3, 3, 20, 20), 255.0)):
        exact = network(pixels, quantiser)
        assert torch.equal(exact, network.double()(pixels.double(), quantiser).float())
        network.float()


@pytest.mark.parametrize("case", sorted(make_restored.CASES))
def test_golden_stream_decodes_as_it_did(case) -> None:
    facts = json.loads((GOLDEN / case).with_suffix(".json").read_text())
    assert hashlib.sha256(shipped_file()).hexdigest() == facts["weights_sha256"]
    (found,) = decode("av1-small-restored", (GOLDEN / case).with_suffix(".bin").read_bytes())
    assert list(found.shape) == facts["shape"]
    assert hashlib.sha256(found.tobytes()).hexdigest() == facts["sha256"]


def test_every_golden_file_belongs_to_a_test() -> None:
    for suffix in ("json", "bin"):
        assert {path.stem for path in GOLDEN.glob(f"*.{suffix}")} == set(make_restored.CASES)


# ---- the weights file


def test_the_weights_that_ship_are_small() -> None:
    assert len(shipped_file()) < 20_000


def test_a_saved_network_is_the_same_one_again() -> None:
    torch.manual_seed(1)
    data = save_network(RestorationNetwork(TINY), {"data": "none"})
    assert save_network(load_network(data), {"data": "none"}) == data


@pytest.mark.parametrize("name", ["weights", "biases"])
def test_a_changed_number_fails_the_self_test(name) -> None:
    data = shipped_file()
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    tensors = safetensors.numpy.load(data)
    tensors[name][-1] ^= 1
    with pytest.raises(SelfTestError, match="do not decode here"):
        load_network(safetensors.numpy.save(tensors, metadata))


def test_a_damaged_weights_file_is_refused() -> None:
    data = shipped_file()
    rng = np.random.default_rng(2)
    broken = [b"", data[:7], data[:100], data[:-1], data + b"\0", b"\xff" * 64]
    for at in rng.integers(0, 8 * len(data), 30):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << (at % 8)
        broken.append(bytes(flipped))
    for at in range(8, 400, 23):
        broken.append(data[:at] + b"9" + data[at + 1 :])
    for one in broken:
        if one != data:
            try:
                load_network(one)
            except (BitstreamError, SelfTestError):
                continue
            assert _numbers(one) == _numbers(data)  # only what is for people was hit


def _numbers(data: bytes) -> list[bytes]:
    return [array.tobytes() for _, array in sorted(safetensors.numpy.load(data).items())]


def test_an_archive_without_weights_is_refused() -> None:
    with pytest.raises(CodecError, match="needs its weights file"):
        RestoredCodec.from_config(RestoredCodec.for_tasks([RGB]).config(), None)


# ---- training


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(0)
    photographs = [photograph((90, 120), seed) for seed in range(4)]
    pictures = reduce_photographs(photographs, 3, rng)
    return {side: make_examples([*pictures, *photographs], side, 24, rng) for side in (32, 64)}


def test_training_again_gives_the_same_file(examples, one_thread) -> None:
    files = [save_network(train(examples, 6, seed=4, shape=TINY), {}) for _ in range(2)]
    assert files[0] == files[1]
    assert save_network(train(examples, 6, seed=5, shape=TINY), {}) != files[0]


def test_training_takes_error_away(examples) -> None:
    network = train(examples, 250, shape=TINY)
    save_network(network, {})  # freezes it
    some = examples[32]
    restored = restore(network, some.decoded.numpy(), some.quantiser.numpy())
    before = squared_error(some.wanted.numpy(), some.decoded.numpy())
    assert squared_error(some.wanted.numpy(), restored) < 0.99 * before


def test_training_computes_what_the_network_does(examples) -> None:
    torch.manual_seed(0)
    network = RestorationNetwork(TINY)
    some = examples[32]
    pixels = some.decoded.permute(0, 3, 1, 2).float()
    with torch.no_grad():
        exact = network(pixels, some.quantiser)
        rounded, real = (
            corrections(network, pixels, some.quantiser, rounded=rounded)
            for rounded in (True, False)
        )
    assert exact.abs().max() >= 2
    assert torch.equal(rounded, exact)
    assert (real - exact).abs().max() <= 1.5


def test_examples_are_of_pictures_that_are_restored(examples) -> None:
    for side, some in examples.items():
        assert some.wanted.shape == some.decoded.shape == (24, side, side, 3)
        assert some.quantiser.min() >= FIRST_QUANTISER
        assert not torch.equal(some.wanted, some.decoded)
