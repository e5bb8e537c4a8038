"""Text, JSON, files, numbers, times and matrices come back from every way of reading."""

import json
import pickle

import numpy as np
import pytest
import torch

import dsc
from dsc._copies.export.run import export
from dsc._pipeline.read.verify import verify_deep
from dsc._storage.read.verify import verify_archive
from dsc.errors import SampleError
from tests.everything import TASKS, VALUES, everything, same, values

__all__ = ["everything"]
N = 12


@pytest.fixture
def archive(everything, tmp_path):
    out = tmp_path / "a"
    dsc.compress(everything, out, n=N, codec="png", shard_size=5, pack=2)
    return out


def test_random_access_gives_what_went_in(archive):
    opened = pickle.loads(pickle.dumps(dsc.open(archive)))
    for index in range(N):
        sample = opened[index]
        assert all(same(task.name, sample[task.name], index) for task in TASKS)
    assert {task.media_type for task in opened.tasks} == {None, "audio/wav"}


def test_native_values_are_bytes_and_arrays(archive):
    sample = dsc.open(archive, "caption,meta,pose", native=True)[2]
    assert sample["caption"].tobytes().decode() == values(2)["caption"]
    assert json.loads(sample["meta"].tobytes()) == values(2)["meta"]
    assert sample["pose"].dtype == np.float64


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cache", [0, "1MB"])
def test_batches_have_lists_of_text_and_tensors_of_numbers(archive, workers, cache):
    stream = dsc.stream(
        archive, VALUES, 4, missing="none", workers=workers, cache_decoded=cache, shuffle=True
    )
    for _ in range(2):
        seen = []
        for batch in stream:
            indices = batch["__index__"].tolist()
            seen += indices
            assert batch["pose"].shape == (len(indices), 4, 4)
            assert batch["taken"].dtype == torch.int64
            assert batch["scene"].shape == (len(indices),)
            for place, index in enumerate(indices):
                for name in VALUES:
                    one = batch[name][place]
                    one = one.numpy() if isinstance(one, torch.Tensor) else one
                    assert same(name, one[()] if isinstance(one, np.ndarray) else one, index), name
        assert sorted(seen) == list(range(N))


def test_a_subset_is_fetched_and_verified(archive, tmp_path):
    dsc.fetch(archive, "caption,boxes", tmp_path / "some")
    url = str(tmp_path / "some")
    assert not verify_archive(url)
    assert not verify_deep(url)
    some = dsc.open(tmp_path / "some")
    assert all(same("caption", some[index]["caption"], index) for index in range(N))
    assert all(same("boxes", some[index]["boxes"], index) for index in range(N))


def test_values_are_added_to_an_archive_of_pictures(everything, tmp_path):
    out = tmp_path / "grown"
    dsc.compress(everything, out, n=N, tasks="rgb", codec="png", shard_size=5, pack=2)
    dsc.append(out, everything, n=N, tasks="caption,meta,boxes")
    dsc.append(out, everything, n=N + 7)
    opened = dsc.open(out)
    assert len(opened) == N + 7
    for index in range(N + 7):
        assert all(same(task.name, opened[index][task.name], index) for task in opened.tasks)


def test_an_export_gives_the_bytes_back(archive, tmp_path):
    export(archive, "caption,meta,sound", tmp_path / "files")
    files = {
        path.relative_to(tmp_path / "files").as_posix() for path in tmp_path.rglob("files/*/*")
    }
    assert {"caption/sample_0.txt", "meta/sample_0.json", "sound/sample_0.wav"} <= files
    assert "caption/sample_3.txt" not in files
    for index in range(N):
        assert (tmp_path / f"files/sound/sample_{index}.wav").read_bytes() == values(index)["sound"]


def test_a_value_that_does_not_fit_is_named(everything, monkeypatch, tmp_path):
    def broken(index):
        return values(index) | ({"caption": "\ud800"} if index == 4 else {})

    monkeypatch.setattr("tests.everything.values", broken)
    with pytest.raises(SampleError, match="sample_4, task caption: a lone surrogate"):
        dsc.compress(everything, tmp_path / "b", n=N, tasks="caption")
