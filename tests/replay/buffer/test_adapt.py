"""A codec goes on learning: old exemplars stay what they were, one decoder serves all encoders."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy
import torch
from numpy.typing import NDArray

from dsc._codecs.learned.codec import IndependentCodec
from dsc._codecs.learned.codec_file import (
    decoder_part,
    export_codec,
    is_encoder_tensor,
    with_encoder,
)
from dsc._codecs.registry import make_codec
from dsc._replay.buffer import slots
from dsc._replay.buffer.adapt import adapt_encoder
from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.buffer.tasks import IMAGE
from dsc._replay.policies.rate_adaptive import RateAdaptive
from dsc._schemas import Quality
from dsc._training.networks import make_network
from dsc.errors import CodecError, UsageError
from tests.replay.pictures import pictures

QUALITY = 40
LABELS = np.zeros(6, int)


def planes_of(images: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255 - 0.5)


@pytest.fixture(scope="module")
def start() -> bytes:
    """An untrained codec whose encoder has gone astray: there is something to learn."""
    torch.manual_seed(0)
    network = make_network("independent", ["rgb"], "tiny")
    network.initialise({"rgb": planes_of(pictures(8, 64, seed=9))})
    data = export_codec(network, {"data": "synthetic"})
    tensors = safetensors.numpy.load(data)
    rng = np.random.default_rng(1)
    moved = {
        name: (t + rng.normal(0, 0.04, t.shape)).astype(np.float16) if "private" in name else t
        for name, t in tensors.items()
        if is_encoder_tensor(name)
    }
    return with_encoder(data, moved, {})


@pytest.fixture(scope="module")
def versions(start: bytes) -> list[IndependentCodec]:
    """Encoders v0, v1, v2 of one decoder, each learned from the one before."""
    made: list[Any] = [IndependentCodec([IMAGE], start)]
    for task in range(2):
        images = pictures(12, 64, seed=20 + task)
        made.append(adapt_encoder(made[-1], images, steps=12, quality=QUALITY, batch=4, lr=3e-3))
    return made


def test_only_the_encoder_changes_and_the_decoder_is_the_same_bytes(
    versions: list[IndependentCodec],
) -> None:
    files = [codec.weights() for codec in versions]
    assert len(set(files)) == 3
    assert len({decoder_part(data) for data in files}) == 1
    first, last = (safetensors.numpy.load(data) for data in (files[0], files[2]))
    moved = {name for name in first if not np.array_equal(first[name], last[name])}
    assert moved
    assert all(is_encoder_tensor(name) for name in moved)


def test_the_adapted_encoder_needs_fewer_bits_at_equal_quality(start: bytes) -> None:
    """Neither rate nor error grows, and both together fall, on images it has not seen."""
    before = IndependentCodec([IMAGE], start)
    after = adapt_encoder(
        before, pictures(24, 64, seed=3), steps=60, quality=QUALITY, batch=6, lr=3e-3
    )
    images = pictures(8, 64, seed=4)
    rates, errors = zip(*(cost(codec, images) for codec in (before, after)), strict=True)
    assert rates[1] < 0.97 * rates[0]
    assert errors[1] < 0.97 * errors[0]


def cost(codec: Any, images: NDArray[np.uint8]) -> tuple[int, float]:
    streams = codec.encode_batch([{"rgb": x} for x in images], Quality(default=QUALITY))
    decoded = codec.decode_batch(streams, ["rgb"], 1 << 20)
    error = np.mean(
        [(x["rgb"].astype(float) - y) ** 2 for x, y in zip(decoded, images, strict=True)]
    )
    return sum(len(s["rgb"]) for s in streams), float(error)


def test_exemplars_of_all_encoder_versions_decode_bit_by_bit_as_before(
    tmp_path: Path, versions: list[IndependentCodec]
) -> None:
    path, expected = tmp_path / "b.h5", []
    with ReplayBuffer(path, "1MB", versions[0], quality=QUALITY) as buffer:
        for task, codec in enumerate(versions):
            buffer.use(codec)
            images = pictures(6, 64, seed=30 + task)
            buffer.add(images, LABELS + task, keys=[f"{task}-{i}" for i in range(6)])
            streams = codec.encode_batch([{"rgb": x} for x in images], Quality(default=QUALITY))
            expected += [x["rgb"] for x in codec.decode_batch(streams, ["rgb"], 1 << 20)]
    reader = ReplayBuffer.open(path)
    assert len(reader) == 18
    found = {key: reader[i][0] for i, key in enumerate(reader.keys)}
    for task in range(3):
        for at in range(6):
            assert np.array_equal(found[f"{task}-{at}"], expected[6 * task + at])
    assert len({x.tobytes() for x in expected}) == 18


def test_one_decoder_lies_in_the_file_whatever_encoders_came(
    tmp_path: Path, versions: list[IndependentCodec]
) -> None:
    path = tmp_path / "b.h5"
    for codec in versions:
        with ReplayBuffer(path, "1MB", codec, quality=QUALITY) as buffer:
            buffer.add(pictures(6, 64), LABELS)
    with ReplayBuffer(path) as buffer:
        report = buffer.report()
        assert len(report.slots) == 1
        part = decoder_part(versions[0].weights())
        assert report.decoder_bytes == len(part) < len(versions[0].weights())
        assert buffer.nbytes_with_decoder == buffer.nbytes + len(part)
    with h5py.File(path) as file:
        assert [file["weights"][name][()].tobytes() for name in file["weights"]] == [part]


def test_the_quality_in_use_stays_when_the_encoder_changes(
    tmp_path: Path, versions: list[IndependentCodec]
) -> None:
    with ReplayBuffer(tmp_path / "b.h5", "1MB", versions[0], quality=QUALITY) as buffer:
        buffer.use(versions[1])
        buffer.add(pictures(6, 64), LABELS)
        buffer.use(quality=20)
        buffer.add(pictures(6, 64, seed=1), LABELS)
        assert sorted(buffer.report().slots.values()) == [6, 6]


def test_a_buffer_without_an_encoder_reads_and_says_what_add_needs(
    tmp_path: Path, versions: list[IndependentCodec]
) -> None:
    path, images = tmp_path / "b.h5", pictures(6, 64)
    with ReplayBuffer(path, "1MB", versions[1], quality=QUALITY) as buffer:
        buffer.add(images, LABELS)
        expected = [buffer[i][0] for i in range(6)]
    (tmp_path / "v2.safetensors").write_bytes(versions[2].weights())
    with ReplayBuffer(path) as buffer:
        assert all(np.array_equal(buffer[i][0], expected[i]) for i in range(6))
        with pytest.raises(UsageError, match=r"decoder of codec independent .*whole codec file.*"):
            buffer.add(images, LABELS)
        last = slots.sha256(versions[1].weights())
        with pytest.raises(UsageError, match=f"the last one used had sha256 {last}"):
            buffer.add(images, LABELS)
        assert len(buffer) == 6
        assert np.array_equal(buffer[5][0], expected[5])
        buffer.use(str(tmp_path / "v2.safetensors"))
        buffer.add(images, LABELS)
        assert len(buffer) == 12
        assert buffer.report().slots == {"independent q40": 12}


def test_the_encoder_that_ships_is_taken_where_it_fits(tmp_path: Path) -> None:
    path, images = tmp_path / "b.h5", pictures(2, 32)
    with ReplayBuffer(path, "1MB", "independent") as buffer:
        buffer.add(images, [0, 0])
    with ReplayBuffer(path) as buffer:
        buffer.add(images, [0, 0])
    assert len({x.tobytes() for x in buffer_images(path)}) == 2
    with h5py.File(path) as file:
        (name,) = file["weights"]
        whole = make_codec("independent", [IMAGE]).weights()
        assert file["weights"][name].size == len(decoder_part(whole or b""))


def buffer_images(path: Path) -> list[Any]:
    reader = ReplayBuffer.open(path)
    return [reader[i][0] for i in range(len(reader))]


@pytest.fixture
def whole_files(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write buffers as older versions did, with whole codec files; call it to stop."""
    monkeypatch.setattr(slots, "decoder_part", lambda codec_id, weights: weights)
    return monkeypatch.undo


