"""The learned codec with the weights that ship: any subset, exact integers, honest refusals."""

import hashlib
import json
from collections.abc import Iterator

import numpy as np
import pytest
import safetensors.numpy
import torch

from dsc._codecs.learned.codec import SharedLatentCodec
from dsc._codecs.learned.codec_file import default_weights, load_codec_file, read_metadata
from dsc._renderer.render import render_view
from dsc._schemas import Quality, Task, TaskKind, required_streams
from dsc.errors import BitstreamError, CodecError, SelfTestError
from tests.codecs.conformance import CodecConformance
from tests.places import ROOT

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
DEPTH = Task(
    name="depth_zbuffer", kind=TaskKind.DEPTH, dtype="uint16", unit_m=1 / 512, invalid=(65535,)
)
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
TASKS = (RGB, DEPTH, NORMAL)
NAMES = tuple(task.name for task in TASKS)
GOLDEN = ROOT / "tests" / "golden" / "learned"
LIMIT = 1 << 22


@pytest.fixture(scope="module")
def codec() -> SharedLatentCodec:
    return SharedLatentCodec.for_tasks(TASKS)


def golden_sample() -> dict[str, np.ndarray]:
    """A rendered view with a hole in depth and normals."""
    view = render_view(8, 128)
    view["depth_zbuffer"][10:20, 5:30] = 65535
    view["normal"][10:20, 5:30] = 127
    return {name: view[name] for name in NAMES}


@pytest.fixture(scope="module")
def sample() -> dict[str, np.ndarray]:
    return golden_sample()


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def absrel(original: np.ndarray, decoded: np.ndarray) -> float:
    valid = original != 65535
    a, b = original[valid].astype(float), decoded[valid].astype(float)
    return float(np.mean(np.abs(a - b) / a))


def test_every_task_comes_back_close(codec: SharedLatentCodec, sample: dict) -> None:
    (streams,) = codec.encode_batch([sample], Quality(default=70))
    (out,) = codec.decode_batch([streams], NAMES, LIMIT)
    assert psnr(out["rgb"], sample["rgb"]) > 30
    assert absrel(sample["depth_zbuffer"], out["depth_zbuffer"]) < 0.02
    physical = [NORMAL.to_physical(x["normal"]) for x in (sample, out)]
    angle = np.degrees(np.arccos(np.nansum(physical[0] * physical[1], axis=-1).clip(-1, 1)))
    assert np.mean(angle[~NORMAL.invalid_mask(sample["normal"])]) < 6


def test_invalid_pixels_are_exact(codec: SharedLatentCodec, sample: dict) -> None:
    (streams,) = codec.encode_batch([sample], Quality(default=20))
    (out,) = codec.decode_batch([streams], NAMES, LIMIT)
    for task in (DEPTH, NORMAL):
        expected = task.invalid_mask(sample[task.name])
        assert np.array_equal(task.invalid_mask(out[task.name]), expected)


