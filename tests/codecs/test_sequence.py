"""`av1-seq`: frames of a recording predicted from one another, any of them decoded by itself."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from dsc._codecs.classical import dav1d
from dsc._codecs.registry import make_codec
from dsc._codecs.sequence import libaom
from dsc._codecs.sequence.codec import Av1SeqCodec
from dsc._codecs.sequence.pictures import quantisers
from dsc._codecs.sequence.units import SIZE, read_header
from dsc._schemas import Access, Effort, Quality, Task, TaskKind, required_streams
from dsc._schemas.group import GroupHeader, link, link_all
from dsc.errors import BitstreamError, CodecError
from tests.codecs.conformance import CodecConformance, damaged, make_sample
from tests.codecs.frames import GRAY, RGB, psnr_db, recording

pytestmark = pytest.mark.skipif(
    not libaom.is_there(), reason="the libaom of this imagecodecs is not known, nothing encodes"
)
PIXELS = 1 << 16
QUALITY = Quality(default=60)


def encoded(codec, frames, quality=QUALITY):
    """Return linked payloads of a group of frames, None for one that is not there."""
    (task,) = codec.tasks
    samples = [{} if frame is None else {task.name: frame} for frame in frames]
    return link_all(codec.encode_group(samples, quality), codec.config()["grouped"])


def decoded(codec, streams):
    (task,) = codec.tasks
    return [one.get(task.name) for one in codec.decode_batch(streams, [task.name], PIXELS)]


def size_of(streams):
    return sum(len(data) for one in streams for data in one.values())


class TestConformance(CodecConformance):
    sees_every_cut = False  # AV1's tiles do not say where they end; the archive's checksums do

    @pytest.fixture
    def codec(self):
        return make_codec("av1-seq", [RGB, GRAY])

    def stream_and_task(self, codec):
        yield from (("rgb.t0", "rgb"), ("gray.t0", "gray"))

    def test_each_task_decodes_from_the_streams_it_requires_alone(self, codec):
        streams = self.encode(codec, make_sample(codec.tasks, self.size))
        assert set(streams) == {"rgb.t0", "gray.t0"}
        for task in codec.tasks:
            needed = required_streams(codec.streams(), [task.name])
            part = {name: streams[name] for name in needed if name in streams}
            (alone,) = codec.decode_batch([part], [task.name], PIXELS)
            assert list(alone) == [task.name]


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("count", [1, 2, 5, 11, 16])
@pytest.mark.parametrize("task", [RGB, GRAY], ids=lambda task: task.name)
def test_each_frame_by_itself_is_what_it_is_among_all(task, count, access):
    codec = Av1SeqCodec([task], access)
    frames = recording(count, channels=task.channels)
    streams = encoded(codec, frames)
    together = decoded(codec, streams)
    assert psnr_db(frames, together) > 29
    for number, one in enumerate(streams):
        [alone] = decoded(codec, [one])
        assert np.array_equal(alone, together[number])
    some = decoded(codec, streams[::-3])
    assert all(np.array_equal(a, b) for a, b in zip(some, together[::-3], strict=True))


def test_libaom_decodes_to_the_same_where_there_is_no_dav1d(monkeypatch):
    for task in (RGB, GRAY):
        codec = Av1SeqCodec([task])
        streams = encoded(codec, recording(6, (33, 47), task.channels))
        wanted = decoded(codec, streams)
        with monkeypatch.context() as patch:
            patch.setattr(dav1d, "version", lambda: None)
            found = decoded(codec, streams)
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_what_moves_takes_fewer_bytes_than_stills():
    frames = recording(16, (96, 128), noise=0.5)
    stills = make_codec("av1", [RGB]).encode_batch([{"rgb": one} for one in frames], QUALITY)
    assert size_of(encoded(Av1SeqCodec([RGB]), frames)) < 0.5 * size_of(stills)


def test_the_streams_of_a_group_are_layers_in_time():
    frames = [*recording(16)]
    streams = encoded(Av1SeqCodec([RGB]), frames)
    assert [next(iter(one)) for one in streams] == [
        "rgb.t0" if at == 0 else "rgb.t1" if at % 4 == 0 else "rgb.t2" for at in range(16)
    ]


def test_frames_may_be_missing_in_a_group():
    frames = recording(12)
    holes = [None if at in (0, 3, 8) else frame for at, frame in enumerate(frames)]
    codec = Av1SeqCodec([RGB])
    streams = encoded(codec, holes)
    found = decoded(codec, streams)
    assert [one is None for one in found] == [one is None for one in holes]
    for number, one in enumerate(streams):
        if one:
            assert np.array_equal(decoded(codec, [one])[0], found[number])


def test_a_size_that_changes_begins_again():
    frames = [*recording(5), *recording(4, (32, 32)), *recording(2)]
    codec = Av1SeqCodec([RGB])
    streams = encoded(codec, frames)
    found = decoded(codec, streams)
    assert [one.shape for one in found] == [one.shape for one in frames]
    assert [at for at, one in enumerate(streams) if "rgb.t0" in one] == [0, 5, 9]
    assert np.array_equal(decoded(codec, streams[7:8])[0], found[7])


def test_frames_of_two_groups_are_not_mistaken_for_one_another():
    codec = Av1SeqCodec([RGB])
    one, two = encoded(codec, recording(4)), encoded(codec, recording(4, seed=9))
    found = decoded(codec, [one[3], two[3], one[2], two[3]])
    wanted = [decoded(codec, [each])[0] for each in (one[3], two[3], one[2], two[3])]
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert found[1] is not found[3]


def test_what_a_frame_needs_and_is_not_there_is_named():
    codec = Av1SeqCodec([RGB])
    streams = encoded(codec, recording(4))
    bare = {name: bytes(data) for name, data in streams[3].items()}
    with pytest.raises(BitstreamError, match="sample 0 of its group, which it needs"):
        codec.decode_batch([bare], ["rgb"], PIXELS)


def test_the_same_bytes_in_another_process_and_with_other_threads():
    code = (
        "import hashlib\n"
        "from dsc._codecs.registry import make_codec\n"
        "from dsc._schemas import Quality\n"
        "from tests.codecs.frames import RGB, recording\n"
        "samples = [{'rgb': frame} for frame in recording(5)]\n"
        "out = make_codec('av1-seq', [RGB]).encode_group(samples, Quality(default=60))\n"
        "print(hashlib.sha256(b''.join(d for one in out for d in one.values())).hexdigest())\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for threads in ("1", "4")
    }
    streams = encoded(make_codec("av1-seq", [RGB]), recording(5))
    here = hashlib.sha256(b"".join(data for one in streams for data in one.values()))
    assert found == {here.hexdigest()}


def test_a_flipped_bit_is_named_or_changes_what_needs_it_alone():
    codec = Av1SeqCodec([RGB])
    coded = codec.encode_group([{"rgb": frame} for frame in recording(8)], QUALITY)
    lanes = codec.config()["grouped"]
    wanted = decoded(codec, link_all(coded, lanes))
    rng = np.random.default_rng(1)
    for _ in range(300):
        at = int(rng.integers(8))
        [(name, data)] = coded[at].items()
        bit = int(rng.integers(8 * len(data)))
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        changed = [*coded[:at], {name: bytes(broken)}, *coded[at + 1 :]]
        for number, one in enumerate(link_all(changed, lanes)):
            needs = GroupHeader.unpack(next(iter(coded[number].values()))).needs
            try:
                [found] = decoded(codec, [one])
            except BitstreamError:
                assert number == at or at in needs or bit < 40, (at, bit, number)
                continue
            assert found.shape == wanted[number].shape
            if number != at and at not in needs:
                assert np.array_equal(found, wanted[number]), (at, bit, number)


def test_random_bytes_after_a_good_key_never_raise_anything_else():
    codec = Av1SeqCodec([RGB])
    coded = codec.encode_group([{"rgb": frame} for frame in recording(2)], QUALITY)
    key, after = coded[0]["rgb.t0"], coded[1]["rgb.t2"]
    for broken in damaged(after, np.random.default_rng(2), 100):
        payload = link(broken, 1, {0: key}.get)
        try:
            [found] = decoded(codec, [{"rgb.t2": payload}])
        except BitstreamError:
            continue
        assert found.shape == (48, 64, 3)


def test_headers_that_lie_are_named():
    codec = Av1SeqCodec([RGB])
    coded = codec.encode_group([{"rgb": frame} for frame in recording(2)], QUALITY)
    key, after = coded[0]["rgb.t0"], coded[1]["rgb.t2"]
    size = GroupHeader.unpack(key).size
    wide = key[: size + 3] + b"\xff\xff" + key[size + 5 :]
    with pytest.raises(BitstreamError, match="65535"):
        codec.decode_batch([{"rgb.t0": wide}], ["rgb"], PIXELS)
    larger = key[: size + 3] + b"\x41\x00" + key[size + 5 :]
    with pytest.raises(BitstreamError, match="expected 48×65"):
        codec.decode_batch([{"rgb.t0": larger}], ["rgb"], PIXELS)
    alone = GroupHeader(2, 1, 1).pack() + after[size:]
    with pytest.raises(BitstreamError, match="no key frame"):
        codec.decode_batch([{"rgb.t2": alone}], ["rgb"], PIXELS)
    cycle = GroupHeader(2, 0, 0, (1,)).pack() + key[size:]
    with pytest.raises(BitstreamError, match="cannot be decoded"):
        decoded(codec, link_all([{"rgb.t0": cycle}, {"rgb.t2": after}], [("rgb.t0", "rgb.t2")]))
    with pytest.raises(BitstreamError, match="no frame"):
        codec.decode_batch([{"rgb.t0": key[:size] + b"\x07"}], ["rgb"], PIXELS)


@pytest.mark.parametrize(
    ("task", "word"),
    [
        (Task(name="deep", kind=TaskKind.IMAGE, dtype="uint16", channels=1), "av1"),
        (Task(name="ids", kind=TaskKind.IMAGE, dtype="uint8", channels=1, exact=True), "exact"),
        (Task(name="pose", kind=TaskKind.VECTOR, dtype="float32", channels=7), "plain"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_what_cannot_be_coded_is_refused_with_what_can(task, word):
    with pytest.raises(CodecError, match=f"{task.name}.*{word}"):
        Av1SeqCodec([task])


def test_without_libaom_encoding_is_refused_and_decoding_works(monkeypatch):
    codec = Av1SeqCodec([RGB])
    streams = encoded(codec, recording(2))
    monkeypatch.setattr(libaom, "is_there", lambda: False)
    assert len(decoded(codec, streams)) == 2
    with pytest.raises(CodecError, match=r"rgb.*imagecodecs brings no libaom"):
        encoded(codec, recording(2))


def test_access_and_effort_stand_in_the_configuration():
    codec = Av1SeqCodec([RGB], Access.TREE).at_effort(Effort.FAST)
    again = Av1SeqCodec.from_config(codec.config(), None)
    assert (again.access, again.effort) == (Access.TREE, Effort.FAST)
    assert "access" not in Av1SeqCodec([RGB]).config()
    with pytest.raises(CodecError, match="access 'star' is none of tree, balanced"):
        Av1SeqCodec.from_config({**codec.config(), "access": "star"}, None)


def test_noise_is_coded_as_pictures():
    rng = np.random.default_rng(3)
    frames = [rng.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(16)]
    stills = make_codec("av1", [RGB]).encode_batch([{"rgb": one} for one in frames], QUALITY)
    streams = encoded(Av1SeqCodec([RGB]), frames)
    assert size_of(streams) <= 1.01 * size_of(stills)
    assert all(not GroupHeader.unpack(next(iter(one.values()))).needs for one in streams)
    found = decoded(make_codec("av1", [RGB]), stills)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(decoded(Av1SeqCodec([RGB]), streams), found, strict=True)
    )


def test_noisy_frames_are_never_much_larger_than_pictures():
    for noise in (4, 12, 30):
        frames = recording(8, (96, 128), noise=noise)
        stills = make_codec("av1", [RGB]).encode_batch([{"rgb": one} for one in frames], QUALITY)
        streams = encoded(Av1SeqCodec([RGB]), frames)
        gain = psnr_db(frames, decoded(make_codec("av1", [RGB]), stills)) - psnr_db(
            frames, decoded(Av1SeqCodec([RGB]), streams)
        )
        assert size_of(streams) <= 1.01 * size_of(stills) * np.exp(-0.15 * gain)


def test_a_quality_of_100_is_without_loss_as_far_as_av1_is():
    frames = recording(3)
    stills = make_codec("av1", [RGB]).encode_batch(
        [{"rgb": one} for one in frames], Quality(default=100)
    )
    streams = encoded(Av1SeqCodec([RGB]), frames, Quality(default=100))
    wanted = decoded(make_codec("av1", [RGB]), stills)
    found = decoded(Av1SeqCodec([RGB]), streams)
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("access", list(Access))
def test_a_better_quality_never_has_coarser_steps(access):
    for quality in range(1, 99):
        lower, higher = quantisers(quality, access), quantisers(quality + 1, access)
        assert all(1 <= b <= a <= 63 for a, b in zip(lower, higher, strict=True))
        assert list(lower) == sorted(lower)


def test_no_frame_is_larger_than_its_recording() -> None:
    """A frame may state a size of its own, for which dav1d would make room before it is asked."""
    payload = Av1SeqCodec([RGB]).encode_group(
        [{"rgb": frame} for frame in recording(2, (16, 16))], QUALITY
    )
    [data] = payload[0].values()
    body = data[GroupHeader.unpack(data).size :]
    *_, length = SIZE.unpack_from(body, 1)
    first = 1 + SIZE.size
    header = "".join(f"{byte:08b}" for byte in body[first : first + length])
    assert header[29:45] == "0011001111111111"  # bits of both, and 16×16 pixels
    wide = header[:29] + "1110" * 2 + f"{15:015b}" * 2 + header[45:]
    wide += "0" * (-len(wide) % 8)
    with pytest.raises(ValueError, match="16×16 pixels, in 15 and 15 bits"):
        read_header(int(wide, 2).to_bytes(len(wide) // 8, "big"))
    assert read_header(body[first : first + length]).width == 16
