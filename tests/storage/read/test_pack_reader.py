"""Packs by few requests; faults on the way are repaired and counted, or named; none is silent."""

import errno
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsc._bench.server import Traffic, serve
from dsc._storage.cache.pack_cache import PackCache
from dsc._storage.files.counts import FIELDS
from dsc._storage.files.root import Root
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import REFETCHES, PackId, PackReader
from dsc.errors import CorruptArchiveError, CorruptPackError, UnsafeArchiveError
from tests.archives import STREAMS, build_archive, forge, payload

FORK = multiprocessing.get_context("fork")
N, SHARD, PACK = 60, 30, 4
ROOMY = 1 << 30
TAR = "rgb/train-rgb-000000.tar"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packs") / "archive"
    build_archive(root, N, SHARD, PACK)
    return root


@pytest.fixture
def served(built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Traffic]]:
    """The archive behind HTTP; waiting before a repetition is short."""
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.01)
    with serve(built) as (url, traffic):
        yield url, traffic


def check(reader: PackReader, shard: int, stream: str, packs: list[int]) -> None:
    for pack, found in zip(packs, reader.read(shard, stream, packs), strict=True):
        first, count = reader.archive.span(shard, pack)
        assert found.first_index == first
        assert list(found.payloads) == [payload(stream, k) for k in range(first, first + count)]


def every(reader: PackReader) -> list[PackId]:
    return [
        PackId(shard, stream, pack)
        for shard in range(len(reader.archive.shards))
        for stream in STREAMS
        for pack in range(reader.archive.n_packs(shard))
    ]


# requests


def test_neighbours_share_a_request_and_the_index_is_read_once(
    served: tuple[str, Traffic],
) -> None:
    url, traffic = served
    reader = PackReader(Archive.open(url))
    reader.take_counts()
    traffic.requests.clear()
    check(reader, 0, "rgb", [5, 1, 2, 3, 1])
    check(reader, 0, "rgb", [7])
    assert traffic.requests == {f"{TAR}.idx": 1, TAR: 2}
    counts = reader.take_counts()
    assert counts["requests"] == 3
    assert counts["bytes_read"] == traffic.total(TAR)


def test_far_packs_are_not_read_through_what_lies_between(tmp_path: Path) -> None:
    build_archive(tmp_path, 12, 12, 1, sizes=(4000, 4001))
    with serve(tmp_path) as (url, traffic):
        reader = PackReader(Archive.open(url), max_gap=2000)
        traffic.sent.clear()
        assert len(reader.read(0, "rgb", [0, 1, 6, 7, 11])) == 5
        assert traffic.requests[TAR] == 3
        assert traffic.sent[TAR] == 5 * (512 + 4096)


def test_a_long_run_of_packs_is_asked_for_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsc._storage.read.pack_reader.MAX_REQUEST", 10_000)
    build_archive(tmp_path, 12, 12, 1, sizes=(4000, 4001))
    with serve(tmp_path) as (url, traffic):
        reader = PackReader(Archive.open(url))
        assert len(reader.read(0, "rgb", list(range(12)))) == 12
        assert traffic.requests[TAR] == 6


def test_threads_that_want_one_index_ask_for_it_once(served: tuple[str, Traffic]) -> None:
    url, traffic = served
    reader = PackReader(Archive.open(url))
    barrier, wrong = threading.Barrier(6), []

    def read(pack: int) -> None:
        try:
            barrier.wait(30)
            check(reader, 0, "rgb", [pack])
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(pack,)) for pack in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert traffic.requests[f"{TAR}.idx"] == 1


def test_a_pack_that_is_kept_does_not_keep_its_neighbours(served: tuple[str, Traffic]) -> None:
    reader = PackReader(Archive.open(served[0]))
    start, end = reader.archive.extent(0, "rgb", 1)
    found = reader.read(0, "rgb", [0, 1, 2])[1].payloads[0]
    assert found is not None
    assert len(found.obj) == end - start  # type: ignore[arg-type]


# faults


@pytest.mark.parametrize("fault", ["fail_next", "drop_next", "cut_next"])
def test_a_request_that_fails_is_repeated_and_counted(
    served: tuple[str, Traffic], fault: str
) -> None:
    url, traffic = served
    reader = PackReader(Archive.open(url))
    traffic.only = TAR
    setattr(traffic, fault, 2)
    check(reader, 0, "rgb", [0, 1])
    counts = reader.take_counts()
    # the HTTP client itself asks once more where a kept connection turns out to be closed
    assert counts["retries"] == (1 if fault == "drop_next" else 2)
    assert (traffic.requests[TAR], counts["refetched_damaged"]) == (3, 0)


