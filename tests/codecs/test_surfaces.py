"""Depth and normals as surfaces within labels, and what each falls back to."""

import hashlib
import json
from contextlib import nullcontext

import numpy as np
import pytest

from dsc import _kernels
from dsc._codecs.base import JointCodec
from dsc._codecs.registry import codec_from_config, make_codec
from dsc._codecs.surfaces import encoding
from dsc._codecs.surfaces.children import Way, shortest
from dsc._codecs.surfaces.codec import SurfacesCodec
from dsc._codecs.surfaces.encoding import FLAGS, FORMS, OWN, WHOLE
from dsc._codecs.surfaces.partition import Partition
from dsc._renderer.clevr import render_clevr
from dsc._renderer.render import render_view
from dsc._schemas import Effort, Quality, Task, TaskKind, required_streams
from dsc.errors import BitstreamError, CodecError
from tests.codecs.conformance import CodecConformance
from tests.places import ROOT

DEPTH = Task(
    name="depth_zbuffer", kind=TaskKind.DEPTH, dtype="uint16", unit_m=1 / 512, invalid=(65535,)
)
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
LABEL = Task(name="segment_semantic", kind=TaskKind.LABEL, dtype="uint8")
INSTANCE = Task(name="instance", kind=TaskKind.LABEL, dtype="int32")
TASKS = (DEPTH, NORMAL, LABEL)
NAMES = [task.name for task in TASKS]
OWN_CODEC = {
    "depth_zbuffer": "av1",
    "normal": "normal-palette",
    "segment_semantic": "label-context",
}
GOLDEN = ROOT / "tests" / "golden" / "surfaces"
Sample = dict[str, np.ndarray]


class OwnStreams(CodecConformance):
    """Samples of noise, which fall back: tasks are then read without ``geometry``."""

    sizes = (*CodecConformance.sizes, (3, 200))
    sees_every_cut = False  # as `av1`

    def stream_and_task(self, codec):
        return ((task.name, task.name) for task in codec.tasks)


class TestSurfaces(OwnStreams):
    @pytest.fixture
    def codec(self):
        return make_codec("surfaces", TASKS)


class TestSurfacesScan(OwnStreams):
    @pytest.fixture
    def codec(self):
        return make_codec("surfaces-scan", TASKS)


class TestSurfacesWithoutLabels(OwnStreams):
    @pytest.fixture
    def codec(self):
        plain = NORMAL.model_copy(update={"invalid": ()})
        return make_codec("surfaces", [DEPTH, plain])


def view(index: int, size: int = 128) -> Sample:
    found = render_view(index, size)
    return {name: found[name] for name in NAMES}


def encode(
    sample: Sample, quality: int = 60, codec: SurfacesCodec | None = None
) -> dict[str, bytes]:
    codec = codec or make_codec("surfaces", TASKS)
    return codec.encode_batch([sample], Quality(default=quality))[0]


def decode(streams: dict[str, bytes], names=NAMES, max_pixels: int = 1 << 20) -> Sample:
    return make_codec("surfaces", TASKS).decode_batch([streams], names, max_pixels)[0]


def alone(codec_id: str, task: Task, sample: Sample, quality: int) -> tuple[bytes, np.ndarray]:
    codec = make_codec(codec_id, [task])
    (streams,) = codec.encode_batch([sample], Quality(default=quality))
    (decoded,) = codec.decode_batch([streams], [task.name], 1 << 20)
    return streams[task.name], decoded[task.name]


def errors(task: Task, original: np.ndarray, decoded: np.ndarray) -> tuple[float, float]:
    """Mean and root mean square of the relative error, or of the angle in radians."""
    valid = ~task.invalid_mask(original)
    if task is DEPTH:
        exact = original[valid].astype(np.float64)
        error = np.abs(decoded[valid] - exact) / exact
    else:
        first, second = (
            (2.0 * array[valid] - 255) / np.linalg.norm(2.0 * array[valid] - 255, axis=1)[:, None]
            for array in (original, decoded)
        )
        error = 2 * np.arcsin(np.clip(np.linalg.norm(first - second, axis=1) / 2, 0, 1))
    return float(error.mean()), float(np.sqrt((error**2).mean()))


