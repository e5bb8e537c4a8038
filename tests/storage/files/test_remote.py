"""The same archive behind every kind of server: same packs, few requests, honest errors."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsc._bench.server import serve
from dsc._storage.files.root import Root
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackId, PackReader
from dsc._storage.read.verify import verify_archive
from dsc.errors import CorruptArchiveError, UnknownSampleError
from tests.archives import STREAMS, build_archive, payload
from tests.real_servers import nginx, s3

N = 23
PLACES = ["path", "file", "memory", "http", "http without ranges", "nginx", "s3"]


@pytest.fixture(params=PLACES)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Root]:
    """A root of each kind that holds an archive."""
    kind, folder = request.param, tmp_path / "archive"
    if kind == "memory":
        root = Root(f"memory://{tmp_path.name}")
        build_archive(root, N)
        yield root
    elif kind == "s3":
        with s3(monkeypatch) as bucket:
            root = Root(f"{bucket}/views")
            build_archive(root, N)
            yield root
    else:
        build_archive(folder, N)
        if kind == "nginx":
            with nginx(folder, tmp_path / "nginx") as (url, _):
                yield Root(url)
        elif kind.startswith("http"):
            with serve(folder) as (url, traffic):
                traffic.ranges = kind == "http"
                yield Root(url)
        else:
            yield Root(folder if kind == "path" else f"file://{folder}")


def test_an_archive_is_the_same_wherever_it_lies(place: Root) -> None:
    archive = Archive.open(place)
    reader = PackReader(archive)
    ids = [
        PackId(shard, stream, pack)
        for shard in range(len(archive.shards))
        for stream in STREAMS
        for pack in reversed(range(archive.n_packs(shard)))
    ]
    found = reader.read_many(ids)
    seen = 0
    for one in ids:
        first, count = archive.span(one.shard, one.pack)
        assert found[one].first_index == first
        expected = [payload(one.stream, index) for index in range(first, first + count)]
        assert list(found[one].payloads) == expected
        assert reader.missing(*one).tolist() == [data is None for data in expected]
        seen += count
    assert seen == N * len(STREAMS)
    assert [archive.index_of(archive.key(index)) for index in range(N)] == list(range(N))
    with pytest.raises(UnknownSampleError):
        archive.index_of("view_99999")
    assert verify_archive(place.url) == []


def test_a_range_ends_with_the_file_wherever_it_lies(place: Root) -> None:
    data = place.read("README.md")
    size = len(data)
    assert size == place.size("README.md")
    past = [(2, size + 50), (size, size + 9), (size + 5, None)]
    for start, end in [(0, 4), (3, None), (7, 7), *past]:
        assert place.read("README.md", start, end) == data[start:end]
    assert place.read("README.md", 1, 5, file_bytes=size) == data[1:5]


@pytest.mark.parametrize("change", [-1700, 512])
def test_a_file_of_another_size_is_named_with_both_sizes(
    place: Root, tmp_path: Path, change: int
) -> None:
    """A server that serves an old copy, or a file that was cut."""
    archive = Archive.open(place)
    record = archive.record(0, "rgb")
    data = place.read(record.path)
    stale = data[:change] if change < 0 else data + bytes(change)
    local = tmp_path / "archive" / record.path
    if local.exists():
        local.write_bytes(stale)
    else:
        place.write(record.path, stale)
    reader = PackReader(Archive.open(place))
    last = archive.n_packs(0) - 1
    if change < 0 or place.url.startswith(("http", "/")):
        with pytest.raises(CorruptArchiveError, match="bytes, the archive's records say") as caught:
            reader.read(0, "rgb", [last])
        text = str(caught.value)
        assert place.where(record.path) in text
        assert f" {len(stale)} bytes" in text
        assert f" {record.bytes}: " in text
    else:  # a range of a longer object is right as long as its checksums are
        reader.read(0, "rgb", [last])


def test_a_missing_file_is_named_at_once(place: Root, tmp_path: Path) -> None:
    archive = Archive.open(place)
    record = archive.record(1, "depth")
    archive.offsets(1, "depth")
    local = tmp_path / "archive" / record.path
    if local.exists():
        local.unlink()
    else:
        place.remove(record.path)
    with pytest.raises(FileNotFoundError, match=record.path):
        PackReader(archive).read(1, "depth", [0])


def test_nginx_is_asked_for_neighbours_once_and_for_nothing_else(tmp_path: Path) -> None:
    build_archive(tmp_path / "archive", N)
    with nginx(tmp_path / "archive", tmp_path / "nginx") as (url, log):
        reader = PackReader(Archive.open(url))
        log.write_text("")
        reader.read(0, "depth", [2, 0, 1])
        deadline = time.monotonic() + 10
        while len(log.read_text().splitlines()) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        lines = [line.split() for line in log.read_text().splitlines()]
    path = "/depth/train-depth-000000.tar"
    assert Counter((line[0], line[1]) for line in lines) == {
        ("GET", path): 1, ("GET", f"{path}.idx"): 1
    }  # fmt: skip
    record = reader.archive.record(0, "depth")
    assert {line[1]: int(line[3]) for line in lines}[path] == record.bytes - 1024


def test_a_server_that_accepts_and_says_nothing_is_a_bounded_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S3 clients repeat by themselves; two layers of that would make minutes of seconds."""
    pytest.importorskip("s3fs", reason="no S3 client: pip install s3fs")
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.01)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def accept() -> None:
            while True:
                try:
                    accepted.append(silent.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for url in (address, "s3://bucket"):
            accepted.clear()
            root = Root(url, timeout_s=0.3, retries=2)
            with pytest.raises(OSError, match=f"{url}/f: .*check the network"):
                root.read("f", 0, 10)
            assert len(accepted) == 2  # each attempt is one request, on a connection of its own
            assert root.counts.as_dict()["retries"] == 1
        silent.shutdown(socket.SHUT_RDWR)
    for connection in accepted:
        connection.close()
