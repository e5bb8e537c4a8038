"""Random access gives each sample's arrays, reads no more than it needs, and names damage."""

import os
import pickle
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from dsc._bench.server import serve
from dsc._codecs.classical.png import PngCodec
from dsc._jobs.archive.compress import compress
from dsc._pipeline.read.dataset import Dataset
from dsc._schemas import Task
from dsc._storage.read.archive import Archive
from dsc.errors import ArchiveNotFoundError, BitstreamError, CorruptPackError, UnknownTaskError
from tests.jobs.sources import DEPTH, PixelSource

FORKS = 10
SOURCE = PixelSource(n=23, damaged=(13,))
SAMPLES = [SOURCE.arrays(index) for index in range(13)] + [
    {},
    *(SOURCE.arrays(index) for index in range(14, 23)),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reader") / "archive"
    compress(SOURCE, out, codec="png", shard_size=8, pack=3, on_error="skip")
    return out


def check(sample: object, index: int, tasks: tuple[str, ...] = ("rgb", "depth", "label")) -> None:
    assert isinstance(sample, dict)
    assert tuple(sample) == tasks
    for name, array in sample.items():
        expected = SAMPLES[index].get(name)
        assert (array is None) == (expected is None)
        if array is not None:
            assert array.dtype == expected.dtype
            assert np.array_equal(array, expected)


def test_every_sample_is_found_by_index_and_by_key(archive: Path) -> None:
    views = Dataset.open(archive, native=True)
    assert len(views) == 23
    assert list(views.keys()) == [SOURCE.key(index) for index in range(23)]
    for index, sample in enumerate(views):
        check(sample, index)
        check(views[SOURCE.key(index)], index)
        check(views[index - 23], index)


def test_a_slice_or_batch_comes_in_the_order_asked_for(archive: Path) -> None:
    views = Dataset.open(archive, native=True)
    order = [22, 0, 13, 7, 7, -1, 8]
    for index, sample in zip(order, views.batch(order), strict=True):
        check(sample, index % 23)
    for index, sample in zip(range(20, 3, -5), views[20:3:-5], strict=True):
        check(sample, index)
    assert views.batch([]) == []


@pytest.mark.parametrize("index", [23, -24])
def test_an_index_out_of_range_is_an_index_error(archive: Path, index: int) -> None:
    with pytest.raises(IndexError, match="23"):
        Dataset.open(archive)[index]


def test_an_unknown_key_is_a_key_error(archive: Path) -> None:
    with pytest.raises(KeyError, match="view_99999"):
        Dataset.open(archive)["view_99999"]


def test_depth_comes_in_metres_with_nan_where_nothing_was_measured(archive: Path) -> None:
    depth = Dataset.open(archive, ["depth"])[4]["depth"]
    native = SAMPLES[4]["depth"]
    assert depth is not None
    assert depth.dtype == np.float32
    assert np.array_equal(np.isnan(depth), native == 0)
    assert np.allclose(depth[native > 0], native[native > 0] * 0.001)


def test_a_task_has_the_archives_name_and_answers_to_its_aliases(archive: Path) -> None:
    views = Dataset.open(archive, ["segmentation", "depth"], native=True)
    check(views[0], 0, ("label", "depth"))
    assert np.array_equal(views[0]["segment_semantic"], SAMPLES[0]["label"])  # type: ignore[arg-type]
    assert views[2]["labels"] is None
    with pytest.raises(KeyError, match="label, depth"):
        views[0]["rgb"]


def test_a_task_that_the_archive_lacks_is_refused_with_those_it_has(archive: Path) -> None:
    with pytest.raises(UnknownTaskError, match=r"normal.*rgb, depth, label"):
        Dataset.open(archive, ["normal"])


def test_no_archive_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFoundError, match="dsc"):
        Dataset.open(tmp_path)


@pytest.fixture
def pack_reads(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, str, int]]:
    counts: Counter[tuple[int, str, int]] = Counter()
    original = Archive.unwrap

    def count(self: Archive, member: memoryview, shard: int, stream: str, pack: int) -> object:
        counts[shard, stream, pack] += 1
        return original(self, member, shard, stream, pack)

    monkeypatch.setattr(Archive, "unwrap", count)
    return counts


def test_reading_in_order_reads_each_pack_once(
    archive: Path, pack_reads: Counter[tuple[int, str, int]]
) -> None:
    for _ in Dataset.open(archive, ["rgb", "label"]):
        pass
    assert set(pack_reads.values()) == {1}
    assert {stream for _, stream, _ in pack_reads} == {"rgb", "label"}
    assert len(pack_reads) == 2 * 9  # 23 samples: shards of 8, 8, 7; packs of 3


def test_a_batch_reads_each_pack_once_in_any_order(
    archive: Path, pack_reads: Counter[tuple[int, str, int]]
) -> None:
    order = np.random.default_rng(0).permutation(23).tolist()
    Dataset.open(archive, ["depth"]).batch(order)
    assert set(pack_reads.values()) == {1}


