"""Random access over a network: few requests, few bytes, streams side by side, damage named."""

import os
import pickle
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dsc._bench.server import Traffic, serve
from dsc._codecs.classical.png import PngCodec
from dsc._jobs.archive.compress import compress
from dsc._pipeline.read.dataset import Dataset
from dsc._storage.read.archive import Archive
from dsc.errors import BitstreamError, CorruptArchiveError, CorruptPackError, UsageError
from tests.jobs.sources import PixelSource
from tests.real_servers import nginx, s3

SOURCE = PixelSource(n=60)
SHARD, PACK = 30, 10
TASKS = ("rgb", "depth", "label")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("remote") / "archive"
    compress(SOURCE, out, codec="png", shard_size=SHARD, pack=PACK)
    return out


@pytest.fixture
def served(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Traffic]]:
    """The archive behind HTTP, its packs taken for large ones."""
    monkeypatch.setattr("dsc._storage.read.samples.SMALL_PACK", 0)
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.01)
    with serve(archive) as (url, traffic):
        yield url, traffic


def check(sample: object, index: int, tasks: tuple[str, ...] = TASKS) -> None:
    assert isinstance(sample, dict)
    assert tuple(sample) == tasks
    expected = SOURCE.arrays(index)
    for task, array in sample.items():
        assert (array is None) == (task not in expected)
        if array is not None:
            assert np.array_equal(array, expected[task])


def tars(traffic: Traffic) -> dict[str, int]:
    """Return the number of requests for each tar since they were last cleared."""
    return {path: count for path, count in traffic.requests.items() if path.endswith(".tar")}


def warm(url: str | Archive, traffic: Traffic, tasks: tuple[str, ...] = TASKS) -> Dataset:
    """Open it, with the index of the first shard known."""
    archive = url if isinstance(url, Archive) else Archive.open(url)
    views = Dataset(archive, tasks, native=True)
    for stream in views.streams:
        archive.offsets(0, stream)
    traffic.requests.clear()
    traffic.sent.clear()
    return views


def test_one_sample_takes_two_requests_a_stream_and_little_more_than_its_bytes(
    served: tuple[str, Traffic],
) -> None:
    url, traffic = served
    views = warm(url, traffic)
    check(views[16], 16)
    assert traffic.requests == {f"{task}/train-{task}-000000.tar": 2 for task in TASKS}
    payloads = views.payloads([16])[0]
    for task in TASKS:
        payload = payloads[task]
        headers = 512 + 32 + 8 * PACK
        assert payload is not None
        assert traffic.sent[f"{task}/train-{task}-000000.tar"] in (
            headers + len(payload), headers + 2 * len(payload)
        )  # fmt: skip


def test_one_sample_of_a_pack_whose_table_is_known_takes_one_request(
    served: tuple[str, Traffic],
) -> None:
    url, traffic = served
    views = warm(url, traffic)
    check(views[16], 16)
    traffic.requests.clear()
    check(views[13], 13)
    assert set(tars(traffic).values()) == {1}


def test_one_sample_of_a_small_pack_takes_one_request(archive: Path) -> None:
    with serve(archive) as (url, traffic):
        views = warm(url, traffic)
        check(views[16], 16)
        assert traffic.requests == {f"{task}/train-{task}-000000.tar": 1 for task in TASKS}
        check(views[12], 12)
        assert set(tars(traffic).values()) == {1}