def test_a_server_that_stalls_is_left_after_the_time_limit(served: tuple[str, Traffic]) -> None:
    url, traffic = served
    reader = PackReader(Archive.open(Root(url, timeout_s=0.3, retries=3)))
    traffic.only, traffic.stall_next = TAR, 1
    check(reader, 0, "rgb", [0, 1])
    assert reader.take_counts()["retries"] >= 1
    traffic.stall_next = 1000
    with pytest.raises(OSError, match=f"{url}/{TAR}: .*check the network"):
        reader.read(0, "rgb", [3])


def test_a_pack_damaged_on_its_way_is_fetched_again_and_counted(
    served: tuple[str, Traffic],
) -> None:
    url, traffic = served
    reader = PackReader(Archive.open(url))
    traffic.only, traffic.damage_next = TAR, 1
    check(reader, 0, "rgb", list(range(8)))
    traffic.damage_next = REFETCHES
    check(reader, 0, "rgb", [4])
    assert reader.take_counts()["refetched_damaged"] == 1 + REFETCHES


def test_a_pack_that_stays_damaged_is_an_error_that_names_it_and_is_not_cached(
    served: tuple[str, Traffic], tmp_path: Path
) -> None:
    url, traffic = served
    reader = PackReader(Archive.open(url), PackCache(tmp_path / "c", ROOMY))
    reader.archive.offsets(0, "rgb")
    traffic.only, traffic.damage_next = TAR, 1000
    with pytest.raises(CorruptPackError, match=rf"{url}/{TAR}: pack 4.*dsc verify"):
        reader.read(0, "rgb", [4])
    assert reader.take_counts()["refetched_damaged"] == REFETCHES
    traffic.damage_next = 0
    check(reader, 0, "rgb", [4])
    assert reader.take_counts()["cache_hits"] == 0


def test_one_damaged_pack_does_not_make_its_neighbours_fetched_again(
    served: tuple[str, Traffic],
) -> None:
    url, traffic = served
    reader = PackReader(Archive.open(url))
    reader.archive.offsets(0, "rgb")
    traffic.only, traffic.damage_next = TAR, 1
    traffic.requests.clear()
    traffic.sent.clear()
    check(reader, 0, "rgb", list(range(8)))
    record = reader.archive.record(0, "rgb")
    assert traffic.requests[TAR] == 2
    assert traffic.sent[TAR] < 1.3 * record.bytes


def test_a_damaged_table_is_fetched_again(served: tuple[str, Traffic]) -> None:
    url, traffic = served
    reader = PackReader(Archive.open(url))
    reader.archive.offsets(0, "depth")
    traffic.only, traffic.damage_next = ".tar", 2
    expected = [payload("depth", k) is None for k in range(4)]
    assert reader.missing(0, "depth", 0).tolist() == expected
    assert reader.take_counts()["refetched_damaged"] == 2


