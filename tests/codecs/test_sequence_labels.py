"""Label maps in `av1-seq`: bit for bit, and never much larger than stills."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc import _kernels
from dsc._codecs.registry import make_codec
from dsc._codecs.sequence import libaom
from dsc._codecs.sequence.codec import Av1SeqCodec
from dsc._codecs.sequence.labels import NEXT, STILL
from dsc._codecs.sequence.tracks import FARTHEST, Learned, decode_track, encode_track, search
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder
from dsc._schemas import Access, Quality, Task, TaskKind
from dsc._schemas.group import GroupHeader, link_all
from dsc.errors import BitstreamError, CodecError
from tests.codecs.conformance import CodecConformance, make_sample
from tests.codecs.frames import LABEL, label_recording

PIXELS = 1 << 20
QUALITY = Quality(default=60)
HEAD = 3 + 2 + 1  # of the group, of 9 to 16 frames, and of the frame


def encoded(codec, frames):
    (task,) = codec.tasks
    samples = [{} if frame is None else {task.name: frame} for frame in frames]
    return link_all(codec.encode_group(samples, QUALITY), codec.config()["grouped"])


def decoded(codec, streams):
    (task,) = codec.tasks
    return [one.get(task.name) for one in codec.decode_batch(streams, [task.name], PIXELS)]


def size_of(streams):
    return sum(len(data) for one in streams for data in one.values())


def own_bytes(one):
    [data] = one.values()
    return bytes(data)[GroupHeader.unpack(data).size :]


def forms_of(streams):
    return [own_bytes(one)[0] for one in streams]


def assert_exact(codec, frames):
    found = decoded(codec, encoded(codec, frames))
    for frame, one in zip(frames, found, strict=True):
        if frame is None:
            assert one is None
        else:
            assert one.dtype == frame.dtype
            assert np.array_equal(one, frame)


class TestConformance(CodecConformance):
    @pytest.fixture
    def codec(self):
        return make_codec("av1-seq", [LABEL])

    def stream_and_task(self, codec):
        yield "label.t0", "label"

    def test_each_task_decodes_from_the_streams_it_requires_alone(self, codec):
        streams = self.encode(codec, make_sample(codec.tasks, self.size))
        assert set(streams) == {"label.t0"}


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("count", [1, 2, 6])
def test_each_frame_by_itself_is_exact(count, access):
    codec = Av1SeqCodec([LABEL], access)
    frames = label_recording(count, (20, 27))
    streams = encoded(codec, frames)
    for frame, one in zip(frames, streams, strict=True):
        assert np.array_equal(decoded(codec, [one])[0], frame)
    assert all(np.array_equal(a, b) for a, b in zip(frames, decoded(codec, streams), strict=True))


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from(["moves", "absent", "flat", "noise", "wide"]), min_size=1, max_size=9),
    st.integers(1, 40),
    st.integers(1, 40),
)
@settings(max_examples=40, deadline=None)
def test_everything_comes_back_whatever_comes(seed, kinds, height, width):
    rng = np.random.default_rng(seed)
    moving = label_recording(len(kinds), (height, width), seed=seed % 97)
    made = {
        "absent": lambda at: None,
        "flat": lambda at: np.full((height, width), 65535, np.uint16),
        "moves": lambda at: moving[at],
        "noise": lambda at: rng.integers(0, 65536, (height, width)).astype(np.uint16),
        "wide": lambda at: np.pad(moving[at], ((0, 3), (0, 1)), mode="edge"),
    }
    frames = [made[kind](at) for at, kind in enumerate(kinds)]
    assert_exact(Av1SeqCodec([LABEL]), frames)


@pytest.mark.parametrize(
    "task",
    [
        Task(name="label", kind=TaskKind.LABEL, dtype="int32"),
        Task(name="label", kind=TaskKind.LABEL, dtype="uint8", channels=3),
        Task(name="label", kind=TaskKind.LABEL, dtype="int64", channels=2),
    ],
    ids=["negative", "colours", "beyond-64-bits"],
)
def test_labels_of_other_kinds(task):
    frames = []
    for one in label_recording(6, (24, 24)):
        values = one.astype(np.int64)
        if task.channels == 3:
            values = np.stack([values & 255, values >> 8, values % 7], axis=2)
        elif task.channels == 2:
            values = np.stack([values << 40, -values], axis=2)
        else:
            values = values - 40_000
        frames.append(values.astype(task.dtype))
    assert_exact(Av1SeqCodec([task]), frames)


def test_what_stands_still_takes_a_tenth_of_stills():
    frames = label_recording(1, (96, 128)) * 16
    codec = Av1SeqCodec([LABEL])
    stills = make_codec("label-context", [LABEL]).encode_batch(
        [{"label": one} for one in frames], QUALITY
    )
    streams = encoded(codec, frames)
    assert forms_of(streams) == [STILL] + [NEXT] * 15
    assert size_of(streams) - 16 * HEAD < 0.1 * size_of(stills)


def test_what_moves_takes_fewer_bytes_than_stills():
    frames = label_recording(16, (96, 128))
    stills = make_codec("label-context", [LABEL]).encode_batch(
        [{"label": one} for one in frames], QUALITY
    )
    assert size_of(encoded(Av1SeqCodec([LABEL]), frames)) < 0.75 * size_of(stills)


def test_frames_that_have_nothing_in_common_are_stills_that_need_nothing():
    frames = [label_recording(1, (48, 64), seed=at)[0] for at in range(10)]
    stills = make_codec("label-context", [LABEL]).encode_batch(
        [{"label": one} for one in frames], QUALITY
    )
    streams = encoded(Av1SeqCodec([LABEL]), frames)
    assert size_of(streams) <= size_of(stills) + 10 * HEAD
    for one, form in zip(streams, forms_of(streams), strict=True):
        if form == STILL:
            assert GroupHeader.unpack(next(iter(one.values()))).needs == ()


def test_labels_that_come_up_later_have_names():
    first = np.zeros((32, 32), np.uint16)
    first[8:20, 8:20] = 7
    frames = [first.copy() for _ in range(8)]
    for at, frame in enumerate(frames):
        frame[4 : 4 + at, 20:28] = 60_000 + at
    codec = Av1SeqCodec([LABEL])
    streams = encoded(codec, frames)
    assert NEXT in forms_of(streams)
    assert_exact(codec, frames)


def test_labels_are_coded_without_libaom(monkeypatch):
    monkeypatch.setattr(libaom, "is_there", lambda: False)
    assert_exact(Av1SeqCodec([LABEL]), label_recording(3))


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 36), st.integers(1, 36), st.sampled_from([1, 2, 9])
)
@settings(max_examples=20, deadline=None)
def test_the_twin_writes_and_reads_the_same(seed, height, width, count):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, count, (height // 4 + 2, width // 4 + 2))
    wide = np.repeat(np.repeat(small, 4, 0), 4, 1).astype(np.uint16)
    earlier, labels = (
        np.ascontiguousarray(wide[at:, 2 * at :][:height, :width]) for at in range(2)
    )
    noisy = rng.random(labels.shape) < 0.03
    labels[noisy] = rng.integers(0, count, int(noisy.sum()))
    learned = Learned()
    coded = write(labels, earlier, count, learned)
    with _kernels.twins():
        twin = Learned()
        assert np.array_equal(search(labels, earlier), compiled_search(labels, earlier))
        assert write(labels, earlier, count, twin) == coded
        assert np.array_equal(read(coded, earlier, count), labels)
    assert all(np.array_equal(a, b) for a, b in zip(learned.arrays, twin.arrays, strict=True))
    assert np.array_equal(read(coded, earlier, count), labels)


def write(labels, earlier, count, learned):
    encoder = SymbolEncoder()
    encode_track(encoder, labels, earlier, count, learned)
    return encoder.finish()


def read(coded, earlier, count):
    decoder = SymbolDecoder(coded)
    labels = decode_track(decoder, earlier, count, Learned())
    decoder.check_end()
    return labels


def compiled_search(labels, earlier):
    vectors = np.zeros((-(-labels.shape[0] // 16), -(-labels.shape[1] // 16), 2), np.int32)
    if _kernels.built:
        _kernels.compiled.track_search(labels, earlier, vectors)
        return vectors
    return search(labels, earlier)


def test_vectors_say_how_blocks_moved():
    wide = label_recording(1, (120, 120), labels=30)[0]
    vectors = search(wide[20:84, 31:95].copy(), wide[8:72, 0:64].copy())
    assert (vectors[:2, :2] == (12, FARTHEST)).all()


@pytest.mark.usefixtures("both_kernels")
def test_damage_is_named_or_changes_what_needs_it_alone():
    codec = Av1SeqCodec([LABEL])
    frames = label_recording(4, (12, 17))
    coded = codec.encode_group([{"label": frame} for frame in frames], QUALITY)
    lanes = codec.config()["grouped"]
    rng = np.random.default_rng(1)
    for _ in range(60):
        at = int(rng.integers(4))
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
                assert np.array_equal(found, frames[number])


def test_random_bytes_after_a_good_frame_never_raise_anything_else():
    codec = Av1SeqCodec([LABEL])
    [still] = codec.encode_group([{"label": label_recording(1)[0]}], QUALITY)
    key = GroupHeader(2, 0, 0).pack() + own_bytes(still)
    rng = np.random.default_rng(4)
    for length in (0, 1, 2, 3, 7, 8, 40, 400):
        for _ in range(10):
            body = bytes([NEXT, 0]) + rng.bytes(length)
            after = GroupHeader(2, 1, 1, (0,)).pack() + body
            pair = link_all([{"label.t0": key}, {"label.t2": after}], codec.config()["grouped"])
            with pytest.raises(BitstreamError):
                codec.decode_batch(pair[1:], ["label"], PIXELS)


def test_the_same_bytes_in_another_process():
    code = (
        "import hashlib\n"
        "from dsc._codecs.registry import make_codec\n"
        "from dsc._schemas import Quality\n"
        "from tests.codecs.frames import LABEL, label_recording\n"
        "samples = [{'label': frame} for frame in label_recording(5)]\n"
        "out = make_codec('av1-seq', [LABEL]).encode_group(samples, Quality(default=60))\n"
        "print(hashlib.sha256(b''.join(d for one in out for d in one.values())).hexdigest())\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "4"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    streams = encoded(make_codec("av1-seq", [LABEL]), label_recording(5))
    here = hashlib.sha256(b"".join(data for one in streams for data in one.values()))
    assert out == here.hexdigest()


def test_what_is_no_label_map_is_refused():
    with pytest.raises(CodecError, match=r"label.*integers"):
        Av1SeqCodec([Task(name="label", kind=TaskKind.LABEL, dtype="float32")])