@pytest.mark.parametrize(("quality", "share"), [(30, 0.75), (60, 0.6)])
def test_rooms_take_fewer_bytes_at_no_larger_error(quality: int, share: float) -> None:
    ours, theirs = 0, 0
    for index in (0, 7):
        sample = view(index, 192)
        streams = encode(sample, quality)
        decoded = decode(streams)
        assert np.array_equal(decoded["segment_semantic"], sample["segment_semantic"])
        for task in (DEPTH, NORMAL):
            found = errors(task, sample[task.name], decoded[task.name])
            picture = alone("av1", task, sample, quality)[1]
            allowed = errors(task, sample[task.name], picture)
            assert all(a <= b * 1.001 + 1e-7 for a, b in zip(found, allowed, strict=True))
            holes = task.invalid_mask(sample[task.name])
            assert np.array_equal(task.invalid_mask(decoded[task.name]), holes)
        ours += sum(map(len, streams.values()))
        theirs += sum(len(alone(OWN_CODEC[task.name], task, sample, quality)[0]) for task in TASKS)
    assert ours < share * theirs


@pytest.mark.parametrize("index", [0, 7])
def test_without_weights_they_take_few_bytes_more(index: int) -> None:
    sample, sizes = view(index, 192), {}
    for word in ("surfaces", "surfaces-scan"):
        codec = make_codec(word, TASKS)
        streams = encode(sample, codec=codec)
        again = codec_from_config(word, codec.config(), codec.weights())
        (decoded,) = again.decode_batch([streams], NAMES, 1 << 20)
        assert np.array_equal(decoded["segment_semantic"], sample["segment_semantic"])
        assert streams["depth_zbuffer"][0] != OWN != streams["normal"][0]
        for task in (DEPTH, NORMAL):
            found = errors(task, sample[task.name], decoded[task.name])
            allowed = errors(task, sample[task.name], alone("av1", task, sample, 60)[1])
            assert all(a <= b * 1.001 + 1e-7 for a, b in zip(found, allowed, strict=True))
        sizes[word] = sum(map(len, streams.values()))
    assert codec.weights() is None
    assert sizes["surfaces-scan"] < 1.2 * sizes["surfaces"]


def test_without_weights_what_the_network_wrote_is_refused() -> None:
    sample = view(0)
    streams = encode(sample, codec=make_codec("surfaces-scan", TASKS))
    geometry = bytes([streams["geometry"][0] & 0x3F]) + streams["geometry"][1:]
    with pytest.raises(BitstreamError, match="by the network takes a model file"):
        make_codec("surfaces-scan", TASKS).decode_batch(
            [{**streams, "geometry": geometry}], ["depth_zbuffer"], 1 << 20
        )


def test_spheres_and_cylinders_are_curves() -> None:
    sample = {name: render_clevr(3, 128, 0, ())[name] for name in NAMES}
    streams = encode(sample)
    assert streams["normal"][0] != OWN
    picture = alone("av1", NORMAL, sample, 60)[0]
    assert len(streams["normal"]) < 0.4 * len(picture)


def test_each_task_is_read_with_what_it_requires_alone() -> None:
    sample, codec = view(0), make_codec("surfaces", TASKS)
    streams = encode(sample)
    whole = decode(streams)
    for name in NAMES:
        needed = required_streams(codec.streams(), [name])
        part = decode({stream: streams[stream] for stream in needed}, [name])
        assert np.array_equal(part[name], whole[name])
    assert list(required_streams(codec.streams(), ["segment_semantic"])) == ["segment_semantic"]
    assert streams["depth_zbuffer"][0] == WHOLE
    assert streams["normal"][0] > WHOLE


def test_noise_falls_back_to_each_tasks_own_codec() -> None:
    rng = np.random.default_rng(3)
    sample = {
        "depth_zbuffer": rng.integers(500, 3000, (48, 64)).astype(np.uint16),
        "normal": rng.integers(0, 256, (48, 64, 3)).astype(np.uint8),
        "segment_semantic": rng.integers(0, 9, (48, 64)).astype(np.uint8),
    }
    streams = encode(sample)
    assert streams["geometry"] == b""
    for task in TASKS:
        own = alone(OWN_CODEC[task.name], task, sample, 60)[0]
        form = b"" if task is LABEL else bytes([OWN])
        assert streams[task.name] == form + own


def test_own_streams_are_read_without_the_others() -> None:
    sample = view(0)
    noise = np.random.default_rng(0).integers(500, 3000, (128, 128)).astype(np.uint16)
    streams = encode({**sample, "depth_zbuffer": noise})
    assert streams["depth_zbuffer"][0] == OWN
    assert streams["normal"][0] != OWN
    (decoded,) = make_codec("surfaces", TASKS).decode_batch(
        [{"depth_zbuffer": streams["depth_zbuffer"]}], ["depth_zbuffer"], 1 << 20
    )
    assert decoded["depth_zbuffer"].shape == noise.shape


