"""The codec `layered-seq`: chains of frames in scales, prefixes, integers, files, damage."""

import math
import struct

import numpy as np
import pytest
import safetensors.numpy
import torch

from dsc._codecs.base import (
    AdaptableCodec,
    GroupCodec,
    LatentCodec,
    PrefixCodec,
    SplitCodec,
    decoder_from,
)
from dsc._codecs.learned import base, codec_file
from dsc._codecs.learned.base import pad
from dsc._codecs.learned.codec_file import (
    decoder_part,
    export_sequence_codec,
    gaussian_tables,
    load_codec_file,
    read_metadata,
)
from dsc._codecs.learned.layered import sequence
from dsc._codecs.learned.layered.codec import LayeredNetworkCodec
from dsc._codecs.learned.layered.coder import ScaleCoder
from dsc._codecs.learned.layered.motion import HALF_REACH, find_motion
from dsc._codecs.learned.layered.motion_coder import read_motion, write_motion
from dsc._codecs.learned.layered.sequence import LayeredSequenceCodec
from dsc._codecs.learned.layered.spec import SCALES, UNIT, scale_stream
from dsc._codecs.learned.layered.temporal import Past
from dsc._codecs.learned.planes import to_planes
from dsc._codecs.registry import make_codec
from dsc._schemas import Quality
from dsc._schemas.group import GroupHeader, link_all
from dsc.errors import BitstreamError, CodecError, SelfTestError
from tests.codecs.conditional_cases import DEPTH, LIMIT, NAMES, RGB, TASKS
from tests.codecs.conformance import CodecConformance, make_sample
from tests.codecs.frames import psnr_db, recording
from tests.codecs.layered_cases import branches, layered_file, layered_network, sequence_file

pytestmark = pytest.mark.usefixtures("one_thread")
Q = Quality(default=60)
Streams = list[dict[str, bytes]]


@pytest.fixture(scope="module")
def file() -> bytes:
    return sequence_file()


@pytest.fixture(scope="module")
def codec(file: bytes) -> LayeredSequenceCodec:
    return LayeredSequenceCodec(TASKS, file)


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return recording(5, (72, 88))


@pytest.fixture(scope="module")
def group(codec: LayeredSequenceCodec, frames: list[np.ndarray]) -> Streams:
    return encoded(codec, frames)


def encoded(codec: LayeredSequenceCodec, frames: list) -> Streams:
    """Return linked payloads of a group of frames, None for one that is not there."""
    samples = [{} if frame is None else {"rgb": frame} for frame in frames]
    return link_all(codec.encode_group(samples, Q), codec.config()["grouped"])


def decoded(codec: LayeredSequenceCodec, streams: Streams, scales: int = SCALES) -> list:
    names = [scale_stream("rgb", scale) for scale in range(scales)]
    given = [{name: one[name] for name in names if name in one} for one in streams]
    found = decoder_from(codec, names).decode_batch(given, ["rgb"], LIMIT)
    return [one.get("rgb") for one in found]


def headers(streams: Streams, name: str = "rgb.0") -> list[GroupHeader]:
    return [GroupHeader.unpack(one[name]) for one in streams if name in one]


class TestLayeredSequenceConformance(CodecConformance):
    sees_every_cut = False  # an empty coder decodes on, and may end empty; checksums see the cut
    max_cuts = n_flips = 12  # of each of twelve streams

    @pytest.fixture
    def codec(self, file: bytes) -> LayeredSequenceCodec:
        return LayeredSequenceCodec(TASKS, file)


def test_keeps_the_protocols_of_its_family(codec: LayeredSequenceCodec) -> None:
    for protocol in (GroupCodec, PrefixCodec, SplitCodec):
        assert isinstance(codec, protocol)
    for protocol in (LatentCodec, AdaptableCodec):  # no frame has integers without those before it
        assert not isinstance(codec, protocol)
    lanes = codec.config()["grouped"]
    assert lanes == [[stream.name] for stream in codec.streams()]


# ---- chains


def test_each_frame_comes_after_the_frame_before(group: Streams) -> None:
    for scale in range(SCALES):
        found = headers(group, scale_stream("rgb", scale))
        assert [(one.n, one.at, one.order) for one in found] == [(5, at, at) for at in range(5)]
        assert [one.needs for one in found] == [tuple(range(at)) for at in range(5)]


