"""Effort: encoders look longer or less long for bytes; what they write is read by one decoder."""

import numpy as np
import pytest

from dsc._codecs.base import EffortCodec, at_effort
from dsc._codecs.registry import codec_class, codec_from_config, distinct_codecs, make_codec
from dsc._schemas import Effort, Quality, Task, TaskKind
from dsc.errors import CodecError

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0,))
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3)
LABEL = Task(name="label", kind=TaskKind.LABEL, dtype="uint8")
TASKS = (RGB, DEPTH, NORMAL, LABEL)
LEARNED = ("independent", "shared-latent", "chained", "layered")
KNOWING = [
    name
    for name in distinct_codecs()
    if name not in (*LEARNED, "raw", "vector", "plain", "residual", "derived", "embedding")
    and not name.startswith(("surfaces", "feature-"))
]


def picture(task: Task, side: int = 32) -> np.ndarray:
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:side, :side]
    if task.kind is TaskKind.LABEL:
        return (rows // 8 * 4 + columns // 8).astype(np.uint8)
    smooth = 1000 + 40 * rows + 25 * columns + rng.integers(0, 9, (side, side))
    if task.kind is TaskKind.DEPTH:
        return smooth.astype(np.uint16)
    return np.stack([(smooth // 16 + 9 * k) % 256 for k in range(3)], 2).astype(np.uint8)


def task_of(codec_id: str) -> Task:
    for task in TASKS:
        try:
            make_codec(codec_id, [task])
        except CodecError:
            continue
        return task
    raise AssertionError(codec_id)


@pytest.mark.parametrize("codec_id", KNOWING)
def test_what_is_written_at_any_effort_is_read_by_the_codec_of_the_archive(codec_id: str) -> None:
    task = task_of(codec_id)
    sample, quality = {task.name: picture(task)}, Quality(default=60)
    for effort in Effort:
        codec = at_effort(make_codec(codec_id, [task]), effort)
        (coded,) = codec.encode_batch([sample], quality)
        again = codec_from_config(codec_id, codec.config(), codec.weights())
        assert again.config() == codec.config()
        assert again.encode_batch([sample], quality) == [coded]
        reader = make_codec(codec_id, [task])
        (here,) = codec.decode_batch([coded], [task.name], 32 * 32)
        (there,) = reader.decode_batch([coded], [task.name], 32 * 32)
        np.testing.assert_array_equal(here[task.name], there[task.name])


@pytest.mark.parametrize("codec_id", KNOWING)
def test_a_configuration_without_effort_is_one_of_before_there_was_any(codec_id: str) -> None:
    task = task_of(codec_id)
    codec = make_codec(codec_id, [task])
    assert isinstance(codec, EffortCodec)
    config = {"tasks": [task.model_dump(mode="json")]}
    before = codec_from_config(codec_id, config, codec.weights())
    assert before.config() == config


@pytest.mark.parametrize("codec_id", ["raw", "vector", "plain"])
def test_a_codec_that_knows_no_effort_is_the_same_at_any(codec_id: str) -> None:
    pose = Task(name="pose", kind=TaskKind.VECTOR, dtype="float32", channels=2)
    codec = make_codec(codec_id, [RGB if codec_id == "raw" else pose])
    assert at_effort(codec, Effort.BEST) is codec
    assert not any(hasattr(codec_class(learned), "at_effort") for learned in LEARNED)


def test_an_effort_that_is_not_there_is_refused() -> None:
    config = {"tasks": [RGB.model_dump(mode="json")], "effort": "harder"}
    with pytest.raises(CodecError, match="'harder' is none of fast, default, best"):
        codec_from_config("av1", config, None)


def test_more_effort_takes_fewer_bytes() -> None:
    arrays = {"rgb": picture(RGB, 128), "depth": picture(DEPTH, 128)}
    for codec_id, name in (("png", "depth"), ("jxl-lossless", "depth"), ("avif", "rgb")):
        task = {"rgb": RGB, "depth": DEPTH}[name]
        sizes = []
        for effort in Effort:
            codec = at_effort(make_codec(codec_id, [task]), effort)
            (coded,) = codec.encode_batch([{name: arrays[name]}], Quality(default=60))
            sizes.append(len(coded[name]))
        assert sizes[0] > sizes[2], codec_id
        assert sizes[0] >= sizes[1] >= sizes[2], codec_id
