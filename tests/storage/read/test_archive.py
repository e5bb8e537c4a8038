"""Archives: written the same twice, read by index, key, pack and URL; damage always named."""

import contextlib
import pickle
import random
import shutil
import zlib
from pathlib import Path

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._bench.server import serve
from dsc._storage.files.root import Root, check_relative
from dsc._storage.format.shard import ShardWriter
from dsc._storage.read.archive import Archive
from dsc._storage.read.unpack import unpack
from dsc._storage.read.verify import verify_archive
from dsc.errors import (
    ArchiveNotFoundError,
    CorruptArchiveError,
    DscError,
    TaskMismatchError,
    UnsafeArchiveError,
    UnsupportedVersionError,
)
from tests.archives import STREAMS, build_archive, forge, payload

N = 23
FLIPS = 2000


def files_of(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def read_all(archive: Archive) -> dict[tuple[str, int], bytes | None]:
    found = {}
    for shard, record in enumerate(archive.shards):
        for stream in STREAMS:
            for pack in archive.iter_packs(shard, stream):
                for index, data in enumerate(pack.payloads, pack.first_index):
                    found[stream, index] = None if data is None else bytes(data)
        assert record.samples
    return found


EXPECTED = {(stream, i): payload(stream, i) for stream in STREAMS for i in range(N)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive") / "a"
    build_archive(root, N)
    return root


def test_reads_back_what_was_written(built: Path) -> None:
    archive = Archive.open(built)
    assert len(archive) == N
    assert read_all(archive) == EXPECTED
    for index in range(N):
        found = archive.payloads(index, STREAMS)
        assert {k: v if v is None else bytes(v) for k, v in found.items()} == {
            stream: EXPECTED[stream, index] for stream in STREAMS
        }
        assert archive.index_of(archive.key(index)) == index
    assert verify_archive(built) == []


def test_same_input_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    build_archive(tmp_path / "b", N)
    assert files_of(tmp_path / "b") == files_of(built)


def test_an_open_archive_pickles(built: Path) -> None:
    archive = pickle.loads(pickle.dumps(Archive.open(built)))
    assert archive.payloads(5, ["rgb"]) == {"rgb": EXPECTED["rgb", 5]}


def test_memory_url() -> None:
    build_archive("memory://somewhere/a", N)
    assert read_all(Archive.open("memory://somewhere/a")) == EXPECTED
    assert verify_archive("memory://somewhere/a") == []


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 9))
def test_locate_is_exact_for_any_sizes(n: int, shard_size: int, pack_size: int) -> None:
    url = f"memory://locate/{n}-{shard_size}-{pack_size}"
    build_archive(url, n, shard_size, pack_size, (1, 4))
    archive = Archive.open(url)
    for index in range(n):
        shard, pack, k = archive.locate(index)
        found = archive.read_pack(shard, "rgb", pack)
        assert found.first_index + k == index
    with pytest.raises(IndexError):
        archive.locate(n)


def test_http_reads_single_samples_by_range(built: Path) -> None:
    with serve(built) as (url, traffic):
        archive = Archive.open(url)
        archive.payloads(9, ["rgb"])  # the index is read here
        before = traffic.total()
        traffic.requests.clear()
        assert archive.payloads(10, ["rgb"]) == {"rgb": EXPECTED["rgb", 10]}
        assert traffic.total() - before <= 512 + 1024
        assert sum(traffic.requests.values()) == 1
        assert traffic.total("depth") == 0


def test_http_without_ranges_is_slow_but_right(built: Path) -> None:
    with serve(built) as (url, traffic):
        traffic.ranges = False
        assert read_all(Archive.open(url)) == EXPECTED


def test_http_faults_are_retried(built: Path) -> None:
    with serve(built) as (url, traffic):
        traffic.fail_next = 2
        traffic.cut_next = 1
        assert read_all(Archive.open(url)) == EXPECTED


