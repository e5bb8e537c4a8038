"""Classes and vectors come back to the last bit, in few bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._codecs.registry import make_codec
from dsc._schemas import Quality, Task
from dsc.errors import BitstreamError
from tests.codecs.conformance import make_sample
from tests.codecs.test_classical import CLASS, VECTOR
from tests.codecs.test_label_codec import INTEGERS


def round_trip(task: Task, array: np.ndarray) -> tuple[bytes, np.ndarray]:
    codec = make_codec("vector", [task])
    streams = codec.encode_batch([{task.name: array}], Quality())
    (decoded,) = codec.decode_batch(streams, [task.name], 0)
    return streams[0][task.name], decoded[task.name]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(INTEGERS), st.data())
def test_any_integer_comes_back(dtype, data):
    limits = np.iinfo(dtype)
    value = data.draw(st.integers(int(limits.min), int(limits.max)))
    task = Task(name="scene", kind="class", dtype=dtype, channels=0)
    coded, decoded = round_trip(task, np.array(value, dtype))
    assert decoded.shape == ()
    assert decoded.dtype == dtype
    assert int(decoded) == value
    assert len(coded) <= 2 + limits.bits // 8


@pytest.mark.parametrize(("value", "size"), [(0, 1), (1, 2), (127, 2), (999, 3), (-1, 2)])
def test_a_small_class_takes_few_bytes(value, size):
    assert len(round_trip(CLASS, np.array(value))[0]) == size


@pytest.mark.parametrize("dtype", [*INTEGERS, "float16", "float32", "float64"])
@pytest.mark.parametrize("length", [1, 3, 1000])
def test_any_vector_comes_back_bit_for_bit(dtype, length):
    task = Task(name="scores", kind="vector", dtype=dtype, channels=length)
    noise = np.frombuffer(np.random.default_rng(0).bytes(8 * length), np.dtype(dtype))[:length]
    for array in (noise, np.zeros(length, dtype), np.arange(length).astype(dtype)):
        coded, decoded = round_trip(task, array)
        assert decoded.tobytes() == array.tobytes()  # NaN and its payload too
        assert decoded.dtype == array.dtype
        assert len(coded) <= array.nbytes + 1


def test_scores_are_smaller_than_their_array():
    scores = make_sample([VECTOR], (1, 1))[VECTOR.name]
    assert len(round_trip(VECTOR, scores)[0]) < 0.95 * scores.nbytes


def test_a_class_out_of_its_range_is_a_bitstream_error():
    task = Task(name="scene", kind="class", dtype="uint8", channels=0)
    with pytest.raises(BitstreamError, match="value 300"):
        make_codec("vector", [task]).decode_batch([{"scene": b"\x02\x2c\x01"}], ["scene"], 0)


def test_a_vector_that_inflates_too_far_is_a_bitstream_error():
    big = Task(name="scores", kind="vector", dtype="float32", channels=60000)
    small = big.model_copy(update={"channels": 10})
    streams = make_codec("vector", [big]).encode_batch(
        [{"scores": np.zeros(60000, np.float32)}], Quality()
    )
    with pytest.raises(BitstreamError):
        make_codec("vector", [small]).decode_batch(streams, ["scores"], 0)
