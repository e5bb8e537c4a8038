"""Batches of latents: what is stacked is what was decoded, and tensors are what numpy gives."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from dsc._codecs.latents import LatentBatch, Latents
from dsc._codecs.learned import synthesis
from dsc._codecs.learned.codec import ConditionalCodec
from dsc._codecs.learned.embedding import LatentEmbedding
from dsc._codecs.learned.network.spec import KINDS
from dsc._codecs.learned.planes import from_planes, native_tensor
from dsc._codecs.registry import make_codec
from dsc._schemas import Quality, Task
from dsc.errors import BitstreamError, CodecError, UnknownTaskError
from tests.codecs.conditional_cases import CODECS, DEPTH, LIMIT, NAMES, RGB, TASKS, make_view

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = (56, 72)  # no multiple of 16


@pytest.fixture(scope="module", params=KINDS)
def codec(request: pytest.FixtureRequest, files: dict[str, bytes]) -> ConditionalCodec:
    return CODECS[request.param](TASKS, files[request.param])


@pytest.fixture(scope="module")
def latents(codec: ConditionalCodec) -> list[Latents]:
    """Five samples of several qualities, two of them with holes, one of those all hole."""
    found = []
    for seed in range(5):
        view = {k: v[: SIZE[0], : SIZE[1]].copy() for k, v in make_view(seed, 72).items()}
        hole = {1: np.s_[10:20, 5:30], 3: np.s_[:, :]}.get(seed)
        if hole is not None:
            view["depth_zbuffer"][hole] = 65535
            view["normal"][hole] = 127
        (streams,) = codec.encode_batch([view], Quality(default=20 + 15 * seed))
        latent = codec.unpack_latents(streams, NAMES, LIMIT)
        assert latent is not None
        found.append(latent)
    return found


def expected_tensors(
    codec: ConditionalCodec, latents: list[Latents], native: bool
) -> dict[str, torch.Tensor]:
    """What the numpy path gives, in the layout of tensors."""
    samples = codec.synthesize(latents, NAMES)
    found = {}
    for task in TASKS:
        arrays = [s[task.name] for s in samples]
        if not native:
            arrays = [task.to_physical(a) for a in arrays]
        stacked = torch.from_numpy(np.stack(arrays))
        found[task.name] = stacked if stacked.ndim == 3 else stacked.permute(0, 3, 1, 2)
    return found


def check_equal(got: torch.Tensor, want: torch.Tensor, step: float) -> None:
    """Within `step` where both have a value, NaN where the other has it."""
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    got, want = got.cpu().double(), want.double()
    assert torch.equal(got.isnan(), want.isnan())
    assert (got - want).nan_to_num().abs().max() <= step


def test_a_batch_holds_the_integers_of_its_samples(latents: list[Latents]) -> None:
    batch = LatentBatch.stack(latents)
    assert len(batch) == 5
    assert batch.size == SIZE
    for at, latent in enumerate(latents):
        for name, stream in latent.streams.items():
            own = batch.streams[name]
            assert own.symbols.dtype == own.mean.dtype == torch.int16
            assert np.array_equal(own.symbols[at], stream.symbols)
            assert np.array_equal(own.mean[at], stream.mean)
            assert own.quality[at] == stream.quality
        assert batch.offsets["depth_zbuffer"][at] == latent.offsets["depth_zbuffer"]
        for task in ("depth_zbuffer", "normal"):
            mask = latent.masks.get(task, np.zeros(SIZE, bool))
            assert np.array_equal(batch.masks[task][at], mask)
    assert "rgb" not in batch.masks


def test_symbols_beyond_sixteen_bits_are_kept(latents: list[Latents]) -> None:
    (name, stream), *_ = latents[0].streams.items()
    symbols = stream.symbols.copy()
    symbols[0, 0, 0] = 1 << 15
    streams = {**latents[0].streams, name: replace(stream, symbols=symbols)}
    batch = LatentBatch.stack([latents[1], replace(latents[0], streams=streams)])
    assert batch.streams[name].symbols.dtype == torch.int32
    assert batch.streams[name].symbols[1, 0, 0, 0] == 1 << 15


def test_samples_that_differ_are_refused_and_the_difference_named(
    codec: ConditionalCodec, latents: list[Latents]
) -> None:
    with pytest.raises(CodecError, match="sample 1 of the batch has 10×72 pixels, sample 0 has 56"):
        LatentBatch.stack([latents[0], replace(latents[1], size=(10, 72))])
    streams = {k: v for k, v in latents[1].streams.items() if k != "normal"}
    with pytest.raises(CodecError, match=r"sample 1 .* streams depth_zbuffer, rgb.* has .*normal"):
        LatentBatch.stack([latents[0], replace(latents[1], streams=streams)])
    with pytest.raises(CodecError, match="sample 1 of the batch has none of the tasks"):
        LatentBatch.stack([latents[0], None])
    with pytest.raises(CodecError, match="at least one"):
        LatentBatch.stack([])
    with pytest.raises(UnknownTaskError, match="edges"):
        codec.synthesize_tensors(LatentBatch.stack(latents), ["edges"])


@pytest.mark.parametrize("native", [False, True])
def test_tensors_are_what_the_numpy_path_gives(
    codec: ConditionalCodec, latents: list[Latents], native: bool
) -> None:
    """Exact for 8-bit integers; depth to one count, unit vectors to the last bit."""
    want = expected_tensors(codec, latents, native)
    got = codec.synthesize_tensors(LatentBatch.stack(latents), NAMES, native)
    assert list(got) == list(NAMES)
    depth, normal = (1, 0) if native else (1.001 / 512, 3e-7)
    for name, step in {"rgb": 0, "depth_zbuffer": depth, "normal": normal}.items():
        check_equal(got[name], want[name], step)
    assert got["rgb"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("task", TASKS, ids=NAMES)
def test_planes_become_the_integers_that_numpy_makes_of_them(task: Task) -> None:
    """Out of range, without direction, and where a valid pixel would read as an invalid one."""
    planes = torch.randn(2, 1 if task is DEPTH else 3, 40, 40) * 2
    planes[:, :, :4] = 0
    planes[:, :, 4:8] = -1e-9  # a normal without direction, of which numpy makes 127, 127, 127
    offset = torch.tensor([0.5, 7.0])
    mask = torch.rand(2, 40, 40) < 0.2 if task.invalid else None
    got = native_tensor(task, planes, mask, offset)
    for at in range(2):
        given = None if mask is None else mask[at].numpy()
        want = from_planes(task, planes[at].numpy(), given, float(offset[at]))
        own = got[at] if task is DEPTH else got[at].permute(1, 2, 0)
        assert own.numpy().dtype == want.dtype
        assert np.abs(own.numpy().astype(int) - want).max() <= (1 if task is DEPTH else 0)
        if mask is not None and given is not None:
            assert np.array_equal(task.invalid_mask(own.numpy()), given)


def test_one_sample_alone_is_what_it_is_in_a_batch(
    codec: ConditionalCodec, latents: list[Latents]
) -> None:
    together = codec.synthesize_tensors(LatentBatch.stack(latents), NAMES, native=True)
    alone = codec.synthesize_tensors(LatentBatch.stack(latents[1:2]), NAMES, native=True)
    for name in NAMES:
        check_equal(alone[name], together[name][1:2], 1)


def test_parts_of_a_large_batch_join(
    codec: ConditionalCodec, latents: list[Latents], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = LatentBatch.stack(latents)
    whole = codec.synthesize_tensors(batch, NAMES, native=True)
    monkeypatch.setattr(synthesis, "BATCH_PIXELS", 2 * SIZE[0] * SIZE[1])
    joined = codec.synthesize_tensors(batch, NAMES, native=True)
    for name in NAMES:
        check_equal(joined[name], whole[name], 1)


def test_only_the_streams_that_are_there_are_synthesised(codec: ConditionalCodec) -> None:
    view = make_view(0, 64)
    (streams,) = codec.encode_batch([{"rgb": view["rgb"]}], Quality())
    latent = codec.unpack_latents(streams, ["rgb"], LIMIT)
    assert latent is not None
    assert set(codec.synthesize_tensors(LatentBatch.stack([latent]), NAMES)) == {"rgb"}


def test_what_is_synthesised_can_be_trained_on(
    codec: ConditionalCodec, latents: list[Latents]
) -> None:
    depth = codec.synthesize_tensors(LatentBatch.stack(latents), ["depth_zbuffer"])["depth_zbuffer"]
    weight = torch.ones(1, requires_grad=True)
    torch.autograd.backward((weight * depth).nansum())
    assert weight.grad is not None


def test_nothing_goes_through_the_host(codec: ConditionalCodec, latents: list[Latents]) -> None:
    """A meta tensor has no values: whatever reads one on the host is an error."""
    batch = LatentBatch.stack(latents).to("meta")
    assert batch.device.type == "meta"
    got = codec.synthesize_tensors(batch, NAMES)
    want = codec.synthesize_tensors(LatentBatch.stack(latents), NAMES)
    for name in NAMES:
        assert got[name].device.type == "meta"
        assert (got[name].shape, got[name].dtype) == (want[name].shape, want[name].dtype)


def test_entropy_decoding_goes_on_while_another_device_synthesises(
    codec: ConditionalCodec, latents: list[Latents]
) -> None:
    codec.synthesize_tensors(LatentBatch.stack(latents).to("meta"), ["rgb"])
    (streams,) = codec.encode_batch([make_view(0, 64)], Quality())
    assert codec.unpack_latents(streams, NAMES, LIMIT) is not None


def various_samples(codec: ConditionalCodec) -> list[dict[str, bytes]]:
    """Samples of several sizes and qualities, some of which lack tasks."""
    found = []
    for seed, (size, names) in enumerate(
        [
            (64, NAMES),
            (40, NAMES),
            (64, ("rgb",)),
            (64, ("normal", "rgb")),
            (40, NAMES),
            (64, NAMES),
        ]
    ):
        view = {name: make_view(seed, size)[name] for name in names}
        found += codec.encode_batch([view], Quality(default=10 + 17 * seed))
    return found


@pytest.mark.parametrize("shipped", [False, True])
def test_samples_decoded_in_step_give_the_integers_that_each_gives_alone(
    codec: ConditionalCodec, shipped: bool
) -> None:
    if shipped:
        if codec.id == "chained":
            pytest.skip("dsc comes with no weights for chained")
        codec = type(codec).for_tasks(TASKS)  # shared-latent: coded in one step
    streams = various_samples(codec)
    tasks = [[name for name in NAMES if name in sample] for sample in streams]
    tasks[3] = []
    together = codec.unpack_batch(streams, tasks, LIMIT)
    alone = [codec.unpack_latents(s, t, LIMIT) for s, t in zip(streams, tasks, strict=True)]
    assert together[3] is None
    for got, want in zip(together, alone, strict=True):
        assert (got is None) == (want is None)
        if got is not None and want is not None:
            assert (got.size, got.offsets) == (want.size, want.offsets)
            assert got.streams.keys() == want.streams.keys()
            for name, stream in want.streams.items():
                assert np.array_equal(got.streams[name].symbols, stream.symbols)
                assert np.array_equal(got.streams[name].mean, stream.mean)
                assert got.streams[name].quality == stream.quality


def test_damage_of_one_sample_is_an_error_of_its_batch(codec: ConditionalCodec) -> None:
    streams = various_samples(codec)
    streams[4] = streams[4] | {"rgb": streams[4]["rgb"][:-4]}
    tasks = [[name for name in NAMES if name in sample] for sample in streams]
    with pytest.raises(BitstreamError):
        codec.unpack_batch(streams, tasks, LIMIT)


def test_an_embedding_does_not_see_the_quality_but_the_image(codec: ConditionalCodec) -> None:
    """The gain is taken off, so one image embeds alike at two qualities, another does not."""
    views = [make_view(0, 64), make_view(0, 64), make_view(5, 64)]
    latents = []
    for view, quality in zip(views, (60, 100, 100), strict=True):
        (streams,) = codec.encode_batch([view], Quality(default=quality))
        latents.append(codec.unpack_latents(streams, NAMES, LIMIT))
    batch = LatentBatch.stack([latent for latent in latents if latent is not None])
    torch.manual_seed(0)
    features = LatentEmbedding(codec, ["rgb", "normal"], 24)(batch)
    assert features.shape == (3, 24, 4, 4)
    near, far = (features[1] - features[0]).norm(), (features[1] - features[2]).norm()
    assert near < 0.3 * far


def test_an_embedding_reads_every_stream_that_its_tasks_require(codec: ConditionalCodec) -> None:
    embed = LatentEmbedding(codec, ["rgb"], 8)
    graph = {stream.name: stream for stream in codec.streams()}
    assert embed.streams == (*graph["rgb"].requires, "rgb")
    (streams,) = codec.encode_batch([make_view(0, 64)], Quality())
    latent = codec.unpack_latents(streams, NAMES, LIMIT)
    assert latent is not None
    without = replace(latent, streams={k: v for k, v in latent.streams.items() if k != "rgb"})
    with pytest.raises(CodecError, match="no stream rgb"):
        embed(LatentBatch.stack([without]))
    assert LatentEmbedding(codec, "depth", 8).streams[-1] == "depth_zbuffer"
    with pytest.raises(UnknownTaskError, match="edges"):
        LatentEmbedding(codec, ["edges"], 8)
    with pytest.raises(CodecError, match="png has no latents"):
        LatentEmbedding(make_codec("png", [RGB]), ["rgb"], 8)


def test_an_embedding_learns_and_leaves_the_codec_alone(
    codec: ConditionalCodec, latents: list[Latents]
) -> None:
    embed = LatentEmbedding(codec, NAMES, 8)
    before = codec.synthesize(latents, NAMES)
    optimiser = torch.optim.SGD(embed.parameters(), 0.1)
    torch.autograd.backward(embed(LatentBatch.stack(latents)).square().mean())
    weight = embed.mix.weight.detach().clone()
    assert {n for n, p in embed.named_parameters() if p.requires_grad} == {"mix.weight", "mix.bias"}
    optimiser.step()
    assert not torch.equal(embed.mix.weight, weight)
    for old, new in zip(before, codec.synthesize(latents, NAMES), strict=True):
        assert all(np.array_equal(new[name], array) for name, array in old.items())
    again = LatentEmbedding(codec, NAMES, 8)
    again.load_state_dict(embed.state_dict())
    batch = LatentBatch.stack(latents)
    assert torch.equal(again.eval()(batch), embed.eval()(batch))
    embed.double()
    assert all(gain.log_gain.dtype is torch.float32 for gain in codec.gains(NAMES).values())


class Stacks(Dataset[Any]):
    """Batches as loader workers make them."""

    def __init__(self, latents: list[Latents]) -> None:
        self.latents = latents

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"index": index, "latents": LatentBatch.stack(self.latents[index : index + 2])}


def test_a_batch_comes_whole_through_workers_and_pickle(latents: list[Latents]) -> None:
    got = list(DataLoader(Stacks(latents), batch_size=None, num_workers=2))
    assert [item["index"] for item in got] == [0, 1, 2, 3]
    got.append({"index": 0, "latents": pickle.loads(pickle.dumps(got[0]["latents"]))})
    for item in got:
        want = LatentBatch.stack(latents[item["index"] : item["index"] + 2])
        assert item["latents"].size == want.size
        for a, b in zip(item["latents"].tensors(), want.tensors(), strict=True):
            assert torch.equal(a, b)
            assert a.dtype == b.dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_gives_what_the_cpu_gives(codec: ConditionalCodec, latents: list[Latents]) -> None:
    """Eight bits to a few counts, in bfloat16; depth to a thousandth, in float32."""
    batch = LatentBatch.stack(latents)
    want = codec.synthesize_tensors(batch, NAMES)
    got = codec.synthesize_tensors(batch.pin_memory().to("cuda", non_blocking=True), NAMES)
    for name in NAMES:
        assert got[name].is_cuda
        assert torch.equal(got[name].isnan().cpu(), want[name].isnan())
    rgb = (got["rgb"].cpu().float() - want["rgb"].float()).abs()
    assert rgb.mean() < 1.5
    ratio = (got["depth_zbuffer"].cpu() / want["depth_zbuffer"] - 1).nan_to_num().abs()
    assert ratio.max() < 0.002
    dot = (got["normal"].cpu() * want["normal"]).sum(1).nan_to_num(1.0)
    assert dot.mean() > 0.99
