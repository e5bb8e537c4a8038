"""Files: whole or not at all when written; the asked-for bytes or an error when read."""

import gc
import multiprocessing
import os
import pickle
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._bench.server import serve
from dsc._storage.files.place import redact
from dsc._storage.files.retry import ATTEMPTS
from dsc._storage.files.root import Root
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import UnsafeArchiveError, UsageError
from tests.archives import build_archive, payload

DATA = bytes(range(256)) * 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "f").write_bytes(DATA)
    return tmp_path


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 3000), st.one_of(st.none(), st.integers(0, 3000), st.just(10**15)))
def test_a_memory_range_is_a_slice(start: int, end: int | None) -> None:
    root = Root("memory://ranges")
    root.write("f", DATA)
    assert root.read("f", start, end) == DATA[start:end]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 3000), st.one_of(st.none(), st.integers(0, 3000), st.just(2**63)))
def test_a_local_range_is_a_slice(start: int, end: int | None) -> None:
    root = Root(Path(__file__).parent)
    data = Path(__file__).read_bytes()
    assert root.read(Path(__file__).name, start, end) == data[start:end]


@pytest.mark.parametrize("ranges", [True, False])
def test_an_http_range_is_a_slice_whatever_the_server_does(folder: Path, ranges: bool) -> None:
    with serve(folder) as (url, traffic):
        traffic.ranges = ranges
        root = Root(url)
        for start, end in [
            (0, None), (0, 10), (3, None), (3, 20), (3, 9999), (2040, 2048), (2040, 2049),
            (2048, 2060), (5000, 6000), (7, 7), (9, 4), (0, 2048), (0, 9999),
        ]:  # fmt: skip
            assert root.read("f", start, end) == DATA[start:end], (start, end)
        assert root.read_many("f", [(0, 4), (9, 12), (2000, 2048)]) == [
            DATA[0:4], DATA[9:12], DATA[2000:]
        ]  # fmt: skip
        assert root.size("f") == len(DATA)


def test_a_range_costs_its_bytes_and_one_request(folder: Path) -> None:
    with serve(folder) as (url, traffic):
        Root(url).read("f", 100, 164)
        assert (traffic.requests["f"], traffic.sent["f"]) == (1, 64)


def test_a_file_that_is_not_there_is_no_network_error(folder: Path) -> None:
    with serve(folder) as (url, traffic):
        root = Root(url)
        for call in (root.read, root.size):
            with pytest.raises(FileNotFoundError, match="none"):
                call("none")
        assert not root.exists("none")
        assert root.exists("f")
        assert traffic.requests["none"] == 3  # asked once each: 404 is final