@pytest.mark.parametrize(
    "names", [("rgb",), ("depth_zbuffer",), ("normal",), ("rgb", "normal"), NAMES]
)
def test_any_subset_in_and_any_subset_out(
    codec: SharedLatentCodec, sample: dict, names: tuple[str, ...]
) -> None:
    (streams,) = codec.encode_batch([{name: sample[name] for name in names}], Quality())
    assert set(streams) == {"shared", *names}
    for wanted in names:
        needed = required_streams(codec.streams(), [wanted])
        assert set(needed) == {"shared", wanted}
        (out,) = codec.decode_batch([{name: streams[name] for name in needed}], names, LIMIT)
        assert set(out) == {wanted}
        assert out[wanted].shape == sample[wanted].shape


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (65, 33), (240, 320)])
def test_any_image_size(codec: SharedLatentCodec, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    depth = rng.integers(500, 900, size).astype(np.uint16)
    (streams,) = codec.encode_batch([{"rgb": rgb, "depth_zbuffer": depth}], Quality())
    (out,) = codec.decode_batch([streams], ["rgb", "depth_zbuffer"], LIMIT)
    assert out["rgb"].shape == rgb.shape
    assert out["depth_zbuffer"].shape == depth.shape


def test_higher_quality_costs_more_and_gives_more(codec: SharedLatentCodec, sample: dict) -> None:
    sizes, errors = [], []
    for quality in (5, 35, 65, 95):
        (streams,) = codec.encode_batch([sample], Quality(default=quality))
        (out,) = codec.decode_batch([streams], NAMES, LIMIT)
        sizes.append(sum(len(data) for data in streams.values()))
        errors.append(-psnr(out["rgb"], sample["rgb"]))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


def test_quality_is_set_a_task(codec: SharedLatentCodec, sample: dict) -> None:
    low = codec.encode_batch([sample], Quality(default=60, tasks={"rgb": 10}))[0]
    high = codec.encode_batch([sample], Quality(default=60))[0]
    assert len(low["rgb"]) < 0.6 * len(high["rgb"])
    assert low["depth_zbuffer"] == high["depth_zbuffer"]


def test_bytes_do_not_depend_on_the_batch(codec: SharedLatentCodec, sample: dict) -> None:
    other = {"rgb": render_view(3, 64)["rgb"]}
    together = codec.encode_batch([other, sample, sample], Quality())
    assert together[1] == together[2] == codec.encode_batch([sample], Quality())[0]
    assert together[0] == codec.encode_batch([other], Quality())[0]


def test_an_empty_sample_gives_nothing(codec: SharedLatentCodec) -> None:
    assert codec.encode_batch([{}], Quality()) == [{}]
    assert codec.decode_batch([{}], NAMES, LIMIT) == [{}]


def latent_hash(codec: SharedLatentCodec, streams: dict[str, bytes]) -> str:
    latents = codec.unpack_latents(streams, NAMES, LIMIT)
    assert latents is not None
    digest = hashlib.sha256()
    for name in ("shared", *NAMES):
        digest.update(latents.streams[name].symbols.astype("<i4").tobytes())
        digest.update(latents.streams[name].mean.astype("<i2").tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mkldnn", [True, False])
def test_latents_are_the_same_integers_over_threads_and_libraries(
    codec: SharedLatentCodec, sample: dict, threads: int, mkldnn: bool
) -> None:
    (streams,) = codec.encode_batch([sample], Quality())
    expected = latent_hash(codec, streams)
    torch.set_num_threads(threads)
    with torch.backends.mkldnn.flags(enabled=mkldnn):
        assert latent_hash(codec, streams) == expected


@pytest.mark.usefixtures("both_kernels")
def test_golden_bitstreams_decode_to_the_same_integers(codec: SharedLatentCodec) -> None:
    """Written once with these weights; every machine and version must read the same integers."""
    expected = json.loads((GOLDEN / "latents.json").read_text())
    assert expected["weights_sha256"] == hashlib.sha256(default_weights()).hexdigest()
    streams = {
        name: (GOLDEN / f"{name}.bin").read_bytes() for name in ("shared", *NAMES)
    }  # fmt: skip
    assert latent_hash(codec, streams) == expected["latents_sha256"]


def test_self_test_refuses_when_one_weight_differs() -> None:
    data = default_weights()
    tensors = safetensors.numpy.load(data)
    name = next(n for n in tensors if n.endswith("synthesis.mix.weight"))
    tensors[name][0, 0, 0, 0] += 1 if tensors[name][0, 0, 0, 0] < 100 else -1
    broken = safetensors.numpy.save(tensors, read_metadata(data))
    with pytest.raises(SelfTestError, match="do not decode"):
        load_codec_file(broken)


@pytest.mark.parametrize("damage", ["", "x" * 50, "cut"])
def test_a_damaged_codec_file_is_an_error(damage: str) -> None:
    data = default_weights()[:100_000] if damage == "cut" else damage.encode()
    with pytest.raises(BitstreamError):
        load_codec_file(data)


@pytest.mark.parametrize("stream", ["shared", *NAMES])
def test_damaged_streams_are_errors(codec: SharedLatentCodec, sample: dict, stream: str) -> None:
    (streams,) = codec.encode_batch([sample], Quality())
    data = streams[stream]
    for broken in (b"", data[:3], data[: len(data) // 2], data[:-1], data + b"\1\2\3\4" * 4):
        with pytest.raises(BitstreamError):
            codec.decode_batch([streams | {stream: broken}], NAMES, LIMIT)


def test_a_missing_required_stream_is_an_error(codec: SharedLatentCodec, sample: dict) -> None:
    (streams,) = codec.encode_batch([sample], Quality())
    with pytest.raises(BitstreamError, match="shared is required"):
        codec.decode_batch([{"rgb": streams["rgb"]}], ["rgb"], LIMIT)


def test_giant_sizes_are_refused_before_anything_is_allocated(
    codec: SharedLatentCodec, sample: dict
) -> None:
    (streams,) = codec.encode_batch([sample], Quality())
    giant = streams["shared"][:1] + b"\xff\xff\xff\xff" + streams["shared"][5:]
    with pytest.raises(BitstreamError, match="65535×65535 pixels"):
        codec.decode_batch([streams | {"shared": giant}], NAMES, LIMIT)


def test_tasks_of_two_sizes_are_refused(codec: SharedLatentCodec, sample: dict) -> None:
    mixed = {"rgb": sample["rgb"][:64], "depth_zbuffer": sample["depth_zbuffer"]}
    with pytest.raises(CodecError, match="differ in size: rgb 64×128, depth_zbuffer 128×128"):
        codec.encode_batch([mixed], Quality())


def test_tasks_it_cannot_code_are_refused_with_a_way_out() -> None:
    label = Task(name="label", kind=TaskKind.LABEL, dtype="uint8")
    with pytest.raises(CodecError, match="label=jxl"):
        SharedLatentCodec.for_tasks([RGB, label])
    second = DEPTH.model_copy(update={"name": "depth_euclidean"})
    with pytest.raises(CodecError, match="both depth"):
        SharedLatentCodec.for_tasks([DEPTH, second])


def test_config_and_weights_give_the_codec_back(codec: SharedLatentCodec, sample: dict) -> None:
    (streams,) = codec.encode_batch([sample], Quality())
    config = json.loads(json.dumps(codec.config()))
    again = SharedLatentCodec.from_config(config, codec.weights())
    first, second = (c.decode_batch([streams], NAMES, LIMIT)[0] for c in (codec, again))
    assert all(np.array_equal(first[name], second[name]) for name in NAMES)


def test_weights_fit_the_size_limit() -> None:
    assert len(default_weights()) < 8 << 20


class TestSharedLatentConformance(CodecConformance):
    sees_every_cut = False  # an empty coder decodes on, and may end empty; checksums see the cut

    @pytest.fixture
    def codec(self) -> SharedLatentCodec:
        return SharedLatentCodec.for_tasks(TASKS)