def test_a_key_has_the_words_of_layered(
    codec: LayeredSequenceCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec_file, "bfloat16_is_fast", lambda: False)  # frames are in float32
    base._load.cache_clear()
    stills = LayeredNetworkCodec(TASKS, layered_file())
    base._load.cache_clear()
    sample = make_sample(TASKS, (40, 56))
    (alone,) = stills.encode_batch([sample], Q)
    first, _ = codec.encode_group([sample, sample], Q)
    for name, data in alone.items():
        assert first[name] == GroupHeader(2, 0, 0).pack() + data
    (ours,), (theirs,) = (
        one.decode_batch([given], NAMES, LIMIT) for one, given in ((codec, first), (stills, alone))
    )
    assert all(np.array_equal(ours[name], theirs[name]) for name in NAMES)


def test_each_frame_by_itself_is_what_it_is_among_all(
    codec: LayeredSequenceCodec, group: Streams, frames: list
) -> None:
    together = decoded(codec, group)
    keys = [decoded(codec, encoded(codec, [frame]))[0] for frame in frames]
    assert psnr_db(frames, together) > psnr_db(frames, keys) - 2
    for at in (3, 1, 4, 0):
        (alone,) = decoded(codec, [group[at]])
        assert np.array_equal(alone, together[at])
    some = decoded(codec, [group[4], group[2], group[4]])
    assert all(np.array_equal(a, together[b]) for a, b in zip(some, (4, 2, 4), strict=True))
    assert not np.shares_memory(some[0], some[2])
    others = encoded(codec, frames[::-1])
    mixed = decoded(codec, [group[3], others[1], group[1]])
    assert np.array_equal(mixed[1], decoded(codec, others)[1])
    assert np.array_equal(mixed[0], together[3])


