"""Groups are read: any frame by itself, in order, in batches, from streams and stock loaders."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import dsc
from dsc._bench.server import serve
from dsc._codecs import registry
from dsc._pipeline.read.dataset import Dataset
from dsc._storage.read.archive import Archive
from tests.group_codec import TreeCodec
from tests.recordings import Recordings

RECORDINGS = Recordings()


@pytest.fixture(autouse=True)
def _tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CODECS, TreeCodec.id, "tests.group_codec:TreeCodec")
    TreeCodec.frames_decoded = 0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings") / "archive"
    RECORDINGS.write(folder)
    return folder


def check(sample: object, index: int, tasks: tuple[str, ...] = ("rgb", "label", "depth")) -> None:
    assert isinstance(sample, dict)
    expected = RECORDINGS.arrays(index)
    for task in tasks:
        array = sample[task]
        assert (array is None) == (task not in expected)
        if array is not None:
            assert np.array_equal(array, expected[task])


@pytest.mark.parametrize("remote", [False, True])
def test_every_frame_alone_in_any_order(
    archive: Path, remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsc._storage.read.samples.SMALL_PACK", 0)
    order = np.random.default_rng(1).permutation(len(RECORDINGS)).tolist()
    with serve(archive) as (url, _):
        views = dsc.open(url if remote else archive, native=True)
        for index in order:
            check(views[index], index)
        for index, one in zip(order[:30], views.batch(order[:30]), strict=True):
            check(one, index)


def test_a_batch_decodes_what_several_samples_need_once(archive: Path) -> None:
    views = dsc.open(archive, tasks="rgb", native=True)
    views.batch(range(16))
    assert TreeCodec.frames_decoded == 16


def test_in_order_every_frame_is_decoded_once(archive: Path) -> None:
    views = dsc.open(archive, tasks="rgb", native=True)
    for index, one in enumerate(views):
        check(one, index, ("rgb",))
    assert TreeCodec.frames_decoded == len(RECORDINGS)


def test_asked_one_after_the_other_every_frame_is_decoded_about_once(archive: Path) -> None:
    views = dsc.open(archive, tasks="rgb", native=True)
    for index in range(len(views)):
        check(views[index], index, ("rgb",))
    assert TreeCodec.frames_decoded <= len(RECORDINGS) + 1
    TreeCodec.frames_decoded = 0
    for start in range(0, len(views), 5):  # as a loader with a batch size
        for index, one in enumerate(views.batch(range(start, min(start + 5, len(views)))), start):
            check(one, index, ("rgb",))
    assert TreeCodec.frames_decoded <= len(RECORDINGS) + 5


def test_of_a_selection_only_its_frames_are_given(archive: Path) -> None:
    views = dsc.open(archive, native=True).select(indices=range(1, 40, 3))
    for index, one in zip(range(1, 40, 3), views, strict=True):
        check(one, index)
    backward = views.select(indices=range(12, -1, -1))
    for index, one in zip(range(37, 0, -3), backward, strict=True):
        check(one, index)


def test_who_changes_a_sample_changes_it_alone(archive: Path) -> None:
    views = dsc.open(archive, native=True)
    for one in views:
        one["rgb"][:] = 0
    for index in (0, 1, 2, 1, 1):
        one = views[index]
        check(one, index)
        one["rgb"][:] = 0
    for one, index in zip(views.batch([3, 3]), (3, 3), strict=True):
        check(one, index)
        one["rgb"][:] = 0


def test_a_random_frame_takes_its_ancestors_only(archive: Path) -> None:
    views = dsc.open(archive, tasks="rgb", native=True)
    most = 0
    for index in np.random.default_rng(1).permutation(len(RECORDINGS)).tolist():
        TreeCodec.frames_decoded = 0
        if index and views._samples._follows is not None:
            views._samples._follows = None
        check(views[index], index, ("rgb",))
        most = max(most, TreeCodec.frames_decoded)
    assert most == 5


def test_a_dataset_can_be_pickled(archive: Path) -> None:
    views = pickle.loads(pickle.dumps(dsc.open(archive, native=True)))
    check(views[33], 33)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_stream_gives_every_frame(archive: Path, threads: int, shuffle: bool) -> None:
    stream = dsc.stream(
        archive, batch_size=7, shuffle=shuffle, native=True, missing="none", threads=threads,
        output="numpy", workers=0,
    )  # fmt: skip
    seen = []
    for batch in stream:
        for at, index in enumerate(batch["__index__"].tolist()):
            check({name: batch[name][at] for name in ("rgb", "label", "depth")}, index)
            seen.append(index)
    assert sorted(seen) == list(range(len(RECORDINGS)))


def test_a_stream_of_bytes_gives_each_samples_own(archive: Path) -> None:
    views = Dataset(Archive.open(archive), ["rgb"])
    stream = dsc.stream(
        archive, tasks="rgb", batch_size=8, decode="bytes", shuffle=False, workers=0
    )
    for batch in stream:
        for at, index in enumerate(batch["__index__"].tolist()):
            own = views.payloads([index])[0]
            assert {name: batch[name][at] for name in own} == own
            assert all(type(batch[name][at]) in (bytes, type(None)) for name in own)
            assert sum(payload is not None for payload in own.values()) == 1