def test_buffers_with_whole_codec_files_go_on(
    tmp_path: Path, versions: list[IndependentCodec], whole_files: Any
) -> None:
    path, images = tmp_path / "old.h5", pictures(6, 64)
    with ReplayBuffer(path, "1MB", versions[0], quality=QUALITY) as buffer:
        buffer.add(images, LABELS)
        whole = buffer.report().decoder_bytes
    whole_files()
    assert whole == len(versions[0].weights())
    with ReplayBuffer(path) as buffer:  # the encoder is in the file
        buffer.add(images, LABELS)
        assert buffer.report().decoder_bytes == whole
    with ReplayBuffer(path, codec=versions[0]) as buffer:  # nothing changes
        buffer.add(images, LABELS)
        assert buffer.report().slots == {"independent q40": 18}
        assert buffer.report().decoder_bytes == whole
    with ReplayBuffer(path, codec=versions[1]) as buffer:  # from here on, the decoder's part
        buffer.add(images, LABELS)
        part = len(decoder_part(versions[1].weights()))
        assert buffer.report().decoder_bytes == whole + part
    assert len({x.tobytes() for x in buffer_images(path)[:18]}) == 6


def test_two_codecs_in_one_transaction_both_keep_their_decoders(
    tmp_path: Path, versions: list[IndependentCodec]
) -> None:
    path = tmp_path / "b.h5"
    with ReplayBuffer(path, "20MB", "webp") as buffer, buffer.transaction():
        buffer.use("independent")
        buffer.add(pictures(2, 32), [0, 0])
        buffer.use(versions[1], quality=QUALITY)
        buffer.add(pictures(2, 32), [0, 0])
        buffer.use("webp")
        buffer.add(pictures(2, 32), [0, 0])
    assert len(buffer_images(path)) == 6
    with h5py.File(path) as file:
        assert len(file["weights"]) == 2


