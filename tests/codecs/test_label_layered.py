"""`label-layered`: a quarter of the side first, then every value, in about the bytes of one map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dsc
from dsc._codecs.base import Codec
from dsc._codecs.label import layered
from dsc._codecs.label.layered import LabelLayeredCodec, Tag
from dsc._codecs.label.scan import END
from dsc._codecs.registry import codec_from_config, make_codec
from dsc._schemas import Effort, Quality, Task
from dsc.errors import BitstreamError, CodecError
from tests.cli.conftest import run_dsc
from tests.codecs.conformance import CodecConformance
from tests.codecs.test_classical import COLOURS, DEPTH, LABEL, LABEL16
from tests.codecs.test_label_codec import IDS, WIDE_COLOURS, blobs

SIZES = ((1, 1), (1, 9), (2, 2), (3, 4), (4, 4), (5, 8), (33, 2), (64, 48), (17, 129))


class TestLabelLayered(CodecConformance):
    sees_every_cut = False  # a map that is coded whole needs no more of the first than its head

    @pytest.fixture(
        params=[(LABEL,), (LABEL16, COLOURS), (IDS,), (WIDE_COLOURS,)],
        ids=lambda tasks: tasks[0].name,
    )
    def codec(self, request: pytest.FixtureRequest) -> Codec:
        return make_codec("label-layered", request.param)


def encode(task: Task, array: np.ndarray, effort: Effort = Effort.DEFAULT) -> dict[str, bytes]:
    codec = LabelLayeredCodec.for_tasks([task]).at_effort(effort)
    return codec.encode_batch([{task.name: array}], Quality())[0]


def decode(task: Task, streams: dict[str, bytes], most: int = 1 << 24) -> np.ndarray:
    codec = LabelLayeredCodec.for_tasks([task])
    names = [name for name in streams if streams[name] is not None]
    decoder = codec if len(names) == 2 else codec.from_streams(names)
    return decoder.decode_batch([streams], [task.name], most)[0][task.name]


def first(streams: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in streams.items() if name.endswith(".0")}


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("effort", list(Effort))
def test_both_levels_come_back(size: tuple[int, int], effort: Effort) -> None:
    array = blobs(*size, 7).astype(LABEL.dtype)
    streams = encode(LABEL, array, effort)
    assert np.array_equal(decode(LABEL, streams), array)
    assert np.array_equal(decode(LABEL, first(streams)), array[::4, ::4])


@pytest.mark.parametrize("kind", ["constant", "noise", "stripes"])
def test_what_is_no_label_map_comes_back_too(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 52)).astype(np.uint8)
    stripes = np.tile(np.arange(52, dtype=np.uint8) % 7, (40, 1))
    array = {"constant": np.full((40, 52), 9, np.uint8), "noise": noise, "stripes": stripes}[kind]
    streams = encode(LABEL, array)
    assert kind == "constant" or streams[f"{LABEL.name}.1"][0] == Tag.WHOLE
    assert np.array_equal(decode(LABEL, streams), array)
    assert np.array_equal(decode(LABEL, first(streams)), array[::4, ::4])


def test_levels_take_about_the_bytes_of_one_stream() -> None:
    array = blobs(240, 320, 30).astype(np.uint8)
    streams = encode(LABEL, array)
    assert streams[f"{LABEL.name}.1"][0] == Tag.LEVEL
    (whole,) = make_codec("label-context", [LABEL]).encode_batch([{LABEL.name: array}], Quality())
    assert (
        sum(map(len, streams.values())) <= len(whole[LABEL.name]) + 24
    )  # heads, and ends of words
    assert len(streams[f"{LABEL.name}.0"]) < 0.7 * len(whole[LABEL.name])


def test_labels_that_are_finer_than_the_first_level_get_their_names() -> None:
    array = np.zeros((32, 32), np.int32)
    array[1, 1], array[2, 3], array[30, 30] = -5, 1 << 20, 7
    streams = encode(IDS, array)
    assert np.array_equal(decode(IDS, streams), array)
    assert not decode(IDS, first(streams)).any()


def test_the_configuration_says_that_there_are_levels() -> None:
    codec = LabelLayeredCodec.for_tasks([LABEL]).at_effort(Effort.BEST)
    assert codec.config()["prefixes"] is True
    again = codec_from_config("label-layered", codec.config(), codec.weights())
    assert again.config() == codec.config()
    assert [stream.requires for stream in again.streams()] == [(), (f"{LABEL.name}.0",)]


def test_other_tasks_are_refused() -> None:
    with pytest.raises(CodecError, match="codes label maps, not depth tasks"):
        make_codec("label-layered", [DEPTH])


@pytest.mark.usefixtures("both_kernels")
@settings(deadline=None, max_examples=60)
@given(
    stream=st.sampled_from("01"), cut=st.floats(0, 1), bit=st.integers(0, 7), flips=st.booleans()
)
def test_damage_is_an_error_or_a_map(stream: str, cut: float, bit: int, flips: bool) -> None:
    streams = dict(encode(LABEL, blobs(40, 60, 9).astype(np.uint8)))
    name = f"{LABEL.name}.{stream}"
    data = bytearray(streams[name])
    at = int(cut * (len(data) - 1))
    if flips:
        data[at] ^= 1 << bit
    else:
        del data[at:]
    streams[name] = bytes(data)
    for given_streams in (streams, first(streams)):
        try:
            found = decode(LABEL, given_streams, 40 * 60)
        except BitstreamError:
            continue
        assert found.size <= 40 * 60


def test_a_level_that_is_not_there_is_damage() -> None:
    streams = encode(LABEL, blobs(40, 60, 9).astype(np.uint8))
    codec = LabelLayeredCodec.for_tasks([LABEL])
    for lacking in streams:
        left = {name: data for name, data in streams.items() if name != lacking}
        with pytest.raises(BitstreamError, match=f"stream {lacking} is required and not here"):
            codec.decode_batch([left], [LABEL.name], 1 << 20)


def test_streams_of_two_ways_of_coding_are_damage() -> None:
    blobby = encode(LABEL, blobs(40, 60, 9).astype(np.uint8))
    noisy = encode(LABEL, np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8))
    coarse, fine = f"{LABEL.name}.0", f"{LABEL.name}.1"
    assert blobby[fine][0] != noisy[fine][0]
    for one, other in ((blobby, noisy), (noisy, blobby)):
        with pytest.raises(BitstreamError, match="the streams are not of one map"):
            decode(LABEL, {coarse: one[coarse], fine: other[fine]})


def test_words_without_their_end_are_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layered, "END", END ^ 1)
    streams = encode(LABEL, blobs(40, 60, 9).astype(np.uint8))
    monkeypatch.undo()
    with pytest.raises(BitstreamError, match="no mark of the end"):
        decode(LABEL, streams)


def test_of_too_many_pixels_nothing_is_allocated() -> None:
    streams = encode(LABEL, blobs(40, 60, 9).astype(np.uint8))
    for given_streams in (streams, first(streams)):
        with pytest.raises(BitstreamError, match="40×60 pixels, at most 2000"):
            decode(LABEL, given_streams, 2000)


def test_an_archive_has_a_coarse_map_of_every_task(tmp_path) -> None:
    tasks = ("rgb", "depth_zbuffer", "segment_semantic")
    codecs = "rgb=av1-layered,depth=av1-layered,segment_semantic=label-layered"
    call = f"compress taskonomy --views 3 --tasks {','.join(tasks)} --codec {codecs}"
    out = tmp_path / "archive"
    assert run_dsc(*call.split(), "--out", out).code == 0
    assert run_dsc("verify", out, "--deep").code == 0
    whole, coarse = dsc.open(out, native=True), dsc.open(out, native=True, levels=1)
    for one, other in zip(whole, coarse, strict=True):
        height, width = one["segment_semantic"].shape
        assert np.array_equal(other["segment_semantic"], one["segment_semantic"][::4, ::4])
        assert {other[name].shape[:2] for name in tasks} == {(height // 4, width // 4)}
    assert run_dsc("fetch", out, "--levels", "1", "--out", tmp_path / "copy").code == 0
    assert not list((tmp_path / "copy").glob("*.1"))
    (batch,) = dsc.stream(tmp_path / "copy", batch_size=3, native=True, output="numpy")
    for number, one in enumerate(coarse):
        assert np.array_equal(batch["segment_semantic"][number], one["segment_semantic"])
    for tar in out.glob("*.1/*.tar"):
        tar.unlink()
    left = dsc.open(out, native=True, on_damage="coarser")
    for one, other in zip(left, coarse, strict=True):
        assert one["__coarser__"] == dict.fromkeys(tasks, 1)
        assert all(np.array_equal(one[name], other[name]) for name in tasks)