@pytest.mark.parametrize("lacking", NAMES)
def test_a_sample_may_lack_a_task(lacking: str) -> None:
    sample = {name: array for name, array in view(0).items() if name != lacking}
    streams = encode(sample)
    assert set(streams) == {*sample, "geometry"}
    decoded = decode(streams)
    assert set(decoded) == set(sample)
    if lacking != "segment_semantic":
        assert np.array_equal(decoded["segment_semantic"], sample["segment_semantic"])
    alone_is = {name: sample[name] for name in list(sample)[:1]}
    assert set(decode(encode(alone_is))) == set(alone_is)


def test_nothing_gives_no_streams() -> None:
    assert encode({}) == {}


def test_tasks_may_differ_in_size() -> None:
    sample = view(0)
    smaller = {**sample, "segment_semantic": sample["segment_semantic"][::2, ::2].copy()}
    streams = encode(smaller)
    assert streams["normal"][0] != OWN  # without the labels
    decoded = decode(streams)
    assert np.array_equal(decoded["segment_semantic"], smaller["segment_semantic"])
    streams = encode({**sample, "normal": sample["normal"][:64].copy()})
    assert streams["geometry"] == b""
    assert decode(streams)["normal"].shape == (64, 128, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 200), (127, 31)])
def test_narrow_and_odd_maps_come_back_as_surfaces(size: tuple[int, int]) -> None:
    rows, columns = np.indices(size)
    left = columns < size[1] // 2
    sample = {
        "depth_zbuffer": np.where(left, 700, 1500 + 2 * rows).astype(np.uint16),
        "normal": np.where(left[..., None], (0, 128, 128), (128, 255, 128)).astype(np.uint8),
        "segment_semantic": np.where(left, 3, 9).astype(np.uint8),
    }
    streams = encode(sample, 30)
    assert streams["normal"][0] != OWN
    decoded = decode(streams)
    assert np.array_equal(decoded["segment_semantic"], sample["segment_semantic"])
    for task in (DEPTH, NORMAL):
        picture = alone("av1", task, sample, 30)[1]
        allowed = errors(task, sample[task.name], picture)
        found = errors(task, sample[task.name], decoded[task.name])
        assert all(a <= b * 1.001 + 1e-7 for a, b in zip(found, allowed, strict=True))


@pytest.mark.parametrize("pair", [(DEPTH, NORMAL), (DEPTH, LABEL), (NORMAL, LABEL)])
def test_two_of_three_tasks_share_surfaces(pair: tuple[Task, Task]) -> None:
    sample = view(7, 96)
    codec = make_codec("surfaces", pair)
    given = {task.name: sample[task.name] for task in pair}
    (streams,) = codec.encode_batch([given], Quality(default=60))
    geometric = [task for task in pair if task is not LABEL]
    assert any(streams[task.name][0] != OWN for task in geometric)
    assert sum(map(len, streams.values())) <= 2 + sum(
        len(alone(OWN_CODEC[task.name], task, sample, 60)[0]) for task in pair
    )
    names = [task.name for task in pair]
    (decoded,) = codec.decode_batch([streams], names, 1 << 20)
    for task in geometric:
        found = errors(task, sample[task.name], decoded[task.name])
        allowed = errors(task, sample[task.name], alone("av1", task, sample, 60)[1])
        assert all(a <= b * 1.001 + 1e-7 for a, b in zip(found, allowed, strict=True))
    if LABEL in pair:
        assert np.array_equal(decoded[LABEL.name], sample[LABEL.name])


@pytest.mark.parametrize("nothing", [(DEPTH,), (NORMAL,), (DEPTH, NORMAL)])
def test_nothing_anywhere_in_a_map_leaves_the_others_surfaces(nothing: tuple[Task, ...]) -> None:
    sample = view(0, 96)
    for task in nothing:
        sample[task.name] = np.full_like(sample[task.name], task.invalid[0])
    streams = encode(sample)
    decoded = decode(streams)
    for task in (DEPTH, NORMAL):
        holes = task.invalid_mask(sample[task.name])
        assert np.array_equal(task.invalid_mask(decoded[task.name]), holes)
    assert np.array_equal(decoded["segment_semantic"], sample["segment_semantic"])
    if nothing == (DEPTH,):
        assert streams["normal"][0] != OWN