def test_a_damaged_pack_of_a_local_archive_is_an_error_at_once(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    reader = PackReader(Archive.open(copy))
    start, end = reader.archive.extent(0, "rgb", 1)
    data = bytearray((copy / TAR).read_bytes())
    data[(start + end) // 2] ^= 1
    (copy / TAR).write_bytes(data)
    with pytest.raises(CorruptPackError, match="pack 1"):
        reader.read(0, "rgb", [0, 1])
    assert reader.take_counts()["refetched_damaged"] == 0
    check(reader, 0, "rgb", [0, 2])
    start, _ = reader.archive.extent(0, "rgb", 3)
    data[start + 512 + 33] ^= 1  # in the table
    (copy / TAR).write_bytes(data)
    with pytest.raises(CorruptPackError, match="pack 3"):
        reader.missing(0, "rgb", 3)


def test_an_old_index_is_read_again_where_packs_do_not_lie_as_it_says(
    served: tuple[str, Traffic], built: Path
) -> None:
    url, traffic = served
    moved = np.frombuffer((built / f"{TAR}.idx").read_bytes(), "<u8").copy()
    moved[1] += 512
    archive = Archive.open(url)
    traffic.stale[f"{TAR}.idx"] = moved.tobytes()  # what a proxy gave from before
    assert archive.offsets(0, "rgb").tolist() == moved.tolist()
    traffic.stale.clear()
    check(PackReader(archive), 0, "rgb", [0, 1, 2])


def other_version(root: Path, shift: int) -> bytes:
    """Return the tar that a newer archive has under the same name."""
    build_archive(root, N, SHARD, PACK, sizes=(20 + shift, 90 + shift))
    return (root / TAR).read_bytes()


def test_a_server_that_serves_another_version_of_a_file_is_named_with_both_sizes(
    served: tuple[str, Traffic], built: Path, tmp_path: Path
) -> None:
    url, traffic = served
    reader = PackReader(Archive.open(url), PackCache(tmp_path / "c", ROOMY))
    stale = traffic.stale[TAR] = other_version(tmp_path / "other", 400)
    size = reader.archive.record(0, "rgb").bytes
    assert len(stale) != size
    for pack in (0, reader.archive.n_packs(0) - 1):
        with pytest.raises(CorruptArchiveError, match="another version") as caught:
            reader.read(0, "rgb", [pack])
        told_sizes = (f" {len(stale)} bytes", f"say {size}")
        for told in (f"{url}/{TAR}", *told_sizes, "open the archive again"):
            assert told in str(caught.value)
    counts = reader.take_counts()
    assert (counts["retries"], counts["refetched_damaged"]) == (0, 0)  # asking again is useless
    traffic.stale.clear()
    check(reader, 0, "rgb", [0, reader.archive.n_packs(0) - 1])


def test_another_version_of_the_same_size_is_never_taken_for_this_one(
    served: tuple[str, Traffic], built: Path
) -> None:
    url, traffic = served
    reader = PackReader(Archive.open(url))
    data = (built / TAR).read_bytes()
    first, second = (reader.archive.extent(0, "rgb", pack) for pack in (0, 1))
    swapped = data[second[0] : second[1]] + data[first[0] : first[1]] + data[second[1] :]
    traffic.stale[TAR] = swapped
    for pack in (0, 1):
        with pytest.raises(CorruptArchiveError):
            reader.read(0, "rgb", [pack])


# cache


def test_packs_come_from_the_cache_when_they_were_read_before(
    served: tuple[str, Traffic], tmp_path: Path
) -> None:
    url, traffic = served
    for turn in range(2):
        reader = PackReader(Archive.open(url), PackCache(tmp_path / "c", ROOMY))
        reader.take_counts()
        traffic.sent.clear()
        assert len(reader.read_many(every(reader))) == len(every(reader))
        tars = sum(count for path, count in traffic.sent.items() if path.endswith(".tar"))
        counts = reader.take_counts()
        hits = len(every(reader)) if turn else 0
        assert (tars > 0, counts["cache_hits"]) == (not turn, hits)
        assert counts["cache_misses"] == len(every(reader)) - hits


def test_a_local_archive_never_uses_the_cache(built: Path, tmp_path: Path) -> None:
    for place in (built, f"file://{built}"):
        cache = PackCache(tmp_path / "c", ROOMY)
        reader = PackReader(Archive.open(place), cache)
        check(reader, 0, "rgb", [0, 1])
        assert cache.used_bytes() == 0


def test_a_damaged_cache_entry_is_fetched_again_and_counted(
    served: tuple[str, Traffic], tmp_path: Path
) -> None:
    cache = PackCache(tmp_path / "c", ROOMY)
    reader = PackReader(Archive.open(served[0]), cache)
    check(reader, 0, "rgb", [0, 1, 2])
    (path,) = (cache.directory / "packs").rglob("*-1")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    reader.take_counts()
    check(reader, 0, "rgb", [0, 1, 2])
    counts = reader.take_counts()
    assert (counts["cache_damaged"], counts["cache_hits"], counts["requests"]) == (1, 2, 1)
    check(reader, 0, "rgb", [0, 1, 2])
    assert reader.take_counts()["requests"] == 0


def test_a_replaced_archive_is_never_read_from_the_old_ones_packs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = PackCache(tmp_path / "c", ROOMY)
    with serve(tmp_path / "a") as (url, _):
        build_archive(tmp_path / "a", N, SHARD, PACK)
        check(PackReader(Archive.open(url), cache), 0, "rgb", [0, 1])
        shutil.rmtree(tmp_path / "a")
        monkeypatch.setattr("tests.archives.STREAMS", ("depth", "rgb"))  # other payloads
        build_archive(tmp_path / "a", N, SHARD, PACK)
        reader = PackReader(Archive.open(url), cache)
        check(reader, 0, "rgb", [0, 1])
        assert reader.take_counts()["cache_hits"] == 0


def test_a_full_cache_disk_does_not_stop_the_reading(
    served: tuple[str, Traffic], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    reader = PackReader(Archive.open(served[0]), PackCache(tmp_path / "c", ROOMY))
    with pytest.warns(RuntimeWarning, match="No space left"):
        check(reader, 0, "rgb", [0, 1])
    check(reader, 0, "rgb", [0, 1])
    assert reader.take_counts()["cache_errors"] == 1


def run_children(count: int, work: Callable[[int], object]) -> None:
    children = [FORK.Process(target=work, args=(number,)) for number in range(count)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * count


def test_processes_on_one_cache_ask_the_server_once_for_each_pack(
    served: tuple[str, Traffic], tmp_path: Path
) -> None:
    url, traffic = served

    def work(number: int) -> None:
        # no gaps: what lies between two packs of this process may be the other one's
        reader = PackReader(Archive.open(url), PackCache(tmp_path / "c", ROOMY), max_gap=0)
        for shard, stream in [(0, "rgb"), (1, "rgb"), (0, "depth"), (1, "depth")]:
            packs = range(reader.archive.n_packs(shard))
            check(reader, shard, stream, sorted(packs, key=lambda pack: (pack + number) % 3))

    run_children(2, work)
    archive = Archive.open(url)
    for shard in range(2):
        for stream in STREAMS:
            record = archive.record(shard, stream)
            assert traffic.sent[record.path] == record.bytes - 1024  # all packs, each once


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_dies_or_stops_in_a_fetch_does_not_hold_up_the_others(
    served: tuple[str, Traffic], tmp_path: Path, end: signal.Signals
) -> None:
    url, traffic = served
    wait_s = 600 if end == signal.SIGKILL else 0.3
    reader = PackReader(Archive.open(url), PackCache(tmp_path / "c", ROOMY, wait_s))
    reader.archive.offsets(0, "rgb")
    traffic.only, traffic.stall_next = TAR, 1
    child = FORK.Process(target=reader.read, args=(0, "rgb", [0, 1]))
    child.start()
    try:
        while traffic.stall_next:
            time.sleep(0.005)
        os.kill(child.pid or 0, end)
        if end == signal.SIGKILL:
            child.join()
        check(reader, 0, "rgb", [0, 1, 2])
        reader.take_counts()
        check(reader, 0, "rgb", [0, 1, 2])
        assert reader.take_counts()["requests"] == 0
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        child.join()


# counts, pickles, forks


def test_counts_are_of_one_process_and_add_up(served: tuple[str, Traffic]) -> None:
    url, traffic = served
    reader = PackReader(Archive.open(url))
    check(reader, 0, "rgb", [0])
    assert tuple(reader.counts.as_dict()) == FIELDS
    assert pickle.loads(pickle.dumps(reader)).counts.as_dict() == dict.fromkeys(FIELDS, 0)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:  # nothing of pytest must run here
        check(reader, 1, "depth", [0])
        os.write(write_end, json.dumps(reader.take_counts()).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as told:
        child = json.loads(told.read())
    os.waitpid(pid, 0)
    parent = reader.take_counts()
    total = {name: parent[name] + child[name] for name in FIELDS}
    assert total["requests"] == sum(traffic.requests.values())
    assert total["bytes_read"] == sum(traffic.sent.values())
    assert reader.take_counts() == dict.fromkeys(FIELDS, 0)


def test_a_reader_works_in_a_forked_process_whatever_its_threads_were_doing(
    served: tuple[str, Traffic], tmp_path: Path
) -> None:
    reader = PackReader(Archive.open(served[0]), PackCache(tmp_path / "c", ROOMY))
    check(reader, 0, "rgb", [0])

    def work(_: int) -> None:
        check(reader, 1, "rgb", [0, 1])
        reader.read_many(every(reader))

    with reader._lock, reader.archive.root.counts._lock:  # as if another thread were reading
        run_children(2, work)
    check(reader, 1, "depth", [2])


def test_threads_share_a_reader(served: tuple[str, Traffic], tmp_path: Path) -> None:
    reader = PackReader(Archive.open(served[0]), PackCache(tmp_path / "c", 40 * 4096))
    wrong: list[BaseException] = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for _ in range(12):
                shard, stream = int(rng.integers(2)), STREAMS[rng.integers(2)]
                check(reader, shard, stream, rng.integers(0, 8, 4).tolist())
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# what a remote archive may not ask for


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../secret", "pipe:touch hacked", "file:///etc/passwd", "a::b", "s3://b/x",
     "http://127.0.0.1:1/x", "rgb/../../secret"],
)  # fmt: skip
def test_a_remote_manifest_cannot_name_local_files_commands_or_other_servers(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(b"not to be read")
    root = tmp_path / "archive"
    edits: list[Callable[[dict[str, Any]], object]] = [
        lambda record: record["keys"].update(path=path),
        lambda record: record["streams"]["rgb"].update(path=path),
    ]
    for edit in edits:
        shutil.rmtree(root, ignore_errors=True)
        build_archive(root, 6)
        forge(root, lambda records, edit=edit: edit(records[0]))  # type: ignore[misc]
        with serve(root) as (url, traffic):
            with pytest.raises(CorruptArchiveError, match="path"):
                Archive.open(url)
            assert set(traffic.requests) == {"dsc.json", "shards.jsonl"}
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    "url", ["pipe:cat x", "zip://a::http://b/c", "reference://x", "simplecache::s3://b"]
)
def test_urls_that_run_commands_or_chain_others_are_not_opened(url: str) -> None:
    with pytest.raises(UnsafeArchiveError, match="not opened"):
        Root(url)
