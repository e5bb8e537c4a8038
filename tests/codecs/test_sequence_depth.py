"""Depth in `av1-seq`: masks exact, errors as those of stills, fewer bytes."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._codecs.registry import make_codec
from dsc._codecs.sequence import libaom
from dsc._codecs.sequence.codec import Av1SeqCodec
from dsc._codecs.sequence.depth import FIRST, STILL, Scale, relative_error
from dsc._schemas import Access, Quality, Task, TaskKind
from dsc._schemas.group import GroupHeader, link_all
from dsc.errors import BitstreamError, CodecError
from tests.codecs.conformance import CodecConformance, make_sample
from tests.codecs.frames import DEPTH, depth_recording
from tests.places import DATA

pytestmark = pytest.mark.skipif(
    not libaom.is_there(), reason="the libaom of this imagecodecs is not known, nothing encodes"
)
CLIP = DATA / "sevenscenes_clip"
PIXELS = 1 << 20
QUALITY = Quality(default=60)
NO_HOLES = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint8", unit_m=0.05)


def encoded(codec, frames, quality=QUALITY):
    samples = [{} if frame is None else {"depth": frame} for frame in frames]
    return link_all(codec.encode_group(samples, quality), codec.config()["grouped"])


def decoded(codec, streams):
    return [one.get("depth") for one in codec.decode_batch(streams, ["depth"], PIXELS)]


def size_of(streams):
    return sum(len(data) for one in streams for data in one.values())


def own_bytes(one):
    [data] = one.values()
    return bytes(data)[GroupHeader.unpack(data).size :]


def mean_error(frames, found):
    masks = [DEPTH.invalid_mask(frame) for frame in frames]
    return np.mean([relative_error(b, a, m) for a, b, m in zip(frames, found, masks, strict=True)])


class TestConformance(CodecConformance):
    sees_every_cut = False

    @pytest.fixture
    def codec(self):
        return make_codec("av1-seq", [DEPTH])

    def stream_and_task(self, codec):
        yield "depth.t0", "depth"

    def test_each_task_decodes_from_the_streams_it_requires_alone(self, codec):
        streams = self.encode(codec, make_sample(codec.tasks, self.size))
        assert set(streams) == {"depth.t0"}


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_each_frame_by_itself_is_what_it_is_among_all(count, access):
    codec = Av1SeqCodec([DEPTH], access)
    frames = depth_recording(count, (32, 40))
    streams = encoded(codec, frames)
    together = decoded(codec, streams)
    for frame, found in zip(frames, together, strict=True):
        assert np.array_equal(DEPTH.invalid_mask(found), DEPTH.invalid_mask(frame))
    assert mean_error(frames, together) < 0.03
    for number in (0, count // 2, count - 1):
        [alone] = decoded(codec, [streams[number]])
        assert np.array_equal(alone, together[number])


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from(["there", "absent", "blank", "full", "flat"]), min_size=1, max_size=7),
    st.integers(1, 40),
    st.integers(1, 40),
)
@settings(max_examples=25, deadline=None)
def test_masks_are_exact_whatever_comes(seed, kinds, height, width):
    rng = np.random.default_rng(seed)
    made = dict(
        zip(("there", "full"), depth_recording(2, (height, width), seed=seed % 99), strict=True)
    )
    made |= {
        "absent": None,
        "blank": np.zeros((height, width), np.uint16),
        "flat": np.full((height, width), 900, np.uint16),
        "full": np.maximum(made["full"], 500),
    }
    made["there"][rng.random((height, width)) < 0.3] = 0
    frames = [made[kind] for kind in kinds]
    codec = Av1SeqCodec([DEPTH])
    found = decoded(codec, encoded(codec, frames))
    for frame, one, kind in zip(frames, found, kinds, strict=True):
        assert (one is None) is (frame is None)
        if frame is not None:
            assert np.array_equal(one == 0, frame == 0)
        if set(kinds) <= {"flat", "blank", "absent"} and kind == "flat":
            assert (one == 900).all()


def test_a_size_that_changes_begins_again():
    frames = [*depth_recording(3), *depth_recording(3, (32, 32))]
    codec = Av1SeqCodec([DEPTH])
    streams = encoded(codec, frames)
    found = decoded(codec, streams)
    assert [one.shape for one in found] == [one.shape for one in frames]
    assert np.array_equal(decoded(codec, streams[5:])[0], found[5])


def test_physical_units_come_out_where_they_are_wanted():
    from dsc._codecs.canvas import Place

    codec = Av1SeqCodec([DEPTH])
    [first, second] = [one for each in encoded(codec, depth_recording(2)) for one in each.values()]
    native = codec.decode_together("depth", [first, second], PIXELS, [Place(), Place()])
    metres = codec.decode_together("depth", [first, second], PIXELS, [Place(native=False)] * 2)
    for counts, found in zip(native, metres, strict=True):
        assert np.array_equal(found, DEPTH.to_physical(counts), equal_nan=True)


def test_depth_of_eight_bits_without_holes():
    rng = np.random.default_rng(0)
    frames = [np.clip(40 + 3 * at + rng.normal(0, 1, (24, 32)), 1, 255) for at in range(4)]
    frames = [frame.astype(np.uint8) for frame in frames]
    codec = Av1SeqCodec([NO_HOLES])
    found = decoded(codec, encoded(codec, frames, Quality(default=90)))
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(frames, found, strict=True)) < 5


def test_few_counts_are_listed_and_come_out_alone():
    frames = [np.rint(frame / 97).astype(np.uint16) * 97 for frame in depth_recording(8, (96, 128))]
    codec = Av1SeqCodec([DEPTH])
    found = decoded(codec, encoded(codec, frames, Quality(default=80)))
    assert set(np.unique(found)) <= set(np.unique(frames))


def test_frames_that_have_nothing_in_common_are_stills():
    rng = np.random.default_rng(5)
    frames = [rng.integers(500, 4000, (24, 24)).astype(np.uint16) for _ in range(6)]
    codec = Av1SeqCodec([DEPTH])
    streams = encoded(codec, frames)
    stills = make_codec("av1", [DEPTH]).encode_batch([{"depth": one} for one in frames], QUALITY)
    if own_bytes(streams[0])[0] == STILL:
        heads = 5 * len(frames)  # of the group, and which form it is
        assert size_of(streams) == size_of(stills) + heads
    assert size_of(streams) < 1.1 * size_of(stills)


def test_what_moves_takes_fewer_bytes_than_stills():
    frames = depth_recording(16, (96, 128))
    stills_codec = make_codec("av1", [DEPTH])
    stills = stills_codec.encode_batch([{"depth": one} for one in frames], QUALITY)
    codec = Av1SeqCodec([DEPTH])
    streams = encoded(codec, frames)
    there = mean_error(frames, decoded(stills_codec, stills))
    here = mean_error(frames, decoded(codec, streams))
    assert here < 1.15 * there
    assert size_of(streams) < 0.8 * size_of(stills)


def test_damage_is_named_or_changes_what_needs_it_alone():
    codec = Av1SeqCodec([DEPTH])
    frames = depth_recording(5, (24, 32))
    coded = codec.encode_group([{"depth": frame} for frame in frames], QUALITY)
    lanes = codec.config()["grouped"]
    wanted = decoded(codec, link_all(coded, lanes))
    rng = np.random.default_rng(1)
    for _ in range(200):
        at = int(rng.integers(5))
        [(name, data)] = coded[at].items()
        bit = int(rng.integers(8 * 4, 8 * len(data)))
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        changed = [*coded[:at], {name: bytes(broken)}, *coded[at + 1 :]]
        for number, one in enumerate(link_all(changed, lanes)):
            needs = GroupHeader.unpack(next(iter(coded[number].values()))).needs
            try:
                [found] = decoded(codec, [one])
            except BitstreamError:
                assert number == at or at in needs, (at, bit, number)
                continue
            if number != at and at not in needs:
                assert np.array_equal(found, wanted[number]), (at, bit, number)


def test_heads_that_lie_are_named():
    codec = Av1SeqCodec([DEPTH])
    streams = encoded(codec, depth_recording(2))
    [data] = streams[0].values()
    head = GroupHeader.unpack(data)
    good = bytes(data)
    for lie in (
        b"\x07" + own_bytes(streams[0])[1:],
        bytes([FIRST]) + b"\xff\xff\x01\x00" + own_bytes(streams[0])[5:],
        bytes([FIRST]) + b"\x01\x00\xff\xff\x02\xff\xff",
        own_bytes(streams[1]),
        b"",
    ):
        with pytest.raises(BitstreamError):
            codec.decode_batch([{"depth.t0": good[: head.size] + lie}], ["depth"], PIXELS)


def test_a_list_of_counts_holds_valid_ones_that_rise():
    scale = Scale((10, 900), np.array([10, 40, 41, 900]))
    packed = scale.pack()
    again, end = Scale.unpack(DEPTH, packed + b"rest")
    assert (again.span, end) == (scale.span, len(packed))
    assert np.array_equal(again.counts, scale.counts)
    assert set(scale.table(DEPTH)) == {10, 40, 41, 900, 0}
    for counts in ([0, 40], [40, 40], [10, 901], [9, 40]):
        with pytest.raises(ValueError, match="counts"):
            Scale.unpack(DEPTH, Scale((10, 900), np.array(counts)).pack())


def test_the_same_bytes_in_another_process():
    code = (
        "import hashlib\n"
        "from dsc._codecs.registry import make_codec\n"
        "from dsc._schemas import Quality\n"
        "from tests.codecs.frames import DEPTH, depth_recording\n"
        "samples = [{'depth': frame} for frame in depth_recording(5)]\n"
        "out = make_codec('av1-seq', [DEPTH]).encode_group(samples, Quality(default=60))\n"
        "print(hashlib.sha256(b''.join(d for one in out for d in one.values())).hexdigest())\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "4"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    streams = encoded(make_codec("av1-seq", [DEPTH]), depth_recording(5))
    here = hashlib.sha256(b"".join(data for one in streams for data in one.values()))
    assert out == here.hexdigest()


@pytest.mark.parametrize(
    "task",
    [
        Task(name="depth", kind=TaskKind.DEPTH, dtype="float32", unit_m=1.0),
        Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, exact=True),
    ],
    ids=["floats", "exact"],
)
def test_what_cannot_be_coded_is_refused_with_what_can(task):
    with pytest.raises(CodecError, match=r"depth.*exact"):
        Av1SeqCodec([task])


@pytest.mark.skipif(not CLIP.is_dir(), reason="a clip of 7-Scenes is not there")
def test_a_kinect_takes_three_quarters_of_stills_at_the_same_error():
    from PIL import Image

    paths = sorted(CLIP.glob("*.depth.png"))[:16]
    frames = [np.asarray(Image.open(path))[:240, :320].copy() for path in paths]
    stills_codec, codec, quality = (
        make_codec("av1", [DEPTH]),
        Av1SeqCodec([DEPTH]),
        Quality(default=70),
    )
    stills = stills_codec.encode_batch([{"depth": one} for one in frames], quality)
    streams = encoded(codec, frames, quality)
    there = mean_error(frames, decoded(stills_codec, stills))
    here = mean_error(frames, decoded(codec, streams))
    assert size_of(streams) * (here / there) < 0.75 * size_of(stills)