def test_labels_of_more_values_than_a_partition_has_fall_back() -> None:
    size = 264  # 69,696 pixels, each with a label of its own
    labels = np.arange(size * size, dtype=np.int32).reshape(size, size)
    sample = {**view(0, size), "instance": labels}
    codec = make_codec("surfaces", [DEPTH, NORMAL, INSTANCE])
    given = {task.name: sample[task.name] for task in codec.tasks}
    (streams,) = codec.encode_batch([given], Quality(default=30))
    assert streams["geometry"] == b""
    assert streams["depth_zbuffer"][0] == streams["normal"][0] == OWN
    (decoded,) = codec.decode_batch([streams], list(given), 1 << 20)
    assert np.array_equal(decoded["instance"], labels)


def test_no_sample_takes_more_than_its_own_codecs_and_a_byte_a_task() -> None:
    rng = np.random.default_rng(5)
    for index in range(3):
        sample = view(index, 64)
        noise = rng.normal(0, 30 * index, (64, 64)).astype(np.int64)
        sample["depth_zbuffer"] = (sample["depth_zbuffer"] + noise).clip(1, 65000).astype(np.uint16)
        sample["normal"] = (sample["normal"] + rng.integers(0, 1 + index, (64, 64, 3))).clip(0, 255)
        sample["normal"] = sample["normal"].astype(np.uint8)
        own = [len(alone(OWN_CODEC[task.name], task, sample, 60)[0]) for task in TASKS]
        assert sum(map(len, encode(sample).values())) <= sum(own) + 2


def test_several_label_maps_take_part() -> None:
    sample = view(7)
    instance = sample["segment_semantic"].astype(np.int32) * 1000 - 5
    instance[:, 64:] += 100_000
    codec = make_codec("surfaces", [*TASKS, INSTANCE])
    (streams,) = codec.encode_batch([{**sample, "instance": instance}], Quality(default=60))
    assert streams["geometry"][0] & 0b11_1111 == 0b11
    names = [task.name for task in codec.tasks]
    (decoded,) = codec.decode_batch([streams], names, 1 << 20)
    assert np.array_equal(decoded["instance"], instance)
    cut = {name: data for name, data in streams.items() if name != "instance"}
    with pytest.raises(BitstreamError, match="instance is missing"):
        codec.decode_batch([cut], ["normal"], 1 << 20)


def test_holes_come_back_and_tasks_may_have_holes_of_their_own() -> None:
    sample = view(0)
    sample["depth_zbuffer"][20:50, 30:70] = 65535
    sample["normal"][40:80, 60:90] = 127
    streams = encode(sample)
    decoded = decode(streams)
    for task in (DEPTH, NORMAL):
        holes = task.invalid_mask(sample[task.name])
        assert np.array_equal(task.invalid_mask(decoded[task.name]), holes)
    assert streams["normal"][0] > WHOLE


def test_what_is_missing_or_too_large_is_refused() -> None:
    streams = encode(view(0))
    for name in ("geometry", "segment_semantic"):
        cut = {stream: data for stream, data in streams.items() if stream != name}
        with pytest.raises(BitstreamError, match=name):
            decode(cut, ["normal"])
    with pytest.raises(BitstreamError, match="at most 100"):
        decode(streams, ["depth_zbuffer"], max_pixels=100)
    with pytest.raises(BitstreamError, match="geometry"):
        decode({**streams, "geometry": b""}, ["depth_zbuffer"])
    with pytest.raises(BitstreamError, match="unknown form"):
        decode({**streams, "depth_zbuffer": b"\x02" + streams["depth_zbuffer"][1:]})


@pytest.mark.parametrize("way", list(Way))
def test_a_finer_partition_comes_in_any_way(way: Way, monkeypatch) -> None:
    sample = view(0)
    usual = encode(sample)

    def one_way(model, levels, finer, ways):
        return shortest(model, levels, finer, [way])

    monkeypatch.setattr(encoding, "shortest", one_way)
    streams = encode(sample)
    assert streams["normal"][0] == FORMS[way]
    assert streams["geometry"][0] == 1 | FLAGS[way]
    assert sum(map(len, streams.values())) >= sum(map(len, usual.values()))
    decoded = decode(streams)
    for task in (DEPTH, NORMAL):
        allowed = errors(task, sample[task.name], alone("av1", task, sample, 60)[1])
        ours = errors(task, sample[task.name], decoded[task.name])
        assert all(a <= b * 1.001 + 1e-7 for a, b in zip(ours, allowed, strict=True))
    if way is not Way.NETWORK:
        with pytest.raises(BitstreamError):
            decode({**streams, "geometry": streams["geometry"][:-4]})