def test_frames_of_a_group_are_decoded_once(
    codec: LayeredSequenceCodec, group: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    decode = ScaleCoder.decode
    monkeypatch.setattr(ScaleCoder, "decode", lambda *given: calls.append(1) or decode(*given))
    decoded(codec, [group[4], group[0], group[2], group[4]])
    assert len(calls) == 5
    decoded(codec, [group[1]])
    assert len(calls) == 5 + 2  # nothing is kept


def test_a_frame_is_what_the_network_makes_of_it_after_the_one_before(
    file: bytes, frames: list
) -> None:
    network, codec = layered_network(), LayeredSequenceCodec([RGB], file, kappa=math.inf)
    branch = branches(network).modalities["rgb"]
    found = decoded(codec, encoded(codec, frames[:3]))
    past, before, quality = None, None, torch.tensor([60])
    for frame, ours in zip(frames, found, strict=False):
        planes, _, _ = to_planes(RGB, frame)
        x = pad(torch.from_numpy(planes)[None], UNIT)
        with torch.no_grad():
            if before is not None:
                past = Past(past.scales, find_motion(before, x))
            coded = network.code_layers("rgb", x, quality, temporal=branch, past=past)
        expected = (coded.planes[0, :, :72, :88].permute(1, 2, 0) + 0.5) * 255
        error = np.square(expected.numpy() - ours).mean()
        assert error < 0.01 * expected.var()  # float16, and bfloat16 where the CPU has it
        past, before = Past(coded.scales, torch.empty(0)), x


@pytest.mark.parametrize("count", [1, 2, 16])
def test_groups_of_any_length_come_back(codec: LayeredSequenceCodec, count: int) -> None:
    frames = recording(count, (33, 40))
    found = decoded(codec, encoded(codec, frames))
    assert [one.shape for one in found] == [(33, 40, 3)] * count


def test_a_group_is_not_too_long(codec: LayeredSequenceCodec) -> None:
    with pytest.raises(CodecError, match="a group of 17, at most 16"):
        codec.encode_group([{}] * 17, Q)


def test_a_chain_begins_anew_where_one_lacks_the_task_or_the_size_changes(
    codec: LayeredSequenceCodec, frames: list
) -> None:
    wide = recording(2, (40, 96))
    given = [None, frames[0], frames[1], None, frames[3], *wide]
    streams = encoded(codec, given)
    assert [one == {} for one in streams] == [frame is None for frame in given]
    assert [one.needs for one in headers(streams)] == [(), (1,), (), (), (5,)]
    found = decoded(codec, streams)
    for at, frame in enumerate(given):
        assert (found[at] is None) == (frame is None)
        assert frame is None or found[at].shape == frame.shape
    key = decoded(codec, encoded(codec, [frames[3]]))[0]
    assert np.array_equal(found[4], key)


def test_tasks_have_chains_of_their_own(codec: LayeredSequenceCodec) -> None:
    samples = [make_sample(TASKS, (40, 56), seed) for seed in range(3)]
    del samples[1]["depth_zbuffer"]
    streams = link_all(codec.encode_group(samples, Q), codec.config()["grouped"])
    assert headers(streams, "depth_zbuffer.2")[1].needs == ()
    assert headers(streams, "normal.1")[2].needs == (0, 1)
    for one, sample in zip(codec.decode_batch(streams, NAMES, LIMIT), samples, strict=True):
        assert list(one) == [name for name in NAMES if name in sample]
        if "depth_zbuffer" in sample:
            holes = DEPTH.invalid_mask(sample["depth_zbuffer"])
            assert np.array_equal(DEPTH.invalid_mask(one["depth_zbuffer"]), holes)


# ---- prefixes


@pytest.mark.parametrize("scales", range(1, SCALES + 1))
def test_first_scales_decode_alike_whatever_else_is_there(
    scales: int, codec: LayeredSequenceCodec, group: Streams
) -> None:
    names = [scale_stream("rgb", scale) for scale in range(scales)]
    alone = decoded(codec, group, scales)
    beside = decoder_from(codec, names).decode_batch(group, ["rgb"], LIMIT)
    assert all(np.array_equal(a, b["rgb"]) for a, b in zip(alone, beside, strict=True))
    assert all(np.array_equal(decoded(codec, [group[at]], scales)[0], alone[at]) for at in (4, 2))
    if scales < SCALES:
        assert not any(map(np.array_equal, alone, decoded(codec, group)))


def test_damage_of_a_finer_scale_leaves_the_coarser_ones(
    codec: LayeredSequenceCodec, group: Streams
) -> None:
    spoiled = [dict(one) for one in group]
    for one in spoiled:
        one["rgb.2"] = b"\xff" * 9
    names = ["rgb.0", "rgb.1"]
    found = decoder_from(codec, names).decode_batch(spoiled, ["rgb"], LIMIT)
    for one, other in zip(found, decoded(codec, group, 2), strict=True):
        assert np.array_equal(one["rgb"], other)
    with pytest.raises(BitstreamError, match=r"rgb\.2"):
        decoded(codec, spoiled)


# ---- motion


def test_motion_comes_back() -> None:
    tables, rng = gaussian_tables(), np.random.default_rng(0)
    for spread in (0, 1, HALF_REACH):
        motion = rng.integers(-spread, spread, (2, 6, 8), np.int32, endpoint=True)
        data = write_motion(motion, tables)
        found, length = read_motion(data + b"words", (90, 100), tables)
        assert np.array_equal(found, motion)
        assert length == len(data)
    assert write_motion(motion * 0, tables) == b"\xff"
    even = np.full((2, 6, 8), 12, np.int32)
    assert len(write_motion(even, tables)) < 20


def test_damaged_motion_is_found(codec: LayeredSequenceCodec, group: Streams) -> None:
    tables = gaussian_tables()
    beyond = write_motion(np.full((2, 6, 6), HALF_REACH + 1, np.int32), tables)
    good = write_motion(np.full((2, 6, 6), 3, np.int32), tables)
    cut = good[:1] + struct.pack("<I", 1 << 20) + good[5:]
    other = bytes([good[0] + 1]) + good[1:]
    for data in (beyond, cut, good[:3], b"", bytes([64]) + good[1:], other):
        with pytest.raises(BitstreamError):
            read_motion(data, (72, 88), tables)
    head = GroupHeader.unpack(group[1]["rgb.0"]).size + 5  # then size and quality
    payload = group[1]["rgb.0"]
    spoiled = [{name: bytes(data) for name, data in one.items()} for one in group]
    spoiled[1]["rgb.0"] = payload[:head] + bytes([200]) + payload[head + 1 :]
    with pytest.raises(BitstreamError, match="frame 1 of its group: motion under table 200"):
        decoded(codec, link_all(spoiled, codec.config()["grouped"])[4:])


# ---- integers


def integers_of(codec: LayeredSequenceCodec, streams: Streams, monkeypatch) -> list:
    found = []
    decode = ScaleCoder.decode

    def noting(*given):
        latents = decode(*given)
        found.extend(latents[0])
        return latents

    with monkeypatch.context() as patch:
        patch.setattr(ScaleCoder, "decode", noting)
        decoded(codec, streams)
    return found


def test_floating_point_and_threads_stay_out_of_the_integers(
    file: bytes, codec: LayeredSequenceCodec, group: Streams, monkeypatch
) -> None:
    """Transforms may differ in their last bits between machines; what is decoded must not."""
    tensors = safetensors.numpy.load(file)
    for name, tensor in tensors.items():
        if any(part in name for part in (".chain.", ".gain.", ".carries.", ".analysis.")):
            tensors[name] = (tensor + 0.01).astype(tensor.dtype)
    altered = safetensors.numpy.save(tensors, read_metadata(file))
    other = LayeredSequenceCodec(TASKS, altered)
    expected = integers_of(codec, group, monkeypatch)
    assert len(expected) == 5 * SCALES
    torch.set_num_threads(3)
    found = integers_of(other, group, monkeypatch)
    torch.set_num_threads(1)
    for one, same in zip(expected, found, strict=True):
        assert np.array_equal(one.symbols, same.symbols)
        assert np.array_equal(one.mean, same.mean)
    assert not np.array_equal(decoded(codec, group)[4], decoded(other, group)[4])


def test_what_is_decoded_does_not_depend_on_the_batch(
    codec: LayeredSequenceCodec, frames: list, group: Streams
) -> None:
    others = [encoded(codec, [frames[at], frames[at - 1]]) for at in (2, 3)]
    batch = [group[2], others[0][1], group[0], others[1][1], group[4]]
    alone = [decoded(codec, [one])[0] for one in batch]
    assert all(map(np.array_equal, decoded(codec, batch), alone))
    keys = codec.encode_batch([{"rgb": frame} for frame in frames[:3]], Q)  # of no list or pack
    assert all(
        np.array_equal(one, decoded(codec, [key])[0])
        for one, key in zip(decoded(codec, keys), keys, strict=True)
    )


# ---- files


def test_a_file_of_another_network_is_a_clear_error(file: bytes) -> None:
    with pytest.raises(CodecError, match="weights are of layered-seq, the codec is layered"):
        LayeredNetworkCodec([RGB], file)
    with pytest.raises(CodecError, match="weights are of layered, the codec is layered-seq"):
        LayeredSequenceCodec([RGB], layered_file())


def test_shipped_weights_code_and_decode_a_frame_by_itself() -> None:
    codec = make_codec("layered-seq", [RGB])
    frame = {"rgb": np.random.default_rng(3).integers(0, 256, (40, 48, 3), dtype=np.uint8)}
    (streams,) = codec.encode_batch([frame], Quality(default=60))
    assert list(streams) == [f"rgb.{scale}" for scale in range(SCALES)]
    (decoded,) = codec.decode_batch([streams], ["rgb"], 1 << 20)
    assert decoded["rgb"].shape == (40, 48, 3)


def test_tasks_whose_modality_has_no_branches_are_refused() -> None:
    network = layered_network()
    made = branches(network).modalities
    part = export_sequence_codec(network, {"rgb": made["rgb"]}, {})
    assert not any(".depth." in name for name in safetensors.numpy.load(part))
    with pytest.raises(CodecError, match="task depth_zbuffer: these weights code rgb only"):
        LayeredSequenceCodec([RGB, DEPTH], part)
    with pytest.raises(CodecError, match="the network codes rgb, depth, normal"):
        export_sequence_codec(network, {}, {})


def test_exporting_changes_neither_network() -> None:
    network = layered_network()
    made = branches(network)
    export_sequence_codec(network, made.modalities, {})
    assert not any(layer.frozen for layer in (*network.integer_modules(), *made.integer_modules()))


@pytest.mark.parametrize("part", ["priors.0.spread", "priors.3.mean", "priors.1.turn"])
def test_self_test_covers_the_branches(file: bytes, part: str) -> None:
    tensors = safetensors.numpy.load(file)
    name = f"branches.rgb.{part}.bias"
    tensors[name] = tensors[name] + np.int32(40_000)
    broken = safetensors.numpy.save(tensors, read_metadata(file))
    with pytest.raises(SelfTestError, match="do not decode"):
        load_codec_file(broken)


def test_the_decoders_part_decodes_all_and_encodes_nothing(
    file: bytes, codec: LayeredSequenceCodec, group: Streams
) -> None:
    data = decoder_part(file)
    assert decoder_part(data) == data
    left_out = safetensors.numpy.load(file).keys() - safetensors.numpy.load(data).keys()
    assert {tuple(name.split(".")[2:4])[: 1 + ("analysis" in name)] for name in left_out} == {
        ("posterior",),
        ("analysis", "blocks"),
    }
    part = LayeredSequenceCodec(TASKS, data)
    assert all(map(np.array_equal, decoded(part, group), decoded(codec, group)))
    with pytest.raises(CodecError, match="cannot encode; give the whole codec file"):
        part.encode_group([{}], Q)
    assert "layered-seq" in read_metadata(data)["kind"]


def test_a_group_that_skips_a_frame_is_damage(
    codec: LayeredSequenceCodec, group: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    def skipping(payloads):
        found = by_frame(payloads)
        return {at: own for at, own in found.items() if at != 1}

    by_frame = sequence._by_frame
    monkeypatch.setattr(sequence, "_by_frame", skipping)
    with pytest.raises(BitstreamError, match="does not follow the last of them"):
        decoded(codec, group[2:3])
