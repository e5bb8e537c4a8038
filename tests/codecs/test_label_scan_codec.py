"""`label-scan`: what `label-context` writes without its network, for sets too small for it."""

import json

import numpy as np
import pytest

from dsc._codecs.base import Codec
from dsc._codecs.label.scan import LabelMethod
from dsc._codecs.registry import codec_from_config, make_codec
from dsc._schemas import Effort, Quality, Task
from dsc._sources.registry import open_source
from dsc.errors import BitstreamError, CodecError
from tests.codecs.conformance import CodecConformance
from tests.codecs.test_classical import COLOURS, LABEL, LABEL16
from tests.codecs.test_label_codec import IDS, INTEGERS, WIDE, WIDE_COLOURS, blobs
from tests.codecs.test_label_golden import CASES, ROOT
from tests.golden import make_label


class TestLabelScan(CodecConformance):
    @pytest.fixture(
        params=[(LABEL,), (LABEL16, COLOURS), (IDS, WIDE), (WIDE_COLOURS,)],
        ids=lambda tasks: tasks[0].name,
    )
    def codec(self, request: pytest.FixtureRequest) -> Codec:
        return make_codec("label-scan", request.param)


def encode(codec: Codec, array: np.ndarray) -> bytes:
    (task,) = codec.tasks
    return codec.encode_batch([{task.name: array}], Quality())[0][task.name]


def decode(codec: Codec, data: bytes) -> np.ndarray:
    (task,) = codec.tasks
    return codec.decode_batch([{task.name: data}], [task.name], 1 << 20)[0][task.name]


def room(size: int) -> np.ndarray:
    source = open_source("sample", n=1, size=size, tasks=["segment_semantic"])
    return source.read(0, ["segment_semantic"]).arrays["segment_semantic"]


@pytest.mark.parametrize("effort", list(Effort))
@pytest.mark.parametrize("size", [64, 160])
def test_rooms_take_little_more_than_with_the_network_and_less_than_images(
    size: int, effort: Effort
) -> None:
    array, sizes = room(size), {}
    for name in ("label-scan", "label-context", "exact"):
        codec = make_codec(name, [LABEL]).at_effort(effort)
        data = encode(codec, array)
        assert np.array_equal(decode(codec, data), array)
        sizes[name] = len(data)
    assert sizes["label-context"] <= sizes["label-scan"] < 0.8 * sizes["exact"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_regions_of_every_integer_come_back_by_scan(dtype: str) -> None:
    limits, rng = np.iinfo(dtype), np.random.default_rng(4)
    names = rng.integers(limits.min, limits.max, 9, dtype, endpoint=True)
    codec = make_codec("label-scan", [Task(name="ids", kind="label", dtype=dtype)])
    data = encode(codec, names[blobs(40, 50, 9)])
    assert data[0] == LabelMethod.SCAN
    assert np.array_equal(decode(codec, data), names[blobs(40, 50, 9)])


def test_noise_and_one_label_come_back() -> None:
    codec = make_codec("label-scan", [LABEL])
    noise = np.random.default_rng(0).integers(0, 256, (40, 50)).astype(np.uint8)
    for array in (noise, np.full((40, 50), 9, np.uint8), np.zeros((1, 1), np.uint8)):
        assert np.array_equal(decode(codec, encode(codec, array)), array)


def test_it_has_no_weights_and_comes_back_from_its_configuration() -> None:
    codec = make_codec("label-scan", [LABEL]).at_effort(Effort.BEST)
    assert codec.weights() is None
    again = codec_from_config("label-scan", json.loads(json.dumps(codec.config())), None)
    array = room(96)
    assert np.array_equal(decode(again, encode(codec, array)), array)


@pytest.mark.parametrize("case", CASES)
def test_golden_streams_without_the_network_are_read_and_others_refused(case: str) -> None:
    expected = json.loads((ROOT / case).with_suffix(".json").read_text())
    data = (ROOT / case).with_suffix(".bin").read_bytes()
    codec = codec_from_config("label-scan", expected["config"], None)
    if data[0] == LabelMethod.CONTEXT:
        with pytest.raises(BitstreamError, match="method CONTEXT takes a model file"):
            decode(codec, data)
    else:
        assert make_label.sha256(decode(codec, data)) == expected["sha256"]


def test_what_is_no_label_map_is_refused() -> None:
    depth = Task(name="depth", kind="depth", dtype="uint16", unit_m=0.001)
    with pytest.raises(CodecError, match="depth: label-scan codes label maps, not depth"):
        make_codec("label-scan", [depth])
