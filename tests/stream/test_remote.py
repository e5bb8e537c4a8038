"""Over a network: only the wanted streams' bytes, each once; faults are bounded, named, counted."""

import struct
from pathlib import Path
from typing import Any

import pytest

import dsc
from dsc._bench.server import serve
from dsc._storage.read.archive import Archive
from dsc._stream.sample_stream import SampleStream
from dsc.errors import CorruptArchiveError
from tests.archives import build_archive, payload

SAMPLES = 300


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("remote") / "a"
    build_archive(root, SAMPLES, 64, 8, (500, 3000))
    return root


def open_stream(url: Any, **options: Any) -> SampleStream:
    given = {"tasks": "rgb", "batch_size": 16, "shuffle": True, "decode": "bytes", **options}
    return dsc.stream(url, **given)


def check_all(stream: SampleStream, lost: frozenset[int] = frozenset()) -> None:
    """Check that an epoch gives every sample's own bytes once, but for the lost ones."""
    seen = []
    for batch in stream:
        for index, data in zip(batch["__index__"].tolist(), batch["rgb"], strict=True):
            assert data == payload("rgb", index, 500, 3000)
            seen.append(index)
    assert sorted(seen) == sorted(set(range(SAMPLES)) - lost)


@pytest.mark.parametrize("shuffle", [False, True])
def test_only_the_wanted_streams_bytes_are_read_and_each_once(archive: Path, shuffle: bool) -> None:
    stored = Archive.open(archive).manifest.totals["rgb"].stored_bytes
    with serve(archive) as (url, traffic):
        stream = open_stream(url, shuffle=shuffle)
        check_all(stream)
        assert traffic.total("depth") == 0
        assert traffic.total("keys") == 0
        assert traffic.total("rgb") <= stored
        before = traffic.total()
        check_all(stream)  # a second epoch of what fits in memory
        assert traffic.total() == before
    assert stream.report.reads["bytes_read"] >= traffic.total("rgb")


def test_neighbouring_packs_come_in_one_request(archive: Path) -> None:
    with serve(archive) as (url, traffic):
        check_all(open_stream(url, shuffle=False))
        tars = {name: n for name, n in traffic.requests.items() if name.endswith(".tar")}
    assert sum(tars.values()) <= 2 * len(tars)


def test_little_is_read_ahead_when_little_is_allowed(archive: Path) -> None:
    with serve(archive) as (url, traffic):
        found = iter(open_stream(url, prefetch="40kB"))
        next(found)
        stored = Archive.open(archive).manifest.totals["rgb"].stored_bytes
        assert traffic.total("rgb") < 0.7 * stored


def test_ranks_and_workers_with_lanes_of_their_own_share_the_bytes(tmp_path: Path) -> None:
    build_archive(tmp_path / "a", 2000, 250, 8)
    stored = Archive.open(tmp_path / "a").manifest.totals["rgb"].stored_bytes
    with serve(tmp_path / "a") as (url, traffic):
        for rank in range(2):
            stream = open_stream(url, rank=rank, world=2, lanes=4, window=64, batch_size=10)
            for worker in range(2):
                for _ in stream.steps_of(worker, 2):
                    pass
                stream.close()
                stream.set_epoch(1)
                stream.set_epoch(0)
        assert traffic.total("rgb") <= 1.05 * stored


def test_processes_share_a_cache_and_a_second_run_reads_nothing(
    archive: Path, tmp_path: Path
) -> None:
    stored = Archive.open(archive).manifest.totals["rgb"].stored_bytes
    options = {"cache": tmp_path / "cache", "cache_limit": "50MB", "workers": 2, "batch_size": 7}
    with serve(archive) as (url, traffic):
        stream = open_stream(url, **options)
        check_all(stream)
        stream.close()
        tars = sum(n for name, n in traffic.sent.items() if name.endswith(".tar"))
        assert tars <= stored
        again = open_stream(url, **options)
        check_all(again)
        again.close()
        assert sum(n for name, n in traffic.sent.items() if name.endswith(".tar")) == tars
        assert again.report.reads["cache_hits"] > 0


def test_a_cache_far_too_small_still_gives_everything(archive: Path, tmp_path: Path) -> None:
    with serve(archive) as (url, _):
        stream = open_stream(url, cache=tmp_path / "cache", cache_limit="30kB", memory="40kB")
        check_all(stream)
    held = sum(f.stat().st_size for f in (tmp_path / "cache").rglob("*") if f.is_file())
    assert held <= 60_000


def test_dropped_connections_and_errors_lose_nothing_and_are_counted(archive: Path) -> None:
    with serve(archive) as (url, traffic):
        stream = open_stream(url)
        traffic.cut_next, traffic.fail_next = 3, 2
        check_all(stream)
    assert stream.report.reads["retries"] >= 4


