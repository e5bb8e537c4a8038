"""Streams of an archive that grows: undisturbed readers, and states that still hold or say no."""

from pathlib import Path

import pytest

import dsc
from dsc._bench.server import serve
from dsc._stream.sample_stream import SampleStream
from dsc.errors import StateMismatchError

OPTIONS = {"size": 32, "codec": "rgb=jpeg,depth=png"}


def compress(root: Path, samples: int) -> Path:
    dsc.compress("taskonomy", root, sample=samples, tasks="rgb,depth", shard_size=4, pack=2,
                 **OPTIONS)  # fmt: skip
    return root


def open_stream(url: object) -> SampleStream:
    return dsc.stream(url, "rgb", 2, shuffle=True, decode="bytes", memory=1)  # type: ignore[arg-type]


def indices(stream: SampleStream) -> list[int]:
    return [index for batch in stream for index in batch["__index__"].tolist()]


def test_a_stream_goes_on_while_the_archive_grows_under_it(tmp_path: Path) -> None:
    archive = compress(tmp_path / "a", 8)
    with serve(archive) as (url, _):
        stream = open_stream(url)
        found = iter(stream)
        seen = next(found)["__index__"].tolist()
        dsc.append(archive, "taskonomy", sample=12, size=32)
        dsc.append(archive, "taskonomy", sample=12, size=32, tasks="normals", codec="png")
        seen += [index for batch in found for index in batch["__index__"].tolist()]
        assert sorted(seen) == list(range(8))
        assert sorted(indices(open_stream(url))) == list(range(12))
        assert next(iter(dsc.stream(url, "normals", 2)))["normals"].shape == (2, 3, 32, 32)


def test_a_state_in_mid_epoch_is_refused_after_new_samples(tmp_path: Path) -> None:
    archive = compress(tmp_path / "a", 8)
    stream = open_stream(archive)
    next(iter(stream))
    state = stream.state_dict()
    dsc.append(archive, "taskonomy", sample=12, size=32)
    with pytest.raises(StateMismatchError, match=r"had 8 samples, this stream has 12.*set_epoch"):
        open_stream(archive).load_state_dict(state)


def test_a_state_at_the_end_of_an_epoch_goes_on_with_the_grown_archive(tmp_path: Path) -> None:
    archive = compress(tmp_path / "a", 8)
    stream = open_stream(archive)
    for _ in stream:
        state = stream.state_dict()
    dsc.append(archive, "taskonomy", sample=12, size=32)
    grown = open_stream(archive)
    grown.load_state_dict(state)
    assert grown.epoch == 1
    assert sorted(indices(grown)) == list(range(12))


def test_a_new_task_does_not_disturb_a_state(tmp_path: Path) -> None:
    archive = compress(tmp_path / "a", 8)
    whole = indices(open_stream(archive))
    stream = open_stream(archive)
    seen = next(iter(stream))["__index__"].tolist()
    dsc.append(archive, "taskonomy", sample=8, size=32, tasks="normals", codec="png")
    other = open_stream(archive)
    other.load_state_dict(stream.state_dict())
    assert seen + indices(other) == whole
