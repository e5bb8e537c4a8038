"""The cache: whole entries, never above its limit, one fetch a pack, no harm, no hang."""

import errno
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._storage.cache.pack_cache import DISK_BLOCK, MARKER, PackCache, pack_name
from dsc._storage.files.counts import ReadCounts
from dsc._storage.files.lock import lock_open_file, unlock_open_file
from dsc.errors import CorruptArchiveError, UsageError
from tests.archives import build_archive

FORK = multiprocessing.get_context("fork")
ROOMY = 1 << 30


def name(number: int) -> str:
    return pack_name(f"{number % 5:x}" * 64, number)


def data_of(one: str) -> bytes:
    number = int(one.rpartition("-")[2])
    return number.to_bytes(4, "little") * (500 + number % 7)


class Fetcher:
    """A fetch that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, names: Sequence[str]) -> Mapping[str, bytes]:
        self.asked += names
        return {one: data_of(one) for one in names}


def refuse(names: Sequence[str]) -> Mapping[str, bytes]:
    raise AssertionError(f"{names} should have been there")


def check_data(one: str, data: bytes) -> None:
    if data != data_of(one):
        raise CorruptArchiveError(one)


def files_in(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def disk_bytes(directory: Path) -> int:
    """What entries and parts take at one moment: nothing is reserved or deleted meanwhile."""
    descriptor = os.open(directory / "size", os.O_RDWR | os.O_CREAT)
    assert lock_open_file(descriptor, 30)
    taken = {}
    try:
        for path in files_in(directory):
            with suppress(FileNotFoundError):
                status = path.stat()  # by inode: a part may become an entry meanwhile
                taken[status.st_ino] = -(-status.st_size // DISK_BLOCK) * DISK_BLOCK
                if path.name in (MARKER, "size"):
                    del taken[status.st_ino]
    finally:
        unlock_open_file(descriptor)
    return sum(taken.values())


def test_what_was_fetched_once_is_there_for_another_cache_of_the_directory(tmp_path: Path) -> None:
    names = [name(number) for number in range(9)]
    fetch, counts = Fetcher(), ReadCounts()
    first = PackCache(tmp_path / "c", ROOMY).get_many([*names, names[0]], fetch, counts=counts)
    assert fetch.asked == names
    second = PackCache(tmp_path / "c", ROOMY).get_many(names, refuse, check_data, counts)
    assert first == second == {one: data_of(one) for one in names}
    assert (counts.as_dict()["cache_misses"], counts.as_dict()["cache_hits"]) == (9, 9)


@settings(deadline=None, max_examples=25)
@given(
    limit=st.integers(1, 12 * DISK_BLOCK),
    asked=st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=12),
)
def test_it_is_never_above_its_limit_and_always_gives_what_was_asked(
    tmp_path_factory: pytest.TempPathFactory, limit: int, asked: list[list[int]]
) -> None:
    cache = PackCache(tmp_path_factory.mktemp("limit") / "c", limit)
    for numbers in asked:
        names = [name(number) for number in numbers]
        assert cache.get_many(names, Fetcher(), check_data) == {one: data_of(one) for one in names}
        assert disk_bytes(cache.directory) == cache.used_bytes() <= limit


def test_the_least_recently_used_leave_first(tmp_path: Path) -> None:
    cache, counts = PackCache(tmp_path / "c", 10 * DISK_BLOCK), ReadCounts()
    for number in range(10):
        cache.get_many([name(number)], Fetcher())
        time.sleep(0.002)
    cache.get_many([name(0)], refuse)  # used again
    cache.get_many([name(10)], Fetcher(), counts=counts)
    assert counts.as_dict()["cache_evicted"] == 1
    cache.get_many([name(number) for number in (0, *range(2, 11))], refuse)
    fetch = Fetcher()
    cache.get_many([name(1)], fetch)
    assert fetch.asked == [name(1)]


def test_an_entry_that_cannot_fit_is_given_and_not_kept(tmp_path: Path) -> None:
    cache, fetch = PackCache(tmp_path / "c", DISK_BLOCK - 1), Fetcher()
    assert cache.get_many([name(3)], fetch) == {name(3): data_of(name(3))}
    cache.get_many([name(3)], fetch)
    assert (fetch.asked, cache.used_bytes()) == ([name(3)] * 2, 0)


def test_a_damaged_entry_is_dropped_counted_and_fetched_again(tmp_path: Path) -> None:
    cache, counts = PackCache(tmp_path / "c", ROOMY), ReadCounts()
    cache.get_many([name(1), name(2)], Fetcher())
    (path,) = (path for path in files_in(cache.directory) if path.name == name(2))
    path.write_bytes(b"")  # what a power cut can leave
    fetch = Fetcher()
    found = cache.get_many([name(1), name(2)], fetch, check_data, counts)
    assert found == {one: data_of(one) for one in (name(1), name(2))}
    assert (fetch.asked, counts.as_dict()["cache_damaged"]) == ([name(2)], 1)
    cache.get_many([name(2)], refuse, check_data)


def test_what_fetch_raises_is_passed_on_and_leaves_nothing(tmp_path: Path) -> None:
    cache = PackCache(tmp_path / "c", ROOMY)

    def fail(names: Sequence[str]) -> Mapping[str, bytes]:
        raise OSError("the network is gone")

    with pytest.raises(OSError, match="network"):
        cache.get_many([name(1)], fail)
    assert not list((cache.directory / "parts").iterdir())
    cache.get_many([name(1)], Fetcher())


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no name of a pack"):
        PackCache(tmp_path / "c", ROOMY).get_many(["../../etc/passwd"], Fetcher())


# what it may be given


def test_a_directory_with_files_that_no_cache_wrote_is_refused_and_left_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "thesis.txt").write_bytes(b"the only copy")
    with pytest.raises(UsageError, match="no cache wrote"):
        PackCache(tmp_path, ROOMY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("inside", ["", "cache", "rgb/deep"])
def test_a_directory_that_is_or_lies_in_an_archive_is_refused(tmp_path: Path, inside: str) -> None:
    build_archive(tmp_path / "a")
    before = files_in(tmp_path)
    with pytest.raises(UsageError, match="archive"):
        PackCache(tmp_path / "a" / inside, ROOMY)
    (tmp_path / "link").symlink_to(tmp_path / "a" / inside)
    with pytest.raises(UsageError, match="archive"):
        PackCache(tmp_path / "link" / "cache", ROOMY)
    assert [path for path in files_in(tmp_path) if path.name != "link"] == before


def test_an_archive_that_is_being_made_is_no_place_for_a_cache(tmp_path: Path) -> None:
    (tmp_path / ".dsc").mkdir()
    (tmp_path / ".dsc" / "plan.json").write_text("{}")
    with pytest.raises(UsageError, match="archive"):
        PackCache(tmp_path / "cache", ROOMY)


@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_that_holds_nothing_is_refused(tmp_path: Path, limit: int) -> None:
    with pytest.raises(UsageError, match="holds nothing"):
        PackCache(tmp_path / "c", limit)


def test_a_url_or_a_file_is_no_cache(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="local directory"):
        PackCache("s3://bucket/cache", ROOMY)
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(UsageError, match="directory"):
        PackCache(tmp_path / "f", ROOMY)


def test_making_room_deletes_only_what_a_cache_wrote(tmp_path: Path) -> None:
    cache = PackCache(tmp_path / "c", 4 * DISK_BLOCK)
    cache.get_many([name(0)], Fetcher())
    packs = cache.directory / "packs"
    foreign = [packs / "notes", next(packs.iterdir()) / "photo.jpg", cache.directory / "x.part"]
    foreign += [cache.directory / "parts" / "other.part"]
    for path in foreign:
        path.write_bytes(b"the only copy")
        os.utime(path, (0, 0))
    for number in range(1, 20):
        cache.get_many([name(number)], Fetcher())
    PackCache(cache.directory, 1).get_many([name(0)], Fetcher())
    assert all(path.read_bytes() == b"the only copy" for path in foreign)


# disks that fail


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite

    def write(descriptor: int, data: bytes, at: int) -> int:
        if len(data) == 20:  # the sum of what is in use, for which there is room already
            return pwrite(descriptor, data, at)
        pwrite(descriptor, data[: len(data) // 2], at)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", write)


def test_a_full_disk_ends_the_writing_with_one_warning_and_reading_goes_on(
    tmp_path: Path, full_disk: None
) -> None:
    cache, fetch, counts = PackCache(tmp_path / "c", ROOMY), Fetcher(), ReadCounts()
    with pytest.warns(RuntimeWarning, match="No space left") as warned:
        cache.get_many([name(1), name(2)], fetch, check_data, counts)
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.get_many([name(1)], fetch, check_data, counts)
    assert fetch.asked == [name(1), name(2), name(1)]
    assert counts.as_dict()["cache_errors"] == 1
    assert disk_bytes(cache.directory) == 0


def test_entries_are_still_served_from_a_full_disk(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    cache = PackCache(tmp_path / "c", ROOMY)
    cache.get_many([name(1)], Fetcher())
    request.getfixturevalue("full_disk")
    with pytest.warns(RuntimeWarning, match="No space left"):
        cache.get_many([name(2)], Fetcher())
    cache.get_many([name(1)], refuse, check_data)


def test_a_file_size_limit_of_the_system_is_a_full_disk(tmp_path: Path) -> None:
    cache, fetch = PackCache(tmp_path / "c", ROOMY), Fetcher()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            for _ in range(2):
                assert cache.get_many([name(1)], fetch) == {name(1): data_of(name(1))}
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(warned) == 1
    assert "nothing more is kept" in str(warned[0].message)
    assert fetch.asked == [name(1)] * 2
    assert disk_bytes(cache.directory) == 0


def test_a_directory_that_cannot_be_written_is_a_warning_and_reading_goes_on() -> None:
    with pytest.warns(RuntimeWarning, match="nothing more is kept"):
        cache = PackCache("/proc/no/cache", ROOMY)
    fetch = Fetcher()
    assert cache.get_many([name(1)], fetch) == {name(1): data_of(name(1))}
    assert fetch.asked == [name(1)]


def test_a_directory_that_somebody_empties_is_begun_again(tmp_path: Path) -> None:
    cache, fetch = PackCache(tmp_path / "c", ROOMY), Fetcher()
    cache.get_many([name(1)], fetch)
    shutil.rmtree(cache.directory)
    assert cache.get_many([name(1), name(2)], fetch).keys() == {name(1), name(2)}
    cache.get_many([name(1), name(2)], refuse)
    PackCache(cache.directory, ROOMY).get_many([name(1)], refuse)  # it is marked again


@pytest.mark.parametrize("text", [b"", b"rubbish", b"9" * 20, b"%020d" % (1 << 40)])
def test_a_wrong_sum_is_counted_again_and_costs_no_entry(tmp_path: Path, text: bytes) -> None:
    """A process that was killed between reserving and writing leaves a sum that is too high."""
    cache, counts = PackCache(tmp_path / "c", 20 * DISK_BLOCK), ReadCounts()
    cache.get_many([name(number) for number in range(5)], Fetcher())
    (cache.directory / "size").write_bytes(text)
    cache.get_many([name(6)], Fetcher(), counts=counts)
    assert counts.as_dict()["cache_evicted"] == 0
    assert int((cache.directory / "size").read_bytes()) == cache.used_bytes() == 6 * DISK_BLOCK


# several processes and threads


def test_a_pickled_cache_is_the_same_cache(tmp_path: Path) -> None:
    cache = PackCache(tmp_path / "c", ROOMY, wait_s=3)
    cache.get_many([name(1)], Fetcher())
    other = pickle.loads(pickle.dumps(cache))
    other.get_many([name(1)], refuse)
    assert (other.limit_bytes, other.wait_s) == (ROOMY, 3)


def run_children(count: int, work: Callable[[int], object]) -> None:
    children = [FORK.Process(target=work, args=(number,)) for number in range(count)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * count


def test_processes_and_threads_fetch_each_pack_once(tmp_path: Path) -> None:
    names = [name(number) for number in range(12)]
    log = tmp_path / "log"
    log.touch()
    (tmp_path / "c").mkdir()

    def slow(asked: Sequence[str]) -> Mapping[str, bytes]:
        with log.open("a") as file:
            file.write("".join(f"{one}\n" for one in asked))
        time.sleep(0.05)
        return {one: data_of(one) for one in asked}

    def work(number: int) -> None:
        cache = PackCache(tmp_path / "c", ROOMY)
        wrong: list[BaseException] = []

        def read(first: int) -> None:
            try:
                for start in range(0, 12, 3):
                    some = [names[(first + start + k) % 12] for k in range(4)]
                    assert cache.get_many(some, slow, check_data).keys() == set(some)
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=read, args=(number + 5 * k,)) for k in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(len(wrong))

    run_children(3, work)
    assert sorted(log.read_text().split()) == sorted(names)


def test_processes_together_stay_below_the_limit(tmp_path: Path) -> None:
    limit = 10 * DISK_BLOCK
    cache = PackCache(tmp_path / "c", limit)

    def work(number: int) -> None:
        counts = ReadCounts()
        for turn in range(40):
            names = [name((7 * number + 3 * turn + k) % 60) for k in range(4)]
            cache.get_many(names, Fetcher(), check_data, counts)
        os._exit(counts.as_dict()["cache_errors"] + counts.as_dict()["cache_damaged"])

    highest = 0
    children = [FORK.Process(target=work, args=(number,)) for number in range(3)]
    for child in children:
        child.start()
    while any(child.is_alive() for child in children):
        highest = max(highest, disk_bytes(cache.directory))
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert 5 * DISK_BLOCK < highest <= limit
    assert cache.used_bytes() <= limit


def test_many_packs_keep_few_files_open(tmp_path: Path) -> None:
    cache = PackCache(tmp_path / "c", ROOMY)
    names = [name(number) for number in range(700)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(400, hard), hard))
    try:
        assert len(cache.get_many(names, Fetcher(), check_data)) == 700
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    cache.get_many(names, refuse)


@contextmanager
def in_a_fetch(cache: PackCache, names: Sequence[str]) -> Iterator[ForkProcess]:
    """A process that is in the middle of a fetch, for ever."""
    begun = FORK.Event()

    def fetch(asked: Sequence[str]) -> Mapping[str, bytes]:
        begun.set()
        time.sleep(600)
        return {one: data_of(one) for one in asked}

    child = FORK.Process(target=cache.get_many, args=(names, fetch))
    child.start()
    try:
        assert begun.wait(30)
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.kill(child.pid or 0, signal.SIGCONT)
        child.kill()
        child.join()


def test_a_process_killed_in_a_fetch_leaves_no_lock_and_no_part(tmp_path: Path) -> None:
    cache = PackCache(tmp_path / "c", ROOMY, wait_s=600)  # waiting would be seen
    with in_a_fetch(cache, [name(1), name(2)]) as child:
        child.kill()
        child.join()
        assert len(list((cache.directory / "parts").iterdir())) == 2
        assert cache.get_many([name(1)], Fetcher()) == {name(1): data_of(name(1))}
    cache.get_many([name(1)], refuse)


def test_a_cache_that_is_opened_deletes_the_parts_of_killed_processes_alone(tmp_path: Path) -> None:
    cache = PackCache(tmp_path / "c", ROOMY)
    with in_a_fetch(cache, [name(1)]) as killed, in_a_fetch(cache, [name(2)]):
        killed.kill()
        killed.join()
        PackCache(cache.directory, ROOMY)
        left = [path.name for path in (cache.directory / "parts").iterdir()]
        assert left == [f"{name(2)}.part"]


def test_parts_of_a_killed_writer_do_not_use_up_the_limit(tmp_path: Path) -> None:
    cache = PackCache(tmp_path / "c", 4 * DISK_BLOCK)
    for number in range(50, 53):
        part = cache.directory / "parts" / f"{name(number)}.part"
        part.write_bytes(bytes(2 * DISK_BLOCK))
    (cache.directory / "size").write_bytes(b"%020d" % (6 * DISK_BLOCK))
    cache.get_many([name(1)], Fetcher())
    cache.get_many([name(1)], refuse)
    assert cache.used_bytes() == DISK_BLOCK


def test_a_stopped_process_is_not_waited_for_longer_than_said(tmp_path: Path) -> None:
    cache, counts = PackCache(tmp_path / "c", ROOMY, wait_s=0.3), ReadCounts()
    with in_a_fetch(cache, [name(1)]) as child:
        os.kill(child.pid or 0, signal.SIGSTOP)
        fetch = Fetcher()
        assert cache.get_many([name(1), name(2)], fetch, check_data, counts).keys() == {
            name(1), name(2),
        }  # fmt: skip
        assert sorted(fetch.asked) == [name(1), name(2)]
        assert counts.as_dict()["cache_timeouts"] == 1
        cache.get_many([name(1)], refuse, check_data)  # it was kept all the same


def test_a_process_stopped_while_it_counts_is_not_waited_for(tmp_path: Path) -> None:
    cache = PackCache(tmp_path / "c", ROOMY, wait_s=0.2)
    counts, fetch, held = ReadCounts(), Fetcher(), FORK.Event()

    def hold() -> None:
        descriptor = os.open(cache.directory / "size", os.O_RDWR | os.O_CREAT)
        lock_open_file(descriptor, 0)
        held.set()
        time.sleep(600)

    child = FORK.Process(target=hold)
    child.start()
    try:
        assert held.wait(30)
        os.kill(child.pid or 0, signal.SIGSTOP)
        for number in (1, 2, 3):
            cache.get_many([name(number)], fetch, counts=counts)
        assert fetch.asked == [name(1), name(2), name(3)]
        assert counts.as_dict()["cache_timeouts"] >= 1
        assert cache.used_bytes() == 0  # nothing is written that is not counted
    finally:
        child.kill()
        child.join()
    cache = PackCache(cache.directory, ROOMY)
    cache.get_many([name(1)], Fetcher())
    cache.get_many([name(1)], refuse)


def test_a_process_forked_in_the_middle_keeps_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, counts = PackCache(tmp_path / "c", ROOMY, wait_s=0.3), ReadCounts()
    children: list[ForkProcess] = []
    pread = os.pread

    def fork_and_read(descriptor: int, length: int, at: int) -> bytes:
        child = FORK.Process(target=time.sleep, args=(600,))
        child.start()
        children.append(child)
        return pread(descriptor, length, at)

    monkeypatch.setattr(os, "pread", fork_and_read)
    try:
        for number in (1, 2):
            cache.get_many([name(number)], Fetcher(), counts=counts)
    finally:
        for child in children:
            child.kill()
            child.join()
    assert counts.as_dict()["cache_timeouts"] == 0
    cache.get_many([name(1), name(2)], refuse)


def test_a_pack_finished_between_the_look_and_the_claim_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, other = PackCache(tmp_path / "c", ROOMY), PackCache(tmp_path / "c", ROOMY)
    system_open = os.open

    def open_late(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith(f"{name(1)}.part"):
            monkeypatch.setattr(os, "open", system_open)
            other.get_many([name(1)], Fetcher())
        return system_open(path, flags, mode)

    monkeypatch.setattr(os, "open", open_late)
    assert cache.get_many([name(1)], refuse) == {name(1): data_of(name(1))}


def test_two_processes_may_make_one_directory_a_cache_at_once(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from dsc._storage.cache.pack_cache import PackCache\n"
        "PackCache(sys.argv[1], 10)\n"
    )
    for turn in range(3):
        place = str(tmp_path / f"c{turn}")
        made = [subprocess.Popen([sys.executable, "-c", code, place]) for _ in range(2)]
        assert [process.wait(60) for process in made] == [0, 0]