def test_a_dead_network_is_not_a_file_that_is_not_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verify skips an index that is not there: it must not skip one that it cannot reach."""
    monkeypatch.setattr("dsc._storage.files.retry.ATTEMPTS", 2)
    with serve(folder) as (url, traffic):
        traffic.dead = True
        root = Root(url)
        for call in (root.read, root.size, root.exists):
            with pytest.raises(OSError, match=f"{url}/f: .*check the network") as caught:
                call("f")
            assert not isinstance(caught.value, FileNotFoundError)


def test_dropped_connections_and_server_errors_are_retried(folder: Path) -> None:
    with serve(folder) as (url, traffic):
        traffic.cut_next = ATTEMPTS - 2
        traffic.fail_next = 1
        assert Root(url).read("f", 5, 500) == DATA[5:500]
        assert traffic.requests["f"] == ATTEMPTS


def _read_in_child(root: Root, queue: "multiprocessing.Queue[bytes]") -> None:
    try:
        queue.put(root.read("f", 10, 20))
    except Exception as error:  # the parent shows it
        queue.put(repr(error).encode())


def test_a_forked_worker_reads_with_connections_of_its_own(folder: Path) -> None:
    with serve(folder) as (url, _):
        root = Root(url)
        root.read("f", 0, 1)  # the parent is connected
        context = multiprocessing.get_context("fork")
        queue: multiprocessing.Queue[bytes] = context.Queue()
        child = context.Process(target=_read_in_child, args=(root, queue))
        child.start()
        try:
            assert queue.get(timeout=30) == DATA[10:20]
        finally:
            child.terminate()
            child.join()
        assert root.read("f", 0, 4) == DATA[:4]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_does_not_take_away_its_parents_connections(folder: Path) -> None:
    """The two share an epoll instance: a connection closed in one is deaf in the other."""
    with serve(folder) as (url, _):
        roots = [Root(url, timeout_s=2) for _ in range(3)]
        for root in roots:
            root.read("f", 0, 1)  # the parent is connected
        gc.collect()  # of other tests: an encoder that ends in the fork waits for its threads
        pid = os.fork()
        if pid == 0:  # nothing of pytest must run here
            roots[0].read("f", 0, 1)
            roots.clear()
            del root
            gc.collect()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        for root in roots:
            assert root.read("f", 10, 20) == DATA[10:20]
            assert root.counts.as_dict()["retries"] == 0


def test_time_limit_and_repetitions_are_the_callers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.01)
    with serve(folder) as (url, traffic):
        traffic.stall_next = 1
        root = Root(url, timeout_s=0.2, retries=2)
        assert root.read("f", 0, 100) == DATA[:100]
        limits = root.remote.filesystem().client_kwargs["timeout"]
        assert (limits.connect, limits.sock_read) == (0.2, 0.2)
        traffic.fail_next = 2
        with pytest.raises(OSError, match=f"{url}/f: .*check the network"):
            root.read("f", 0, 100)
        assert (traffic.requests["f"], traffic.fail_next) == (4, 0)
        counts = root.counts.as_dict()
        assert (counts["requests"], counts["retries"], counts["bytes_read"]) == (4, 2, 100)
        other = pickle.loads(pickle.dumps(root))
        assert (other.timeout_s, other.retries, other.fresh().retries) == (0.2, 2, 2)
        assert sum(other.counts.as_dict().values()) == 0


def test_an_unknown_scheme_is_said_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(UsageError, match="nosuch://x"):
        Root("nosuch://x").read("f")
    assert time.monotonic() - begun < 0.2  # no network was asked, so none is waited for


def test_a_relative_root_means_the_same_place_in_another_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    root = Root(folder.name)
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(root)).read("f", 0, 4) == DATA[:4]


def test_a_failed_write_leaves_the_old_file_and_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        Root(folder).write("f", b"new")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"f": DATA}


@pytest.mark.parametrize("url", ["local", "memory://files"])
def test_files_are_written_put_listed_and_removed(tmp_path: Path, url: str) -> None:
    root = Root(tmp_path / "a" if url == "local" else f"{url}/{tmp_path.name}")
    root.write("x/one", b"1")
    (tmp_path / "two.src").write_bytes(b"22")
    root.put(tmp_path / "two.src", "x/y/two")
    assert not (tmp_path / "two.src").exists()
    assert root.list() == ["x/one", "x/y/two"]
    assert root.list("x/y") == ["x/y/two"]
    assert (root.read("x/one"), root.size("x/y/two"), root.exists("x/no")) == (b"1", 2, False)
    root.remove("x/one")
    root.remove("x/one")
    assert root.list() == ["x/y/two"]


@pytest.mark.parametrize("path", ["../f", "/etc/passwd", "a\\b", "pipe:ls", "a/../../f"])
def test_no_call_leaves_the_root(folder: Path, path: str) -> None:
    root = Root(folder)
    for call in (root.read, root.exists, root.size, root.remove):
        with pytest.raises(UnsafeArchiveError):
            call(path)
    with pytest.raises(UnsafeArchiveError):
        root.write(path, b"")


def test_verify_and_all_reads_work_over_http(tmp_path: Path) -> None:
    build_archive(tmp_path)
    with serve(tmp_path) as (url, traffic):
        assert verify_archive(url) == []
        (tmp_path / "rgb" / "train-rgb-000001.tar.idx").write_bytes(bytes(32))
        assert [problem.path for problem in verify_archive(url)] == ["rgb/train-rgb-000001.tar"]
        (tmp_path / "rgb" / "train-rgb-000001.tar.idx").unlink()
        traffic.requests.clear()
        assert Archive.open(url).payloads(9, ["rgb"]) == {"rgb": payload("rgb", 9)}
        assert not any(path.startswith("depth") for path in traffic.requests)


def test_a_query_goes_with_every_request_and_stands_in_no_message(tmp_path: Path) -> None:
    build_archive(tmp_path / "my views")
    signature = "sv=1&sig=a%2Bb/c%3D"  # a server may sign these very letters
    with serve(tmp_path) as (url, traffic):
        traffic.signature = signature
        for spelt in ("my%20views", "my views", "my%20views/"):
            archive = Archive.open(f"{url}/{spelt}?{signature}")
            assert archive.payloads(9, ["rgb"]) == {"rgb": payload("rgb", 9)}
            assert verify_archive(f"{url}/{spelt}?{signature}") == []
        root = pickle.loads(pickle.dumps(archive.root))
        assert root.size("README.md") == len(root.read("README.md"))
        with pytest.raises(FileNotFoundError) as gone:
            root.read("none")
        traffic.signature = "another"
        with pytest.raises(PermissionError, match="may have expired") as refused:
            root.read("README.md")
        traffic.fail_next, traffic.signature = 99, ""
        with pytest.raises(OSError, match="check the network") as failed:
            root.fresh().read("README.md")
    for text in (*(str(caught.value) for caught in (gone, refused, failed)), repr(root), root.url):
        assert "sig=" not in text
        assert "my%20views" in text
    assert failed.value.__cause__ is None  # it would show the signature in a traceback


def test_a_503_and_a_429_are_asked_again_and_a_400_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.001)
    with serve(folder) as (url, traffic):
        for status, requests in ((503, 2), (429, 2), (400, 1)):
            traffic.requests.clear()
            traffic.fail_next, traffic.fail_with = 1, status
            if status == 400:
                with pytest.raises(OSError, match="400"):
                    Root(url).read("f")
            else:
                assert Root(url).read("f") == DATA
            assert traffic.requests["f"] == requests


def test_an_account_in_a_url_is_sent_and_not_shown(folder: Path) -> None:
    place = Root("https://me:pass%40word@host/a").remote.place
    assert (place.url, place.user, place.password) == ("https://host/a", "me", "pass@word")
    assert "me" not in repr(place)


NAMES = ["a b", "100%25", "a%20b", "c#1", "why?", "\u00e9t\u00e9", "a+b&c=d"]


@pytest.mark.parametrize("name", NAMES)
def test_a_local_name_is_taken_as_it_stands_and_a_file_url_is_decoded(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    build_archive(folder)
    urls = [folder.as_uri(), folder.as_uri().replace("file://", "file://localhost"), str(folder)]
    for url in urls:
        assert Root(url).local == folder
        assert verify_archive(url) == []
    with serve(tmp_path) as (url, _):
        assert verify_archive(f"{url}/{folder.as_uri().rpartition('/')[2]}") == []


def test_queries_and_passwords_are_taken_out_of_any_text() -> None:
    text = "(see https://me:pw@host/a?sig=b%2F.c; url='http://h/x?y'), \"s3://k:s@bucket/?\" why?"
    assert redact(text) == "(see https://host/a; url='http://h/x'), \"s3://bucket/?\" why?"


@pytest.mark.parametrize(
    "url", ["memory://a?b::pipe://x", "simplecache::memory://a", "http://host/a::b", "file:///a::b"]
)
def test_urls_that_chain_others_are_not_opened(url: str) -> None:
    with pytest.raises(UnsafeArchiveError, match="not opened"):
        Root(url)
    assert Root("http://host/a?b=c::d").remote.place.query == "b=c::d"


@pytest.mark.parametrize("url", ["file://server/a", "file://a", "file:///a%00b"])
def test_a_file_url_that_is_no_local_path_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="file"):
        Root(url)
