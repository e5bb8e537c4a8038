"""What every codec promises, as tests: subclass `CodecConformance`, give it a codec, and run it.

    class TestMyCodec(CodecConformance):
        @pytest.fixture
        def codec(self):
            return make_codec("my-codec", [RGB, DEPTH])

Samples are made from the codec's own tasks by `make_sample`. A codec whose entropy coder cannot
see every cut (the archive's checksums do) sets `sees_every_cut` to False: it must still fail with
a `BitstreamError` or give arrays of the right shape and dtype.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from dsc._codecs.base import Array, Codec
from dsc._codecs.registry import codec_class, codec_from_config, is_codec
from dsc._schemas import Quality, Task, TaskKind, required_streams
from dsc.errors import BitstreamError, CodecError, UnknownTaskError

MAX_PIXELS = 1 << 16


class CodecConformance:
    """The promises; override the fixture `codec`, and the attributes where the codec differs."""

    sizes: ClassVar[Sequence[tuple[int, int]]] = ((1, 1), (7, 13), (65, 33))
    size: ClassVar[tuple[int, int]] = (40, 56)
    quality: ClassVar[Quality] = Quality(default=70)
    sees_every_cut: ClassVar[bool] = True
    max_cuts: ClassVar[int] = 60
    n_flips: ClassVar[int] = 60

    @pytest.fixture
    def codec(self) -> Codec:
        raise RuntimeError("a conformance test gives its codec in the fixture `codec`")

    def is_exact(self, codec: Codec, task: Task) -> bool:
        """Tell whether every value of a task must come back; a lossless codec says True."""
        return task.is_exact or task.kind in (TaskKind.CLASS, TaskKind.VECTOR)

    # ---- the interface

    def test_is_registered_and_has_the_interface(self, codec):
        assert isinstance(codec, Codec)
        assert is_codec(codec.id)
        assert isinstance(codec, codec_class(codec.id))

    def test_stream_graph_is_sane(self, codec):
        seen: list[str] = []
        for stream in codec.streams():
            assert stream.name not in seen, "two streams of one name"
            assert set(stream.requires) <= set(seen), "a stream comes after those it requires"
            assert set(stream.carries) <= {task.name for task in codec.tasks}
            seen.append(stream.name)
        for task in codec.tasks:
            assert required_streams(codec.streams(), [task.name])

    def test_config_survives_json_and_decodes_the_same(self, codec):
        sample = make_sample(codec.tasks, self.size)
        streams = codec.encode_batch([sample], self.quality)
        config = json.loads(json.dumps(codec.config()))
        again = codec_from_config(codec.id, config, codec.weights())
        assert again.tasks == codec.tasks
        assert again.streams() == codec.streams()
        assert again.encode_batch([sample], self.quality) == streams
        assert_same(decode(again, streams[0]), decode(codec, streams[0]))

    # ---- round trips

    def test_shape_and_dtype_come_back_at_odd_sizes(self, codec):
        for size in self.sizes:
            sample = make_sample(codec.tasks, size)
            decoded = decode(codec, self.encode(codec, sample))
            assert list(decoded) == [task.name for task in codec.tasks]
            for task in codec.tasks:
                assert_fits(decoded[task.name], sample[task.name])

    def test_lossless_tasks_come_back_identical(self, codec):
        for size in (*self.sizes, self.size):
            sample = make_sample(codec.tasks, size)
            decoded = decode(codec, self.encode(codec, sample))
            for task in codec.tasks:
                if self.is_exact(codec, task):
                    assert decoded[task.name].tobytes() == sample[task.name].tobytes(), task.name

    def test_invalid_pixels_are_the_same_set(self, codec):
        for size in (*self.sizes, self.size):
            sample = make_sample(codec.tasks, size)
            decoded = decode(codec, self.encode(codec, sample))
            for task in codec.tasks:
                if task.is_map and task.invalid:
                    wanted = task.invalid_mask(sample[task.name])
                    assert np.array_equal(task.invalid_mask(decoded[task.name]), wanted)

    @pytest.mark.parametrize("invalid", [False, True], ids=["all valid", "all invalid"])
    def test_a_map_may_be_wholly_valid_or_wholly_invalid(self, codec, invalid):
        sample = make_sample(codec.tasks, self.size, holes=False)
        for task in codec.tasks:
            if invalid and task.is_map and task.invalid:
                sample[task.name][...] = task.invalid[-1]
        decoded = decode(codec, self.encode(codec, sample))
        for task in codec.tasks:
            if task.is_map and task.invalid:
                assert task.invalid_mask(decoded[task.name]).all() == invalid
                assert task.invalid_mask(decoded[task.name]).any() == invalid

    def test_a_constant_map_is_coded(self, codec):
        sample = make_sample(codec.tasks, self.size, holes=False)
        for task in codec.tasks:
            if task.is_map:
                sample[task.name][...] = 100
        decoded = decode(codec, self.encode(codec, sample))
        for task in codec.tasks:
            if task.is_map:
                assert_fits(decoded[task.name], sample[task.name])

    def test_each_task_decodes_from_the_streams_it_requires_alone(self, codec):
        streams = self.encode(codec, make_sample(codec.tasks, self.size))
        whole = decode(codec, streams)
        for task in codec.tasks:
            needed = required_streams(codec.streams(), [task.name])
            part = {name: streams[name] for name in needed}
            (alone,) = codec.decode_batch([part], [task.name], MAX_PIXELS)
            assert_same(alone, {task.name: whole[task.name]})

    # ---- what is missing

    def test_a_missing_task_is_left_out_both_ways(self, codec):
        for absent in codec.tasks:
            sample = make_sample(codec.tasks, self.size)
            del sample[absent.name]
            streams = self.encode(codec, sample)
            assert absent.name not in streams
            decoded = decode(codec, streams)
            assert list(decoded) == [t.name for t in codec.tasks if t.name != absent.name]

    def test_a_sample_without_any_task_gives_no_stream(self, codec):
        assert codec.encode_batch([{}, {}], self.quality) == [{}, {}]
        names = [task.name for task in codec.tasks]
        assert codec.decode_batch([{}, {}], names, MAX_PIXELS) == [{}, {}]

    def test_a_task_that_the_codec_lacks_is_refused(self, codec):
        with pytest.raises(UnknownTaskError, match="no_such_task"):
            codec.decode_batch([{}], ["no_such_task"], MAX_PIXELS)

    # ---- the same bytes

    def test_the_same_sample_gives_the_same_bytes(self, codec):
        sample = make_sample(codec.tasks, self.size)
        copy = {name: array.copy() for name, array in sample.items()}
        assert self.encode(codec, sample) == self.encode(codec, copy)
        assert all(np.array_equal(sample[name], copy[name]) for name in copy), "input was changed"

    def test_bytes_do_not_depend_on_the_batch(self, codec):
        samples = [make_sample(codec.tasks, self.size, seed) for seed in range(3)]
        del samples[1][codec.tasks[0].name]
        samples.append(make_sample(codec.tasks, (7, 13)))
        alone = [self.encode(codec, sample) for sample in samples]
        assert codec.encode_batch(samples, self.quality) == alone
        assert codec.encode_batch(samples[::-1], self.quality) == alone[::-1]

    # ---- damage

    def test_an_empty_stream_is_a_bitstream_error(self, codec):
        streams = self.encode(codec, make_sample(codec.tasks, self.size))
        for name, task in self.stream_and_task(codec):
            with pytest.raises(BitstreamError):
                codec.decode_batch([streams | {name: b""}], [task], MAX_PIXELS)

    def test_a_cut_stream_is_a_bitstream_error(self, codec):
        sample = make_sample(codec.tasks, self.size)
        streams = self.encode(codec, sample)
        for name, task in self.stream_and_task(codec):
            whole = streams[name]
            step = max(1, len(whole) // self.max_cuts)
            for end in sorted({*range(0, len(whole), step), len(whole) - 1, len(whole) - 2} - {-1}):
                broken = streams | {name: whole[:end]}
                seen = self.fails_or_fits(codec, broken, task, sample[task])
                assert seen or not self.sees_every_cut, f"{name}: cut at {end} of {len(whole)}"

    def test_damaged_and_random_bytes_never_raise_anything_else(self, codec):
        rng = np.random.default_rng(5)
        sample = make_sample(codec.tasks, self.size)
        streams = self.encode(codec, sample)
        for name, task in self.stream_and_task(codec):
            for broken in damaged(streams[name], rng, self.n_flips):
                self.fails_or_fits(codec, streams | {name: broken}, task, sample[task])

    def test_more_pixels_than_allowed_are_refused(self, codec):
        streams = self.encode(codec, make_sample(codec.tasks, self.size))
        pixels = self.size[0] * self.size[1]
        for task in codec.tasks:
            if task.is_map:
                codec.decode_batch([streams], [task.name], pixels)
                with pytest.raises(BitstreamError):
                    codec.decode_batch([streams], [task.name], pixels - 1)

    # ---- what cannot be encoded

    def test_a_wrong_dtype_is_a_codec_error_that_names_the_task(self, codec):
        for task in codec.tasks:
            sample = make_sample(codec.tasks, self.size)
            sample[task.name] = sample[task.name].astype(np.complex64)
            with pytest.raises(CodecError, match=task.name):
                codec.encode_batch([sample], self.quality)

    def test_a_wrong_shape_is_a_codec_error_that_names_the_task(self, codec):
        for task in codec.tasks:
            sample = make_sample(codec.tasks, self.size)
            for wrong in (sample[task.name][None], sample[task.name][..., None]):
                with pytest.raises(CodecError, match=task.name):
                    codec.encode_batch([sample | {task.name: wrong}], self.quality)

    # ---- helpers

    def encode(self, codec: Codec, sample: Mapping[str, Array]) -> dict[str, bytes]:
        (streams,) = codec.encode_batch([sample], self.quality)
        assert all(type(data) is bytes for data in streams.values())
        return streams

    def stream_and_task(self, codec: Codec) -> Iterator[tuple[str, str]]:
        """Pair every stream with a task that cannot be decoded without it."""
        for stream in codec.streams():
            for task in codec.tasks:
                if stream.name in required_streams(codec.streams(), [task.name]):
                    yield stream.name, task.name
                    break

    def fails_or_fits(
        self, codec: Codec, streams: Mapping[str, bytes], task: str, like: Array
    ) -> bool:
        """Tell whether decoding fails as it should; what does not fail must at least fit."""
        try:
            (decoded,) = codec.decode_batch([streams], [task], MAX_PIXELS)
        except BitstreamError:
            return True
        assert decoded[task].dtype == like.dtype
        assert decoded[task].ndim == like.ndim
        return False


def decode(codec: Codec, streams: Mapping[str, bytes]) -> dict[str, Array]:
    """Decode everything in one sample's streams."""
    names = [task.name for task in codec.tasks]
    (decoded,) = codec.decode_batch([streams], names, MAX_PIXELS)
    return decoded


