"""What an archive relies on: the same bytes every time, the same values back, damage refused."""

import numpy as np
import pytest
from dsc_flate import FlateCodec

from dsc.errors import BitstreamError, CodecError
from dsc.schemas import Quality, Task, TaskKind

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0,))


@pytest.fixture
def codec() -> FlateCodec:
    return FlateCodec.for_tasks([RGB, DEPTH])


@pytest.fixture
def sample() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "rgb": rng.integers(0, 256, (5, 7, 3), np.uint8),
        "depth": rng.integers(0, 65536, (5, 7), np.uint16),
    }


def test_every_value_comes_back(codec: FlateCodec, sample: dict[str, np.ndarray]) -> None:
    (streams,) = codec.encode_batch([sample], Quality())
    again = FlateCodec.from_config(codec.config(), codec.weights())
    (decoded,) = again.decode_batch([streams], ["rgb", "depth"], max_pixels=35)
    for name, array in sample.items():
        assert decoded[name].dtype == array.dtype
        np.testing.assert_array_equal(decoded[name], array)


def test_damage_is_refused(codec: FlateCodec, sample: dict[str, np.ndarray]) -> None:
    (streams,) = codec.encode_batch([sample], Quality())
    for data in (b"", streams["rgb"][:-1], b"\xff\xff\xff\xff" + streams["rgb"][4:]):
        with pytest.raises(BitstreamError, match="stream rgb"):
            codec.decode_batch([{"rgb": data}], ["rgb"], max_pixels=35)


def test_what_it_cannot_code_is_refused() -> None:
    name = Task(name="class_label", kind=TaskKind.CLASS, dtype="int64", channels=0)
    with pytest.raises(CodecError, match="maps of integers"):
        FlateCodec.for_tasks([name])