def test_reading_in_order_costs_one_read_a_pack(served: tuple[str, Traffic]) -> None:
    url, traffic = served
    views = warm(url, traffic, ("depth",))
    for index, sample in enumerate(views):
        check(sample, index, ("depth",))
    assert set(tars(traffic).values()) == {SHARD // PACK}
    views = warm(url, traffic, ("depth",))
    for index in range(len(views)):
        check(views[index], index, ("depth",))
    # the first sample does not tell yet that the others follow
    assert sum(tars(traffic).values()) <= 2 * SHARD // PACK + 2


def test_a_sample_without_the_task_costs_no_payload(served: tuple[str, Traffic]) -> None:
    url, traffic = served
    lacking = next(index for index in range(SHARD) if "label" not in SOURCE.arrays(index))
    views = warm(url, traffic, ("label",))
    check(views[lacking], lacking, ("label",))
    assert set(tars(traffic).values()) == {1}


def test_a_batch_merges_neighbours_and_reads_each_pack_once(
    served: tuple[str, Traffic],
) -> None:
    url, traffic = served
    views = warm(url, traffic)
    order = np.random.default_rng(0).permutation(SHARD).tolist()
    for index, sample in zip(order, views.batch(order), strict=True):
        check(sample, index)
    assert set(tars(traffic).values()) == {1}


def test_a_slice_is_read_with_one_request_a_file(served: tuple[str, Traffic]) -> None:
    url, traffic = served
    views = warm(url, traffic)
    for index, sample in zip(range(5, 55), views[5:55], strict=True):
        check(sample, index)
    assert set(tars(traffic).values()) == {1}
    assert len(tars(traffic)) == 2 * len(TASKS)


def test_a_few_samples_of_large_packs_share_requests_of_their_payloads_alone(
    served: tuple[str, Traffic], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, traffic = served
    monkeypatch.setattr("dsc._storage.read.samples.MAX_GAP", 0)
    views = warm(url, traffic, ("rgb",))
    for index, sample in zip([14, 13], views.batch([14, 13]), strict=True):
        check(sample, index, ("rgb",))
    assert tars(traffic) == {"rgb/train-rgb-000000.tar": 2}


def test_streams_are_read_side_by_side(served: tuple[str, Traffic]) -> None:
    url, traffic = served
    views = warm(url, traffic)
    traffic.meet = threading.Barrier(len(TASKS))  # each request waits for one of every stream
    check(views[16], 16)
    for sample, index in zip(views[20:30], range(20, 30), strict=True):
        check(sample, index)
    assert sum(tars(traffic).values()) == 3 * len(TASKS)


def test_random_access_finds_every_sample_by_index_and_key(served: tuple[str, Traffic]) -> None:
    views = Dataset.open(served[0], native=True)
    order = np.random.default_rng(1).permutation(60).tolist()
    for index in order:
        check(views[index], index)
    for index in order[:20]:
        check(views[SOURCE.key(index)], index)


@pytest.mark.parametrize("server", ["nginx", "s3"])
def test_random_access_works_with_other_servers(
    server: str, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsc._storage.read.samples.SMALL_PACK", 0)

    def read(url: str) -> None:
        views = Dataset.open(url, native=True)
        check(views[41], 41)
        for index, sample in zip(range(5, 35), views[5:35], strict=True):
            check(sample, index)
        check(views[SOURCE.key(59)], 59)

    if server == "nginx":
        with nginx(archive, tmp_path / "nginx") as (url, _):
            read(url)
    else:
        with s3(monkeypatch) as bucket:
            compress(SOURCE, f"{bucket}/a", codec="png", shard_size=SHARD, pack=PACK)
            read(f"{bucket}/a")


def test_a_payload_damaged_on_its_way_is_fetched_again(served: tuple[str, Traffic]) -> None:
    url, traffic = served
    opened = Archive.open(url)
    views = warm(opened, traffic, ("depth",))
    traffic.only, traffic.damage_next = ".tar", 2  # the table, once; then the payload, once
    check(views[16], 16, ("depth",))
    assert opened.root.counts.as_dict()["refetched_damaged"] >= 1


def test_lasting_damage_names_file_pack_and_key_and_the_rest_is_read(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsc._storage.read.samples.SMALL_PACK", 0)
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.01)
    copy = tmp_path / "copy"
    shutil.copytree(archive, copy)
    path = copy / "depth/train-depth-000001.tar"
    start, end = Archive.open(copy).extent(1, "depth", 1)
    data = bytearray(path.read_bytes())
    length = int(data[start + 124 : start + 135], 8)
    data[start + 512 + length - 1] ^= 1  # in the last sample of the pack: 49
    path.write_bytes(data)
    assert end > start
    with serve(copy) as (url, _):
        views = Dataset.open(url, native=True)
        check(views[42], 42)  # beside the damage
        for items in ([49], [3, 49], range(40, 50)):
            with pytest.raises(CorruptPackError) as caught:
                views.batch(items)
            assert f"{url}/depth/train-depth-000001.tar: pack 1" in str(caught.value)
            assert re.search(r"holds sample view_000(49|40)", str(caught.value))
        check(views[39], 39)
        check(Dataset.open(url, ["rgb"], native=True)[49], 49, ("rgb",))


def test_another_version_of_a_file_is_named(served: tuple[str, Traffic], archive: Path) -> None:
    url, traffic = served
    views = warm(url, traffic, ("rgb",))
    name = "rgb/train-rgb-000000.tar"
    traffic.stale[name] = (archive / name).read_bytes() + bytes(512)
    with pytest.raises(CorruptArchiveError, match=f"{url}/{name}.*another version"):
        views[16]


def test_a_cache_serves_the_second_reader(served: tuple[str, Traffic], tmp_path: Path) -> None:
    url, traffic = served
    for turn in range(2):
        views = Dataset.open(url, native=True, cache=tmp_path / "c", cache_limit="1GB")
        traffic.requests.clear()
        for index in (16, 3, 44):
            check(pickle.loads(pickle.dumps(views))[index], index)
        assert bool(tars(traffic)) == (turn == 0)
    with pytest.raises(UsageError, match="cache_limit"):
        Dataset.open(url, cache=tmp_path / "c", cache_limit="much")


def test_a_forked_process_reads_parts_of_packs(served: tuple[str, Traffic]) -> None:
    opened = Archive.open(served[0])
    views = Dataset(opened, native=True)
    check(views[16], 16)
    check(views[SOURCE.key(3)], 3)
    pid = os.fork()
    if pid == 0:  # nothing of pytest must run here
        try:
            check(views[44], 44)
            check(views[SOURCE.key(55)], 55)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    check(views[25], 25)
    assert opened.root.counts.as_dict()["retries"] == 0


def test_a_spoiled_bitstream_is_named_over_a_network_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = PngCodec.encode_task
    wanted = SOURCE.arrays(12)["depth"]

    def encode(self: PngCodec, task: object, array: np.ndarray, quality: int) -> bytes:
        data = original(self, task, array, quality)  # type: ignore[arg-type]
        spoil = getattr(task, "name", "") == "depth" and np.array_equal(array, wanted)
        return data[: len(data) // 2] if spoil else data

    monkeypatch.setattr(PngCodec, "encode_task", encode)
    compress(PixelSource(), tmp_path / "a", codec="png", shard_size=8, pack=3)
    monkeypatch.undo()
    with serve(tmp_path / "a") as (url, _):
        views = Dataset.open(url)
        with pytest.raises(
            BitstreamError, match=r"train-depth-000001\.tar: pack 1, sample view_00012.*depth"
        ):
            views[12]
        assert views[13]["depth"] is not None