def assert_fits(decoded: Array, wanted: Array) -> None:
    assert decoded.shape == wanted.shape
    assert decoded.dtype == wanted.dtype
    assert decoded.dtype.isnative
    assert decoded.flags.c_contiguous
    assert decoded.flags.writeable


def assert_same(a: Mapping[str, Array], b: Mapping[str, Array]) -> None:
    assert list(a) == list(b)
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)


def damaged(data: bytes, rng: np.random.Generator, n_flips: int) -> Iterator[bytes]:
    """Yield the bytes with single bits flipped, then noise with and without the true start."""
    for at in rng.integers(0, 8 * len(data), n_flips):
        broken = bytearray(data)
        broken[at // 8] ^= 1 << (at % 8)
        yield bytes(broken)
    for length in (1, 2, 7, len(data)):
        noise = rng.bytes(length)
        yield noise
        yield data[: len(data) // 3] + noise
        yield data[:5] + noise
    yield data + b"\x00"
    yield data + data


# ---- samples


def make_sample(
    tasks: Sequence[Task], size: tuple[int, int], seed: int = 0, *, holes: bool = True
) -> dict[str, Array]:
    """Make one sample with every task, the same for the same arguments.

    Parameters
    ----------
    tasks
        Tasks of any kind.
    size
        (H, W) of the maps.
    holes
        Whether maps with invalid values have some, a ragged blob of each.
    """
    sample: dict[str, Array] = {}
    for number, task in enumerate(tasks):
        rng = np.random.default_rng([seed, number])
        array = _MAKERS[task.kind](task, size, rng)
        if holes and task.is_map and task.invalid and min(size) > 1:
            for value in task.invalid:
                array[_blob(size, rng)] = value
        sample[task.name] = array
    return sample


def _surface(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Return a piecewise smooth (H, W) field in [0, 1]: a slope, a box in front, some noise."""
    y, x = np.mgrid[: size[0], : size[1]] / max(size)
    slope = rng.uniform(-0.4, 0.4, 2)
    field = 0.5 + slope[0] * y + slope[1] * x
    top, left = rng.uniform(0, 0.4, 2)
    field[(y > top) & (y < top + 0.4) & (x > left) & (x < left + 0.5)] -= 0.2
    return np.clip(field + rng.normal(0, 0.01, size), 0, 1)


def _blob(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Return a ragged (H, W) mask of a tenth of the pixels."""
    field = rng.normal(size=size).cumsum(0).cumsum(1)
    return field > np.quantile(field, 0.9)


def _avoid(task: Task, array: Array) -> Array:
    """Move valid pixels off the invalid values."""
    while task.invalid and (hit := task.invalid_mask(array)).any():
        if array.ndim == 3:
            array[hit, 0] ^= 1
        else:
            array[hit] = array[hit] + 1
    return array


def _image(task: Task, size: tuple[int, int], rng: np.random.Generator) -> Array:
    top = np.iinfo(task.dtype).max
    planes = np.stack([_surface(size, rng) for _ in range(task.channels)], axis=2)
    array = np.rint(planes * top).astype(task.dtype)
    return _avoid(task, array if task.channels > 1 else array[..., 0])


def _depth(task: Task, size: tuple[int, int], rng: np.random.Generator) -> Array:
    top = np.iinfo(task.dtype).max
    near_m, far_m = 0.6, min(9.0, 0.95 * top * (task.unit_m or 1.0))
    depth_m = near_m * (far_m / near_m) ** _surface(size, rng)
    counts = np.rint(depth_m / (task.unit_m or 1.0)).clip(0, top)
    return _avoid(task, counts.astype(task.dtype))


def _normal(task: Task, size: tuple[int, int], rng: np.random.Generator) -> Array:
    vector = np.stack([_surface(size, rng) - 0.5 for _ in range(2)] + [np.full(size, -0.4)], axis=2)
    vector /= np.linalg.norm(vector, axis=2, keepdims=True)
    array = np.rint(vector * 127.5 + 127.5).astype(np.uint8)
    array[0, 0] = (128, 127, 127)  # the closest that a valid pixel comes to an invalid one
    return _avoid(task, array)


def _label(task: Task, size: tuple[int, int], rng: np.random.Generator) -> Array:
    palette = rng.integers(0, np.iinfo(task.dtype).max, (6, task.channels), endpoint=True)
    index = np.digitize(_surface(size, rng), [0.2, 0.3, 0.45, 0.5, 0.6])
    array = palette.astype(task.dtype)[index]
    return _avoid(task, array if task.channels > 1 else array[..., 0])


def _class(task: Task, size: tuple[int, int], rng: np.random.Generator) -> Array:
    return np.array(rng.integers(0, 100), task.dtype)


def _vector(task: Task, size: tuple[int, int], rng: np.random.Generator) -> Array:
    score = np.exp(rng.normal(0, 3, task.channels))
    return (score / score.sum()).astype(task.dtype)


def _embedding(task: Task, size: tuple[int, int], rng: np.random.Generator) -> Array:
    return np.maximum(rng.normal(-0.2, 0.4, task.channels), 0).astype(task.dtype)


def _feature(task: Task, size: tuple[int, int], rng: np.random.Generator) -> Array:
    planes = np.stack([_surface(size, rng) - 0.5 for _ in range(task.channels)])
    mixed = rng.normal(size=(task.channels, task.channels)) @ planes.reshape(task.channels, -1)
    return (mixed.reshape(planes.shape) + rng.normal(0, 0.1, planes.shape)).astype(task.dtype)


def _array(task: Task, size: tuple[int, int], rng: np.random.Generator) -> Array:
    planes = np.stack([_surface(size, rng) for _ in range(task.channels)], axis=2)
    dtype = np.dtype(task.dtype)
    if dtype.kind == "f":
        array = ((planes - 0.5) * 100).astype(dtype)
    else:
        array = (planes * (0.9 * np.iinfo(dtype).max)).astype(dtype)
    return _avoid(task, array if task.channels > 1 else array[..., 0])


_MAKERS: dict[TaskKind, Any] = {
    TaskKind.IMAGE: _image,
    TaskKind.DEPTH: _depth,
    TaskKind.NORMAL: _normal,
    TaskKind.LABEL: _label,
    TaskKind.CLASS: _class,
    TaskKind.VECTOR: _vector,
    TaskKind.EMBEDDING: _embedding,
    TaskKind.FEATURE: _feature,
    TaskKind.DISPARITY: _array,
    TaskKind.FLOW: _array,
    TaskKind.ARRAY: _array,
}