def test_seven_label_maps_leave_no_flag_for_one_way() -> None:
    more = [LABEL.model_copy(update={"name": f"label{n}"}) for n in range(7)]
    codec, sample = make_codec("surfaces", [DEPTH, NORMAL, *more]), view(0, 96)
    given = {task.name: sample["segment_semantic"] for task in more}
    given |= {"depth_zbuffer": sample["depth_zbuffer"], "normal": sample["normal"]}
    (streams,) = codec.encode_batch([given], Quality(default=60))
    assert streams["geometry"][0] & 0x7F == 0x7F
    (decoded,) = codec.decode_batch([streams], list(given), 1 << 20)
    assert all(np.array_equal(decoded[task.name], given[task.name]) for task in more)
    for task in (DEPTH, NORMAL):
        allowed = errors(task, sample[task.name], alone("av1", task, sample, 60)[1])
        ours = errors(task, sample[task.name], decoded[task.name])
        assert all(a <= b * 1.001 + 1e-7 for a, b in zip(ours, allowed, strict=True))
    of_one = encode(sample)
    with pytest.raises(BitstreamError, match="label maps"):
        decode({**of_one, "geometry": b"\xc1" + of_one["geometry"][1:]})


def test_kernels_and_their_twins_agree() -> None:
    sample = view(22, 96)
    streams = encode(sample)
    decoded = decode(streams)
    with _kernels.twins():
        other = decode(streams)
    for name in NAMES:
        assert np.array_equal(decoded[name], other[name])
    ids = np.random.default_rng(0).integers(0, 7, (13, 29)).astype(np.uint16)
    ids.ravel()[:7] = np.arange(7)
    children = (np.arange(13 * 29) % 5).reshape(13, 29).astype(np.uint16)
    made = []
    for way in (nullcontext, _kernels.twins):
        with way():
            made.append((Partition(ids, 7).boxes(), Partition(ids, 7).refined(children)))
    assert np.array_equal(made[0][0], made[1][0])
    assert np.array_equal(made[0][1].ids, made[1][1].ids)
    assert made[0][1].count == made[1][1].count == len(np.unique(ids * 5 + children))


def test_efforts_are_written_down() -> None:
    codec = make_codec("surfaces", TASKS).at_effort(Effort.FAST)
    again = codec_from_config("surfaces", codec.config(), codec.weights())
    assert again.effort is Effort.FAST
    sample = view(0, 64)
    assert encode(sample, codec=codec) == encode(sample, codec=again)
    with pytest.raises(CodecError, match="effort 'slow'"):
        codec_from_config("surfaces", {**codec.config(), "effort": "slow"}, codec.weights())


def test_tasks_that_make_no_surfaces_are_refused() -> None:
    assert isinstance(SurfacesCodec, JointCodec)
    rgb = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
    other = DEPTH.model_copy(update={"name": "depth_euclidean"})
    assert SurfacesCodec.supported([rgb, DEPTH, other, NORMAL, LABEL]) == (DEPTH, NORMAL, LABEL)
    assert SurfacesCodec.supported([rgb, DEPTH]) == ()
    assert SurfacesCodec.supported([LABEL, INSTANCE]) == ()
    for tasks in ([DEPTH], [LABEL, INSTANCE], [DEPTH, rgb], [DEPTH, other]):
        with pytest.raises(CodecError, match="two or more maps"):
            make_codec("surfaces", tasks)


def test_damage_is_refused_or_gives_what_was_asked_for() -> None:
    streams = encode(view(7, 64))
    rng = np.random.default_rng(17)
    refused = 0
    for round_ in range(150 if _kernels.in_use() else 15):
        name = ("geometry", "depth_zbuffer", "normal", "segment_semantic")[round_ % 4]
        changed = bytearray(streams[name])
        for _ in range(int(rng.integers(1, 4))):
            changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
        if round_ % 5 == 0:
            changed = changed[: int(rng.integers(len(changed)))]
        try:
            found = decode({**streams, name: bytes(changed)}, max_pixels=64 * 64)
        except BitstreamError:
            refused += 1
        else:
            assert found["depth_zbuffer"].dtype == np.uint16
            assert found["normal"].shape[2:] == (3,)
    assert refused > 55 * (150 if _kernels.in_use() else 15) / 100


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.json")))
def test_golden_bitstreams_decode_to_what_they_did(name: str) -> None:
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    codec = codec_from_config(
        "surfaces", expected["config"], make_codec("surfaces", TASKS).weights()
    )
    streams = {
        stream: (GOLDEN / f"{name}.{stream}.bin").read_bytes() for stream in expected["streams"]
    }
    (decoded,) = codec.decode_batch([streams], list(expected["sha256"]), 1 << 20)
    for task, wanted in expected["sha256"].items():
        assert hashlib.sha256(decoded[task].tobytes()).hexdigest() == wanted, task