def test_over_http_only_the_asked_streams_cross_the_network(archive: Path) -> None:
    with serve(archive) as (url, traffic):
        views = Dataset.open(url, ["depth"], native=True)
        for index, sample in enumerate(views[:]):
            check(sample, index, ("depth",))
        assert traffic.total("depth/") > 0
        assert traffic.total("rgb/") == traffic.total("label/") == 0


def in_child(views: Dataset) -> bytes:
    """Read in a forked process; give what it says."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:  # nothing of pytest must run here
        signal.alarm(120)  # a lock that nobody will ever let go; busy machines take long
        try:
            said = b"same" if np.array_equal(views[9]["depth"], SAMPLES[9]["depth"]) else b"other"  # type: ignore[arg-type]
        except BaseException as error:
            said = repr(error).encode()
        os.write(write_end, said)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        found = answer.read()
    os.waitpid(pid, 0)
    return found


@contextmanager
def read_on_threads(views: Dataset) -> Iterator[None]:
    """Read all the while, so that a fork often happens while a thread holds a lock."""
    done, slice_s = threading.Event(), sys.getswitchinterval()

    def read() -> None:
        while not done.is_set():
            views.payloads(range(23))

    threads = [threading.Thread(target=read) for _ in range(4)]
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(slice_s)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_dataset_works_in_a_forked_process(archive: Path) -> None:
    with serve(archive) as (url, _):
        for views in (Dataset.open(url, native=True), Dataset.open(archive, native=True)):
            check(views[0], 0)  # connections and caches are warm before the fork
            with read_on_threads(views):
                for _ in range(FORKS):
                    assert in_child(views) == b"same"
            check(views[22], 22)


def test_a_dataset_can_be_pickled(archive: Path) -> None:
    views = Dataset.open(archive, ["label"], native=True)
    check(views[1], 1, ("label",))
    check(pickle.loads(pickle.dumps(views))[1], 1, ("label",))


def test_threads_share_a_dataset(archive: Path) -> None:
    views = Dataset.open(archive, native=True)
    wrong: list[BaseException] = []

    def read(seed: int) -> None:
        try:
            for index in np.random.default_rng(seed).integers(0, 23, 60).tolist():
                check(views[index], index)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_damaged_pack_names_file_pack_and_key(archive: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(archive, copy)
    path = copy / "depth/train-depth-000001.tar"
    data = bytearray(path.read_bytes())
    start = int.from_bytes((copy / "depth/train-depth-000001.tar.idx").read_bytes()[8:16], "little")
    data[start + 512 + 200] ^= 1  # in the second pack, of samples 11 to 13: in its first payload
    path.write_bytes(data)
    views = Dataset.open(copy)
    with pytest.raises(CorruptPackError, match=r"train-depth-000001\.tar: pack 1.*view_00011"):
        views[11]
    with pytest.raises(CorruptPackError, match="view_00011"):
        views.batch([12, 11])
    intact = Dataset.open(archive)
    for index in (10, 12, 13):
        np.testing.assert_array_equal(views[index]["depth"], intact[index]["depth"])
    assert Dataset.open(copy, ["rgb"])[12]["rgb"] is not None


@pytest.fixture
def spoiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive in which every checksum is right, but one bitstream is not one."""
    original = PngCodec.encode_task
    wanted = SAMPLES[12]["depth"]

    def encode(self: PngCodec, task: Task, array: np.ndarray, quality: int) -> bytes:
        data = original(self, task, array, quality)
        spoil = task.name == DEPTH.name and np.array_equal(array, wanted)
        return data[: len(data) // 2] if spoil else data

    monkeypatch.setattr(PngCodec, "encode_task", encode)
    compress(PixelSource(), tmp_path, codec="png", shard_size=8, pack=3)
    monkeypatch.undo()
    return tmp_path


def test_a_bitstream_that_cannot_be_decoded_names_file_pack_and_key(spoiled: Path) -> None:
    views = Dataset.open(spoiled)
    with pytest.raises(
        BitstreamError, match=r"train-depth-000001\.tar: pack 1, sample view_00012.*depth"
    ):
        views.batch(range(8, 16))
    assert Dataset.open(spoiled, ["rgb", "label"])[12]["rgb"] is not None


def test_dataloader_workers_read_what_the_parent_reads(archive: Path) -> None:
    torch_data = pytest.importorskip("torch.utils.data")
    views = Dataset.open(archive, ["depth", "rgb"], native=True)
    check(views[3], 3, ("depth", "rgb"))
    loader = torch_data.DataLoader(views, batch_size=4, num_workers=2, collate_fn=list)
    samples = [sample for batch in loader for sample in batch]
    for index, sample in enumerate(samples):
        check(sample, index, ("depth", "rgb"))
    assert len(samples) == 23