def test_a_merge_adds_and_encodes_again_with_the_codec_given(
    tmp_path: Path, versions: list[IndependentCodec]
) -> None:
    paths, policy = [], RateAdaptive(floor=5)
    for seed in (0, 1):
        paths.append(tmp_path / f"{seed}.h5")
        with ReplayBuffer(
            paths[-1], "1MB", versions[seed], quality=QUALITY, seed=seed, policy=policy
        ) as part:
            part.add(pictures(6, 64, seed=seed), LABELS)
            room = part.nbytes
    with pytest.raises(UsageError, match="whole codec file"):
        ReplayBuffer.merge(paths, tmp_path / "refused.h5", budget=room + 40)
    assert not (tmp_path / "refused.h5").exists()
    merged = ReplayBuffer.merge(paths, tmp_path / "m.h5", budget=room + 40, codec=versions[2])
    merged.add(pictures(2, 64), [0, 0])
    assert merged.nbytes <= room + 40
    assert len(merged) > 6


def test_a_seed_decides_and_the_callers_random_state_stays(start: bytes) -> None:
    codec, images = IndependentCodec([IMAGE], start), pictures(4, 32)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    made = [adapt_encoder(codec, images, steps=2, batch=2, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    files = [one.weights() for one in made]
    assert files[0] == files[1] != files[2]


def test_only_proportions_of_the_weights_of_the_error_count(start: bytes) -> None:
    codec, images = IndependentCodec([IMAGE], start), pictures(4, 32)
    ramp = np.tile(np.arange(1.0, 33.0), (4, 32, 1))
    files = [
        adapt_encoder(codec, images, steps=2, batch=2, weights=weights).weights()
        for weights in (None, np.full((4, 32, 32), 7), ramp, ramp * 3)
    ]
    assert files[0] == files[1]
    assert files[2] == files[3] != files[0]


def test_images_of_any_sizes_are_learned_from(start: bytes) -> None:
    images = [pictures(1, 64)[0][:40, :51], pictures(1, 32)[0], pictures(1, 256)[0][:, :, 0]]
    made: Any = adapt_encoder(IndependentCodec([IMAGE], start), images, steps=2, batch=4, crop=100)
    assert decoder_part(made.weights()) == decoder_part(start)


def test_what_cannot_be_adapted_is_said(start: bytes) -> None:
    codec, images = IndependentCodec([IMAGE], start), pictures(2, 32)
    with pytest.raises(UsageError, match="codec webp has no encoder that learns"):
        adapt_encoder("webp", images)
    with pytest.raises(CodecError, match="give the whole codec file"):
        adapt_encoder(IndependentCodec([IMAGE], decoder_part(start)), images)
    with pytest.raises(UsageError, match="at least one sample"):
        adapt_encoder(codec, images[:0])
    with pytest.raises(UsageError, match="quality=0: give 1 to 100"):
        adapt_encoder(codec, images, quality=0)
    with pytest.raises(UsageError, match="steps=0"):
        adapt_encoder(codec, images, steps=0)
    with pytest.raises(UsageError, match="1 weights for 2 images"):
        adapt_encoder(codec, images, weights=np.ones((1, 32, 32)))
    with pytest.raises(UsageError, match=r"weights of image 1: \(32, 31\)"):
        adapt_encoder(codec, images, weights=[np.ones((32, 32)), np.ones((32, 31))])
    with pytest.raises(UsageError, match="from 0 up, some above 0"):
        adapt_encoder(codec, images, weights=np.zeros((2, 32, 32)))