def test_lost_network_is_an_error_that_names_the_url(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsc._storage.files.retry.ATTEMPTS", 2)
    with serve(built) as (url, traffic):
        archive = Archive.open(url)
        traffic.dead = True
        with pytest.raises(OSError, match=r"rgb/train-rgb-000000\.tar.*run the same command again"):
            read_all(archive)


@pytest.mark.parametrize("remote", [False, True])
def test_stock_webdataset_reads_it(built: Path, remote: bool) -> None:
    with serve(built) as (url, _):
        base = url if remote else str(built)
        urls = base + "/depth/train-depth-{000000..000002}.tar"
        dataset = webdataset.WebDataset(urls, shardshuffle=False).compose(unpack)
        found = {sample["__index__"]: sample["depth"] for sample in dataset}
    assert found == {i: EXPECTED["depth", i] for i in range(N)}


def test_missing_index_is_rebuilt(built: Path, tmp_path: Path) -> None:
    root = tmp_path / "a"
    shutil.copytree(built, root)
    for idx in root.rglob("*.idx"):
        idx.unlink()
    assert read_all(Archive.open(root)) == EXPECTED
    assert verify_archive(root) == []


def test_every_random_bit_flip_is_found_and_never_decoded(built: Path, tmp_path: Path) -> None:
    root = tmp_path / "a"
    shutil.copytree(built, root)
    names = list(files_of(built))
    rng = random.Random(0)
    for _ in range(FLIPS):
        path = root / rng.choice(names)
        data = bytearray(path.read_bytes())
        bit = rng.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert verify_archive(root), f"{path.name} bit {bit} was not found"
        with contextlib.suppress(DscError, OSError):
            assert read_all(Archive.open(root)) == EXPECTED
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
    assert verify_archive(root) == []


def test_cut_files_are_reported_not_shortened(built: Path, tmp_path: Path) -> None:
    root = tmp_path / "a"
    shutil.copytree(built, root)
    for name, data in files_of(built).items():
        lines = [i + 1 for i, byte in enumerate(data) if byte == 10 and "json" in name]
        step = 8 if name.endswith(".idx") else 512
        inside = [512 + 32, 512 + 32 + 3 * 8]  # after a pack's header, after its table
        for end in {1, len(data) - 1, len(data) // 2, *range(0, len(data), step), *inside, *lines}:
            if end >= len(data):
                continue
            (root / name).write_bytes(data[:end])
            assert verify_archive(root), f"{name} cut to {end} was not found"
        (root / name).unlink()
        if not name.endswith(".idx"):  # a lost index is rebuilt
            problems = [ArchiveNotFoundError] if name == "dsc.json" else verify_archive(root)
            assert problems, f"{name} lost was not found"
        (root / name).write_bytes(data)


def test_a_file_that_nothing_names_is_reported(built: Path, tmp_path: Path) -> None:
    root = tmp_path / "a"
    shutil.copytree(built, root)
    (root / "rgb" / "stranger.tar").write_bytes(b"x")
    assert [problem.path for problem in verify_archive(root)] == ["rgb/stranger.tar"]


def test_no_archive_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFoundError, match=r"no dsc\.json"):
        Archive.open(tmp_path)


def test_newer_format_is_refused_with_the_version_that_is_needed(
    built: Path, tmp_path: Path
) -> None:
    text = (built / "dsc.json").read_text().replace('"format_version": 1', '"format_version": 3')
    (tmp_path / "dsc.json").write_text(text)
    with pytest.raises(UnsupportedVersionError, match="version 3 or newer"):
        Archive.open(tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "[]", "nul", '{"format_version": 1}'])
def test_hostile_manifests_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "dsc.json").write_text(text)
    with pytest.raises(DscError):
        Archive.open(tmp_path)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../b", "pipe:ls", "a//b", "a\\b", ""])
def test_paths_that_leave_the_archive_are_refused(path: str) -> None:
    with pytest.raises(UnsafeArchiveError):
        check_relative(path)


@pytest.mark.parametrize("url", ["pipe:cat /etc/passwd", "simplecache::http://x/y"])
def test_urls_that_run_things_are_refused(url: str) -> None:
    with pytest.raises(UnsafeArchiveError):
        Root(url)


def test_streams_without_codec_or_what_they_require_are_refused(
    built: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(built, tmp_path / "a")
    forge(root, manifest=lambda whole: whole["streams"][0].update(requires=["nothing"]))
    with pytest.raises(CorruptArchiveError, match="rgb requires nothing, which is not there"):
        Archive.open(root)
    shutil.rmtree(root)
    shutil.copytree(built, root)
    forge(root, manifest=lambda whole: whole["codecs"].pop())
    with pytest.raises(CorruptArchiveError, match="stream depth has no codec"):
        Archive.open(root)


def test_foreign_weights_are_refused(built: Path, tmp_path: Path) -> None:
    manifest = Archive.open(built).manifest
    foreign = manifest.codecs[0].model_copy(update={"weights_sha256": "0" * 64})
    with pytest.raises(CorruptArchiveError, match="foreign weights"):
        Archive.open(built).codec_file(foreign)


def test_streams_out_of_step_are_an_error(built: Path, tmp_path: Path) -> None:
    """Two shards of one stream swapped, records and all: only the packs can tell."""
    root = tmp_path / "a"
    shutil.copytree(built, root)
    one, two = (root / "rgb" / f"train-rgb-00000{i}.tar" for i in (0, 1))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    (root / "rgb" / "train-rgb-000000.tar.idx").unlink()
    with pytest.raises((TaskMismatchError, CorruptArchiveError)):
        list(Archive.open(root).iter_packs(0, "rgb"))


def test_an_aborted_shard_leaves_nothing(tmp_path: Path) -> None:
    with ShardWriter(Root(tmp_path), "train", 0, 0, {"rgb": 0}, 2) as writer:
        writer.add("a", {"rgb": b"x"})
    assert not files_of(tmp_path)


def test_storage_overhead_is_at_most_one_and_a_half_percent(tmp_path: Path) -> None:
    build_archive(tmp_path, 1024, 1024, 64, (500, 3000))
    manifest = Archive.open(tmp_path).manifest
    for totals in manifest.totals.values():
        assert totals.stored_bytes <= 1.015 * totals.payload_bytes


def test_pack_crc_is_plain_zlib_crc32(built: Path) -> None:
    data = (built / "rgb" / "train-rgb-000000.tar").read_bytes()
    length, crc = (int.from_bytes(data[512 + 32 + i : 512 + 36 + i], "little") for i in (0, 4))
    start = 512 + 32 + 3 * 8
    assert zlib.crc32(data[start : start + length]) == crc