def test_a_server_that_is_gone_is_an_error_not_a_hang(archive: Path) -> None:
    with serve(archive) as (url, traffic):
        found = iter(open_stream(url, prefetch=0, memory=1))
        next(found)
        traffic.dead = True
        with pytest.raises(OSError, match="check the network"):
            for _ in found:
                pass


def damage(archive: Path, shard: int, pack: int, k: int) -> None:
    """Flip a byte in a payload of rgb."""
    opened = Archive.open(archive)
    path = archive / opened.shards[shard].streams["rgb"].path
    start = int(opened.offsets(shard, "rgb")[pack]) + 512
    data = bytearray(path.read_bytes())
    n = struct.unpack_from("<I", data, start + 8)[0]
    lengths = [struct.unpack_from("<I", data, start + 32 + 8 * i)[0] for i in range(n)]
    data[start + 32 + 8 * n + sum(lengths[:k]) + 10] ^= 1
    path.write_bytes(bytes(data))


@pytest.fixture
def damaged(archive: Path, tmp_path: Path) -> Path:
    build_archive(tmp_path / "a", SAMPLES, 64, 8, (500, 3000))
    damage(tmp_path / "a", 1, 2, 5)  # sample 64 + 16 + 5
    return tmp_path / "a"


@pytest.mark.parametrize("remote", [False, True])
def test_damage_is_an_error_that_names_file_pack_and_key(damaged: Path, remote: bool) -> None:
    with serve(damaged) as (url, _):
        stream = open_stream(url if remote else damaged, shuffle=False, batch_size=1)
        with pytest.raises(
            CorruptArchiveError,
            match=r"train-rgb-000001.tar: pack 2.*sample 85.*view_000\d\d.*on_error='skip'",
        ):
            list(stream)


@pytest.mark.parametrize("remote", [False, True])
def test_damage_costs_one_sample_and_is_counted_when_passed_over(
    damaged: Path, remote: bool
) -> None:
    with serve(damaged) as (url, _):
        stream = open_stream(url if remote else damaged, on_error="skip")
        check_all(stream, lost=frozenset({85}))
    report = stream.report
    assert (report.n_skipped, report.samples) == (1, SAMPLES - 1)
    assert (report.skipped[0].key, report.skipped[0].index) == ("view_00085", 85)
    assert "crc" in report.skipped[0].reason


def test_a_damaged_table_costs_its_pack_and_every_sample_is_counted(damaged: Path) -> None:
    path = damaged / Archive.open(damaged).shards[1].streams["rgb"].path
    data = bytearray(path.read_bytes())
    data[512 + 40] ^= 1  # in the table of pack 0
    path.write_bytes(bytes(data))
    stream = open_stream(damaged, on_error="skip", workers=2)
    check_all(stream, lost=frozenset({*range(64, 72), 85}))
    stream.close()
    assert stream.report.n_skipped == 9
    assert {one.index for one in stream.report.skipped} == {*range(64, 72), 85}


def test_ranks_stay_in_step_when_a_whole_batch_is_damaged(damaged: Path) -> None:
    ranks = [
        [b["__index__"].tolist() for b in open_stream(
            damaged, rank=rank, world=2, batch_size=1, shuffle=False, on_error="skip")]
        for rank in range(2)
    ]  # fmt: skip
    assert len(ranks[0]) == len(ranks[1]) == SAMPLES // 2
    assert ranks[1][42] == ranks[1][41] == [83]


def test_a_stale_file_is_an_error_that_says_so(archive: Path, tmp_path: Path) -> None:
    build_archive(tmp_path / "a", SAMPLES, 64, 8, (500, 3000))
    build_archive(tmp_path / "old", SAMPLES, 64, 8, (400, 2000))
    with serve(tmp_path / "a") as (url, _):
        stream = open_stream(url)
        name = "rgb/train-rgb-000002.tar"
        (tmp_path / "a" / name).write_bytes((tmp_path / "old" / name).read_bytes())
        with pytest.raises(CorruptArchiveError, match=r"train-rgb-000002.tar"):
            list(stream)


def test_an_archive_that_is_cut_is_reported_not_shortened(tmp_path: Path) -> None:
    build_archive(tmp_path / "a", SAMPLES, 64, 8, (500, 3000))
    path = tmp_path / "a" / "rgb/train-rgb-000003.tar"
    path.write_bytes(path.read_bytes()[: 512 * 40])
    with pytest.raises(CorruptArchiveError, match=r"train-rgb-000003.tar"):
        list(open_stream(tmp_path / "a"))
